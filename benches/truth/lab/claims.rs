//! What can be said of a market: classes of findings, each a set of symbols and sessions.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Symbol and session.
pub type Place = (String, NaiveDate);

/// Findings by class.
pub type Claims = BTreeMap<Class, BTreeSet<Place>>;

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The calendar has a session that the vendor should have and does not.
    Missing,
    /// Minutes inside a session that the vendor should have and does not.
    Hole,
    /// Rows that came twice.
    Duplicate,
    /// A split that nobody announced.
    Split,
    /// An hour in which nothing traded, told from a hole.
    Quiet,
    /// A symbol that stopped trading; the session is the first without it.
    Delisting,
    /// Rows that were given again with other values.
    Restated,
    /// Half-days whose 210 minutes are seen as a whole session.
    HalfDay,
    /// The session after the change of the clocks, seen as a whole one at the right hours.
    Clocks,
    /// Sessions in which fewer than nine tenths of the minutes traded, for whatever reason.
    Thin,
    /// Sessions whose rows are all there with their true values, when everybody has answered.
    Held,
    /// Anything that is not GREEN and is none of the above: always wrong.
    Else,
}

impl Class {
    /// In the order of the table.
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::Hole,
        Self::Duplicate,
        Self::Split,
        Self::Quiet,
        Self::Delisting,
        Self::Restated,
        Self::HalfDay,
        Self::Clocks,
        Self::Thin,
        Self::Held,
        Self::Else,
    ];

    /// As it stands in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing sessions",
            Self::Hole => "thirty-minute holes",
            Self::Duplicate => "duplicate batches",
            Self::Split => "unadjusted splits",
            Self::Quiet => "no-trade hours",
            Self::Delisting => "delistings",
            Self::Restated => "restatements",
            Self::HalfDay => "half-days",
            Self::Clocks => "change of the clocks",
            Self::Thin => "thin sessions",
            Self::Held => "sessions true at the end",
            Self::Else => "anything else not GREEN",
        }
    }
}
