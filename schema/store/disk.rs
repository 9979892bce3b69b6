//! The state folder: names, modes, syncs, the lock and the marker of a clean stop.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    error::{StoreError, io_error},
    root::Root,
};

/// Where things lie in the state folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub dir: PathBuf,
}

impl Layout {
    pub fn new(dir: &Path) -> Layout {
        Layout { dir: dir.to_path_buf() }
    }
    pub fn sled(&self) -> PathBuf {
        self.dir.join("sled")
    }
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }
    /// Present from a clean stop until the next open.
    pub fn clean(&self) -> PathBuf {
        self.dir.join("clean")
    }
    /// Present until the first open has finished: what lies beside it was never acknowledged.
    pub fn creating(&self) -> PathBuf {
        self.dir.join("creating")
    }
    /// Present while a rebuild moves its result into place; it says what is to be moved.
    pub fn rebuilding(&self) -> PathBuf {
        self.dir.join("rebuilding")
    }
    /// The advice of every error that a rebuild can cure.
    pub fn rebuild_command(&self) -> String {
        let data = self.dir.parent().unwrap_or(&self.dir);
        format!("run `datanode rebuild --data-dir {}`", data.display())
    }
    /// The error for damage that a rebuild can cure.
    pub fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { what: what.into(), next: self.rebuild_command() }
    }
}

/// Makes a folder of mode 0700 and its parents, each known to the disk.
pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(io_error("create", path)(e)),
        _ => {}
    }
    sync_parent(path)
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(io_error("sync", path))
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(p) if p.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(p) => sync_dir(p),
        None => Ok(()),
    }
}

/// Creates a file of mode 0600.
pub(crate) fn create(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("create", path))
}

/// Moves a synced file to its name, durably.
pub(crate) fn publish(temp: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(temp, path).map_err(io_error("rename", temp))?;
    sync_parent(path)
}

/// Writes a small file whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temp = path.with_extension("tmp");
    let mut f = create(&temp)?;
    f.write_all(bytes).and_then(|()| f.sync_all()).map_err(io_error("write", &temp))?;
    publish(&temp, path)
}

/// Removes a file where it is, durably.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io_error("remove", path)(e)),
    }
}

/// The names in a folder; none where the folder is absent.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io_error("list", dir))?,
    };
    let mut out = Vec::new();
    for e in entries {
        out.push(e.map_err(io_error("list", dir))?.file_name().to_string_lossy().into_owned());
    }
    out.sort();
    Ok(out)
}

/// Bytes that this user may still write on the disk of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64, StoreError> {
    let s = nix::sys::statvfs::statvfs(dir).map_err(|e| io_error("ask for the free space of", dir)(e.into()))?;
    // The widths of these fields differ between targets.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    Ok((s.blocks_available() as u64).saturating_mul(s.fragment_size() as u64))
}

/// The exclusive lock on a state folder; held while the value lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or names its holder.
    pub fn take(layout: &Layout) -> Result<Lock, StoreError> {
        let path = layout.dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let holder = match text.trim() {
                    "" => "another process that is just starting".to_owned(),
                    t => t.to_owned(),
                };
                return Err(StoreError::Busy { dir: layout.dir.clone(), holder });
            }
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &path)(e)),
        }
        // Only the program and its subcommand: later arguments may be private.
        let command: Vec<String> = std::env::args().take(2).collect();
        let text = format!("process {} ({})\n", std::process::id(), command.join(" "));
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(io_error("write", &path))?;
        Ok(Lock { _file: file })
    }
}

const CLEAN_MAGIC: &[u8; 8] = b"dnclean1";

/// Writes the marker of a clean stop.
pub(crate) fn write_clean(layout: &Layout, root: &Root) -> Result<(), StoreError> {
    let mut bytes = CLEAN_MAGIC.to_vec();
    bytes.extend_from_slice(&root.to_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    write_whole(&layout.clean(), &bytes)
}

/// Reads the marker of a clean stop; a damaged one counts as absent, which only costs a full check.
pub(crate) fn read_clean(layout: &Layout) -> Option<Root> {
    let bytes = fs::read(layout.clean()).ok()?;
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
        return None;
    }
    Root::from_bytes(body.strip_prefix(CLEAN_MAGIC)?)
}
