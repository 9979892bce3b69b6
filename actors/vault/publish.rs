//! How a file comes to be in the vault: temp → write → fsync → link without replacing → fsync of the folder.
//!
//! A name is visible only once its bytes are durable, and what is visible is never overwritten: a present file is
//! compared instead. So a retry after a crash recognises its own work, and a rotten object is reported rather than
//! silently replaced.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Vault;
use crate::seal::{Descriptor, MAX_DESCRIPTOR, SealError};

/// Folders whose entries are not yet durable.
pub(crate) type Dirty = BTreeSet<PathBuf>;

static NEXT_TEMP: AtomicU64 = AtomicU64::new(0);

impl Vault {
    /// Stores an object under its BLAKE3; durable when this returns. At most 16 MiB and some; an object that is there
    /// already is compared and left alone.
    pub fn put(&self, object: &[u8]) -> Result<[u8; 32], SealError> {
        let hash = *blake3::hash(object).as_bytes();
        let mut dirty = Dirty::new();
        self.put_named(&hash, object, &mut dirty)?;
        sync_folders(&dirty)?;
        Ok(hash)
    }

    /// Stores an object whose hash is known; the folders in `dirty` must be synced before anything refers to it.
    /// Says whether the object is new.
    fn put_named(&self, hash: &[u8; 32], object: &[u8], dirty: &mut Dirty) -> Result<bool, SealError> {
        let path = self.object_path(hash);
        self.make_folder(&path, dirty)?;
        self.publish(&path, object, dirty)
    }

    /// Makes the folder of an object where it is missing.
    pub(super) fn make_folder(&self, path: &Path, dirty: &mut Dirty) -> Result<(), SealError> {
        let Some(folder) = path.parent() else { return Ok(()) };
        match fs::create_dir(folder) {
            Ok(()) => _ = dirty.insert(self.root().join("chunks")),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SealError::io("create", folder)(error)),
        }
        dirty.insert(folder.to_path_buf());
        Ok(())
    }

    /// Commits a sealing: everything that its descriptor names must be durable before.
    pub(crate) fn put_descriptor(&self, descriptor: &Descriptor) -> Result<bool, SealError> {
        let mut dirty = Dirty::new();
        let path = self.descriptor_path(&descriptor.pack_uid);
        let text = descriptor.encode()?;
        if text.len() as u64 > MAX_DESCRIPTOR {
            return Err(SealError::contract(
                "pack",
                "has more chunks than a descriptor can list; set seal.chunk_mib to 16",
            ));
        }
        let new = self.publish(&path, &text, &mut dirty)?;
        sync_folders(&dirty)?;
        Ok(new)
    }

    /// Publishes bytes under a name that is free, or already holds the same bytes. Says whether the name was free.
    pub(super) fn publish(&self, path: &Path, bytes: &[u8], dirty: &mut Dirty) -> Result<bool, SealError> {
        // Also where the file is there already: the run that linked it may have died before this sync.
        dirty.extend(path.parent().map(Path::to_path_buf));
        if self.holds(path, bytes)? {
            return Ok(false);
        }
        let temp = self.write_temp(bytes)?;
        let linked = fs::hard_link(&temp, path);
        fs::remove_file(&temp).map_err(SealError::io("remove", &temp))?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.holds(path, bytes).map(|_| false),
            Err(error) => Err(SealError::io("link", path)(error)),
        }
    }

    /// A durable file in `tmp/` with these bytes.
    pub(super) fn write_temp(&self, bytes: &[u8]) -> Result<PathBuf, SealError> {
        let (temp, mut file) = self.new_temp()?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        match written {
            Ok(()) => Ok(temp),
            Err(error) => {
                _ = fs::remove_file(&temp);
                Err(SealError::io("write", &temp)(error))
            }
        }
    }

    /// An empty file in `tmp/`.
    pub(super) fn new_temp(&self) -> Result<(PathBuf, File), SealError> {
        let number = NEXT_TEMP.fetch_add(1, Ordering::Relaxed);
        // A dead process's temp may be a second name of what it published: it is never opened again.
        let random: u64 = rand::random();
        let temp = self.root().join("tmp").join(format!("{}-{number}-{random:016x}", std::process::id()));
        let file = File::create_new(&temp).map_err(SealError::io("create", &temp))?;
        Ok((temp, file))
    }

    /// Whether this name holds exactly these bytes; other bytes under it are an error.
    pub(super) fn holds(&self, path: &Path, bytes: &[u8]) -> Result<bool, SealError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(SealError::io("open", path)(error)),
        };
        let mut piece = vec![0u8; 64 * 1024];
        let mut rest = bytes;
        loop {
            let read = file.read(&mut piece).map_err(SealError::io("read", path))?;
            if read == 0 && rest.is_empty() {
                return Ok(true);
            }
            match rest.split_at_checked(read) {
                Some((head, tail)) if read > 0 && piece.get(..read) == Some(head) => rest = tail,
                _ => break,
            }
        }
        Err(other_bytes(path))
    }

    /// Removes temps that a killed writer left, and says how many. Busy while anyone writes.
    pub fn sweep(&self) -> Result<usize, SealError> {
        let _guard = self.lock_exclusive()?;
        let folder = self.root().join("tmp");
        let mut swept = 0usize;
        for entry in fs::read_dir(&folder).map_err(SealError::io("list", &folder))? {
            let path = entry.map_err(SealError::io("list", &folder))?.path();
            fs::remove_file(&path).map_err(SealError::io("remove", &path))?;
            swept = swept.saturating_add(1);
        }
        Ok(swept)
    }
}

/// The name is taken by bytes that are not ours.
pub(super) fn other_bytes(path: &Path) -> SealError {
    let why = "exists with other bytes and is never overwritten; it is damaged or of another sealing: run \
               `datanode vault check`, and move it away only once its replacement is at hand";
    SealError::integrity(path.display().to_string(), why)
}

/// Makes the entries of these folders durable.
pub(crate) fn sync_folders(folders: &Dirty) -> Result<(), SealError> {
    for folder in folders {
        File::open(folder).and_then(|file| file.sync_all()).map_err(SealError::io("sync", folder))?;
    }
    Ok(())
}
