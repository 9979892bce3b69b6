//! Rotation: another identity for the node, and every stanza wrapped to it.
//!
//! ```text
//! node.key.next made ─▶ node.key.rotation written ─▶ node.key also named …-retired ─▶ next becomes node.key ─▶ stanzas, one by one
//!                                                                                      ─▶ (retired removed) ─▶ rotation removed
//! ```
//!
//! Killed anywhere, the node finds a key that opens each stanza: its own, or a retired one. Doing it again ends what was begun.

use super::lists::{replace_private, sync_beside};
use super::{Keys, Rewrapped, rewrap_all};
use crate::seal::{Identity, SealError};
use crate::vault::Vault;
use datanode_schema::failpoint;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a rotation did.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The public part of the node's identity now.
    pub public: String,
    /// Where the identity of before is; None: it was removed.
    pub retired: Option<PathBuf>,
    /// What became of the stanzas.
    pub rewrapped: Rewrapped,
    /// Whether it ended one that was begun before.
    pub resumed: bool,
}

fn with_end(key: &Path, end: &str) -> PathBuf {
    let mut name = key.file_name().unwrap_or_default().to_owned();
    name.push(end);
    key.with_file_name(name)
}

/// The identities of before, the newest first.
pub(super) fn retired_files(key: &Path) -> Result<Vec<PathBuf>, SealError> {
    let folder = key.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let begins = with_end(key, ".");
    let begins = begins.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(SealError::io("list", folder))? {
        let entry = entry.map_err(SealError::io("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&begins) && name.ends_with("-retired") {
            found.push(entry.path());
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Whether a rotation was begun and not ended.
pub fn is_under_way(key: &Path) -> bool {
    with_end(key, ".rotation").exists()
}

/// What a rotation that was begun is to do.
struct Begun {
    retired: PathBuf,
    discard: bool,
}

impl Begun {
    fn read(key: &Path) -> Result<Option<Self>, SealError> {
        let path = with_end(key, ".rotation");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SealError::io("read", &path)(error)),
        };
        let parsed = text.trim_end().split_once('\n').and_then(|(name, what)| {
            let discard = match what {
                "discard" => true,
                "keep" => false,
                _ => return None,
            };
            let plain = name.ends_with("-retired") && !name.contains('/');
            plain.then(|| Self { retired: key.with_file_name(name), discard })
        });
        let why =
            "is not what a rotation writes; if keys/ has an identity that opens the sealings as node.key, remove it";
        parsed.map(Some).ok_or_else(|| SealError::contract(path.display().to_string(), why))
    }

    fn write(&self, key: &Path) -> Result<(), SealError> {
        let name = self.retired.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = if self.discard { "discard" } else { "keep" };
        replace_private(&with_end(key, ".rotation"), format!("{name}\n{what}\n").as_bytes())
    }
}

fn free_name(key: &Path, day: &str) -> PathBuf {
    let first = with_end(key, &format!(".{day}-retired"));
    let more = (2u32..).map(|n| with_end(key, &format!(".{day}.{n}-retired")));
    std::iter::once(first.clone()).chain(more).find(|path| !path.exists()).unwrap_or(first)
}

fn remove(path: &Path) -> Result<(), SealError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SealError::io("remove", path)(error)),
        _ => sync_beside(path),
    }
}

/// Rotates the node's identity, or ends a rotation that was begun. `day` is `YYYY-MM-DD` of today; with `discard` the identity of before is
/// removed, once nothing needs it.
///
/// # Errors
/// The vault is in use; a file cannot be read or written. Doing it again goes on.
pub fn rotate(keys: &Keys, vault: &Vault, day: &str, discard: bool) -> Result<Rotation, SealError> {
    let file = keys.file()?;
    let _guard = vault.lock_exclusive()?;
    let next = with_end(file, ".next");
    let begun = Begun::read(file)?;
    let resumed = begun.is_some();
    let begun = match begun {
        Some(begun) => Begun { discard: begun.discard || discard, ..begun },
        None => {
            Identity::read(file)?;
            // One that a kill left without a rotation was never used; it may even be half written.
            remove(&next)?;
            Identity::generate().write_new(&next)?;
            failpoint::pass("key.made");
            let begun = Begun { retired: free_name(file, day), discard };
            begun.write(file)?;
            begun
        }
    };
    failpoint::pass("key.begun");
    if next.exists() {
        if !begun.retired.exists() {
            // A second name for the same file; the key file is never absent.
            match fs::hard_link(file, &begun.retired) {
                Ok(()) => {}
                Err(_) => Identity::read(file)?.write_new(&begun.retired)?,
            }
            sync_beside(file)?;
            failpoint::pass("key.kept");
        }
        Identity::read(&begun.retired)?;
        fs::rename(&next, file).map_err(SealError::io("rename", &next))?;
        sync_beside(file)?;
        failpoint::pass("key.taken");
    }
    let ring = keys.read()?;
    let rewrapped = rewrap_all(vault, &ring, true)?;
    failpoint::pass("key.wrapped");
    let discards = begun.discard && rewrapped.unopened.is_empty();
    if discards {
        remove(&begun.retired)?;
        failpoint::pass("key.discarded");
    }
    remove(&with_end(file, ".rotation"))?;
    let retired = (!discards).then_some(begun.retired);
    Ok(Rotation { public: ring.own().to_public().to_string(), retired, rewrapped, resumed })
}
