//! The packs that are served: those that stand and were published, and of them the files that their manifests name.

use datanode_actors::beneath::Beneath;
use datanode_actors::export::{MANIFEST_FILE, PackManifest, SUMS_FILE};
use datanode_actors::node::Node;
use datanode_actors::objects::layout;
use datanode_actors::objects::pointer::Pointer;
use datanode_schema::files::{sha256_hex, sha256_of};
use datanode_schema::records::PackRecord;
use datanode_schema::trees::PACKS;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// Manifests that are kept parsed.
const KEPT: usize = 8;
/// The longest manifest that is read, bytes.
const MAX_MANIFEST: u64 = 256 << 20;

/// What a request names.
pub enum Served {
    /// A small text made on the fly, and its ETag.
    Text(Vec<u8>, String),
    /// A file: open, its length, and its SHA-256.
    File(File, u64, String),
}

/// Path in the pack to (length, hex SHA-256).
type Names = BTreeMap<String, (u64, String)>;

/// The packs of a node.
pub struct Packs {
    node: Arc<Node>,
    parsed: Mutex<Vec<(String, Arc<Names>)>>,
}

impl Packs {
    /// Of this node.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, parsed: Mutex::default() }
    }

    /// The packs that stand, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub fn standing(&self) -> Result<Vec<(String, PackRecord)>, String> {
        let mut all = self.node.store.load_all(&PACKS, &[]).map_err(|e| e.to_string())?;
        all.retain(|(id, r): &(String, PackRecord)| r.removed_at == 0 && self.folder(id).is_some());
        all.reverse();
        Ok(all)
    }

    /// The node's source name.
    pub fn source(&self) -> &str {
        &self.node.source
    }

    /// What lies at a path below `exports/<source>/` in the layout of a bucket; None where there is nothing that may be read. `host` is how
    /// the node was addressed, for pointers.
    ///
    /// # Errors
    /// The store's, or a file that cannot be read.
    pub fn find(&self, path: &str, host: &str) -> Result<Option<Served>, String> {
        if path == "latest.pointer" {
            return Ok(self.standing()?.first().map(|(id, _)| self.pointer(id, host)));
        }
        let Some(rest) = path.strip_prefix("export_") else { return Ok(None) };
        if let Some(id) = rest.strip_suffix(".pointer") {
            return Ok(self.record(id)?.map(|_| self.pointer(id, host)));
        }
        let Some((id, name)) = rest.split_once('/') else { return Ok(None) };
        let Some(record) = self.record(id)? else { return Ok(None) };
        let names = self.names(id, &record)?;
        let Some((bytes, sum)) = names.get(name) else { return Ok(None) };
        let Some(mut folder) = self.folder(id) else { return Ok(None) };
        // A file that an earlier pack holds is served from that pack's folder.
        let Ok(file) = folder.open(name) else { return Ok(None) };
        match file.metadata() {
            Ok(m) if m.is_file() && m.len() == *bytes => Ok(Some(Served::File(file, *bytes, sum.clone()))),
            _ => Err(format!("export_{id}/{name} is not what its manifest says; `datanode pack verify` tells more")),
        }
    }

    fn record(&self, id: &str) -> Result<Option<PackRecord>, String> {
        let found = self.node.store.load(&PACKS, &id.to_owned()).map_err(|e| e.to_string())?;
        Ok(found.filter(|r| r.removed_at == 0))
    }

    fn folder(&self, id: &str) -> Option<Beneath> {
        File::open(self.node.data.pack(&self.node.source, id))
            .ok()
            .filter(|f| f.metadata().is_ok_and(|m| m.is_dir()))
            .map(Beneath::new)
    }

    fn pointer(&self, id: &str, host: &str) -> Served {
        let pointer = Pointer {
            export_bucket: format!("http://{host}/v1/packs"),
            export_prefix: layout::exports(&self.node.source),
            export_id: id.to_owned(),
            ..Pointer::default()
        };
        let text = pointer.to_text().into_bytes();
        let tag = sha256_hex(&text);
        Served::Text(text, tag)
    }

    /// The names of a pack, from a manifest whose bytes are those that were published.
    fn names(&self, id: &str, record: &PackRecord) -> Result<Arc<Names>, String> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, names)) = parsed.iter().find(|(kept, _)| kept == id) {
            return Ok(names.clone());
        }
        let altered = |why: &str| format!("export_{id}: {why}; `datanode pack verify` tells more");
        let mut folder = self.folder(id).ok_or_else(|| altered("the folder is gone"))?;
        let mut read = |name: &str| {
            let mut text = Vec::new();
            let file = folder.open(name).map_err(|e| altered(&format!("{name}: {e}")))?;
            file.take(MAX_MANIFEST).read_to_end(&mut text).map_err(|e| altered(&format!("{name}: {e}")))?;
            Ok::<_, String>(text)
        };
        let (text, sums) = (read(MANIFEST_FILE)?, read(SUMS_FILE)?);
        if sha256_of(&text) != record.manifest_sha256 {
            return Err(altered("its manifest is not the one that was published"));
        }
        let m = PackManifest::parse(&text).map_err(|e| altered(&e.to_string()))?;
        let own = m.files.into_iter().filter(|f| f.held_by.is_none());
        let mut names: Names = own.map(|f| (f.path, (f.bytes, f.sha256))).collect();
        for (name, bytes) in [(MANIFEST_FILE, &text), (SUMS_FILE, &sums)] {
            names.insert(name.to_owned(), (bytes.len() as u64, sha256_hex(bytes)));
        }
        let names = Arc::new(names);
        if parsed.len() >= KEPT {
            parsed.remove(0);
        }
        parsed.push((id.to_owned(), names.clone()));
        Ok(names)
    }
}
