//! The curated Parquet of a day's books, made from its closed files; in the order in which the books came.
//!
//! A date is built again where its closed files are others than last time (by the sums in their manifest lines) or its Parquet is
//! gone. Memory is one book and one batch of rows.

use super::keep::{Closed, Keeper};
use super::parse::{Level, Record};
use super::{BooksError, io, segment};
use crate::curate::CurateError;
use crate::frame::{BookLevel, BookWriter, FrameError};
use crate::node::Node;
use chrono::NaiveDate;
use datanode_schema::files::{self, sha256_file};
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::paths::{Cut, DataDir};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{COUNTERS, OFFLOADED};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// The version of the curated form; another one builds every date again.
const FORM: u64 = 1;

/// What curating did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BooksCurated {
    /// Dates that were built.
    pub dates: u64,
    /// Books in them.
    pub books: u64,
    /// Rows in them: one a level.
    pub levels: u64,
    /// Books that are left out since their stamp is no time near their day; raw has them.
    pub unstamped: u64,
    /// Dates that were not built since a closed file is not what its manifest line says.
    pub damaged: u64,
    /// Dates that were not built since their files lie at another place by now; what is curated of them stays.
    pub offloaded: u64,
}

/// Builds every date whose closed files have changed.
///
/// # Errors
/// The first that failed; dates before it are done.
pub fn curate(node: &Node) -> Result<BooksCurated, CurateError> {
    let keeper = Keeper::new(node.data.clone(), node.clock.clone());
    let mut c = BooksCurated::default();
    for date in keeper.dates().map_err(of_books)?.into_keys() {
        let sums = keeper.lines(date).map_err(of_books)?;
        let sums: BTreeMap<&str, &str> =
            sums.iter().flat_map(|l| &l.files).map(|f| (f.path.as_str(), f.sha256.as_str())).collect();
        if sums.is_empty() {
            continue;
        }
        let (key, mark) = (format!("books/{date}"), mark(&sums));
        let target = node.data.curated().join(DataDir::curated_file(Dataset::PredictionBooks, Cut::Day, date));
        if node.store.load(&COUNTERS, &key)? == Some(mark) && target.is_file() {
            continue;
        }
        let closed = keeper.closed(date).map_err(of_books)?;
        if let Some(remote) = offloaded(node, &closed, &sums)? {
            let made = if target.is_file() { "what is curated stays" } else { "its curated file is gone" };
            tracing::warn!(%date, remote, "the date's files were offloaded, and it cannot be built again before `rclone copy` brings them back; {made}");
            c.offloaded += 1;
            continue;
        }
        if let Some(bad) = altered(&closed, &sums).map_err(of_books)? {
            tracing::error!(
                file = bad,
                "it is not what its manifest line says: the date's books stay as they are; restore the file"
            );
            c.damaged += 1;
            continue;
        }
        build(node, date, &closed, &target, &mut c)?;
        let mut batch = Batch::new();
        batch.put(&COUNTERS, &key, &mark)?;
        node.store.commit(batch)?;
        c.dates += 1;
    }
    if c != BooksCurated::default() {
        tracing::info!(
            dates = c.dates,
            books = c.books,
            levels = c.levels,
            unstamped = c.unstamped,
            damaged = c.damaged,
            offloaded = c.offloaded,
            "books curated"
        );
    }
    Ok(c)
}

/// Where the files are that are not here: the remote, where each of them is recorded as verified there with the sum of its line.
fn offloaded(node: &Node, closed: &[Closed], sums: &BTreeMap<&str, &str>) -> Result<Option<String>, StoreError> {
    let here: BTreeSet<String> = closed.iter().map(Closed::relative).collect();
    let mut at = None;
    for (path, sum) in sums.iter().filter(|(path, _)| !here.contains(**path)) {
        match node.store.load(&OFFLOADED, &format!("data_layer/raw/{path}"))? {
            Some(r) if hex::encode(r.sha256) == *sum => at = Some(r.remote),
            _ => return Ok(None),
        }
    }
    Ok(at)
}

/// The first file that is not there, or not what its line says; a closed file without a line waits for the collector.
fn altered(closed: &[Closed], sums: &BTreeMap<&str, &str>) -> Result<Option<String>, BooksError> {
    for (path, sum) in sums {
        let Some(c) = closed.iter().find(|c| c.relative() == *path) else { return Ok(Some((*path).to_owned())) };
        let (found, _) = sha256_file(&c.path).map_err(io(&c.path))?;
        if hex::encode(found) != *sum {
            return Ok(Some((*path).to_owned()));
        }
    }
    Ok(None)
}

fn mark(sums: &BTreeMap<&str, &str>) -> u64 {
    let mut h = blake3::Hasher::new_derive_key("datanode 2026 curated books v1");
    h.update(&FORM.to_le_bytes());
    for part in sums.iter().flat_map(|(p, s)| [p, s]) {
        h.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    h.finalize().as_bytes().iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
}

fn build(
    node: &Node,
    date: NaiveDate,
    closed: &[Closed],
    target: &Path,
    c: &mut BooksCurated,
) -> Result<(), CurateError> {
    let failed = |cause| CurateError::Io { path: target.display().to_string(), cause };
    let mut batch = files::Batch::new(node.data.root()).map_err(failed)?;
    let mut out = BookWriter::create(&batch.temp_for(target.to_owned()), Vendor::Polymarket)?;
    for file in closed {
        segment::lines(&file.path, |l| {
            let record: Record = serde_json::from_slice(l).map_err(std::io::Error::from)?;
            c.books += 1;
            match stamp(&record.timestamp, date) {
                Some(ts) => c.levels += write(&mut out, &record, ts).map_err(std::io::Error::other)?,
                None => c.unstamped += 1,
            }
            Ok(())
        })
        .map_err(|cause| CurateError::Io { path: file.path.display().to_string(), cause })?;
    }
    out.finish()?;
    datanode_schema::failpoint::pass("books.curated");
    batch.publish().map_err(failed)
}

/// Nanoseconds of a stamp in milliseconds; None where it is no time within a day of the date.
fn stamp(text: &str, date: NaiveDate) -> Option<i64> {
    let ms: i64 = text.parse().ok()?;
    let day = chrono::DateTime::from_timestamp_millis(ms)?.date_naive();
    let near = day.signed_duration_since(date).num_days().abs() <= 1;
    if near { ms.checked_mul(1_000_000) } else { None }
}

fn write(out: &mut BookWriter, r: &Record, ts: i64) -> Result<u64, FrameError> {
    let (market, asset_id, request_id): (Arc<str>, Arc<str>, Arc<str>) =
        (r.market.as_str().into(), r.asset_id.as_str().into(), r.request_id.as_str().into());
    let mut n = 0;
    for (bid, levels) in [(true, &r.bids), (false, &r.asks)] {
        for (level, (price, size)) in (0i32..).zip(best_first(levels, bid)) {
            n += 1;
            out.push(BookLevel {
                market: market.clone(),
                asset_id: asset_id.clone(),
                ts,
                bid,
                level,
                price,
                size,
                request_id: request_id.clone(),
            })?;
        }
    }
    Ok(n)
}

/// Prices and sizes, the best first whatever the order in which they came; what is no number is NaN, and last.
fn best_first(levels: &[Level], bid: bool) -> Vec<(f64, f64)> {
    let number = |s: &str| s.parse::<f64>().unwrap_or(f64::NAN);
    let mut out: Vec<(f64, f64)> = levels.iter().map(|l| (number(&l.price), number(&l.size))).collect();
    out.sort_by(|(a, _), (b, _)| {
        let order = if bid { b.total_cmp(a) } else { a.total_cmp(b) };
        a.is_nan().cmp(&b.is_nan()).then(order)
    });
    out
}

fn of_books(e: BooksError) -> CurateError {
    match e {
        BooksError::Io { path, cause } => CurateError::Io { path, cause },
        other => CurateError::Io {
            path: Dataset::PredictionBooks.name().to_owned(),
            cause: std::io::Error::other(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_best_first_and_a_stamp_lies_near_its_day() {
        let l = |p: &str| Level { price: p.into(), size: "1".into() };
        let prices = |bid| best_first(&[l("0.1"), l("x"), l("0.3"), l("0.2")], bid).into_iter().map(|p| p.0);
        assert_eq!(prices(true).take(3).collect::<Vec<_>>(), [0.3, 0.2, 0.1]);
        assert_eq!(prices(false).take(3).collect::<Vec<_>>(), [0.1, 0.2, 0.3]);
        assert!(prices(false).next_back().unwrap().is_nan() && prices(true).next_back().unwrap().is_nan());
        let date = "2025-07-01".parse().unwrap();
        assert_eq!(stamp("1751328000000", date), Some(1_751_328_000_000_000_000));
        assert!(["9300000000000", "0", "-1", "x", "", "99999999999999999999"].iter().all(|s| stamp(s, date).is_none()));
    }
}
