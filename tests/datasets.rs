//! Every dataset and every vendor from the simulator to the curated file, with the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::frame::{Cell, read_curated};
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Outcome};
use datanode_vendorsim::{Seeded, Source, Vendor};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use support::{Node, REAL_NIGHT, SEEDED_NIGHT, Sim, real_data, stage, tree};

/// Curated rows of a dataset by key, as (when, cell).
fn curated(node: &Node, dataset: Dataset) -> BTreeMap<String, Vec<(i64, Cell)>> {
    let root = node.data().join("data_layer/curated").join(dataset.name());
    let mut out: BTreeMap<String, Vec<(i64, Cell)>> = BTreeMap::new();
    for file in tree(&root).keys() {
        for (key, table) in read_curated(&root.join(file), dataset).unwrap() {
            out.entry(key).or_default().extend(table.rows.into_iter().map(|r| (r.when, r.cell)));
        }
    }
    out
}

const STAGES: [&str; 2] = ["--stages", "ingest,audit,curate,qc"];

fn red(summary: &serde_json::Value) -> u64 {
    stage(summary, "qc")["red"].as_u64().unwrap()
}

/// Every vendor of corporate actions gives what the two files say, and the same as the others.
#[test]
fn splits_and_dividends_come_from_each_vendor_as_the_files_have_them() {
    let Some(real) = real_data() else { return };
    let sim = Sim::real(&real);
    let universe = "universe:\n  corporate_actions:\n    AAPL: [{from: 2000-01-03, to: 2021-03-31}]\n    IBM: [{from: 2000-01-03, to: 2021-03-31}]\n";
    let mut want: BTreeMap<String, usize> = BTreeMap::new();
    for name in ["splits.csv", "dividends.csv"] {
        for line in std::fs::read_to_string(real.join(name)).unwrap().lines().skip(1) {
            let f: Vec<&str> = line.split(',').collect();
            if ["AAPL", "IBM"].contains(&f[0]) && f[1] >= "2000-01-03" && f[1] <= "2021-03-31" {
                *want.entry(f[0].to_owned()).or_default() += 1;
            }
        }
    }
    let mut seen = Vec::new();
    for vendor in ["alpaca", "massive", "files"] {
        let url = if vendor == "files" { real.to_str().unwrap() } else { &sim.url };
        let node = Node::new(universe, REAL_NIGHT).vendor(vendor, url);
        let done = node.nightly(&STAGES).exits(0).json();
        let rows = curated(&node, Dataset::CorporateActions);
        let counts: BTreeMap<String, usize> = rows.iter().map(|(k, r)| (k.clone(), r.len())).collect();
        assert_eq!(counts, want, "{vendor}");
        assert_eq!(red(&done), 0, "{vendor}");
        let splits: Vec<(String, f64)> = rows["AAPL"]
            .iter()
            .filter_map(|(w, c)| Some((date_of(i32::try_from(*w).unwrap()).to_string(), c.action()?.ratio?)))
            .collect();
        let known = |d: &str, r: f64| assert!(splits.contains(&(d.to_owned(), r)), "{vendor}: {splits:?}");
        known("2014-06-09", 7.0);
        known("2020-08-31", 4.0);
        let again = node.nightly(&STAGES).exits(0).json();
        assert_eq!(stage(&again, "curate")["written"], 0, "{vendor}: the same actions change nothing");
        seen.push(rows);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "the vendors agree");
}

#[test]
fn contracts_are_found_and_their_minutes_come_from_either_vendor() {
    let sim = Sim::seeded(2, 1, "");
    let universe = "universe:\n  options_bars:\n    AAAA: [{from: 2025-06-30, to: 2025-06-30}]\n";
    let mut seen = Vec::new();
    for vendor in ["alpaca", "massive"] {
        let mut node = Node::new(universe, SEEDED_NIGHT).vendor(vendor, &sim.url);
        node.set("DATANODE__VENDORS__ALPACA__TRADING_BASE_URL", &sim.url);
        let done = node.nightly(&STAGES).exits(0).json();
        let rows = curated(&node, Dataset::OptionsBars);
        let contracts: std::collections::BTreeSet<&str> =
            rows["AAAA"].iter().map(|(_, c)| if let Cell::Option(o) = c { &*o.contract } else { panic!() }).collect();
        assert!(contracts.len() > 100, "{vendor}: {} contracts", contracts.len());
        assert!(contracts.iter().all(|c| c.starts_with("AAAA25") || c.starts_with("AAAA26")));
        assert_eq!(red(&done), 0, "{vendor}");
        let raw = format!("data_layer/raw/{vendor}/options_bars/date=2025-06-30/underlier=AAAA/data.parquet");
        assert!(node.data().join(raw).is_file());
        seen.push(rows);
    }
    assert!(seen[0] == seen[1], "the vendors agree");
}

#[test]
fn treasury_yields_come_without_a_key_as_they_come_with_one() {
    let universe = "universe:\n  macro_treasury:\n    DGS10: [{from: 2025-06-02, to: 2025-06-30}]\n";
    let mut seen = Vec::new();
    for (faults, key) in [("", true), ("", false), ("fred: {old_graph_csv: true}\n", false)] {
        let sim = Sim::seeded(1, 0, faults);
        let mut node = Node::new(universe, SEEDED_NIGHT).vendor("fred", &sim.url);
        node.set("DATANODE__VENDORS__FRED__GRAPH_BASE_URL", &sim.url);
        if !key {
            node.unset("DATANODE__VENDORS__FRED__KEY");
            node.unset("DATANODE__VENDORS__FRED__SECRET");
        }
        node.nightly(&STAGES).exits(0);
        seen.push(curated(&node, Dataset::MacroTreasury));
    }
    assert!(seen[0]["DGS10"].len() > 15);
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "both headers, and the API");
}

#[test]
fn tiingo_fills_daily_bars_with_the_values_that_the_others_have() {
    let sim = Sim::seeded(2, 0, "");
    let of = |vendor: &str| {
        let node = Node::new(&sim.daily(), SEEDED_NIGHT).vendor(vendor, &sim.url);
        node.nightly(&STAGES).exits(0);
        curated(&node, Dataset::EquitiesBars)
    };
    let closes = |rows: BTreeMap<String, Vec<(i64, Cell)>>| -> Vec<(String, i64, f64, f64)> {
        let each = |(s, r): (String, Vec<(i64, Cell)>)| -> Vec<_> {
            r.iter().map(|(w, c)| (s.clone(), *w, c.bar().unwrap().close, c.bar().unwrap().volume)).collect()
        };
        rows.into_iter().flat_map(each).collect()
    };
    let (tiingo, alpaca) = (closes(of("tiingo")), closes(of("alpaca")));
    assert!(tiingo.len() >= 40 && tiingo == alpaca, "{} and {} rows", tiingo.len(), alpaca.len());
}

/// More minutes than one answer of Tiingo holds, of which it gives the newest.
#[test]
fn tiingo_fills_minutes_with_the_values_that_the_others_have() {
    let mut source = Seeded::new(11);
    source.symbols = Seeded::names(1);
    source.from = "2025-05-01".parse().unwrap();
    source.minute_sessions = 24;
    let sim = Sim::new(Source::Seeded(source), "");
    let (start, end) = (sim.universe.find("  equities_bars_minute:").unwrap(), sim.universe.find("  macro_treasury:"));
    let universe = format!("universe:\n{}", &sim.universe[start..end.unwrap_or(sim.universe.len())]);
    let of = |vendor: &str| -> Vec<(i64, f64, f64)> {
        let node = Node::new(&universe, SEEDED_NIGHT).vendor(vendor, &sim.url);
        let done = node.nightly(&STAGES).exits(0).json();
        assert_eq!(red(&done), 0, "{vendor}");
        let rows = curated(&node, Dataset::EquitiesBarsMinute).remove("AAAA").unwrap();
        rows.iter().map(|(w, c)| (*w, c.bar().unwrap().close, c.bar().unwrap().volume)).collect()
    };
    let (tiingo, alpaca) = (of("tiingo"), of("alpaca"));
    assert!(tiingo.len() > 10_000, "{} rows are one answer", tiingo.len());
    assert!(tiingo == alpaca, "{} and {} rows", tiingo.len(), alpaca.len());
    let asked = sim.stats.vendor(Vendor::Tiingo);
    assert_eq!((asked.requests, asked.status_4xx), (2, 0));
}

fn gz(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut out = GzEncoder::new(std::fs::File::create(path).unwrap(), Compression::best());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap();
}

const HEADER: &str = "ticker,volume,open,close,high,low,window_start,transactions\n";

#[test]
fn flat_files_of_all_tickers_give_the_rows_of_those_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    // 13:30 UTC is the open in June.
    let (midnight, open) = (1_751_256_000_000_000_000i64, 1_751_290_200_000_000_000i64);
    let stocks = format!("{HEADER}AAPL,100.5,10,12,13,9,{midnight},7\nZZZ,1,1,1,1,1,{midnight},1\n");
    let minutes = format!("{HEADER}AAPL,5,10,12,13,9,{open},\nZZZ,1,1,1,1,1,{open},1\n");
    let contracts =
        format!("{HEADER}O:AAPL250718C00010000,5,1,2,3,1,{open},2\nO:AAP250718C00010000,5,1,2,3,1,{open},2\n");
    gz(&dir.path().join("us_stocks_sip/day_aggs_v1/2025/06/2025-06-30.csv.gz"), &stocks);
    gz(&dir.path().join("us_stocks_sip/minute_aggs_v1/2025/06/2025-06-30.csv.gz"), &minutes);
    gz(&dir.path().join("us_options_opra/minute_aggs_v1/2025/06/2025-06-30.csv.gz"), &contracts);
    let one = "AAPL: [{from: 2025-06-30, to: 2025-06-30}]";
    let universe = format!(
        "universe:\n  equities_bars:\n    {one}\n  equities_bars_minute:\n    {one}\n  options_bars:\n    {one}\n"
    );
    let node = Node::new(&universe, SEEDED_NIGHT).vendor("files", dir.path().to_str().unwrap());
    node.nightly(&["--stages", "ingest,audit,curate"]).exits(0);
    for dataset in [Dataset::EquitiesBars, Dataset::EquitiesBarsMinute, Dataset::OptionsBars] {
        let rows = curated(&node, dataset);
        assert_eq!(rows.keys().collect::<Vec<_>>(), ["AAPL"], "{dataset}");
        let [(_, cell)] = rows["AAPL"].as_slice() else { panic!("{dataset}: {rows:?}") };
        assert_eq!(cell.bar().unwrap().close, if dataset == Dataset::OptionsBars { 2.0 } else { 12.0 });
    }
}

#[test]
fn a_flat_file_that_unpacks_without_end_or_says_nonsense_is_refused() {
    let long = "x".repeat(200_000);
    let cases = [
        ("a line without end", format!("{HEADER}{long}")),
        ("another header", "ticker,open\n".to_owned()),
        ("no number", format!("{HEADER}AAPL,ten,1,1,1,1,1751256000000000000,1\n")),
        ("no count", format!("{HEADER}AAPL,1,1,1,1,1,1751256000000000000,many\n")),
        // 144 MB of one line pack to half a megabyte: beyond what a file of that size may hold.
        ("a bomb", format!("{HEADER}{}", "ZZZ,1,1,1,1,1,1,1\n".repeat(8_000_000))),
    ];
    for (what, text) in cases {
        let dir = tempfile::tempdir().unwrap();
        gz(&dir.path().join("us_stocks_sip/day_aggs_v1/2025/06/2025-06-30.csv.gz"), &text);
        let universe = "universe:\n  equities_bars:\n    AAPL: [{from: 2025-06-30, to: 2025-06-30}]\n";
        let node = Node::new(universe, SEEDED_NIGHT).vendor("files", dir.path().to_str().unwrap());
        node.nightly(&["--stages", "ingest,audit"]).exits(0);
        let line = node.lines().into_iter().next().unwrap();
        assert_eq!(line.outcome, Outcome::Unparsable, "{what}: {}", line.note);
        assert!(line.note.contains("2025-06-30.csv.gz"), "{what}: {}", line.note);
    }
}
