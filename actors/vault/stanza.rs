//! Stanzas: the wrapped pack key of a sealing and its checksum for `sha256sum -c`.
//!
//! Replaceable, unlike everything else here: rotation wraps the same key to other recipients. Stanza first, checksum
//! second; a kill in between leaves a mismatch that doing it again repairs.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Vault;
use super::publish::{Dirty, sync_folders};
use crate::seal::{PackUid, SealError};

/// Room for a hundred recipients and more.
const MAX_STANZA: u64 = 64 * 1024;

impl Vault {
    /// Where the stanza of this sealing is or would be.
    pub fn stanza_path(&self, uid: &PackUid) -> PathBuf {
        self.find(Path::new("stanzas").join(format!("{}.age", hex::encode(uid))))
    }

    /// Where its checksum is or would be.
    pub fn stanza_sum_path(&self, uid: &PackUid) -> PathBuf {
        self.find(Path::new("stanzas").join(format!("{}.age.sha256", hex::encode(uid))))
    }

    /// The stanza as it is; `None` where there is none.
    pub fn stanza(&self, uid: &PackUid) -> Result<Option<Vec<u8>>, SealError> {
        read_small(&self.stanza_path(uid))
    }

    /// Publishes the stanza of a new sealing and its checksum; durable when this returns.
    pub fn put_stanza(&self, uid: &PackUid, stanza: &[u8]) -> Result<(), SealError> {
        let mut dirty = Dirty::new();
        self.publish(&self.stanza_path(uid), stanza, &mut dirty)?;
        self.publish(&self.stanza_sum_path(uid), sum_line(uid, stanza).as_bytes(), &mut dirty)?;
        sync_folders(&dirty)
    }

    /// Replaces the stanza of a sealing and its checksum; durable when this returns.
    pub fn replace_stanza(&self, uid: &PackUid, stanza: &[u8]) -> Result<(), SealError> {
        let sum = sum_line(uid, stanza);
        for (path, bytes) in [(self.stanza_path(uid), stanza), (self.stanza_sum_path(uid), sum.as_bytes())] {
            let temp = self.write_temp(bytes)?;
            fs::rename(&temp, &path).map_err(SealError::io("replace", &path))?;
        }
        sync_folders(&Dirty::from([self.root().join("stanzas")]))
    }

    /// What is wrong with the stanza of this sealing, as far as it can be told without a key: (file, what).
    pub fn stanza_problem(&self, uid: &PackUid) -> Result<Option<(PathBuf, &'static str)>, SealError> {
        let (path, sum_path) = (self.stanza_path(uid), self.stanza_sum_path(uid));
        let Some(stanza) = self.stanza(uid)? else {
            return Ok(Some((
                path,
                "missing: restore it from a replica, or the pack can only be opened by its raw key",
            )));
        };
        let Some(sum) = read_small(&sum_path)? else {
            return Ok(Some((sum_path, "missing: rotate the pack's key to write it again")));
        };
        if sum != sum_line(uid, &stanza).into_bytes() {
            return Ok(Some((
                path,
                "stanza and .sha256 disagree: one of them was altered; restore them from a replica",
            )));
        }
        Ok(None)
    }
}

/// The line that `sha256sum -c` reads, from within `stanzas/`.
pub(super) fn sum_line(uid: &PackUid, stanza: &[u8]) -> String {
    format!("{}  {}.age\n", hex::encode(Sha256::digest(stanza)), hex::encode(uid))
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>, SealError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SealError::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_STANZA.saturating_add(1)).read_to_end(&mut bytes).map_err(SealError::io("read", path))?;
    if bytes.len() as u64 > MAX_STANZA {
        let why = "is longer than any stanza; restore it from a replica";
        return Err(SealError::integrity(path.display().to_string(), why));
    }
    Ok(Some(bytes))
}
