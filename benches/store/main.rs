//! The store's commit, read and reopen, with the sync latency of the disk that it had to wait for.
//!
//! The shapes are those of the project's measurements of sled: records of 143 bytes with their key, durable per 64 or
//! 256 puts, and transactions over four trees. A figure counts only once its commit has returned, so that every put is on disk.

#[path = "../common/disk.rs"]
mod disk;
#[path = "../common/figure.rs"]
mod figure;

use clap::Parser;
use datanode_schema::store::{Batch, Store, StoreError, StoreOptions, Table, TableDef};
use figure::{Figure, print, quantile};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the store can do on this disk.
#[derive(Parser)]
struct Args {
    /// Where the state is made; without it nothing is measured
    #[arg(long)]
    work: Option<PathBuf>,
    /// Repetitions
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Puts of a repetition
    #[arg(long, default_value_t = 32_768)]
    puts: u64,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
}

type Row = (u64, Vec<u8>);
type Fallible<T> = Result<T, Box<dyn Error>>;

const TREES: [Table<u64, Row>; 4] = [
    Table::new("bench-a", 1, 1),
    Table::new("bench-b", 2, 1),
    Table::new("bench-c", 3, 1),
    Table::new("bench-d", 4, 1),
];
/// Commits of the latency figure.
const LONE: usize = 200;

fn main() -> Fallible<()> {
    let args = Args::parse();
    let Some(work) = &args.work else {
        eprintln!("store: nothing measured without --work DIR; benches/run.sh gives one");
        return Ok(());
    };
    std::fs::create_dir_all(work)?;
    let dir = tempfile::Builder::new().prefix("datanode-bench-store-").tempdir_in(work)?;
    for f in disk::sync_latency(dir.path(), "store", LONE)? {
        print(Some(f.note("the disk, in this run")));
    }
    let mut rates: Vec<(&str, Vec<f64>)> = SHAPES.iter().map(|s| (s.what, Vec::new())).collect();
    for rep in 0..args.reps.max(1) {
        for (shape, (_, out)) in SHAPES.iter().zip(&mut rates) {
            let path = dir.path().join(format!("{}-{rep}", shape.name));
            out.push(shape.run(&path, args.puts)?);
            std::fs::remove_dir_all(&path)?;
        }
    }
    for (what, samples) in &rates {
        print(Figure::of("store", what, "/s", samples));
    }
    lone_commits(&dir.path().join("lone"))?;
    reads(&dir.path().join("reads"), args.reps.max(1), args.puts)
}

fn open(dir: &Path) -> Result<Store, StoreError> {
    let tables: Vec<TableDef> = TREES.iter().map(Table::def).collect();
    Store::open(dir, &tables, &StoreOptions { free_space_floor: 64 << 20, ..StoreOptions::default() })
}

/// 143 bytes with its key, different for every number.
fn row(i: u64) -> Row {
    (i.wrapping_mul(0x9e37_79b9_7f4a_7c15), vec![i as u8; 119])
}

/// Keys in no order, each once.
fn key(i: u64) -> u64 {
    i.wrapping_mul(0xd134_2543_de82_ef95)
}

/// A way of committing.
struct Shape {
    name: &'static str,
    what: &'static str,
    /// Puts, or transactions over four trees, that are durable together.
    per: u64,
    trees: usize,
    /// Whether each is a batch of its own, all of them under way at once, or all are one batch.
    apart: bool,
}

const SHAPES: [Shape; 6] = [
    Shape { name: "put64", what: "puts, one batch of 64", per: 64, trees: 1, apart: false },
    Shape { name: "put256", what: "puts, one batch of 256", per: 256, trees: 1, apart: false },
    Shape { name: "sub64", what: "puts, 64 batches under way", per: 64, trees: 1, apart: true },
    Shape { name: "sub256", what: "puts, 256 batches under way", per: 256, trees: 1, apart: true },
    Shape { name: "tx64", what: "transactions over 4 trees, per 64", per: 64, trees: 4, apart: false },
    Shape { name: "tx256", what: "transactions over 4 trees, per 256", per: 256, trees: 4, apart: false },
];

impl Shape {
    /// Puts or transactions a second.
    fn run(&self, dir: &Path, puts: u64) -> Fallible<f64> {
        let store = open(dir)?;
        let count = (puts / self.trees as u64 / self.per).max(1) * self.per;
        let begun = Instant::now();
        for first in (0..count).step_by(self.per as usize) {
            let group = first..first + self.per;
            if self.apart {
                let tickets: Result<Vec<_>, StoreError> = group.map(|i| store.submit(self.batch(i..i + 1)?)).collect();
                for t in tickets? {
                    t.wait()?;
                }
            } else {
                store.commit(self.batch(group)?)?;
            }
        }
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        store.close()?;
        Ok(rate)
    }

    fn batch(&self, group: std::ops::Range<u64>) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        for i in group {
            for tree in TREES.iter().take(self.trees) {
                batch.put(tree, &key(i), &row(i))?;
            }
        }
        Ok(batch)
    }
}

/// One put, one commit, nobody else: what a lone writer waits.
fn lone_commits(dir: &Path) -> Fallible<()> {
    let store = open(dir)?;
    let [tree, ..] = &TREES;
    let mut ms = Vec::new();
    for i in 0..LONE as u64 {
        let mut batch = Batch::new();
        batch.put(tree, &key(i), &row(i))?;
        let begun = Instant::now();
        store.commit(batch)?;
        ms.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    store.close()?;
    let mut sorted = ms.clone();
    sorted.sort_by(f64::total_cmp);
    let p99 = quantile(&sorted, 0.99).unwrap_or(0.0);
    print(Figure::of("store", "lone commit", "ms", &ms).map(|f| f.note(format!("99 % within {p99:.2} ms"))));
    Ok(())
}

fn reads(dir: &Path, reps: usize, count: u64) -> Fallible<()> {
    let [tree, ..] = &TREES;
    let store = open(dir)?;
    for first in (0..count).step_by(1024) {
        let mut batch = Batch::new();
        for i in first..(first + 1024).min(count) {
            batch.put(tree, &key(i), &row(i))?;
        }
        store.commit(batch)?;
    }
    store.close()?;
    let (mut clean, mut unclean, mut gets, mut scans) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..reps {
        let begun = Instant::now();
        let store = open(dir)?;
        clean.push(begun.elapsed().as_secs_f64() * 1000.0);
        let begun = Instant::now();
        let mut found = 0_u64;
        for i in 0..count {
            found += u64::from(store.get(tree, &key(i ^ 1), |r| r.0.to_native())?.is_some());
        }
        gets.push(found as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let mut seen = 0_u64;
        store.scan(tree, &[], |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        })?;
        scans.push(seen as f64 / begun.elapsed().as_secs_f64());
        // A commit and no close is how a crash leaves it: the next open reads and proves everything.
        let mut batch = Batch::new();
        batch.put(tree, &key(0), &row(0))?;
        store.commit(batch)?;
        drop(store);
        let begun = Instant::now();
        let store = open(dir)?;
        unclean.push(begun.elapsed().as_secs_f64() * 1000.0);
        store.close()?;
    }
    let note = format!("{count} records");
    print(Figure::of("store", "get, checked in place", "/s", &gets).map(|f| f.note(&note)));
    print(Figure::of("store", "scan, checked in place", "/s", &scans).map(|f| f.note(&note)));
    print(Figure::of("store", "reopen after a clean stop", "ms", &clean).map(|f| f.note(&note)));
    print(Figure::of("store", "reopen and proof after an unclean one", "ms", &unclean).map(|f| f.note(&note)));
    Ok(())
}
