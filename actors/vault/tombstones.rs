//! Tombstones: what nothing needs any more, since when, and how long the anchor log was then. And the list of what was let go.
//!
//! Two text files in the vault, a line each thing: `tombstones` (`pack|object <hex> <unix seconds> <size of the log>`), replaced as one, and
//! `removed` (`pack|object <hex> <unix seconds>`), which only grows: by it a sealing that was let go is told from one that was lost. A line
//! that cannot be read counts for nothing: a lost tombstone delays a deletion, and no more.

use super::{Removed, Vault};
use crate::seal::{PackUid, SealError};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

/// What has a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A sealing: descriptor, stanza, and the objects that no other descriptor names.
    Pack(PackUid),
    /// An object that no descriptor names.
    Object([u8; 32]),
}

/// Since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tomb {
    /// Unix seconds.
    pub at: i64,
    /// Entries of the anchor log at that time.
    pub log: u64,
}

/// All tombstones.
pub type Tombstones = BTreeMap<Mark, Tomb>;

/// A longer line is none of ours, bytes.
const MAX_LINE: u64 = 256;

impl Mark {
    fn write(&self) -> String {
        match self {
            Self::Pack(u) => format!("pack {}", hex::encode(u)),
            Self::Object(h) => format!("object {}", hex::encode(h)),
        }
    }

    fn parse(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "pack" => {
                let mut u = PackUid::default();
                hex::decode_to_slice(name, &mut u).ok().map(|()| Self::Pack(u))
            }
            "object" => {
                let mut h = [0u8; 32];
                hex::decode_to_slice(name, &mut h).ok().map(|()| Self::Object(h))
            }
            _ => None,
        }
    }
}

/// The tombstones of a vault.
///
/// # Errors
/// The file cannot be read.
pub fn read(vault: &Vault) -> Result<Tombstones, SealError> {
    let mut all = Tombstones::new();
    lines(&vault.root().join("tombstones"), |words| {
        if let [kind, name, at, log] = words
            && let (Some(mark), Ok(at), Ok(log)) = (Mark::parse(kind, name), at.parse(), log.parse())
        {
            all.insert(mark, Tomb { at, log });
        }
    })?;
    Ok(all)
}

/// Replaces all tombstones; durable when this returns.
///
/// # Errors
/// The system's.
pub(super) fn write(vault: &Vault, all: &Tombstones) -> Result<(), SealError> {
    let path = vault.root().join("tombstones");
    let mut text = String::new();
    for (mark, t) in all {
        text += &format!("{} {} {}\n", mark.write(), t.at, t.log);
    }
    let temp = vault.write_temp(text.as_bytes())?;
    fs::rename(&temp, &path).map_err(SealError::io("replace", &path))?;
    sync(vault.root())
}

/// Adds to the list of what was let go; durable when this returns.
pub(super) fn record(vault: &Vault, marks: &[Mark], at: i64) -> Result<(), SealError> {
    if marks.is_empty() {
        return Ok(());
    }
    let path = vault.root().join("removed");
    // A line that a kill cut off must not swallow the next one.
    let mut text = String::from("\n");
    for m in marks {
        text += &format!("{} {at}\n", m.write());
    }
    let mut file = File::options().create(true).append(true).open(&path).map_err(SealError::io("open", &path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(SealError::io("write", &path))?;
    sync(vault.root())
}

/// Everything that was let go, and when.
pub(super) fn removed(vault: &Vault, mut each: impl FnMut(Mark, i64)) -> Result<(), SealError> {
    lines(&vault.root().join("removed"), |words| {
        if let [kind, name, at] = words
            && let (Some(mark), Ok(at)) = (Mark::parse(kind, name), at.parse())
        {
            each(mark, at);
        }
    })
}

impl Vault {
    /// The sealings that were let go, and when (unix seconds).
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn removed(&self) -> Result<Removed, SealError> {
        let mut all = Removed::new();
        removed(self, |mark, at| {
            if let Mark::Pack(uid) = mark {
                all.insert(uid, at);
            }
        })?;
        Ok(all)
    }
}

fn sync(folder: &Path) -> Result<(), SealError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(SealError::io("sync", folder))
}

fn lines(path: &Path, mut each: impl FnMut(&[&str])) -> Result<(), SealError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(SealError::io("open", path)(e)),
    };
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line).map_err(SealError::io("read", path))?;
        if n == 0 {
            return Ok(());
        }
        if let Ok(text) = std::str::from_utf8(&line) {
            let words: Vec<&str> = text.split_whitespace().collect();
            each(&words);
        }
    }
}
