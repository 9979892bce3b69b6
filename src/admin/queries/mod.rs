//! One function a command, over the store. Each returns a typed result, whose fields are the wire's fields.
//!
//! On the wire a day is `YYYY-MM-DD`, a time RFC 3339 in UTC, a hash hex, an absent thing null. Lists come as pages:
//! `total` (matches), `offset`, `limit`, `rows`.

mod anchor;
mod books;
mod budgets;
mod counted;
mod coverage;
mod desk;
pub mod disk;
mod events;
mod explain;
mod facts;
mod gaps;
mod help;
mod keys;
mod lately;
mod ledger;
mod packs;
mod process;
mod quarantine;
mod reasons;
mod refusals;
mod retention;
mod runs;
mod ship;
mod standings;
mod status;
mod vault;
mod vendors;
mod work;

pub use books::{Books, TokenRow};
pub use budgets::{BudgetRow, Budgets};
pub use counted::Counted;
pub use coverage::{Cell, Coverage, DayCell, Heat, Kind, MapRow, Maps, MonthMap, SymbolMonth, heat, month};
pub use desk::{Changed, Config, DemotionLine, Explanation, Paused, ReloadedConfig, ScoreRow};
pub use events::{EventRow, Events};
pub use explain::{Absent, Explained, HeldRow, RequestRow};
pub use facts::{
    DiskFact, Facts, GapFact, IncidentFact, LaneFact, PackFact, RunFact, Seen, ShipFact, VaultFact, VendorFact, facts,
    facts_of,
};
pub use gaps::{Gaps, Run as GapRun};
pub use help::{CommandHelp, Help, Names};
pub use keys::{KeyList, KeyRow};
pub use lately::{Known, Lately};
pub use ledger::{DecidedBy, LedgerList, LedgerRow, Meaning, QcSummary, ReasonCount, VerdictCount};
pub use packs::{PackDetails, PackRow, ShipmentRow};
pub use process::{Begun, LogLevel};
pub use quarantine::{HoldRow, IncidentDone, IncidentRow, Said};
pub use reasons::ReasonRow;
pub use refusals::{OtherRow, RefusalRow, RefusalsExplained};
pub use retention::{Pinned, Retention};
pub use runs::{RunDetails, RunRow, StageRow, newest_runs};
pub use ship::{DestinationRow, ShipStatus, Shipped};
pub use standings::{StandingRow, standings};
pub use status::Status;
pub use vault::VaultStatus;
pub use vendors::{CapabilityRow, DemotionRow, VendorDetails, VendorRow, Vendors};
pub use work::{AnswerRow, BookmarkRow, LeaseRow, QueueList, TaskRow, WindowRow};

use vendors::Tally;

use super::AdminContext;
use super::commands::{Args, find, nearest};
use super::protocol::{AdminError, Code};
use datanode_schema::clock::{date_of, rfc3339_of};
use datanode_schema::keys::SeriesKey;
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::registry::Registry;
use datanode_schema::store::{Key, Record, Store, StoreError, Table};
use datanode_schema::trail::{Begun as BegunChange, State};
use datanode_schema::trees::{BOOKMARKS, GAPS, HOLDINGS, LEDGER};
use serde::Serialize;
use serde_json::{Map, Value};
use std::ops::ControlFlow;

/// Answers a command of the user `uid`. Blocking: it reads the store. What changes something is logged with the user, and noted
/// durably before it is done: in the trail, or by the act itself.
///
/// # Errors
/// What the wire says instead of a result.
pub fn answer(ctx: &AdminContext, cmd: &str, args: Map<String, Value>, uid: u32) -> Result<Value, AdminError> {
    let command = find(cmd)?;
    if !command.changes() {
        return dispatch(ctx, command.name, &Args::check(command, args)?, uid);
    }
    let a = Args::check(command, args.clone())?;
    let begun = if command.notes_itself() { None } else { Some(begin(ctx, command.name, &args, uid)?) };
    let answer = dispatch(ctx, command.name, &a, uid);
    let (state, what) = match &answer {
        Ok(done) => (State::Done, events::in_words(done.as_object().unwrap_or(&Map::new()))),
        Err(e) => (State::Refused, e.to_string()),
    };
    let args = Value::Object(args).to_string();
    match &answer {
        Ok(done) => tracing::info!(uid, cmd, args, %done, "a person changed the node"),
        Err(e) => tracing::warn!(uid, cmd, args, error = %e, "a person asked for a change and was refused"),
    }
    if let Some(begun) = begun
        && let Err(e) = ctx.trail.end(begun, ctx.clock.now().timestamp(), state, &what)
    {
        tracing::error!(error = %e, cmd, "what came of a change could not be noted; `events` shows it as unknown");
    }
    answer
}

/// Notes who asks for what; a change that leaves no trace is not made.
fn begin(ctx: &AdminContext, cmd: &str, args: &Map<String, Value>, uid: u32) -> Result<BegunChange, AdminError> {
    ctx.trail.begin(ctx.clock.now().timestamp(), &format!("uid {uid}"), cmd, args).map_err(|e| {
        let folder = ctx.data.events();
        let what = format!("{}: the change could not be noted ({e}), so it was not made; free the disk, or give the folder back to this user", folder.display());
        AdminError::new(Code::Failed, what)
    })
}

fn dispatch(ctx: &AdminContext, name: &str, a: &Args, uid: u32) -> Result<Value, AdminError> {
    match name {
        "status" => value(status::status(ctx)?),
        "vendors" => value(vendors::vendors(ctx)?),
        "vendors.show" => value(vendors::show(ctx, a)?),
        "queue.list" => value(work::queue(ctx, a)?),
        "queue.retry" => value(desk::retry(ctx, a)?),
        "queue.cancel" => value(desk::cancel(ctx, a)?),
        "queue.pause" => value(desk::pause(ctx, a, true, uid)?),
        "queue.resume" => value(desk::pause(ctx, a, false, uid)?),
        "explain" => value(desk::explain(ctx, a)?),
        "demotions" => value(desk::demotions(ctx, a)?),
        "demotions.clear" => value(desk::clear(ctx, a)?),
        "demotions.explain" => value(refusals::explain(ctx, a)?),
        "budgets" => value(budgets::budgets(ctx)?),
        "keys" => value(keys::keys(ctx)?),
        "events" => value(events::events(ctx, a)?),
        "log" => value(process::log(ctx)),
        "log.level" => value(process::set_level(ctx, a)?),
        "runs.now" => value(process::run_now(ctx)?),
        "watch" => Err(AdminError::new(Code::BadArgs, "watching is the client's: ask again whenever you want to know")),
        "config" => value(desk::config(ctx)),
        "config.reload" => value(desk::reload(ctx, uid)?),
        "leases" => value(work::leases(ctx, a)?),
        "bookmarks" => value(work::bookmarks(ctx, a)?),
        "gaps" => value(gaps::gaps(ctx, a)?),
        "books" => value(books::books(ctx, a)?),
        "qc.summary" => value(ledger::summary(ctx, a)?),
        "qc.show" => value(ledger::show(ctx, a)?),
        "qc.red" => value(ledger::red(ctx, a)?),
        "qc.explain" => value(explain::explain(ctx, a)?),
        "qc.hold" => value(quarantine::hold(ctx, a, uid)?),
        "qc.release" => value(quarantine::release(ctx, a, uid)?),
        "incident.list" => value(quarantine::list(ctx, a)?),
        "incident.show" => value(quarantine::show(ctx, a)?),
        "incident.open" => value(quarantine::open(ctx, a, uid)?),
        "incident.close" => value(quarantine::close(ctx, a, uid)?),
        "coverage" => value(coverage::coverage(ctx, a)?),
        "runs" => value(runs::list(ctx, a)?),
        "runs.show" => value(runs::show(ctx, a)?),
        "packs" => value(packs::list(ctx, a)?),
        "packs.show" => value(packs::show(ctx, a)?),
        "vault" => value(vault::show(ctx)?),
        "retention.plan" => value(retention::show(ctx, a)?),
        "retention.pin" => value(retention::pin(ctx, a, uid)?),
        "retention.unpin" => value(retention::unpin(ctx, a, uid)?),
        "anchor" => value(anchor::anchor(ctx)?),
        "ship.status" => value(ship::status(ctx)?),
        "ship.reload" => value(ship::reload(ctx, uid)?),
        "ship.now" => value(ship::now(ctx)?),
        "names" => value(help::names(ctx)?),
        "help" => value(help::help(a.text("command"))?),
        other => Err(AdminError::new(Code::UnknownCommand, format!("`{other}` is in the table and not answered"))),
    }
}

/// `help` without a node: it comes from the table alone.
///
/// # Errors
/// `unknown_command` for a command that does not exist.
pub fn help_alone(command: Option<&str>) -> Result<Value, AdminError> {
    value(help::help(command)?)
}

/// `qc.explain` for who cannot wait: only the newest megabytes of manifests are looked through.
///
/// # Errors
/// As that command's.
pub fn explain_soon(ctx: &AdminContext, dataset: &str, symbol: &str, date: &str) -> Result<Explained, AdminError> {
    let given = [("dataset", dataset), ("symbol", symbol), ("date", date)];
    let given = given.into_iter().map(|(name, v)| (name.to_owned(), Value::from(v))).collect();
    explain::within(ctx, &Args::check(find("qc.explain")?, given)?, explain::SOON)
}

fn value(result: impl Serialize) -> Result<Value, AdminError> {
    serde_json::to_value(result).map_err(|e| AdminError::new(Code::Failed, format!("the result is no JSON: {e}")))
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// Matches in all.
    pub total: u64,
    /// Matches before the page.
    pub offset: u64,
    /// The most rows of a page.
    pub limit: u64,
    /// The rows.
    pub rows: Vec<T>,
}

impl<T> Page<T> {
    fn new(a: &Args) -> Self {
        Self { total: 0, offset: a.offset(), limit: a.limit(), rows: Vec::new() }
    }

    /// Whether none of the next `n` matches stands on the page; then they are counted.
    fn passes(&mut self, n: u64) -> bool {
        let passes = self.total + n <= self.offset || self.rows.len() as u64 >= self.limit;
        if passes {
            self.total += n;
        }
        passes
    }

    /// Counts a match; makes its row only where the page shows it.
    fn offer(&mut self, make: impl FnOnce() -> T) {
        if self.total >= self.offset && (self.rows.len() as u64) < self.limit {
            self.rows.push(make());
        }
        self.total += 1;
    }
}

fn not_found(message: impl Into<String>) -> AdminError {
    AdminError::new(Code::NotFound, message)
}

fn day(n: i32) -> String {
    date_of(n).to_string()
}

/// A time, or None for the 0 that records hold where there is none.
fn time(seconds: i64) -> Option<String> {
    (seconds != 0).then(|| rfc3339_of(seconds))
}

fn text(s: &str) -> Option<String> {
    (!s.is_empty()).then(|| s.to_owned())
}

fn dataset_name(n: u8) -> String {
    Dataset::from_number(n).map_or_else(|| format!("#{n}"), |d| d.name().to_owned())
}

fn vendor_name(n: u8) -> String {
    Vendor::from_number(n).map_or_else(|| format!("#{n}"), |v| v.name().to_owned())
}

/// The prefixes of keys that begin with dataset and symbol, as far as these are given.
fn prefixes(dataset: Option<Dataset>, symbol: Option<&str>) -> Vec<Vec<u8>> {
    match (dataset, symbol) {
        (None, None) => vec![Vec::new()],
        (Some(d), None) => vec![vec![d.number()]],
        (Some(d), Some(s)) => vec![SeriesKey::prefix(d, s)],
        (None, Some(s)) => Dataset::ALL.iter().map(|d| SeriesKey::prefix(*d, s)).collect(),
    }
}

/// Refuses a symbol that neither the universe nor the store knows: an empty list would read as "all is well".
fn require_symbol(ctx: &AdminContext, registry: &Registry, a: &Args) -> Result<(), AdminError> {
    let Some(symbol) = a.symbol() else { return Ok(()) };
    let datasets: Vec<Dataset> = a.dataset().map_or_else(|| Dataset::ALL.to_vec(), |d| vec![d]);
    let universe = &registry.universe;
    if datasets.iter().any(|d| !universe.spans(*d, symbol).is_empty()) {
        return Ok(());
    }
    for prefix in prefixes(a.dataset(), Some(symbol)) {
        let s = &ctx.store;
        if any(s, &HOLDINGS, &prefix)?
            || any(s, &GAPS, &prefix)?
            || any(s, &LEDGER, &prefix)?
            || any(s, &BOOKMARKS, &prefix)?
        {
            return Ok(());
        }
    }
    let known = universe.iter().filter(|(d, _, _)| datasets.contains(d)).map(|(_, s, _)| s);
    let within = a.dataset().map_or(String::new(), |d| format!(" in {d}"));
    let hint = nearest(symbol, known).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
    Err(not_found(format!("neither the universe nor the store has a symbol {symbol:?}{within}{hint}")))
}

fn any<K: Key, V: Record>(store: &Store, table: &Table<K, V>, prefix: &[u8]) -> Result<bool, StoreError> {
    let mut found = false;
    store.scan(table, prefix, |_, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}
