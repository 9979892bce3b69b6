//! Files beneath an open folder.
//!
//! Every component is opened from its parent's handle with `O_NOFOLLOW` (the rule of openat2's `RESOLVE_BENEATH`, on
//! any kernel): whoever plants a symlink meanwhile gets an error, not a read or a write elsewhere. Paths are those of a pack: relative, with
//! `/` between components, their form checked by the caller.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An open folder. The chain to the last folder is kept, since the next file mostly lies in it too.
#[derive(Debug)]
pub struct Beneath {
    root: File,
    parents: Vec<(String, OwnedFd)>,
}

impl Beneath {
    /// Beneath this folder.
    pub fn new(root: File) -> Self {
        Self { root, parents: Vec::new() }
    }

    /// The folder itself.
    pub fn root(&self) -> &File {
        &self.root
    }

    /// Creates a new file for writing, and the folders above it.
    ///
    /// # Errors
    /// It exists, a component is no folder, or the kernel's.
    pub fn create(&mut self, path: &str) -> Result<File, Errno> {
        let (above, name) = self.above(path, true)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(above, name, flags, Mode::from_bits_truncate(0o644)).map(File::from)
    }

    /// Opens a file for reading. A pipe in its place does not hold the caller.
    ///
    /// # Errors
    /// `ENOENT` where it or a folder above it is not there; `ELOOP` at a symlink; the kernel's.
    pub fn open(&mut self, path: &str) -> Result<File, Errno> {
        let (above, name) = self.above(path, false)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        openat(above, name, flags, Mode::empty()).map(File::from)
    }

    /// Gives the file at `path` beneath `from` the same name here too, by a hard link.
    ///
    /// # Errors
    /// As [`Beneath::create`].
    pub fn link(&mut self, from: &mut Self, path_there: &str, path: &str) -> Result<(), Errno> {
        let (there, name_there) = from.above(path_there, false)?;
        let (here, name) = self.above(path, true)?;
        linkat(there, name_there, here, name, AtFlags::empty())
    }

    /// Removes the name of a file; where there is none, that is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let removed =
            self.above(path, false).and_then(|(above, name)| unlinkat(above, name, UnlinkatFlags::NoRemoveDir));
        match removed {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// The handle of the folder above a path, and its last component. Folders are made where `make` says so.
    fn above<'a, 'b>(&'a mut self, path: &'b str, make: bool) -> Result<(BorrowedFd<'a>, &'b str), Errno> {
        let (folders, name) = path.rsplit_once('/').map_or(("", path), |split| split);
        let wanted: Vec<&str> = folders.split('/').filter(|part| !part.is_empty()).collect();
        let shared = self.parents.iter().zip(&wanted).take_while(|((have, _), want)| have == *want).count();
        self.parents.truncate(shared);
        for part in wanted.into_iter().skip(shared) {
            let above = self.parents.last().map_or(self.root.as_fd(), |(_, handle)| handle.as_fd());
            if make {
                match mkdirat(above, part, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let handle = openat(above, part, flags, Mode::empty())?;
            self.parents.push((part.to_owned(), handle));
        }
        Ok((self.parents.last().map_or(self.root.as_fd(), |(_, handle)| handle.as_fd()), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_symlink_in_the_way_is_neither_written_nor_read_nor_linked_through() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("data")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), inside.join("file")).unwrap();
        let mut here = Beneath::new(File::open(&inside).unwrap());
        let mut there = Beneath::new(File::open(&outside).unwrap());
        assert!(here.create("data/x").is_err() && here.create("file").is_err());
        assert!(here.open("data/secret").is_err() && here.open("file").is_err());
        assert!(here.link(&mut there, "secret", "data/secret2").is_err());
        here.unlink("file").unwrap();
        assert!(here.unlink("data/secret").is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        here.link(&mut there, "secret", "a/b/linked").unwrap();
        assert_eq!(fs::read_to_string(inside.join("a/b/linked")).unwrap(), "s");
    }
}
