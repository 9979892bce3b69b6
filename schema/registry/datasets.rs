//! `datasets.yaml`.

use super::columns::{self, Column};
use super::{Calendars, RegistryError, yaml};
use crate::calendar::Calendar;
use crate::names::Dataset;
use crate::paths::{Cut, Grain};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What AMBER partitions do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amber {
    /// They ship, and the manifest counts them.
    Ship,
    /// They are held out and listed.
    Hold,
}

/// What a pack demands of a dataset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Required {
    /// A pack may leave partitions out.
    None,
    /// No pack while a partition of it is held out.
    Complete,
}

/// When an absent session counts as explained by "nothing traded".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoTrade {
    /// So many vendors gave a good, empty answer.
    pub vendors_agree: u8,
    /// Or the only vendor there is said so on so many different days.
    pub sole_vendor_days: u8,
}

/// The thresholds of a dataset's checks.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// A session is *short* where its regular rows begin later or end earlier than this share of its minutes.
    pub max_silent_edge: f64,
    /// A session is *thin* where fewer than this share of its minutes have a row.
    pub min_completeness: f64,
}

/// How the rows of a session come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    /// One a session.
    Session,
    /// One a minute of the session in which something traded.
    Minute,
    /// Where something happened: a session without a row is nothing missing once a vendor has answered for it.
    Event,
    /// As often as the collector looks; not asked through the queue.
    Snapshot,
}

fn default_recent() -> u32 {
    20
}

/// One dataset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRule {
    /// The key column: what a partition is of.
    pub key: String,
    /// How rows come.
    pub cadence: Cadence,
    /// `XNYS`, `US_BOND` or `24x7`.
    pub calendar: String,
    /// The most rows that one session of one key brings: what requests are shaped by.
    pub rows_per_session: u32,
    /// The last so many sessions are asked for again each night, for late and restated rows; 0 = none.
    #[serde(default)]
    pub lookback_sessions: u32,
    /// Sessions, counted from the newest, that rank as recent in the queue.
    #[serde(default = "default_recent")]
    pub recent_sessions: u32,
    /// How raw files are cut.
    pub grain: Grain,
    /// How curated files are cut.
    pub curated: Cut,
    /// Minutes after a session's close before its rows are expected.
    pub ready_after_minutes: u32,
    /// What AMBER partitions do.
    pub amber: Amber,
    /// What a pack demands.
    pub required: Required,
    /// When an empty answer explains an absence.
    pub no_trade: NoTrade,
    /// Thresholds.
    pub qc: Thresholds,
    /// The columns of the curated table; empty, or what they are (see [`columns::columns`]).
    #[serde(default, skip_serializing)]
    pub schema: Vec<Column>,
    /// The calendar with the owner's corrections, where it has some; set when the registry is read.
    #[serde(skip)]
    corrected: Option<Calendar>,
}

impl DatasetRule {
    /// The calendar, with the owner's corrections; the name was checked when the registry was read.
    pub fn calendar(&self) -> Calendar {
        self.corrected.or_else(|| Calendar::from_name(&self.calendar)).unwrap_or(Calendar::Always)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    datasets: BTreeMap<String, DatasetRule>,
}

/// The cadence that a dataset has by its nature.
fn cadence_of(dataset: Dataset) -> Cadence {
    match dataset {
        Dataset::EquitiesBars | Dataset::MacroTreasury => Cadence::Session,
        Dataset::EquitiesBarsMinute | Dataset::OptionsBars => Cadence::Minute,
        Dataset::CorporateActions => Cadence::Event,
        Dataset::PredictionBooks => Cadence::Snapshot,
    }
}

/// What is wrong with a rule: field, and what to write.
fn fault(dataset: Dataset, rule: &DatasetRule) -> Result<(), (&'static str, String)> {
    if rule.key != dataset.key_column() {
        return Err(("key", format!("{:?} is not its key column; write `key: {}`", rule.key, dataset.key_column())));
    }
    if rule.cadence != cadence_of(dataset) {
        let is = format!("{:?}", cadence_of(dataset)).to_lowercase();
        return Err(("cadence", format!("the rows of {dataset} come otherwise; write `cadence: {is}`")));
    }
    if Calendar::from_name(&rule.calendar).is_none() {
        let known = "write one of XNYS, US_BOND, 24x7";
        return Err(("calendar", format!("{:?} is no calendar; {known}", rule.calendar)));
    }
    match rule.cadence {
        Cadence::Minute | Cadence::Snapshot if rule.grain == Grain::Year => {
            return Err(("grain", "many rows a session are kept by day; write `grain: day`".into()));
        }
        Cadence::Minute | Cadence::Snapshot if rule.curated == Cut::Month => {
            return Err(("curated", "many rows a session are curated by day; write `curated: day`".into()));
        }
        Cadence::Session | Cadence::Event if rule.curated == Cut::Day => {
            return Err(("curated", "one row a session is curated by month; write `curated: month`".into()));
        }
        _ => {}
    }
    let ranges: [(&str, u32, u64, u64); 6] = [
        ("rows_per_session", rule.rows_per_session, 1, 100_000_000),
        ("lookback_sessions", rule.lookback_sessions, 0, 1_000),
        ("recent_sessions", rule.recent_sessions, 0, 10_000),
        ("ready_after_minutes", rule.ready_after_minutes, 0, 43_200),
        ("no_trade.vendors_agree", rule.no_trade.vendors_agree.into(), 1, 20),
        ("no_trade.sole_vendor_days", rule.no_trade.sole_vendor_days.into(), 1, 30),
    ];
    for (field, value, least, most) in ranges {
        yaml::within(value.into(), least, most).map_err(|p| (field, p))?;
    }
    let shares = [("qc.max_silent_edge", rule.qc.max_silent_edge), ("qc.min_completeness", rule.qc.min_completeness)];
    for (field, v) in shares {
        if !(0.0..=1.0).contains(&v) {
            return Err((field, format!("{v} is no share; write a number from 0 to 1")));
        }
    }
    Ok(())
}

pub(super) fn parse(
    file: &str,
    text: &str,
    calendars: &Calendars,
) -> Result<BTreeMap<Dataset, DatasetRule>, RegistryError> {
    let parsed: File = yaml::parse(file, text)?;
    let mut out = BTreeMap::new();
    for (name, mut rule) in parsed.datasets {
        let dataset = Dataset::from_name(&name).ok_or_else(|| {
            let known: Vec<_> = Dataset::ALL.iter().map(|d| d.name()).collect();
            let near = known.iter().min_by_key(|k| strsim::levenshtein(k, &name)).copied().unwrap_or_default();
            let problem = format!("no such dataset; did you mean `{near}`? Known: {}", known.join(", "));
            yaml::at(file, text, &["datasets", name.as_str()], problem)
        })?;
        fault(dataset, &rule).map_err(|(field, problem)| {
            let path: Vec<&str> = ["datasets", name.as_str()].into_iter().chain(field.split('.')).collect();
            yaml::at(file, text, &path, problem)
        })?;
        columns::check(file, text, dataset, &rule.schema)?;
        rule.corrected = Calendar::from_name(&rule.calendar).map(|c| calendars.get(c)).filter(|c| *c != c.base());
        out.insert(dataset, rule);
    }
    Ok(out)
}
