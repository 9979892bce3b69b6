//! The queue alone: 100,000 tasks, four vendors, eight claimants, every claim and every completion durable before it is
//! acknowledged, beside graphile-worker on PostgreSQL; and how soon a task is claimed again after its claimant was killed.
//!
//! A claim of the node is a batch that one request answers, as a fetch into graphile's local queue is a batch of jobs. A
//! *task's wait* is what its claimant waited for it: the whole claim for the first of a batch, nothing for the others.

#[path = "../common/figure.rs"]
mod figure;
#[path = "../common/node.rs"]
mod node;
mod ours;

use clap::Parser;
use figure::{Figure, print};
use node::Plan;
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Claims and completions a second, beside graphile-worker.
#[derive(Parser)]
struct Args {
    /// Where data folders are made; without it nothing is measured
    #[arg(long)]
    work: Option<PathBuf>,
    /// Repetitions
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Symbols of 1,000 sessions each
    #[arg(long, default_value_t = 100)]
    symbols: usize,
    /// The script that runs the peer, benches/peers/graphile.sh
    #[arg(long)]
    peer: Option<PathBuf>,
    /// How long the peer is waited for after a kill, in seconds
    #[arg(long, default_value_t = 20)]
    reclaim_seconds: u32,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
    /// One part, in a process of its own
    #[arg(long, hide = true, num_args = 2)]
    child: Option<Vec<PathBuf>>,
}

/// 1,000 sessions of minute bars for each symbol, at most fifty of them in an answer.
fn plan(symbols: usize) -> Plan<'static> {
    Plan { dataset: "equities_bars_minute", symbols, days: ("2021-01-04", "2024-12-24"), batch: 50, rows: 960 }
}

fn main() -> Fallible<()> {
    let args = Args::parse();
    if let Some([part, dir]) = args.child.as_deref() {
        return ours::child(&part.to_string_lossy(), dir, &plan(args.symbols));
    }
    let Some(work) = &args.work else {
        eprintln!("queue: nothing measured without --work DIR; benches/run.sh gives one");
        return Ok(());
    };
    std::fs::create_dir_all(work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-queue-").tempdir_in(work.canonicalize()?)?;
    let (mut node, mut peer) = (Vec::new(), Vec::new());
    for rep in 0..args.reps.max(1) {
        node.push(ours::once(&work.path().join(format!("node-{rep}")), args.symbols)?);
        if let Some(script) = &args.peer {
            peer.push(theirs(script, work.path(), &args)?);
        }
    }
    let (node, peer) = (by_name(&node), by_name(&peer));
    tell(&node, &peer);
    Ok(())
}

fn theirs(script: &Path, work: &Path, args: &Args) -> Fallible<Value> {
    let words = [(args.symbols * 1_000).to_string(), "8".into(), args.reclaim_seconds.to_string()];
    let out = Command::new(script).arg(work).args(words).output()?;
    if !out.status.success() {
        return Err(format!("{}: {}", script.display(), String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}

fn by_name(all: &[Value]) -> BTreeMap<String, Vec<f64>> {
    let mut out: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, value) in all.iter().filter_map(Value::as_object).flatten() {
        if let Some(v) = value.as_f64() {
            out.entry(name.clone()).or_default().push(v);
        }
    }
    out
}

/// What each is called, its unit, and whether more is better.
const FIGURES: [(&str, &str, &str, bool); 7] = [
    ("enqueue_per_second", "tasks enqueued a second", "tasks/s", true),
    ("tasks_per_second", "tasks claimed and completed a second", "tasks/s", true),
    ("claim_p50_ms", "a task's wait, p50", "ms", false),
    ("claim_p99_ms", "a task's wait, p99", "ms", false),
    ("batch_p50_ms", "a batch's claim, p50", "ms", false),
    ("batch_p99_ms", "a batch's claim, p99", "ms", false),
    ("tasks_a_batch", "tasks in a batch, mean", "tasks", true),
];

fn tell(node: &BTreeMap<String, Vec<f64>>, peer: &BTreeMap<String, Vec<f64>>) {
    for (who, all) in [("node", node), ("graphile-worker", peer)] {
        for (name, what, unit, _) in FIGURES {
            print(all.get(name).and_then(|s| Figure::of("queue", &format!("{who}: {what}"), unit, s)));
        }
        let note = if who == "node" {
            "a killed process; from the kill to the claim of the same task by its successor, its start included"
        } else {
            "the bound where no job ran again: locks of a killed worker stand for four hours"
        };
        let reclaim = all.get("reclaim_seconds");
        print(
            reclaim.and_then(|s| Figure::of("queue", &format!("{who}: kill to reclaim"), "s", s)).map(|f| f.note(note)),
        );
    }
    let compared = FIGURES.into_iter().filter(|f| f.0 != "tasks_a_batch");
    for (name, what, _, more) in compared.chain([("reclaim_seconds", "kill to reclaim", "s", false)]) {
        let (Some(a), Some(b)) = (node.get(name), peer.get(name)) else { continue };
        // A wait of nothing counts as a microsecond.
        let ratio: Vec<f64> =
            a.iter().zip(b).map(|(a, b)| if more { a / b.max(1e-9) } else { b.max(1e-3) / a.max(1e-3) }).collect();
        print(
            Figure::of("queue", &format!("{what}: how far ahead"), "×", &ratio).map(|f| f.note("above 1: the node is")),
        );
    }
}
