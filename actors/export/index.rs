//! The index of packs: entering one, finding those that were not entered, and what two packs have in common.

use super::nightly::link_nightly;
use super::{ExportError, ExportId, MANIFEST_FILE, PackFile, PackManifest, io, read_text, verify_pack};
use crate::node::Node;
use chrono::{DateTime, NaiveDate};
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::files::sha256_of;
use datanode_schema::records::PackRecord;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{PACKS, RUNS};

/// What the pack says, without its id and its time: the same content is the same pack. `origin` is host, source, configuration
/// and calendar.
pub fn content_of<'a>(origin: [&str; 4], as_of: NaiveDate, files: impl Iterator<Item = &'a PackFile>) -> [u8; 32] {
    let mut h = blake3::Hasher::new_derive_key("datanode 2026 pack content v1");
    let mut part = |s: &str| {
        h.update(&(s.len() as u64).to_le_bytes());
        h.update(s.as_bytes());
    };
    let [host, source, config, calendar] = origin;
    for s in [host, source, config, &as_of.to_string(), calendar] {
        part(s);
    }
    for f in files {
        part(&f.path);
        part(&f.sha256);
    }
    *h.finalize().as_bytes()
}

/// Enters a published pack into the index.
pub fn enter(
    node: &Node,
    m: &PackManifest,
    as_of: NaiveDate,
    sha256: [u8; 32],
    content: [u8; 32],
) -> Result<(), StoreError> {
    let created = DateTime::parse_from_rfc3339(&m.created_at_utc).map_or(0, |t| t.timestamp());
    let record = PackRecord {
        as_of: day_number(as_of),
        created_at: created,
        manifest_sha256: sha256,
        content,
        files: m.own_files().count() as u64 + 2,
        bytes: m.own_files().map(|f| f.bytes).sum(),
        rows: m.data_rows(),
        pack_uid: String::new(),
        root: [0; 32],
        removed_at: 0,
    };
    let mut batch = Batch::new();
    batch.put(&PACKS, &m.export_id, &record)?;
    node.store.commit(batch).map(|_| ())
}

/// Packs that were published by a run which ended before it entered them, and which nobody resumed: a good one is entered, since
/// it may have been seen, and gets its date; one that does not verify is left alone. The folder of this very run is left to that run.
pub fn adopt_orphans(node: &Node, stamp: &str) -> Result<(), ExportError> {
    let home = node.data.exports().join(&node.source);
    let entries = match std::fs::read_dir(&home) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io(&home)(e)),
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    for name in names {
        let Some(id) = name.strip_prefix("export_").and_then(ExportId::parse).filter(|i| i.source == node.source)
        else {
            continue;
        };
        let id = id.to_string();
        if id.starts_with(stamp) || node.store.load(&PACKS, &id)?.is_some() {
            continue;
        }
        let folder = home.join(&name);
        let sound = verify_pack(&folder, node.threads).is_some_and(|r| r.problems.is_empty() && r.export_id == id);
        if !sound {
            // Somebody's, perhaps: with a note beside the data, half copied back, of a later version.
            tracing::warn!(folder = %folder.display(), "this pack is not in the index and does not verify; it is left as it is");
            continue;
        }
        let path = folder.join(MANIFEST_FILE);
        let text = read_text(&path).map_err(io(&path))?;
        let m = PackManifest::parse(&text)?;
        // Its run, where its record is still there, knows the session; the rows' last session is near enough where not.
        let runs = node.store.load_all(&RUNS, &[])?;
        let of = runs.iter().rev().find(|(r, _)| r.get(..16) == id.get(..16));
        let as_of = of.map_or(m.time_window.end, |(_, r)| date_of(r.as_of));
        let origin = [&m.producer.host_id, &m.source, &m.config_sha256, &m.calendar.sha256].map(String::as_str);
        if !node.data.nightly(as_of).exists() {
            link_nightly(node, as_of, &folder)?;
        }
        enter(node, &m, as_of, sha256_of(&text), content_of(origin, as_of, m.files.iter()))?;
        tracing::warn!(export_id = id, "a pack that a run published and did not enter is entered now");
    }
    Ok(())
}
