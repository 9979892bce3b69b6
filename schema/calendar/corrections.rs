//! What an owner knows better than the tables: days closed, days opened, closes that came early. Pure but for the one
//! list of calendars made so far, which lets a corrected calendar be as small and as copyable as a built-in one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use chrono::{NaiveDate, NaiveTime};
use sha2::{Digest, Sha256};

use super::dates::is_weekday;
use super::table::{Closing, Market, Table};
use super::{Calendar, us_bond, xnys};

/// Corrections of one calendar. Times are New York time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrections {
    /// Sessions that did not take place.
    pub closed: BTreeSet<NaiveDate>,
    /// Sessions on days that the tables have none for; they last as long as a whole day.
    pub open: BTreeSet<NaiveDate>,
    /// When a session closed, where the tables say otherwise.
    pub early: BTreeMap<NaiveDate, NaiveTime>,
}

/// Which of the three lists an entry stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorrectionList {
    /// [`Corrections::closed`]
    Closed,
    /// [`Corrections::open`]
    Open,
    /// [`Corrections::early`]
    Early,
}

impl CorrectionList {
    /// The name of the list in the registry file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Early => "early",
        }
    }
}

/// A correction that the calendar cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct CorrectionError {
    /// The list that it stands in.
    pub list: CorrectionList,
    /// Its date.
    pub date: NaiveDate,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl Corrections {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty() && self.early.is_empty()
    }

    /// One line an entry, in order: what the version's hash is of, and what part of the configuration they are.
    pub fn canonical(&self) -> String {
        let closed = self.closed.iter().map(|d| format!("closed {d}\n"));
        let open = self.open.iter().map(|d| format!("open {d}\n"));
        let early = self.early.iter().map(|(d, t)| format!("early {d} {}\n", t.format("%H:%M")));
        closed.chain(open).chain(early).collect()
    }

    /// The sessions of a market after the corrections.
    fn apply(&self, name: &str, market: &Market, built_in: Vec<Closing>) -> Result<Vec<Closing>, CorrectionError> {
        use CorrectionList as L;
        let mut sessions: BTreeMap<NaiveDate, NaiveTime> = built_in.into_iter().collect();
        let (first, last) = market.years;
        let fault = |list, date, problem| CorrectionError { list, date, problem };
        let known = |list, date: NaiveDate| {
            let year = chrono::Datelike::year(&date);
            if (first..=last).contains(&year) {
                return Ok(());
            }
            Err(fault(list, date, format!("{name} knows the years {first} to {last} only; remove the line")))
        };
        for &date in &self.closed {
            known(L::Closed, date)?;
            // That the tables know it already is no fault: a release learnt of it after the owner did.
            if !is_weekday(date) {
                return Err(fault(
                    L::Closed,
                    date,
                    format!("{name} is closed every {}; correct the date", date.format("%A")),
                ));
            }
            sessions.remove(&date);
        }
        for &date in &self.open {
            known(L::Open, date)?;
            if !is_weekday(date) {
                let day = date.format("%A");
                return Err(fault(
                    L::Open,
                    date,
                    format!("it is a {day}, and {name} never opens then; correct the date"),
                ));
            }
            if self.closed.contains(&date) {
                return Err(fault(L::Open, date, "it stands under `closed` too; keep one of the two lines".into()));
            }
            sessions.entry(date).or_insert(market.close);
        }
        for (&date, &close) in &self.early {
            known(L::Early, date)?;
            let Some(before) = sessions.get_mut(&date) else {
                let problem = format!("{name} has no session then that could close early; correct the date");
                return Err(fault(L::Early, date, problem));
            };
            let (at, open, full) = (close.format("%H:%M"), market.open.format("%H:%M"), market.close.format("%H:%M"));
            if close <= market.open || market.close < close {
                let problem =
                    format!("{at} is outside the session; write a time after {open} and no later than {full}");
                return Err(fault(L::Early, date, problem));
            }
            *before = close;
        }
        Ok(sessions.into_iter().collect())
    }
}

/// A calendar with corrections. It lives as long as the process: see [`Calendar::corrected`].
pub struct Corrected {
    base: Calendar,
    version: String,
    table: Table,
}

impl Corrected {
    pub(super) fn base(&self) -> Calendar {
        self.base
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// What tells two of them apart.
    fn identity(&self) -> (Calendar, &str, &str) {
        (self.base, &self.version, self.table.sha256())
    }
}

impl PartialEq for Corrected {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Corrected {}

impl Hash for Corrected {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl std::fmt::Debug for Corrected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.base.name(), self.version)
    }
}

/// Every corrected calendar that this process has made, by name and corrections.
static MADE: Mutex<BTreeMap<(&'static str, String), &'static Corrected>> = Mutex::new(BTreeMap::new());

impl Calendar {
    /// The built-in calendar with these corrections; where they say nothing that it does not know, it is the built-in one.
    ///
    /// The sessions are computed anew (milliseconds) and kept for the life of the process, about half a megabyte for each
    /// different set of corrections; the same set gives the same calendar again, so reloads of an unchanged file
    /// cost nothing.
    ///
    /// # Errors
    /// The first entry that contradicts the tables, or lies where no correction can.
    pub fn corrected(self, corrections: &Corrections) -> Result<Calendar, CorrectionError> {
        let base = self.base();
        let first = corrections.closed.iter().next().map(|d| (CorrectionList::Closed, *d));
        let first = first.or_else(|| corrections.open.iter().next().map(|d| (CorrectionList::Open, *d)));
        let first = first.or_else(|| corrections.early.keys().next().map(|d| (CorrectionList::Early, *d)));
        let Some((list, date)) = first else { return Ok(base) };
        let (market, sessions) = match base {
            Calendar::Xnys => (&xnys::MARKET, xnys::sessions()),
            Calendar::UsBond => (&us_bond::MARKET, us_bond::sessions()),
            Calendar::Always | Calendar::Corrected(_) => {
                let problem = format!("{} has every day and no hours; remove its corrections", base.name());
                return Err(CorrectionError { list, date, problem });
            }
        };
        let canonical = corrections.canonical();
        let key = (base.name(), canonical.clone());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(&key) {
            return Ok(Calendar::Corrected(known));
        }
        let corrected = corrections.apply(base.name(), market, sessions.clone())?;
        if corrected == sessions {
            return Ok(base);
        }
        let table = Table::new(market, &corrected);
        let mut hash = hex::encode(Sha256::digest(canonical.as_bytes()));
        hash.truncate(8);
        let version = format!("{}+{hash}", base.version());
        let corrected: &'static Corrected = Box::leak(Box::new(Corrected { base, version, table }));
        made.insert(key, corrected);
        Ok(Calendar::Corrected(corrected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn t(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H:%M").unwrap()
    }

    fn of(closed: &[&str], open: &[&str], early: &[(&str, &str)]) -> Corrections {
        Corrections {
            closed: closed.iter().map(|x| d(x)).collect(),
            open: open.iter().map(|x| d(x)).collect(),
            early: early.iter().map(|(x, at)| (d(x), t(at))).collect(),
        }
    }

    #[test]
    fn a_correction_changes_its_day_and_no_other() {
        let c = Calendar::Xnys.corrected(&of(&["2025-06-24"], &["2025-06-19"], &[("2025-06-26", "12:30")])).unwrap();
        assert!(!c.is_session(d("2025-06-24")));
        assert_eq!(c.session(d("2025-06-19")).unwrap().minutes(), 390);
        let early = c.session(d("2025-06-26")).unwrap();
        assert_eq!((early.minutes(), early.half_day), (180, true));
        let (from, to) = (d("1990-01-01"), d("2030-12-31"));
        let corrected = ["2025-06-24", "2025-06-19", "2025-06-26"].map(d);
        for day in from.iter_days().take_while(|day| *day <= to && !corrected.contains(day)) {
            assert_eq!(c.session(day), Calendar::Xnys.session(day), "{day}");
        }
        assert_eq!(c.count(from, to), Calendar::Xnys.count(from, to));
        assert_eq!(c.next(d("2025-06-18")), Some(d("2025-06-19")));
    }

    #[test]
    fn the_name_stays_and_version_and_hash_are_those_of_the_corrections() {
        let one = Calendar::Xnys.corrected(&of(&["2025-06-24"], &[], &[])).unwrap();
        let other = Calendar::Xnys.corrected(&of(&["2025-06-25"], &[], &[])).unwrap();
        assert_eq!((one.name(), one.base()), ("XNYS", Calendar::Xnys));
        let (head, tail) = one.version().split_once('+').unwrap();
        assert_eq!((head, tail.len()), (Calendar::Xnys.version(), 8));
        assert_ne!(one.version(), other.version());
        assert_ne!(one.sha256(), other.sha256());
        assert_ne!(one, other);
        assert_eq!(Calendar::Xnys.corrected(&Corrections::default()), Ok(Calendar::Xnys));
    }

    #[test]
    fn the_same_corrections_are_the_same_table_however_often_they_are_read() {
        let c = of(&[], &[], &[("2024-07-02", "13:00")]);
        let (a, b) = (Calendar::UsBond.corrected(&c).unwrap(), Calendar::UsBond.corrected(&c).unwrap());
        let (Calendar::Corrected(a), Calendar::Corrected(b)) = (a, b) else { panic!("not corrected") };
        assert!(std::ptr::eq(a, b));
        assert_ne!(Calendar::Xnys.corrected(&c).unwrap(), Calendar::Corrected(a), "another market is another calendar");
        assert!(a.table().bytes() < 1 << 20, "{} bytes", a.table().bytes());
    }

    #[test]
    fn what_a_release_has_learnt_meanwhile_changes_nothing_and_is_no_fault() {
        let known = of(&["2025-01-09", "2025-07-04"], &["2025-06-24"], &[("2025-07-03", "13:00")]);
        assert_eq!(Calendar::Xnys.corrected(&known).unwrap(), Calendar::Xnys);
        let one_more = of(&["2025-01-09", "2025-06-24"], &[], &[]);
        let c = Calendar::Xnys.corrected(&one_more).unwrap();
        assert!(!c.is_session(d("2025-06-24")) && c != Calendar::Xnys);
    }

    #[test]
    fn what_contradicts_the_tables_is_refused() {
        let fault = |c: &Corrections| {
            let e = Calendar::Xnys.corrected(c).unwrap_err();
            format!("{} {}: {e}", e.list.name(), e.date)
        };
        for (c, says) in [
            (of(&["2025-06-28"], &[], &[]), "closed 2025-06-28: XNYS is closed every Saturday; correct the date"),
            (
                of(&["1989-12-29"], &[], &[]),
                "closed 1989-12-29: XNYS knows the years 1990 to 2030 only; remove the line",
            ),
            (of(&[], &["2031-01-02"], &[]), "open 2031-01-02: XNYS knows the years 1990 to 2030 only; remove the line"),
            (
                of(&[], &["2025-06-28"], &[]),
                "open 2025-06-28: it is a Saturday, and XNYS never opens then; correct the date",
            ),
            (
                of(&["2025-06-24"], &["2025-06-24"], &[]),
                "open 2025-06-24: it stands under `closed` too; keep one of the two lines",
            ),
            (
                of(&["2025-06-24"], &[], &[("2025-06-24", "13:00")]),
                "early 2025-06-24: XNYS has no session then that could close early; correct the date",
            ),
            (
                of(&[], &[], &[("2025-06-24", "09:30")]),
                "early 2025-06-24: 09:30 is outside the session; write a time after 09:30 and no later than 16:00",
            ),
            (
                of(&[], &[], &[("2025-06-24", "16:01")]),
                "early 2025-06-24: 16:01 is outside the session; write a time after 09:30 and no later than 16:00",
            ),
        ] {
            assert_eq!(fault(&c), says);
        }
        // A half-day of the tables that was a whole one after all.
        let whole = Calendar::Xnys.corrected(&of(&[], &[], &[("2025-07-03", "16:00")])).unwrap();
        assert_eq!(whole.session(d("2025-07-03")).unwrap().minutes(), 390);
        let e = Calendar::Always.corrected(&of(&["2025-06-24"], &[], &[])).unwrap_err().to_string();
        assert_eq!(e, "24x7 has every day and no hours; remove its corrections");
    }
}
