//! A folder as a destination: files are copied beside it, compared by hash, and linked to their names, which are never replaced. Nothing
//! is synced for one file: everything before a commit is synced at once, and then the commit.

use super::ShipError;
use super::error::{here, io};
use super::sum::Item;
use super::target::Made;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// A destination folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Not within a pack: what a kill leaves must not lie there.
    temps: PathBuf,
}

/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;

impl Folder {
    /// The folder.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned(), temps: root.join(".datanode-tmp/others") }
    }

    /// With a place of one's own for what is half written: others may share the folder.
    pub fn with_temps(mut self, own: &str) -> Self {
        self.temps = self.root.join(".datanode-tmp").join(own);
        self
    }

    /// Removes what an earlier process left half written; one stage of a node ships at a time.
    pub fn sweep(&self) -> Result<(), ShipError> {
        if self.temps.exists() {
            std::fs::remove_dir_all(&self.temps).map_err(io(&self.temps))?;
        }
        Ok(())
    }

    /// Copies the item to `name`, where there is none; `turn` lets so many bytes through.
    pub fn put(&self, name: &str, item: &Item, turn: impl Fn(u64) -> Result<(), ShipError>) -> Result<Made, ShipError> {
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
        copy(item, &temp, turn)?;
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
        File::open(&first).and_then(|f| f.sync_all()).map_err(io(&first))?;
        let creates = std::fs::hard_link(&first, &name).is_ok()
            && std::fs::hard_link(&second, &name).is_err_and(|e| e.kind() == ErrorKind::AlreadyExists);
        std::fs::remove_dir_all(&at).map_err(io(&at))?;
        Ok(creates)
    }
}

/// Copies no more than the item is to have.
fn copy(item: &Item, to: &Path, turn: impl Fn(u64) -> Result<(), ShipError>) -> Result<(), ShipError> {
    let mut from = File::open(&item.from).map_err(here(&item.from))?;
    let mut file = File::create_new(to).map_err(io(to))?;
    let mut left = item.bytes.saturating_add(1);
    let mut piece = Vec::new();
    loop {
        piece.clear();
        (&mut from).take(left.min(PIECE)).read_to_end(&mut piece).map_err(here(&item.from))?;
        if piece.is_empty() {
            return Ok(());
        }
        turn(piece.len() as u64)?;
        file.write_all(&piece).map_err(io(to))?;
        left = left.saturating_sub(piece.len() as u64);
    }
}
