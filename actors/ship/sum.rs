//! The sum of an object: what it must be, and what it is.

use super::ShipError;
use super::error::{here, io};
use sha2::Digest;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What an object must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    /// Of a pack's files.
    Sha256([u8; 32]),
    /// Of a sealing's objects, which are named by it.
    Blake3([u8; 32]),
}

/// One object of a pack or sealing, and the file that it is here.
#[derive(Clone, Debug)]
pub struct Item {
    /// Below the pack or sealing.
    pub path: String,
    /// The file.
    pub from: PathBuf,
    /// What it must be.
    pub sum: Sum,
    /// Its length.
    pub bytes: u64,
    /// Whether it may be another one here later, under the same name: what lies there is replaced.
    pub changes: bool,
}

/// Adds bytes up to a sum.
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
}

impl Sum {
    /// The sum.
    pub fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::Sha256(b) | Self::Blake3(b) => b,
        }
    }

    /// A hasher of its kind.
    pub fn hasher(&self) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(sha2::Sha256::new()),
            Self::Blake3(_) => Hasher::Blake3(Box::default()),
        }
    }

    /// Whether `bytes` are what it says.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let mut h = self.hasher();
        h.update(bytes);
        h.finish() == *self.bytes()
    }
}

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Blake3(h) => drop(h.update(bytes)),
        }
    }

    /// The sum.
    pub fn finish(self) -> [u8; 32] {
        match self {
            Self::Sha256(h) => h.finalize().into(),
            Self::Blake3(h) => *h.finalize().as_bytes(),
        }
    }
}

impl Item {
    /// A file without a sum of its own anywhere: that which it has now.
    pub fn as_it_is(path: &str, from: PathBuf) -> Result<Self, ShipError> {
        let (sum, bytes) = datanode_schema::files::sha256_file(&from).map_err(here(&from))?;
        Ok(Self { path: path.to_owned(), from, sum: Sum::Sha256(sum), bytes, changes: false })
    }

    /// The whole file, where it is what it must be.
    pub fn read(&self) -> Result<bytes::Bytes, ShipError> {
        let file = File::open(&self.from).map_err(here(&self.from))?;
        let mut body = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or(0).saturating_add(1));
        file.take(self.bytes.saturating_add(1)).read_to_end(&mut body).map_err(here(&self.from))?;
        if body.len() as u64 != self.bytes || !self.sum.is_of(&body) {
            return Err(ShipError::AlteredHere(self.from.display().to_string()));
        }
        Ok(body.into())
    }

    /// Whether the bytes of `file` are what they must be.
    pub fn is_in(&self, file: &Path) -> Result<bool, ShipError> {
        let failed = |e| if file == self.from { here(file)(e) } else { io(file)(e) };
        let mut f = File::open(file).map_err(failed)?;
        let (mut h, mut total, mut piece) = (self.sum.hasher(), 0u64, vec![0u8; 256 << 10]);
        loop {
            let n = f.read(&mut piece).map_err(failed)?;
            let Some(part) = piece.get(..n).filter(|p| !p.is_empty()) else { break };
            h.update(part);
            total += n as u64;
        }
        Ok(total == self.bytes && h.finish() == *self.sum.bytes())
    }
}
