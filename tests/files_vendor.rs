//! The `files` vendor: a folder of CSV or Parquet gives the rows that the vendors behind HTTP give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::frame::{Bar, Cell, Row, Table, encode_raw, read_curated};
use datanode_schema::clock::day_number;
use datanode_schema::names::{Dataset, Outcome};
use std::collections::BTreeMap;
use std::path::Path;
use support::{Node, REAL_NIGHT, SEEDED_NIGHT, Sim, copy, counts, python, real_data, tree};

type Rows = BTreeMap<(String, i64), String>;

/// Every curated row without where it came from; floats as their shortest exact text.
fn curated(node: &Node) -> BTreeMap<&'static str, Rows> {
    let mut out = BTreeMap::new();
    for dataset in Dataset::ALL {
        let root = node.data().join("data_layer/curated").join(dataset.name());
        let mut rows = Rows::new();
        for file in tree(&root).keys() {
            for (symbol, table) in read_curated(&root.join(file), *dataset).unwrap() {
                for r in &table.rows {
                    let twice = rows.insert((symbol.clone(), r.when), format!("{:?}", r.cell));
                    assert_eq!(twice, None, "{symbol} {} stands twice", r.when);
                }
            }
        }
        out.insert(dataset.name(), rows);
    }
    out
}

fn files_node(universe: &str, folder: &Path, night: [&'static str; 4]) -> Node {
    Node::new(universe, night).vendor("files", folder.to_str().unwrap())
}

#[test]
fn real_files_give_the_rows_that_the_vendors_give() {
    let Some(real) = real_data() else { return };
    let sim = Sim::real(&real);
    let http = Node::new(&sim.universe, REAL_NIGHT).vendors(&["alpaca", "fred"], &sim);
    http.nightly(&["--stages", "ingest,audit,curate"]).exits(0);
    let files = files_node(&sim.universe, &real, REAL_NIGHT);
    let done = files.nightly(&[]).exits(0).json();
    counts(&done, "ingest", &[("rows", 242_420), ("rejected", 0), ("refusals", 0)]);
    counts(&done, "audit", &[("absent", 12_206), ("short", 1)]);
    let (a, b) = (curated(&http), curated(&files));
    for (dataset, rows) in &a {
        assert_eq!(rows.len(), b[dataset].len(), "{dataset}");
        assert!(*rows == b[dataset], "{dataset}: other values");
    }
    for args in [[files.data(), real.clone()], [http.data(), files.data()]] {
        let flag = args[1].ends_with("data").then(|| Path::new("--same"));
        let args: Vec<&Path> = flag.into_iter().chain(args.iter().map(|p| p.as_path())).collect();
        if let Some(checked) = python("check_curated.py", &args) {
            assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
        }
    }
}

/// A generated folder of CSV files with its universe.
fn folder() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut s = datanode_vendorsim::Seeded::new(11);
    s.symbols = datanode_vendorsim::Seeded::names(3);
    s.minute_sessions = 2;
    let source = s.into();
    datanode_vendorsim::write_data(&source, dir.path()).unwrap();
    let universe = datanode_vendorsim::universe(&source).unwrap();
    (dir, universe)
}

/// Replaces a CSV file of bars by a Parquet file with the same rows.
fn to_parquet(csv: &Path, dataset: Dataset) {
    let mut table = Table::default();
    for line in std::fs::read_to_string(csv).unwrap().lines().skip(1) {
        let f: Vec<&str> = line.split(',').collect();
        let n = |i: usize| f[i].parse::<f64>().unwrap();
        let when = match dataset {
            Dataset::EquitiesBarsMinute => {
                f[0].parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_nanos_opt().unwrap()
            }
            _ => i64::from(day_number(f[0].parse().unwrap())),
        };
        let cell = match dataset {
            Dataset::MacroTreasury => Cell::Value(f[1].parse().ok()),
            _ => Cell::Bar(Bar {
                open: n(1),
                high: n(2),
                low: n(3),
                close: n(4),
                volume: n(5),
                trades: None,
                vwap: None,
            }),
        };
        table.rows.push(Row { when, cell, origin: 0 });
    }
    let bytes = encode_raw("a fixture", dataset, &table).unwrap();
    std::fs::write(csv.with_extension("parquet"), bytes).unwrap();
    std::fs::remove_file(csv).unwrap();
}

#[test]
fn parquet_files_give_the_rows_that_csv_files_give() {
    let (csv, universe) = folder();
    let parquet = tempfile::tempdir().unwrap();
    copy(csv.path(), parquet.path());
    to_parquet(&parquet.path().join("equities_bars/AAAA.csv"), Dataset::EquitiesBars);
    to_parquet(&parquet.path().join("equities_bars_minute/AAAB/2025-06-30.csv"), Dataset::EquitiesBarsMinute);
    to_parquet(&parquet.path().join("macro_treasury/DGS10.csv"), Dataset::MacroTreasury);
    let nodes = [csv.path(), parquet.path()].map(|f| files_node(&universe, f, SEEDED_NIGHT));
    let [a, b] = nodes.each_ref().map(|n| {
        let done = n.nightly(&[]).exits(0).json();
        counts(&done, "ingest", &[("rejected", 0), ("refusals", 0)]);
        curated(n)
    });
    assert!(a["equities_bars"].keys().any(|(s, _)| s == "AAAA") && a["equities_bars_minute"].len() > 700);
    assert!(a == b, "the same rows from both");
}

#[test]
fn a_damaged_parquet_file_is_an_answer_that_does_not_parse_and_ends_nothing() {
    let (dir, universe) = folder();
    let file = dir.path().join("equities_bars/AAAA.csv");
    to_parquet(&file, Dataset::EquitiesBars);
    let parquet = file.with_extension("parquet");
    let whole = std::fs::read(&parquet).unwrap();
    let mut draw = support::Draw(5);
    let mut cases: Vec<Vec<u8>> = vec![whole[..whole.len() / 2].to_vec(), b"PAR1PAR1".to_vec(), Vec::new()];
    // Flipped bytes in the footer (what a reader trusts first) and in the pages.
    for i in 0..6 {
        let mut bytes = whole.clone();
        let span = if i % 2 == 0 { whole.len() as u64 } else { 400 };
        let at = whole.len() - 1 - usize::try_from(draw.below(span)).unwrap();
        bytes[at] ^= 0xff;
        cases.push(bytes);
    }
    for (i, bytes) in cases.iter().enumerate() {
        std::fs::write(&parquet, bytes).unwrap();
        let node = files_node(&universe, dir.path(), SEEDED_NIGHT);
        let done = node.nightly(&["--stages", "ingest,audit"]);
        assert_eq!(done.code, Some(0), "case {i} ends the process: {}", done.err);
        let lines = node.lines();
        let hit = lines.iter().find(|l| l.symbol == "AAAA" && l.dataset == Dataset::EquitiesBars).unwrap();
        // A flipped byte may hit a value, or nothing that is read; what is not readable is recorded as such.
        if i < 3 {
            assert_eq!(hit.outcome, Outcome::Unparsable, "case {i}: {}", hit.note);
        }
        assert!(lines.iter().any(|l| l.symbol == "AAAB" && l.rows > 0), "case {i}: the other symbols arrive");
    }
}

#[test]
fn a_csv_file_with_a_word_for_a_price_is_named_with_its_line() {
    let (dir, universe) = folder();
    let file = dir.path().join("equities_bars/AAAA.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[4] = "2025-06-05,ten,11,9,10,100".to_owned();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let node = files_node(&universe, dir.path(), SEEDED_NIGHT);
    node.nightly(&["--stages", "ingest,audit"]).exits(0);
    let hit = node.lines().into_iter().find(|l| l.symbol == "AAAA" && l.dataset == Dataset::EquitiesBars).unwrap();
    assert_eq!(hit.outcome, Outcome::Unparsable);
    assert!(hit.note.contains("AAAA.csv:5:") && hit.note.contains("\"ten\""), "{}", hit.note);
}
