//! The closed files that manifest lines tell of, for those who move or compare them.

use super::BooksError;
use super::keep::{Keeper, place};
use chrono::NaiveDate;
use datanode_schema::clock::Clock;
use datanode_schema::paths::DataDir;
use std::collections::{BTreeMap, BTreeSet};

/// A closed file with its manifest line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Noted {
    /// Relative to `data_layer/raw`.
    pub path: String,
    /// Hex SHA-256.
    pub sha256: String,
    /// The UTC date of its books.
    pub date: NaiveDate,
    /// Their UTC hour.
    pub hour: u32,
}

/// Every file of every date, in the order of the dates; whether a file is still here is not looked at.
///
/// # Errors
/// A manifest that does not parse, or a folder that cannot be read.
pub fn noted(data: &DataDir, clock: &Clock) -> Result<Vec<Noted>, BooksError> {
    let keeper = Keeper::new(data.clone(), clock.clone());
    let dates: BTreeSet<NaiveDate> = keeper.noted_dates()?.into_iter().chain(keeper.dates()?.into_keys()).collect();
    let mut out: BTreeMap<String, Noted> = BTreeMap::new();
    for date in dates {
        for file in keeper.lines(date)?.into_iter().flat_map(|l| l.files) {
            let name = file.path.rsplit('/').next().and_then(|n| n.strip_suffix(".jsonl.gz"));
            let Some((hour, _)) = name.and_then(place) else { continue };
            // A line that tells of another folder is none of ours.
            if file.path == format!("{}/date={date}/{}.jsonl.gz", keeper.below_raw(), name.unwrap_or_default()) {
                out.insert(file.path.clone(), Noted { path: file.path, sha256: file.sha256, date, hour });
            }
        }
    }
    Ok(out.into_values().collect())
}
