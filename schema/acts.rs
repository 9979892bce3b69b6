//! The event files: `data_layer/events/events-YYYY-MM.jsonl`, one line for each hold, release, incident and pin.
//!
//! They tell what the trees `holds`, `incidents` and `pins` hold, so that these can be made again from files alone. Lines are numbered from 1
//! on, over all files, without a gap; a last line without its newline was never acknowledged and does not count. A file is only ever
//! appended to.

use crate::clock::rfc3339_of;
use crate::names::{Act, Dataset, IncidentKind, IncidentLabel};
use crate::paths::DataDir;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of the line format.
pub const VERSION: u32 = 1;

/// One line. Which fields are there depends on the act: a hold and a release have `dataset`, `symbol` and days; an incident that is
/// opened has `artifact`, `kind`, `label`; one that is closed has `incident`; a pin and its end have `artifact`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// [`VERSION`].
    pub v: u32,
    /// The number of the act, from 1 on.
    pub id: u64,
    /// RFC 3339.
    pub at: String,
    /// `uid 1000`, or `node`.
    pub by: String,
    /// What was done.
    pub act: Act,
    /// Why, or the note of an incident; a line of text.
    pub why: String,
    /// Of which dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
    /// Of which symbol or series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// First day; absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    /// Last day; absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NaiveDate>,
    /// Names of the AMBER reasons that a release lets pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lets: Vec<String>,
    /// What an incident is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// What kind of incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<IncidentKind>,
    /// What it says of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<IncidentLabel>,
    /// What to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// The incident that is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<u64>,
}

impl Line {
    /// A line without a number, of which only what every act has is said.
    pub fn new(at: i64, by: &str, act: Act, why: &str) -> Self {
        Self {
            v: VERSION,
            id: 0,
            at: rfc3339_of(at),
            by: by.to_owned(),
            act,
            why: why.to_owned(),
            dataset: None,
            symbol: None,
            from: None,
            to: None,
            lets: Vec::new(),
            artifact: None,
            kind: None,
            label: None,
            replacement: None,
            evidence: None,
            incident: None,
        }
    }

    /// Unix seconds of `at`; 0 where it is no time, which [`read_all`] refuses.
    pub fn unix(&self) -> i64 {
        self.at.parse::<DateTime<Utc>>().map_or(0, |t| t.timestamp())
    }

    /// What is wrong with it as an act; None where it says all that its act needs.
    fn fault(&self) -> Option<&'static str> {
        let partition = self.dataset.is_some() && self.symbol.as_deref().is_some_and(|s| !s.is_empty());
        let incident = self.artifact.is_some() && self.kind.is_some() && self.label.is_some();
        let days = self.from.zip(self.to).is_none_or(|(a, b)| a <= b);
        match self.act {
            _ if self.v != VERSION => Some("a version that is not known"),
            _ if self.at.parse::<DateTime<Utc>>().is_err() => Some("`at` is no time"),
            Act::Hold | Act::Release if !partition || !days => Some("no dataset, symbol and days that can be"),
            Act::IncidentOpen if !incident => Some("no artifact, kind and label"),
            Act::IncidentClose if self.incident.is_none() => Some("no incident"),
            Act::Pin | Act::Unpin if self.artifact.is_none() => Some("no pack"),
            _ => None,
        }
    }
}

/// An event file that is not what was written.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file}:{line}: not an event line ({cause}); the record of holds and incidents is damaged: restore the file from a backup, and nothing is packed or changed by hand until then"
)]
pub struct BadEvents {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub cause: String,
}

/// The file of the month in which `at` (unix seconds) lies.
pub fn file_of(data: &DataDir, at: i64) -> PathBuf {
    let month = DateTime::from_timestamp(at, 0).unwrap_or_default().format("%Y-%m");
    data.events().join(format!("events-{month}.jsonl"))
}

/// The event files, the oldest month first; none where nothing was ever done by hand.
///
/// # Errors
/// The folder cannot be read.
pub fn files(data: &DataDir) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(data.events()) {
        Ok(e) => e,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut out = Vec::new();
    for e in entries {
        let name = e?.file_name();
        if name.to_str().is_some_and(|n| n.starts_with("events-") && n.ends_with(".jsonl")) {
            out.push(data.events().join(name));
        }
    }
    out.sort();
    Ok(out)
}

/// Every acknowledged line of every file, in the order of their numbers.
///
/// # Errors
/// [`BadEvents`] for the first line that is not one, or whose number is not the one after the last.
pub fn read_all(data: &DataDir) -> Result<Vec<Line>, BadEvents> {
    let folder = |e: std::io::Error| BadEvents { file: data.events(), line: 0, cause: e.to_string() };
    let mut found: Vec<(PathBuf, usize, Line)> = Vec::new();
    for file in files(data).map_err(folder)? {
        for (n, line) in read(&file)? {
            found.push((file.clone(), n, line));
        }
    }
    // A clock that was set back puts a later act into an earlier month's file.
    found.sort_by_key(|(_, _, l)| l.id);
    for ((file, n, line), want) in found.iter().zip(1u64..) {
        if line.id != want {
            let cause = format!("act {} where act {want} is expected", line.id);
            return Err(BadEvents { file: file.clone(), line: *n, cause });
        }
    }
    Ok(found.into_iter().map(|(_, _, l)| l).collect())
}

fn read(file: &Path) -> Result<Vec<(usize, Line)>, BadEvents> {
    let bad = |line: usize, cause: String| BadEvents { file: file.to_owned(), line, cause };
    let text = std::fs::read_to_string(file).map_err(|e| bad(0, e.to_string()))?;
    let acknowledged = text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default());
    let mut out = Vec::new();
    for (i, l) in acknowledged.lines().enumerate() {
        let line: Line = serde_json::from_str(l).map_err(|e| bad(i + 1, e.to_string()))?;
        if let Some(fault) = line.fault() {
            return Err(bad(i + 1, fault.to_owned()));
        }
        out.push((i + 1, line));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(id: u64) -> String {
        let mut l = Line::new(1_700_000_000, "uid 1000", Act::Hold, "why");
        l.id = id;
        l.dataset = Some(Dataset::EquitiesBars);
        l.symbol = Some("AAPL".into());
        serde_json::to_string(&l).unwrap() + "\n"
    }

    fn with(texts: &[(&str, String)]) -> (tempfile::TempDir, DataDir) {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        std::fs::create_dir_all(data.events()).unwrap();
        for (name, text) in texts {
            std::fs::write(data.events().join(name), text).unwrap();
        }
        (dir, data)
    }

    #[test]
    fn lines_of_several_months_come_in_the_order_of_their_numbers() {
        let (_dir, data) = with(&[("events-2023-11.jsonl", hold(2) + &hold(3)), ("events-2023-12.jsonl", hold(1))]);
        let ids: Vec<u64> = read_all(&data).unwrap().iter().map(|l| l.id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert!(read_all(&DataDir::new("/nonexistent")).unwrap().is_empty());
    }

    #[test]
    fn a_line_without_its_newline_was_never_acknowledged() {
        let (_dir, data) = with(&[("events-2023-11.jsonl", hold(1) + hold(2).trim_end())]);
        assert_eq!(read_all(&data).unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_line_is_named_with_its_file_and_number() {
        let other = |from: &str, to: &str| hold(2).replace(from, to);
        for (second, says) in [
            ("{\n".to_owned(), "EOF"),
            (other("\"v\":1", "\"v\":9"), "version"),
            (other("\"id\":2", "\"id\":3"), "act 3 where act 2"),
            (other("\"id\":2", "\"id\":1"), "act 1 where act 2"),
            (other("2023-11-14T22:13:20Z", "yesterday"), "no time"),
            (other("\"symbol\":\"AAPL\"", "\"symbol\":\"\""), "no dataset, symbol"),
            (other("\"act\":\"hold\"", "\"act\":\"incident_close\""), "no incident"),
            (other("\"act\":\"hold\"", "\"act\":\"praise\""), "praise"),
            (other("\"by\"", "\"bye\""), "bye"),
        ] {
            let (_dir, data) = with(&[("events-2023-11.jsonl", hold(1) + &second)]);
            let e = read_all(&data).unwrap_err();
            assert_eq!(e.line, 2, "{e}");
            assert!(e.cause.contains(says) && e.to_string().contains("events-2023-11.jsonl:2"), "{e}");
        }
    }
}
