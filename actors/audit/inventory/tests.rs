use super::*;
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::records::Answer;
use datanode_schema::registry::{Registry, Sources};

fn rule(dataset: Dataset) -> DatasetRule {
    Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&dataset].clone()
}

fn date(s: &str) -> NaiveDate {
    s.parse().unwrap()
}

fn held(day: &str, regular: u32, first: u16, last: u16) -> HoldingDay {
    HoldingDay { day: day_number(date(day)), rows: regular, regular, first, last, ..HoldingDay::default() }
}

/// What one vendor holds of January 2020.
fn month(days: &[HoldingDay]) -> BTreeMap<Month, HeldMonth> {
    let m = Month::of(date("2020-01-01"));
    let all = days.iter().fold(0u32, |a, d| a | 1 << (d.day - m.first_day()));
    BTreeMap::from([(m, HeldMonth { days: all, pages: vec![Holding::pack(m.first_day(), days.to_vec())] })])
}

fn seen<'a>(
    rule: &'a DatasetRule,
    spans: &'a [Span],
    held: &'a BTreeMap<Month, HeldMonth>,
    before: &'a BTreeMap<Month, GapPage>,
    vendors: &'a [Covered],
    now: &str,
) -> Seen<'a> {
    Seen {
        rule,
        spans,
        sessions: Box::leak(Box::new(Sessions::of(rule.calendar(), date("2019-12-01"), date("2020-02-01")))),
        as_of: date("2020-01-10"),
        now: now.parse().unwrap(),
        held,
        before,
        vendors,
    }
}

fn covered(from: &str, to: &str, said_at: &str) -> Covered {
    let mut bookmark = Bookmark::default();
    bookmark.cover(day_number(date(from)), day_number(date(to)));
    bookmark.updated_at = said_at.parse::<DateTime<Utc>>().unwrap().timestamp();
    let window = (day_number(date("1990-01-01")), day_number(date("2030-01-01")));
    Covered { who: 1 << 2, window, demoted: Demotions::default(), bookmark }
}

#[test]
fn what_the_calendar_has_and_nobody_gave_is_missing_until_the_vendors_agree() {
    let rule = rule(Dataset::EquitiesBars);
    let spans = [Span { from: date("2020-01-02"), to: None }];
    let days = ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-08", "2020-01-09", "2020-01-10"];
    let all = month(&days.map(|d| held(d, 1, 0, 0)));
    let none = BTreeMap::new();
    let one = [covered("2020-01-02", "2020-01-10", "2020-01-11T00:00:00Z")];
    let gaps = inventory(&seen(&rule, &spans, &all, &none, &one, "2020-01-12T00:00:00Z")).pages;
    let tasks: Vec<_> = gaps.iter().flat_map(|(m, p)| p.tasks(m.first_day())).collect();
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].day, day_number(date("2020-01-07")));
    assert_eq!(tasks[0].state, Absence::Missing.number());

    let said = |vendor: Vendor| Answer {
        vendor: vendor.number(),
        outcome: Outcome::Empty.number(),
        days: 1,
        attempts: 0,
        last_day: 18_273,
    };
    let agreed = GapTask { answers: vec![said(Vendor::Alpaca), said(Vendor::Massive)], ..tasks[0].clone() };
    let first = Month::of(date("2020-01-01"));
    let before = BTreeMap::from([(first, GapPage::pack(first.first_day(), [agreed]))]);
    let gaps = inventory(&seen(&rule, &spans, &all, &before, &one, "2020-01-12T00:00:00Z")).pages;
    assert_eq!(gaps.values().next().unwrap().groups[0].state, Absence::Explained.number());
}

#[test]
fn a_session_that_has_just_closed_is_pending() {
    let rule = rule(Dataset::EquitiesBars);
    let spans = [Span { from: date("2020-01-10"), to: None }];
    let none = BTreeMap::new();
    let gaps = inventory(&seen(&rule, &spans, &BTreeMap::new(), &none, &[], "2020-01-10T21:05:00Z")).pages;
    assert_eq!(gaps.values().next().unwrap().groups[0].state, Absence::Pending.number());
}

#[test]
fn a_sole_vendor_must_say_so_on_two_days() {
    let rule = rule(Dataset::EquitiesBars);
    let mut task = GapTask {
        day: 1,
        state: Absence::Missing.number(),
        why: 0,
        expected: 1,
        rows: 0,
        discovered_at: 0,
        answers: vec![],
    };
    let answer = |days| Answer { vendor: 2, outcome: Outcome::Empty.number(), days, attempts: 0, last_day: 5 };
    task.answers = vec![answer(1)];
    settle(&rule, &mut task, 1 << 2);
    assert_eq!(task.state, Absence::Missing.number());
    task.answers = vec![answer(2)];
    settle(&rule, &mut task, 1 << 2);
    assert_eq!(task.state, Absence::Explained.number());
}

#[test]
fn a_hole_is_explained_where_a_second_vendor_has_the_session_and_is_silent_too() {
    let rule = rule(Dataset::EquitiesBarsMinute);
    let answer =
        |vendor, outcome: Outcome, days| Answer { vendor, outcome: outcome.number(), days, attempts: 0, last_day: 5 };
    let hole = |answers| GapTask {
        day: 1,
        state: Absence::Hole.number(),
        why: 0,
        expected: 390,
        rows: 330,
        discovered_at: 0,
        answers,
    };
    let settled = |answers, vendors| {
        let mut t = hole(answers);
        settle(&rule, &mut t, vendors);
        (Absence::from_number(t.state).unwrap(), Explanation::from_number(t.why))
    };
    let both = (1 << 2) | (1 << 3);
    let open = (Absence::Hole, None);
    assert_eq!(settled(vec![answer(2, Outcome::Short, 1)], both), open);
    assert_eq!(
        settled(vec![answer(2, Outcome::Short, 1), answer(3, Outcome::Empty, 3)], both),
        open,
        "a vendor without the session has not looked at these minutes"
    );
    let agreed = (Absence::Explained, Some(Explanation::NoTrade));
    assert_eq!(settled(vec![answer(2, Outcome::Short, 1), answer(3, Outcome::Short, 1)], both), agreed);
    assert_eq!(settled(vec![answer(2, Outcome::Short, 2)], 1 << 2), agreed, "the sole vendor, on two days");
}

#[test]
fn a_month_is_cut_at_the_windows_edges() {
    let m = Month::of(date("2020-01-01"));
    let between = |a, b| days_between(m, date(a), date(b));
    assert_eq!(between("2019-12-30", "2020-02-02"), u32::MAX >> 1);
    assert_eq!(between("2020-01-03", "2020-01-04"), 0b1100);
    assert_eq!(between("2019-12-01", "2020-01-01"), 1);
    assert_eq!(between("2020-01-31", "2020-03-01"), 1 << 30);
    assert_eq!((between("2020-02-01", "2020-03-01"), between("2019-01-01", "2019-12-31")), (0, 0));
}
