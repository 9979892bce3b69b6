//! What has changed in the calendars since something was decided by them.
//!
//! The store remembers, by purpose, the sessions that holdings were measured by and that verdicts were decided by. A
//! stage compares them with the calendars as they are now, brings the days that differ up to date, and only then
//! remembers the new ones: a crash in between does the same work again.

use datanode_schema::calendar::{Calendar, changed_days, pack_years, sha256_of_years};
use datanode_schema::keys::{CalendarKey, DecidedBy};
use datanode_schema::records::CalendarYear;
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::CALENDARS;
use std::collections::{BTreeMap, BTreeSet};

/// One calendar, as it was and as it is.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it is now.
    pub calendar: Calendar,
    /// Day numbers on which it was another; None where nothing is remembered.
    pub days: Option<BTreeSet<i32>>,
    /// Hex SHA-256 of the calendar that is remembered; of the one that is now where nothing is.
    pub before_sha256: String,
    purpose: DecidedBy,
    before: BTreeMap<u16, CalendarYear>,
    after: BTreeMap<u16, CalendarYear>,
}

/// Compares every calendar of the registry with what is remembered for a purpose.
///
/// # Errors
/// The store's.
pub fn changes(store: &Store, registry: &Registry, purpose: DecidedBy) -> Result<Vec<Changed>, StoreError> {
    let calendars: BTreeMap<&str, Calendar> =
        registry.datasets.values().map(|r| (r.calendar().name(), r.calendar())).collect();
    let mut out = Vec::new();
    for (name, calendar) in calendars {
        let after = pack_years(calendar);
        if after.is_empty() {
            continue;
        }
        let all = store.load_all(&CALENDARS, &CalendarKey::prefix(purpose, name))?;
        let before: BTreeMap<u16, CalendarYear> = all.into_iter().map(|(k, y)| (k.year, y)).collect();
        let days = (!before.is_empty()).then(|| changed_days(&before, &after));
        let same = days.as_ref().is_none_or(BTreeSet::is_empty);
        let before_sha256 = if same { calendar.sha256() } else { sha256_of_years(&before) };
        out.push(Changed { calendar, days, before_sha256, purpose, before, after });
    }
    Ok(out)
}

#[cfg(test)]
impl Changed {
    /// A difference without the calendars that it is between.
    pub(crate) fn for_tests(calendar: Calendar, days: Option<BTreeSet<i32>>, before_sha256: &str) -> Self {
        let (before, after) = (BTreeMap::new(), BTreeMap::new());
        Self { calendar, days, before_sha256: before_sha256.to_owned(), purpose: DecidedBy::Verdicts, before, after }
    }
}

impl Changed {
    /// Whether a dataset is on this calendar.
    pub fn is_of(&self, rule: &DatasetRule) -> bool {
        rule.calendar() == self.calendar
    }

    /// Remembers the calendar as it is now.
    ///
    /// # Errors
    /// A record could not be encoded.
    pub fn remember(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let key = |year: u16| CalendarKey { purpose: self.purpose, calendar: self.calendar.name().to_owned(), year };
        for year in self.before.keys().filter(|y| !self.after.contains_key(y)) {
            batch.delete(&CALENDARS, &key(*year));
        }
        for (year, packed) in self.after.iter().filter(|(y, p)| self.before.get(y) != Some(p)) {
            batch.put(&CALENDARS, &key(*year), packed)?;
        }
        Ok(())
    }
}
