//! A folder that appears whole or not at all, its files created beneath it ([`crate::beneath`]).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{RenameFlags, renameat2};
use nix::unistd::syncfs;
use rand::TryRngCore;

use super::error::SealError;
use crate::beneath::Beneath;

/// A folder being filled beside its destination. Removed when dropped before [`Staging::publish`].
pub(crate) struct Staging {
    to: PathBuf,
    temp: PathBuf,
    /// Locked as long as this process lives: a later run may remove a temp that nobody holds.
    beneath: Beneath,
    published: bool,
}

impl Staging {
    /// Begins to fill `to`, which must not exist; its parent must. Temps that killed runs left for it are removed.
    pub(crate) fn begin(to: &Path) -> Result<Self, SealError> {
        if fs::symlink_metadata(to).is_ok() {
            let why = "exists already, and a pack is opened into a fresh folder only; name another or remove it";
            return Err(SealError::contract(to.display().to_string(), why));
        }
        let name = to
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| SealError::contract(to.display().to_string(), "is no folder name"))?;
        let parent = parent_of(to);
        let prefix = format!(".{name}.opening-");
        sweep(&parent, &prefix)?;
        let mut random = [0u8; 8];
        rand::rngs::OsRng
            .try_fill_bytes(&mut random)
            .map_err(|error| SealError::contract("random generator", error.to_string()))?;
        let temp = parent.join(format!("{prefix}{}", hex::encode(random)));
        fs::create_dir(&temp).map_err(SealError::io("create", &temp))?;
        let root = File::open(&temp).map_err(SealError::io("open", &temp))?;
        root.try_lock().map_err(|_| SealError::Busy(temp.clone()))?;
        Ok(Self { to: to.to_path_buf(), temp, beneath: Beneath::new(root), published: false })
    }

    /// A second handle of the folder.
    pub(crate) fn root(&self) -> Result<File, SealError> {
        self.beneath.root().try_clone().map_err(SealError::io("open", &self.temp))
    }

    /// Creates a new file at this path, whose form was checked, and the folders above it.
    pub(crate) fn create(&mut self, path: &str) -> Result<File, SealError> {
        self.beneath.create(path).map_err(SealError::errno("create", &self.temp.join(path)))
    }

    /// Makes everything durable with one sync of the file system, then gives the folder its name.
    pub(crate) fn publish(mut self) -> Result<(), SealError> {
        syncfs(self.beneath.root()).map_err(SealError::errno("sync", &self.temp))?;
        let parent = parent_of(&self.to);
        let handle = File::open(&parent).map_err(SealError::io("open", &parent))?;
        renameat2(&handle, &self.temp_name()?, &handle, &self.to_name()?, RenameFlags::RENAME_NOREPLACE)
            .map_err(SealError::errno("rename the opened pack to (it must not exist)", &self.to))?;
        self.published = true;
        handle.sync_all().map_err(SealError::io("sync", &parent))
    }

    fn temp_name(&self) -> Result<PathBuf, SealError> {
        self.temp.file_name().map(PathBuf::from).ok_or_else(|| SealError::internal("a temp without name"))
    }

    fn to_name(&self) -> Result<PathBuf, SealError> {
        self.to.file_name().map(PathBuf::from).ok_or_else(|| SealError::internal("a folder without name"))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            _ = fs::remove_dir_all(&self.temp);
        }
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Removes temps of runs that are dead, which is to say: whose lock is free.
fn sweep(parent: &Path, prefix: &str) -> Result<(), SealError> {
    for entry in fs::read_dir(parent).map_err(SealError::io("list (the folder above must exist)", parent))? {
        let entry = entry.map_err(SealError::io("list", parent))?;
        let is_temp = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_temp || !is_folder {
            continue;
        }
        let path = entry.path();
        let dead = File::open(&path).is_ok_and(|handle| handle.try_lock().is_ok());
        if dead {
            fs::remove_dir_all(&path).map_err(SealError::io("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_in_the_way_is_refused_and_nothing_is_written_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let mut staging = Staging::begin(&dir.path().join("pack")).unwrap();
        std::os::unix::fs::symlink(&outside, staging.temp.join("data")).unwrap();
        std::os::unix::fs::symlink(outside.join("f"), staging.temp.join("file")).unwrap();
        assert!(staging.create("data/x").is_err());
        assert!(staging.create("file").is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn an_abandoned_folder_is_removed_at_once_and_a_killed_runs_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("pack");
        drop(Staging::begin(&to).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::create_dir_all(dir.path().join(".pack.opening-0000/data")).unwrap();
        let alive = Staging::begin(&to).unwrap();
        let second = Staging::begin(&to).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the living are left alone");
        alive.publish().unwrap();
        assert!(second.publish().is_err(), "the first one wins");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
