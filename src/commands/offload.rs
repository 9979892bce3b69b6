//! `datanode offload`.

use super::global::Global;
use crate::failure::{Code, Done, Failure};
use crate::system::stoppable;
use crate::telemetry;
use crate::wiring::{of_store, wire};
use datanode_actors::node::Node;
use datanode_actors::offload::{Item, OffloadError, OffloadPlan, Offloaded, offload as do_it, plan};

/// Copies, verifies, records, and removes what is old enough; or prints what that would be.
///
/// # Errors
/// 1 rclone could not copy, 2 no remote or no rclone, 3 a file there or here is not what it should be, 6 while a node runs.
pub fn offload(g: &Global, dry_run: bool) -> Done {
    let settings = g.settings()?;
    telemetry::start(&settings);
    let node = wire(&settings, &g.clock()).map_err(while_running)?.node;
    // Asked to stop, it takes rclone with it: nobody would verify what it still copied.
    let done = stoppable(&node, || run(g, &node, dry_run)).flatten();
    node.store.clone().close().map_err(of_store)?;
    done
}

fn while_running(f: Failure) -> Failure {
    if f.code != Code::Busy {
        return f;
    }
    Failure::new(Code::Busy, format!("{}; a running node offloads at the end of each nightly cycle", f.message))
}

fn run(g: &Global, node: &Node, dry_run: bool) -> Done {
    let Some(rules) = &node.publishing.offload else { return Err(of_offload(OffloadError::Off)) };
    let line = |what: &str, i: &Item| println!("{what}  {}  {}", i.path, i.bytes);
    if dry_run {
        let p: OffloadPlan = plan(node, rules).map_err(of_offload)?;
        if g.json {
            println!("{}", serde_json::to_string(&p).map_err(Failure::failed)?);
            return Ok(());
        }
        p.copy.iter().for_each(|i| line("copy", i));
        p.remove.iter().for_each(|i| line("remove", i));
        return Ok(());
    }
    let done: Offloaded = do_it(node, rules).map_err(of_offload)?;
    if g.json {
        println!("{}", serde_json::to_string(&done).map_err(Failure::failed)?);
    } else {
        done.safe.iter().for_each(|i| line("safe", i));
        done.removed.iter().for_each(|i| line("removed", i));
    }
    if !done.differ.is_empty() {
        let said = done.failed.map(|f| format!("\n  rclone: {f}")).unwrap_or_default();
        let what = format!(
            "{} files were not verified and stay here:\n  {}{said}",
            done.differ.len(),
            done.differ.join("\n  ")
        );
        return Err(Failure::new(Code::Integrity, what));
    }
    match done.failed {
        Some(said) => Err(Failure::failed(format!(
            "{}: {said}; what arrived is verified and recorded, run it again",
            rules.remote
        ))),
        None => Ok(()),
    }
}

fn of_offload(e: OffloadError) -> Failure {
    match e {
        OffloadError::Store(s) => of_store(s),
        OffloadError::Off | OffloadError::Program { .. } => Failure::usage(e),
        OffloadError::Books(ref b) if matches!(b, datanode_actors::books::BooksError::Manifest(_)) => {
            Failure::new(Code::Integrity, e.to_string())
        }
        other => Failure::failed(other),
    }
}
