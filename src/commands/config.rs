//! `datanode config`: what holds, and where it comes from.

use super::backup::config_file;
use super::global::Global;
use super::table::print;
use crate::config::shown;
use crate::failure::{Done, Failure, printable_line};
use crate::wiring::{destinations, registry, replica};
use clap::Subcommand;
use serde_json::Value;

/// What can be done with the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Every setting and its value; secrets as references, never what they lead to
    Show {
        /// Where each value comes from: default, file and line, environment variable, flag; and whether a change needs a restart
        #[arg(long)]
        origin: bool,
    },
    /// Read everything that a start reads, secrets included, and start nothing
    Check,
}

/// Runs the command.
///
/// # Errors
/// Exit 2: what a start would refuse.
pub fn config(g: &Global, c: &ConfigCommand) -> Done {
    match c {
        ConfigCommand::Show { origin } => show(g, *origin),
        ConfigCommand::Check => check(g),
    }
}

fn show(g: &Global, origin: bool) -> Done {
    let all = shown(&g.settings()?, config_file(g).as_deref(), g.data_dir.is_some()).map_err(Failure::usage)?;
    let text = |v: &Value| match v.as_str() {
        Some(s) => format!("\"{}\"", printable_line(s)),
        None => v.to_string(),
    };
    let mut rows = Vec::new();
    for s in &all {
        if g.json {
            println!("{}", serde_json::to_string(s).map_err(Failure::failed)?);
        } else if origin {
            rows.push(vec![s.setting.clone(), text(&s.value), s.origin.clone(), s.takes_effect.to_owned()]);
        } else {
            rows.push(vec![s.setting.clone(), text(&s.value)]);
        }
    }
    match (g.json, origin) {
        (true, _) => {}
        (false, true) => print(&["setting", "value", "from", "a change holds after"], &rows),
        (false, false) => print(&["setting", "value"], &rows),
    }
    Ok(())
}

fn check(g: &Global) -> Done {
    let settings = g.settings()?;
    let r = registry(&settings)?;
    let vendors = crate::checks::vendors(&settings).map_err(Failure::usage)?;
    let places = destinations(&settings)?.len();
    replica(&settings)?;
    crate::backing::access(&settings, None)?;
    let symbols: usize = r.universe.datasets.values().map(|m| m.len()).sum();
    if g.json {
        println!(
            "{}",
            serde_json::json!({"ok": true, "datasets": r.datasets.len(), "symbols": symbols, "vendors": vendors, "destinations": places})
        );
    } else {
        println!(
            "the configuration is good: {} datasets, {symbols} symbols; {vendors}; {places} destinations",
            r.datasets.len()
        );
    }
    Ok(())
}
