//! `help` and `names`: what can be asked, and about what.

use crate::admin::AdminContext;
use crate::admin::commands::{COMMANDS, Command, nearest, noun_of};
use crate::admin::protocol::{AdminError, Code};
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::store::{Key, Record, Store, Table};
use datanode_schema::trees::{INCIDENTS, PACKS, RUNS};
use serde::Serialize;
use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

/// The most symbols that `names` lists.
const MAX_SYMBOLS: usize = 20_000;
/// The most ids of a kind that `names` lists.
const MOST_IDS: usize = 100;

/// A command, explained.
#[derive(Clone, Debug, Serialize)]
pub struct CommandHelp {
    /// Its name on the wire.
    pub name: &'static str,
    /// What a person types.
    pub words: &'static str,
    /// The same with its arguments.
    pub usage: String,
    /// What it shows.
    pub summary: &'static str,
    /// A line to try.
    pub example: &'static str,
}

/// The answer of `help`.
#[derive(Clone, Debug, Serialize)]
pub struct Help {
    /// The commands.
    pub commands: Vec<CommandHelp>,
}

/// The answer of `names`.
#[derive(Clone, Debug, Serialize)]
pub struct Names {
    /// Datasets that the registry has.
    pub datasets: Vec<&'static str>,
    /// Symbols of the universe, sorted, at most 20,000.
    pub symbols: Vec<String>,
    /// Vendors that the registry has.
    pub vendors: Vec<&'static str>,
    /// The newest cycles.
    pub runs: Vec<String>,
    /// The newest packs.
    pub packs: Vec<String>,
    /// The newest incidents.
    pub incidents: Vec<u64>,
}

/// Explains all commands, or those of one name: a wire name, what a person types, or a noun.
pub(super) fn help(of: Option<&str>) -> Result<Help, AdminError> {
    let of = of.map(noun_of);
    let wanted = |c: &&Command| of.is_none_or(|n| c.name == n || c.words == n || c.noun() == n);
    let commands: Vec<CommandHelp> = COMMANDS
        .iter()
        .filter(wanted)
        .map(|c| CommandHelp { name: c.name, words: c.words, usage: c.usage(), summary: c.summary, example: c.example })
        .collect();
    match of {
        Some(n) if commands.is_empty() => {
            let near = nearest(n, COMMANDS.iter().map(|c| c.words)).unwrap_or("status");
            Err(AdminError::new(
                Code::UnknownCommand,
                format!("there is no command {n:?}; did you mean `{near}`? `help` lists them all"),
            ))
        }
        _ => Ok(Help { commands }),
    }
}

pub(super) fn names(ctx: &AdminContext) -> Result<Names, AdminError> {
    let registry = (ctx.registry)();
    let symbols: BTreeSet<&str> = registry.universe.iter().map(|(_, s, _)| s).collect();
    Ok(Names {
        datasets: registry.datasets.keys().map(|d: &Dataset| d.name()).collect(),
        symbols: symbols.into_iter().take(MAX_SYMBOLS).map(str::to_owned).collect(),
        vendors: registry.vendors.keys().map(|v: &Vendor| v.name()).collect(),
        runs: newest(&ctx.store, &RUNS)?,
        packs: newest(&ctx.store, &PACKS)?,
        incidents: newest(&ctx.store, &INCIDENTS)?,
    })
}

/// The last keys of a tree whose keys are in the order of time, the newest first.
fn newest<K: Key, V: Record>(store: &Store, table: &Table<K, V>) -> Result<Vec<K>, AdminError> {
    let mut keys = VecDeque::with_capacity(MOST_IDS);
    store.scan(table, &[], |k, _| {
        if keys.len() == MOST_IDS {
            keys.pop_front();
        }
        keys.push_back(k);
        ControlFlow::Continue(())
    })?;
    Ok(keys.into_iter().rev().collect())
}
