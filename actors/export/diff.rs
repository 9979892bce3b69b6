//! What changed from one pack to another, by their manifests. Where the bytes lie does not matter: a delta and a full pack of
//! the same state hold the same.

use super::{Excluded, PackFile, PackManifest, TimeWindow};
use serde::Serialize;
use std::collections::BTreeMap;

/// A file that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// Rows before and after; None where there is no such file.
    pub rows: (Option<u64>, Option<u64>),
    /// Bytes before and after.
    pub bytes: (Option<u64>, Option<u64>),
}

/// A partition that is not held out in both, or for other reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExclusionChange {
    /// `dataset/symbol/date`.
    pub partition: String,
    /// Verdict and reasons before; None where its rows were in the pack, or not there.
    pub before: Option<String>,
    /// And after.
    pub after: Option<String>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackDiff {
    /// The first pack.
    pub a: String,
    /// The second.
    pub b: String,
    /// Files, by path.
    pub files: Vec<FileChange>,
    /// Partitions, by name.
    pub excluded: Vec<ExclusionChange>,
    /// Anything else that a consumer may care for: what, before, after.
    pub said: Vec<(&'static str, String, String)>,
}

impl PackDiff {
    /// Compares two manifests.
    pub fn of(a: &PackManifest, b: &PackManifest) -> Self {
        let (before, after) = (files(a), files(b));
        let mut out = Self {
            a: a.export_id.clone(),
            b: b.export_id.clone(),
            files: Vec::new(),
            excluded: Vec::new(),
            said: Vec::new(),
        };
        for (path, (x, y)) in joined(&before, &after) {
            let change = match (x, y) {
                (Some(x), Some(y)) if x.sha256 == y.sha256 && x.bytes == y.bytes && x.rows == y.rows => continue,
                (Some(_), Some(_)) => "changed",
                (None, _) => "added",
                (_, None) => "removed",
            };
            let both = |f: fn(&PackFile) -> u64| (x.map(f), y.map(f));
            out.files.push(FileChange {
                path: path.to_owned(),
                change,
                rows: both(|p| p.rows),
                bytes: both(|p| p.bytes),
            });
        }
        for (partition, (x, y)) in joined(&exclusions(a), &exclusions(b)) {
            if x.map(|e| (e.status, &e.reasons)) != y.map(|e| (e.status, &e.reasons)) {
                let (before, after) = (x.map(words), y.map(words));
                out.excluded.push(ExclusionChange { partition: partition.to_owned(), before, after });
            }
        }
        out.said = said(a, b);
        out
    }

    /// Whether the two hold the same and say the same of it.
    pub fn is_same(&self) -> bool {
        self.files.is_empty() && self.excluded.is_empty() && self.said.is_empty()
    }
}

fn said(a: &PackManifest, b: &PackManifest) -> Vec<(&'static str, String, String)> {
    let window = |w: &TimeWindow| format!("{} to {}", w.start, w.end);
    let calendar = |m: &PackManifest| format!("{} {} {}", m.calendar.name, m.calendar.version, m.calendar.sha256);
    let producer = |m: &PackManifest| format!("{} {}", m.producer.host_id, m.producer.version);
    let counts = |m: &PackManifest| {
        format!("{} GREEN, {} AMBER, {} RED, {} PENDING", m.qc.green, m.qc.amber, m.qc.red, m.qc.pending)
    };
    let all = [
        ("source", a.source.clone(), b.source.clone()),
        ("window", window(&a.time_window), window(&b.time_window)),
        ("verdicts", counts(a), counts(b)),
        ("config_sha256", a.config_sha256.clone(), b.config_sha256.clone()),
        ("calendar", calendar(a), calendar(b)),
        ("producer", producer(a), producer(b)),
    ];
    all.into_iter().filter(|(_, x, y)| x != y).collect()
}

fn words(e: &Excluded) -> String {
    format!("{} {}", e.status.name(), e.reasons.join(","))
}

fn files(m: &PackManifest) -> BTreeMap<&str, &PackFile> {
    m.files.iter().map(|f| (f.path.as_str(), f)).collect()
}

fn exclusions(m: &PackManifest) -> BTreeMap<&str, &Excluded> {
    m.qc.excluded.iter().map(|e| (e.partition.as_str(), e)).collect()
}

type Joined<'a, T> = BTreeMap<&'a str, (Option<&'a T>, Option<&'a T>)>;

fn joined<'a, T>(a: &BTreeMap<&'a str, &'a T>, b: &BTreeMap<&'a str, &'a T>) -> Joined<'a, T> {
    let keys = a.keys().chain(b.keys());
    keys.map(|k| (*k, (a.get(k).copied(), b.get(k).copied()))).collect()
}
