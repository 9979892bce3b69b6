//! The pure part: what several vendors hold of one session together, and which of its silences are holes.

use datanode_schema::calendar::Session;
use datanode_schema::records::{HoldingDay, LEAST_SILENCE, MOST_SILENCES, Silence};
use datanode_schema::registry::{Cadence, DatasetRule};

/// What the vendors hold of one session together: a minute is silent where all of them are. None where nobody holds a row.
pub fn union(held: impl IntoIterator<Item = HoldingDay>) -> Option<HoldingDay> {
    held.into_iter().filter(|h| h.rows > 0).reduce(|a, b| {
        // One without a row in regular hours says nothing about their edges.
        let (first, last) = match (a.regular, b.regular) {
            (0, _) => (b.first, b.last),
            (_, 0) => (a.first, a.last),
            _ => (a.first.min(b.first), a.last.max(b.last)),
        };
        let silent = match (a.regular, b.regular) {
            (0, _) => b.silent,
            (_, 0) => a.silent,
            // One whose silences are not all noted fills nothing for certain.
            _ if a.silent.len() < MOST_SILENCES && b.silent.len() >= MOST_SILENCES => a.silent,
            _ if b.silent.len() < MOST_SILENCES && a.silent.len() >= MOST_SILENCES => b.silent,
            _ => both(&a.silent, &b.silent),
        };
        HoldingDay {
            day: a.day,
            rows: a.rows.max(b.rows),
            regular: a.regular.max(b.regular),
            first,
            last,
            duplicates: a.duplicates.max(b.duplicates),
            restated: a.restated.max(b.restated),
            silent,
        }
    })
}

/// What is silent in both.
fn both(a: &[Silence], b: &[Silence]) -> Vec<Silence> {
    let mut out = Vec::new();
    for x in a {
        for y in b {
            let from = x.from.max(y.from);
            let to = x.from.saturating_add(x.minutes).min(y.from.saturating_add(y.minutes));
            if to.saturating_sub(from) >= LEAST_SILENCE {
                out.push(Silence { from, minutes: to - from });
            }
        }
    }
    out
}

/// Whether a session's rows stop, or begin, farther from its edges than the dataset's threshold allows. Daily data is
/// never short: a session has its one row or is absent.
pub fn is_short(rule: &DatasetRule, session: &Session, held: &HoldingDay) -> bool {
    if rule.cadence != Cadence::Minute {
        return false;
    }
    if held.regular == 0 {
        return true;
    }
    let minutes = f64::from(session.minutes());
    let silent = f64::from(held.first).max(minutes - 1.0 - f64::from(held.last));
    silent > rule.qc.max_silent_edge * minutes
}

/// The holes of a session of `minutes` minutes.
///
/// A minute in which nothing traded has no bar, so silence alone is no fault. A silence of `k ≥ qc.hole_minutes` minutes is a hole
/// where chance does not bring it about: with `p` the share of the session's other minutes that have a row, and `n` of those
/// minutes, `n·p·(1-p)^k` runs as long are expected of a symbol whose minutes trade independently of each other (Feller, *An
/// Introduction to Probability Theory*, XIII.7), and that is less than `qc.hole_chance`. So a liquid symbol's twenty silent
/// minutes are a hole, and those of one that trades every third minute are not.
pub fn holes(rule: &DatasetRule, minutes: u32, held: &HoldingDay) -> Vec<Silence> {
    let least = rule.qc.hole_minutes;
    if rule.cadence != Cadence::Minute || least == 0 {
        return Vec::new();
    }
    let long = || held.silent.iter().filter(|s| u32::from(s.minutes) >= least);
    let others = f64::from(minutes) - long().map(|s| f64::from(s.minutes)).sum::<f64>();
    if others < 1.0 {
        return Vec::new();
    }
    let p = (f64::from(held.regular) / others).min(1.0);
    let chance = |s: &&Silence| others * p * (1.0 - p).powi(i32::from(s.minutes));
    long().filter(|s| chance(s) < rule.qc.hole_chance).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::calendar::Calendar;
    use datanode_schema::names::Dataset;
    use datanode_schema::registry::{Registry, Sources};

    fn rule() -> DatasetRule {
        let r = Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap();
        r.datasets[&Dataset::EquitiesBarsMinute].clone()
    }

    fn held(regular: u32, silent: &[(u16, u16)]) -> HoldingDay {
        let silent = silent.iter().map(|(from, minutes)| Silence { from: *from, minutes: *minutes }).collect();
        HoldingDay { day: 1, rows: regular, regular, first: 0, last: 389, silent, ..HoldingDay::default() }
    }

    #[test]
    fn six_rows_are_short_a_half_day_is_not_and_a_thin_day_is_not() {
        let rule = rule();
        let session = |d: &str| Calendar::Xnys.session(d.parse().unwrap()).unwrap();
        let of = |regular, first, last| HoldingDay { first, last, ..held(regular, &[]) };
        assert!(is_short(&rule, &session("2014-06-23"), &of(6, 0, 5)));
        assert!(!is_short(&rule, &session("2015-12-24"), &of(210, 0, 209)));
        assert!(!is_short(&rule, &session("2008-03-07"), &of(300, 0, 380)));
        assert!(is_short(&rule, &session("2014-06-23"), &of(0, 0, 0)), "extended hours alone are no session");
    }

    #[test]
    fn half_an_hour_of_silence_is_a_hole_in_a_liquid_symbol_and_chance_in_a_thin_one() {
        let rule = rule();
        let found = |h: HoldingDay| holes(&rule, 390, &h).len();
        assert_eq!(found(held(360, &[(100, 30)])), 1);
        assert_eq!(found(held(330, &[(100, 30), (200, 30)])), 2);
        assert_eq!(found(held(360, &[(0, 30)])), 1, "the first half hour too");
        assert_eq!(found(held(375, &[(100, 15)])), 0, "shorter than the threshold");
        assert_eq!(found(held(300, &[])), 0, "ninety silent minutes, none of them together");
        assert_eq!(found(held(110, &[(100, 25), (300, 28)])), 0, "it trades every third minute");
        assert_eq!(found(held(180, &[(100, 30)])), 1, "half of the minutes trade: thirty in a row do not stay silent");
        let mut off = rule.clone();
        off.qc.hole_minutes = 0;
        assert!(holes(&off, 390, &held(360, &[(100, 30)])).is_empty());
    }

    #[test]
    fn vendors_fill_each_others_silence_and_what_all_leave_open_stays() {
        let a = held(330, &[(100, 30), (200, 30)]);
        let b = held(345, &[(90, 20), (210, 40)]);
        let u = union([a.clone(), b]).unwrap();
        assert_eq!(u.silent, [(100, 10), (210, 20)].map(|(from, minutes)| Silence { from, minutes }));
        let early = HoldingDay { first: 0, last: 200, ..held(200, &[(201, 189)]) };
        let late = HoldingDay { first: 195, last: 389, ..held(195, &[(0, 195)]) };
        let u = union([early, late]).unwrap();
        assert_eq!((u.first, u.last, u.silent.len()), (0, 389, 0));
        let extended = HoldingDay { rows: 20, first: 0, last: 0, ..held(0, &[]) };
        assert_eq!(union([extended, a.clone()]).unwrap().silent, a.silent, "extended hours alone fill nothing");
        assert!(union([HoldingDay::default()]).is_none());
    }
}
