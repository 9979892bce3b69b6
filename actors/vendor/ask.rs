//! What a vendor is asked.

use chrono::NaiveDate;
use datanode_schema::manifest;
use datanode_schema::names::{Dataset, Vendor};

/// Why it is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    /// What no bookmark covers yet.
    Ingest,
    /// Gap tasks that were asked for before.
    Backfill,
    /// The newest sessions, once more.
    Lookback,
    /// What another vendor gave, to compare the two.
    SpotCheck,
}

impl Purpose {
    /// The word in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Ingest => "ingest",
            Purpose::Backfill => "backfill",
            Purpose::Lookback => "lookback",
            Purpose::SpotCheck => "spot_check",
        }
    }

    /// Whether what is asked for is there already: an answer without a row then leaves no gap and is no evidence of one.
    pub fn is_second_look(self) -> bool {
        matches!(self, Purpose::Lookback | Purpose::SpotCheck)
    }
}

/// Sessions `from..=to` of some symbols: what one request (and its further pages) answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Who is asked.
    pub vendor: Vendor,
    /// For what.
    pub dataset: Dataset,
    /// For which symbols or series; sorted, not empty.
    pub symbols: Vec<String>,
    /// First session.
    pub from: NaiveDate,
    /// Last session.
    pub to: NaiveDate,
    /// Which tape.
    pub feed: String,
    /// Sent explicitly, always.
    pub adjustment: String,
    /// Rows of a page.
    pub max_rows: u32,
    /// Why.
    pub purpose: Purpose,
    /// Whether a refusal is about these very days of this very symbol, and not perhaps about a part of them.
    pub certain: bool,
    /// Of a backfill: the day numbers that are wanted; only their rows are taken. Empty: all.
    pub days: Vec<i32>,
}

impl Ask {
    /// The request id of one symbol of it in a run.
    pub fn request_id(&self, run: &str, symbol: &str) -> String {
        let mut purpose = self.purpose.name().to_owned();
        if !self.days.is_empty() {
            // Two asks of one span may want other days of it.
            let days: Vec<u8> = self.days.iter().flat_map(|d| d.to_be_bytes()).collect();
            purpose = format!("{purpose} {}", blake3::hash(&days).to_hex());
        }
        manifest::request_id(run, self.vendor, self.dataset, symbol, self.from, self.to, &purpose)
    }

    /// Whether an answer without a row would say that something is missing: events may well not have happened.
    pub fn expects_rows(&self) -> bool {
        !self.purpose.is_second_look() && self.dataset != Dataset::CorporateActions
    }

    /// Whether a session was asked for.
    pub fn wants(&self, day: i32) -> bool {
        self.days.is_empty() || self.days.binary_search(&day).is_ok()
    }
}
