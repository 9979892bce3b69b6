//! A folder as a destination: files are copied beside it, compared by hash, and linked to their names, which are never replaced. Nothing
//! is synced for one file: everything before a commit is synced at once, and then the commit.

use super::error::io;
use super::sum::Item;
use super::target::Made;
use super::ShipError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A destination folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Not within a pack: what a kill leaves must not lie there.
    temps: PathBuf,
    next: AtomicU64,
}

impl Folder {
    /// The folder; what an earlier process left half written goes.
    pub fn open(root: &Path) -> Result<Self, ShipError> {
        let temps = root.join(".datanode-tmp");
        if temps.exists() {
            std::fs::remove_dir_all(&temps).map_err(io(&temps))?;
        }
        std::fs::create_dir_all(&temps).map_err(io(&temps))?;
        Ok(Self { root: root.to_owned(), temps, next: AtomicU64::new(0) })
    }

    /// Copies the item to `name`, where there is none.
    pub fn put(&self, name: &str, item: &Item) -> Result<Made, ShipError> {
        let target = self.root.join(name);
        if target.exists() {
            return Ok(Made::There);
        }
        let parent = target.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(parent).map_err(io(parent))?;
        let temp = self.temps.join(format!("{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed)));
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

    /// Whether names are never replaced here, and what is synced is taken; Err says what is wrong.
    pub fn probe(&self) -> Result<bool, ShipError> {
        let temp = self.temps.join(format!("probe-{}", std::process::id()));
        let second = self.temps.join(format!("probe-{}-b", std::process::id()));
        for p in [&temp, &second] {
            std::fs::write(p, b"datanode").map_err(io(p))?;
        }
        let f = std::fs::File::open(&temp).map_err(io(&temp))?;
        f.sync_all().map_err(io(&temp))?;
        let linked = self.temps.join("probe-link");
        let creates = std::fs::hard_link(&temp, &linked).is_ok()
            && std::fs::hard_link(&second, &linked).is_err_and(|e| e.kind() == ErrorKind::AlreadyExists);
        for p in [&temp, &second, &linked] {
            if p.exists() {
                std::fs::remove_file(p).map_err(io(p))?;
            }
        }
        Ok(creates)
    }
}
