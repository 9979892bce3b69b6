//! `datasets.yaml`.

use super::{RegistryError, yaml};
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
}

impl DatasetRule {
    /// The calendar; the name was checked when the registry was read.
    pub fn calendar(&self) -> Calendar {
        Calendar::from_name(&self.calendar).unwrap_or(Calendar::Always)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    datasets: BTreeMap<String, DatasetRule>,
}

pub(super) fn parse(file: &str, text: &str) -> Result<BTreeMap<Dataset, DatasetRule>, RegistryError> {
    let parsed: File = yaml::parse(file, text)?;
    let mut out = BTreeMap::new();
    for (name, rule) in parsed.datasets {
        let path = ["datasets", name.as_str()];
        let dataset = Dataset::from_name(&name).ok_or_else(|| {
            let known: Vec<_> = Dataset::ALL.iter().map(|d| d.name()).collect();
            yaml::at(file, text, &path, format!("no such dataset; known: {}", known.join(", ")))
        })?;
        let bad = |field: &str, problem: String| yaml::at(file, text, &["datasets", name.as_str(), field], problem);
        if Calendar::from_name(&rule.calendar).is_none() {
            return Err(bad("calendar", format!("{:?} is no calendar; known: XNYS, US_BOND, 24x7", rule.calendar)));
        }
        if dataset.is_stamped() && (rule.grain == Grain::Year || rule.curated == Cut::Month) {
            return Err(bad("grain", "stamped rows are kept by day: write `grain: day` and `curated: day`".into()));
        }
        if !dataset.is_stamped() && rule.curated == Cut::Day {
            return Err(bad("curated", "one row a session is curated by month: write `curated: month`".into()));
        }
        for (field, v) in [("max_silent_edge", rule.qc.max_silent_edge), ("min_completeness", rule.qc.min_completeness)]
        {
            if !(0.0..=1.0).contains(&v) {
                return Err(bad("qc", format!("{field} is {v}: it is a share, from 0 to 1")));
            }
        }
        if rule.no_trade.vendors_agree == 0 || rule.no_trade.sole_vendor_days == 0 {
            return Err(bad("no_trade", "0 would explain an absence without evidence: write 1 or more".into()));
        }
        out.insert(dataset, rule);
    }
    Ok(out)
}
