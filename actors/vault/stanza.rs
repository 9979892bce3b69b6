//! Stanzas: the wrapped pack key of a sealing and its checksum for `sha256sum -c`.
//!
//! Replaceable, unlike everything else here: rotation wraps the same key to other recipients. Stanza first, checksum
//! second; a kill in between leaves a mismatch that doing it again repairs. Beside it, where a passphrase may open the sealing, what is
//! public of that; and where the key was dropped on purpose, in place of all of them, the note of it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Vault;
use super::publish::{Dirty, sync_folders};
use crate::seal::passphrase::{decode_records, encode_records};
use crate::seal::{PackUid, PassphraseRecord, SealError, canonical};
use serde::{Deserialize, Serialize};

/// Room for a hundred recipients and more.
const MAX_STANZA: u64 = 64 * 1024;

/// The note of a key that was dropped on purpose, `stanzas/<uid>.shredded`: canonical JSON, fields in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shredded {
    /// Who did it, `uid 1000`.
    pub by: String,
    /// The sealing, hex.
    pub pack_uid: String,
    /// When, RFC 3339.
    pub shredded_at: String,
}

impl Shredded {
    /// The canonical text.
    pub fn encode(&self) -> Result<Vec<u8>, SealError> {
        canonical::encode(self)
    }
}

/// What the files of a stanza are called, in the order in which they are written; that of a shredded key last.
pub fn stanza_names(uid: &PackUid) -> [String; 4] {
    ["passphrases.json", "age", "age.sha256", "shredded"].map(|end| format!("stanzas/{}.{end}", hex::encode(uid)))
}

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

    /// Where the files of a stanza are or would be, as [`stanza_names`] has them.
    pub fn stanza_files(&self, uid: &PackUid) -> [PathBuf; 4] {
        stanza_names(uid).map(|name| self.find(PathBuf::from(name)))
    }

    /// The recipients that a passphrase opens; none where there is no record of any.
    pub fn passphrases(&self, uid: &PackUid) -> Result<Vec<PassphraseRecord>, SealError> {
        let [path, ..] = self.stanza_files(uid);
        match read_small(&path)? {
            Some(text) => decode_records(&path.display().to_string(), &text),
            None => Ok(Vec::new()),
        }
    }

    /// The note that its key was dropped on purpose; `None` where it was not. A stanza that is still there goes before it.
    pub fn shredded(&self, uid: &PackUid) -> Result<Option<Shredded>, SealError> {
        let [.., path] = self.stanza_files(uid);
        let Some(text) = read_small(&path)? else { return Ok(None) };
        let what = path.display().to_string();
        let note: Shredded = canonical::decode(&what, &text)?;
        if note.pack_uid != hex::encode(uid) {
            return Err(SealError::integrity(what, "is of another sealing; restore it from a replica"));
        }
        Ok(Some(note))
    }

    /// The sealings that have a stanza here, sorted; those that are not complete yet among them.
    pub fn stanzas(&self) -> Result<Vec<PackUid>, SealError> {
        let folder = self.root().join("stanzas");
        let mut uids = Vec::new();
        for entry in fs::read_dir(&folder).map_err(SealError::io("list", &folder))? {
            let name = entry.map_err(SealError::io("list", &folder))?.file_name();
            let mut uid = PackUid::default();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".age"));
            if stem.is_some_and(|stem| hex::decode_to_slice(stem, &mut uid).is_ok()) {
                uids.push(uid);
            }
        }
        uids.sort_unstable();
        Ok(uids)
    }

    /// Says who may open a sealing by passphrase, before its stanza does; durable when this returns. None: nobody.
    pub(crate) fn put_passphrases(&self, uid: &PackUid, records: &[PassphraseRecord]) -> Result<(), SealError> {
        let [path, ..] = self.stanza_files(uid);
        if records.is_empty() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                removed => removed.map_err(SealError::io("remove", &path))?,
            }
        } else {
            let temp = self.write_temp(&encode_records(records)?)?;
            fs::rename(&temp, &path).map_err(SealError::io("replace", &path))?;
        }
        sync_folders(&Dirty::from([self.root().join("stanzas")]))
    }

    /// Drops the key of a sealing for good: the note first, then whatever holds the key, in the trash as well. Doing it again ends what a
    /// kill began. What other copies of the vault hold is not reached.
    pub(crate) fn shred(&self, note: &Shredded, uid: &PackUid) -> Result<(), SealError> {
        let mut dirty = Dirty::new();
        let [passphrases, stanza, sum, marker] = self.stanza_files(uid);
        if self.shredded(uid)?.is_none() {
            self.publish(&marker, &note.encode()?, &mut dirty)?;
            sync_folders(&dirty)?;
        }
        datanode_schema::failpoint::pass("key.shredding");
        let trash = self.root().join("trash");
        let days = fs::read_dir(&trash).into_iter().flatten().flatten().map(|day| day.path());
        let trashed = days.flat_map(|day| stanza_names(uid).into_iter().take(3).map(move |name| day.join(name)));
        for path in [stanza, sum, passphrases].into_iter().chain(trashed) {
            match fs::remove_file(&path) {
                Ok(()) => dirty.extend(path.parent().map(Path::to_path_buf)),
                Err(error) if error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::NotADirectory => {}
                Err(error) => return Err(SealError::io("remove", &path)(error)),
            }
        }
        sync_folders(&dirty)
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
            datanode_schema::failpoint::pass("key.stanza");
        }
        sync_folders(&Dirty::from([self.root().join("stanzas")]))
    }

    /// What is wrong with the stanza of this sealing, as far as it can be told without a key: (file, what).
    pub fn stanza_problem(&self, uid: &PackUid) -> Result<Option<(PathBuf, &'static str)>, SealError> {
        let (path, sum_path) = (self.stanza_path(uid), self.stanza_sum_path(uid));
        let Some(stanza) = self.stanza(uid)? else {
            if self.shredded(uid)?.is_some() {
                return Ok(None);
            }
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
