//! `datasets.yaml`.

use super::columns::{self, Column};
use super::{Calendars, RegistryError, yaml};
use crate::calendar::Calendar;
use crate::names::Dataset;
use crate::paths::{Cut, Grain};
use crate::records::LEAST_SILENCE;
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
    /// A silence inside a session of so many minutes may be a *hole*; 0 = holes are not looked for.
    pub hole_minutes: u32,
    /// And is one where so long a silence comes up by chance in fewer than this share of the sessions of a symbol that
    /// trades as often as this one does in the rest of the session.
    pub hole_chance: f64,
    /// A price *jumps* where it moves by more than this factor from the session before (0.5: up by a half, or down by a
    /// third); 0 = jumps are not looked for.
    pub max_jump: f64,
    /// A jump is a known action's where what the action does not explain is smaller than this factor.
    pub action_tolerance: f64,
    /// A return or a volume is an *outlier* where it lies farther from the median of the window than so many median
    /// absolute deviations (times 1.4826); 0 = not looked for.
    pub outlier_mads: f64,
    /// Sessions of that window.
    pub outlier_sessions: u32,
    /// So many equal bars in a row are a *flat line*; 0 = not looked for.
    pub flat_rows: u32,
    /// So many sessions in a row with the same values are *stale*; 0 = not looked for.
    pub stale_sessions: u32,
    /// Prices of two vendors differ where they lie farther apart than this share.
    pub vendor_tolerance: f64,
    /// Vendors *disagree* where more than this share of the rows that both gave differ.
    pub max_disagreement: f64,
}

/// When a symbol counts as listed, read from where its rows lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// It is delisted where so many of the newest sessions are explained absences.
    pub delisted_after: u32,
    /// So many explained absences in a row part two listings of one ticker.
    pub relisted_after: u32,
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
    /// When a symbol counts as listed.
    pub listing: Listing,
    /// Partitions that a second vendor is asked for each night, drawn by the night's date.
    pub spot_checks: u32,
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
    let ranges: [(&str, u32, u64, u64); 13] = [
        ("rows_per_session", rule.rows_per_session, 1, 100_000_000),
        ("lookback_sessions", rule.lookback_sessions, 0, 1_000),
        ("recent_sessions", rule.recent_sessions, 0, 10_000),
        ("ready_after_minutes", rule.ready_after_minutes, 0, 43_200),
        ("no_trade.vendors_agree", rule.no_trade.vendors_agree.into(), 1, 20),
        ("no_trade.sole_vendor_days", rule.no_trade.sole_vendor_days.into(), 1, 30),
        ("listing.delisted_after", rule.listing.delisted_after, 1, 10_000),
        ("listing.relisted_after", rule.listing.relisted_after, 1, 10_000),
        ("spot_checks", rule.spot_checks, 0, 10_000),
        ("qc.hole_minutes", rule.qc.hole_minutes, 0, 1_440),
        ("qc.outlier_sessions", rule.qc.outlier_sessions, 5, 250),
        ("qc.flat_rows", rule.qc.flat_rows, 0, 1_440),
        ("qc.stale_sessions", rule.qc.stale_sessions, 0, 250),
    ];
    for (field, value, least, most) in ranges {
        yaml::within(value.into(), least, most).map_err(|p| (field, p))?;
    }
    if (1..u32::from(LEAST_SILENCE)).contains(&rule.qc.hole_minutes) {
        let why = format!("a hole has {LEAST_SILENCE} minutes at least; write 0 to look for none");
        return Err(("qc.hole_minutes", why));
    }
    let qc = &rule.qc;
    let shares = [
        ("qc.max_silent_edge", qc.max_silent_edge, 1.0),
        ("qc.min_completeness", qc.min_completeness, 1.0),
        ("qc.hole_chance", qc.hole_chance, 1.0),
        ("qc.vendor_tolerance", qc.vendor_tolerance, 1.0),
        ("qc.max_disagreement", qc.max_disagreement, 1.0),
        ("qc.max_jump", qc.max_jump, 100.0),
        ("qc.action_tolerance", qc.action_tolerance, 100.0),
        ("qc.outlier_mads", qc.outlier_mads, 1_000.0),
    ];
    for (field, v, most) in shares {
        if !(0.0..=most).contains(&v) {
            return Err((field, format!("{v} is out of range; write a number from 0 to {most}")));
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
