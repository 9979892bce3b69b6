//! A finished plain pack on disk, read for sealing.
//!
//! Nothing is taken on trust: the folder must hold exactly the files that its sums list, all regular, and every byte
//! read is hashed against its sum while it is sealed, so rot between export and sealing is found, not preserved.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use super::chunk::PAD;
use super::error::SealError;
use super::manifest::MAX_MANIFEST;
use super::paths::{self, MANIFEST, SUMS, Sum};

/// A file of the pack as its sums and the file system have it.
#[derive(Clone, Debug)]
pub(crate) struct PackFile {
    pub sum: Sum,
    pub length: u64,
}

/// The pack's two texts and its other files in the order of the sums.
pub(crate) struct PlainPack {
    pub dir: PathBuf,
    pub manifest_json: String,
    pub sums_text: String,
    pub files: Vec<PackFile>,
}

impl PlainPack {
    /// Reads the texts, checks `manifest.json` against its sum, and that no file is missing or extra.
    pub(crate) fn read(dir: &Path) -> Result<Self, SealError> {
        let sums_text = read_text(dir, SUMS)?;
        let manifest_json = read_text(dir, MANIFEST)?;
        let mut extra = BTreeSet::new();
        walk(dir, "", &mut extra)?;
        extra.remove(SUMS);
        let mut files = Vec::new();
        for sum in paths::parse_sums(&sums_text)? {
            let path = dir.join(&sum.path);
            if !extra.remove(&sum.path) {
                return Err(altered(&path, "is listed and missing"));
            }
            if sum.path == MANIFEST {
                if hex::encode(Sha256::digest(&manifest_json)) != sum.sha256 {
                    return Err(altered(&path, "does not match its sum"));
                }
                continue;
            }
            let length = fs::symlink_metadata(&path).map_err(SealError::io("stat", &path))?.len();
            files.push(PackFile { sum, length });
        }
        match extra.first() {
            Some(path) => Err(altered(&dir.join(path), "is not listed")),
            None => Ok(Self { dir: dir.to_path_buf(), manifest_json, sums_text, files }),
        }
    }
}

fn altered(path: &Path, why: &str) -> SealError {
    SealError::integrity(
        format!("pack file {}", path.display()),
        format!("{why} in {SUMS}: the pack was altered after its export; nothing of it was committed; export it again"),
    )
}

pub(super) fn open_regular(path: &Path) -> Result<File, SealError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NOFOLLOW.bits());
    match options.open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SealError::NotFound { what: "pack file", path: path.to_path_buf() })
        }
        Err(error) => Err(SealError::io("open", path)(error)),
    }
}

fn read_text(dir: &Path, name: &str) -> Result<String, SealError> {
    let path = dir.join(name);
    let mut bytes = Vec::new();
    let limit = MAX_MANIFEST as u64;
    open_regular(&path)?.take(limit).read_to_end(&mut bytes).map_err(SealError::io("read", &path))?;
    if bytes.len() as u64 == limit {
        return Err(SealError::contract(path.display().to_string(), "is longer than a sealed manifest can hold"));
    }
    String::from_utf8(bytes).map_err(|_| SealError::contract(path.display().to_string(), "is not UTF-8"))
}

fn walk(dir: &Path, below: &str, found: &mut BTreeSet<String>) -> Result<(), SealError> {
    for entry in fs::read_dir(dir).map_err(SealError::io("list", dir))? {
        let entry = entry.map_err(SealError::io("list", dir))?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(|name| format!("{below}{name}")) else {
            return Err(SealError::contract(path.display().to_string(), "has a name that is not UTF-8"));
        };
        let kind = entry.file_type().map_err(SealError::io("stat", &path))?;
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), found)?;
        } else if kind.is_file() {
            found.insert(name);
        } else {
            return Err(altered(&path, "is neither file nor folder, so it cannot be what is meant"));
        }
    }
    Ok(())
}

/// The stream of files to seal, cut into chunks. One reader, used in turns.
pub(crate) struct StreamReader {
    dir: PathBuf,
    ahead: VecDeque<PackFile>,
    current: Option<Current>,
    next: u32,
}

struct Current {
    path: PathBuf,
    file: File,
    left: u64,
    hash: Sha256,
    expected: String,
}

impl StreamReader {
    pub(crate) fn new(dir: &Path, files: impl IntoIterator<Item = PackFile>) -> Self {
        Self { dir: dir.to_path_buf(), ahead: files.into_iter().collect(), current: None, next: 0 }
    }

    /// Fills `buffer` with the next chunk of at most `size` bytes; the last one is padded with zeros. Gives its index,
    /// or nothing at the end of the stream. Every file that ends in it has been compared with its sum.
    pub(crate) fn next_chunk(&mut self, size: usize, buffer: &mut Vec<u8>) -> Result<Option<u32>, SealError> {
        buffer.clear();
        buffer.reserve(size.saturating_add(1));
        while buffer.len() < size {
            let Some(mut current) = self.take_current()? else { break };
            let want = current.left.min(size.saturating_sub(buffer.len()) as u64);
            let before = buffer.len();
            let read =
                (&current.file).take(want).read_to_end(buffer).map_err(SealError::io("read", &current.path))? as u64;
            current.hash.update(buffer.get(before..).unwrap_or_default());
            current.left = current.left.saturating_sub(read);
            if read < want {
                return Err(altered(&current.path, "became shorter while it was read and is not what it was"));
            }
            if current.left == 0 { current.finish()? } else { self.current = Some(current) }
        }
        if buffer.is_empty() && self.current.is_none() && self.ahead.is_empty() {
            return Ok(None);
        }
        buffer.resize(buffer.len().next_multiple_of(PAD), 0);
        let index = self.next;
        self.next = index.checked_add(1).ok_or_else(|| SealError::internal("too many chunks"))?;
        Ok(Some(index))
    }

    fn take_current(&mut self) -> Result<Option<Current>, SealError> {
        if let Some(current) = self.current.take() {
            return Ok(Some(current));
        }
        while let Some(PackFile { sum, length }) = self.ahead.pop_front() {
            let path = self.dir.join(&sum.path);
            let file = open_regular(&path)?;
            let current = Current { path, file, left: length, hash: Sha256::new(), expected: sum.sha256 };
            if length > 0 {
                return Ok(Some(current));
            }
            current.finish()?;
        }
        Ok(None)
    }
}

impl Current {
    fn finish(self) -> Result<(), SealError> {
        let mut beyond = [0u8; 1];
        let grown = (&self.file).read(&mut beyond).map_err(SealError::io("read", &self.path))? > 0;
        if grown || hex::encode(self.hash.finalize()) != self.expected {
            return Err(altered(&self.path, "does not match its sum"));
        }
        Ok(())
    }
}
