//! The folder that a pack is pulled to: who may fill it, the partial folder beside it, and the swap.
//!
//! ```text
//! DIR                      the pack as it stands, or nothing
//! DIR.<export_id>.partial  what is being filled; after a kill the next pull goes on with it
//! DIR.pull.replaced        the old pack, for the moment of a swap on a file system that cannot exchange two folders
//! DIR.pull.lock            held while a pull is at work
//! ```
//!
//! The names are long, since they are removed: nobody else's `DIR.lock` is.

use super::{PullError, PullFault};
use crate::beneath::Beneath;
use crate::export::{MANIFEST_FILE, PackManifest, SUMS_FILE};
use datanode_schema::files::{sync_file_system, sync_folder};
use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat2};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The destination, locked for this pull.
pub struct Place {
    to: PathBuf,
    parent: PathBuf,
    name: String,
    lock: PathBuf,
    _held: File,
}

impl Place {
    /// Locks the destination and finishes a swap that was killed.
    ///
    /// # Errors
    /// 6: another pull is at work on it; 2: it is not a folder that a pack may replace.
    pub fn take(to: &Path) -> Result<Self, PullError> {
        let name = to.file_name().and_then(|n| n.to_str()).filter(|n| !n.is_empty());
        let name =
            name.ok_or_else(|| PullError::usage(format!("--to {}: is no folder's name", to.display())))?.to_owned();
        let parent = match to.parent() {
            Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
            _ => PathBuf::from("."),
        };
        if !parent.is_dir() {
            return Err(PullError::usage(format!(
                "--to {}: there is no folder {}; make it",
                to.display(),
                parent.display()
            )));
        }
        let lock = parent.join(format!("{name}.pull.lock"));
        let held = take_lock(&lock)?;
        // Without a slash or dot at its end, by which a symlink would be followed.
        let place = Self { to: parent.join(&name), parent, name, lock, _held: held };
        place.recover()?;
        place.may_be_replaced()?;
        Ok(place)
    }

    /// The destination.
    pub fn to(&self) -> &Path {
        &self.to
    }

    /// The partial folder of a pack.
    pub fn partial(&self, id: &str) -> PathBuf {
        self.parent.join(format!("{}.{id}.partial", self.name))
    }

    fn replaced(&self) -> PathBuf {
        self.parent.join(format!("{}.pull.replaced", self.name))
    }

    /// The partial folders that earlier pulls left, but for that of `id`.
    pub fn other_partials(&self, id: &str) -> Vec<PathBuf> {
        let (prefix, own) = (format!("{}.", self.name), self.partial(id));
        let entries = fs::read_dir(&self.parent).into_iter().flatten().flatten();
        let is_ours = |p: &PathBuf| {
            let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let middle = name.strip_prefix(&prefix).and_then(|n| n.strip_suffix(".partial"));
            middle.is_some_and(|id| crate::export::ExportId::parse(id).is_some() || is_uid(id)) && *p != own
        };
        entries
            .map(|e| e.path())
            .filter(is_ours)
            .filter(|p| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir()))
            .collect()
    }

    /// Opens the partial folder of a pack, made where it is not there.
    ///
    /// # Errors
    /// It cannot be made, or something else has its name.
    pub fn open_partial(&self, id: &str) -> Result<(PathBuf, Beneath), PullError> {
        let path = self.partial(id);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(PullError::io("make", &path, e)),
        }
        open_folder(&path).map(|b| (path.clone(), b)).map_err(|e| PullError::io("open", &path, e))
    }

    /// Makes the partial folder durable and gives it the destination's name; what was there is removed afterwards.
    ///
    /// # Errors
    /// The kernel's; the destination then is the old pack or the new one, whole.
    pub fn swap(&self, partial: &Path) -> Result<(), PullError> {
        sync_file_system(partial).map_err(|e| PullError::io("sync", partial, e))?;
        if fs::symlink_metadata(&self.to).is_ok() {
            match rename(partial, &self.to, RenameFlags::RENAME_EXCHANGE) {
                Ok(()) => {}
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOTSUP) => self.swap_in_two(partial)?,
                Err(e) => return Err(PullError::io("replace", &self.to, e)),
            }
        } else {
            rename(partial, &self.to, RenameFlags::RENAME_NOREPLACE)
                .or_else(|e| match e {
                    Errno::EINVAL | Errno::ENOSYS => fs::rename(partial, &self.to).map_err(|_| e),
                    other => Err(other),
                })
                .map_err(|e| PullError::io("rename the partial folder to", &self.to, e))?;
        }
        sync_folder(&self.parent).map_err(|e| PullError::io("sync", &self.parent, e))?;
        // From here the new pack stands: what is left over takes space, and the next pull removes it.
        for left in [partial.to_owned(), self.replaced()] {
            if let Err(e) = remove(&left) {
                tracing::warn!(folder = %left.display(), error = %e, "the replaced pack is not removed; the next pull does it");
            }
        }
        Ok(())
    }

    /// For file systems that cannot exchange: a kill between the two renames is finished by [`Place::recover`].
    fn swap_in_two(&self, partial: &Path) -> Result<(), PullError> {
        let replaced = self.replaced();
        fs::rename(&self.to, &replaced).map_err(|e| PullError::io("move away", &self.to, e))?;
        if let Err(e) = fs::rename(partial, &self.to) {
            fs::rename(&replaced, &self.to).map_err(|e| PullError::io("move back", &replaced, e))?;
            return Err(PullError::io("rename the partial folder to", &self.to, e));
        }
        Ok(())
    }

    /// A kill in the middle of a swap: the old pack comes back, or goes where the new one stands.
    fn recover(&self) -> Result<(), PullError> {
        let replaced = self.replaced();
        if fs::symlink_metadata(&replaced).is_err() {
            return Ok(());
        }
        if fs::symlink_metadata(&self.to).is_ok() {
            return remove(&replaced).map_err(|e| PullError::io("remove", &replaced, e));
        }
        fs::rename(&replaced, &self.to).map_err(|e| PullError::io("move back", &replaced, e))
    }

    /// Nothing, an empty folder, or a pack with nothing beside its files.
    fn may_be_replaced(&self) -> Result<(), PullError> {
        let refuse = |why: &str| {
            Err(PullError::usage(format!(
                "--to {}: {why}; it is left as it is, name another folder",
                self.to.display()
            )))
        };
        let Ok(meta) = fs::symlink_metadata(&self.to) else { return Ok(()) };
        if meta.is_symlink() {
            return refuse("is a symlink, name the folder that it leads to");
        }
        if !meta.is_dir() {
            return refuse("is no folder");
        }
        if is_mount_point(&self.to) {
            return refuse("is a mount point, which cannot be exchanged; pull to a folder in it");
        }
        let present = match files(&self.to) {
            Ok(p) => p,
            Err(e) => return refuse(&e),
        };
        if present.is_empty() {
            return Ok(());
        }
        let Some(m) = read_manifest(&self.to) else { return refuse("is not empty, and holds no pack") };
        let own: BTreeSet<&str> = m.files.iter().map(|f| f.path.as_str()).chain([MANIFEST_FILE, SUMS_FILE]).collect();
        match present.iter().find(|p| !own.contains(p.as_str())) {
            Some(foreign) => refuse(&format!("holds {foreign:?}, which is not of the pack there")),
            None => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // While it is held: who opened it meanwhile sees that its name is gone, and takes another.
        if let Err(e) = fs::remove_file(&self.lock) {
            tracing::debug!(error = %e, "the lock was gone");
        }
    }
}

/// Locks the file, which must then still be the one of that name: whoever held it before may have removed it.
fn take_lock(path: &Path) -> Result<File, PullError> {
    let busy = || PullError {
        fault: PullFault::Busy,
        message: format!("another pull holds {}: wait for it, or pull to another folder", path.display()),
    };
    for _ in 0..100 {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(path)
            .map_err(|e| PullError::io("open", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(busy()),
            Err(fs::TryLockError::Error(e)) => return Err(PullError::io("lock", path, e)),
        }
        let own = file.metadata().map_err(|e| PullError::io("stat", path, e))?;
        if fs::symlink_metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (own.dev(), own.ino())) {
            return Ok(file);
        }
    }
    Err(busy())
}

/// Whether another file system begins at this folder.
fn is_mount_point(dir: &Path) -> bool {
    let device = |p: &Path| fs::metadata(p).map(|m| m.dev()).ok();
    dir.parent().is_some_and(|above| {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        device(dir) != device(above)
    })
}

fn is_uid(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Opens a folder, which must not be a symlink.
pub fn open_folder(path: &Path) -> std::io::Result<Beneath> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_DIRECTORY;
    File::options().read(true).custom_flags(flags).open(path).map(Beneath::new)
}

/// The manifest of a pack folder; None where it has none that is valid.
pub fn read_manifest(dir: &Path) -> Option<PackManifest> {
    let text = read_paper(dir, MANIFEST_FILE)?;
    PackManifest::parse(&text).ok()
}

/// A paper of a pack folder of this machine.
pub fn read_paper(dir: &Path, name: &str) -> Option<Vec<u8>> {
    use std::io::Read;
    let file = open_folder(dir).ok()?.open(name).ok()?;
    let mut text = Vec::new();
    let plain = file.metadata().is_ok_and(|m| m.is_file());
    let read = plain && file.take(super::paper::MAX_PAPER).read_to_end(&mut text).is_ok();
    read.then_some(text)
}

/// Every file below a folder, by its path in it.
///
/// # Errors
/// What is neither a file nor a folder, or cannot be listed.
pub fn files(dir: &Path) -> Result<BTreeSet<String>, String> {
    let (mut out, mut folders) = (BTreeSet::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for e in fs::read_dir(&folder).map_err(|e| format!("{} cannot be listed: {e}", folder.display()))? {
            let path = e.map_err(|e| format!("{} cannot be listed: {e}", folder.display()))?.path();
            let name = path.strip_prefix(dir).ok().and_then(|p| p.to_str()).unwrap_or_default().to_owned();
            match fs::symlink_metadata(&path) {
                Ok(m) if m.is_dir() => folders.push(path),
                Ok(m) if m.is_file() && !name.is_empty() => drop(out.insert(name)),
                _ => return Err(format!("{} is neither a file nor a folder", path.display())),
            }
        }
    }
    Ok(out)
}

/// Removes a folder with all in it; where there is none, that is fine.
pub fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
    use nix::fcntl::AT_FDCWD;
    renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(dir: &Path, text: &str) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("x"), text).unwrap();
    }

    #[test]
    fn a_swap_in_two_steps_that_was_killed_between_them_brings_the_old_pack_back() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("pack");
        pack(&root.path().join("pack.pull.replaced"), "old");
        // What is not a pack is refused, but it is there again.
        assert_eq!(Place::take(&to).err().map(|e| e.fault), Some(PullFault::Usage));
        assert_eq!(fs::read_to_string(to.join("x")).unwrap(), "old");
        pack(&root.path().join("pack.pull.replaced"), "older");
        assert!(Place::take(&to).is_err());
        assert_eq!(fs::read_to_string(to.join("x")).unwrap(), "old");
        assert!(!root.path().join("pack.pull.replaced").exists() && !root.path().join("pack.pull.lock").exists());
    }

    #[test]
    fn a_folder_is_replaced_in_two_steps_where_it_cannot_be_exchanged() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("pack");
        fs::create_dir(&to).unwrap();
        let place = Place::take(&to).unwrap();
        let partial = place.partial("20260302T230000Z_home_full");
        pack(&partial, "new");
        place.swap_in_two(&partial).unwrap();
        assert_eq!(fs::read_to_string(to.join("x")).unwrap(), "new");
        assert!(root.path().join("pack.pull.replaced").exists() && !partial.exists());
        place.recover().unwrap();
        assert!(!root.path().join("pack.pull.replaced").exists());
    }

    #[test]
    fn a_mount_point_is_told_from_a_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("plain")).unwrap();
        assert!(!is_mount_point(&root.path().join("plain")));
        assert!(is_mount_point(Path::new("/proc")));
    }

    #[test]
    fn a_second_pull_to_the_same_folder_is_refused_while_the_first_is_at_work() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("pack");
        let first = Place::take(&to).unwrap();
        assert_eq!(Place::take(&to).err().map(|e| e.fault), Some(PullFault::Busy));
        drop(first);
        assert!(Place::take(&to).is_ok());
    }
}
