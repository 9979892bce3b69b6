//! The node's side, in processes of its own.

use crate::Fallible;
use crate::figure::quantile;
use crate::node::{self, BEST, Plan, VENDORS};
use datanode_actors::audit::{Scope, audit};
use datanode_actors::node::{Node, RunContext};
use datanode_actors::queue::{Claimed, Next, Told};
use datanode_actors::raw::keep;
use datanode_actors::vendor::Purpose;
use datanode_schema::names::Vendor;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One repetition: all tasks done, then a kill.
pub fn once(dir: &Path, symbols: usize) -> Fallible<Value> {
    let mut speed = started("work", dir, symbols)?;
    let mut said = String::new();
    speed.stdout.take().ok_or("no stdout")?.read_to_string(&mut said)?;
    if !speed.wait()?.success() {
        return Err("the queue's own side failed".into());
    }
    let mut out: Value = serde_json::from_str(said.trim())?;
    let held = dir.with_extension("held");
    let mut first = started("hold", &held, symbols)?;
    let task = line(&mut first)?;
    first.kill()?;
    let begun = Instant::now();
    first.wait()?;
    let mut second = started("hold", &held, symbols)?;
    let again = line(&mut second)?;
    let seconds = begun.elapsed().as_secs_f64();
    second.kill()?;
    second.wait()?;
    if task != again {
        return Err(format!("after the kill {again} was claimed, not {task}").into());
    }
    if let Some(o) = out.as_object_mut() {
        o.insert("reclaim_seconds".into(), json!(seconds));
    }
    Ok(out)
}

fn started(part: &str, dir: &Path, symbols: usize) -> Fallible<Child> {
    let mut c = Command::new(std::env::current_exe()?);
    c.args(["--symbols", &symbols.to_string(), "--child", part]).arg(dir).stdout(Stdio::piped());
    Ok(c.spawn()?)
}

fn line(child: &mut Child) -> Fallible<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().ok_or("no stdout")?).read_line(&mut line)?;
    if line.is_empty() { Err("the claimant ended".into()) } else { Ok(line) }
}

/// One part: `work` does all tasks, `hold` claims one batch, says which, and waits to be killed.
pub fn child(part: &str, dir: &Path, plan: &Plan<'_>) -> Fallible<()> {
    std::fs::create_dir_all(dir)?;
    let (node, run) = (node::open(dir, plan)?, Arc::new(node::run(plan)?));
    node.queue.open(&node)?;
    let begun = Instant::now();
    let tasks = audit(&node, &run, Scope::Everything)?.missing;
    let enqueue = begun.elapsed().as_secs_f64();
    if part == "hold" {
        node.queue.begin(&node, &run, Purpose::Backfill)?;
        let claimed = next(&node, &run, BEST)?.ok_or("nothing to claim")?;
        println!("{:?} {} {}", claimed.ask.symbols, claimed.ask.from, claimed.ask.to);
        std::io::stdout().flush()?;
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    let begun = Instant::now();
    node.queue.begin(&node, &run, Purpose::Backfill)?;
    let claimants: Vec<_> = (0..8)
        .map(|i| {
            let (node, run) = (node.clone(), run.clone());
            let vendor = VENDORS.get(i % VENDORS.len()).copied().unwrap_or(BEST);
            std::thread::spawn(move || claimant(&node, &run, vendor).map_err(|e| e.to_string()))
        })
        .collect();
    let mut waits: Vec<(f64, usize)> = Vec::new();
    for c in claimants {
        waits.extend(c.join().map_err(|_| "a claimant stopped")??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let done: usize = waits.iter().map(|(_, n)| n).sum();
    if done as u64 != tasks {
        return Err(format!("{done} of {tasks} tasks were done").into());
    }
    let mut batches: Vec<f64> = waits.iter().map(|(ms, _)| *ms).collect();
    let mut each: Vec<f64> = waits
        .iter()
        .flat_map(|(ms, n)| std::iter::once(*ms).chain(std::iter::repeat_n(0.0, n.saturating_sub(1))))
        .collect();
    batches.sort_by(f64::total_cmp);
    each.sort_by(f64::total_cmp);
    let out = json!({
        "enqueue_per_second": tasks as f64 / enqueue,
        "tasks_per_second": tasks as f64 / seconds,
        "claim_p50_ms": quantile(&each, 0.5),
        "claim_p99_ms": quantile(&each, 0.99),
        "batch_p50_ms": quantile(&batches, 0.5),
        "batch_p99_ms": quantile(&batches, 0.99),
        "batches": batches.len(),
        "tasks_a_batch": tasks as f64 / batches.len().max(1) as f64,
    });
    println!("{out}");
    Ok(())
}

/// Claims and completes until there is nothing left; milliseconds and tasks of each claim.
fn claimant(node: &Node, run: &RunContext, vendor: Vendor) -> Fallible<Vec<(f64, usize)>> {
    let mut out = Vec::new();
    loop {
        let begun = Instant::now();
        let claimed = match node.queue.next(node, run, vendor)? {
            Next::Work(c) => c,
            Next::Done => return Ok(out),
            Next::Wait(ms) => {
                std::thread::sleep(Duration::from_millis(ms.min(2)));
                continue;
            }
        };
        out.push((begun.elapsed().as_secs_f64() * 1e3, node::tasks(node, &claimed)));
        let answer = node::nothing(&claimed)?;
        let mut told = Told::of(&answer);
        if keep(node, run, &claimed, answer)?.dropped > 0 {
            told.outcome = None;
        }
        node.queue.settle(node, &claimed, told)?;
    }
}

fn next(node: &Node, run: &RunContext, vendor: Vendor) -> Fallible<Option<Claimed>> {
    Ok(match node.queue.next(node, run, vendor)? {
        Next::Work(c) => Some(*c),
        Next::Wait(_) | Next::Done => None,
    })
}
