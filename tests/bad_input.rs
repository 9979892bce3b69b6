//! Wrong settings are refused before anything is done; wrong answers are recorded, kept and never believed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::manifest::Line;
use datanode_schema::names::{Dataset, Outcome, Vendor};
use datanode_vendorsim as sim;
use serde_json::Value;
use std::time::Instant;
use support::{Live, Node, SEEDED_NIGHT, Sim, counts, stage, tree};

const UNIVERSE: &str = "universe:\n  equities_bars:\n    AAAA: [{from: 2025-06-02, to: 2025-06-30}]\n";

fn alone(sim: &Sim, vendors: &[&str], universe: &str) -> Node {
    Node::new(universe, SEEDED_NIGHT).vendors(vendors, sim)
}

/// All stages before the pack, for nights on which nothing at all arrives: of nothing there is no pack.
const BEFORE_THE_PACK: [&str; 2] = ["--stages", "ingest,audit,backfill,curate,qc"];

fn two() -> String {
    format!("{UNIVERSE}    AAAB: [{{from: 2025-06-02, to: 2025-06-30}}]\n")
}

// --- settings ---

#[test]
fn an_unknown_setting_exits_2_and_names_the_nearest_known_one() {
    let mut n = Node::new(UNIVERSE, SEEDED_NIGHT);
    n.set("DATANODE__VENDORS__ALPACA__BASE_ULR", "http://localhost:1");
    n.nightly(&[]).exits(2).says(&["vendors.alpaca.base_ulr", "base_url"]);
    assert!(!n.data().exists(), "nothing is made before the settings are read");

    let n = Node::new(UNIVERSE, SEEDED_NIGHT);
    let file = n.root.path().join("datanode.toml");
    std::fs::write(&file, "[retention]\nkeep_pack = 3\n").unwrap();
    n.nightly(&["--config", file.to_str().unwrap()]).exits(2).says(&[
        "datanode.toml",
        "retention.keep_pack",
        "keep_packs",
    ]);
    n.nightly(&["--config", "absent.toml"]).exits(2).says(&["absent.toml", "init"]);
    n.nightly(&["--stages", "ingets"]).exits(2).says(&["ingest"]);
}

#[test]
fn a_secret_that_is_missing_or_literal_exits_2_without_being_shown() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = alone(&sim, &["alpaca"], UNIVERSE);
    n.set("DATANODE__VENDORS__ALPACA__KEY", "env:NOT_SET_ANYWHERE");
    n.nightly(&[]).exits(2).says(&["vendors.alpaca.key", "NOT_SET_ANYWHERE"]);
    n.set("DATANODE__VENDORS__ALPACA__KEY", "PKLITERAL0123456789");
    let ran = n.nightly(&[]).exits(2).says(&["vendors.alpaca.key", "env:NAME"]);
    assert!(!format!("{}{}", ran.out, ran.err).contains("PKLITERAL"), "the literal is repeated: {}", ran.err);
    assert_eq!(sim.stats.requests(), 0);
}

#[test]
fn no_secret_is_written_or_logged() {
    let sim = Sim::seeded(1, 1, "fred: {rules: [{action: {status: {code: 400}}}]}");
    let mut n = alone(&sim, &["alpaca", "fred"], &sim.universe);
    n.set("DATANODE__LOG__LEVEL", "trace");
    let ran = n.nightly(&[]).exits(0);
    assert!(!format!("{}{}", ran.out, ran.err).contains(support::SECRET), "the log shows the key");
    for file in tree(&n.data()).keys() {
        let bytes = std::fs::read(n.data().join(file)).unwrap_or_default();
        let found = bytes.windows(support::SECRET.len()).any(|w| w == support::SECRET.as_bytes());
        assert!(!found, "{file} holds the key");
    }
}

#[test]
fn registries_that_contradict_themselves_exit_2_with_file_and_line() {
    let ops = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/config");
    let capabilities = std::fs::read_to_string(format!("{ops}/vendor_capabilities.yaml")).unwrap();
    let datasets = std::fs::read_to_string(format!("{ops}/datasets.yaml")).unwrap();
    let with = |from: &str, to: &str, text: &str| {
        assert!(text.contains(from), "{from:?} is not in the generated file");
        text.replacen(from, to, 1)
    };
    let cases = [
        (
            "UNIVERSE",
            "universe:\n  equities_bars:\n    ../../x: [{from: 2025-06-02}]\n".to_owned(),
            ":3: ",
            "no symbol",
        ),
        (
            "UNIVERSE",
            "universe:\n  equities_bars:\n    A: [{from: 2025-06-02, to: 2025-06-01}]\n".to_owned(),
            ":3: ",
            "before it begins",
        ),
        ("UNIVERSE", "universe:\n  equity_bars:\n    A: [{from: 2025-06-02}]\n".to_owned(), ":2: ", "equities_bars"),
        (
            "UNIVERSE",
            "universe:\n  equities_bars:\n    A: [{from: 2025-06-02}]\n    A: [{from: 2025-06-03}]\n".to_owned(),
            ":",
            "duplicate",
        ),
        ("CAPABILITIES", with("preference: 80", "preference: 90", &capabilities), ":", "different preferences"),
        ("CAPABILITIES", with("concurrency: 4", "concurrency: 0", &capabilities), ":", "concurrency"),
        ("DATASETS", with("calendar: XNYS", "calendar: XNYX", &datasets), ":", "XNYS"),
        (
            "DATASETS",
            with("vendors_agree: 2", "vendors_agree: 0", &datasets),
            ":",
            "no_trade.vendors_agree: 0 is out of range",
        ),
    ];
    for (setting, text, line, word) in cases {
        let mut n = Node::new(UNIVERSE, SEEDED_NIGHT);
        let file = n.root.path().join("registry.yaml");
        std::fs::write(&file, text).unwrap();
        n.set(&format!("DATANODE__{setting}"), file.to_str().unwrap());
        let place = format!("registry.yaml{line}");
        let ran = n.nightly(&[]).exits(2).says(&[&place, word]);
        let after = ran.err.split("registry.yaml:").nth(1).unwrap();
        let number: usize =
            after.split(':').next().unwrap().parse().unwrap_or_else(|_| panic!("no line in {}", ran.err));
        assert!(number >= 1);
    }
}

#[test]
fn overrides_that_no_vendor_has_exit_2_and_say_what_to_write() {
    let sim = Sim::seeded(1, 1, "");
    for (setting, value, says) in [
        ("FEED", "spi", "vendors.alpaca.feed: alpaca has no feed \"spi\"; write one of sip, iex"),
        ("ADJUSTMENT", "row", "vendors.alpaca.adjustment: "),
        ("PER_MINUTE", "99999999", "vendors.alpaca.per_minute: 99999999 is out of range"),
    ] {
        let mut n = alone(&sim, &["alpaca"], UNIVERSE);
        n.set(&format!("DATANODE__VENDORS__ALPACA__{setting}"), value);
        n.nightly(&[]).exits(2).says(&[says]);
    }
    let n = alone(&sim, &["alpaca"], UNIVERSE);
    n.nightly(&["--max-minutes", "10081"]).exits(2).says(&["10081"]);
    n.nightly(&["--max-lookback-days", "x"]).exits(2);
}

// --- answers ---

/// The lines of a vendor for a symbol's daily bars.
fn of<'a>(lines: &'a [Line], vendor: Vendor, symbol: &str) -> Vec<&'a Line> {
    let dataset = Dataset::EquitiesBars;
    lines.iter().filter(|l| l.vendor == vendor && l.symbol == symbol && l.dataset == dataset).collect()
}

/// Every body that a line says was kept is there, not empty, below `rejects`.
fn kept(n: &Node, line: &Line) -> Vec<Vec<u8>> {
    let root = n.data().join("data_layer/rejects");
    let bodies: Vec<_> = line.rejected.iter().map(|r| std::fs::read(root.join(&r.path)).unwrap()).collect();
    assert!(bodies.iter().all(|b| !b.is_empty()));
    bodies
}

#[test]
fn an_html_page_with_status_200_is_no_answer_and_is_kept() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: html}]}");
    let n = alone(&sim, &["alpaca"], UNIVERSE);
    let done = n.nightly(&BEFORE_THE_PACK).exits(0).json();
    let lines = n.lines();
    let first = of(&lines, Vendor::Alpaca, "AAAA")[0];
    assert_eq!((first.outcome, first.rows), (Outcome::Unparsable, 0));
    assert!(first.note.contains("text/html"), "{}", first.note);
    assert!(kept(&n, first).iter().any(|b| b.starts_with(b"<!DOCTYPE html>")), "the page itself is kept");
    counts(&done, "backfill", &[("missing", 20), ("explained", 0), ("absent", 20)]);
    assert!(sim.stats.requests() <= 12, "{} requests for one window: retries are bounded", sim.stats.requests());
}

#[test]
fn a_body_cut_in_half_is_asked_again_and_a_body_that_never_parses_is_recorded() {
    for (fault, outcome) in [("truncate", Outcome::Error), ("malformed", Outcome::Unparsable)] {
        let sim = Sim::seeded(2, 1, &format!("alpaca: {{rules: [{{first: 2, action: {fault}}}]}}"));
        let n = alone(&sim, &["alpaca"], UNIVERSE);
        let done = n.nightly(&[]).exits(0).json();
        counts(&done, "ingest", &[("rows", 20), ("refusals", 1), ("requests", 3)]);
        let outcomes: Vec<Outcome> = of(&n.lines(), Vendor::Alpaca, "AAAA").iter().map(|l| l.outcome).collect();
        assert_eq!(outcomes, [outcome, Outcome::Filled], "{fault}: the third answer is whole");

        let sim = Sim::seeded(2, 1, &format!("alpaca: {{rules: [{{action: {fault}}}]}}"));
        let n = alone(&sim, &["alpaca"], UNIVERSE);
        let done = n.nightly(&BEFORE_THE_PACK).exits(0).json();
        counts(&done, "backfill", &[("missing", 20), ("explained", 0)]);
        assert_eq!(of(&n.lines(), Vendor::Alpaca, "AAAA")[0].outcome, outcome, "{fault}");
        assert_eq!(stage(&done, "qc")["judged"], 0, "{fault}: half an answer is no data");
    }
}

#[test]
fn the_other_vendor_fills_what_one_could_not_answer() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: malformed}]}");
    let n = alone(&sim, &["alpaca", "massive"], UNIVERSE);
    let done = n.nightly(&[]).exits(0).json();
    counts(&done, "backfill", &[("absent", 0), ("missing", 0)]);
    counts(&done, "export", &[("rows", 20), ("excluded", 0)]);
    assert_eq!(of(&n.lines(), Vendor::Massive, "AAAA").iter().map(|l| l.rows).sum::<u64>(), 20);
}

#[test]
fn a_high_below_its_low_is_kept_as_it_came_and_held_out_of_the_pack() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: {bad_bar: high_below_low}}]}");
    let n = alone(&sim, &["alpaca"], UNIVERSE);
    let done = n.nightly(&[]).exits(0).json();
    counts(&done, "ingest", &[("rows", 20), ("rejected", 0)]);
    counts(&done, "qc", &[("red", 1), ("green", 19)]);
    counts(&done, "export", &[("rows", 19), ("excluded", 1)]);
    let held: Vec<Value> = ["2025-06-16", "2025-06-17", "2025-06-18"]
        .iter()
        .filter_map(|d| n.excluded(&done, &format!("equities_bars/AAAA/{d}")))
        .collect();
    assert_eq!(held.len(), 1, "the middle bar is the bad one");
    assert_eq!((&held[0]["status"], &held[0]["reasons"]), (&"RED".into(), &serde_json::json!(["ohlc_order"])));
}

#[test]
fn nan_in_an_answer_is_not_json_and_the_answer_is_not_believed() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: {bad_bar: nan}}]}");
    let n = alone(&sim, &["alpaca", "massive"], UNIVERSE);
    let done = n.nightly(&[]).exits(0).json();
    let lines = n.lines();
    let first = of(&lines, Vendor::Alpaca, "AAAA")[0];
    assert_eq!((first.outcome, first.rows), (Outcome::Unparsable, 0), "{}", first.note);
    let word = kept(&n, first).iter().any(|b| String::from_utf8_lossy(b).contains("NaN"));
    assert!(word, "the body with the word is kept");
    counts(&done, "export", &[("rows", 20), ("excluded", 0)]);
}

#[test]
fn a_stamp_beyond_time_is_rejected_alone_and_its_body_kept() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: {bad_bar: out_of_range_stamp}}]}");
    let n = alone(&sim, &["alpaca"], UNIVERSE);
    let done = n.nightly(&[]).exits(0).json();
    counts(&done, "ingest", &[("rows", 19), ("rejected", 1), ("refusals", 0)]);
    let lines = n.lines();
    let first = of(&lines, Vendor::Alpaca, "AAAA")[0];
    assert_eq!((first.outcome, first.rows, first.empty_sessions), (Outcome::Short, 19, 1));
    assert_eq!(first.rejected[0].rows, 1);
    assert!(first.note.contains("AAAA"), "{}", first.note);
    assert_eq!(kept(&n, first).len(), 1);
    counts(&done, "backfill", &[("absent", 1)]);
    counts(&done, "export", &[("rows", 19)]);
}

#[test]
fn a_symbol_that_climbs_in_an_answer_writes_nothing_outside() {
    for vendor in ["alpaca", "massive"] {
        let sim = Sim::seeded(2, 1, &format!("{vendor}: {{rules: [{{action: {{bad_bar: hostile_symbol}}}}]}}"));
        let n = alone(&sim, &[vendor], UNIVERSE);
        let done = n.nightly(&BEFORE_THE_PACK).exits(0).json();
        counts(&done, "ingest", &[("rows", 0), ("rejected", 20)]);
        let lines = n.lines();
        let first = of(&lines, Vendor::from_name(vendor).unwrap(), "AAAA")[0];
        assert_eq!(first.rows, 0);
        assert!(first.note.contains("etc/passwd") && first.note.contains("not asked for"), "{}", first.note);
        assert_eq!(first.rejected.iter().map(|r| r.rows).max(), Some(20));
        assert!(!kept(&n, first).is_empty());
        let known = ["data", "universe.yaml"];
        let beside = std::fs::read_dir(n.root.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let strange: Vec<String> = beside.filter(|f| !known.contains(&f.as_str())).collect();
        assert!(strange.is_empty(), "{vendor}: written beside the data folder: {strange:?}");
        assert!(!tree(&n.data()).keys().any(|f| f.contains("passwd")), "{vendor}: a file has the hostile name");
        // Not one row was for the symbol that was asked for; that must not pass for "nothing traded".
        assert_eq!(stage(&done, "backfill")["explained"], 0, "{vendor}: {}", stage(&done, "backfill"));
    }
}

// --- budgets and entitlements ---

/// Asks of so many symbols at once, so that there are requests enough.
fn symbols_a_request(n: &mut Node, symbols: u32) {
    let ops = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/config/vendor_capabilities.yaml");
    let text = std::fs::read_to_string(ops).unwrap();
    assert!(text.contains("max_symbols: 50"), "the generated file has changed");
    let file = n.root.path().join("capabilities.yaml");
    std::fs::write(&file, text.replace("max_symbols: 50", &format!("max_symbols: {symbols}"))).unwrap();
    n.set("DATANODE__CAPABILITIES", file.to_str().unwrap());
}

#[test]
fn a_limit_of_five_a_second_is_never_broken_not_even_across_a_kill() {
    let sim = Sim::seeded(30, 1, "alpaca: {rate_limit: {per_second: 5}}");
    let mut n = alone(&sim, &["alpaca"], &sim.daily());
    n.set("DATANODE__VENDORS__ALPACA__PER_SECOND", "5");
    symbols_a_request(&mut n, 1);
    let stats = || sim.stats.vendor(sim::Vendor::Alpaca);

    n.set("DATANODE_KILL_AT", "files.published:7");
    assert_eq!(n.nightly(&["--stages", "ingest"]).code, None, "the run is killed after its seventh answer");
    let before = stats().requests;
    assert!(before >= 7, "{before}");
    n.unset("DATANODE_KILL_AT");
    let began = Instant::now();
    let done = n.nightly(&[]).exits(0).json();
    let (after, seconds) = (stats(), began.elapsed().as_secs());
    assert_eq!(after.rate_limit_violations, 0, "{after:?}");
    let asked = after.requests - before;
    assert!(asked >= 20, "{asked} requests");
    assert!(seconds < 5 + asked / 2, "{seconds} s for {asked} requests at 5 a second: the budget is to be used");
    counts(&done, "ingest", &[("refusals", 0)]);
}

/// A vendor that allows two requests a second, to a node that does not know of it; its clock begins at `now`.
fn two_a_second(vendor: sim::Vendor, now: Option<&str>) -> u64 {
    let name = vendor.name();
    let sim = Sim::at(support::market(6, 1), &format!("{name}: {{rate_limit: {{per_second: 2}}}}"), now);
    let mut n = alone(&sim, &[name], &sim.daily());
    symbols_a_request(&mut n, 1);
    n.set(&format!("DATANODE__VENDORS__{}__CONCURRENCY", name.to_uppercase()), "1");
    let done = n.nightly(&[]).exits(0).json();
    let stats = sim.stats.vendor(vendor);
    counts(&done, "ingest", &[("refusals", 0)]);
    assert!(n.lines().iter().all(|l| matches!(l.outcome, Outcome::Filled | Outcome::Short)));
    stats.rate_limit_violations
}

#[test]
fn a_429_is_waited_for_and_is_no_failure() {
    // No header says how much is left, or when.
    let refused = two_a_second(sim::Vendor::Massive, None);
    assert!((1..=6).contains(&refused), "the limit was met, and hammering does not help: {refused}");
}

#[test]
fn headers_that_say_how_much_is_left_are_obeyed_before_a_429() {
    assert_eq!(two_a_second(sim::Vendor::Alpaca, Some("2025-07-02T23:00:00Z")), 0);
}

#[test]
fn a_reset_that_lies_in_the_past_is_waited_for_as_well() {
    // The vendor's clock is two days behind ours: a Pi before its first time synchronisation.
    assert_eq!(two_a_second(sim::Vendor::Alpaca, None), 0);
}

#[test]
fn a_day_budget_is_not_overspent_by_a_second_run() {
    let sim = Sim::seeded(6, 1, "");
    let mut n = alone(&sim, &["alpaca"], &two());
    symbols_a_request(&mut n, 1);
    n.set("DATANODE__VENDORS__ALPACA__PER_DAY", "1");
    n.nightly(&[]).exits(0);
    n.nightly(&[]).exits(0);
    assert_eq!(sim.stats.requests(), 1, "one request a day, whatever is run");
}

#[test]
fn a_vendor_that_refuses_a_key_is_demoted_and_the_other_fills() {
    let sim = Sim::seeded(2, 1, "alpaca: {refused_symbols: [AAAA]}");
    let n = alone(&sim, &["alpaca", "massive"], UNIVERSE);
    let done = n.nightly(&[]).exits(0).json();
    let alpaca = sim.stats.vendor(sim::Vendor::Alpaca);
    // One request, and probes of a day each until its first and its last are refused: where one of these is slow, each of the
    // other three workers may have gone on to its next.
    assert!(alpaca.requests <= 1 + 4 + 4, "{} requests to a vendor that said 403", alpaca.requests);
    let lines = n.lines();
    let first = of(&lines, Vendor::Alpaca, "AAAA")[0];
    assert_eq!(first.outcome, Outcome::NotEntitled);
    assert!(!first.note.is_empty(), "the vendor's words are kept");
    counts(&done, "export", &[("rows", 20), ("excluded", 0)]);
    counts(&done, "backfill", &[("absent", 0)]);
    let asked = alpaca.requests;
    n.nightly(&[]).exits(0);
    assert_eq!(sim.stats.vendor(sim::Vendor::Alpaca).requests, asked, "a second run of the evening does not ask again");
}

#[test]
fn a_refused_symbol_does_not_take_its_neighbours_with_it() {
    // A vendor refuses a request that names one symbol too many; what it does give is to be had.
    let unknown = "alpaca: {rules: [{match: {symbol: AAAB}, action: {status: {code: 400}}}]}";
    for fault in ["alpaca: {refused_symbols: [AAAB]}", unknown] {
        let sim = Sim::seeded(3, 1, fault);
        let n = alone(&sim, &["alpaca"], &two());
        let done = n.nightly(&BEFORE_THE_PACK).exits(0).json();
        let rows: u64 = of(&n.lines(), Vendor::Alpaca, "AAAA").iter().map(|l| l.rows).sum();
        assert_eq!(rows, 20, "{fault}: {}", stage(&done, "backfill"));
        assert!(sim.stats.requests() <= 10, "{fault}: {} requests", sim.stats.requests());
    }
}

#[test]
fn a_vendor_that_is_not_there_is_recorded_and_the_cycle_ends() {
    let n = Node::new(UNIVERSE, SEEDED_NIGHT).vendor("alpaca", "http://127.0.0.1:9");
    let done = n.nightly(&BEFORE_THE_PACK).exits(0).json();
    counts(&done, "backfill", &[("missing", 20)]);
    assert_eq!(of(&n.lines(), Vendor::Alpaca, "AAAA")[0].outcome, Outcome::Error);
}

#[test]
fn a_vendor_that_is_down_keeps_no_other_dataset_from_its_pack() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: {status: {code: 503}}}]}");
    let n = alone(&sim, &["alpaca", "fred"], &sim.universe);
    let done = n.nightly(&[]).exits(0).json();
    assert!(stage(&done, "ingest")["refusals"].as_u64().unwrap() > 0);
    assert!(stage(&done, "backfill")["missing"].as_u64().unwrap() >= 20);
    let files = tree(&n.pack(&done));
    assert!(
        files.keys().any(|f| f.contains("macro_treasury")) && !files.keys().any(|f| f.contains("equities")),
        "{files:?}"
    );
}

#[test]
fn a_night_without_any_data_makes_no_pack_and_says_why() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: {status: {code: 503}}}]}");
    let n = alone(&sim, &["alpaca"], UNIVERSE);
    n.nightly(&[]).exits(1).says(&["no pack"]);
    assert!(tree(&n.data().join("exports")).is_empty());
}

#[test]
fn a_vendor_that_holds_the_line_is_given_up_after_the_timeout() {
    let sim = Sim::seeded(2, 1, "alpaca: {rules: [{action: {timeout: {seconds: 60}}}]}");
    let mut n = alone(&sim, &["alpaca"], UNIVERSE);
    n.set("DATANODE__HTTP__TIMEOUT_SECONDS", "1");
    let mut c = n.command(&n.nightly_args(&BEFORE_THE_PACK));
    let piped = c.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let ran = Live::of(piped).wait_at_most(std::time::Duration::from_secs(30)).expect("it ends").exits(0);
    counts(&ran.json(), "backfill", &[("missing", 20)]);
    assert!(of(&n.lines(), Vendor::Alpaca, "AAAA")[0].note.contains("timed out"));
}
