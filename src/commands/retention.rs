//! `datanode retention`.

use super::global::Global;
use super::table::{print, thousands};
use crate::failure::{Code, Done, Failure};
use crate::telemetry;
use crate::wiring::{of_store, wire};
use clap::Subcommand;
use datanode_actors::node::Node;
use datanode_actors::quarantine::QuarantineError;
use datanode_actors::retention::{Plan, RetentionError, Row, apply, plan};
use std::sync::Arc;

/// What can be done.
#[derive(Subcommand)]
pub enum RetentionCommand {
    /// Every pack, here and at each destination: whether it stays, and why. Changes nothing
    Plan,
    /// Do what `plan` shows
    Apply {
        /// Only where the plan's digest is this one: what was shown is what is done
        #[arg(long, value_name = "DIGEST")]
        expect: Option<String>,
    },
    /// Keep a pack whatever the rules say
    Pin {
        /// Its export id
        id: String,
        /// Why, in a line
        #[arg(long, value_name = "WHY")]
        note: String,
    },
    /// Let the rules hold for a pack again
    Unpin {
        /// Its export id
        id: String,
        /// Why, in a line
        #[arg(long, value_name = "WHY", default_value = "no longer needed")]
        why: String,
    },
}

/// Runs the command.
///
/// # Errors
/// 5 where there is no such pack, 6 while a node runs: then `datanode-admin retention` shows the plan and pins.
pub fn retention(g: &Global, command: &RetentionCommand) -> Done {
    let settings = g.settings()?;
    telemetry::start(&settings);
    let node = wire(&settings, &g.clock()).map_err(|f| while_running(f, command))?.node;
    let done = act(g, &node, command);
    node.store.clone().close().map_err(of_store)?;
    done
}

/// A node that runs holds the folder: the same is asked of it.
fn while_running(f: Failure, command: &RetentionCommand) -> Failure {
    if f.code != Code::Busy {
        return f;
    }
    let instead = match command {
        RetentionCommand::Plan => "ask it with `datanode-admin retention plan`".to_owned(),
        RetentionCommand::Apply { .. } => {
            "its next nightly cycle does what `datanode-admin retention plan` shows".to_owned()
        }
        RetentionCommand::Pin { id, .. } => format!("tell it with `datanode-admin retention pin {id} --note WHY`"),
        RetentionCommand::Unpin { id, .. } => format!("tell it with `datanode-admin retention unpin {id}`"),
    };
    Failure::new(Code::Busy, format!("{}; while it runs, {instead}", f.message))
}

fn act(g: &Global, node: &Arc<Node>, command: &RetentionCommand) -> Done {
    let me = format!("uid {}", nix::unistd::geteuid());
    match command {
        RetentionCommand::Plan => show(g, &plan(node, "").map_err(of_retention)?),
        RetentionCommand::Apply { expect } => {
            let plan = plan(node, "").map_err(of_retention)?;
            let c = apply(node, &plan, expect.as_deref()).map_err(of_retention)?;
            if g.json {
                let gone: Vec<&Row> = plan.rows.iter().filter(|r| !r.keep).collect();
                println!(
                    "{}",
                    serde_json::json!({"digest": plan.digest, "clock": plan.clock, "removals": gone, "done": c})
                );
            } else {
                plan.rows
                    .iter()
                    .filter(|r| !r.keep)
                    .for_each(|r| println!("remove  {}  {}  {}", r.place.name, r.place.form, r.export_id));
                plan.clock.iter().for_each(|c| println!("{c}"));
                println!("{} packs stay here, {} removed here, {} at destinations", c.kept, c.removed, c.removed_there);
            }
            match c.refusals.as_slice() {
                [] => Ok(()),
                why => Err(Failure::failed(format!(
                    "not everything went, and `datanode retention apply` goes on: {}",
                    why.join("\n  ")
                ))),
            }
        }
        RetentionCommand::Pin { id, note } => {
            node.acts.pin(id, &me, note).map_err(of_act)?;
            said(g, id, "pinned")
        }
        RetentionCommand::Unpin { id, why } => {
            node.acts.unpin(id, &me, why).map_err(of_act)?;
            said(g, id, "unpinned")
        }
    }
}

fn said(g: &Global, id: &str, what: &str) -> Done {
    if g.json {
        println!("{}", serde_json::json!({"export_id": id, "now": what}));
    } else {
        println!("{what}  {id}");
    }
    Ok(())
}

fn show(g: &Global, plan: &Plan) -> Done {
    if g.json {
        println!("{}", serde_json::to_string(plan).map_err(Failure::failed)?);
        return Ok(());
    }
    let row = |r: &Row| {
        let what = if r.keep { "keep" } else { "remove" };
        let place =
            if r.place.form == "pack" { r.place.name.clone() } else { format!("{} {}", r.place.name, r.place.form) };
        vec![r.export_id.clone(), thousands(r.bytes), place, what.to_owned(), r.why.join("; ")]
    };
    print(&["pack", "bytes", "where", "what", "why"], &plan.rows.iter().map(row).collect::<Vec<_>>());
    plan.clock.iter().for_each(|c| println!("{c}"));
    println!("{} of {} would go; digest {}", plan.removals, plan.rows.len(), plan.digest);
    Ok(())
}

fn of_retention(e: RetentionError) -> Failure {
    match e {
        RetentionError::Store(s) => of_store(s),
        RetentionError::Vault(s) => super::pack::of_seal(&s),
        other => Failure::failed(other),
    }
}

fn of_act(e: QuarantineError) -> Failure {
    match e {
        QuarantineError::Store(s) => of_store(s),
        QuarantineError::Events(_) => Failure::new(Code::Integrity, e.to_string()),
        QuarantineError::Refused(_) => Failure::usage(e),
        QuarantineError::NotFound(_) => Failure::new(Code::NotFound, e.to_string()),
        QuarantineError::Io { .. } => Failure::failed(e),
    }
}
