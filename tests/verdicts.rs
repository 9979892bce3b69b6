//! Verdicts that come of more than one partition, over the real binary: splits that become known later, jumps that a second vendor
//! confirms, spot checks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::calendar::Calendar;
use datanode_schema::clock::day_number;
use datanode_schema::names::{Dataset, Reason};
use datanode_schema::records::LedgerDay;
use datanode_vendorsim::Source;
use std::collections::BTreeMap;
use std::path::Path;
use support::{Draw, Node, SEEDED_NIGHT, Sim, counts, run, verdicts};

/// A day later.
const NEXT_NIGHT: [&str; 4] = ["--now", "2025-07-03T23:00:00Z", "--as-of", "2025-06-30"];
const EX_DATE: &str = "2025-05-12";

/// Daily bars of some symbols around 100 dollars; `AAA` is split 2:1 on [`EX_DATE`]. Prices are multiplied by `factor`.
fn folder(root: &Path, symbols: &[&str], factor: f64) -> Source {
    let sessions = Calendar::Xnys.session_dates("2025-01-02".parse().unwrap(), "2025-06-30".parse().unwrap());
    std::fs::create_dir_all(root.join("equities_bars")).unwrap();
    for symbol in symbols {
        let mut text = "date,open,high,low,close,volume\n".to_owned();
        let mut draw = Draw(symbol.bytes().map(u64::from).sum());
        for d in &sessions {
            let split = if *symbol == "AAA" && *d >= EX_DATE.parse().unwrap() { 2.0 } else { 1.0 };
            let mut price = || (98.0 + draw.below(400) as f64 / 100.0) * factor / split;
            let (open, close) = (price(), price());
            let volume = (1_000_000 + draw.below(400_000)) * split as u64;
            let (high, low) = (open.max(close), open.min(close));
            text += &format!("{d},{open:.4},{high:.4},{low:.4},{close:.4},{volume}\n");
        }
        std::fs::write(root.join(format!("equities_bars/{symbol}.csv")), text).unwrap();
    }
    std::fs::write(root.join("splits.csv"), format!("symbol,ex_date,new_shares_per_old\nAAA,{EX_DATE},2\n")).unwrap();
    std::fs::write(root.join("dividends.csv"), "symbol,ex_date,cash_amount\n").unwrap();
    Source::Data(root.to_owned())
}

const UNIVERSE: &str = "universe:
  equities_bars:
    AAA: [{from: 2025-01-02}]
    BBB: [{from: 2025-01-02}]
";

fn entry(all: &BTreeMap<(Dataset, String), Vec<LedgerDay>>, symbol: &str, date: &str) -> LedgerDay {
    let day = day_number(date.parse().unwrap());
    all[&(Dataset::EquitiesBars, symbol.to_owned())].iter().find(|d| d.day == day).unwrap().clone()
}

/// Sessions with reasons.
fn reasons(
    all: &BTreeMap<(Dataset, String), Vec<LedgerDay>>,
    dataset: Dataset,
) -> Vec<(String, i32, Vec<&'static str>)> {
    let of = all.iter().filter(|((d, _), _)| *d == dataset);
    let of = of.flat_map(|((_, s), days)| days.iter().map(move |d| (s.clone(), d.day, Reason::names(d.reasons))));
    of.filter(|(_, _, r)| !r.is_empty()).collect()
}

fn at(node: &Node, night: [&str; 4]) -> serde_json::Value {
    run(&mut node.command(&[&["nightly", "--json"], &night[..]].concat())).exits(0).json()
}

#[test]
fn a_split_that_becomes_known_later_explains_the_jump_and_touches_no_other_entry() {
    let data = tempfile::tempdir().unwrap();
    let sim = Sim::new(folder(data.path(), &["AAA", "BBB"], 1.0), "");
    let node = Node::new(UNIVERSE, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    at(&node, SEEDED_NIGHT);
    let first = verdicts::ledger(&node);
    let ex = day_number(EX_DATE.parse().unwrap());
    assert_eq!(
        reasons(&first, Dataset::EquitiesBars),
        [("AAA".to_owned(), ex, vec!["unexplained_jump", "outlier"])],
        "nobody has asked for actions"
    );

    let with =
        format!("{UNIVERSE}  corporate_actions:\n    AAA: [{{from: 2025-01-02}}]\n    BBB: [{{from: 2025-01-02}}]\n");
    std::fs::write(node.root.path().join("universe.yaml"), with).unwrap();
    let done = at(&node, NEXT_NIGHT);
    let second = verdicts::ledger(&node);
    assert_eq!(reasons(&second, Dataset::EquitiesBars), [("AAA".to_owned(), ex, vec!["jump_confirmed"])]);
    let (was, is) = (entry(&first, "AAA", EX_DATE), entry(&second, "AAA", EX_DATE));
    assert_eq!((was.verdict, is.verdict, is.first_seen), (2, 1, was.first_seen));
    assert!(is.updated_at > was.updated_at);
    let others = |all: &BTreeMap<(Dataset, String), Vec<LedgerDay>>| {
        let bars = all.iter().filter(|((d, _), _)| *d == Dataset::EquitiesBars);
        bars.flat_map(|((_, s), days)| days.iter().map(|d| (s.clone(), d.clone())).collect::<Vec<_>>())
            .filter(|(s, d)| (s.as_str(), d.day) != ("AAA", ex))
            .collect::<Vec<_>>()
    };
    assert_eq!(others(&first), others(&second), "no other entry has changed, nor its times");
    // Only the file of actions was read; of the symbol actions, bars and minutes were compared.
    counts(&done, "qc", &[("files", 1), ("related", 3)]);
}

#[test]
fn a_second_vendor_is_asked_for_a_jump_on_the_next_night_and_confirms_it() {
    let data = tempfile::tempdir().unwrap();
    let sim = Sim::new(folder(data.path(), &["AAA", "BBB"], 1.0), "");
    let node = Node::new(UNIVERSE, SEEDED_NIGHT).vendors(&["alpaca", "massive"], &sim);
    at(&node, SEEDED_NIGHT);
    let ex = day_number(EX_DATE.parse().unwrap());
    let before = reasons(&verdicts::ledger(&node), Dataset::EquitiesBars);
    assert_eq!(before, [("AAA".to_owned(), ex, vec!["unexplained_jump", "outlier"])]);
    at(&node, NEXT_NIGHT);
    let after = reasons(&verdicts::ledger(&node), Dataset::EquitiesBars);
    assert_eq!(after, [("AAA".to_owned(), ex, vec!["jump_confirmed"])]);
    let asked: Vec<_> = node.lines().into_iter().filter(|l| l.purpose == "spot_check").collect();
    assert!(asked.iter().any(|l| l.symbol == "AAA" && l.from == EX_DATE.parse().unwrap()), "{asked:?}");
    assert!(asked.iter().all(|l| l.vendor.name() == "massive"));
}

#[test]
fn spot_checks_find_a_vendor_that_says_otherwise_on_the_very_night() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let alpaca = Sim::new(folder(ours.path(), &["AAA", "BBB"], 1.0), "");
    let massive = Sim::new(folder(theirs.path(), &["AAA", "BBB"], 1.02), "");
    let node = Node::new(UNIVERSE, SEEDED_NIGHT).vendor("alpaca", &alpaca.url).vendor("massive", &massive.url);
    at(&node, SEEDED_NIGHT);
    let found = reasons(&verdicts::ledger(&node), Dataset::EquitiesBars);
    let disagree: Vec<_> = found.iter().filter(|(_, _, r)| r.contains(&"vendors_disagree")).collect();
    assert_eq!(disagree.len(), 5, "as many as the rule draws: {found:?}");
    let asked = || node.lines().into_iter().filter(|l| l.purpose == "spot_check").map(|l| (l.symbol, l.from));
    let first: Vec<_> = asked().collect();
    assert_eq!(first.len(), 5);
    at(&node, SEEDED_NIGHT);
    assert_eq!(asked().count(), 5, "the same night draws the same, and has them");
    at(&node, NEXT_NIGHT);
    assert!(asked().count() > 5, "what was found is put to the second vendor a night later");
}

#[test]
fn a_second_vendor_that_has_nothing_leaves_no_gap_and_is_not_asked_again() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let alpaca = Sim::new(folder(ours.path(), &["AAA", "BBB"], 1.0), "");
    let massive = Sim::new(folder(theirs.path(), &["CCC"], 1.0), "");
    let node = Node::new(UNIVERSE, SEEDED_NIGHT).vendor("alpaca", &alpaca.url).vendor("massive", &massive.url);
    at(&node, SEEDED_NIGHT);
    for _ in 0..2 {
        let done = at(&node, NEXT_NIGHT);
        counts(&done, "audit", &[("absent", 0), ("short", 0)]);
        counts(&done, "qc", &[("pending", 0), ("red", 0)]);
    }
    let asked: Vec<_> = node.lines().into_iter().filter(|l| l.purpose == "spot_check").collect();
    let jump = asked.iter().filter(|l| l.symbol == "AAA" && l.from == EX_DATE.parse().unwrap()).count();
    assert_eq!(jump, 1, "{asked:?}");
    let found = reasons(&verdicts::ledger(&node), Dataset::EquitiesBars);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].2, ["unexplained_jump", "outlier"], "what nobody confirms stays AMBER");
}

/// Minutes of whole sessions from 2025-06-23 to 06-27, but those of one day of which `leaves` says that they are out, moved by
/// `by` minutes. `flat`: one bar again and again.
struct Minutes {
    symbol: &'static str,
    leaves: std::ops::Range<i64>,
    by: i64,
    flat: bool,
}

const ODD_DAY: &str = "2025-06-25";

fn minute_folder(root: &Path, all: &[Minutes]) -> Source {
    let sessions = Calendar::Xnys.sessions("2025-06-23".parse().unwrap(), "2025-06-27".parse().unwrap());
    for m in all {
        let folder = root.join("equities_bars_minute").join(m.symbol);
        std::fs::create_dir_all(&folder).unwrap();
        let mut draw = Draw(1);
        for s in &sessions {
            let odd = s.date == ODD_DAY.parse().unwrap();
            let mut text = "t,open,high,low,close,volume\n".to_owned();
            for i in (0..390).filter(|i| !(odd && m.leaves.contains(i))) {
                let at = s.open + chrono::Duration::minutes(if odd { i + m.by } else { i });
                let at = at.format("%Y-%m-%dT%H:%M:%SZ");
                let (p, v) = if odd && m.flat {
                    (100.0, 5)
                } else {
                    (100.0 + draw.below(100) as f64 / 100.0, draw.below(1000) + 1)
                };
                text += &format!("{at},{p},{p},{p},{p},{v}\n");
            }
            std::fs::write(folder.join(format!("{}.csv", s.date)), text).unwrap();
        }
    }
    Source::Data(root.to_owned())
}

#[test]
fn minutes_that_are_silent_flat_or_beside_the_session_are_told_apart() {
    let of = |symbol, leaves, by, flat| Minutes { symbol, leaves, by, flat };
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plain = 0..0;
    let first = [
        of("FILLED", 100..130, 0, false),
        of("FLAT", plain.clone(), 0, true),
        of("SHIFTED", plain.clone(), 60, false),
        of("SILENT", 100..130, 0, false),
        of("WHOLE", plain.clone(), 0, false),
    ];
    let second = [of("FILLED", plain, 0, false), of("SILENT", 100..130, 0, false)];
    let alpaca = Sim::new(minute_folder(ours.path(), &first), "");
    let massive = Sim::new(minute_folder(theirs.path(), &second), "");
    let names: Vec<String> = first.iter().map(|m| m.symbol.to_owned()).collect();
    let windows = names.iter().map(|n| format!("    {n}: [{{from: 2025-06-23, to: 2025-06-27}}]\n"));
    let universe = format!("universe:\n  equities_bars_minute:\n{}", windows.collect::<String>());

    let alone = Node::new(&universe, SEEDED_NIGHT).vendor("alpaca", &alpaca.url);
    at(&alone, SEEDED_NIGHT);
    let day = day_number(ODD_DAY.parse().unwrap());
    let shown = |n: &Node| {
        let all = reasons(&verdicts::ledger(n), Dataset::EquitiesBarsMinute);
        assert!(all.iter().all(|(_, d, _)| *d == day), "{all:?}");
        all.into_iter().map(|(s, _, r)| (s, r)).collect::<Vec<_>>()
    };
    let is = |s: &str, r: &[&'static str]| (s.to_owned(), r.to_vec());
    let flat = is("FLAT", &["flat_line"]);
    let shifted = is("SHIFTED", &["hole", "misread_timestamps"]);
    assert_eq!(shown(&alone), [is("FILLED", &["hole"]), flat.clone(), shifted.clone(), is("SILENT", &["hole"])]);

    let both = Node::new(&universe, SEEDED_NIGHT).vendor("alpaca", &alpaca.url).vendor("massive", &massive.url);
    at(&both, SEEDED_NIGHT);
    let got = shown(&both);
    assert!(!got.iter().any(|(s, _)| s == "FILLED" || s == "WHOLE"), "another vendor had them: {got:?}");
    assert!(got.contains(&is("SILENT", &["no_trade_minutes"])), "nobody has them: {got:?}");
    assert!(
        got.contains(&flat) && got.iter().any(|(s, r)| s == "SHIFTED" && r.contains(&"misread_timestamps")),
        "{got:?}"
    );
}
