//! Where things lie below the data folder, and how a name becomes a path component.

use crate::names::{Dataset, Vendor};
use chrono::{Datelike, NaiveDate};
use std::path::{Path, PathBuf};

/// A name that cannot be a path component.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} cannot be a name on disk: it is empty, `.`, `..` or longer than 200 bytes when encoded")]
pub struct BadName(pub String);

/// Percent-encodes everything but `[A-Z0-9.-]`; refuses what is empty, `.`, `..` or too long.
pub fn component(name: &str) -> Result<String, BadName> {
    let mut out = String::with_capacity(name.len());
    for b in name.bytes() {
        match b {
            b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    if out.is_empty() || out == "." || out == ".." || out.len() > 200 { Err(BadName(name.to_owned())) } else { Ok(out) }
}

/// The reverse of [`component`].
pub fn decode_component(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let pair = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// How raw files of a dataset are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// One file a symbol and session.
    Day,
    /// One file a symbol and year.
    Year,
}

/// How curated files of a dataset are cut; each holds all symbols.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// One file a session.
    Day,
    /// One file a month.
    Month,
}

/// The data folder.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The folder at `root`; nothing is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }
    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }
    /// `state/`, the embedded database.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }
    /// `data_layer/raw/`.
    pub fn raw(&self) -> PathBuf {
        self.0.join("data_layer/raw")
    }
    /// `data_layer/manifests/`.
    pub fn manifests(&self) -> PathBuf {
        self.0.join("data_layer/manifests")
    }
    /// `data_layer/rejects/`: bodies and rows that could not be taken as they came.
    pub fn rejects(&self) -> PathBuf {
        self.0.join("data_layer/rejects")
    }
    /// `data_layer/curated/`.
    pub fn curated(&self) -> PathBuf {
        self.0.join("data_layer/curated")
    }
    /// `data_layer/qc/partition_status.parquet`.
    pub fn partition_status(&self) -> PathBuf {
        self.0.join("data_layer/qc/partition_status.parquet")
    }
    /// `exports/`.
    pub fn exports(&self) -> PathBuf {
        self.0.join("exports")
    }
    /// `exports/<source>/export_<export_id>/`.
    pub fn pack(&self, source: &str, export_id: &str) -> PathBuf {
        self.exports().join(source).join(format!("export_{export_id}"))
    }
    /// `exports/nightly/<date>/`.
    pub fn nightly(&self, as_of: NaiveDate) -> PathBuf {
        self.exports().join("nightly").join(as_of.to_string())
    }
    /// `vault/`.
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }
    /// `logs/`.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    /// `admin.sock`.
    pub fn admin_socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
    /// A raw file, relative to `raw()`: `<vendor>/<dataset>/date=…|year=…/symbol=…|series=…/data.parquet`.
    pub fn raw_file(
        vendor: Vendor,
        dataset: Dataset,
        grain: Grain,
        symbol: &str,
        date: NaiveDate,
    ) -> Result<String, BadName> {
        let when = match grain {
            Grain::Day => format!("date={date}"),
            Grain::Year => format!("year={:04}", date.year()),
        };
        let what = dataset.key_column();
        Ok(format!("{vendor}/{dataset}/{when}/{what}={}/data.parquet", component(symbol)?))
    }
    /// A curated file, relative to `curated()`.
    pub fn curated_file(dataset: Dataset, cut: Cut, date: NaiveDate) -> String {
        match cut {
            Cut::Day => format!("{dataset}/date={date}/data.parquet"),
            Cut::Month => format!("{dataset}/year={:04}/month={:02}/data.parquet", date.year(), date.month()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_one_component() {
        assert_eq!(component("../../x").unwrap(), "..%2F..%2F%78");
        assert_eq!(component("BRK.B").unwrap(), "BRK.B");
        assert!(component("..").is_err() && component(".").is_err() && component("").is_err());
        for s in ["../../x", "BRK/B", "é\0", "a%41"] {
            assert_eq!(decode_component(&component(s).unwrap()).unwrap(), s);
        }
    }
}
