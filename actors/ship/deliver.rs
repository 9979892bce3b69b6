//! Bringing a pack to the destination folder.

use crate::export::{MANIFEST_FILE, SUMS_FILE};
use crate::node::Node;
use crate::publishing::ShipMode;
use crate::quarantine::{Acts, seen};
use crate::seal::{PackUid, SealError};
use crate::vault::Vault;
use datanode_schema::files::{sha256_file, sync_file_system};
use datanode_schema::records::Shipment;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{PACKS, SHIPMENTS};
use std::path::{Path, PathBuf};

/// A pack did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] SealError),
    /// A file could not be read or written.
    #[error("{path}: {cause}; check that the destination is mounted, has space, and may be written")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// What was written is not what was sent.
    #[error("{0}: what arrived is not what was sent; remove it and run `datanode nightly --stages ship`")]
    Altered(String),
}

/// What shipping did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShipCounters {
    /// Files written at the destination.
    pub written: u64,
    /// Files that were there already, compared.
    pub present: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Brings `export_id` to the configured folder; without one there is nothing to do.
///
/// # Errors
/// [`ShipError`]; doing it again goes on where it stopped.
pub fn ship(node: &Node, export_id: &str) -> Result<ShipCounters, ShipError> {
    let mut c = ShipCounters::default();
    let all = node.publishing.destinations.current();
    let Some(first) = all.first() else { return Ok(c) };
    let destination = Path::new(&first.access.url);
    let Some(pack) = node.store.load(&PACKS, &export_id.to_owned())? else { return Ok(c) };
    let temps = destination.join(".datanode-tmp");
    let way = Way { acts: &node.acts, export_id, temps: &temps };
    if temps.exists() {
        std::fs::remove_dir_all(&temps).map_err(io(&temps))?;
    }
    let mode = first.mode;
    if mode != ShipMode::Sealed && !delivered(node, destination, "plain", export_id)? {
        let to = destination.join("exports").join(&node.source).join(format!("export_{export_id}"));
        let from = node.data.pack(&node.source, export_id);
        let mut files = list(&from)?;
        files.retain(|f| f != Path::new(MANIFEST_FILE) && f != Path::new(SUMS_FILE));
        files.extend([PathBuf::from(SUMS_FILE), PathBuf::from(MANIFEST_FILE)]);
        deliver(&from, &to, &way, &files, &mut c)?;
        receipt(node, destination, "plain", export_id, &c)?;
    }
    if mode != ShipMode::Plain && !pack.pack_uid.is_empty() && !delivered(node, destination, "sealed", export_id)? {
        let vault = Vault::open(&node.data.vault())?;
        let to = destination.join("sealed").join(&node.source).join(&pack.pack_uid);
        let files = sealing_files(&vault, &pack.pack_uid)?;
        deliver(vault.root(), &to, &way, &files, &mut c)?;
        receipt(node, destination, "sealed", export_id, &c)?;
    }
    seen::upload_whole(&node.acts, export_id, &destination.display().to_string());
    Ok(c)
}

/// What goes where, and who hears of it when it does not arrive as it was.
struct Way<'a> {
    acts: &'a Acts,
    export_id: &'a str,
    temps: &'a Path,
}

fn receipt_name(destination: &Path, form: &str, export_id: &str) -> String {
    format!("{}/{form}/{export_id}", destination.display())
}

fn delivered(node: &Node, destination: &Path, form: &str, export_id: &str) -> Result<bool, ShipError> {
    Ok(node.store.get(&SHIPMENTS, &receipt_name(destination, form, export_id), |_| ())?.is_some())
}

fn receipt(node: &Node, destination: &Path, form: &str, export_id: &str, c: &ShipCounters) -> Result<(), ShipError> {
    let record = Shipment { files: c.written + c.present, bytes: c.bytes, finished_at: node.clock.now().timestamp() };
    let mut batch = Batch::new();
    batch.put(&SHIPMENTS, &receipt_name(destination, form, export_id), &record)?;
    node.store.commit(batch)?;
    Ok(())
}

/// The files of a sealing, relative to the vault, its descriptor last. Sealings that it builds on come with it, so that
/// what arrives opens by itself.
fn sealing_files(vault: &Vault, pack_uid: &str) -> Result<Vec<PathBuf>, ShipError> {
    let mut uid = PackUid::default();
    if hex::decode_to_slice(pack_uid, &mut uid).is_err() {
        return Ok(Vec::new());
    }
    let own = vault.descriptor(&uid)?;
    let mut out = Vec::new();
    for of in own.requires.iter().chain([&uid]) {
        let d = vault.descriptor(of)?;
        let objects = d.data_objects.iter().chain(&d.manifest_objects);
        out.extend(objects.map(|o| vault.object_path(&o.object_blake3)));
        out.extend([vault.stanza_path(of), vault.stanza_sum_path(of), vault.descriptor_path(of)]);
    }
    Ok(out.into_iter().filter_map(|p| p.strip_prefix(vault.root()).ok().map(Path::to_owned)).collect())
}

/// Copies `files` in order; the last one is the commit, so everything before it is made durable first.
fn deliver(from: &Path, to: &Path, way: &Way<'_>, files: &[PathBuf], c: &mut ShipCounters) -> Result<(), ShipError> {
    std::fs::create_dir_all(to).map_err(io(to))?;
    let Some((last, before)) = files.split_last() else { return Ok(()) };
    for f in before {
        copy(&from.join(f), &to.join(f), way, c)?;
    }
    sync_file_system(to).map_err(io(to))?;
    copy(&from.join(last), &to.join(last), way, c)?;
    sync_file_system(to).map_err(io(to))
}

fn copy(from: &Path, to: &Path, way: &Way<'_>, c: &mut ShipCounters) -> Result<(), ShipError> {
    let (want, bytes) = sha256_file(from).map_err(io(from))?;
    if to.is_file() {
        let (there, _) = sha256_file(to).map_err(io(to))?;
        if there == want {
            c.present += 1;
            return Ok(());
        }
        seen::upload_differs(
            way.acts,
            way.export_id,
            &format!("{} is not what is sent; it is sent again", to.display()),
        );
    }
    bring(from, &want, to, way)?;
    c.written += 1;
    c.bytes += bytes;
    Ok(())
}

/// Copies a file whose sum is `want`; it gets its name only where that is what arrived.
fn bring(from: &Path, want: &[u8; 32], to: &Path, way: &Way<'_>) -> Result<(), ShipError> {
    let parent = to.parent().unwrap_or(to);
    std::fs::create_dir_all(parent).map_err(io(parent))?;
    // Not beside the target: what a kill leaves must not lie in a pack.
    std::fs::create_dir_all(way.temps).map_err(io(way.temps))?;
    let temp = way.temps.join(std::process::id().to_string());
    std::fs::copy(from, &temp).map_err(io(&temp))?;
    let (arrived, _) = sha256_file(&temp).map_err(io(&temp))?;
    if arrived != *want {
        let what = format!("what arrived of {} is not what was sent; it did not get its name", to.display());
        seen::upload_differs(way.acts, way.export_id, &what);
        return Err(ShipError::Altered(temp.display().to_string()));
    }
    datanode_schema::failpoint::pass("ship.copied");
    std::fs::rename(&temp, to).map_err(io(to))
}

/// Every file below `root`, relative, sorted.
fn list(root: &Path) -> Result<Vec<PathBuf>, ShipError> {
    let mut out = Vec::new();
    let mut stack = vec![root.to_owned()];
    while let Some(dir) = stack.pop() {
        for e in std::fs::read_dir(&dir).map_err(io(&dir))? {
            let e = e.map_err(io(&dir))?;
            if e.file_type().map_err(io(&dir))?.is_dir() {
                stack.push(e.path());
            } else if let Ok(p) = e.path().strip_prefix(root) {
                out.push(p.to_owned());
            }
        }
    }
    out.sort();
    Ok(out)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ShipError {
    let path = path.display().to_string();
    move |cause| ShipError::Io { path, cause }
}
