//! What belongs into a part, and how it is found: files under names of their own, in a tar.

use super::BackupError;
use crate::anchor::Log;
use datanode_schema::paths::DataDir;
use datanode_schema::store::StateCopy;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Configuration, registries, events and lists are small; a longer file is not one of them.
const MAX_SMALL: u64 = 32 << 20;

/// Where a node keeps what is to be kept.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its data folder.
    pub data: DataDir,
    /// Configuration and registries: the name below `config/`, and the file.
    pub config: Vec<(String, PathBuf)>,
    /// The settings as they hold, references and all: JSON.
    pub effective: String,
    /// The node's key, beside which the lists lie.
    pub key_file: PathBuf,
    /// The log's key.
    pub log_key_file: PathBuf,
}

/// A file and the name that it has in a part.
pub type Named = (String, PathBuf);

impl Source {
    /// Configuration, registries, events. Those that are not there are left out.
    pub fn files(&self) -> Result<Vec<Named>, BackupError> {
        let mut out: Vec<Named> = self.config.iter().map(|(n, p)| (format!("config/{n}"), p.clone())).collect();
        for (name, path) in below(&self.data.events(), false)? {
            out.push((format!("events/{name}"), path));
        }
        Ok(out)
    }

    /// The anchor log, its checkpoint first: what is read after it covers at least as much.
    pub fn anchors(&self) -> Result<Vec<Named>, BackupError> {
        let dir = self.data.anchors();
        let mut all = below(&dir, true)?;
        all.retain(|(name, _)| name != ".lock");
        all.sort_by_key(|(name, _)| (name != "checkpoint", name.clone()));
        Ok(all.into_iter().map(|(name, path)| (format!("anchors/{name}"), path)).collect())
    }

    /// The log, where there is one.
    pub fn log(&self) -> Option<Log> {
        self.data.anchors().is_dir().then(|| Log::at(self.data.anchors()))
    }

    /// Key files and lists, under the names by which a node finds them in `keys/`.
    pub fn keys(&self) -> Result<Vec<Named>, BackupError> {
        let mut out = Vec::new();
        let own = self.key_file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for (name, path) in below(self.key_file.parent().unwrap_or(Path::new(".")), false)? {
            if let Some(rest) = name.strip_prefix(&own).filter(|rest| rest.is_empty() || rest.starts_with('.')) {
                out.push((format!("keys/node.key{rest}"), path));
            } else if ["recipients", "passphrases.json", "withheld"].contains(&name.as_str()) {
                out.push((format!("keys/{name}"), path));
            }
        }
        let tokens = self.data.root().join("keys/tokens.json");
        if tokens.is_file() {
            out.push(("keys/tokens.json".to_owned(), tokens));
        }
        if self.log_key_file.is_file() {
            out.push(("keys/anchor.key".to_owned(), self.log_key_file.clone()));
        }
        Ok(out)
    }

    /// What tells whether anything besides the state has changed: hex SHA-256 over names, lengths and times.
    pub fn fingerprint(&self) -> Result<String, BackupError> {
        let mut h = Sha256::new();
        h.update(self.effective.as_bytes());
        let head = self.data.anchors().join("checkpoint");
        for (name, path) in self.files()?.into_iter().chain(self.keys()?).chain([("checkpoint".to_owned(), head)]) {
            if let Ok(m) = fs::metadata(&path) {
                h.update(format!("{name}\n{} {} {}\n", m.len(), m.mtime(), m.mtime_nsec()).as_bytes());
            }
        }
        Ok(hex::encode(h.finalize()))
    }
}

/// The plain files in a folder (and below it), by name; none where there is no folder.
fn below(dir: &Path, deep: bool) -> Result<Vec<Named>, BackupError> {
    let mut out = Vec::new();
    let mut folders = vec![(String::new(), dir.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(BackupError::io("list", &folder))?,
        };
        for e in entries {
            let e = e.map_err(BackupError::io("list", &folder))?;
            let (name, kind) = (format!("{prefix}{}", e.file_name().to_string_lossy()), e.file_type());
            let kind = kind.map_err(BackupError::io("look at", &e.path()))?;
            if kind.is_file() {
                out.push((name, e.path()));
            } else if kind.is_dir() && deep {
                folders.push((format!("{name}/"), e.path()));
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Puts the copy of a state into a tar.
pub fn add_state(tar: &mut tar::Builder<impl Write>, copy: StateCopy) -> Result<(), BackupError> {
    for f in copy.files {
        let path = PathBuf::from(&f.name);
        let done = header(&format!("journal/{}", f.name), f.bytes)
            .and_then(|h| tar.append(&h, Exact { inner: f.file, left: f.bytes }));
        done.map_err(BackupError::io("back up", &path))?;
    }
    Ok(())
}

/// Puts files into a tar. Of events that are being written only whole lines are taken; what went meanwhile is left out.
pub fn add_files(tar: &mut tar::Builder<impl Write>, files: &[Named]) -> Result<(), BackupError> {
    for (name, path) in files {
        let io = |doing| BackupError::io(doing, path);
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(io("open"))?,
        };
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        file.take(MAX_SMALL + 1).read_to_end(&mut bytes).map_err(io("read"))?;
        if bytes.len() as u64 > MAX_SMALL {
            let why = format!(
                "{}: more than {} MiB, which nothing that belongs into a backup has; move it away",
                path.display(),
                MAX_SMALL >> 20
            );
            return Err(BackupError::Usage(why));
        }
        if name.starts_with("events/") {
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(whole);
        }
        let done = header(name, bytes.len() as u64).and_then(|h| tar.append(&h, bytes.as_slice()));
        done.map_err(io("back up"))?;
    }
    Ok(())
}

/// Puts a text into a tar.
pub fn add_text(tar: &mut tar::Builder<impl Write>, name: &str, text: &str) -> Result<(), BackupError> {
    let done = header(name, text.len() as u64).and_then(|h| tar.append(&h, text.as_bytes()));
    done.map_err(BackupError::io("back up", name.as_ref()))
}

fn header(name: &str, bytes: u64) -> io::Result<tar::Header> {
    let mut h = tar::Header::new_ustar();
    h.set_path(name)?;
    h.set_size(bytes);
    h.set_mode(0o600);
    h.set_mtime(0);
    h.set_cksum();
    Ok(h)
}

/// The first bytes of a file; one that is shorter is an error.
struct Exact {
    inner: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let got = self.inner.read(out.get_mut(..n).unwrap_or_default())?;
        if got == 0 && n > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter"));
        }
        self.left -= got as u64;
        Ok(got)
    }
}
