//! Twenty years of daily bars that are all held and judged, and their audit.

use crate::Fallible;
use crate::figure::{Figure, print};
use crate::node::{self, Plan};
use datanode_actors::audit::{Scope, audit};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::day_number;
use datanode_schema::keys::{HoldingKey, Month, PageKey};
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::records::{Holding, HoldingDay, LedgerDay, LedgerPage, Print};
use datanode_schema::store::Batch;
use datanode_schema::trees::{HOLDINGS, LEDGER};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const DAYS: (&str, &str) = ("2005-01-03", "2024-12-31");
/// Puts of one commit.
const COMMIT: usize = 4_000;

fn plan(symbols: usize) -> Plan<'static> {
    Plan { dataset: "equities_bars", symbols, days: DAYS, batch: 250, rows: 1 }
}

/// Fills a state, then audits it in new processes.
pub fn measure(dir: &Path, symbols: usize, reps: usize) -> Fallible<()> {
    child("fill", dir, symbols)?;
    let (mut seconds, mut cpu, mut peak, mut ledger, mut sessions) = (vec![], vec![], vec![], vec![], 0.0);
    for _ in 0..reps.max(1) {
        let said = child("audit", dir, symbols)?;
        let of = |name: &str| said.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        sessions = of("sessions");
        seconds.push(of("seconds"));
        cpu.push(of("cpu"));
        peak.push(of("peak_mb"));
        ledger.push(of("ledger_seconds"));
    }
    let part = format!("audit: {:.1} million symbol-days", sessions / 1e6);
    let note = format!("{symbols} symbols; holdings × calendar × universe × open tasks, one thread");
    print(Figure::of(&part, "audited", "s", &seconds).map(|f| f.note(note)));
    print(Figure::of(&part, "CPU of the audit", "s", &cpu).map(|f| f.note("all threads of the process")));
    print(
        Figure::of(&part, "verdicts of the ledger counted", "s", &ledger).map(|f| f.note("every page of the ledger")),
    );
    print(Figure::of(&part, "peak memory", "MB", &peak).map(|f| f.note("resident, opening the state included")));
    Ok(())
}

fn child(part: &str, dir: &Path, symbols: usize) -> Fallible<Value> {
    let out = Command::new(std::env::current_exe()?).args(["--child", part, &symbols.to_string()]).arg(dir).output()?;
    if !out.status.success() {
        return Err(format!("the {part} process: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// One part, in this process.
pub fn part(part: &str, symbols: usize, dir: &Path) -> Fallible<()> {
    std::fs::create_dir_all(dir)?;
    if part == "fill" { fill(dir, symbols) } else { audited(dir, symbols) }
}

fn fill(dir: &Path, symbols: usize) -> Fallible<()> {
    let node = node::open(dir, &plan(symbols))?;
    let mut months: BTreeMap<Month, Vec<i32>> = BTreeMap::new();
    for date in Calendar::Xnys.session_dates(DAYS.0.parse()?, DAYS.1.parse()?) {
        months.entry(Month::of(date)).or_default().push(day_number(date));
    }
    let mut batch = Batch::new();
    for i in 0..symbols {
        let symbol = format!("S{i:05}");
        for (month, days) in &months {
            let held = days.iter().map(|d| HoldingDay { day: *d, rows: 1, regular: 1, ..HoldingDay::default() });
            let key = HoldingKey {
                dataset: Dataset::EquitiesBars,
                symbol: symbol.clone(),
                month: *month,
                vendor: Vendor::Alpaca,
            };
            batch.put(&HOLDINGS, &key, &Holding::pack(month.first_day(), held))?;
            let key = PageKey { dataset: Dataset::EquitiesBars, symbol: symbol.clone(), month: *month };
            let verdicts: Vec<LedgerDay> = days.iter().map(|d| verdict(i, *d)).collect();
            batch.put(&LEDGER, &key, &LedgerPage::pack(month.first_day(), &verdicts))?;
            if batch.len() >= COMMIT {
                node.store.commit(std::mem::take(&mut batch))?;
            }
        }
    }
    node.store.commit(batch)?;
    node.store.clone().close()?;
    println!("{}", json!({}));
    Ok(())
}

fn verdict(symbol: usize, day: i32) -> LedgerDay {
    let mut digest = [0u8; 16];
    blake3::Hasher::new().update(&symbol.to_le_bytes()).update(&day.to_le_bytes()).finalize_xof().fill(&mut digest);
    LedgerDay {
        day,
        verdict: 1,
        reasons: 0,
        expected: 1,
        rows: 1,
        vendor: Vendor::Alpaca.number(),
        context: 1,
        first_seen: 1_700_000_000,
        updated_at: 1_700_000_000,
        print: Print { digest, open: 10.0, close: 10.5, volume: 1e6 },
    }
}

fn audited(dir: &Path, symbols: usize) -> Fallible<()> {
    let plan = plan(symbols);
    let (node, run) = (node::open(dir, &plan)?, node::run(&plan)?);
    let (begun, before) = (Instant::now(), cpu()?);
    let counters = audit(&node, &run, Scope::Everything)?;
    let (seconds, used) = (begun.elapsed().as_secs_f64(), cpu()? - before);
    if counters.absent > 0 {
        return Err(format!("{} absences in a whole history", counters.absent).into());
    }
    let begun = Instant::now();
    let mut green = 0u64;
    node.store.scan(&LEDGER, &[], |_, page| {
        green += page.groups.iter().map(|g| u64::from(g.days.to_native().count_ones())).sum::<u64>();
        ControlFlow::Continue(())
    })?;
    if green != counters.sessions {
        return Err(format!("{green} verdicts for {} sessions", counters.sessions).into());
    }
    let ledger_seconds = begun.elapsed().as_secs_f64();
    let peak = std::fs::read_to_string("/proc/self/status")?
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok())
        .ok_or("no VmHWM")?;
    let said = json!({"sessions": counters.sessions, "seconds": seconds, "cpu": used,
        "ledger_seconds": ledger_seconds, "peak_mb": peak * 1024.0 / 1e6});
    println!("{said}");
    node.store.clone().close()?;
    Ok(())
}

/// CPU-seconds of this process.
fn cpu() -> Fallible<f64> {
    crate::child::cpu_of(std::process::id()).ok_or_else(|| "no /proc/self/stat".into())
}
