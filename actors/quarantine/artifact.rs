//! What an incident may be about, read from what a person typed or a file says. Pure.

use chrono::NaiveDate;
use datanode_schema::clock::day_number;
use datanode_schema::names::{Dataset, Vendor};
use std::fmt;

/// The longest artifact, in bytes.
const LONGEST: usize = 400;

/// What an incident is about. Its text is its one spelling: two incidents are about the same where the texts are equal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Artifact {
    /// `DATASET/SYMBOL`, `DATASET/SYMBOL/DAY`, `DATASET/SYMBOL/FROM..TO`, `DATASET/SYMBOL/FROM..`: partitions.
    Partitions {
        /// The dataset.
        dataset: Dataset,
        /// The symbol or the series.
        symbol: String,
        /// First day; None: from the beginning.
        from: Option<NaiveDate>,
        /// Last day; None: without end.
        to: Option<NaiveDate>,
    },
    /// An export id: a pack.
    Pack(String),
    /// `raw/…` or `curated/…`: a file below `data_layer`.
    File(String),
    /// `answers/VENDOR/DATASET`: what a vendor answers.
    Answers(Vendor, Dataset),
    /// `gaps/DATASET`: what is absent of a dataset.
    Gaps(Dataset),
    /// `vault/PACK_UID`: a sealing; `vault/replica`: the second copy.
    Vault(String),
}

impl Artifact {
    /// Reads one; what exists is for the caller to find out.
    ///
    /// # Errors
    /// What is wrong with it, and what to give instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > LONGEST || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("an artifact is one word of 1 to {LONGEST} bytes; {FORMS}"));
        }
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            ["raw" | "curated", inside @ ..] => file(text, inside),
            ["answers", vendor, dataset] => match (Vendor::from_name(vendor), Dataset::from_name(dataset)) {
                (Some(v), Some(d)) => Ok(Self::Answers(v, d)),
                _ => Err(format!("{text:?} names no vendor and dataset; {FORMS}")),
            },
            ["gaps", dataset] => {
                Dataset::from_name(dataset).map(Self::Gaps).ok_or_else(|| format!("{dataset:?} is no dataset; {FORMS}"))
            }
            ["vault", of] if *of == "replica" || is_uid(of) => Ok(Self::Vault((*of).to_owned())),
            [id] if is_export_id(id) => Ok(Self::Pack((*id).to_owned())),
            [dataset, symbol] => partitions(dataset, symbol, ""),
            [dataset, symbol, days] => partitions(dataset, symbol, days),
            _ => Err(format!("{text:?} is no artifact; {FORMS}")),
        }
    }

    /// The partitions that its label holds for: dataset, symbol, first and last day number.
    pub fn span(&self) -> Option<(Dataset, &str, i32, i32)> {
        match self {
            Self::Partitions { dataset, symbol, from, to } => {
                Some((*dataset, symbol, from.map_or(i32::MIN, day_number), to.map_or(i32::MAX, day_number)))
            }
            _ => None,
        }
    }
}

/// What may be given.
const FORMS: &str = "give DATASET/SYMBOL, DATASET/SYMBOL/2024-01-02, DATASET/SYMBOL/2024-01-02..2024-01-05, the id of a pack, or a file such as raw/alpaca/equities_bars/year=2024/symbol=AAPL/data.parquet";

fn file(text: &str, inside: &[&str]) -> Result<Artifact, String> {
    let plain = |c: &str| !c.is_empty() && c != "." && c != ".." && !c.contains('\\');
    if inside.is_empty() || !inside.iter().all(|c| plain(c)) {
        return Err(format!("{text:?} is no file below the data folder; {FORMS}"));
    }
    Ok(Artifact::File(text.to_owned()))
}

fn partitions(dataset: &str, symbol: &str, days: &str) -> Result<Artifact, String> {
    let Some(dataset) = Dataset::from_name(dataset) else { return Err(format!("{dataset:?} is no dataset; {FORMS}")) };
    if symbol.is_empty() {
        return Err(format!("the symbol is empty; {FORMS}"));
    }
    let date = |t: &str| t.parse::<NaiveDate>().map_err(|_| format!("{t:?} is no date such as 2024-01-02; {FORMS}"));
    let (from, to) = match days.split_once("..") {
        None if days.is_empty() => (None, None),
        None => (Some(date(days)?), Some(date(days)?)),
        Some((a, "")) => (Some(date(a)?), None),
        Some((a, b)) => (Some(date(a)?), Some(date(b)?)),
    };
    if from.zip(to).is_some_and(|(a, b)| a > b) {
        return Err(format!("{days}: the first day lies after the last: swap them"));
    }
    Ok(Artifact::Partitions { dataset, symbol: symbol.to_owned(), from, to })
}

/// 32 lower-case hex digits.
fn is_uid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// `20240131T020000Z_node_full`.
fn is_export_id(text: &str) -> bool {
    let stamp = text.split('_').next().unwrap_or_default();
    let digits = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_digit());
    let stamped = stamp.strip_suffix('Z').and_then(|s| s.split_once('T'));
    stamped.is_some_and(|(d, t)| digits(d, 8) && digits(t, 6))
        && text.len() > stamp.len()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partitions { dataset, symbol, from, to } => {
                write!(f, "{dataset}/{symbol}")?;
                match (from, to) {
                    (Some(a), Some(b)) if a == b => write!(f, "/{a}"),
                    (Some(a), Some(b)) => write!(f, "/{a}..{b}"),
                    (Some(a), None) => write!(f, "/{a}.."),
                    (None, _) => Ok(()),
                }
            }
            Self::Pack(id) => f.write_str(id),
            Self::File(path) => f.write_str(path),
            Self::Answers(vendor, dataset) => write!(f, "answers/{vendor}/{dataset}"),
            Self::Gaps(dataset) => write!(f, "gaps/{dataset}"),
            Self::Vault(of) => write!(f, "vault/{of}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_artifact_has_one_spelling_that_leads_back_to_it() {
        for text in [
            "equities_bars/AAPL",
            "equities_bars/BRK.B/2024-01-02",
            "equities_bars_minute/AAPL/2024-01-02..2024-01-05",
            "prediction_books/0xab/2025-07-01..",
            "20240131T020000Z_node_full",
            "raw/alpaca/equities_bars/year=2024/symbol=AAPL/data.parquet",
            "curated/macro_treasury/year=2024/month=01/data.parquet",
            "answers/alpaca/equities_bars",
            "gaps/equities_bars",
            "vault/replica",
            "vault/00112233445566778899aabbccddeeff",
        ] {
            assert_eq!(Artifact::parse(text).unwrap().to_string(), text);
        }
        let twice = Artifact::parse("equities_bars/AAPL/2024-01-02..2024-01-02").unwrap();
        assert_eq!(twice, Artifact::parse("equities_bars/AAPL/2024-01-02").unwrap());
    }

    #[test]
    fn what_is_no_artifact_is_refused_with_what_to_give() {
        let long = "A".repeat(500);
        for text in [
            "",
            "AAPL",
            "stocks/AAPL",
            "equities_bars/",
            "equities_bars/AAPL/yesterday",
            "equities_bars/AAPL/2024-01-05..2024-01-02",
            "equities_bars/AAPL/..2024-01-02",
            "equities_bars/AAPL/2024-01-02/x",
            "raw/../../etc/passwd",
            "raw/alpaca//x",
            "raw",
            "/etc/passwd",
            "../x",
            "a b",
            "a\nb",
            "answers/nobody/equities_bars",
            "gaps/x",
            "vault/x",
            "vault/00112233445566778899AABBCCDDEEFF",
            "20240131T020000Z",
            "20240131T020000Z_a/../b",
            &long,
        ] {
            let why = Artifact::parse(text).unwrap_err();
            assert!(why.contains("give ") || why.contains("swap"), "{text:?}: {why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_artifact_or_a_refusal(text in "\\PC{0,60}") {
            if let Ok(a) = Artifact::parse(&text) {
                proptest::prop_assert_eq!(Artifact::parse(&a.to_string()), Ok(a));
            }
        }
    }
}
