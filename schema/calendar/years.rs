//! A calendar packed for the store, a year a record, and the days on which two of them differ. Pure.
//!
//! What was decided by an older calendar is decided again only where that calendar said something else: for this the
//! sessions themselves are kept, since a hash says that something differs and not what.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::table::digest;
use super::{Calendar, Session};
use crate::clock::day_number;
use crate::records::{CalendarHours, CalendarYear, bits};

/// Every year that the calendar covers; none for one without bounds, which cannot change.
pub fn pack_years(calendar: Calendar) -> BTreeMap<u16, CalendarYear> {
    let Some((first, last)) = calendar.table().map(|t| t.bounds()) else { return BTreeMap::new() };
    let year_of = |d: NaiveDate| u16::try_from(d.year()).unwrap_or(0);
    let mut out: BTreeMap<u16, CalendarYear> =
        (year_of(first)..=year_of(last)).map(|y| (y, CalendarYear::default())).collect();
    for s in calendar.sessions(first, last) {
        let Some(year) = out.get_mut(&year_of(s.date)) else { continue };
        if let Some(month) = usize::try_from(s.date.month0()).ok().and_then(|m| year.sessions.get_mut(m)) {
            *month |= 1 << s.date.day0();
        }
        let hours = CalendarHours {
            from: u16::try_from(s.date.ordinal()).unwrap_or(0),
            open: minute_of(s.date, s.open),
            close: minute_of(s.date, s.close),
        };
        if year.hours.last().is_none_or(|h| (h.open, h.close) != (hours.open, hours.close)) {
            year.hours.push(hours);
        }
    }
    out
}

/// Minutes from the UTC midnight of a session's date; every close is before the second midnight.
fn minute_of(date: NaiveDate, at: DateTime<Utc>) -> u16 {
    u16::try_from((at - date.and_time(NaiveTime::MIN).and_utc()).num_minutes()).unwrap_or(u16::MAX)
}

/// The sessions of packed years, in order. Half-days are not told apart: the times say enough.
fn unpack(years: &BTreeMap<u16, CalendarYear>) -> Vec<Session> {
    let mut out = Vec::new();
    for (year, packed) in years {
        let mut hours = packed.hours.iter().peekable();
        let mut now: Option<&CalendarHours> = None;
        for (month, days) in (1..).zip(&packed.sessions) {
            for day in bits(*days) {
                let day = u32::try_from(day + 1).unwrap_or(0);
                let Some(date) = NaiveDate::from_ymd_opt(i32::from(*year), month, day) else { continue };
                while let Some(h) = hours.next_if(|h| u32::from(h.from) <= date.ordinal()) {
                    now = Some(h);
                }
                let midnight = date.and_time(NaiveTime::MIN).and_utc();
                let at = |minute: u16| midnight + TimeDelta::minutes(i64::from(minute));
                let (open, close) = now.map_or((midnight, midnight), |h| (at(h.open), at(h.close)));
                out.push(Session { date, open, close, half_day: false });
            }
        }
    }
    out
}

/// What [`Calendar::sha256`] was of the calendar that these years were packed from.
pub fn sha256_of_years(years: &BTreeMap<u16, CalendarYear>) -> String {
    digest(&unpack(years))
}

/// The day numbers on which two calendars differ: a session in one of them only, or other times. A year that one of them
/// does not know has no sessions there.
pub fn changed_days(before: &BTreeMap<u16, CalendarYear>, after: &BTreeMap<u16, CalendarYear>) -> BTreeSet<i32> {
    let mut out = BTreeSet::new();
    let years: BTreeSet<&u16> = before.keys().chain(after.keys()).collect();
    for year in years.into_iter().filter(|y| before.get(y) != after.get(y)) {
        let of = |all: &BTreeMap<u16, CalendarYear>| {
            let one: BTreeMap<u16, CalendarYear> = all.get(year).map(|p| (*year, p.clone())).into_iter().collect();
            unpack(&one).into_iter().map(|s| (s.date, (s.open, s.close))).collect::<BTreeMap<_, _>>()
        };
        let (b, a) = (of(before), of(after));
        let days = b.keys().chain(a.keys()).filter(|d| b.get(d) != a.get(d));
        out.extend(days.map(|d| day_number(*d)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Corrections;
    use super::*;

    fn d(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn packed_years_are_the_calendar_again_and_fit_a_record_many_times_over() {
        for c in [Calendar::Xnys, Calendar::UsBond] {
            let years = pack_years(c);
            assert_eq!(sha256_of_years(&years), c.sha256());
            let largest = years.values().map(|y| rkyv::to_bytes::<rkyv::rancor::Error>(y).unwrap().len()).max();
            assert!(largest.unwrap() < 256, "{largest:?}");
            let (first, last) = (d("1962-01-01"), d("2030-12-31"));
            let plain = |s: Session| Session { half_day: false, ..s };
            let want: Vec<Session> = c.sessions(first, last).into_iter().map(plain).collect();
            assert_eq!(unpack(&years), want);
        }
        assert!(pack_years(Calendar::Always).is_empty());
    }

    #[test]
    fn only_the_days_that_differ_are_named() {
        let before = pack_years(Calendar::Xnys);
        assert!(changed_days(&before, &before).is_empty());
        let fixed = Corrections {
            closed: [d("2025-06-24")].into(),
            open: [d("2024-03-29")].into(),
            early: [(d("2025-07-03"), NaiveTime::from_hms_opt(16, 0, 0).unwrap())].into(),
        };
        let after = pack_years(Calendar::Xnys.corrected(&fixed).unwrap());
        let want: BTreeSet<i32> = ["2024-03-29", "2025-06-24", "2025-07-03"].map(|x| day_number(d(x))).into();
        assert_eq!(changed_days(&before, &after), want);
        assert_eq!(changed_days(&after, &before), want);
    }

    #[test]
    fn a_year_that_only_one_of_them_knows_differs_on_its_sessions() {
        let after = pack_years(Calendar::Xnys);
        let mut before = after.clone();
        before.remove(&2030);
        let days = changed_days(&before, &after);
        assert_eq!(days.len(), Calendar::Xnys.count(d("2030-01-01"), d("2030-12-31")));
        assert_eq!(days.first(), Some(&day_number(d("2030-01-02"))));
    }
}
