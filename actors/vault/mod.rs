//! The vault: a folder of objects named by their BLAKE3, with the records that say what they are.
//!
//! ```text
//! chunks/<aa>/<hex BLAKE3>       immutable; published by link, never overwritten
//! stanzas/<hex uid>.age          the wrapped pack key, and `<hex uid>.age.sha256` for `sha256sum -c`
//!         <hex uid>.passphrases.json   what is public of recipients that a passphrase opens, where there are any
//!         <hex uid>.shredded       in place of all of them: the key was dropped on purpose
//! descriptors/<hex uid>.json     the public record; its presence is the commit of a sealing
//! tmp/                           files being written; swept when nobody writes
//! quarantine/<name>.<n>          what repair set aside: bad bytes are kept until a person removes them
//! repair.log                     what repair tried, a JSON line each step
//! tombstones, removed            what nothing needs, and what was let go
//! trash/<day>/                   what earlier versions took away; still emptied
//! .lock                          shared by writers, exclusive for the collector
//! ```
//!
//! Owns names, durability, checking, repair and removal. What an object means is the sealing's affair.
//!
//! | file | owns |
//! |---|---|
//! | `publish`, `stanza` | how a file comes to be here |
//! | `finding` | what can be wrong: the three-way diagnosis |
//! | `inventory`, `reading`, `check` | what should be here; reading it; everything that is wrong, as a list |
//! | `repair`, `records`, `aside`, `sources` | putting right what can be; setting aside what was bad; where other copies are |
//! | `index` | the trees that are made of descriptors |
//! | `costs` | what a lost object costs |
//! | `tombstones`, `retention` | what nothing needs: marked, later deleted |
//! | `replica` | the second copy, kept in step |
//! | `scrub`, `upkeep`, `incidents` | what a node does each night, and what it reports |

#[cfg(feature = "node")]
pub mod actor;
#[cfg(feature = "node")]
mod aside;
mod base64;
mod batch;
pub mod beacon;
pub mod challenge;
#[cfg(feature = "node")]
mod check;
#[cfg(feature = "node")]
mod costs;
#[cfg(feature = "node")]
mod finding;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "node")]
mod index;
#[cfg(feature = "node")]
mod inventory;
mod publish;
#[cfg(feature = "node")]
mod reading;
#[cfg(feature = "node")]
mod records;
#[cfg(feature = "node")]
mod repair;
#[cfg(feature = "node")]
pub mod replica;
mod retention;
#[cfg(feature = "node")]
pub mod scrub;
#[cfg(feature = "node")]
mod sources;
mod stanza;
mod tombstones;
#[cfg(feature = "node")]
pub mod upkeep;

pub(crate) use batch::{Adding, Written};
#[cfg(feature = "node")]
pub use check::{ALL_PARTS, CheckPlan, CheckReport, Share, check_vault};
#[cfg(feature = "node")]
pub use finding::{Class, Finding, Subject};
#[cfg(feature = "node")]
pub use index::{IndexMade, rebuild_index};
#[cfg(feature = "node")]
pub use inventory::{Inventory, Log, Logged, Named, log_of};
#[cfg(feature = "node")]
pub use reading::Depth;
#[cfg(feature = "node")]
pub(crate) use records::fits;
#[cfg(feature = "node")]
pub use repair::{RepairPlan, Repaired, repair_vault};
pub use retention::{Collect, Collected, Emptied};
#[cfg(feature = "node")]
pub use sources::{Copies, Remote};
pub use stanza::{Shredded, stanza_names};
pub use tombstones::{Mark, Tomb, Tombstones, read as read_tombstones};

/// Sealings that were let go, and when (unix seconds).
pub type Removed = std::collections::BTreeMap<PackUid, i64>;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::seal::{Descriptor, Diagnosis, MAX_DESCRIPTOR, PackUid, SealError};

/// An open vault. Cheap to clone; holds no file handle.
#[derive(Clone, Debug)]
pub struct Vault {
    root: PathBuf,
    threads: usize,
    /// Folders of sealings that those in `root` build on, where each lies in one of its own, as at a destination.
    siblings: Vec<PathBuf>,
}

/// Holds the vault's lock until dropped.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code, reason = "held for its lock")] File);

impl Vault {
    /// Opens the vault in this folder; creates what is missing.
    pub fn open(dir: &Path) -> Result<Self, SealError> {
        for folder in ["chunks", "stanzas", "descriptors", "tmp"] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(SealError::io("create", &path))?;
        }
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
        Ok(Self { root: dir.to_path_buf(), threads, siblings: Vec::new() })
    }

    /// The vault in this folder, which must be one; nothing is made.
    ///
    /// # Errors
    /// There is none.
    pub fn at(dir: &Path) -> Result<Self, SealError> {
        if !dir.join("descriptors").is_dir() {
            return Err(SealError::NotFound { what: "vault", path: dir.join("descriptors") });
        }
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
        Ok(Self { root: dir.to_path_buf(), threads, siblings: Vec::new() })
    }

    /// Opens a vault, or a sealing as it was shipped: what it requires is looked for in the folders beside it, which are named by
    /// their sealings.
    pub fn open_shipped(dir: &Path) -> Result<Self, SealError> {
        Self::open(dir)?.with_those_beside()
    }

    /// Looks for what its sealings require in the folders beside it, which are named by their sealings.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn with_those_beside(mut self) -> Result<Self, SealError> {
        let vault = &mut self;
        let beside = fs::canonicalize(&vault.root).map_err(SealError::io("open", &vault.root))?;
        let Some(beside) = beside.parent().map(Path::to_owned) else { return Ok(self) };
        let mut open = vault.descriptors()?;
        let mut met: std::collections::BTreeSet<PackUid> = open.iter().copied().collect();
        while let Some(uid) = open.pop() {
            // One that cannot be read is reported by whoever needs it.
            let Ok(d) = vault.descriptor(&uid) else { continue };
            for needed in d.requires.into_iter().filter(|u| met.insert(*u)).collect::<Vec<_>>() {
                let folder = beside.join(hex::encode(needed));
                if folder.join("descriptors").is_dir() {
                    vault.siblings.push(folder);
                    open.push(needed);
                }
            }
        }
        Ok(self)
    }

    /// Where `name` is: in the vault, else in a folder beside it that has it.
    pub(super) fn find(&self, name: PathBuf) -> PathBuf {
        let own = self.root.join(&name);
        if self.siblings.is_empty() || own.exists() {
            return own;
        }
        self.siblings.iter().map(|s| s.join(&name)).find(|p| p.exists()).unwrap_or(own)
    }

    /// Sets how many threads verifying and opening use (at least 1); by default the processors, at most 4.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folders beside it that it looks into.
    pub(super) fn siblings(&self) -> impl Iterator<Item = &PathBuf> {
        self.siblings.iter()
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Where the object of this name is or would be.
    pub fn object_path(&self, hash: &[u8; 32]) -> PathBuf {
        let name = hex::encode(hash);
        self.find(Path::new("chunks").join(name.get(..2).unwrap_or("00")).join(name))
    }

    /// Where the descriptor of this sealing is or would be.
    pub fn descriptor_path(&self, uid: &PackUid) -> PathBuf {
        self.find(Path::new("descriptors").join(format!("{}.json", hex::encode(uid))))
    }

    /// Whether an object of this name and length is there; its bytes are not read.
    pub fn presence(&self, hash: &[u8; 32], len: u64) -> Result<(), Diagnosis> {
        let meta = fs::symlink_metadata(self.object_path(hash)).map_err(unreadable)?;
        match meta.len() {
            found if found == len && meta.is_file() => Ok(()),
            found => Err(Diagnosis::Length { expected: len, found }),
        }
    }

    /// Reads the object of exactly this length into `buffer` and checks it against its name.
    /// Nothing is allocated for a file of another length.
    pub fn read_into(&self, hash: &[u8; 32], len: u64, buffer: &mut Vec<u8>) -> Result<(), Diagnosis> {
        let file = File::open(self.object_path(hash)).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?.len();
        if found != len {
            return Err(Diagnosis::Length { expected: len, found });
        }
        buffer.clear();
        let room = usize::try_from(len).map_err(|_| Diagnosis::Length { expected: len, found })?;
        buffer.reserve(room.saturating_add(1));
        file.take(len.saturating_add(1)).read_to_end(buffer).map_err(unreadable)?;
        if blake3::hash(buffer) != *hash { Err(Diagnosis::Leaf) } else { Ok(()) }
    }

    /// The object of this name, verified; refused beyond `max_len` bytes before anything is allocated.
    pub fn get(&self, hash: &[u8; 32], max_len: u64) -> Result<Vec<u8>, SealError> {
        let path = self.object_path(hash);
        let bad = |why: Diagnosis| SealError::integrity(format!("object {}", path.display()), why.to_string());
        let len = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SealError::NotFound { what: "object", path });
            }
            Err(error) => return Err(SealError::io("stat", &path)(error)),
        };
        if len > max_len {
            return Err(bad(Diagnosis::Length { expected: max_len, found: len }));
        }
        let mut object = Vec::new();
        self.read_into(hash, len, &mut object).map_err(bad)?;
        Ok(object)
    }

    /// The sealings that are committed here, sorted. A stray file among the descriptors is an error, because a
    /// collector that overlooked a descriptor would take its objects away.
    pub fn descriptors(&self) -> Result<Vec<PackUid>, SealError> {
        let folder = self.root.join("descriptors");
        let mut uids = Vec::new();
        for entry in fs::read_dir(&folder).map_err(SealError::io("list", &folder))? {
            let entry = entry.map_err(SealError::io("list", &folder))?;
            let name = entry.file_name();
            let mut uid = PackUid::default();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
            match stem.map(|stem| hex::decode_to_slice(stem, &mut uid)) {
                Some(Ok(())) => uids.push(uid),
                _ => {
                    let why = "is no descriptor (<32 hex digits>.json); move it out of the vault";
                    return Err(SealError::contract(entry.path().display().to_string(), why));
                }
            }
        }
        uids.sort_unstable();
        Ok(uids)
    }

    /// The descriptor of a sealing: canonical, consistent, and of the uid in its name.
    pub fn descriptor(&self, uid: &PackUid) -> Result<Descriptor, SealError> {
        let path = self.descriptor_path(uid);
        let what = format!("descriptor {}", path.display());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SealError::NotFound { what: "pack descriptor", path });
            }
            Err(error) => return Err(SealError::io("open", &path)(error)),
        };
        let mut text = Vec::new();
        file.take(MAX_DESCRIPTOR.saturating_add(1)).read_to_end(&mut text).map_err(SealError::io("read", &path))?;
        if text.len() as u64 > MAX_DESCRIPTOR {
            return Err(SealError::integrity(what, "is longer than any descriptor; restore it from a replica"));
        }
        let descriptor = Descriptor::decode(&what, &text)?;
        if descriptor.pack_uid != *uid {
            return Err(SealError::integrity(what, "is of another pack; restore it from a replica"));
        }
        Ok(descriptor)
    }

    /// Lets several writers work, and keeps the collector away until dropped.
    pub fn lock_shared(&self) -> Result<Guard, SealError> {
        let (file, path) = self.lock_file()?;
        file.try_lock_shared().map_err(|error| lock_failed(error, &path, &self.root))?;
        Ok(Guard(file))
    }

    /// Keeps every writer away until dropped.
    pub fn lock_exclusive(&self) -> Result<Guard, SealError> {
        let (file, path) = self.lock_file()?;
        file.try_lock().map_err(|error| lock_failed(error, &path, &self.root))?;
        Ok(Guard(file))
    }

    fn lock_file(&self) -> Result<(File, PathBuf), SealError> {
        let path = self.root.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(SealError::io("open", &path))?;
        Ok((file, path))
    }
}

fn lock_failed(error: fs::TryLockError, path: &Path, root: &Path) -> SealError {
    match error {
        fs::TryLockError::WouldBlock => SealError::Busy(root.to_path_buf()),
        fs::TryLockError::Error(error) => SealError::io("lock", path)(error),
    }
}

fn unreadable(error: std::io::Error) -> Diagnosis {
    match error.kind() {
        std::io::ErrorKind::NotFound => Diagnosis::Missing,
        _ => Diagnosis::Unreadable(error.to_string()),
    }
}
