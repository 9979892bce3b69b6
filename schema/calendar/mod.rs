//! Trading calendars: which days a market has, and from when to when.
//!
//! Owns the rules and tables of holidays, half-days and one-off closures, and the conversion between New York days and
//! UTC instants. Knows nothing of datasets, vendors or bars; it never asks what day it is.
//!
//! Every calendar is computed once, on first use (a few milliseconds), into a table with O(1) lookups. Outside the years
//! that a calendar covers it has no sessions, so ask [`Calendar::covers`] before reading an absence as a holiday.
//!
//! What an owner knows better than the tables makes a calendar of its own ([`Calendar::corrected`]): the same name,
//! another version and another hash. `years` packs a calendar's sessions for the store, so that a later build or a
//! later correction can say which days differ.

mod corrections;
mod dates;
mod table;
mod us_bond;
mod xnys;
mod years;

pub use corrections::{Corrected, CorrectionError, CorrectionList, Corrections};
pub use years::{changed_days, pack_years, sha256_of_years};

use std::sync::OnceLock;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::America::New_York;
use sha2::{Digest, Sha256};

use table::Table;

/// A market's calendar: small, and copied freely.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Calendar {
    /// New York Stock Exchange, 09:30–16:00 New York, half-days known; 1990–2030.
    Xnys,
    /// US Treasury market, 08:00–17:00 New York, no half-days; 1962–2030.
    UsBond,
    /// Every UTC day from midnight to midnight, without bounds.
    Always,
    /// One of the others with an owner's corrections; made by [`Calendar::corrected`] only.
    Corrected(&'static Corrected),
}

/// One day of a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The local date: the `dt` of the session's partitions.
    pub date: NaiveDate,
    /// First instant of the regular session.
    pub open: DateTime<Utc>,
    /// End of the regular session, exclusive: the last minute bar starts a minute before it.
    pub close: DateTime<Utc>,
    /// Closed earlier than usual.
    pub half_day: bool,
}

impl Session {
    /// Minutes of the regular session: 390 of a whole XNYS day, 210 of a half-day that closes at 13:00.
    pub fn minutes(&self) -> u32 {
        u32::try_from((self.close - self.open).num_minutes()).unwrap_or(0)
    }
}

impl Calendar {
    /// All calendars, as they are built in.
    pub const ALL: [Calendar; 3] = [Calendar::Xnys, Calendar::UsBond, Calendar::Always];

    /// The calendar that the registries call `XNYS`, `US_BOND` or `24x7`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    /// The calendar without corrections.
    pub fn base(self) -> Self {
        match self {
            Self::Corrected(c) => c.base(),
            built_in => built_in,
        }
    }

    /// The name used in registries and manifests; corrections do not change it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Corrected(c) => c.base().name(),
            Self::Xnys => "XNYS",
            Self::UsBond => "US_BOND",
            Self::Always => "24x7",
        }
    }

    /// Changes whenever a rule or a table entry does; [`Calendar::sha256`] then changes too. Corrections add a hash of
    /// theirs: `2026.1+1a2b3c4d`.
    pub fn version(self) -> &'static str {
        match self {
            Self::Corrected(c) => c.version(),
            Self::Xnys => "2026.1",
            Self::UsBond => "2026.1",
            Self::Always => "1",
        }
    }

    /// Hex SHA-256 over the canonical list of sessions of all covered years: lines `DATE,OPEN,CLOSE`, times in UTC.
    pub fn sha256(self) -> String {
        self.table().map_or_else(
            // There is no list to hash: the rule itself is the canonical text.
            || hex::encode(Sha256::digest(b"every UTC date, 00:00 to 24:00\n")),
            |table| table.sha256().to_owned(),
        )
    }

    /// Whether the calendar knows the year of `date`.
    pub fn covers(self, date: NaiveDate) -> bool {
        self.table().is_none_or(|table| table.covers(date))
    }

    /// Whether the market has a session on `date`; O(1).
    pub fn is_session(self, date: NaiveDate) -> bool {
        self.table().is_none_or(|table| table.is_session(date))
    }

    /// The session of `date`, or `None` on a holiday, a weekend or an uncovered date.
    pub fn session(self, date: NaiveDate) -> Option<Session> {
        match self.table() {
            Some(table) => table.session(date).copied(),
            None => Some(whole_day(date)),
        }
    }

    /// The sessions from `from` to `to`, both included, in order.
    pub fn sessions(self, from: NaiveDate, to: NaiveDate) -> Vec<Session> {
        match self.table() {
            Some(table) => table.span(from, to).to_vec(),
            None => from.iter_days().take_while(|d| *d <= to).map(whole_day).collect(),
        }
    }

    /// The dates of [`Calendar::sessions`].
    pub fn session_dates(self, from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
        match self.table() {
            Some(table) => table.span(from, to).iter().map(|s| s.date).collect(),
            None => from.iter_days().take_while(|d| *d <= to).collect(),
        }
    }

    /// How many sessions [`Calendar::sessions`] has; O(1).
    pub fn count(self, from: NaiveDate, to: NaiveDate) -> usize {
        match self.table() {
            Some(table) => table.span(from, to).len(),
            None => usize::try_from((to - from).num_days() + 1).unwrap_or(0),
        }
    }

    /// The first session strictly after `date`.
    pub fn next(self, date: NaiveDate) -> Option<NaiveDate> {
        match self.table() {
            Some(table) => table.next(date),
            None => date.succ_opt(),
        }
    }

    /// The last session strictly before `date`.
    pub fn previous(self, date: NaiveDate) -> Option<NaiveDate> {
        match self.table() {
            Some(table) => table.previous(date),
            None => date.pred_opt(),
        }
    }

    fn table(self) -> Option<&'static Table> {
        static XNYS: OnceLock<Table> = OnceLock::new();
        static US_BOND: OnceLock<Table> = OnceLock::new();
        match self {
            Self::Xnys => Some(XNYS.get_or_init(|| Table::new(&xnys::MARKET, &xnys::sessions()))),
            Self::UsBond => Some(US_BOND.get_or_init(|| Table::new(&us_bond::MARKET, &us_bond::sessions()))),
            Self::Always => None,
            Self::Corrected(c) => Some(c.table()),
        }
    }
}

/// The session of a market that never closes.
fn whole_day(date: NaiveDate) -> Session {
    let open = date.and_time(NaiveTime::MIN).and_utc();
    // The last representable date has no next midnight; its session is then empty, not an overflow.
    let close = open.checked_add_days(Days::new(1)).unwrap_or(open);
    Session { date, open, close, half_day: false }
}

/// A wall-clock time in New York as an instant; a time that a change of clocks repeats is its first occurrence.
fn new_york(date: NaiveDate, time: NaiveTime) -> DateTime<Utc> {
    let local = date.and_time(time);
    New_York.from_local_datetime(&local).earliest().map_or_else(
        // A time that a change of clocks skips (never one that this module asks for), read in standard time.
        || local.and_utc() + TimeDelta::hours(5),
        |t| t.with_timezone(&Utc),
    )
}

/// A wall-clock time; the ones that this module names exist.
const fn hm(hour: u32, minute: u32) -> NaiveTime {
    match NaiveTime::from_hms_opt(hour, minute, 0) {
        Some(t) => t,
        None => NaiveTime::MIN,
    }
}

/// Midnight in New York at the start of `date`: the stamp of a daily bar.
pub fn new_york_midnight_utc(date: NaiveDate) -> DateTime<Utc> {
    new_york(date, NaiveTime::MIN)
}

/// The date in New York at an instant: the `dt` of an intraday stamp.
pub fn new_york_date(instant: DateTime<Utc>) -> NaiveDate {
    instant.with_timezone(&New_York).date_naive()
}

/// Legal extended hours of a date, 04:00 to 20:00 New York, the end exclusive; half-days included.
pub fn extended_hours(date: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    (new_york(date, hm(4, 0)), new_york(date, hm(20, 0)))
}

#[cfg(test)]
mod tests;
