//! A folder as a destination: files are copied beside it, compared by hash, and linked to their names, which are never replaced. Nothing
//! is synced for one file: everything before a commit is synced at once, and then the commit.

use super::ShipError;
use super::error::io;
use super::sum::Item;
use super::target::Made;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A destination folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Not within a pack: what a kill leaves must not lie there.
    temps: PathBuf,
}

impl Folder {
    /// The folder.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned(), temps: root.join(".datanode-tmp") }
    }

    /// Removes what an earlier process left half written; one stage ships at a time.
    pub fn sweep(&self) -> Result<(), ShipError> {
        if self.temps.exists() {
            std::fs::remove_dir_all(&self.temps).map_err(io(&self.temps))?;
        }
        Ok(())
    }

    /// Copies the item to `name`, where there is none.
    pub fn put(&self, name: &str, item: &Item) -> Result<Made, ShipError> {
        let target = self.root.join(name);
        if target.exists() {
            return Ok(Made::There);
        }
        let parent = target.parent().unwrap_or(&self.root);
        for p in [parent, &self.temps] {
            std::fs::create_dir_all(p).map_err(io(p))?;
        }
        // Another node's process may have this one's number, and two destinations may share a folder.
        let temp = self.temps.join(format!("{:016x}", rand::random::<u64>()));
        std::fs::copy(&item.from, &temp).map_err(io(&temp))?;
        if !item.is_in(&temp)? {
            let sound = item.is_in(&item.from)?;
            std::fs::remove_file(&temp).map_err(io(&temp))?;
            return Err(if sound {
                ShipError::Altered(target.display().to_string())
            } else {
                ShipError::AlteredHere(item.from.display().to_string())
            });
        }
        let made = match std::fs::hard_link(&temp, &target) {
            Ok(()) => Ok(Made::New(String::new())),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Made::There),
            // A file system without links: nobody but this node writes here, and the name was free a moment ago.
            Err(_) => std::fs::rename(&temp, &target).map(|()| Made::New(String::new())).map_err(io(&target)),
        };
        match std::fs::remove_file(&temp) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(io(&temp)(e)),
            _ => made,
        }
    }

    /// A further name for a file that is there; false where that cannot be.
    pub fn link(&self, from: &str, to: &str) -> bool {
        let (from, to) = (self.root.join(from), self.root.join(to));
        let made = to.parent().is_some_and(|p| std::fs::create_dir_all(p).is_ok());
        made && std::fs::hard_link(from, to).is_ok()
    }

    /// Makes everything so far durable.
    pub fn sync(&self) -> Result<(), ShipError> {
        datanode_schema::files::sync_file_system(&self.root).map_err(io(&self.root))
    }

    /// Whether a link never replaces a name here.
    pub fn probe(&self) -> Result<bool, ShipError> {
        let at = self.root.join(format!(".datanode-probe-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&at).map_err(io(&at))?;
        let [first, second, name] = ["first", "second", "name"].map(|n| at.join(n));
        for p in [&first, &second] {
            std::fs::write(p, b"datanode").map_err(io(p))?;
        }
        std::fs::File::open(&first).and_then(|f| f.sync_all()).map_err(io(&first))?;
        let creates = std::fs::hard_link(&first, &name).is_ok()
            && std::fs::hard_link(&second, &name).is_err_and(|e| e.kind() == ErrorKind::AlreadyExists);
        std::fs::remove_dir_all(&at).map_err(io(&at))?;
        Ok(creates)
    }
}
