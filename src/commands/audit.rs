//! `datanode audit`: what is missing, and with `--deep` whether the files are what manifests and state say.

use super::global::Global;
use super::nightly::{print_summary, progress};
use super::table::thousands;
use crate::failure::{Code, Done, Failure};
use crate::system;
use crate::telemetry;
use crate::wiring::wire;
use datanode_actors::audit::{AuditError, DeepReport, deep};
use datanode_actors::schedule::{CyclePlan, last_session};
use datanode_schema::names::Stage;
use serde_json::json;

/// Audits; the files first, so that what they lack is counted.
///
/// # Errors
/// Exit 3 where a file is gone or altered, after everything was looked at.
pub fn audit(g: &Global, with_files: bool) -> Done {
    let settings = g.settings()?;
    telemetry::start(&settings);
    let clock = g.clock();
    let wired = wire(&settings, &clock)?;
    let as_of = last_session(&wired.node.registry(), clock.now());
    let report = if with_files { Some(deep(&wired.node).map_err(of_audit)?) } else { None };
    let plan = CyclePlan { as_of, window: None, only: vec![Stage::Audit], caps: wired.node.caps };
    let summary = system::run_cycle(wired, &plan, progress, |_| {})?;
    if g.json {
        println!("{}", json!({"audit": summary, "deep": report}));
    } else {
        print_summary(&summary);
        report.iter().for_each(print_report);
    }
    match report.map_or(0, |r| r.findings.len()) {
        0 => Ok(()),
        n => {
            let what = "lost or altered; each is named above with what was done about it";
            Err(Failure::new(Code::Integrity, format!("{n} files are {what}. Run `datanode nightly`")))
        }
    }
}

fn print_report(r: &DeepReport) {
    let (raw, curated) = (thousands(r.raw_files), thousands(r.curated_files));
    let (raw_bytes, curated_bytes) = (thousands(r.raw_bytes), thousands(r.curated_bytes));
    println!(
        "read {raw} raw files ({} rows, {raw_bytes} bytes) and {curated} curated files ({curated_bytes} bytes)",
        thousands(r.rows)
    );
    if r.book_files + r.offloaded > 0 {
        let (here, there) = (thousands(r.book_files), thousands(r.offloaded));
        println!("{here} files of order books are here, {there} were offloaded and verified there");
    }
    for f in &r.findings {
        println!("{}: {}; {}", f.path, f.what, f.done);
    }
}

fn of_audit(e: AuditError) -> Failure {
    match e {
        AuditError::Store(e) => crate::wiring::of_store(e),
        e @ AuditError::Manifest(_) => Failure::new(Code::Integrity, e.to_string()),
        e @ (AuditError::Raw(_) | AuditError::Io { .. }) => Failure::failed(e),
    }
}
