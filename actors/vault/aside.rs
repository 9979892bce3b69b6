//! Putting sound bytes in the place of bad ones: these are set aside first, and the name never lacks a file.

use super::Vault;
use super::publish::{Dirty, sync_folders};
use crate::seal::SealError;
use datanode_schema::failpoint;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// One step of a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When (RFC 3339).
    pub time: String,
    /// The file, below the vault.
    pub object: String,
    /// What was tried.
    pub step: String,
    /// What came of it.
    pub outcome: String,
}

impl Vault {
    /// Puts `bytes` under `name` (below the vault), durable when this returns. What is there now goes to `quarantine/` first; nothing is
    /// written over, and nothing deleted.
    ///
    /// # Errors
    /// The system's; the name has what it had, or the new bytes.
    pub fn put_right(&self, name: &str, bytes: &[u8]) -> Result<(), SealError> {
        let path = self.root().join(name);
        let folder = path.parent().unwrap_or(self.root()).to_path_buf();
        let mut dirty = Dirty::from([folder.clone()]);
        if !folder.is_dir() {
            fs::create_dir_all(&folder).map_err(SealError::io("create", &folder))?;
            dirty.extend(folder.parent().map(Path::to_path_buf));
        }
        let temp = self.write_temp(bytes)?;
        failpoint::pass("repair.written");
        if fs::symlink_metadata(&path).is_ok() {
            self.set_aside(&path)?;
            failpoint::pass("repair.aside");
        }
        fs::rename(&temp, &path).map_err(SealError::io("put in place", &path))?;
        failpoint::pass("repair.placed");
        sync_folders(&dirty)
    }

    /// A second name for bad bytes, in `quarantine/`; durable when this returns. What is no plain file is moved.
    fn set_aside(&self, path: &Path) -> Result<(), SealError> {
        let folder = self.root().join("quarantine");
        fs::create_dir_all(&folder).map_err(SealError::io("create", &folder))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_file = fs::symlink_metadata(path).is_ok_and(|m| m.is_file());
        for n in 0..u32::MAX {
            let to = folder.join(format!("{name}.{n}"));
            if fs::symlink_metadata(&to).is_ok() {
                continue;
            }
            let made = if is_file { fs::hard_link(path, &to) } else { fs::rename(path, &to) };
            match made {
                Ok(()) => break,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(SealError::io("set aside", path)(e)),
            }
        }
        sync_folders(&Dirty::from([folder, self.root().to_path_buf()]))
    }

    /// Adds steps to `repair.log`; durable when this returns.
    ///
    /// # Errors
    /// The system's.
    pub fn note_repair(&self, steps: &[Step]) -> Result<(), SealError> {
        let path = self.root().join("repair.log");
        let mut text = String::new();
        for s in steps {
            text += &serde_json::to_string(s).unwrap_or_default();
            text.push('\n');
        }
        let mut file = File::options().create(true).append(true).open(&path).map_err(SealError::io("open", &path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(SealError::io("write", &path))
    }
}
