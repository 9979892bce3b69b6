//! A base: the whole state at one commit, in one file that can be verified by itself.
//!
//! `base-N.zst`: magic `dnbase01`, the root at N (32 bytes), crc32 of both; a zstd stream with checksum of all records
//! as operations of [`super::batch`], ended by a frame of table 255; then the BLAKE3 of everything before it (32 bytes).

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use super::{
    batch::{Op, write_op},
    disk,
    engine::Engine,
    error::{StoreError, io_error},
    journal::Numbered,
    root::{self, ROOT_BYTES, Root, State},
};

const MAGIC: &[u8; 8] = b"dnbase01";
const HEADER: usize = 8 + ROOT_BYTES + 4;
const TRAILER: u64 = 32;
const LEVEL: i32 = 3;
/// Table id of the frame that ends the records.
const END_TABLE: u8 = u8::MAX;

/// Hashes what passes to the file.
struct HashWriter<W> {
    inner: W,
    hash: blake3::Hasher,
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hash.update(buf.get(..n).unwrap_or_default());
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the base of the engine's present state and reads it back.
///
/// Runs where nothing else writes.
pub(crate) fn write(dir: &Path, engine: &Engine, root: &Root) -> Result<PathBuf, StoreError> {
    let path = dir.join(format!("base-{:020}.zst", root.commit));
    let temp = path.with_extension("tmp");
    let failed = || io_error("write", &temp);
    let mut out =
        HashWriter { inner: BufWriter::with_capacity(1 << 20, disk::create(&temp)?), hash: blake3::Hasher::new() };
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&root.to_bytes());
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    out.write_all(&header).map_err(failed())?;
    let mut zstd = zstd::Encoder::new(out, LEVEL).map_err(failed())?;
    zstd.include_checksum(true).map_err(failed())?;
    let mut frame = Vec::new();
    engine.for_each(|t, key, value| {
        frame.clear();
        write_op(&mut frame, &Op { table: t.id, key, value: Some(value) });
        zstd.write_all(&frame).map_err(failed())
    })?;
    frame.clear();
    write_op(&mut frame, &Op { table: END_TABLE, key: &[], value: Some(&[]) });
    zstd.write_all(&frame).map_err(failed())?;
    let HashWriter { inner: mut out, hash } = zstd.finish().map_err(failed())?;
    out.write_all(hash.finalize().as_bytes()).map_err(failed())?;
    let file = out.into_inner().map_err(|e| failed()(e.into_error()))?;
    file.sync_all().map_err(failed())?;
    // A backup is believed when it has been read: the sum over its records must be that of the root.
    if let Err(what) = verify(&Numbered { number: root.commit, path: temp.clone() })? {
        return Err(StoreError::Corrupt {
            what: format!("the base just written does not read back: {what}"),
            next: "check the disk".into(),
        });
    }
    disk::publish(&temp, &path)?;
    Ok(path)
}

/// Reads a base and proves that its records are those of its root; the inner error says what is wrong.
pub(crate) fn verify(base: &Numbered) -> Result<Result<Root, String>, StoreError> {
    let mut state = State::default();
    let read = read(base, |op| {
        state.add(op.table, root::hash(op.table, op.key, op.value.unwrap_or_default()));
        Ok(())
    })?;
    Ok(read.and_then(|root| {
        state.root.commit = root.commit;
        if state.root == root {
            Ok(root)
        } else {
            Err(format!("{}: its records are not those of its root", base.path.display()))
        }
    }))
}

/// Calls `f` with every record of a base whose trailer matches; the inner error says what is wrong with it.
pub(crate) fn read(
    base: &Numbered,
    mut f: impl FnMut(&Op<'_>) -> Result<(), StoreError>,
) -> Result<Result<Root, String>, StoreError> {
    let path = &base.path;
    let bad = |why: &str| Ok(Err(format!("{}: {why}", path.display())));
    let Some(body) = trailer_matches(path)? else { return bad("its BLAKE3 trailer does not match") };
    let file = File::open(path).map_err(io_error("open", path))?;
    let mut input = BufReader::with_capacity(256 << 10, file).take(body);
    let mut header = [0; HEADER];
    if body < HEADER as u64 {
        return bad("it is too short");
    }
    input.read_exact(&mut header).map_err(io_error("read", path))?;
    let Some(root) = parse_header(&header) else { return bad("its header is damaged") };
    if root.commit != base.number {
        return bad("its name is that of another commit");
    }
    let mut zstd = match zstd::Decoder::new(input) {
        Ok(z) => z,
        Err(_) => return bad("its zstd stream does not begin"),
    };
    let (mut head, mut frame) = ([0u8; 8], Vec::new());
    loop {
        if zstd.read_exact(&mut head).is_err() {
            return bad("its zstd stream ends early");
        }
        let [_, table, k0, k1, v0, v1, v2, v3] = head;
        if table == END_TABLE {
            return Ok(Ok(root));
        }
        let key_len = usize::from(u16::from_le_bytes([k0, k1]));
        let value_len = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        if value_len > super::envelope::MAX_VALUE {
            return bad("a record in it is larger than a record can be");
        }
        frame.resize(key_len + value_len, 0);
        if zstd.read_exact(&mut frame).is_err() {
            return bad("its zstd stream ends early");
        }
        let Some((key, value)) = frame.split_at_checked(key_len) else { return bad("a record in it is damaged") };
        f(&Op { table, key, value: Some(value) })?;
    }
}

fn parse_header(h: &[u8; HEADER]) -> Option<Root> {
    let (body, crc) = h.split_last_chunk::<4>()?;
    (u32::from_le_bytes(*crc) == crc32fast::hash(body)).then_some(())?;
    Root::from_bytes(body.strip_prefix(MAGIC)?)
}

/// The length of the body where the trailer is its hash.
pub(crate) fn trailer_matches(path: &Path) -> Result<Option<u64>, StoreError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let len = file.metadata().map_err(io_error("measure", path))?.len();
    let Some(body) = len.checked_sub(TRAILER) else { return Ok(None) };
    let mut hash = blake3::Hasher::new();
    std::io::copy(&mut (&mut file).take(body), &mut hash).map_err(io_error("read", path))?;
    let mut trailer = [0; TRAILER as usize];
    file.read_exact(&mut trailer).map_err(io_error("read", path))?;
    Ok((*hash.finalize().as_bytes() == trailer).then_some(body))
}
