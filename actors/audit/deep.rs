//! The deep audit: every raw and curated file is read again and held against what manifests and state say of it.
//!
//! What is found wrong is mended in the way of the nightly cycle: a raw file that is gone or altered is forgotten and asked for
//! again, holdings that say other than their file are written anew, a curated file is made again from raw. Nothing is deleted.

use super::AuditError;
use crate::books::{BooksError, noted};
use crate::frame::{read_raw, session_day};
use crate::node::Node;
use crate::raw::{RawError, forget, holding_day};
use datanode_schema::clock::date_of;
use datanode_schema::files::{sha256_file, sha256_of};
use datanode_schema::keys::{HoldingKey, TouchedKey};
use datanode_schema::manifest;
use datanode_schema::names::Dataset;
use datanode_schema::paths::DataDir;
use datanode_schema::records::{Holding, HoldingDay};
use datanode_schema::registry::DatasetRule;
use datanode_schema::store::Batch;
use datanode_schema::trees::{CURATED, HOLDINGS, OFFLOADED, TOUCHED};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// The file, relative to `data_layer`.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// What was done about it.
    pub done: &'static str,
}

/// What the deep audit read and found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct DeepReport {
    /// Raw files that the holdings name.
    pub raw_files: u64,
    /// Their bytes.
    pub raw_bytes: u64,
    /// Rows read from them.
    pub rows: u64,
    /// Curated files on record.
    pub curated_files: u64,
    /// Their bytes.
    pub curated_bytes: u64,
    /// Closed files of order books that are here.
    pub book_files: u64,
    /// Files that are not here, since they were offloaded and verified there.
    pub offloaded: u64,
    /// What is wrong, by path.
    pub findings: Vec<Finding>,
}

/// The SHA-256 that the manifests gave for raw files last, by the BLAKE3 of the path: a year of minute files is a million paths.
/// Two of them, since a line is written before its file: after a kill the file may be the one before.
type Sums = HashMap<[u8; 16], [[u8; 32]; 2]>;

/// A raw file with the pages that tell of its sessions.
struct Raw {
    path: String,
    dataset: Dataset,
    /// Any day in it.
    day: i32,
    pages: Vec<(HoldingKey, Vec<HoldingDay>)>,
}

/// Reads everything. Nobody else may write meanwhile: the caller holds the folder.
///
/// # Errors
/// A manifest that does not parse, the store's, or a disk that cannot be read.
pub fn deep(node: &Node) -> Result<DeepReport, AuditError> {
    let registry = node.registry();
    let sums = manifest_sums(&node.data)?;
    let raws: Vec<Raw> = raw_files(node)?;
    let mut report = DeepReport { raw_files: raws.len() as u64, ..DeepReport::default() };
    let parts = crate::parallel::each(node.threads, &raws, |share| {
        let mut part = DeepReport::default();
        while let Some(raw) = share.next() {
            if let Some(rule) = registry.rule(raw.dataset) {
                check_raw(node, rule, raw, &sums, &mut part)?;
            }
        }
        Ok::<_, AuditError>(part)
    });
    let curated = node.store.load_all(&CURATED, &[])?;
    let more = crate::parallel::each(node.threads, &curated, |share| {
        let mut part = DeepReport::default();
        while let Some((key, file)) = share.next() {
            check_curated(node, key, &file.sha256, &mut part)?;
        }
        Ok::<_, AuditError>(part)
    });
    for part in parts.into_iter().chain(more) {
        let part = part?;
        report.raw_bytes += part.raw_bytes;
        report.rows += part.rows;
        report.curated_files += part.curated_files;
        report.curated_bytes += part.curated_bytes;
        report.findings.extend(part.findings);
    }
    check_books(node, &mut report)?;
    report.findings.sort();
    Ok(report)
}

/// The last sum of each path, in the order of the runs.
fn manifest_sums(data: &DataDir) -> Result<Sums, AuditError> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![data.manifests()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(e) => e,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(io(&folder, e)),
        };
        for entry in entries {
            let path = entry.map_err(|e| io(&folder, e))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_manifest(&path) {
                files.push(path);
            }
        }
    }
    // A file is of one vendor and dataset, and so are its manifests: their names sort by run within a folder.
    files.sort();
    let mut sums = Sums::new();
    for file in files {
        for line in manifest::read(&file)? {
            for w in line.files {
                let mut sum = [0u8; 32];
                if hex::decode_to_slice(&w.sha256, &mut sum).is_ok() {
                    let last = sums.entry(short(&w.path)).or_insert([sum, sum]);
                    // The same line again, of the same question asked again, is one.
                    let [_, newest] = *last;
                    if newest != sum {
                        *last = [newest, sum];
                    }
                }
            }
        }
    }
    Ok(sums)
}

/// Whether it holds the lines of requests: those of the book collector and the events are of other forms.
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let other = ["manifest-books-", "manifest-offload-"].iter().any(|o| name.starts_with(o));
    name.starts_with("manifest-") && !other && name.ends_with(".jsonl")
}

fn short(path: &str) -> [u8; 16] {
    blake3::hash(path.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
}

fn raw_files(node: &Node) -> Result<Vec<Raw>, AuditError> {
    let registry = node.registry();
    let mut out: BTreeMap<String, Raw> = BTreeMap::new();
    for (key, page) in node.store.load_all(&HOLDINGS, &[])? {
        let Some(rule) = registry.rule(key.dataset) else { continue };
        let mut by_file: BTreeMap<String, Vec<HoldingDay>> = BTreeMap::new();
        for d in page.days(key.month.first_day()) {
            let path = DataDir::raw_file(key.vendor, key.dataset, rule.grain, &key.symbol, date_of(d.day));
            by_file.entry(path.map_err(RawError::from)?).or_default().push(d);
        }
        for (path, days) in by_file {
            let day = days.first().map_or(0, |d| d.day);
            let raw = out.entry(path.clone()).or_insert(Raw { path, dataset: key.dataset, day, pages: Vec::new() });
            raw.pages.push((key.clone(), days));
        }
    }
    Ok(out.into_values().collect())
}

fn check_raw(
    node: &Node,
    rule: &DatasetRule,
    raw: &Raw,
    sums: &Sums,
    report: &mut DeepReport,
) -> Result<(), AuditError> {
    let path = node.data.raw().join(&raw.path);
    let Some((first, _)) = raw.pages.first() else { return Ok(()) };
    let lost = |cause: &str, report: &mut DeepReport| {
        match forget::<()>(node, rule, first.vendor, raw.dataset, &first.symbol, date_of(raw.day), cause) {
            Err(RawError::Forgotten { .. }) | Ok(()) => {}
            Err(e) => return Err(AuditError::from(e)),
        }
        report.findings.push(Finding {
            path: format!("raw/{}", raw.path),
            what: cause.to_owned(),
            done: "forgotten: the next nightly asks for it again",
        });
        Ok(())
    };
    if !path.is_file() {
        return lost("the file is gone", report);
    }
    let (sum, bytes) = sha256_file(&path).map_err(|e| io(&path, e))?;
    report.raw_bytes += bytes;
    match sums.get(&short(&raw.path)) {
        Some(known) if !known.contains(&sum) => return lost("its bytes are not those that the manifest names", report),
        None => return lost("no manifest names it", report),
        Some(_) => {}
    }
    let table = match read_raw(&path, raw.dataset, first.vendor) {
        Ok(t) => t,
        Err(e) => return lost(&e.cause, report),
    };
    report.rows += table.rows.len() as u64;
    let mut stamps: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for r in &table.rows {
        stamps.entry(session_day(raw.dataset, r.when)).or_default().push(r.when);
    }
    let is = |day: i32| {
        let none = Vec::new();
        let here = stamps.get(&day).unwrap_or(&none);
        holding_day(raw.dataset, rule.calendar(), day, here)
    };
    let held: usize = raw.pages.iter().map(|(_, days)| days.len()).sum();
    let wrong = raw.pages.iter().any(|(_, days)| days.iter().any(|d| *d != is(d.day).with_notes_of(d)));
    if wrong || held != stamps.len() {
        let mut all: Vec<i32> = stamps.keys().copied().collect();
        all.extend(raw.pages.iter().flat_map(|(_, days)| days.iter().map(|d| d.day)));
        mend_holdings(node, rule, raw, &all, &is)?;
        report.findings.push(Finding {
            path: format!("raw/{}", raw.path),
            what: "the state says other sessions or rows of it than there are".to_owned(),
            done: "the holdings were written anew from the file",
        });
    }
    Ok(())
}

/// Writes the holdings of `days` as `is` gives them.
fn mend_holdings(
    node: &Node,
    rule: &DatasetRule,
    raw: &Raw,
    days: &[i32],
    is: &impl Fn(i32) -> HoldingDay,
) -> Result<(), AuditError> {
    use datanode_schema::keys::Month;
    let Some((of, _)) = raw.pages.first() else { return Ok(()) };
    let mut months: BTreeMap<Month, Vec<i32>> = BTreeMap::new();
    days.iter().for_each(|d| months.entry(Month::of(date_of(*d))).or_default().push(*d));
    let mut batch = Batch::new();
    let now = node.clock.now().timestamp();
    for (month, days) in months {
        let key = HoldingKey { month, ..of.clone() };
        let before: Holding = node.store.load(&HOLDINGS, &key)?.unwrap_or_default();
        let first = month.first_day();
        let old = before.days(first);
        let again = |day: &i32| match old.iter().find(|d| d.day == *day) {
            Some(o) => is(*day).with_notes_of(o),
            None => is(*day),
        };
        let page = before.with(first, days.iter().map(again));
        if page.groups.is_empty() {
            batch.delete(&HOLDINGS, &key);
        } else {
            batch.put(&HOLDINGS, &key, &page)?;
        }
        for day in days {
            let path = DataDir::curated_file(raw.dataset, rule.curated, date_of(day));
            batch.put(&TOUCHED, &TouchedKey { dataset: raw.dataset, path }, &now)?;
        }
    }
    node.store.commit(batch)?;
    Ok(())
}

/// Files of order books cannot be asked for again: what is wrong with one is told, and it stays as it is.
fn check_books(node: &Node, report: &mut DeepReport) -> Result<(), AuditError> {
    let lines = noted(&node.data, &node.clock).map_err(|e| match e {
        BooksError::Manifest(m) => AuditError::Manifest(m),
        other => io(&node.data.raw(), std::io::Error::other(other.to_string())),
    })?;
    for n in lines {
        let path = node.data.raw().join(&n.path);
        let what = match sha256_file(&path) {
            Ok((sum, _)) => {
                report.book_files += 1;
                if hex::encode(sum) == n.sha256 {
                    continue;
                }
                "its bytes are not those that the manifest names"
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let record = node.store.load(&OFFLOADED, &format!("data_layer/raw/{}", n.path))?;
                if record.is_some_and(|r| hex::encode(r.sha256) == n.sha256) {
                    report.offloaded += 1;
                    continue;
                }
                "the file is gone"
            }
            Err(e) => return Err(io(&path, e)),
        };
        report.findings.push(Finding {
            path: format!("raw/{}", n.path),
            what: what.to_owned(),
            done: "what is curated of it stays; restore the file from a copy",
        });
    }
    Ok(())
}

fn check_curated(node: &Node, key: &TouchedKey, sha256: &[u8; 32], report: &mut DeepReport) -> Result<(), AuditError> {
    let path = node.data.curated().join(&key.path);
    report.curated_files += 1;
    let what = match std::fs::read(&path) {
        Ok(bytes) => {
            report.curated_bytes += bytes.len() as u64;
            if sha256_of(&bytes) == *sha256 {
                return Ok(());
            }
            "its bytes are not those that were written"
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "the file is gone",
        Err(e) => return Err(io(&path, e)),
    };
    // Without its record it is not taken for what curate would write: it is written again, and judged again.
    let mut batch = Batch::new();
    batch.delete(&CURATED, key).put(&TOUCHED, key, &node.clock.now().timestamp())?;
    node.store.commit(batch)?;
    report.findings.push(Finding {
        path: format!("curated/{}", key.path),
        what: what.to_owned(),
        done: "the next nightly makes it again from raw",
    });
    Ok(())
}

fn io(path: &Path, cause: std::io::Error) -> AuditError {
    AuditError::Io { path: path.display().to_string(), cause }
}
