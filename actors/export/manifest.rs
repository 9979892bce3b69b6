//! `manifest.json`. What is read is checked before anything is done with it.

use super::ExportId;
use chrono::NaiveDate;
use datanode_schema::names::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of the format.
pub const SCHEMA_VERSION: u32 = 1;
/// The longest path in a pack.
const MAX_PATH: usize = 1024;
/// A manifest that names more files is refused.
const MAX_FILES: usize = 5_000_000;

/// First and last session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeWindow {
    /// First session.
    pub start: NaiveDate,
    /// Last session.
    pub end: NaiveDate,
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
    pub git_sha: Option<String>,
    /// Container image, where there is one.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
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
    pub base_export_id: Option<String>,
    /// For people.
    pub notes: Option<String>,
}

/// A manifest that is not valid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest.json: {0}")]
pub struct ManifestError(pub String);

impl PackManifest {
    /// The text of the file: pretty JSON in the order of the fields, with a newline.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// What is wrong, with the field.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let m: Self = serde_json::from_slice(text).map_err(|e| ManifestError(e.to_string()))?;
        let fail = |what: String| Err(ManifestError(what));
        if m.schema_version != SCHEMA_VERSION {
            return fail(format!("schema_version {} where {SCHEMA_VERSION} is known", m.schema_version));
        }
        if m.files.len() > MAX_FILES {
            return fail(format!("{} files; more than {MAX_FILES} are refused", m.files.len()));
        }
        let mut seen = BTreeSet::new();
        for f in &m.files {
            if let Err(why) = safe_path(&f.path) {
                return fail(format!("files: {:?} {why}", f.path));
            }
            if !f.path.starts_with("data/") {
                return fail(format!("files: {:?} does not lie below data/", f.path));
            }
            if !seen.insert(f.path.as_str()) {
                return fail(format!("files: {:?} is named twice", f.path));
            }
            if !is_sha256(&f.sha256) {
                return fail(format!("files: {:?} has no SHA-256", f.path));
            }
        }
        let Some(id) = ExportId::parse(&m.export_id).filter(|id| id.source == m.source) else {
            return fail(format!("export_id {:?} is not YYYYMMDDTHHMMSSZ_{}_full|delta", m.export_id, m.source));
        };
        if id.is_delta != m.base_export_id.is_some() {
            return fail("base_export_id belongs to a delta, and only to a delta".to_owned());
        }
        let before =
            |other: &String| ExportId::parse(other).is_some_and(|o| o.source == id.source && other < &m.export_id);
        if let Some(bad) = m.base_export_id.iter().find(|b| !before(b)) {
            return fail(format!("base_export_id {bad:?} is no earlier pack of {}", m.source));
        }
        for f in &m.files {
            if f.held_by.as_ref().is_some_and(|p| !id.is_delta || !before(p)) {
                return fail(format!("files: {:?} is held by {:?}, which is no earlier pack", f.path, f.held_by));
            }
        }
        Ok(m)
    }
}

/// Whether a path stays inside the folder that it is joined to.
///
/// # Errors
/// What is wrong with it, to follow its name.
pub fn safe_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("is empty or longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Err("is absolute");
    }
    if path.bytes().any(|b| b == 0 || b == b'\\' || b == b'\n' || b == b'\r') {
        return Err("has a NUL, a backslash or a line break");
    }
    if path.split('/').any(|c| c.is_empty() || c == "." || c == "..") {
        return Err("leaves the pack or has an empty component");
    }
    Ok(())
}

pub(super) fn is_sha256(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_pack_are_refused() {
        for bad in ["", "/etc/passwd", "data/../../x", "data//x", "./x", "data/\0", "data\\x", &"a/".repeat(600)] {
            assert!(safe_path(bad).is_err(), "{bad:?}");
        }
        assert!(safe_path("data/equities_bars/year=2020/month=01/data.parquet").is_ok());
    }
}
