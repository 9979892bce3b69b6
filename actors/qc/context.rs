//! The decision context of a verdict: which thresholds, which calendar.

use datanode_schema::names::Dataset;
use datanode_schema::registry::{DatasetRule, Thresholds};
use std::sync::Arc;

/// What a verdict was decided by; stored once, under the first 8 bytes of its JSON's BLAKE3.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The dataset.
    pub dataset: Dataset,
    /// Name of the calendar.
    pub calendar: String,
    /// Its version.
    pub calendar_version: String,
    /// Hex SHA-256 of its sessions.
    pub calendar_sha256: String,
    /// The thresholds.
    pub thresholds: Thresholds,
}

impl Context {
    /// The context of a dataset as its rule stands.
    pub fn of(dataset: Dataset, rule: &DatasetRule) -> Self {
        let c = rule.calendar();
        Self {
            dataset,
            calendar: c.name().to_owned(),
            calendar_version: c.version().to_owned(),
            calendar_sha256: c.sha256(),
            thresholds: rule.qc,
        }
    }

    /// Whether all is the same but the version of the calendar.
    pub fn same_but_version(&self, other: &Self) -> bool {
        let calendar_version = other.calendar_version.clone();
        let calendar_sha256 = other.calendar_sha256.clone();
        Self { calendar_version, calendar_sha256, ..self.clone() } == *other
    }

    /// Its JSON and the key that it is stored under.
    pub fn keyed(&self) -> (u64, String) {
        let json = serde_json::to_string(self).unwrap_or_default();
        let hash = blake3::hash(json.as_bytes());
        let key = hash.as_bytes().first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
        (key, json)
    }

    /// The `thresholds` and `calendar` columns of `partition_status.parquet`.
    pub fn columns(&self) -> (Arc<str>, Arc<str>) {
        let t = serde_json::to_string(&self.thresholds).unwrap_or_default();
        let c = format!("{} {} {}", self.calendar, self.calendar_version, self.calendar_sha256);
        (t.into(), c.into())
    }
}
