//! A file of any length that some recipients can read: a binary [age](https://age-encryption.org/v1) file, which `age -d` opens without
//! this software. It says nothing of who wrote it.

use std::io::{self, Read, Write};

use super::error::SealError;
use super::keys::{Identity, Recipient};

/// A header has a line or two for each recipient; a longer one is not ours, and age would read it into memory to its end.
const MAX_HEADER: usize = 64 << 10;
/// What ends a header.
const MAC_LINE: &[u8] = b"\n---";

/// Encrypts what is written to it. Without [`Letter::finish`] nobody can read it.
pub struct Letter<W: Write>(age::stream::StreamWriter<W>);

impl<W: Write> Letter<W> {
    /// To these recipients.
    ///
    /// # Errors
    /// There is none, or the header cannot be written.
    pub fn to(recipients: &[Recipient], out: W) -> Result<Self, SealError> {
        let fail = |why: String| SealError::contract("recipients", format!("{why}; see `datanode key list`"));
        let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| &r.0 as &dyn age::Recipient))
            .map_err(|e| fail(e.to_string()))?;
        encryptor.wrap_output(out).map(Self).map_err(|e| fail(e.to_string()))
    }

    /// Ends it; what it was written to.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Letter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What a letter says, for whoever has one of these identities. Reading fails where a byte was altered or the end is missing.
///
/// # Errors
/// It is no letter, or is to others.
pub fn read<'a, R: Read + 'a>(mut input: R, identities: &'a [Identity]) -> Result<impl Read + use<'a, R>, SealError> {
    let fail = |why: String| SealError::Unwrap(why);
    let mut head = Vec::with_capacity(MAX_HEADER);
    input.by_ref().take(MAX_HEADER as u64).read_to_end(&mut head).map_err(|e| fail(e.to_string()))?;
    if !head.windows(MAC_LINE.len()).any(|w| w == MAC_LINE) {
        return Err(fail("it is no age file, or its header does not end".to_owned()));
    }
    let whole = io::BufReader::with_capacity(128 << 10, io::Cursor::new(head).chain(input));
    let decryptor = age::Decryptor::new_buffered(whole).map_err(|e| fail(e.to_string()))?;
    decryptor.decrypt(identities.iter().map(|i| &i.0 as &dyn age::Identity)).map_err(|e| fail(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(to: &[Recipient], text: &[u8]) -> Vec<u8> {
        let mut w = Letter::to(to, Vec::new()).unwrap();
        w.write_all(text).unwrap();
        w.finish().unwrap()
    }

    fn text(letter: &[u8], of: &Identity) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        read(letter, std::slice::from_ref(of)).ok()?.read_to_end(&mut out).ok()?;
        Some(out)
    }

    #[test]
    fn each_recipient_reads_it_and_nobody_else_and_no_altered_or_shorter_one() {
        let (a, b, c) = (Identity::generate(), Identity::generate(), Identity::generate());
        let said: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let sealed = letter(&[a.to_public(), b.to_public()], &said);
        assert!(text(&sealed, &a) == Some(said.clone()) && text(&sealed, &b) == Some(said));
        assert_eq!(text(&sealed, &c), None);
        assert_eq!(text(&sealed[..sealed.len() - 1], &a), None, "cut short");
        assert_eq!(text(&sealed[..200_000], &a), None, "cut short");
        let mut altered = sealed.clone();
        altered[250_000] ^= 1;
        assert_eq!(text(&altered, &a), None);
    }

    #[test]
    fn a_header_that_does_not_end_is_refused_before_it_fills_the_memory() {
        let endless = io::repeat(b'a').take(1 << 40);
        let hostile = (&b"age-encryption.org/v1\n-> X25519 "[..]).chain(endless);
        assert!(read(hostile, &[Identity::generate()]).is_err());
    }
}
