//! Rebuilding what is touched.

use super::second::{Look, Looks, seconds};
use super::{Merge, by_preference};
use crate::frame::{FrameError, Table, encode_curated, read_raw, session_day};
use crate::node::Node;
use crate::raw::{RawError, forget};
use chrono::{Datelike, NaiveDate};
use datanode_schema::clock::date_of;
use datanode_schema::files::{self, sha256_of};
use datanode_schema::keys::{Month, PageKey, TouchedKey};
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::paths::{BadName, DataDir, Grain};
use datanode_schema::records::{CuratedFile, bits};
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{CURATED, HOLDINGS, SECONDS, TOUCHED, UNJUDGED, UNRELATED};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Files that appear together.
const PUBLISH: usize = 256;

/// Curating cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CurateError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A raw file is gone or damaged.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// Rows could not be encoded.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A file could not be published.
    #[error("{path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// A symbol cannot be a folder.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// What curating did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CurateCounters {
    /// Files that were touched.
    pub touched: u64,
    /// Files whose bytes changed.
    pub written: u64,
    /// Rows of the touched files.
    pub rows: u64,
    /// Rows that a better vendor's row replaced.
    pub superseded: u64,
    /// Of those, rows whose values differed.
    pub conflicts: u64,
}

/// A raw bucket: a dataset's raw files of a year or a day.
type Bucket = (Dataset, NaiveDate);

/// Rebuilds every touched file.
///
/// # Errors
/// The first that failed; what was not committed is touched still.
pub fn curate(node: &Node) -> Result<CurateCounters, CurateError> {
    crate::books::curate(node)?;
    let registry = node.registry();
    let mut buckets: BTreeMap<Bucket, Vec<(TouchedKey, NaiveDate)>> = BTreeMap::new();
    let mut c = CurateCounters::default();
    let mut touched: BTreeSet<TouchedKey> = node.store.load_all(&TOUCHED, &[])?.into_iter().map(|(k, _)| k).collect();
    for (key, file) in node.store.load_all(&CURATED, &[])? {
        // A file that is gone or cut off is made again from raw.
        let length = std::fs::metadata(node.data.curated().join(&key.path)).map(|m| m.len());
        if length.is_ok_and(|l| l == file.bytes) {
            continue;
        }
        tracing::warn!(path = key.path, "a curated file is gone or was cut off; it is made again from raw");
        touched.insert(key);
    }
    for key in touched {
        let Some(rule) = registry.rule(key.dataset) else { continue };
        let Some(date) = date_in(&key.path) else { continue };
        buckets.entry((key.dataset, bucket_of(rule, date))).or_default().push((key, date));
        c.touched += 1;
    }
    let known = contributors(node, &registry, &buckets)?;
    let looks = Looks::default();
    let work: Vec<(&Bucket, &Vec<(TouchedKey, NaiveDate)>)> = buckets.iter().collect();
    for done in crate::parallel::each(node.threads, &work, |share| {
        let mut counters = CurateCounters::default();
        let mut out = Publishing::new(node, &known.noted, &looks)?;
        while let Some((bucket, files)) = share.next() {
            rebuild_bucket(node, &registry, **bucket, files, known.buckets.get(*bucket), &mut out, &mut counters)?;
        }
        out.publish(node)?;
        Ok::<_, CurateError>(counters)
    }) {
        let d = done?;
        c.written += d.written;
        c.rows += d.rows;
        c.superseded += d.superseded;
        c.conflicts += d.conflicts;
    }
    Ok(c)
}

/// Rebuilds the touched files of one bucket: its raw files are read once.
fn rebuild_bucket(
    node: &Node,
    registry: &Registry,
    (dataset, start): Bucket,
    files: &[(TouchedKey, NaiveDate)],
    who: Option<&BTreeSet<(String, Vendor)>>,
    out: &mut Publishing<'_>,
    c: &mut CurateCounters,
) -> Result<(), CurateError> {
    let Some(rule) = registry.rule(dataset) else { return Ok(()) };
    let none = BTreeSet::new();
    let tables = read_bucket(node, registry, rule, dataset, start, who.unwrap_or(&none))?;
    for (key, date) in files {
        out.rebuild(node, rule, key, *date, &tables, c)?;
        if out.files.len() >= PUBLISH {
            out.publish(node)?;
        }
    }
    Ok(())
}

fn bucket_of(rule: &DatasetRule, date: NaiveDate) -> NaiveDate {
    match rule.grain {
        Grain::Day => date,
        Grain::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1).unwrap_or(date),
    }
}

/// The date that a curated path begins with: `…/date=2020-01-02/…` or `…/year=2020/month=01/…`.
fn date_in(path: &str) -> Option<NaiveDate> {
    let mut year = None;
    for part in path.split('/') {
        match part.split_once('=') {
            Some(("date", d)) => return d.parse().ok(),
            Some(("year", y)) => year = y.parse::<i32>().ok(),
            Some(("month", m)) => return NaiveDate::from_ymd_opt(year?, m.parse().ok()?, 1),
            _ => {}
        }
    }
    None
}

/// What the holdings say of the touched buckets.
#[derive(Default)]
struct Contributors {
    /// Who holds something in each.
    buckets: BTreeMap<Bucket, BTreeSet<(String, Vendor)>>,
    /// Months in which raw noted copies or restated rows. Such a note may come without a changed row.
    noted: BTreeSet<PageKey>,
}

fn contributors(
    node: &Node,
    registry: &Registry,
    buckets: &BTreeMap<Bucket, Vec<(TouchedKey, NaiveDate)>>,
) -> Result<Contributors, StoreError> {
    let mut out = Contributors::default();
    let datasets: BTreeSet<Dataset> = buckets.keys().map(|(d, _)| *d).collect();
    for dataset in datasets {
        let Some(rule) = registry.rule(dataset) else { continue };
        node.store.scan(&HOLDINGS, &[dataset.number()], |k, page| {
            for n in bits(page.days_with_rows()) {
                let bucket = (dataset, bucket_of(rule, date_of(k.month.first_day() + n)));
                if buckets.contains_key(&bucket) {
                    if page.groups.iter().any(|g| g.duplicates.to_native() > 0 || g.restated.to_native() > 0) {
                        out.noted.insert(PageKey { dataset, symbol: k.symbol.clone(), month: k.month });
                    }
                    out.buckets.entry(bucket).or_default().insert((k.symbol.clone(), k.vendor));
                    if rule.grain == Grain::Year {
                        break;
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(out)
}

/// The raw tables of a bucket by symbol, each symbol's preferred vendor first.
fn read_bucket(
    node: &Node,
    registry: &Registry,
    rule: &DatasetRule,
    dataset: Dataset,
    start: NaiveDate,
    who: &BTreeSet<(String, Vendor)>,
) -> Result<BTreeMap<String, Vec<Table>>, CurateError> {
    let rank = |v: &Vendor| registry.capability(*v, dataset).map_or(0, |c| c.preference);
    let mut sorted: Vec<&(String, Vendor)> = who.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0).then(rank(&b.1).cmp(&rank(&a.1))).then(a.1.name().cmp(b.1.name())));
    let mut out: BTreeMap<String, Vec<Table>> = BTreeMap::new();
    for (symbol, vendor) in sorted {
        let file = node.data.raw().join(DataDir::raw_file(*vendor, dataset, rule.grain, symbol, start)?);
        let table = if file.is_file() {
            read_raw(&file, dataset, *vendor)
                .or_else(|e| forget(node, rule, *vendor, dataset, symbol, start, &e.cause))?
        } else {
            forget(node, rule, *vendor, dataset, symbol, start, "the file is gone")?
        };
        out.entry(symbol.clone()).or_default().push(table);
    }
    Ok(out)
}

struct Publishing<'a> {
    files: files::Batch,
    batch: Batch,
    found: Vec<Look>,
    noted: &'a BTreeSet<PageKey>,
    looks: &'a Looks,
    /// Files that are removed once no record is left of them.
    gone: Vec<PathBuf>,
}

impl<'a> Publishing<'a> {
    fn new(node: &Node, noted: &'a BTreeSet<PageKey>, looks: &'a Looks) -> Result<Self, CurateError> {
        let files = files::Batch::new(node.data.root()).map_err(io(node.data.root()))?;
        Ok(Self { files, batch: Batch::new(), found: Vec::new(), noted, looks, gone: Vec::new() })
    }

    /// Notes what second vendors gave of a file, and the months that are to be compared again for what raw noted.
    fn look(
        &mut self,
        node: &Node,
        rule: &DatasetRule,
        dataset: Dataset,
        (date, days): (NaiveDate, (i32, i32)),
        (symbol, tables, merged): (&str, &[Table], &Merge),
    ) -> Result<(), CurateError> {
        let key = PageKey { dataset, symbol: symbol.to_owned(), month: Month::of(date) };
        if self.noted.contains(&key) {
            self.batch.put(&UNRELATED, &key, &node.clock.now().timestamp())?;
        }
        let found = seconds(dataset, rule, tables, &merged.table);
        if !found.is_empty() || node.store.len(SECONDS.name) > 0 {
            self.found.push(Look { key, days, found });
        }
        Ok(())
    }

    fn rebuild(
        &mut self,
        node: &Node,
        rule: &DatasetRule,
        key: &TouchedKey,
        date: NaiveDate,
        tables: &BTreeMap<String, Vec<Table>>,
        c: &mut CurateCounters,
    ) -> Result<(), CurateError> {
        let (first, last) = bounds(rule, date);
        let keep = |when: i64| (first..=last).contains(&session_day(key.dataset, when));
        let merged: Vec<(&str, Merge)> = tables
            .iter()
            .map(|(s, t)| (s.as_str(), by_preference(t, keep)))
            .filter(|(_, m)| !m.table.rows.is_empty())
            .collect();
        for (symbol, merge) in &merged {
            let of = tables.get(*symbol).map_or(&[][..], Vec::as_slice);
            self.look(node, rule, key.dataset, (date, (first, last)), (symbol, of, merge))?;
        }
        let now = node.clock.now().timestamp();
        let sum = |f: fn(&Merge) -> u64| merged.iter().map(|(_, m)| f(m)).sum::<u64>();
        let (superseded, conflicts) = (sum(|m| m.superseded), sum(|m| m.conflicts));
        let rows = sum(|m| m.table.rows.len() as u64);
        c.rows += rows;
        c.superseded += superseded;
        c.conflicts += conflicts;
        self.batch.delete(&TOUCHED, key);
        if rows == 0 {
            // Raw has nothing left of it: it is taken off the record, and then away.
            if node.store.get(&CURATED, key, |_| ())?.is_some() {
                self.batch.delete(&CURATED, key).delete(&UNJUDGED, key);
                self.gone.push(node.data.curated().join(&key.path));
            }
            return Ok(());
        }
        let target = node.data.curated().join(&key.path);
        let view: Vec<(&str, &Table)> = merged.iter().map(|(s, m)| (*s, &m.table)).collect();
        let encoded = encode_curated(&key.path, key.dataset, &view)?;
        let sha256 = sha256_of(&encoded);
        let before = node.store.load(&CURATED, key)?;
        if before.is_some_and(|b| b.sha256 == sha256)
            && std::fs::metadata(&target).is_ok_and(|m| m.len() == encoded.len() as u64)
        {
            return Ok(());
        }
        self.files.add(target, &encoded).map_err(io(node.data.root()))?;
        c.written += 1;
        let days = merged.iter().flat_map(|(_, m)| [m.table.rows.first(), m.table.rows.last()]).flatten();
        let days: Vec<i32> = days.map(|r| session_day(key.dataset, r.when)).collect();
        let record = CuratedFile {
            sha256,
            bytes: encoded.len() as u64,
            rows,
            from: days.iter().min().copied().unwrap_or(first),
            to: days.iter().max().copied().unwrap_or(last),
            superseded,
            conflicts,
            updated_at: now,
        };
        self.batch.put(&CURATED, key, &record)?;
        self.batch.put(&UNJUDGED, key, &now)?;
        Ok(())
    }

    fn publish(&mut self, node: &Node) -> Result<(), CurateError> {
        let done = std::mem::replace(self, Self::new(node, self.noted, self.looks)?);
        done.files.publish().map_err(io(node.data.root()))?;
        done.looks.commit(node, done.found, done.batch)?;
        for path in done.gone {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(&path)(e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// First and last day number that a curated file may hold.
fn bounds(rule: &DatasetRule, date: NaiveDate) -> (i32, i32) {
    use datanode_schema::clock::day_number;
    match rule.curated {
        datanode_schema::paths::Cut::Day => (day_number(date), day_number(date)),
        datanode_schema::paths::Cut::Month => {
            let m = Month::of(date);
            (day_number(m.first()), day_number(m.last()))
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> CurateError {
    let path = path.display().to_string();
    move |cause| CurateError::Io { path, cause }
}
