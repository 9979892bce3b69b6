//! `datanode collect-books`.

use super::global::Global;
use super::table::{print, thousands};
use crate::collecting;
use crate::failure::{Done, Failure};
use crate::system;
use crate::telemetry;
use crate::wiring::{of_store, wire};
use datanode_actors::books::Board;
use std::time::Duration;

/// Collects in the foreground: for so many seconds, for so many ticks of the cadence, or until SIGTERM.
///
/// # Errors
/// With the exit code of what stopped it.
pub fn collect_books(g: &Global, seconds: Option<u64>, snapshots: Option<u64>) -> Done {
    let settings = g.settings()?;
    telemetry::start(&settings);
    let wired = wire(&settings, &g.clock())?;
    let store = wired.node.store.clone();
    let parts = collecting::parts(&settings, &wired.node, snapshots.unwrap_or(0), Board::default())?;
    let Some(parts) = parts else {
        return Err(Failure::usage("vendors.polymarket.enabled is false: set it to true to collect order books"));
    };
    let summary = system::collect_books(parts, seconds.map(Duration::from_secs))?;
    store.close().map_err(of_store)?;
    let s = summary?;
    if g.json {
        println!("{}", serde_json::to_string(&s).map_err(Failure::failed)?);
        return Ok(());
    }
    let c = &s.counters;
    let row = |name: &str, n: u64| vec![name.to_owned(), thousands(n)];
    print(
        &["what", "count"],
        &[
            row("ticks", c.ticks),
            row("missed ticks", c.missed_ticks),
            row("tokens", s.tokens),
            row("books", c.books),
            row("gaps", s.gaps),
            row("longest silence (s)", s.longest_silence_seconds),
            row("requests", c.requests),
            row("refusals", c.rate_limited + c.blocked + c.failed),
            row("files closed", c.closed_files),
            row("books recovered", c.recovered_books),
        ],
    );
    Ok(())
}
