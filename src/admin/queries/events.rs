//! `events`: what people changed, and what the node labelled in their place, the newest first.
//!
//! Two records tell it: the event files (holds, releases, incidents, pins) and the trail (everything else that was asked for over the
//! socket). A month is read at a time, and no more months than the page needs.

use super::Page;
use crate::admin::AdminContext;
use crate::admin::commands::{Args, find};
use crate::admin::protocol::{AdminError, Code};
use datanode_schema::acts;
use datanode_schema::trail::{self, State};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a month's event file that are read.
const MOST_BYTES: u64 = 32 << 20;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    /// When it was asked for.
    pub at: String,
    /// `uid 1000`, or `node`.
    pub by: String,
    /// The act, or what was typed.
    pub what: String,
    /// What it was about.
    pub about: String,
    /// `done`, `refused`, or `unknown`: the process ended before it said so.
    pub outcome: &'static str,
    /// Why it was done, what came of it, or why it was refused.
    pub why: String,
}

/// The answer of `events`. `total` counts the months that were read; where older ones were not, `older` says so.
#[derive(Clone, Debug, Serialize)]
pub struct Events {
    /// Whether there are months beyond those that the page needed.
    pub older: bool,
    /// The changes.
    #[serde(flatten)]
    pub page: Page<EventRow>,
}

pub(super) fn events(ctx: &AdminContext, a: &Args) -> Result<Events, AdminError> {
    let failed = |e: io::Error| AdminError::new(Code::Failed, format!("{}: {e}", ctx.data.events().display()));
    let mut months: BTreeSet<String> = trail::months(&ctx.data).map_err(failed)?.into_iter().collect();
    for file in acts::files(&ctx.data).map_err(failed)? {
        months.extend(file.file_stem().and_then(|n| n.to_str()?.strip_prefix("events-").map(str::to_owned)));
    }
    let mut page = Page::new(a);
    let mut left = months.iter().rev();
    for month in left.by_ref() {
        let mut rows = of_trail(ctx, month).map_err(failed)?;
        rows.extend(of_acts(&ctx.data.events().join(format!("events-{month}.jsonl"))).map_err(failed)?);
        // Both are in the order of their time; what falls on one second keeps its record's order.
        rows.sort_by(|x, y| x.at.cmp(&y.at));
        rows.into_iter().rev().for_each(|r| page.offer(|| r));
        if page.total >= page.offset.saturating_add(page.limit) {
            break;
        }
    }
    Ok(Events { older: left.next().is_some(), page })
}

fn of_trail(ctx: &AdminContext, month: &str) -> io::Result<Vec<EventRow>> {
    let row = |(asked, end): (trail::Line, Option<trail::Line>)| EventRow {
        what: find(&asked.cmd).map_or(asked.cmd.clone(), |c| c.words.to_owned()),
        about: in_words(&asked.args),
        outcome: match end.as_ref().map(|e| e.state) {
            Some(State::Done) => "done",
            Some(State::Refused) => "refused",
            Some(State::Begun) | None => "unknown",
        },
        why: end.map_or_else(|| "the process ended before it said what came of it".to_owned(), |e| e.what),
        at: asked.at,
        by: asked.by,
    };
    Ok(trail::read(&ctx.data, month)?.into_iter().map(row).collect())
}

/// The acts of one month. A line that is none is passed over here: whoever builds on them refuses it by name.
fn of_acts(file: &Path) -> io::Result<Vec<EventRow>> {
    let mut text = Vec::new();
    match std::fs::File::open(file) {
        Ok(f) => f.take(MOST_BYTES).read_to_end(&mut text)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let lines = text.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice::<acts::Line>(l).ok());
    let row = |l: acts::Line| EventRow {
        what: l.act.name().replace('_', " "),
        about: about(&l),
        outcome: "done",
        why: l.why,
        at: l.at,
        by: l.by,
    };
    Ok(lines.map(row).collect())
}

fn about(l: &acts::Line) -> String {
    if let Some(n) = l.incident {
        return format!("incident {n}");
    }
    let symbol = l.dataset.zip(l.symbol.as_ref()).map(|(d, s)| format!("{d}/{s}"));
    let days = match (l.from, l.to) {
        (None, None) => String::new(),
        (Some(a), Some(b)) if a == b => format!("/{a}"),
        (a, b) => {
            let day = |d: Option<chrono::NaiveDate>| d.map_or(String::new(), |d| d.to_string());
            format!("/{}..{}", day(a), day(b))
        }
    };
    let label = l.label.map_or(String::new(), |label| format!(" {}", label.name()));
    let artifact = l.artifact.as_ref().map(|a| format!("{a}{label}"));
    symbol.map(|s| s + &days).or(artifact).unwrap_or_default()
}

/// An object's plain members in a line: `vendor fred, changed 2`.
pub(super) fn in_words(args: &Map<String, Value>) -> String {
    let said = args.iter().filter_map(|(name, v)| match v {
        Value::String(s) => Some(format!("{} {s}", name.replace('_', " "))),
        Value::Number(_) | Value::Bool(_) => Some(format!("{} {v}", name.replace('_', " "))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    });
    said.collect::<Vec<_>>().join(", ")
}
