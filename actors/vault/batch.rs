//! Many objects at once: written by whoever made them, made durable a batch at a time, then given their names.
//!
//! The write protocol is that of a single object (see `publish`), only that one sync serves several temps: no name is linked
//! before its bytes are durable, and the folders are synced before anything refers to the names.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use datanode_schema::direct::Direct;
use datanode_schema::failpoint;
use nix::unistd::syncfs;

use super::Vault;
use super::publish::{Dirty, sync_folders};
use crate::seal::SealError;

/// So many folders are synced one by one; of more the file system is synced once.
const FEW: usize = 4;

/// An object's bytes in `tmp/`, not yet durable and without a name. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Written {
    hash: [u8; 32],
    temp: PathBuf,
    file: File,
}

impl Drop for Written {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.temp);
    }
}

/// A vault that objects are being added to.
#[derive(Debug)]
pub(crate) struct Adding<'a> {
    vault: &'a Vault,
    /// Open since before the first write: an error of writing back is then told by its sync.
    root: File,
    dirty: Dirty,
}

impl Vault {
    /// Begins to add objects. Hold the shared lock meanwhile.
    pub(crate) fn adding(&self) -> Result<Adding<'_>, SealError> {
        let root = File::open(self.root()).map_err(SealError::io("open", self.root()))?;
        Ok(Adding { vault: self, root, dirty: Dirty::new() })
    }

    /// Writes an object to a temp. Nothing where its name holds the same bytes already; other bytes there are an error.
    pub(crate) fn write(&self, hash: &[u8; 32], object: &[u8]) -> Result<Option<Written>, SealError> {
        if self.holds(&self.object_path(hash), object)? {
            return Ok(None);
        }
        let (temp, file) = self.new_temp()?;
        let file = Direct::new(file);
        let written = file.write_all_at(object, 0);
        let object = Written { hash: *hash, temp, file: file.into_file() };
        written.map_err(SealError::io("write", &object.temp))?;
        failpoint::pass("seal.written");
        Ok(Some(object))
    }
}

impl Adding<'_> {
    /// Makes these durable and gives them their names.
    pub(crate) fn link(&mut self, batch: Vec<Written>) -> Result<(), SealError> {
        match batch.as_slice() {
            [] => return Ok(()),
            [one] => one.file.sync_all().map_err(SealError::io("sync", &one.temp))?,
            _ => syncfs(&self.root).map_err(SealError::errno("sync", self.vault.root()))?,
        }
        failpoint::pass("seal.synced");
        for one in batch {
            let path = self.vault.object_path(&one.hash);
            self.vault.make_folder(&path, &mut self.dirty)?;
            match fs::hard_link(&one.temp, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => compare(&one.temp, &path)?,
                Err(error) => return Err(SealError::io("link", &path)(error)),
            }
        }
        failpoint::pass("seal.linked");
        Ok(())
    }

    /// Notes a name that was there already: the run that linked it may have died before its folder was synced.
    pub(crate) fn recognise(&mut self, hash: &[u8; 32]) {
        self.dirty.extend(self.vault.object_path(hash).parent().map(Path::to_path_buf));
    }

    /// Makes the names durable. Only then may something refer to them.
    pub(crate) fn finish(self) -> Result<(), SealError> {
        if self.dirty.len() > FEW {
            return syncfs(&self.root).map_err(SealError::errno("sync", self.vault.root()));
        }
        sync_folders(&self.dirty)
    }
}

/// Another writer was first with this name: it must hold the same bytes.
fn compare(temp: &Path, path: &Path) -> Result<(), SealError> {
    let open = |path: &Path| File::open(path).map_err(SealError::io("open", path));
    let (mut ours, mut theirs) = (open(temp)?, open(path)?);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        for (file, path, piece) in [(&mut ours, temp, &mut a), (&mut theirs, path, &mut b)] {
            piece.clear();
            file.take(64 * 1024).read_to_end(piece).map_err(SealError::io("read", path))?;
        }
        if a != b {
            return Err(super::publish::other_bytes(path));
        }
        if a.is_empty() {
            return Ok(());
        }
    }
}
