//! How the queue grows: half a million to five million open tasks, a process for each size, so that its memory is its own.
//!
//! `build` lets the audit discover every task of a universe that is held nowhere, claims some batches, and waits to be
//! killed; `reopen` is a new process on what the kill left, up to its first claim.

#[path = "../common/disk.rs"]
mod disk;
#[path = "../common/figure.rs"]
mod figure;
#[path = "../common/node.rs"]
mod node;

use clap::Parser;
use datanode_actors::audit::{Scope, audit};
use datanode_actors::node::{Node, RunContext};
use datanode_actors::queue::Next;
use datanode_actors::vendor::Purpose;
use datanode_schema::store::Batch;
use datanode_schema::trees::COUNTERS;
use figure::{Figure, print, quantile};
use node::{BEST, Plan};
use serde_json::{Value, json};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Claims that are timed.
const CLAIMS: usize = 500;

/// Millions of open tasks: enqueue, memory, disk, claims, restart.
#[derive(Parser)]
struct Args {
    /// Where data folders are made; without it nothing is measured
    #[arg(long)]
    work: Option<PathBuf>,
    /// Repetitions of each size
    #[arg(long, default_value_t = 1)]
    reps: usize,
    /// Symbols of each size; each has twenty years of sessions, about 5,000
    #[arg(long, value_delimiter = ',', default_value = "100,200,400,1000")]
    sizes: Vec<usize>,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
    /// One part, in a process of its own: what, symbols, folder
    #[arg(long, hide = true, num_args = 3)]
    child: Option<Vec<String>>,
}

/// Twenty years of daily bars.
fn plan(symbols: usize) -> Plan<'static> {
    Plan { dataset: "equities_bars", symbols, days: ("2005-01-03", "2024-12-31"), batch: 250, rows: 1 }
}

fn main() -> Fallible<()> {
    let args = Args::parse();
    if let Some([part, symbols, dir]) = args.child.as_deref() {
        let (symbols, dir) = (symbols.parse()?, Path::new(dir));
        return if part == "build" { build(dir, symbols) } else { reopen(dir, symbols) };
    }
    let Some(work) = &args.work else {
        eprintln!("scale: nothing measured without --work DIR; benches/run.sh gives one");
        return Ok(());
    };
    std::fs::create_dir_all(work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-scale-").tempdir_in(work.canonicalize()?)?;
    for symbols in args.sizes {
        let mut all = Vec::new();
        for rep in 0..args.reps.max(1) {
            all.push(once(&work.path().join(format!("{symbols}-{rep}")), symbols)?);
        }
        tell(symbols, &all);
    }
    Ok(())
}

/// Builds, kills, opens again.
fn once(dir: &Path, symbols: usize) -> Fallible<Value> {
    let (mut first, said) = started("build", dir, symbols)?;
    let mut out: Value = serde_json::from_str(said.trim())?;
    first.kill()?;
    first.wait()?;
    let begun = Instant::now();
    let (mut second, said) = started("reopen", dir, symbols)?;
    let seconds = begun.elapsed().as_secs_f64();
    second.kill()?;
    second.wait()?;
    let after: Value = serde_json::from_str(said.trim())?;
    if let (Some(o), Some(after)) = (out.as_object_mut(), after.as_object()) {
        o.insert("restart_s".into(), json!(seconds));
        o.extend(after.clone());
    }
    Ok(out)
}

/// A child, and the line with which it says that it is ready.
fn started(part: &str, dir: &Path, symbols: usize) -> Fallible<(Child, String)> {
    let mut c = Command::new(std::env::current_exe()?);
    c.args(["--child", part, &symbols.to_string()]).arg(dir).stdout(Stdio::piped());
    let (mut child, mut line) = (c.spawn()?, String::new());
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    if line.is_empty() {
        return Err(format!("the {part} process ended: {}", child.wait()?).into());
    }
    Ok((child, line))
}

fn build(dir: &Path, symbols: usize) -> Fallible<()> {
    std::fs::create_dir_all(dir)?;
    let plan = plan(symbols);
    let (node, run) = (node::open(dir, &plan)?, node::run(&plan)?);
    node.queue.open(&node)?;
    let begun = Instant::now();
    let tasks = audit(&node, &run, Scope::Everything)?.missing;
    let enqueue = begun.elapsed().as_secs_f64();
    let after_enqueue = status("VmHWM:")?;
    let begun = Instant::now();
    node.queue.begin(&node, &run, Purpose::Backfill)?;
    let begin = begun.elapsed().as_secs_f64();
    // A sync of the disk itself after every claim, so that both meet the same moments of the machine.
    let (mut claims, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..CLAIMS {
        let begun = Instant::now();
        if claim(&node, &run)? {
            claims.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        syncs.push(disk::one_sync(dir)?);
    }
    claims.sort_by(f64::total_cmp);
    syncs.sort_by(f64::total_cmp);
    // What a commit of one small record costs here and now.
    let mut commits = Vec::new();
    for i in 0..200_u64 {
        let (mut batch, begun) = (Batch::new(), Instant::now());
        batch.put(&COUNTERS, &"bench".to_owned(), &i)?;
        node.store.commit(batch)?;
        commits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    commits.sort_by(f64::total_cmp);
    say(&json!({
        "tasks": tasks,
        "enqueue_per_s": tasks as f64 / enqueue,
        "peak_enqueue_mb": after_enqueue,
        "begin_ms": begin * 1e3,
        "claims": claims.len(),
        "claim_p50_ms": quantile(&claims, 0.5),
        "claim_p99_ms": quantile(&claims, 0.99),
        "commit_p50_ms": quantile(&commits, 0.5),
        "sync_p50_ms": quantile(&syncs, 0.5),
        "peak_mb": status("VmHWM:")?,
        "state_mb": size_of(&dir.join("state"))? as f64 / 1e6,
    }))
}

fn reopen(dir: &Path, symbols: usize) -> Fallible<()> {
    let plan = plan(symbols);
    let (node, run) = (node::open(dir, &plan)?, node::run(&plan)?);
    node.queue.open(&node)?;
    node.queue.begin(&node, &run, Purpose::Backfill)?;
    if !claim(&node, &run)? {
        return Err("nothing to claim after the restart".into());
    }
    say(&json!({ "restart_peak_mb": status("VmHWM:")? }))
}

/// One claim, which is never answered. False where there is nothing to claim.
fn claim(node: &Node, run: &RunContext) -> Fallible<bool> {
    Ok(matches!(node.queue.next(node, run, BEST)?, Next::Work(_)))
}

/// Says a line, and waits to be killed.
fn say(what: &Value) -> Fallible<()> {
    println!("{what}");
    std::io::stdout().flush()?;
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Megabytes of a line of `/proc/self/status`.
fn status(name: &str) -> Fallible<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse::<f64>()? * 1024.0 / 1e6)
}

fn size_of(dir: &Path) -> std::io::Result<u64> {
    let (mut left, mut total) = (vec![dir.to_owned()], 0);
    while let Some(d) = left.pop() {
        for e in std::fs::read_dir(d)? {
            let e = e?;
            let m = e.metadata()?;
            if m.is_dir() { left.push(e.path()) } else { total += m.len() }
        }
    }
    Ok(total)
}

/// Name of the sample, what it is, its unit, its note.
const FIGURES: [(&str, &str, &str, &str); 11] = [
    ("enqueue_per_s", "tasks enqueued a second", "tasks/s", "the audit over an empty node, durable"),
    ("peak_mb", "peak memory", "MB", "resident, of the process that enqueued and claimed"),
    ("peak_enqueue_mb", "peak memory up to the audit's end", "MB", ""),
    ("state_mb", "state on disk", "MB", "sled and its journal"),
    ("begin_ms", "index of the open tasks made", "ms", "once a stage"),
    ("claim_p50_ms", "claim, p50", "ms", "a durable lease on a batch of up to 250 tasks"),
    ("claim_p99_ms", "claim, p99", "ms", ""),
    ("commit_p50_ms", "a lone commit, p50", "ms", "one small record; the group wait is within it"),
    ("sync_p50_ms", "4 KiB appended + fsync, p50", "ms", "the disk itself, one after every claim"),
    ("restart_s", "kill to first claim", "s", "process start, recovery of the state, index, one claim"),
    ("restart_peak_mb", "peak memory of the restart", "MB", "resident"),
];

fn tell(symbols: usize, all: &[Value]) {
    let tasks = all.first().and_then(|o| o.get("tasks")?.as_f64()).unwrap_or(0.0);
    let part = format!("scale: {:.1} million", tasks / 1e6);
    for (name, what, unit, note) in FIGURES {
        let samples: Vec<f64> = all.iter().filter_map(|o| o.get(name)?.as_f64()).collect();
        let note = if name == "enqueue_per_s" {
            format!("{tasks} tasks of {symbols} symbols; {note}")
        } else {
            note.to_owned()
        };
        print(Figure::of(&part, what, unit, &samples).map(|f| f.note(note)));
    }
    let sync = |o: &Value| Some(3.0 * o.get("sync_p50_ms")?.as_f64()?);
    let claim = |o: &Value| o.get("claim_p99_ms")?.as_f64();
    let beyond: Vec<f64> = all.iter().filter_map(|o| Some(claim(o)? - sync(o)?)).collect();
    let note = "the store adds to a group of commits for 5 ms at most; a lone claimant waits for no other";
    print(Figure::of(&part, "claim p99 - 3 × sync p50", "ms", &beyond).map(|f| f.note(note)));
    let ratio: Vec<f64> = all.iter().filter_map(|o| Some(claim(o)? / sync(o)?)).collect();
    print(Figure::of(&part, "claim p99 ÷ (3 × sync p50)", "", &ratio).map(|f| f.note("without any group wait")));
}
