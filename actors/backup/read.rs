//! Reading a generation: sums, then keys, then files, then the state, which must be the one that the manifest names.

use super::manifest::{MAX_MANIFEST, Manifest, Part, stamp_of};
use super::unpack::unpack;
use super::{BackupError, FILES, KEYS, MANIFEST, Place, STATE, generations};
use crate::seal::{Identity, Passphrase, letter};
use datanode_schema::store::{self, Root, StoreOptions, TableDef};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::Path;

/// The largest window that a part may ask for is 8 MiB.
const WINDOW_LOG: u32 = 23;
/// What may follow the end of a tar, bytes.
const PADDING: u64 = 64 << 10;

/// What opens a backup.
#[derive(Default)]
pub struct Opener {
    /// Key files.
    pub identities: Vec<Identity>,
    /// A passphrase.
    pub passphrase: Option<Passphrase>,
}

impl Opener {
    /// The identities that are tried with this generation.
    fn of(&self, m: &Manifest) -> Result<Vec<Identity>, BackupError> {
        let mut out = self.identities.clone();
        for record in &m.passphrases {
            if let Some(passphrase) = &self.passphrase {
                out.extend(passphrase.identity(record)?);
            }
        }
        Ok(out)
    }
}

/// What verifying found.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Its name.
    pub generation: String,
    /// What it is.
    pub manifest: Manifest,
    /// Whether it was opened: with no key only sums are compared.
    pub opened: bool,
}

/// The manifest of a generation: the one that is named, else the newest that is whole.
///
/// # Errors
/// There is none, or a newer build made it.
pub fn manifest_of(place: &Place, generation: Option<&str>) -> Result<(String, Manifest), BackupError> {
    let none = |what: String| BackupError::NotFound { place: place.url().to_owned(), what };
    match generation {
        Some(name) => {
            stamp_of(name).ok_or_else(|| none(format!("{name} is no name of a backup")))?;
            let text = place.small(&format!("{name}/{MANIFEST}"), MAX_MANIFEST)?;
            let text = text.ok_or_else(|| none(format!("{name} is not there, or was not finished")))?;
            Ok((name.to_owned(), Manifest::decode(name, &text)?))
        }
        None => {
            let newest = generations(place)?.into_iter().rev().find(|g| g.manifest.is_some() || !g.fault.is_empty());
            let newest = newest.ok_or_else(|| none("no backup".to_owned()))?;
            match newest.manifest {
                Some(m) => Ok((newest.name, m)),
                // The newest one is meant: an older one is taken only where it is named.
                None => manifest_of(place, Some(&newest.name)),
            }
        }
    }
}

/// Reads every part of a generation and compares its sum; with a key it is opened, its state made in `scratch`, and that compared too.
///
/// # Errors
/// [`BackupError::Damaged`], and what else prevents it.
pub fn verify(
    place: &Place,
    generation: Option<&str>,
    opener: &Opener,
    scratch: &Path,
    tables: &[TableDef],
    options: &StoreOptions,
) -> Result<Verified, BackupError> {
    let (generation, manifest) = manifest_of(place, generation)?;
    let opened = !opener.of(&manifest)?.is_empty();
    if opened {
        fetch(place, &generation, &manifest, opener, scratch, tables, options)?;
    } else {
        for part in &manifest.parts {
            let at = format!("{generation}/{}", part.name);
            let mut source = Summed::new(place.download(&at, part.bytes)?);
            source.end(&at, part)?;
        }
    }
    Ok(Verified { generation, manifest, opened })
}

/// Brings a generation into an empty folder: `state/`, and `files/` with everything else. The state is proved.
pub fn fetch(
    place: &Place,
    generation: &str,
    manifest: &Manifest,
    opener: &Opener,
    into: &Path,
    tables: &[TableDef],
    options: &StoreOptions,
) -> Result<Root, BackupError> {
    let identities = opener.of(manifest)?;
    if identities.is_empty() {
        let why = "none of the passphrases that open it is this one; `datanode backup list` names who can open it";
        return Err(BackupError::Usage(format!("{generation}: {why}")));
    }
    let (state, files) = (into.join("state"), into.join("files"));
    for dir in [&state, &files] {
        std::fs::create_dir_all(dir).map_err(BackupError::io("make", dir))?;
    }
    for part in &manifest.parts {
        let (to, tops): (&Path, &[&str]) = match part.name.as_str() {
            STATE => (&state, &["journal"]),
            FILES => (&files, &["config", "events", "anchors"]),
            KEYS => (&files, &["keys"]),
            _ => continue,
        };
        let at = format!("{generation}/{}", part.name);
        let mut source = Summed::new(place.download(&at, part.bytes)?);
        let unpacked = open_part(&mut source, &at, &identities, to, tops);
        // Rot is told from a key that does not fit.
        source.end(&at, part)?;
        unpacked?;
    }
    let report = store::rebuild(&state, tables, options)?;
    let aside = &report.set_aside;
    std::fs::remove_dir_all(aside).map_err(BackupError::io("remove", aside))?;
    let root = report.root;
    let same = (root.commit, root.count, format!("{:032x}", root.sum))
        == (manifest.commit, manifest.records, manifest.sum.clone());
    match (same, report.incomplete) {
        (true, None) => Ok(root),
        (_, Some(why)) => Err(BackupError::damaged(format!("{generation}/{STATE}"), why)),
        (false, None) => {
            let why = format!(
                "it leads to commit {} with {} records, the manifest names another state",
                root.commit, root.count
            );
            Err(BackupError::damaged(format!("{generation}/{STATE}"), why))
        }
    }
}

fn open_part(
    source: &mut impl Read,
    at: &str,
    identities: &[Identity],
    to: &Path,
    tops: &[&str],
) -> Result<(), BackupError> {
    let bad = |e: io::Error| BackupError::damaged(at, e.to_string());
    let plain = letter::read(source, identities)?;
    let mut zstd = zstd::Decoder::new(plain).map_err(bad)?;
    zstd.window_log_max(WINDOW_LOG).map_err(bad)?;
    unpack(at, &mut zstd, to, tops)?;
    // To the end, which is what says that nothing was cut off.
    let rest = io::copy(&mut zstd.by_ref().take(PADDING + 1), &mut io::sink()).map_err(bad)?;
    if rest > PADDING { Err(BackupError::damaged(at, "more follows its end")) } else { Ok(()) }
}

/// What is read, hashed.
struct Summed<R> {
    inner: R,
    sum: Sha256,
    failed: Option<String>,
}

impl<R: Read> Summed<R> {
    fn new(inner: R) -> Self {
        Self { inner, sum: Sha256::new(), failed: None }
    }

    /// Reads what is left, and compares.
    fn end(&mut self, at: &str, part: &Part) -> Result<(), BackupError> {
        let read = io::copy(&mut self.by_ref(), &mut io::sink());
        if let Some(why) = self.failed.take().or(read.err().map(|e| e.to_string())) {
            // The place, not the part.
            return Err(BackupError::Usage(format!("{at} could not be read: {why}; try again")));
        }
        let found = hex::encode(std::mem::take(&mut self.sum).finalize());
        if found == part.sha256 {
            return Ok(());
        }
        Err(BackupError::damaged(at, "its bytes are not those that were written (SHA-256)"))
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out).inspect_err(|e| self.failed = Some(e.to_string()))?;
        self.sum.update(out.get(..n).unwrap_or_default());
        Ok(n)
    }
}
