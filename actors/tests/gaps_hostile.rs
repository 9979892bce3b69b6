//! What breaks the truth about gaps and verdicts: rows that cannot be and are GREEN, evidence that is forgotten, verdicts that
//! come and go without a new fact. Each test says what must be true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod queue_support;

use datanode_actors::audit::{self, AuditCounters, audit};
use datanode_actors::curate::curate;
use datanode_actors::frame::{Action, ActionKind, Bar, Cell, Origin, Row, Table};
use datanode_actors::node::{Node, RunContext};
use datanode_actors::qc::{judge, qc};
use datanode_actors::quarantine::Span;
use datanode_actors::queue::{Claimed, Next, Told, desk};
use datanode_actors::raw::keep;
use datanode_actors::vendor::{Fetched, Purpose, Refusal, Rejects};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{Clock, Hands, day_number};
use datanode_schema::keys::{Month, PageKey};
use datanode_schema::names::{Absence, Dataset, Reason, Vendor, Verdict};
use datanode_schema::records::{Answer, GapPage, GapTask, HoldingDay, LedgerDay, LedgerPage, Print, Silence};
use datanode_schema::registry::{Amber, DatasetRule, Registry, Sources};
use datanode_schema::store::Batch;
use datanode_schema::trees::{CURATED, GAPS, LEDGER, TOUCHED};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const BARS: Dataset = Dataset::EquitiesBars;
const MINUTES: Dataset = Dataset::EquitiesBarsMinute;

struct World {
    dir: tempfile::TempDir,
    hands: Arc<Hands>,
    node: Arc<Node>,
}

fn world(now: &str, vendors: &[Vendor], change: impl Fn(&mut Sources)) -> World {
    let dir = tempfile::tempdir().unwrap();
    let unix = now.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
    let hands = Arc::new(Hands { unix: unix.into(), since_boot_ms: 1_000.into() });
    let node = open(dir.path(), &hands, vendors, change);
    World { dir, hands, node }
}

fn open(dir: &Path, hands: &Arc<Hands>, vendors: &[Vendor], change: impl Fn(&mut Sources)) -> Arc<Node> {
    let mut sources = Sources::read(None, None, None).unwrap();
    change(&mut sources);
    let clock = Clock::by_hand(hands.clone());
    let node = queue_support::node(dir, clock, 60_000, vendors, Registry::parse(&sources).unwrap());
    node.queue.open(&node).unwrap();
    node
}

fn universe(s: &mut Sources, text: &str) {
    s.universe = ("universe.yaml".into(), format!("universe:\n{text}"));
}

fn run(node: &Node, id: &str, as_of: &str) -> RunContext {
    RunContext::new(id.into(), as_of.parse().unwrap(), node.clock.now(), None)
}

fn day(text: &str) -> i32 {
    day_number(text.parse().unwrap())
}

fn bar(price: f64) -> Bar {
    Bar { open: price, high: price, low: price, close: price, volume: 100.0, trades: None, vwap: None }
}

impl World {
    /// The process ends, and another one begins with these vendors and settings.
    fn again(self, vendors: &[Vendor], change: impl Fn(&mut Sources)) -> World {
        let Self { dir, hands, node } = self;
        node.store.clone().close().unwrap();
        drop(node);
        let node = open(dir.path(), &hands, vendors, change);
        World { dir, hands, node }
    }

    fn a_day_later(&self) {
        self.hands.unix.fetch_add(86_400, Ordering::Relaxed);
    }

    fn next(&self, run: &RunContext, vendor: Vendor) -> Option<Claimed> {
        for _ in 0..20_000 {
            match self.node.queue.next(&self.node, run, vendor).unwrap() {
                Next::Work(c) => return Some(*c),
                Next::Wait(ms) => _ = self.hands.since_boot_ms.fetch_add(ms, Ordering::Relaxed),
                Next::Done => return None,
            }
        }
        None
    }

    fn answer(&self, run: &RunContext, c: &Claimed, rows: BTreeMap<String, Vec<(i64, Cell)>>) {
        let refusal: Option<Refusal> = None;
        let f = Fetched {
            ask: c.ask.clone(),
            rows,
            refusal,
            pages: 1,
            bytes: 1,
            body_blake3: String::new(),
            rejects: Rejects::default(),
            kept_bodies: Vec::new(),
            fetched_at: self.node.clock.now(),
            elapsed_ms: 1,
        };
        let told = Told::of(&f);
        let kept = keep(&self.node, run, c, f);
        self.node.queue.settle(&self.node, c, told).unwrap();
        kept.unwrap();
    }

    /// Audit, ingest and backfill with each vendor's answers by day and symbol, audit again. Gives the counters of both audits.
    fn night(
        &self,
        id: &str,
        as_of: &str,
        vendors: &[Vendor],
        says: impl Fn(Vendor, Dataset, &str, i32) -> Option<Cell>,
    ) -> [AuditCounters; 2] {
        let run = run(&self.node, id, as_of);
        let first = audit(&self.node, &run, audit::Scope::Everything).unwrap();
        for purpose in [Purpose::Ingest, Purpose::Backfill] {
            self.node.queue.begin(&self.node, &run, purpose).unwrap();
            for v in vendors {
                while let Some(c) = self.next(&run, *v) {
                    let mut rows: BTreeMap<String, Vec<(i64, Cell)>> = BTreeMap::new();
                    for d in Calendar::Xnys.session_dates(c.ask.from, c.ask.to) {
                        let d = day_number(d);
                        for s in c.ask.symbols.iter().filter(|_| c.ask.wants(d)) {
                            if let Some(cell) = says(*v, c.ask.dataset, s, d) {
                                rows.entry(s.clone()).or_default().push((i64::from(d), cell));
                            }
                        }
                    }
                    self.answer(&run, &c, rows);
                }
            }
        }
        let second = audit(&self.node, &run, audit::Scope::WithGaps).unwrap();
        [first, second]
    }

    fn tasks(&self, dataset: Dataset, symbol: &str) -> Vec<GapTask> {
        let all = self.node.store.load_all(&GAPS, &datanode_schema::keys::SeriesKey::prefix(dataset, symbol)).unwrap();
        all.into_iter().flat_map(|(k, p)| p.tasks(k.month.first_day())).collect()
    }

    fn ledger(&self, dataset: Dataset, symbol: &str) -> Vec<LedgerDay> {
        let prefix = datanode_schema::keys::SeriesKey::prefix(dataset, symbol);
        let all = self.node.store.load_all(&LEDGER, &prefix).unwrap();
        all.into_iter().flat_map(|(k, p)| p.days(k.month.first_day())).collect()
    }
}

fn rule(dataset: Dataset) -> DatasetRule {
    Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&dataset].clone()
}

fn table(rows: Vec<(i64, Cell)>) -> Table {
    let rows = rows.into_iter().map(|(when, cell)| Row { when, cell, origin: 0 }).collect();
    Table { rows, origins: vec![Origin { vendor: Vendor::Alpaca, feed: "sip".into(), request_id: "r".into() }] }
}

fn verdict_of(dataset: Dataset, on: &str, rows: Vec<(i64, Cell)>) -> (Verdict, Vec<&'static str>) {
    let t = table(rows);
    let reasons = judge(dataset, &rule(dataset), day(on), &t, &t.rows).reasons;
    (Reason::worst(reasons), Reason::names(reasons))
}

/// A print holds prices as f32: what overflows it, or vanishes in it, is taken for "no price", and then no jump and no outlier
/// is looked for. Such a price is no price.
#[test]
fn a_price_that_no_print_can_hold_is_red() {
    for price in [1e300, 1e39, 1e-300, f64::MIN_POSITIVE / 4.0] {
        let (verdict, reasons) =
            verdict_of(BARS, "2025-06-10", vec![(i64::from(day("2025-06-10")), Cell::Bar(bar(price)))]);
        assert_eq!(verdict, Verdict::Red, "{price:e} is {verdict} {reasons:?}");
    }
    let volume = Bar { volume: 1e300, ..bar(10.0) };
    let (verdict, _) = verdict_of(BARS, "2025-06-10", vec![(i64::from(day("2025-06-10")), Cell::Bar(volume))]);
    assert_eq!(verdict, Verdict::Red, "a volume of 1e300");
}

/// The optional columns are curated and shipped as the others are.
#[test]
fn an_average_price_and_a_count_of_trades_that_cannot_be_are_red() {
    let on = "2025-06-10";
    for b in [
        Bar { vwap: Some(f64::NAN), ..bar(10.0) },
        Bar { vwap: Some(f64::INFINITY), ..bar(10.0) },
        Bar { vwap: Some(-3.0), ..bar(10.0) },
        Bar { trades: Some(-7), ..bar(10.0) },
    ] {
        let (verdict, reasons) = verdict_of(BARS, on, vec![(i64::from(day(on)), Cell::Bar(b))]);
        assert_eq!(verdict, Verdict::Red, "{b:?} is {verdict} {reasons:?}");
    }
}

/// Bars of half a minute in a table of minutes: twice as many rows as the session has minutes.
#[test]
fn more_rows_than_the_session_has_minutes_are_seen() {
    let on = "2025-06-10";
    let open = Calendar::Xnys.session(on.parse().unwrap()).unwrap().open.timestamp_nanos_opt().unwrap();
    let rows = (0..780).map(|i| (open + i * 30_000_000_000, Cell::Bar(Bar { volume: 100.0 + i as f64, ..bar(10.0) })));
    let (verdict, reasons) = verdict_of(MINUTES, on, rows.collect());
    assert_eq!((verdict, reasons), (Verdict::Red, vec!["too_many_rows"]));
}

/// The audit and whoever keeps an answer count the vendors that have a session in the same way: a plan that does not reach back so
/// far is no vendor of the session. Else what was explained in the night is missing at its end, every night anew.
#[test]
fn what_the_only_vendor_within_its_plan_explained_stays_explained() {
    let both = [Vendor::Alpaca, Vendor::Massive];
    let w = world("2020-02-01T02:00:00Z", &both, |s| {
        universe(s, "  equities_bars:\n    AAPL: [{from: 2018-01-02, to: 2018-01-05}]\n");
        s.capabilities.1 = s.capabilities.1.replacen(
            "{preference: 80, feed: sip, adjustment: raw, max_symbols: 1, max_rows: 50000}",
            "{preference: 80, feed: sip, adjustment: raw, max_symbols: 1, max_rows: 50000, entitlement: {history_days: 365}}",
            1,
        );
    });
    let says = |_, _, _: &str, d| (d != day("2018-01-04")).then_some(Cell::Bar(bar(10.0)));
    for i in 0..3 {
        w.night(&format!("r{i}"), "2020-01-31", &both, says);
        w.a_day_later();
    }
    let tasks = w.tasks(BARS, "AAPL");
    assert_eq!(tasks.len(), 1);
    assert_eq!(Absence::from_number(tasks[0].state), Some(Absence::Explained), "{tasks:?}");
    let [_, second] = w.night("r3", "2020-01-31", &both, says);
    assert_eq!(second.pages_written, 0);
}

/// The only vendor is switched off for a night (its key is renewed, say): what it said goes on to be true.
#[test]
fn a_night_without_vendors_takes_no_explanation_back() {
    let text = |s: &mut Sources| universe(s, "  equities_bars:\n    AAPL: [{from: 2020-01-02, to: 2020-01-10}]\n");
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], text);
    let says = |_, _, _: &str, d| (d != day("2020-01-07")).then_some(Cell::Bar(bar(10.0)));
    for i in 0..3 {
        w.night(&format!("r{i}"), "2020-01-31", &[Vendor::Alpaca], says);
        w.a_day_later();
    }
    let explained = |w: &World| {
        let states = w.tasks(BARS, "AAPL").into_iter().map(|t| Absence::from_number(t.state).unwrap());
        states.collect::<Vec<_>>()
    };
    assert_eq!(explained(&w), [Absence::Explained]);
    let w = w.again(&[], text);
    let [first, second] = w.night("r9", "2020-01-31", &[], says);
    assert_eq!(explained(&w), [Absence::Explained]);
    assert_eq!((first.pages_written, second.pages_written), (0, 0));
}

/// The same for events: twenty years of days on which nothing happened do not become missing sessions.
#[test]
fn a_night_without_vendors_does_not_miss_events_that_were_answered_for() {
    let text = |s: &mut Sources| universe(s, "  corporate_actions:\n    AAPL: [{from: 2019-01-02, to: 2020-01-10}]\n");
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], text);
    let split = Cell::Action(Action { kind: ActionKind::Split, ratio: Some(2.0), cash: None });
    let says = |_, _, _: &str, d| (d == day("2019-06-03")).then(|| split.clone());
    let [_, second] = w.night("r0", "2020-01-31", &[Vendor::Alpaca], says);
    assert_eq!(second.missing, 0);
    w.a_day_later();
    let w = w.again(&[], text);
    let [first, _] = w.night("r1", "2020-01-31", &[], says);
    assert_eq!((first.missing, first.pages_written), (0, 0));
}

/// What another vendor of the past said is no word of the one that is now the only one: it was never asked.
#[test]
fn a_vendor_that_was_never_asked_is_no_sole_witness() {
    let said = |vendor: Vendor| Answer {
        vendor: vendor.number(),
        outcome: datanode_schema::names::Outcome::Empty.number(),
        days: 2,
        attempts: 0,
        last_day: day("2020-01-20"),
    };
    let text = |s: &mut Sources| universe(s, "  equities_bars:\n    AAPL: [{from: 2020-01-07, to: 2020-01-07}]\n");
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Massive], text);
    let key = PageKey { dataset: BARS, symbol: "AAPL".into(), month: Month::of("2020-01-07".parse().unwrap()) };
    let task = GapTask {
        day: day("2020-01-07"),
        state: Absence::Missing.number(),
        why: 0,
        expected: 1,
        rows: 0,
        discovered_at: 5,
        answers: vec![said(Vendor::Alpaca)],
    };
    let mut batch = Batch::new();
    batch.put(&GAPS, &key, &GapPage::pack(key.month.first_day(), vec![task])).unwrap();
    w.node.store.commit(batch).unwrap();
    audit(&w.node, &run(&w.node, "r1", "2020-01-31"), audit::Scope::Everything).unwrap();
    assert_eq!(Absence::from_number(w.tasks(BARS, "AAPL")[0].state), Some(Absence::Missing), "Massive may have it");
}

/// A symbol leaves the universe for a night, by a slip of the editor, and comes back.
#[test]
fn a_symbol_that_comes_back_to_the_universe_has_its_evidence_and_what_was_said_by_hand() {
    let aapl = "    AAPL: [{from: 2020-01-02, to: 2020-01-10}]\n";
    let other = "    MSFT: [{from: 2020-01-02, to: 2020-01-10}]\n";
    let whole = |s: &mut Sources| universe(s, &format!("  equities_bars:\n{aapl}{other}"));
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], whole);
    let says = |_, _, _: &str, d| (d != day("2020-01-07") && d != day("2020-01-09")).then_some(Cell::Bar(bar(10.0)));
    w.night("r0", "2020-01-31", &[Vendor::Alpaca], says);
    let given_up = desk::Filter {
        dataset: Some(BARS),
        symbol: Some("AAPL".into()),
        from: Some("2020-01-09".parse().unwrap()),
        to: Some("2020-01-09".parse().unwrap()),
    };
    assert_eq!(desk::cancel(&w.node, &given_up).unwrap(), 1);
    let before = w.tasks(BARS, "AAPL");
    let w = w.again(&[Vendor::Alpaca], |s| universe(s, &format!("  equities_bars:\n{other}")));
    audit(&w.node, &run(&w.node, "r1", "2020-01-31"), audit::Scope::Everything).unwrap();
    let w = w.again(&[Vendor::Alpaca], whole);
    audit(&w.node, &run(&w.node, "r2", "2020-01-31"), audit::Scope::Everything).unwrap();
    assert_eq!(w.tasks(BARS, "AAPL"), before);
}

/// The one raw file of a month is found damaged and set aside. What was built from it must not go on to ship, and must not
/// keep packs from being made for ever.
#[test]
fn a_curated_file_of_which_raw_has_nothing_left_goes() {
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], |s| {
        universe(s, "  corporate_actions:\n    AAPL: [{from: 2019-01-02, to: 2020-01-10}]\n");
    });
    let split = Cell::Action(Action { kind: ActionKind::Split, ratio: Some(2.0), cash: None });
    w.night("r0", "2020-01-31", &[Vendor::Alpaca], |_, _, _, d| (d == day("2019-06-03")).then(|| split.clone()));
    curate(&w.node).unwrap();
    qc(&w.node).unwrap();
    assert_eq!(w.node.store.load_all(&CURATED, &[]).unwrap().len(), 1);
    let raw = w.node.data.raw().join("alpaca/corporate_actions/year=2019/symbol=AAPL/data.parquet");
    std::fs::write(&raw, b"not a table").unwrap();
    audit::deep(&w.node).unwrap();
    assert!(!raw.exists(), "it was set aside");
    // The vendor has withdrawn the action meanwhile.
    w.a_day_later();
    w.night("r1", "2020-01-31", &[Vendor::Alpaca], |_, _, _, _| None);
    curate(&w.node).unwrap();
    qc(&w.node).unwrap();
    assert!(w.node.store.load_all(&TOUCHED, &[]).unwrap().is_empty());
    let left = w.ledger(Dataset::CorporateActions, "AAPL").iter().filter(|d| d.rows > 0).count();
    let files = w.node.store.load_all(&CURATED, &[]).unwrap();
    assert_eq!((left, files.len()), (0, 0), "raw has no row, and the curated file with the split goes on to ship");
}

/// A symbol left the universe; later its raw file is found damaged. The month is curated without it.
#[test]
fn the_ledger_forgets_rows_that_the_curated_file_no_longer_has() {
    let both = |s: &mut Sources| {
        universe(
            s,
            "  equities_bars:\n    AAPL: [{from: 2020-01-02, to: 2020-01-10}]\n    MSFT: [{from: 2020-01-02, to: 2020-01-10}]\n",
        );
    };
    let one = |s: &mut Sources| universe(s, "  equities_bars:\n    MSFT: [{from: 2020-01-02, to: 2020-01-10}]\n");
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], both);
    w.night("r0", "2020-01-31", &[Vendor::Alpaca], |_, _, _, _| Some(Cell::Bar(bar(10.0))));
    curate(&w.node).unwrap();
    qc(&w.node).unwrap();
    w.a_day_later();
    let w = w.again(&[Vendor::Alpaca], one);
    let raw = w.node.data.raw().join("alpaca/equities_bars/year=2020/symbol=AAPL/data.parquet");
    std::fs::write(&raw, b"not a table").unwrap();
    audit::deep(&w.node).unwrap();
    w.night("r1", "2020-01-31", &[Vendor::Alpaca], |_, _, _, _| None);
    curate(&w.node).unwrap();
    qc(&w.node).unwrap();
    let judged: u64 = ["AAPL", "MSFT"].iter().flat_map(|s| w.ledger(BARS, s)).map(|d| u64::from(d.rows)).sum();
    let curated: u64 = w.node.store.load_all(&CURATED, &[]).unwrap().iter().map(|(_, f)| f.rows).sum();
    assert_eq!(judged, curated, "the exporter refuses every pack while these differ, and nothing makes them equal");
}

/// "What came up since nobody has looked at: it is held again."
#[test]
fn a_release_without_an_end_lets_nothing_pass_that_is_of_a_later_day() {
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], |s| {
        universe(s, "  equities_bars:\n    AAPL: [{from: 2020-01-02}]\n");
    });
    let thin = |d: i32| LedgerDay {
        day: d,
        verdict: Verdict::Amber.number(),
        reasons: Reason::OUTLIER.bit,
        expected: 1,
        rows: 1,
        vendor: 2,
        context: 1,
        first_seen: 1,
        updated_at: 1,
        print: Print::default(),
    };
    let put = |d: i32| {
        let month = Month::of(datanode_schema::clock::date_of(d));
        let key = PageKey { dataset: BARS, symbol: "AAPL".into(), month };
        let mut batch = Batch::new();
        batch.put(&LEDGER, &key, &LedgerPage::pack(month.first_day(), &[thin(d)])).unwrap();
        w.node.store.commit(batch).unwrap();
    };
    put(day("2020-01-10"));
    let span = Span { dataset: BARS, symbol: "AAPL".into(), from: i32::MIN, to: i32::MAX };
    w.node.acts.release(&span, Amber::Hold, "uid 1", "looked at the tenth").unwrap();
    // A month later an outlier of another day, that nobody has seen.
    put(day("2020-03-10"));
    w.node.acts.settle_all().unwrap();
    let of = |d: &str| w.ledger(BARS, "AAPL").into_iter().find(|l| l.day == day(d)).unwrap().reasons;
    assert_ne!(of("2020-01-10") & Reason::RELEASED.bit, 0);
    assert_eq!(of("2020-03-10") & Reason::RELEASED.bit, 0, "it ships, and nobody has looked at it");
}

/// Two vendors; the better one's bars lack half an hour, the other one trades so seldom that not all of its silences are noted.
#[test]
fn a_silence_that_was_not_noted_fills_no_hole() {
    let rule = rule(MINUTES);
    let minute = |i: u16| (14 * 60 + 30 + i64::from(i)) * 60_000_000_000;
    // 2020-01-07, in winter: 14:30 UTC. Thin: one bar every 26 minutes, so that fifteen silences of 25 minutes are there.
    let midnight = i64::from(day("2020-01-07")) * 86_400_000_000_000;
    let thin: Vec<i64> = (0..15u16).map(|i| midnight + minute(i * 26)).collect();
    let held = |stamps: &[i64]| datanode_actors::raw::holding_day(MINUTES, Calendar::Xnys, day("2020-01-07"), stamps);
    let thin = held(&thin);
    let noted: Vec<Silence> = thin.silent.clone();
    // The silences that were not noted are those that come last: 13 and 14.
    let lost = (0..15u16).map(|i| i * 26 + 1).find(|from| !noted.iter().any(|s| s.from == *from)).unwrap();
    let rest = (0..390u16).filter(|m| !(lost..lost + 25).contains(m));
    let liquid = held(&rest.map(|m| midnight + minute(m)).collect::<Vec<i64>>());
    let alone = audit::holes(&rule, 390, &liquid);
    assert_eq!(alone.len(), 1);
    let together: HoldingDay = audit::union([liquid, thin]).unwrap();
    assert_eq!(audit::holes(&rule, 390, &together).len(), 1, "nobody has a row there, and no task is left for it");
}

/// A hold is given while QC writes the status file: the pack's file says what its manifest says.
#[test]
fn what_is_held_while_the_status_file_is_written_is_in_the_next_one() {
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], |s| {
        universe(s, "  equities_bars:\n    AAPL: [{from: 2020-01-02}]\n");
    });
    let month = Month::of("2020-01-01".parse().unwrap());
    let entry = LedgerDay {
        day: month.first_day() + 9,
        verdict: Verdict::Green.number(),
        reasons: 0,
        expected: 1,
        rows: 1,
        vendor: 2,
        context: 1,
        first_seen: 1,
        updated_at: 1,
        print: Print::default(),
    };
    let mut batch = Batch::new();
    let names: Vec<String> =
        std::iter::once("AAPL".to_owned()).chain((0..20_000).map(|i| format!("S{i:05}"))).collect();
    for symbol in names {
        let key = PageKey { dataset: BARS, symbol, month };
        batch.put(&LEDGER, &key, &LedgerPage::pack(month.first_day(), std::slice::from_ref(&entry))).unwrap();
        if batch.len() >= 2_000 {
            w.node.store.commit(std::mem::take(&mut batch)).unwrap();
        }
    }
    w.node.store.commit(batch).unwrap();
    qc(&w.node).unwrap();
    let span = Span { dataset: BARS, symbol: "AAPL".into(), from: entry.day, to: entry.day };
    let mut lost = 0;
    for i in 0..10u32 {
        let mut dirty = Batch::new();
        dirty.put(&datanode_schema::trees::COUNTERS, &"status_dirty".to_owned(), &1).unwrap();
        w.node.store.commit(dirty).unwrap();
        let before = std::fs::metadata(w.node.data.partition_status()).ok().and_then(|m| m.modified().ok());
        std::thread::scope(|s| {
            s.spawn(|| qc(&w.node).unwrap());
            s.spawn(|| {
                for _ in 0..(i * 300_000) {
                    std::hint::spin_loop();
                }
                if i % 2 == 0 {
                    w.node.acts.hold(&span, "uid 1", "x").unwrap();
                } else {
                    w.node.acts.release(&span, Amber::Ship, "uid 1", "x").unwrap();
                }
            });
        });
        let _ = before;
        // As the exporter does before it packs.
        datanode_actors::qc::refresh_status(&w.node).unwrap();
        let text = String::from_utf8_lossy(&std::fs::read(w.node.data.partition_status()).unwrap()).into_owned();
        let held = w.ledger(BARS, "AAPL")[0].reasons & Reason::HELD.bit != 0;
        assert_eq!(held, i % 2 == 0);
        lost += u32::from(text.contains("held") != held);
    }
    assert_eq!(lost, 0, "of 10 acts: the ledger says so, and the file that ships does not");
}

/// An action that never ships, because a person labelled it invalid, explains no jump.
#[test]
fn an_action_that_is_labelled_invalid_explains_no_jump() {
    let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], |s| {
        universe(
            s,
            "  equities_bars:\n    AAPL: [{from: 2019-12-02, to: 2020-01-10}]\n  corporate_actions:\n    AAPL: [{from: 2019-12-02, to: 2020-01-10}]\n",
        );
    });
    let split = Cell::Action(Action { kind: ActionKind::Split, ratio: Some(2.0), cash: None });
    let at = day("2020-01-06");
    w.night("r0", "2020-01-31", &[Vendor::Alpaca], |_, dataset, _, d| match dataset {
        Dataset::CorporateActions => (d == at).then(|| split.clone()),
        _ => Some(Cell::Bar(bar(if d < at { 100.0 } else { 50.0 }))),
    });
    curate(&w.node).unwrap();
    qc(&w.node).unwrap();
    let of = |w: &World| {
        let l = w.ledger(BARS, "AAPL").into_iter().find(|l| l.day == at).unwrap();
        Reason::names(l.reasons).join(",")
    };
    assert_eq!(of(&w), "jump_confirmed");
    let what = datanode_actors::quarantine::Opening {
        artifact: datanode_actors::quarantine::Artifact::parse("corporate_actions/AAPL/2020-01-06").unwrap(),
        kind: datanode_schema::names::IncidentKind::UnexpectedSchema,
        label: datanode_schema::names::IncidentLabel::Invalid,
        note: "no such split".into(),
        replacement: String::new(),
        evidence: String::new(),
    };
    w.node.acts.open(&what, "uid 1").unwrap();
    qc(&w.node).unwrap();
    assert!(of(&w).contains("unexplained_jump"), "the split is RED and never ships");
}

/// Foreign rows of an earlier listing: the symbol leaves the universe, and its rows go on to ship.
#[test]
fn rows_of_an_earlier_listing_stay_marked_when_the_symbol_leaves_the_universe() {
    let text = |s: &mut Sources| {
        universe(
            s,
            "  equities_bars:\n    AAPL: [{from: 2019-01-02, to: 2020-01-10}]\n    MSFT: [{from: 2020-01-02, to: 2020-01-10}]\n",
        );
        s.datasets.1 = s.datasets.1.replace("relisted_after: 60", "relisted_after: 20");
    };
    let one = |s: &mut Sources| {
        universe(s, "  equities_bars:\n    MSFT: [{from: 2020-01-02, to: 2020-01-10}]\n");
        s.datasets.1 = s.datasets.1.replace("relisted_after: 60", "relisted_after: 20");
    };
    let both = [Vendor::Alpaca, Vendor::Massive];
    let w = world("2020-02-01T02:00:00Z", &both, text);
    let says = |_, _, _: &str, d| (d < day("2019-03-01") || d > day("2019-06-01")).then_some(Cell::Bar(bar(10.0)));
    for i in 0..3 {
        w.night(&format!("r{i}"), "2020-01-31", &both, says);
        curate(&w.node).unwrap();
        qc(&w.node).unwrap();
        w.a_day_later();
    }
    let marked = |w: &World| {
        let all = w.ledger(BARS, "AAPL");
        all.iter().filter(|d| d.rows > 0 && d.reasons & Reason::EARLIER_LISTING.bit != 0).count()
    };
    assert_eq!(marked(&w), 40);
    let w = w.again(&both, one);
    audit(&w.node, &run(&w.node, "r9", "2020-01-31"), audit::Scope::Everything).unwrap();
    qc(&w.node).unwrap();
    assert_eq!(marked(&w), 40, "the same rows ship as before, as GREEN now");
}

/// Three years of one symbol with jumps, splits, outliers and values that stand still: whatever comes first, the verdicts are the same.
#[test]
fn verdicts_do_not_depend_on_the_order_in_which_months_and_actions_come() {
    let (from, to) = ("2017-01-03", "2019-12-31");
    let price = |d: i32| {
        let mut p = 100.0 + f64::from((d * 7919).rem_euclid(97)) / 50.0;
        if d >= day("2017-08-07") {
            p /= 2.0;
        }
        if d >= day("2018-03-01") {
            p *= 1.7;
        }
        if d == day("2018-10-10") {
            p *= 1.25;
        }
        if (day("2019-02-01")..day("2019-03-04")).contains(&d) {
            p = 61.0;
        }
        if d >= day("2019-09-03") {
            p /= 3.0;
        }
        p
    };
    let cell = |dataset: Dataset, d: i32| match dataset {
        Dataset::CorporateActions => {
            let split = |ratio| Some(Cell::Action(Action { kind: ActionKind::Split, ratio: Some(ratio), cash: None }));
            match d {
                d if d == day("2017-08-07") => split(2.0),
                d if d == day("2019-09-03") => split(3.0),
                d if d == day("2018-06-04") => split(4.0),
                _ => None,
            }
        }
        _ => {
            let still = (day("2019-02-01")..day("2019-03-04")).contains(&d);
            let volume = if still { 5e5 } else { 1e6 + f64::from((d * 31).rem_euclid(1000)) * 100.0 };
            Some(Cell::Bar(Bar { volume, ..bar(price(d)) }))
        }
    };
    let months: Vec<Month> =
        (Month::of(from.parse().unwrap()).0..=Month::of(to.parse().unwrap()).0).map(Month).collect();
    let verdicts = |order: &[usize], actions_at: usize| {
        let w = world("2020-02-01T02:00:00Z", &[Vendor::Alpaca], |s| {
            universe(
                s,
                &format!(
                    "  equities_bars:\n    AAPL: [{{from: {from}, to: {to}}}]\n  corporate_actions:\n    AAPL: [{{from: {from}, to: {to}}}]\n"
                ),
            );
        });
        for (i, at) in order.iter().enumerate() {
            let m = months[*at];
            let window = Some((m.first(), m.last()));
            let run = RunContext::new(format!("r{i}"), "2020-01-31".parse().unwrap(), w.node.clock.now(), window);
            audit(&w.node, &run, audit::Scope::Everything).unwrap();
            w.node.queue.begin(&w.node, &run, Purpose::Ingest).unwrap();
            while let Some(c) = w.next(&run, Vendor::Alpaca) {
                let mut rows: BTreeMap<String, Vec<(i64, Cell)>> = BTreeMap::new();
                for d in Calendar::Xnys.session_dates(c.ask.from, c.ask.to).into_iter().map(day_number) {
                    let wanted = c.ask.wants(d) && (c.ask.dataset != Dataset::CorporateActions || i >= actions_at);
                    if let Some(cell) = cell(c.ask.dataset, d).filter(|_| wanted) {
                        rows.entry("AAPL".into()).or_default().push((i64::from(d), cell));
                    }
                }
                w.answer(&run, &c, rows);
            }
            curate(&w.node).unwrap();
            qc(&w.node).unwrap();
        }
        let again = qc(&w.node).unwrap();
        assert_eq!(again.pages_written, 0);
        w.ledger(BARS, "AAPL")
            .into_iter()
            .map(|d| (datanode_schema::clock::date_of(d.day), Reason::names(d.reasons).join(",")))
            .collect::<Vec<_>>()
    };
    let ascending: Vec<usize> = (0..months.len()).collect();
    let want = verdicts(&ascending, 0);
    for reason in ["jump_confirmed", "unexplained_jump", "split_not_seen", "outlier", "stale"] {
        assert!(want.iter().any(|(_, r)| r.contains(reason)), "{reason}");
    }
    for seed in 1..6usize {
        let mut order = ascending.clone();
        order.sort_by_key(|i| (i * 7919 * seed + seed * 104_729) % 1009);
        let got = verdicts(&order, 0);
        let differ: Vec<_> = got.iter().zip(&want).filter(|(a, b)| a != b).take(5).collect();
        assert!(differ.is_empty(), "order {seed}: {differ:?}");
    }
}

/// A liquid symbol's volume is zero for a day: nothing was counted, or nothing traded. Neither is like the sessions before.
#[test]
fn a_volume_of_zero_is_an_outlier_of_a_liquid_symbol() {
    use datanode_actors::qc::{Series, relate};
    let rule = rule(BARS);
    let days: Vec<i32> = (18_000..18_050).collect();
    let volume = |d: i32| if d == 18_049 { 0.0 } else { 1e6 + (d % 7) as f32 * 1e4 };
    let of = |d: &i32| LedgerDay {
        day: *d,
        verdict: 1,
        reasons: 0,
        expected: 1,
        rows: 1,
        vendor: 2,
        context: 1,
        first_seen: 0,
        updated_at: 0,
        print: Print {
            digest: [1; 16],
            open: 10.0 + (d % 3) as f32 / 10.0,
            close: 10.0 + (d % 5) as f32 / 10.0,
            volume: volume(*d),
        },
    };
    let sessions: Vec<LedgerDay> = days.iter().map(of).collect();
    let (actions, seconds, notes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let series = Series {
        dataset: BARS,
        rule: &rule,
        sessions: &sessions,
        actions: &actions,
        seconds: &seconds,
        notes: &notes,
        breaks: &[],
    };
    let got = relate(&series, 18_049, 18_049);
    assert_eq!(Reason::names(got[0].1), ["outlier"]);
}

/// Both vendors are late with the newest session of a symbol that trades every day: an hour after each other they say "nothing", and
/// two agree. The lookback is there for late rows: the next night they are there to be had.
#[test]
fn the_newest_session_that_two_late_vendors_lacked_is_asked_for_again() {
    let both = [Vendor::Alpaca, Vendor::Massive];
    let w = world("2020-01-11T02:00:00Z", &both, |s| {
        universe(s, "  equities_bars:\n    AAPL: [{from: 2019-12-02}]\n");
    });
    w.night("r0", "2020-01-10", &both, |_, _, _, d| (d != day("2020-01-10")).then_some(Cell::Bar(bar(10.0))));
    for (i, as_of) in ["2020-01-13", "2020-01-14", "2020-01-15"].into_iter().enumerate() {
        w.hands.unix.fetch_add(if i == 0 { 3 } else { 1 } * 86_400, Ordering::Relaxed);
        w.night(&format!("n{i}"), as_of, &both, |_, _, _, _| Some(Cell::Bar(bar(10.0))));
    }
    assert_eq!(w.tasks(BARS, "AAPL"), [], "three nights in which both vendors had the tenth, and nobody asked");
}
