//! What a pack or a sealing consists of at a destination: its own objects, and the one whose presence is the commit.

use super::ShipError;
use super::error::here;
use super::plan::Form;
use super::sum::{Item, Sum};
use crate::anchor::{Log, proof_name};
use crate::export::{ExportId, MANIFEST_FILE, PackManifest, SUMS_FILE, format_sums, read_text};
use crate::node::Node;
use crate::objects::layout;
use crate::seal::PackUid;
use crate::vault::Vault;
use datanode_schema::trees::{PACKS, SEALINGS};
use std::path::Path;

/// What is brought as one.
#[derive(Debug)]
pub struct Load {
    /// The pack.
    pub export_id: String,
    /// What of it.
    pub form: Form,
    /// Where its objects go.
    pub prefix: String,
    /// Every object but the last.
    pub items: Vec<Item>,
    /// manifest.json, or the descriptor.
    pub last: Item,
}

impl Load {
    /// The load of a pack.
    pub fn of(node: &Node, export_id: &str, form: Form) -> Result<Self, ShipError> {
        match form {
            Form::Plain => plain(node, export_id),
            Form::Sealed => sealed(node, export_id),
        }
    }

    /// Bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.items.iter().chain([&self.last]).map(|i| i.bytes).sum()
    }
}

fn manifest(node: &Node, export_id: &str) -> Result<(PackManifest, Item), ShipError> {
    let path = node.data.pack(&node.source, export_id).join(MANIFEST_FILE);
    let text = read_text(&path).map_err(here(&path))?;
    let sum = datanode_schema::files::sha256_of(&text);
    let known = node.store.load(&PACKS, &export_id.to_owned())?;
    if known.is_some_and(|p| p.manifest_sha256 != sum) {
        return Err(ShipError::AlteredHere(path.display().to_string()));
    }
    let m =
        PackManifest::parse(&text).map_err(|cause| ShipError::Manifest { path: path.display().to_string(), cause })?;
    let bytes = text.len() as u64;
    Ok((m, Item { path: MANIFEST_FILE.to_owned(), from: path, sum: Sum::Sha256(sum), bytes, changes: false }))
}

fn plain(node: &Node, export_id: &str) -> Result<Load, ShipError> {
    let folder = node.data.pack(&node.source, export_id);
    let (m, last) = manifest(node, export_id)?;
    let mut items = Vec::with_capacity(m.files.len() + 1);
    for f in m.own_files() {
        let mut sum = [0u8; 32];
        if hex::decode_to_slice(&f.sha256, &mut sum).is_err() {
            return Err(ShipError::AlteredHere(folder.display().to_string()));
        }
        let from = folder.join(&f.path);
        items.push(Item { path: f.path.clone(), from, sum: Sum::Sha256(sum), bytes: f.bytes, changes: false });
    }
    let mut sums: Vec<_> = m.own_files().map(|f| (f.sha256.clone(), f.path.clone())).collect();
    sums.push((hex::encode(last.sum.bytes()), MANIFEST_FILE.to_owned()));
    let (text, from) = (format_sums(sums), folder.join(SUMS_FILE));
    let sum = Sum::Sha256(datanode_schema::files::sha256_of(text.as_bytes()));
    items.push(Item { path: SUMS_FILE.to_owned(), from, sum, bytes: text.len() as u64, changes: false });
    let prefix = layout::pack(&node.source, export_id);
    Ok(Load { export_id: export_id.to_owned(), form: Form::Plain, prefix, items, last })
}

/// The packs in whose folders files of a delta lie.
pub fn held_by(node: &Node, export_id: &str) -> Result<Vec<String>, ShipError> {
    if !node.data.pack(&node.source, export_id).join(MANIFEST_FILE).is_file() {
        let needs = format!("its own folder {}", node.data.pack(&node.source, export_id).display());
        return Err(ShipError::Missing { pack: export_id.to_owned(), needs });
    }
    // A full pack builds on none, and its manifest need not be read for that.
    if ExportId::parse(export_id).is_some_and(|id| !id.is_delta) {
        return Ok(Vec::new());
    }
    let (m, _) = manifest(node, export_id)?;
    Ok(m.holders().into_iter().map(str::to_owned).collect())
}

fn uid_of(node: &Node, export_id: &str) -> Result<PackUid, ShipError> {
    let mut uid = PackUid::default();
    let known = node.store.load(&PACKS, &export_id.to_owned())?;
    match known.map(|p| hex::decode_to_slice(&p.pack_uid, &mut uid)) {
        Some(Ok(())) => Ok(uid),
        _ => Err(ShipError::Missing { pack: export_id.to_owned(), needs: "its sealing".to_owned() }),
    }
}

/// The packs whose sealings hold chunks of this one's.
pub fn required(node: &Node, export_id: &str) -> Result<Vec<String>, ShipError> {
    let d = Vault::open(&node.data.vault())?.descriptor(&uid_of(node, export_id)?)?;
    let mut out = Vec::new();
    for uid in d.requires {
        let uid = hex::encode(uid);
        match node.store.load(&SEALINGS, &uid)? {
            // A pack that was sealed anew brings its new sealing, not this one.
            Some(s) if node.store.load(&PACKS, &s.export_id)?.is_none_or(|p| p.pack_uid == uid) => {
                out.push(s.export_id)
            }
            _ => {
                let (pack, needs) = (export_id.to_owned(), format!("the sealing {uid}"));
                return Err(ShipError::Missing { pack, needs });
            }
        }
    }
    Ok(out)
}

fn sealed(node: &Node, export_id: &str) -> Result<Load, ShipError> {
    let vault = Vault::open(&node.data.vault())?;
    let uid = uid_of(node, export_id)?;
    let d = vault.descriptor(&uid)?;
    let below = |p: &Path| p.strip_prefix(vault.root()).unwrap_or(p).to_string_lossy().into_owned();
    let mut items = Vec::new();
    for o in d.leaves() {
        let from = vault.object_path(&o.object_blake3);
        items.push(Item {
            path: below(&from),
            from,
            sum: Sum::Blake3(o.object_blake3),
            bytes: o.object_len,
            changes: false,
        });
    }
    if let Some((path, _)) = vault.stanza_problem(&uid)? {
        return Err(ShipError::AlteredHere(path.display().to_string()));
    }
    // Of a key that was dropped, the note of it alone.
    let shredded = vault.shredded(&uid)?.is_some();
    let ours = |p: &std::path::PathBuf| p.exists() && p.extension().is_some_and(|e| e == "shredded") == shredded;
    for from in vault.stanza_files(&uid).into_iter().filter(ours) {
        // New recipients are another stanza.
        items.push(Item { changes: true, ..Item::as_it_is(&below(&from), from)? });
    }
    let proof = Log::at(node.data.anchors()).proof_path(&uid);
    if proof.is_file() {
        // One that was lost here is made again at a newer checkpoint.
        items.push(Item { changes: true, ..Item::as_it_is(&proof_name(&uid), proof)? });
    }
    let from = vault.descriptor_path(&uid);
    let last = Item::as_it_is(&below(&from), from)?;
    let prefix = layout::sealing(&node.source, &hex::encode(uid));
    Ok(Load { export_id: export_id.to_owned(), form: Form::Sealed, prefix, items, last })
}
