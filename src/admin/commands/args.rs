//! Arguments as they came over the wire, checked against the table.

use super::{Arg, Command, Kind, nearest};
use crate::admin::protocol::{AdminError, Code, kind};
use chrono::NaiveDate;
use datanode_actors::quarantine::{Artifact, text};
use datanode_schema::clock::day_number;
use datanode_schema::names::{Absence, Dataset, IncidentKind, IncidentLabel, Vendor, Verdict};
use serde_json::{Map, Value};

/// Rows of a page, where nothing else is asked for.
pub const DEFAULT_LIMIT: u64 = 50;
/// The most rows of a page.
pub const MAX_LIMIT: u64 = 1000;
/// The longest text of an argument, in bytes.
const MAX_TEXT: usize = 256;
/// The same for artifacts and lines of text, which have bounds of their own.
const MAX_LONG_TEXT: usize = 4 * text::LONGEST;
/// What the rows of a map may be.
const GRAINS: [&str; 3] = ["day", "month", "symbol"];

/// The checked arguments of a command.
#[derive(Clone, Debug)]
pub struct Args(Map<String, Value>);

impl Args {
    /// Checks `given` against the command's line in the table; null counts as absent.
    ///
    /// # Errors
    /// `bad_args`, naming the argument and what to give instead.
    pub fn check(command: &Command, mut given: Map<String, Value>) -> Result<Self, AdminError> {
        let bad = |m: String| AdminError::new(Code::BadArgs, m);
        given.retain(|_, v| !v.is_null());
        for (name, value) in &given {
            let Some(arg) = command.args.iter().find(|a| a.name == name) else {
                return Err(bad(unknown(command, name)));
            };
            check(arg, value).map_err(bad)?;
        }
        if let Some(a) = command.lacks(&given) {
            let what = if a.placed { a.kind.placeholder().to_owned() } else { format!("--{}", a.name) };
            return Err(bad(format!("{} needs {what}; usage: {}", command.name, command.usage())));
        }
        Ok(Self(given))
    }

    /// A text, where it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The dataset, where it was given.
    pub fn dataset(&self) -> Option<Dataset> {
        self.text("dataset").and_then(Dataset::from_name)
    }

    /// The symbol, where it was given.
    pub fn symbol(&self) -> Option<&str> {
        self.text("symbol")
    }

    /// The vendor, where it was given.
    pub fn vendor(&self) -> Option<Vendor> {
        self.text("vendor").and_then(Vendor::from_name)
    }

    /// The state, where it was given.
    pub fn state(&self) -> Option<Absence> {
        self.text("state").and_then(Absence::from_name)
    }

    /// The verdict, where it was given.
    pub fn verdict(&self) -> Option<Verdict> {
        self.text("verdict").and_then(Verdict::from_name)
    }

    /// A day number, where a date was given.
    pub fn day(&self, name: &str) -> Option<i32> {
        self.text(name).and_then(|t| t.parse::<NaiveDate>().ok()).map(day_number)
    }

    /// The days `--from` to `--to`, all where neither was given.
    pub fn days(&self) -> std::ops::RangeInclusive<i32> {
        self.day("from").unwrap_or(i32::MIN)..=self.day("to").unwrap_or(i32::MAX)
    }

    /// What an incident is about, where it was given.
    pub fn artifact(&self) -> Option<Artifact> {
        self.text("artifact").and_then(|t| Artifact::parse(t).ok())
    }

    /// The kind of an incident, where it was given.
    pub fn incident_kind(&self) -> Option<IncidentKind> {
        self.text("kind").and_then(IncidentKind::from_name)
    }

    /// The label of an incident, where it was given.
    pub fn label(&self) -> Option<IncidentLabel> {
        self.text("label").and_then(IncidentLabel::from_name)
    }

    /// A number, where it was given.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// Whether a switch was given.
    pub fn is_set(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// Rows of a page.
    pub fn limit(&self) -> u64 {
        self.0.get("limit").and_then(Value::as_u64).unwrap_or(DEFAULT_LIMIT)
    }

    /// Rows before the page.
    pub fn offset(&self) -> u64 {
        self.0.get("offset").and_then(Value::as_u64).unwrap_or(0)
    }
}

fn unknown(command: &Command, name: &str) -> String {
    match nearest(name, command.args.iter().map(|a| a.name)) {
        Some(near) => format!("{} has no argument {name:?}; did you mean `{near}`?", command.name),
        None => format!("{} takes no arguments, and {name:?} was given", command.name),
    }
}

/// Whether a value is what the argument may be; else what is wrong, in words.
fn check(arg: &Arg, value: &Value) -> Result<(), String> {
    let name = arg.name;
    if arg.kind == Kind::Number {
        let Some(n) = value.as_u64() else { return Err(format!("`{name}` is {value}: give a whole number from 0 on")) };
        return match name {
            "seconds" if !(1..=3600).contains(&n) => Err(format!("`seconds` is {n}: give 1 to 3600")),
            "limit" if !(1..=MAX_LIMIT).contains(&n) => {
                Err(format!("`limit` is {n}: give 1 to {MAX_LIMIT}, and page with `offset`"))
            }
            _ => Ok(()),
        };
    }
    if arg.kind == Kind::Switch {
        return if value.is_boolean() {
            Ok(())
        } else {
            Err(format!("`{name}` is {}: give true or false", kind(value)))
        };
    }
    let Some(text) = value.as_str() else { return Err(format!("`{name}` is {}: give a string", kind(value))) };
    let most = if matches!(arg.kind, Kind::Text | Kind::Artifact) { MAX_LONG_TEXT } else { MAX_TEXT };
    if (text.is_empty() && arg.kind != Kind::Text) || text.len() > most {
        return Err(format!("`{name}` has {} bytes: give 1 to {most}", text.len()));
    }
    match arg.kind {
        Kind::Dataset => one_of(name, text, "dataset", Dataset::ALL.iter().map(|d| d.name())),
        Kind::Vendor => one_of(name, text, "vendor", Vendor::ALL.iter().map(|v| v.name())),
        Kind::State => one_of(name, text, "state", Absence::ALL.iter().map(|a| a.name())),
        Kind::Verdict => one_of(name, text, "verdict", Verdict::ALL.iter().map(|v| v.name())),
        Kind::IncidentKind => one_of(name, text, "kind of incident", IncidentKind::ALL.iter().map(|k| k.name())),
        Kind::Label => one_of(name, text, "label", IncidentLabel::ALL.iter().map(|l| l.name())),
        Kind::Grain => one_of(name, text, "grain", GRAINS.into_iter()),
        Kind::Text => text::line(name, text).map(|_| ()).map_err(|e| e.to_string()),
        Kind::Artifact => Artifact::parse(text).map(|_| ()),
        Kind::Date => match text.parse::<NaiveDate>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("`{name}` is {text:?}: give a date such as 2024-07-03")),
        },
        Kind::Filter => text::line(name, text).map(|_| ()).map_err(|e| e.to_string()),
        Kind::Symbol | Kind::RunId | Kind::ExportId | Kind::Command | Kind::Number | Kind::Switch => Ok(()),
    }
}

fn one_of(name: &str, text: &str, what: &str, known: impl Iterator<Item = &'static str> + Clone) -> Result<(), String> {
    if known.clone().any(|k| k == text) {
        return Ok(());
    }
    let near = nearest(text, known.clone()).unwrap_or_default();
    let all = known.collect::<Vec<_>>().join(", ");
    Err(format!("`{name}` is {text:?}, which is no {what}; did you mean `{near}`? Known: {all}"))
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;
    use serde_json::json;

    fn refusal(cmd: &str, args: Value) -> String {
        let e = Args::check(find(cmd).unwrap(), args.as_object().unwrap().clone()).unwrap_err();
        assert_eq!(e.code, Code::BadArgs);
        e.message
    }

    #[test]
    fn an_argument_that_cannot_be_is_refused_with_what_to_give() {
        for (cmd, args, says) in [
            ("queue.list", json!({"sate": "short"}), "queue.list has no argument \"sate\"; did you mean `state`?"),
            ("queue.list", json!({"state": "shrot"}), "did you mean `short`?"),
            ("queue.list", json!({"state": 5}), "`state` is a number: give a string"),
            ("queue.list", json!({"dataset": "equity_bars"}), "did you mean `equities_bars`?"),
            ("queue.list", json!({"from": "yesterday"}), "give a date such as"),
            ("queue.list", json!({"limit": -1}), "give a whole number"),
            ("queue.list", json!({"limit": 1.5}), "give a whole number"),
            ("queue.list", json!({"limit": 0}), "give 1 to 1000"),
            ("queue.list", json!({"limit": 100_000}), "give 1 to 1000"),
            ("queue.list", json!({"symbol": "X".repeat(300)}), "give 1 to 256"),
            ("status", json!({"limit": 1}), "status takes no arguments"),
            ("gaps", json!({}), "gaps needs SYMBOL; usage: gaps SYMBOL"),
            ("qc.hold", json!({"dataset": "equities_bars", "symbol": "A"}), "qc.hold needs --why; usage: qc hold"),
            ("qc.hold", json!({"why": "  "}), "--why is empty"),
            ("qc.hold", json!({"why": "a\nb"}), "write one line"),
            ("qc.hold", json!({"why": "x".repeat(201)}), "200 at most"),
            ("qc.hold", json!({"why": "x".repeat(5_000)}), "`why` has 5000 bytes"),
            ("incident.open", json!({"artifact": "raw/../../etc/passwd"}), "is no file below the data folder"),
            ("incident.open", json!({"artifact": "AAPL"}), "give DATASET/SYMBOL"),
            ("incident.open", json!({"label": "wrong"}), "Known: invalid, deprecated"),
            ("incident.open", json!({"kind": "unexpected_shema"}), "did you mean `unexpected_schema`?"),
            ("incident.list", json!({"open": "yes"}), "give true or false"),
            ("coverage", json!({"by": "year"}), "Known: day, month, symbol"),
        ] {
            let got = refusal(cmd, args);
            assert!(got.contains(says), "{got}");
        }
    }

    #[test]
    fn null_counts_as_absent() {
        let given = json!({"dataset": null, "limit": 3});
        let a = Args::check(find("queue.list").unwrap(), given.as_object().unwrap().clone()).unwrap();
        assert_eq!((a.dataset(), a.limit(), a.offset()), (None, 3, 0));
    }
}
