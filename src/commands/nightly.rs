//! `datanode nightly`.

use super::global::Global;
use super::table::{print, thousands};
use crate::alerts::{Alerter, after_cycle};
use crate::failure::{Done, Failure};
use crate::system;
use crate::telemetry;
use crate::wiring::wire;
use chrono::NaiveDate;
use datanode_actors::node::{Node, RunCaps};
use datanode_actors::schedule::{CyclePlan, RunSummary, StageDone, last_session};
use datanode_schema::calendar::Calendar;
use datanode_schema::names::Stage;
use serde_json::Value;
use std::sync::Arc;

/// The options of the command.
pub struct Options {
    /// The last session considered.
    pub as_of: Option<NaiveDate>,
    /// Only these sessions.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// Only these stages.
    pub stages: Vec<Stage>,
    /// What it may use up.
    pub caps: Caps,
}

/// The caps of the command line; None: as the settings say.
#[derive(Clone, Copy, Default)]
pub struct Caps {
    /// Minutes during which vendors are asked.
    pub minutes: Option<u32>,
    /// Requests over all vendors.
    pub requests: Option<u64>,
    /// Days before the last session.
    pub lookback_days: Option<u32>,
}

impl Caps {
    fn over(self, settings: RunCaps) -> RunCaps {
        RunCaps {
            minutes: self.minutes.unwrap_or(settings.minutes),
            requests: self.requests.unwrap_or(settings.requests),
            lookback_days: self.lookback_days.unwrap_or(settings.lookback_days),
        }
    }
}

/// Runs one cycle.
///
/// # Errors
/// With the exit code of what stopped it.
pub fn nightly(g: &Global, o: &Options) -> Done {
    let settings = g.settings()?;
    telemetry::start(&settings);
    let clock = g.clock();
    let wired = wire(&settings, &clock)?;
    let as_of = match o.as_of {
        Some(d) if !Calendar::Xnys.covers(d) => {
            return Err(Failure::usage(format!("--as-of {d}: the calendars do not know it")));
        }
        Some(d) if d > clock.now().date_naive() => {
            return Err(Failure::usage(format!("--as-of {d} lies in the future; it is the last session considered")));
        }
        Some(d) => d,
        None => last_session(&wired.node.registry(), clock.now()),
    };
    if let Some((from, to)) = o.window
        && from > to
    {
        return Err(Failure::usage(format!("--from {from} lies after --to {to}")));
    }
    let plan = CyclePlan { as_of, window: o.window, only: o.stages.clone(), caps: o.caps.over(wired.node.caps) };
    let began_at = clock.now().timestamp();
    let mut alerter = Alerter::new(&settings, began_at)?;
    let after = |node: &Arc<Node>| {
        if alerter.tells() {
            after_cycle(&mut alerter, node, began_at);
        }
    };
    let summary = system::run_cycle(wired, &plan, progress, after)?;
    if g.json {
        println!("{}", serde_json::to_string(&summary).map_err(Failure::failed)?);
    } else {
        print_summary(&summary);
    }
    Ok(())
}

/// One line a stage, on stderr.
pub fn progress(s: &StageDone) {
    let seconds = s.millis as f64 / 1000.0;
    let earlier = if s.before { " (done before)" } else { "" };
    eprintln!("{:<10} {seconds:>7.2} s  {}{earlier}", s.stage.name(), says(s));
}

/// The counters that a person wants first.
fn says(s: &StageDone) -> String {
    let n = |k: &str| s.counters.get(k).and_then(Value::as_u64).unwrap_or(0);
    let c = |k: &str| thousands(n(k));
    match s.stage {
        Stage::Ingest if n("requests") == 0 => "nothing to ask".to_owned(),
        Stage::Ingest => format!("{} rows in {} requests, {} refusals", c("rows"), c("requests"), c("refusals")),
        Stage::Audit => format!(
            "{} sessions, {} absent ({} missing, {} explained, {} pending), {} short, {} with holes",
            c("sessions"),
            c("absent"),
            c("missing"),
            c("explained"),
            c("pending"),
            c("short"),
            c("holes")
        ),
        Stage::Backfill => format!(
            "{} requests, {} rows; {} absent ({} missing, {} explained), {} short, {} with holes",
            c("requests"),
            c("rows"),
            c("absent"),
            c("missing"),
            c("explained"),
            c("short"),
            c("holes")
        ),
        Stage::Curate if n("touched") == 0 => "nothing touched: no curated byte changed".to_owned(),
        Stage::Curate => format!("{} of {} touched files written, {} rows", c("written"), c("touched"), c("rows")),
        Stage::Qc => format!(
            "{} partitions judged; {} GREEN, {} AMBER, {} RED, {} PENDING",
            c("judged"),
            c("green"),
            c("amber"),
            c("red"),
            c("pending")
        ),
        Stage::Export => {
            let id = s.counters.get("export_id").and_then(Value::as_str).unwrap_or("");
            if n("unchanged") == 1 {
                format!("nothing changed: {id} stands")
            } else {
                format!("{id}: {} files, {} rows, {} excluded", c("files"), c("rows"), c("excluded"))
            }
        }
        Stage::Seal if n("unchanged") == 1 => "sealed before".to_owned(),
        Stage::Seal => format!("{} objects, {} bytes", c("objects"), c("stored_bytes")),
        Stage::Ship => format!("{} files written, {} there already", c("written"), c("present")),
        Stage::Retention => format!("{} packs kept, {} removed", c("kept"), c("removed")),
    }
}

/// The summary table, on stdout.
pub fn print_summary(s: &RunSummary) {
    let rows: Vec<Vec<String>> = s
        .stages
        .iter()
        .map(|d| vec![d.stage.name().to_owned(), format!("{:.3}", d.millis as f64 / 1000.0), says(d)])
        .collect();
    print(&["stage", "seconds", "what"], &rows);
    let total: u64 = s.stages.iter().map(|d| d.millis).sum();
    println!("run {}  as of {}  {:.3} s  pack {}", s.run, s.as_of, total as f64 / 1000.0, or_none(&s.export_id));
}

fn or_none(s: &str) -> &str {
    if s.is_empty() { "(none)" } else { s }
}
