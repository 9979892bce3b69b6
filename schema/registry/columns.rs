//! The columns of each dataset's curated table, and their check against what `datasets.yaml` says of them.
//!
//! `datasets.yaml` documents the columns; a registry whose documentation is not what the node writes is refused, so it
//! cannot lie.

use super::{RegistryError, yaml};
use crate::names::Dataset;
use serde::{Deserialize, Serialize};

/// A column of a curated table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type: `string`, `date32`, `timestamp[ns, UTC]`, `float64`, `int64` or `int32`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What a value counts; empty where there is nothing to count.
    #[serde(default)]
    pub unit: String,
    /// Whether a row may lack it.
    #[serde(default)]
    pub nullable: bool,
}

/// Name, type, unit, nullable.
type Line = (&'static str, &'static str, &'static str, bool);

const TS: Line = ("ts", "timestamp[ns, UTC]", "bar start", false);
const DT: Line = ("dt", "date32", "session", false);
const PRICES: [Line; 7] = [
    ("open", "float64", "USD, unadjusted", false),
    ("high", "float64", "USD, unadjusted", false),
    ("low", "float64", "USD, unadjusted", false),
    ("close", "float64", "USD, unadjusted", false),
    ("volume", "float64", "shares or contracts", false),
    ("trade_count", "int64", "trades", true),
    ("vwap", "float64", "USD, unadjusted", true),
];
const ORIGIN: [Line; 3] = [VENDOR, ("feed", "string", "", false), REQUEST];
const VENDOR: Line = ("vendor", "string", "", false);
const REQUEST: Line = ("request_id", "string", "", false);

/// The columns of a dataset's curated table, in their order.
pub fn columns(dataset: Dataset) -> Vec<Column> {
    let text = |name| (name, "string", "", false);
    let lines: Vec<Line> = match dataset {
        Dataset::EquitiesBars => [&[text("symbol"), DT][..], &PRICES, &ORIGIN].concat(),
        Dataset::EquitiesBarsMinute => [&[text("symbol"), TS][..], &PRICES, &ORIGIN].concat(),
        Dataset::OptionsBars => [&[text("underlier"), text("symbol"), TS][..], &PRICES, &ORIGIN].concat(),
        Dataset::MacroTreasury => {
            vec![text("series"), DT, ("value", "float64", "percent a year", true), VENDOR, REQUEST]
        }
        Dataset::CorporateActions => vec![
            text("symbol"),
            ("ex_date", "date32", "session", false),
            text("kind"),
            ("ratio", "float64", "new shares for an old one", true),
            ("cash", "float64", "USD a share", true),
            VENDOR,
            REQUEST,
        ],
        Dataset::PredictionBooks => vec![
            text("market"),
            text("asset_id"),
            ("ts", "timestamp[ns, UTC]", "snapshot", false),
            text("side"),
            ("level", "int32", "0 is the best", false),
            ("price", "float64", "USD a share that pays 1", false),
            ("size", "float64", "shares", false),
            VENDOR,
            REQUEST,
        ],
    };
    let column = |(name, kind, unit, nullable): &Line| Column {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        unit: (*unit).to_owned(),
        nullable: *nullable,
    };
    lines.iter().map(column).collect()
}

impl Column {
    /// The line that `datasets.yaml` has for it.
    pub fn line(&self) -> String {
        format!(
            "- {{name: {}, type: \"{}\", unit: \"{}\", nullable: {}}}",
            self.name, self.kind, self.unit, self.nullable
        )
    }
}

/// Compares what a file says of a dataset's columns with what they are. A file that says nothing says nothing wrong.
pub(super) fn check(file: &str, text: &str, dataset: Dataset, said: &[Column]) -> Result<(), RegistryError> {
    if said.is_empty() {
        return Ok(());
    }
    let built_in = columns(dataset);
    let path = ["datasets", dataset.name(), "schema"];
    let wrong = |name: &str, problem: String| {
        Err(RegistryError::Invalid {
            file: file.to_owned(),
            line: yaml::line_of_item(text, &path, name),
            field: format!("datasets.{dataset}.schema.{name}"),
            problem,
        })
    };
    for (i, is) in built_in.iter().enumerate() {
        match said.get(i) {
            Some(s) if s == is => {}
            Some(s) if s.name == is.name => {
                return wrong(&s.name, format!("the column is something else; write `{}`", is.line()));
            }
            Some(s) => {
                let problem = format!("column {} of the table is {}; write `{}`", i + 1, is.name, is.line());
                return wrong(&s.name, problem);
            }
            None => return wrong(&is.name, format!("the column is missing at the end; write `{}`", is.line())),
        }
    }
    match said.get(built_in.len()) {
        None => Ok(()),
        Some(s) => wrong(&s.name, "the table has no such column; remove the line".to_owned()),
    }
}
