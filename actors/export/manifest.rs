//! `manifest.json`: its fields. What is read is checked (`check`) before anything is done with it.

use super::check::strict_date;
use chrono::NaiveDate;
use datanode_schema::names::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of the format.
pub const SCHEMA_VERSION: u32 = 1;
/// The published JSON Schema of the format, draft 2020-12. What it refuses, [`PackManifest::parse`] refuses.
pub const MANIFEST_SCHEMA: &str = include_str!("../../schema/pack-manifest.schema.json");

/// First and last session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeWindow {
    /// First session.
    #[serde(deserialize_with = "date")]
    pub start: NaiveDate,
    /// Last session.
    #[serde(deserialize_with = "date")]
    pub end: NaiveDate,
}

/// A date in its one form: the parser of the type takes others as well.
fn date<'de, D: serde::Deserializer<'de>>(d: D) -> Result<NaiveDate, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
    strict_date(&text).ok_or_else(|| serde::de::Error::custom("a date is YYYY-MM-DD"))
}

/// Who made the pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// The node's name.
    pub host_id: String,
    /// Version of datanode.
    pub version: String,
    /// Commit that it was built from, where known.
    #[serde(deserialize_with = "nullable")]
    pub git_sha: Option<String>,
    /// Container image, where there is one.
    #[serde(deserialize_with = "nullable")]
    pub image: Option<String>,
}

/// A calendar that expectations came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarOf {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Hex SHA-256 of its sessions.
    pub sha256: String,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackFile {
    /// Relative to the pack.
    pub path: String,
    /// Hex SHA-256.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Dataset, or `qc`.
    pub dataset: String,
    /// First and last session in it.
    pub window: TimeWindow,
    /// In a delta: the earlier pack whose folder has the file, under the same path. None: this one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub held_by: Option<String>,
}

/// A field that may be left out, and is not null where it is there.
fn some<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    String::deserialize(d).map(Some)
}

/// A field that may be null, and is not left out.
fn nullable<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(d)
}

/// A partition that was held out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excluded {
    /// `dataset/symbol/date`.
    pub partition: String,
    /// Its verdict.
    pub status: Verdict,
    /// Its reasons.
    pub reasons: Vec<String>,
}

/// The verdicts of the ledger's partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QcSummary {
    /// Count.
    pub green: u64,
    /// Count.
    pub amber: u64,
    /// Count.
    pub red: u64,
    /// Count: absent sessions that may still come.
    pub pending: u64,
    /// Partitions whose rows were held out, sorted.
    pub excluded: Vec<Excluded>,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackManifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// `YYYYMMDDTHHMMSSZ_<source>_<scope>`.
    pub export_id: String,
    /// The recorded time of the run.
    pub created_at_utc: String,
    /// The node's source name.
    pub source: String,
    /// First and last session of the data files.
    pub time_window: TimeWindow,
    /// Who made it.
    pub producer: Producer,
    /// Head of the repository that drives the node, where there is one.
    #[serde(deserialize_with = "nullable")]
    pub repo_head: Option<String>,
    /// The exchange calendar.
    pub calendar: CalendarOf,
    /// Hex SHA-256 of settings and registries.
    pub config_sha256: String,
    /// Every file but manifest.json and the sums, sorted by path.
    pub files: Vec<PackFile>,
    /// Verdicts.
    pub qc: QcSummary,
    /// The pack before this one, where this one is a delta: its files and those that it names are not here again.
    #[serde(deserialize_with = "nullable")]
    pub base_export_id: Option<String>,
    /// For people.
    #[serde(deserialize_with = "nullable")]
    pub notes: Option<String>,
}

impl PackManifest {
    /// The text of the file: pretty JSON in the order of the fields, with a newline.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Rows of the data files; the ledger's own are not data.
    pub fn data_rows(&self) -> u64 {
        self.files.iter().filter(|f| f.dataset != "qc").fold(0, |sum, f| sum.saturating_add(f.rows))
    }

    /// The earlier packs whose folders have files of this one, sorted.
    pub fn holders(&self) -> BTreeSet<&str> {
        self.files.iter().filter_map(|f| f.held_by.as_deref()).collect()
    }

    /// The file of that path.
    pub fn file(&self, path: &str) -> Option<&PackFile> {
        let at = self.files.binary_search_by(|f| f.path.as_str().cmp(path)).ok()?;
        self.files.get(at)
    }

    /// The files whose bytes lie in the pack's own folder as it was made and shipped.
    pub fn own_files(&self) -> impl Iterator<Item = &PackFile> {
        self.files.iter().filter(|f| f.held_by.is_none())
    }
}
