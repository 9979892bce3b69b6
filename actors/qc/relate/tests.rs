//! Tests of what sessions say of each other: of each reason a case that must fire and one that must not.

use super::*;
use datanode_schema::clock::day_number;
use datanode_schema::names::Vendor;
use datanode_schema::records::Print;
use datanode_schema::registry::{Registry, Sources};

fn rule(d: Dataset) -> DatasetRule {
    Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&d].clone()
}

/// Some years of XNYS sessions of one symbol, that go on around 100 dollars with a volume of about a million.
struct World {
    dataset: Dataset,
    rule: DatasetRule,
    sessions: Vec<LedgerDay>,
    actions: BTreeMap<i32, ActionDay>,
    seconds: BTreeMap<i32, Second>,
    notes: BTreeMap<i32, u64>,
    breaks: Vec<i32>,
}

impl World {
    fn new() -> Self {
        let dataset = Dataset::EquitiesBars;
        let rule = rule(dataset);
        let days = rule.calendar().session_dates("2020-01-01".parse().unwrap(), "2020-12-31".parse().unwrap());
        // Without a pattern, and the same at every run.
        let any = |i: usize, of: u8| f32::from(blake3::hash(&[i as u8, (i >> 8) as u8, of]).as_bytes()[0]) / 255.0;
        let entry = |(i, d): (usize, &chrono::NaiveDate)| LedgerDay {
            day: day_number(*d),
            verdict: 1,
            reasons: 0,
            expected: 1,
            rows: 1,
            vendor: Vendor::Alpaca.number(),
            context: 0,
            first_seen: 0,
            updated_at: 0,
            print: Print {
                digest: [0; 16],
                open: 98.0 + 4.0 * any(i, 0),
                close: 98.0 + 4.0 * any(i, 1),
                volume: 1e6 * (0.7 + 0.6 * any(i, 2)),
            },
        };
        let sessions = days.iter().enumerate().map(entry).collect();
        let (actions, seconds, notes, breaks) = Default::default();
        Self { dataset, rule, sessions, actions, seconds, notes, breaks }
    }

    /// Multiplies the prices from session `i` on, and divides the volumes.
    fn split(mut self, i: usize, ratio: f32) -> Self {
        for s in self.sessions.iter_mut().skip(i) {
            s.print.open /= ratio;
            s.print.close /= ratio;
            s.print.volume *= ratio;
        }
        self
    }

    fn known(mut self, i: usize, split: f64, cash: f64) -> Self {
        let day = self.sessions[i].day;
        self.actions.insert(day, ActionDay { day, split, cash, other: 0 });
        self
    }

    /// A second vendor's prices of a session, as a factor of ours.
    fn second(mut self, i: usize, factor: f32, differ: u32) -> Self {
        let s = &self.sessions[i];
        let (open, close) = (s.print.open * factor, s.print.close * factor);
        self.seconds.insert(s.day, Second { day: s.day, vendor: 3, compared: 10, differ, open, close });
        self
    }

    /// The sessions with reasons.
    fn reasons(&self) -> Vec<(usize, Vec<&'static str>)> {
        let series = Series {
            dataset: self.dataset,
            rule: &self.rule,
            sessions: &self.sessions,
            actions: &self.actions,
            seconds: &self.seconds,
            notes: &self.notes,
            breaks: &self.breaks,
        };
        let all = relate(&series, i32::MIN, i32::MAX);
        assert_eq!(all.len(), self.sessions.len());
        all.iter().enumerate().filter(|(_, r)| r.1 != 0).map(|(i, r)| (i, Reason::names(r.1))).collect()
    }
}

#[test]
fn ordinary_sessions_have_no_reasons() {
    assert!(World::new().reasons().is_empty());
}

#[test]
fn a_split_that_nobody_knows_is_a_jump_and_one_that_is_known_is_none() {
    let unknown = World::new().split(100, 2.0);
    assert_eq!(unknown.reasons(), [(100, vec!["unexplained_jump", "outlier"])]);
    let known = World::new().split(100, 2.0).known(100, 2.0, 0.0);
    assert_eq!(known.reasons(), [(100, vec!["jump_confirmed"])], "nor do the volumes after it stand out");
    let reverse = World::new().split(100, 0.05).known(100, 0.05, 0.0);
    assert_eq!(reverse.reasons(), [(100, vec!["jump_confirmed"])]);
    let other = World::new().split(100, 2.0).known(100, 3.0, 0.0);
    assert!(other.reasons()[0].1.contains(&"unexplained_jump"), "another split than the one that is known");
}

#[test]
fn a_split_on_a_day_without_a_session_takes_effect_at_the_next() {
    let days: Vec<i32> = World::new().sessions.iter().map(|s| s.day).collect();
    let monday = (100..).find(|i| days[*i] - days[i - 1] == 3).unwrap();
    let mut w = World::new().split(monday, 2.0);
    let sunday = days[monday] - 1;
    w.actions.insert(sunday, ActionDay { day: sunday, split: 2.0, cash: 0.0, other: 0 });
    assert_eq!(w.reasons(), [(monday, vec!["jump_confirmed"])]);
}

#[test]
fn a_split_that_the_prices_do_not_show_is_said_and_a_small_one_cannot_be_seen() {
    let unseen = World::new().known(100, 2.0, 0.0).reasons();
    assert!(unseen[0].1.contains(&"split_not_seen"), "{unseen:?}");
    assert!(!unseen[0].1.contains(&"unexplained_jump"));
    assert!(!World::new().known(100, 1.01, 0.0).reasons().iter().any(|r| r.1.contains(&"split_not_seen")));
}

#[test]
fn a_large_dividend_explains_a_jump_and_a_wrong_one_does_not() {
    let pay = |cash| {
        let mut w = World::new();
        for s in &mut w.sessions[100..] {
            s.print.open -= 50.0;
            s.print.close -= 50.0;
        }
        w.known(100, 1.0, cash).reasons()
    };
    assert_eq!(pay(50.0)[0], (100, vec!["jump_confirmed"]));
    assert!(pay(5.0)[0].1.contains(&"unexplained_jump"));
    assert!(pay(5_000.0)[0].1.contains(&"unexplained_jump"), "more than the share was worth");
}

#[test]
fn a_merger_explains_a_jump_whatever_it_paid() {
    let mut w = World::new().split(100, 2.0);
    let day = w.sessions[100].day;
    w.actions.insert(day, ActionDay { day, split: 1.0, cash: 0.0, other: 1 });
    assert!(w.reasons()[0].1.contains(&"jump_confirmed"));
}

#[test]
fn a_second_vendor_that_jumps_too_confirms_and_one_that_does_not_disagrees() {
    let agrees = World::new().split(100, 2.0).second(100, 1.001, 0);
    assert_eq!(agrees.reasons()[0].1[0], "jump_confirmed");
    assert!(!agrees.reasons()[0].1.contains(&"unexplained_jump"));
    let adjusted = World::new().split(100, 2.0).second(99, 0.5, 10).second(100, 1.0, 0);
    let got = adjusted.reasons();
    assert_eq!(got[0], (99, vec!["vendors_disagree"]));
    assert!(got[1].1.contains(&"unexplained_jump"), "its own step is none: {got:?}");
}

#[test]
fn a_crash_during_the_day_is_a_jump_though_it_opened_where_it_closed() {
    let mut w = World::new();
    w.sessions[100].print.close = 40.0;
    let got = w.reasons();
    assert!(got[0] == (100, vec!["unexplained_jump", "outlier"]), "{got:?}");
    assert!(got[1].0 == 101 && got[1].1.contains(&"unexplained_jump"), "and the way back is one too");
}

#[test]
fn sessions_of_two_listings_are_not_compared() {
    let mut w = World::new().split(100, 10.0);
    w.breaks = vec![w.sessions[100].day];
    assert!(w.reasons().is_empty(), "{:?}", w.reasons());
}

#[test]
fn a_volume_or_a_return_far_from_the_sessions_before_is_an_outlier() {
    let volume = |factor: f32| {
        let mut w = World::new();
        w.sessions[100].print.volume *= factor;
        w.reasons()
    };
    assert_eq!(volume(1_000.0), [(100, vec!["outlier"])]);
    assert!(volume(3.0).is_empty());
    let mut early = World::new();
    early.sessions[5].print.volume *= 1_000.0;
    assert!(early.reasons().is_empty(), "five sessions are no window");
    let mut still = World::new();
    for (i, s) in still.sessions.iter_mut().enumerate() {
        (s.print.open, s.print.close) = (100.0, 100.0);
        s.print.volume = 1e6 + (i % 3) as f32;
    }
    still.sessions[100].print.close = 101.0;
    assert!(still.reasons().is_empty(), "where the price stood, a cent is no outlier: {:?}", still.reasons());
}

#[test]
fn a_cent_up_or_down_is_no_outlier_of_a_penny_stock() {
    let close = |p: f32| {
        let mut w = World::new();
        for (i, s) in w.sessions.iter_mut().enumerate() {
            (s.print.open, s.print.close) = (0.34, if i % 9 == 0 { 0.35 } else { 0.34 });
        }
        w.sessions[100].print.close = p;
        w.reasons()
    };
    assert!(close(0.38).is_empty());
    assert_eq!(close(0.04)[0].1, ["unexplained_jump", "outlier"]);
}

#[test]
fn the_same_values_session_after_session_are_stale_from_the_last_that_is_let_pass() {
    let most = rule(Dataset::EquitiesBars).qc.stale_sessions as usize;
    let still = |n: usize| {
        let mut w = World::new();
        let print = w.sessions[100].print;
        w.sessions[100..100 + n].iter_mut().for_each(|s| s.print = print);
        w.reasons()
    };
    assert!(still(most - 1).is_empty());
    assert_eq!(still(most), [(100 + most - 1, vec!["stale"])]);
}

#[test]
fn days_without_an_observation_neither_make_a_series_stale_nor_make_it_move() {
    let mut w = World::new();
    w.dataset = Dataset::MacroTreasury;
    w.rule = rule(Dataset::MacroTreasury);
    let most = w.rule.qc.stale_sessions as usize;
    for s in &mut w.sessions[100..100 + most] {
        s.print = Print { open: 0.5, close: 0.5, ..Print::default() };
    }
    let holiday = &mut w.sessions[120];
    (holiday.expected, holiday.print) = (0, Print::default());
    assert!(w.reasons().is_empty(), "one of them says nothing: {:?}", w.reasons());
    w.sessions[100 + most].print = Print { open: 0.5, close: 0.5, ..Print::default() };
    assert_eq!(w.reasons(), [(100 + most, vec!["stale"])]);
    for s in &mut w.sessions {
        (s.reasons, s.print) = (Reason::NO_OBSERVATION.bit, Print::default());
    }
    assert!(w.reasons().is_empty());
}

#[test]
fn vendors_disagree_where_more_than_the_share_of_the_rule_differs() {
    assert_eq!(World::new().second(100, 1.0, 2).reasons(), [(100, vec!["vendors_disagree"])]);
    assert!(World::new().second(100, 1.0, 0).reasons().is_empty());
    let mut nothing = World::new().second(100, 1.0, 10);
    nothing.seconds.values_mut().for_each(|s| s.compared = 0);
    assert!(nothing.reasons().is_empty(), "a vendor that had nothing disagrees with nobody");
}

#[test]
fn what_raw_noted_is_said() {
    let mut w = World::new();
    w.notes = BTreeMap::from([(w.sessions[3].day, Reason::DUPLICATES_DROPPED.bit | Reason::RESTATED.bit)]);
    assert_eq!(w.reasons(), [(3, vec!["duplicates_dropped", "restated"])]);
}

#[test]
fn checks_that_a_rule_turns_off_are_not_made() {
    let mut w = World::new().split(100, 2.0);
    w.rule.qc = Thresholds { max_jump: 0.0, outlier_mads: 0.0, stale_sessions: 0, ..w.rule.qc };
    assert!(w.reasons().is_empty());
}

#[test]
fn what_is_said_of_a_session_does_not_hang_on_how_much_was_loaded() {
    let w = World::new().split(100, 2.0).second(140, 1.0, 9);
    let all = w.reasons();
    for first in [0, 1, 30, 60] {
        let mut part = World::new().split(100, 2.0).second(140, 1.0, 9);
        part.sessions.drain(..first);
        let series = Series {
            dataset: part.dataset,
            rule: &part.rule,
            sessions: &part.sessions,
            actions: &part.actions,
            seconds: &part.seconds,
            notes: &part.notes,
            breaks: &part.breaks,
        };
        let from = part.sessions[0].day + 31 * i32::try_from(reach(&part.rule) + 1).unwrap();
        let got: Vec<(i32, u64)> = relate(&series, from, i32::MAX).into_iter().filter(|r| r.1 != 0).collect();
        let want = all.iter().filter(|(i, _)| w.sessions[*i].day >= from).count();
        assert_eq!(got.len(), want, "from session {first} on");
    }
}
