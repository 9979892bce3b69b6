//! A raw file that is gone or damaged: what it held is forgotten, so that it is asked for again.
//!
//! Without this the holdings and the bookmark would go on saying that it is there: the audit would find nothing, and its
//! rows would leave the curated files in silence.

use super::RawError;
use crate::node::Node;
use crate::qc::STATUS_DIRTY;
use crate::quarantine::seen;
use chrono::{Datelike, NaiveDate};
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::keys::{BookmarkKey, Month, PageKey, SeriesKey, TouchedKey};
use datanode_schema::names::{Dataset, Reason, Vendor};
use datanode_schema::paths::{DataDir, Grain};
use datanode_schema::records::{Holding, LedgerPage, Print};
use datanode_schema::registry::DatasetRule;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{BOOKMARKS, COUNTERS, CURATED, HOLDINGS, LEDGER, TOUCHED, UNJUDGED};

/// The name of a file that is set aside.
const ASIDE: &str = "data.damaged.parquet";

/// Forgets what the raw file of `date` held, sets the file aside where it is there, and gives the error that says so.
///
/// # Errors
/// Always: [`RawError::Forgotten`], or what kept it from being forgotten.
pub fn forget<T>(
    node: &Node,
    rule: &DatasetRule,
    vendor: Vendor,
    dataset: Dataset,
    symbol: &str,
    date: NaiveDate,
    cause: &str,
) -> Result<T, RawError> {
    let path = node.data.raw().join(DataDir::raw_file(vendor, dataset, rule.grain, symbol, date)?);
    let (from, to) = match rule.grain {
        Grain::Day => (day_number(date), day_number(date)),
        Grain::Year => {
            let edge = |m, d| NaiveDate::from_ymd_opt(date.year(), m, d).map_or(day_number(date), day_number);
            (edge(1, 1), edge(12, 31))
        }
    };
    let mut batch = Batch::new();
    let now = node.clock.now().timestamp();
    for (key, page) in node.store.load_all(&HOLDINGS, &SeriesKey::prefix(dataset, symbol))? {
        let inside = |day: i32| from <= day && day <= to;
        let first = key.month.first_day();
        let (gone, left): (Vec<_>, Vec<_>) = page.days(first).into_iter().partition(|d| inside(d.day));
        if key.vendor != vendor || gone.is_empty() {
            continue;
        }
        for d in gone {
            let curated = DataDir::curated_file(dataset, rule.curated, date_of(d.day));
            let key = TouchedKey { dataset, path: curated };
            // Judged again though it may come out the same: another vendor's rows may stand there.
            if node.store.get(&CURATED, &key, |_| ())?.is_some() {
                batch.put(&UNJUDGED, &key, &now)?;
            }
            batch.put(&TOUCHED, &key, &now)?;
        }
        if left.is_empty() {
            batch.delete(&HOLDINGS, &key);
        } else {
            batch.put(&HOLDINGS, &key, &Holding::pack(first, left))?;
        }
    }
    unjudge(node, dataset, symbol, (from, to), &mut batch)?;
    let key = BookmarkKey { dataset, symbol: symbol.to_owned(), vendor };
    if let Some(mut bookmark) = node.store.load(&BOOKMARKS, &key)? {
        bookmark.uncover(from, to);
        batch.put(&BOOKMARKS, &key, &bookmark)?;
    }
    if !batch.is_empty() {
        node.store.commit(batch)?;
    }
    if path.is_file() {
        let aside = path.with_file_name(ASIDE);
        std::fs::rename(&path, &aside).map_err(|cause| RawError::Io { path: path.display().to_string(), cause })?;
        let file = DataDir::raw_file(vendor, dataset, rule.grain, symbol, date)?.replace("data.parquet", ASIDE);
        seen::unexpected_file(&node.acts, format!("raw/{file}"), cause);
    }
    Err(RawError::Forgotten { path: path.display().to_string(), cause: cause.to_owned() })
}

/// Takes the rows of `from..=to` out of the ledger, which keeps when they were first seen: what the curated files still hold of
/// them is judged again.
fn unjudge(
    node: &Node,
    dataset: Dataset,
    symbol: &str,
    (from, to): (i32, i32),
    batch: &mut Batch,
) -> Result<(), StoreError> {
    for month in (Month::of(date_of(from)).0..=Month::of(date_of(to)).0).map(Month) {
        let key = PageKey { dataset, symbol: symbol.to_owned(), month };
        let Some(page) = node.store.load(&LEDGER, &key)? else { continue };
        let first = month.first_day();
        let mut days = page.days(first);
        for d in days.iter_mut().filter(|d| d.rows > 0 && from <= d.day && d.day <= to) {
            d.reasons = (d.reasons & Reason::BY_HAND) | Reason::MISSING_SESSION.bit;
            (d.rows, d.vendor, d.print) = (0, 0, Print::default());
            d.verdict = Reason::worst(d.reasons).number();
        }
        batch.put(&LEDGER, &key, &LedgerPage::pack(first, &days))?.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
    }
    Ok(())
}
