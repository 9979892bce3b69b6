//! `datanode alert`: whether messages arrive.

use super::global::Global;
use crate::alerts::{Receivers, trial};
use crate::failure::{Done, Failure};
use crate::wiring::host_id;
use clap::Subcommand;
use datanode_actors::alert::{Posted, Poster};
use serde_json::json;
use std::time::Duration;

/// What can be done with alerts.
#[derive(Subcommand)]
pub enum AlertCommand {
    /// Send a test message to each receiver of [alerts], and say what came back
    Test,
}

/// Runs the command. It needs no running node.
///
/// # Errors
/// 1 a receiver did not take it, 2 none is configured, or a reference leads to nothing.
pub fn alert(g: &Global, AlertCommand::Test: &AlertCommand) -> Done {
    let settings = g.settings()?;
    let to = Receivers::of(&settings)?;
    if to.told.is_empty() && to.dead_man.is_none() {
        return Err(Failure::usage(
            "nobody is told: set alerts.webhook, alerts.ntfy or alerts.dead_man to a reference",
        ));
    }
    let poster = Poster::new(Duration::from_secs(10)).map_err(Failure::failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let (host, message) = (host_id(&settings), trial(g.clock().now().timestamp()));
    let mut came: Vec<(&str, Posted)> = runtime.block_on(async {
        let mut came = Vec::new();
        for r in &to.told {
            came.push((r.name, r.send(&poster, &host, &message).await));
        }
        came
    });
    if to.dead_man.is_some() {
        // Asking it would say that a night was good.
        came.push(("dead_man", Posted::Failed("not asked: that would tell it that a night was good")));
    }
    let mut failed = 0;
    for (name, posted) in &came {
        let ok = matches!(posted, Posted::Taken(_));
        failed += usize::from(!ok && *name != "dead_man");
        if g.json {
            println!("{}", json!({"receiver": name, "ok": ok, "message": posted.to_string()}));
        } else {
            println!("{name:<9} {posted}");
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(Failure::failed(format!(
            "{n} receivers did not take the message; check the addresses behind the references of [alerts]"
        ))),
    }
}
