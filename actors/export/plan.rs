//! Every file of the pack but manifest and sums, and where its bytes come from.

use super::base::Base;
use super::gather::Gathered;
use super::{ExportCounters, ExportError, PackFile, TimeWindow};
use crate::frame::{CuratedEncoder, read_curated_part, session_day};
use crate::node::Node;
use datanode_schema::clock::date_of;
use datanode_schema::files::{sha256_file, sha256_of, sha256_plain};
use datanode_schema::keys::TouchedKey;
use datanode_schema::names::Dataset;
use datanode_schema::records::CuratedFile;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A file of the pack.
pub struct Planned {
    /// As the manifest tells it.
    pub file: PackFile,
    /// Where its bytes are.
    pub from: From,
}

/// Where the bytes of a file are.
pub enum From {
    /// In this file, which becomes a hard link.
    Link(PathBuf),
    /// In the folder that is being built: written anew, without what is held out.
    Written,
}

/// Plans every file, sorted by path. What has to be written anew is written below `building`, one file at a time for each
/// thread, unless the pack before this one has it already.
pub fn plan_files(
    node: &Node,
    g: &Gathered,
    base: Option<&Base>,
    building: &Path,
    c: &mut ExportCounters,
) -> Result<Vec<Planned>, ExportError> {
    let mut out = Vec::new();
    let none = BTreeSet::new();
    // Every file is read and compared with what curate wrote: a pack of altered bytes would fail its own sums.
    let planned = crate::parallel::each(node.threads, &g.files, |share| {
        let mut mine = Vec::new();
        while let Some((key, file)) = share.next() {
            let left_out = g.out.get(&key.path).unwrap_or(&none);
            mine.extend(plan_file(node, key, file, left_out, base, building)?);
        }
        Ok::<_, ExportError>(mine)
    });
    for p in planned.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        match p.from {
            From::Link(_) => c.linked += 1,
            From::Written => c.rewritten += 1,
        }
        c.rows += p.file.rows;
        out.push(p);
    }
    let status = node.data.partition_status();
    let (sha256, bytes) = sha256_file(&status).map_err(super::io(&status))?;
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

/// First and last session of files.
pub fn window_of<'a>(files: impl Iterator<Item = &'a PackFile> + Clone) -> TimeWindow {
    let start = files.clone().map(|f| f.window.start).min().unwrap_or_default();
    let end = files.map(|f| f.window.end).max().unwrap_or_default();
    TimeWindow { start, end }
}

fn plan_file(
    node: &Node,
    key: &TouchedKey,
    file: &CuratedFile,
    left_out: &BTreeSet<(String, i32)>,
    base: Option<&Base>,
    building: &Path,
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
    let Some(kept) = without(&source, key.dataset, &path, file.rows, left_out)? else { return Ok(None) };
    let window = TimeWindow { start: date_of(kept.first), end: date_of(kept.last) };
    let (sha256, bytes) = (hex::encode(sha256_of(&kept.encoded)), kept.encoded.len() as u64);
    let file = PackFile { path, sha256, bytes, rows: kept.rows, dataset, window, held_by: None };
    // A night on which nothing of it changed writes it no second time.
    let before = base.and_then(|b| b.place_of(node, &file));
    if let Some(there) = before.filter(|p| sha256_plain(p).is_ok_and(|(sum, _)| hex::encode(sum) == file.sha256)) {
        return Ok(Some(Planned { file, from: From::Link(there) }));
    }
    let target = building.join(&file.path);
    let parent = target.parent().unwrap_or(building);
    std::fs::create_dir_all(parent).map_err(super::io(parent))?;
    std::fs::write(&target, kept.encoded).map_err(super::io(&target))?;
    Ok(Some(Planned { file, from: From::Written }))
}

/// A file without what is held out.
struct Kept {
    encoded: Vec<u8>,
    rows: u64,
    /// First and last day number.
    first: i32,
    last: i32,
}

/// Encodes a curated file anew, a row group at a time, without the partitions in `left_out`; None where nothing is left.
fn without(
    source: &Path,
    dataset: Dataset,
    name: &str,
    rows: u64,
    left_out: &BTreeSet<(String, i32)>,
) -> Result<Option<Kept>, ExportError> {
    let mut encoder = CuratedEncoder::new(name, dataset);
    let mut kept = Kept { encoded: Vec::new(), rows: 0, first: i32::MAX, last: i32::MIN };
    let mut read = 0;
    while read < rows {
        let part = read_curated_part(source, dataset, read)?;
        if part.is_empty() {
            let cause = format!("{read} rows where {rows} were written");
            return Err(ExportError::Damaged { path: source.display().to_string(), cause });
        }
        for (symbol, mut table) in part {
            read += table.rows.len() as u64;
            let of = (symbol.clone(), i32::MIN)..=(symbol.clone(), i32::MAX);
            let days: BTreeSet<i32> = left_out.range(of).map(|(_, d)| *d).collect();
            table.rows.retain(|r| !days.contains(&session_day(dataset, r.when)));
            for r in &table.rows {
                let day = session_day(dataset, r.when);
                (kept.first, kept.last) = (kept.first.min(day), kept.last.max(day));
            }
            kept.rows += table.rows.len() as u64;
            encoder.push(symbol, table)?;
        }
    }
    if kept.rows == 0 {
        return Ok(None);
    }
    kept.encoded = encoder.finish()?;
    Ok(Some(kept))
}

/// Links every file of the folder that is not there yet.
pub fn lay_out(planned: &[Planned], building: &Path) -> Result<(), ExportError> {
    let mut made: Option<PathBuf> = None;
    for p in planned {
        let target = building.join(&p.file.path);
        let held = p.file.held_by.is_some();
        match &p.from {
            From::Written if held => std::fs::remove_file(&target).map_err(super::io(&target))?,
            From::Link(source) if !held => {
                let parent = target.parent().unwrap_or(building);
                if made.as_deref() != Some(parent) {
                    std::fs::create_dir_all(parent).map_err(super::io(parent))?;
                    made = Some(parent.to_owned());
                }
                std::fs::hard_link(source, &target).map_err(super::io(&target))?;
            }
            _ => {}
        }
    }
    Ok(())
}
