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
    /// `data_layer/events/`: what was done by hand, a file a month.
    pub fn events(&self) -> PathBuf {
        self.0.join("data_layer/events")
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
    /// `exports/<source>/export_<export_id>.tar.zst`: the pack as one file, where the settings ask for it.
    pub fn pack_archive(&self, source: &str, export_id: &str) -> PathBuf {
        self.exports().join(source).join(format!("export_{export_id}.tar.zst"))
    }
    /// `exports/nightly/<date>/`.
    pub fn nightly(&self, as_of: NaiveDate) -> PathBuf {
        self.exports().join("nightly").join(as_of.to_string())
    }
    /// `vault/`.
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }
    /// `anchors/`: the log of sealings, its checkpoints and proofs.
    pub fn anchors(&self) -> PathBuf {
        self.0.join("anchors")
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
        // Made for every partition that is looked at: put together without the formatting machinery.
        let mut out = String::with_capacity(96);
        out.push_str(vendor.name());
        out.push('/');
        out.push_str(dataset.name());
        match (grain, u32::try_from(date.year())) {
            (Grain::Day, Ok(year @ 0..10_000)) => {
                out.push_str("/date=");
                push_digits(&mut out, year, 4);
                out.push('-');
                push_digits(&mut out, date.month(), 2);
                out.push('-');
                push_digits(&mut out, date.day(), 2);
            }
            (Grain::Day, _) => out.push_str(&format!("/date={date}")),
            (Grain::Year, _) => out.push_str(&format!("/year={:04}", date.year())),
        }
        out.push('/');
        out.push_str(dataset.key_column());
        out.push('=');
        out.push_str(&component(symbol)?);
        out.push_str("/data.parquet");
        Ok(out)
    }
    /// A curated file, relative to `curated()`.
    pub fn curated_file(dataset: Dataset, cut: Cut, date: NaiveDate) -> String {
        match cut {
            Cut::Day => format!("{dataset}/date={date}/data.parquet"),
            Cut::Month => format!("{dataset}/year={:04}/month={:02}/data.parquet", date.year(), date.month()),
        }
    }
}

/// The last `width` digits of `n`, zeros before them where there are fewer.
fn push_digits(out: &mut String, n: u32, width: u32) {
    for place in (0..width).rev() {
        out.extend(char::from_digit(n / 10u32.pow(place) % 10, 10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_file_has_a_date_or_a_year_of_any_length() {
        let of = |grain, date: NaiveDate| {
            DataDir::raw_file(Vendor::Alpaca, Dataset::EquitiesBars, grain, "BRK.B", date).unwrap()
        };
        for date in [(1999, 1, 31), (2025, 12, 1), (12, 10, 9), (12_345, 6, 7), (-1, 6, 7)] {
            let date = NaiveDate::from_ymd_opt(date.0, date.1, date.2).unwrap();
            assert_eq!(of(Grain::Day, date), format!("alpaca/equities_bars/date={date}/symbol=BRK.B/data.parquet"));
        }
        let year = of(Grain::Year, NaiveDate::from_ymd_opt(2025, 7, 1).unwrap());
        assert_eq!(year, "alpaca/equities_bars/year=2025/symbol=BRK.B/data.parquet");
    }

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
