//! How fast fresh minute bars are judged. `QC_SESSIONS=60 cargo test --release -p datanode-actors --test qc_speed -- --nocapture`
//! judges 1,170,000 bars (50 symbols of 390 minutes) and prints seconds and memory; without it some sessions are enough.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod queue_support;

use datanode_actors::frame::{Bar, Cell, Origin, Row, Table, encode_curated};
use datanode_actors::qc::qc;
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::keys::TouchedKey;
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::paths::DataDir;
use datanode_schema::records::CuratedFile;
use datanode_schema::registry::{Registry, Sources};
use datanode_schema::store::Batch;
use datanode_schema::trees::{CURATED, UNJUDGED};
use std::sync::Arc;
use std::time::Instant;

const SYMBOLS: usize = 50;

/// A whole session of one symbol: a price that walks, and a volume.
fn session(open: i64, seed: usize) -> Table {
    let mut draw = seed as u64;
    let mut next = || {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draw >> 40) as f64 / f64::from(1 << 24)
    };
    let mut price = 100.0;
    let mut row = |i: i64| {
        let open_at = price;
        price += next() - 0.5;
        let (high, low) = (f64::max(open_at, price) + 0.1, f64::min(open_at, price) - 0.1);
        let volume = (next() * 10_000.0).round();
        let bar = Bar { open: open_at, high, low, close: price, volume, trades: Some(40), vwap: Some(price) };
        Row { when: open + i * 60_000_000_000, cell: Cell::Bar(bar), origin: 0 }
    };
    let rows = (0..390).map(&mut row).collect();
    Table { rows, origins: vec![Origin { vendor: Vendor::Alpaca, feed: "sip".into(), request_id: "0123".into() }] }
}

/// The most memory that this process has held so far, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or("VmHWM: 0 kB");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn fresh_minute_bars_are_judged_and_judging_them_again_changes_nothing() {
    let n: usize = std::env::var("QC_SESSIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let registry = Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap();
    let d = Dataset::EquitiesBarsMinute;
    let rule = registry.datasets[&d].clone();
    let dir = tempfile::tempdir().unwrap();
    let mut node = queue_support::node(dir.path(), Clock::system(), 1_000, &[Vendor::Alpaca], registry);
    Arc::get_mut(&mut node).unwrap().threads = 2;
    let (from, to) = ("2025-01-02".parse().unwrap(), "2025-12-31".parse().unwrap());
    let mut batch = Batch::new();
    for (i, s) in rule.calendar().sessions(from, to).into_iter().filter(|s| !s.half_day).take(n).enumerate() {
        let path = DataDir::curated_file(d, rule.curated, s.date);
        let names: Vec<String> = (0..SYMBOLS).map(|k| format!("S{k:03}")).collect();
        let open = s.open.timestamp_nanos_opt().unwrap();
        let tables: Vec<Table> = (0..SYMBOLS).map(|k| session(open, i * SYMBOLS + k)).collect();
        let view: Vec<(&str, &Table)> = names.iter().map(String::as_str).zip(&tables).collect();
        let bytes = encode_curated(&path, d, &view).unwrap();
        let target = node.data.curated().join(&path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(&target, &bytes).unwrap();
        let day = day_number(s.date);
        let record = CuratedFile {
            sha256: [0; 32],
            bytes: bytes.len() as u64,
            rows: (SYMBOLS * 390) as u64,
            from: day,
            to: day,
            superseded: 0,
            conflicts: 0,
            updated_at: 0,
        };
        let key = TouchedKey { dataset: d, path };
        batch.put(&CURATED, &key, &record).unwrap().put(&UNJUDGED, &key, &0).unwrap();
    }
    node.store.commit(batch).unwrap();
    let before = peak_mb();
    let began = Instant::now();
    let done = qc(&node).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    println!("{} bars in {seconds:.3} s, peak {} MB ({before} MB before)", n * SYMBOLS * 390, peak_mb());
    assert_eq!((done.judged, done.green), ((n * SYMBOLS) as u64, (n * SYMBOLS) as u64));
    let again = Instant::now();
    let second = qc(&node).unwrap();
    println!("nothing to do: {:.3} s", again.elapsed().as_secs_f64());
    assert_eq!((second.judged, second.pages_written, second.related), (0, 0, 0));
    let mut batch = Batch::new();
    for (k, _) in node.store.load_all(&CURATED, &[d.number()]).unwrap() {
        batch.put(&UNJUDGED, &k, &1).unwrap();
    }
    node.store.commit(batch).unwrap();
    let third = qc(&node).unwrap();
    assert_eq!((third.judged, third.pages_written), (done.judged, 0), "the same rows, the same entries");
}
