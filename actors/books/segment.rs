//! A gzip file of JSON lines: written member by member, read line by line within bounds, recovered after a kill.
//!
//! Each answer of the vendor is one member, and each line in it ends with a sync flush: what is on the disk of a member that a
//! kill cut off gives every line whose last byte is there. A reader of other people's making (zcat) sees one stream.

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

/// The longest line, decoded.
const MAX_LINE: usize = 8 << 20;
/// The most that a file may decode to; an hour of 10,000 tokens is below it.
const MAX_DECODED: u64 = 8 << 30;
/// The most that one member may decode to; an answer is smaller.
const MAX_MEMBER: usize = 256 << 20;

/// How a file ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// With a whole member.
    Whole,
    /// Inside of one: a kill. The lines before are good.
    Torn,
    /// With something that is not what was written.
    Damaged(String),
}

/// Appends lines as one member and makes them durable.
///
/// # Errors
/// It cannot be written; the file then ends as a kill would leave it.
pub(super) fn append(path: &Path, lines: &[Vec<u8>]) -> io::Result<u64> {
    let bytes = member(lines)?;
    let mut f = OpenOptions::new().append(true).create(true).open(path)?;
    f.write_all(&bytes)?;
    f.sync_data()?;
    Ok(bytes.len() as u64)
}

/// One gzip member; without a time or a name, so that the same lines give the same bytes.
pub(super) fn member(lines: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::new(6));
    for l in lines {
        gz.write_all(l)?;
        gz.write_all(b"\n")?;
        gz.flush()?;
    }
    gz.finish()
}

/// Gives each whole line (without its newline) to `take`, and says how the file ends. Memory is one line.
///
/// # Errors
/// The file cannot be read, or `take` failed.
pub(super) fn lines(path: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<End> {
    numbered_lines(path, |_, l| take(l))
}

/// The same with the number of the line's member.
fn numbered_lines(path: &Path, mut take: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<End> {
    read(BufReader::with_capacity(64 * 1024, File::open(path)?), &mut take)
}

fn read(mut input: impl BufRead, take: &mut impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<End> {
    let (mut total, mut number) = (0u64, 0u64);
    while !input.fill_buf()?.is_empty() {
        number += 1;
        let mut gz = GzDecoder::new(&mut input);
        let end = one_member(&mut gz, &mut total, &mut |l: &[u8]| take(number, l))?;
        if end != End::Whole {
            return Ok(end);
        }
    }
    Ok(End::Whole)
}

fn one_member(gz: &mut impl Read, total: &mut u64, take: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<End> {
    let (mut line, mut buffer) = (Vec::new(), vec![0u8; 64 * 1024]);
    loop {
        let n = match gz.read(&mut buffer) {
            Ok(0) if line.is_empty() => return Ok(End::Whole),
            Ok(0) => return Ok(End::Damaged("a member ends inside of a line".to_owned())),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(End::Torn),
            Err(e) => return Ok(End::Damaged(e.to_string())),
        };
        *total += n as u64;
        if *total > MAX_DECODED {
            return Ok(End::Damaged(format!("it decodes to more than {MAX_DECODED} bytes")));
        }
        let mut rest = buffer.get(..n).unwrap_or_default();
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(at);
            line.extend_from_slice(head);
            take(&line)?;
            line.clear();
            rest = tail.get(1..).unwrap_or_default();
        }
        line.extend_from_slice(rest);
        if line.len() > MAX_LINE {
            return Ok(End::Damaged(format!("a line is longer than {MAX_LINE} bytes")));
        }
    }
}

/// Writes the whole lines of `from` that `good` takes into the new file `to`, synced, and reads them back. Of a member whose
/// checksum or form is wrong nothing is taken, since any line of it may be altered.
///
/// # Errors
/// A file cannot be read or written, or what was written does not read back.
pub(super) fn recover(from: &Path, to: &Path, good: impl Fn(&[u8]) -> bool) -> io::Result<(u64, End)> {
    let mut out = File::create(to)?;
    let (mut n, mut hash) = (0u64, blake3::Hasher::new());
    let (mut pending, mut length, mut of) = (Vec::new(), 0usize, 0u64);
    let mut write = |pending: &mut Vec<Vec<u8>>| -> io::Result<()> {
        if !pending.is_empty() {
            out.write_all(&member(pending)?)?;
        }
        for l in pending.drain(..) {
            n += 1;
            hash.update(&l).update(b"\n");
        }
        Ok(())
    };
    let end = numbered_lines(from, |m, l| {
        if m != of {
            write(&mut pending)?;
            (of, length) = (m, 0);
        }
        length += l.len();
        if length > MAX_MEMBER {
            return Err(io::Error::other(format!("an answer of more than {MAX_MEMBER} bytes; move the file away")));
        }
        if good(l) {
            pending.push(l.to_vec());
        }
        Ok(())
    })?;
    if !matches!(end, End::Damaged(_)) {
        write(&mut pending)?;
    }
    out.sync_all()?;
    let (mut again, mut sum) = (0u64, blake3::Hasher::new());
    let back = lines(to, |l| {
        again += 1;
        sum.update(l).update(b"\n");
        Ok(())
    })?;
    if back != End::Whole || again != n || sum.finalize() != hash.finalize() {
        return Err(io::Error::other("what was recovered does not read back; the disk may be failing"));
    }
    Ok((n, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(i: usize) -> Vec<u8> {
        format!(r#"{{"n":{i},"text":"{}"}}"#, blake3::hash(&i.to_le_bytes()).to_hex()).into_bytes()
    }

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, End) {
        let mut out = Vec::new();
        let end = read(bytes, &mut |_: u64, l: &[u8]| {
            out.push(l.to_vec());
            Ok(())
        });
        (out, end.unwrap())
    }

    /// Three members of four lines, and after how many bytes each line is whole.
    fn sample() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for m in 0..3 {
            let lines: Vec<Vec<u8>> = (0..4).map(|i| line(m * 4 + i)).collect();
            let mut gz = GzEncoder::new(Vec::new(), Compression::new(6));
            for l in &lines {
                gz.write_all(l).unwrap();
                gz.write_all(b"\n").unwrap();
                gz.flush().unwrap();
                ends.push(bytes.len() + gz.get_ref().len());
            }
            bytes.extend(member(&lines).unwrap());
        }
        (bytes, ends)
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_exactly_the_lines_that_are_whole() {
        let (bytes, ends) = sample();
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        let want: Vec<Vec<u8>> = (0..12).map(line).collect();
        assert_eq!(all(&bytes), (want.clone(), End::Whole));
        for cut in 0..=bytes.len() {
            std::fs::write(&from, &bytes[..cut]).unwrap();
            let (n, end) = recover(&from, &to, |_| true).unwrap();
            let n = usize::try_from(n).unwrap();
            // A flush ends with the block's end and an empty block: up to eight bytes that the line itself does not need.
            let least = ends.iter().filter(|e| **e <= cut).count();
            let most = ends.iter().filter(|e| **e <= cut + 8).count();
            assert!((least..=most).contains(&n), "cut at {cut}: {n} lines where {least} to {most} are whole");
            assert_eq!(all(&std::fs::read(&to).unwrap()), (want[..n].to_vec(), End::Whole), "cut at {cut}");
            assert!(matches!(end, End::Whole | End::Torn), "cut at {cut}: {end:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_and_no_panic() {
        let (bytes, _) = sample();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let (lines, end) = all(&bad);
            // Bits of a header that mean nothing (time, system) may change nothing.
            assert!(lines.len() <= 64 && (end != End::Whole || lines.len() == 12), "at {at}: {end:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_memory() {
        let mut gz = GzEncoder::new(Vec::new(), Compression::new(9));
        let zeros = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            gz.write_all(&zeros).unwrap();
        }
        let (lines, end) = all(&gz.finish().unwrap());
        assert!(lines.is_empty() && matches!(&end, End::Damaged(m) if m.contains("longer than")), "{end:?}");
    }

    #[test]
    fn what_is_not_gzip_is_damage() {
        assert!(matches!(all(b"hello, this is no gzip at all").1, End::Damaged(_)));
        assert_eq!(all(b"").1, End::Whole);
    }
}
