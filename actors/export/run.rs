//! Writing the pack.

use super::gather::{Gathered, gather};
use super::{
    CalendarOf, ExportError, MANIFEST_FILE, PackFile, PackManifest, Producer, SCHEMA_VERSION, SUMS_FILE, TimeWindow,
    format_sums,
};
use crate::frame::{Table, encode_curated, read_curated, session_day};
use crate::node::{Node, RunContext};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{compact, date_of, day_number, rfc3339};
use datanode_schema::failpoint;
use datanode_schema::files::{sha256_file, sha256_hex, sha256_of, sync_file_system, sync_folder};
use datanode_schema::keys::TouchedKey;
use datanode_schema::names::Dataset;
use datanode_schema::records::{CuratedFile, PackRecord};
use datanode_schema::store::Batch;
use datanode_schema::trees::PACKS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What exporting did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExportCounters {
    /// The pack of this run: new, or the one that still says it all.
    pub export_id: String,
    /// 1 where nothing changed since that pack.
    pub unchanged: u64,
    /// Data files in it.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that are hard links of curated ones.
    pub linked: u64,
    /// Files written anew, without what is held out.
    pub rewritten: u64,
    /// Partitions held out.
    pub excluded: u64,
}

/// Publishes the pack of a run, or confirms the last one where nothing has changed.
///
/// # Errors
/// [`ExportError`]: there is no new pack, and the last good one stays.
pub fn export(node: &Node, run: &RunContext) -> Result<ExportCounters, ExportError> {
    // One value: the hash in the manifest is that of the registry by which the pack is made.
    let config = node.live.current();
    let gathered = gather(node, run, &config.registry)?;
    let id = format!("{}_{}_full", compact(run.started_at), node.source);
    let mut c =
        ExportCounters { export_id: id.clone(), excluded: gathered.qc.excluded.len() as u64, ..Default::default() };
    let planned = plan_files(node, &gathered, &mut c)?;
    let files: Vec<PackFile> = planned.iter().map(|p| p.file.clone()).collect();
    let content = content_of(node, run, &config.sha256, &files);
    // What would be in the pack is known before a link is made: a night without changes touches no folder.
    if let Some(same) = same_as_last(node, run, &content)? {
        link_nightly(node, run, &node.data.pack(&node.source, &same))?;
        return Ok(ExportCounters { export_id: same, unchanged: 1, ..c });
    }
    let building = node.data.root().join("tmp").join(format!("export-{}", std::process::id()));
    if building.exists() {
        std::fs::remove_dir_all(&building).map_err(io(&building))?;
    }
    std::fs::create_dir_all(&building).map_err(io(&building))?;
    lay_out(&planned, &building)?;
    let manifest = describe(node, run, &config.sha256, id.clone(), files, gathered.qc);
    let manifest_sha256 = write_texts(&building, &manifest)?;
    publish(node, &building, &id, &manifest_sha256)?;
    link_nightly(node, run, &node.data.pack(&node.source, &id))?;
    let record = PackRecord {
        as_of: day_number(run.as_of),
        created_at: run.started_at.timestamp(),
        manifest_sha256: bytes32(&manifest_sha256),
        content,
        files: c.files + 2,
        bytes: c.bytes,
        rows: c.rows,
        pack_uid: String::new(),
        root: [0; 32],
        removed_at: 0,
    };
    let mut batch = Batch::new();
    batch.put(&PACKS, &id, &record)?;
    node.store.commit(batch)?;
    Ok(c)
}

/// A file of the pack, and where its bytes come from.
struct Planned {
    file: PackFile,
    from: From,
}

enum From {
    /// A hard link of this file.
    Link(PathBuf),
    /// Written anew, without what is held out.
    Bytes(Vec<u8>),
}

/// Every file of the pack but manifest and sums, sorted by path.
fn plan_files(node: &Node, g: &Gathered, c: &mut ExportCounters) -> Result<Vec<Planned>, ExportError> {
    let mut out = Vec::new();
    let none = BTreeSet::new();
    // Every file is read and compared with what curate wrote: a pack of altered bytes would fail its own sums.
    let planned = crate::parallel::each(node.threads, &g.files, |share| {
        let mut mine = Vec::new();
        while let Some((key, file)) = share.next() {
            mine.extend(plan_file(node, key, file, g.out.get(&key.path).unwrap_or(&none))?);
        }
        Ok::<_, ExportError>(mine)
    });
    for p in planned.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        match p.from {
            From::Link(_) => c.linked += 1,
            From::Bytes(_) => c.rewritten += 1,
        }
        c.rows += p.file.rows;
        out.push(p);
    }
    let status = node.data.partition_status();
    let (sha256, bytes) = sha256_file(&status).map_err(io(&status))?;
    let window = window_of(out.iter().map(|p: &Planned| &p.file));
    let file = PackFile {
        path: "data/qc/partition_status.parquet".to_owned(),
        sha256: hex::encode(sha256),
        bytes,
        rows: g.qc.green + g.qc.amber + g.qc.red + g.qc.pending,
        dataset: "qc".to_owned(),
        window,
        held_by: None,
    };
    out.push(Planned { file, from: From::Link(status) });
    out.sort_by(|a, b| a.file.path.as_bytes().cmp(b.file.path.as_bytes()));
    c.files = out.len() as u64;
    c.bytes = out.iter().map(|p| p.file.bytes).sum();
    Ok(out)
}

fn plan_file(
    node: &Node,
    key: &TouchedKey,
    file: &CuratedFile,
    left_out: &BTreeSet<(String, i32)>,
) -> Result<Option<Planned>, ExportError> {
    let source = node.data.curated().join(&key.path);
    let damaged = |cause: String| ExportError::Damaged { path: source.display().to_string(), cause };
    let (sha256, length) = sha256_file(&source).map_err(|e| damaged(e.to_string()))?;
    if sha256 != file.sha256 || length != file.bytes {
        return Err(damaged("its SHA-256 is another".to_owned()));
    }
    let (path, dataset) = (format!("data/{}", key.path), key.dataset.to_string());
    let window = TimeWindow { start: date_of(file.from), end: date_of(file.to) };
    if left_out.is_empty() {
        let sha256 = hex::encode(file.sha256);
        let file = PackFile { path, sha256, bytes: file.bytes, rows: file.rows, dataset, window, held_by: None };
        return Ok(Some(Planned { file, from: From::Link(source) }));
    }
    let kept = without(key.dataset, read_curated(&source, key.dataset)?, left_out);
    let rows: u64 = kept.iter().map(|(_, t)| t.rows.len() as u64).sum();
    if rows == 0 {
        return Ok(None);
    }
    let view: Vec<(&str, &Table)> = kept.iter().map(|(s, t)| (s.as_str(), t)).collect();
    let encoded = encode_curated(&path, key.dataset, &view)?;
    let days: Vec<i32> =
        kept.iter().flat_map(|(_, t)| t.rows.iter().map(|r| session_day(key.dataset, r.when))).collect();
    let edge = |d: Option<&i32>| d.map_or(window.start, |d| date_of(*d));
    let window = TimeWindow { start: edge(days.iter().min()), end: edge(days.iter().max()) };
    let sha256 = hex::encode(sha256_of(&encoded));
    let file = PackFile { path, sha256, bytes: encoded.len() as u64, rows, dataset, window, held_by: None };
    Ok(Some(Planned { file, from: From::Bytes(encoded) }))
}

/// Links or writes every planned file below `building`.
fn lay_out(planned: &[Planned], building: &Path) -> Result<(), ExportError> {
    let mut made: Option<PathBuf> = None;
    for p in planned {
        let target = building.join(&p.file.path);
        let parent = target.parent().unwrap_or(building);
        if made.as_deref() != Some(parent) {
            std::fs::create_dir_all(parent).map_err(io(parent))?;
            made = Some(parent.to_owned());
        }
        match &p.from {
            From::Link(source) => std::fs::hard_link(source, &target).map_err(io(&target))?,
            From::Bytes(bytes) => std::fs::write(&target, bytes).map_err(io(&target))?,
        }
    }
    Ok(())
}

fn without(
    dataset: Dataset,
    symbols: Vec<(String, Table)>,
    left_out: &BTreeSet<(String, i32)>,
) -> Vec<(String, Table)> {
    let mut out = Vec::new();
    for (symbol, mut table) in symbols {
        table.rows.retain(|r| !left_out.contains(&(symbol.clone(), session_day(dataset, r.when))));
        if !table.rows.is_empty() {
            out.push((symbol, table));
        }
    }
    out
}

fn window_of<'a>(files: impl Iterator<Item = &'a PackFile> + Clone) -> TimeWindow {
    let start = files.clone().map(|f| f.window.start).min().unwrap_or_default();
    let end = files.map(|f| f.window.end).max().unwrap_or_default();
    TimeWindow { start, end }
}

/// What the pack says, without its id and its time: the same content is the same pack.
fn content_of(node: &Node, run: &RunContext, config_sha256: &str, files: &[PackFile]) -> [u8; 32] {
    let mut h = blake3::Hasher::new_derive_key("datanode 2026 pack content v1");
    let mut part = |s: &str| {
        h.update(&(s.len() as u64).to_le_bytes());
        h.update(s.as_bytes());
    };
    let calendar = node.registry().calendars.get(Calendar::Xnys);
    for s in [node.host_id.as_str(), &node.source, config_sha256, &run.as_of.to_string(), &calendar.sha256()] {
        part(s);
    }
    for f in files {
        part(&f.path);
        part(&f.sha256);
    }
    *h.finalize().as_bytes()
}

/// The newest pack, where it holds the same and still stands.
fn same_as_last(node: &Node, run: &RunContext, content: &[u8; 32]) -> Result<Option<String>, ExportError> {
    let newest = node.standing_packs()?.into_iter().next();
    let same = newest.filter(|(id, p)| {
        p.content == *content
            && p.as_of == day_number(run.as_of)
            && node.data.pack(&node.source, id).join(MANIFEST_FILE).is_file()
    });
    Ok(same.map(|(id, _)| id))
}

fn describe(
    node: &Node,
    run: &RunContext,
    config_sha256: &str,
    id: String,
    files: Vec<PackFile>,
    qc: super::QcSummary,
) -> PackManifest {
    let calendar = node.registry().calendars.get(Calendar::Xnys);
    PackManifest {
        schema_version: SCHEMA_VERSION,
        export_id: id,
        created_at_utc: rfc3339(run.started_at),
        source: node.source.clone(),
        time_window: window_of(files.iter()),
        producer: Producer {
            host_id: node.host_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_sha: None,
            image: None,
        },
        repo_head: None,
        calendar: CalendarOf {
            name: calendar.name().to_owned(),
            version: calendar.version().to_owned(),
            sha256: calendar.sha256(),
        },
        config_sha256: config_sha256.to_owned(),
        files,
        qc,
        base_export_id: None,
        notes: None,
    }
}

/// Writes manifest and sums; returns the manifest's SHA-256.
fn write_texts(building: &Path, manifest: &PackManifest) -> Result<String, ExportError> {
    let text = manifest.to_text();
    let sum = sha256_hex(text.as_bytes());
    let mut sums: Vec<(String, String)> = manifest.files.iter().map(|f| (f.sha256.clone(), f.path.clone())).collect();
    sums.push((sum.clone(), MANIFEST_FILE.to_owned()));
    for (name, text) in [(MANIFEST_FILE, text), (SUMS_FILE, format_sums(sums))] {
        let path = building.join(name);
        std::fs::write(&path, text).map_err(io(&path))?;
    }
    Ok(sum)
}

/// The folder appears whole, under its name, or not at all.
fn publish(node: &Node, building: &Path, id: &str, manifest_sha256: &str) -> Result<(), ExportError> {
    let target = node.data.pack(&node.source, id);
    let parent = target.parent().unwrap_or(&target).to_owned();
    std::fs::create_dir_all(&parent).map_err(io(&parent))?;
    if target.exists() {
        // A crash came between the rename and the commit: the same pack is already there.
        let there = std::fs::read(target.join(MANIFEST_FILE)).map(|t| sha256_hex(&t));
        if there.is_ok_and(|sum| sum == manifest_sha256) {
            return std::fs::remove_dir_all(building).map_err(io(building));
        }
        return Err(ExportError::Exists { id: id.to_owned() });
    }
    failpoint::pass("export.before_sync");
    sync_file_system(building).map_err(io(building))?;
    std::fs::rename(building, &target).map_err(io(&target))?;
    failpoint::pass("export.renamed");
    sync_folder(&parent).map_err(io(&parent))
}

/// `exports/nightly/<as-of>`: the same files, hard-linked; a rerun replaces the folder whole.
fn link_nightly(node: &Node, run: &RunContext, pack: &Path) -> Result<(), ExportError> {
    let target = node.data.nightly(run.as_of);
    if same_file(&pack.join(MANIFEST_FILE), &target.join(MANIFEST_FILE)) {
        return Ok(());
    }
    let tmp = node.data.root().join("tmp");
    let (fresh, old) = (tmp.join(format!("nightly-{}", run.as_of)), tmp.join(format!("nightly-old-{}", run.as_of)));
    for d in [&fresh, &old] {
        if d.exists() {
            std::fs::remove_dir_all(d).map_err(io(d))?;
        }
    }
    link_tree(pack, &fresh)?;
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(io(parent))?;
    }
    if target.exists() {
        std::fs::rename(&target, &old).map_err(io(&target))?;
    }
    failpoint::pass("export.nightly");
    std::fs::rename(&fresh, &target).map_err(io(&target))?;
    if old.exists() {
        std::fs::remove_dir_all(&old).map_err(io(&old))?;
    }
    Ok(())
}

/// Whether two names are links of one file.
fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
        _ => false,
    }
}

fn link_tree(from: &Path, to: &Path) -> Result<(), ExportError> {
    std::fs::create_dir_all(to).map_err(io(to))?;
    for e in std::fs::read_dir(from).map_err(io(from))? {
        let e = e.map_err(io(from))?;
        let target = to.join(e.file_name());
        if e.file_type().map_err(io(from))?.is_dir() {
            link_tree(&e.path(), &target)?;
        } else {
            std::fs::hard_link(e.path(), &target).map_err(io(&target))?;
        }
    }
    Ok(())
}

fn bytes32(hex_text: &str) -> [u8; 32] {
    let mut out = [0u8; 32];
    // The text is one that we made: 64 hex digits.
    if hex::decode_to_slice(hex_text, &mut out).is_err() {
        return [0; 32];
    }
    out
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError {
    let path: PathBuf = path.to_owned();
    move |cause| ExportError::Io { path: path.display().to_string(), cause }
}
