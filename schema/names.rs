//! The closed sets of names: datasets, vendors, outcomes, verdicts, reasons. Each has a number that is stored and a
//! name that is shown; neither is ever reused.

use std::fmt;

/// Declares an enum whose variants have a stored number and a shown name.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant = $number,)* }

        impl $name {
            /// Every value, in the order of the numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name that people and files see.
            pub fn name(self) -> &'static str { match self { $($name::$variant => $text,)* } }

            /// The number that records hold.
            pub fn number(self) -> u8 { self as u8 }

            /// The value of a stored number.
            pub fn from_number(n: u8) -> Option<Self> { match n { $($number => Some($name::$variant),)* _ => None } }

            /// The value of a name.
            pub fn from_name(s: &str) -> Option<Self> { match s { $($text => Some($name::$variant),)* _ => None } }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.name()) }
        }
    };
}

named! {
    /// A kind of data with one schema, one calendar and one key column.
    Dataset {
        /// One bar a session.
        EquitiesBars = 1, "equities_bars";
        /// One bar a minute of trading, extended hours included.
        EquitiesBarsMinute = 2, "equities_bars_minute";
        /// Daily treasury constant-maturity yields, in per cent.
        MacroTreasury = 3, "macro_treasury";
        /// One bar a minute of trading of every option contract of an underlier.
        OptionsBars = 4, "options_bars";
        /// Splits and dividends, by ex-date.
        CorporateActions = 5, "corporate_actions";
        /// Order-book snapshots of prediction markets.
        PredictionBooks = 6, "prediction_books";
    }
}

impl Dataset {
    /// The name of the key column: what a partition is of.
    pub fn key_column(self) -> &'static str {
        match self {
            Dataset::MacroTreasury => "series",
            Dataset::OptionsBars => "underlier",
            Dataset::PredictionBooks => "market",
            Dataset::EquitiesBars | Dataset::EquitiesBarsMinute | Dataset::CorporateActions => "symbol",
        }
    }

    /// Whether rows are stamped to the nanosecond (UTC); the others belong to a day.
    pub fn is_stamped(self) -> bool {
        matches!(self, Dataset::EquitiesBarsMinute | Dataset::OptionsBars | Dataset::PredictionBooks)
    }
}

named! {
    /// A source of data.
    Vendor {
        /// A folder of CSV or Parquet files.
        Files = 1, "files";
        /// Alpaca Markets.
        Alpaca = 2, "alpaca";
        /// Massive (formerly Polygon).
        Massive = 3, "massive";
        /// The Federal Reserve Bank of St. Louis.
        Fred = 4, "fred";
        /// Polymarket: prediction markets.
        Polymarket = 5, "polymarket";
        /// Tiingo.
        Tiingo = 6, "tiingo";
    }
}

named! {
    /// What came of asking a vendor. Each is a recorded line of the manifest.
    Outcome {
        /// Rows for everything that was expected.
        Filled = 1, "filled";
        /// Rows, but not for every session that was asked for.
        Short = 2, "short";
        /// A good answer without a row.
        Empty = 3, "empty";
        /// The vendor does not give this to this key.
        NotEntitled = 4, "not_entitled";
        /// The vendor refused the request as such (a 4xx).
        Refused = 5, "refused";
        /// The vendor asked to slow down.
        RateLimited = 6, "rate_limited";
        /// 5xx, a broken connection, a timeout.
        Error = 7, "error";
        /// An answer that is not what the vendor's interface says: HTML, half a JSON document, a wrong type.
        Unparsable = 8, "unparsable";
    }
}

named! {
    /// The verdict of a partition.
    Verdict {
        /// Good.
        Green = 1, "GREEN";
        /// Usable, with a reason to know.
        Amber = 2, "AMBER";
        /// Never ships.
        Red = 3, "RED";
        /// Not judged for want of rows that may still come.
        Pending = 4, "PENDING";
    }
}

named! {
    /// Why a session has no rows, or not enough.
    Absence {
        /// Nobody has given a final answer.
        Missing = 1, "missing";
        /// There is a reason for it, and evidence.
        Explained = 2, "explained";
        /// Too early to expect rows.
        Pending = 3, "pending";
        /// Retries are used up: a person may revive it.
        Unobtainable = 4, "unobtainable";
        /// Rows, but the session is not whole.
        Short = 5, "short";
        /// A person gave it up.
        Cancelled = 6, "cancelled";
        /// Rows from open to close, but minutes in between are absent that should be there.
        Hole = 7, "hole";
    }
}

named! {
    /// What explains an absence.
    Explanation {
        /// The vendors agree that nothing traded.
        NoTrade = 1, "no_trade";
        /// The symbol has no row before its first.
        BeforeListing = 2, "before_listing";
        /// The symbol has no row any more.
        Delisted = 3, "delisted";
        /// Between two listings of one ticker, which need not be of one company.
        NotListed = 4, "not_listed";
    }
}

named! {
    /// A step of the nightly cycle, in order.
    Stage {
        /// Ask the preferred vendors for what is new.
        Ingest = 1, "ingest";
        /// Compare what is held with calendar and universe.
        Audit = 2, "audit";
        /// Drain the queue.
        Backfill = 3, "backfill";
        /// Rebuild the touched curated files.
        Curate = 4, "curate";
        /// Judge the touched partitions.
        Qc = 5, "qc";
        /// Write the pack.
        Export = 6, "export";
        /// Encrypt it into the vault.
        Seal = 7, "seal";
        /// Bring it to its destination.
        Ship = 8, "ship";
        /// Remove what the rules no longer keep.
        Retention = 9, "retention";
    }
}

named! {
    /// What was done by hand, or by the node in place of a hand: a line of the event files.
    Act {
        /// Partitions are held back.
        Hold = 1, "hold";
        /// A hold ends; AMBER partitions may ship where their dataset holds AMBER back.
        Release = 2, "release";
        /// An artifact is labelled.
        IncidentOpen = 3, "incident_open";
        /// The label no longer holds.
        IncidentClose = 4, "incident_close";
        /// A pack stays whatever the rules of retention say.
        Pin = 5, "pin";
        /// The rules hold for a pack again.
        Unpin = 6, "unpin";
    }
}

named! {
    /// What an incident is about.
    IncidentKind {
        /// Columns, types or words that are not the dataset's or the vendor's interface.
        UnexpectedSchema = 1, "unexpected_schema";
        /// A token, contract or symbol was taken for another.
        WrongMapping = 2, "wrong_mapping";
        /// Rows lie beside their time.
        MisreadTimestamps = 3, "misread_timestamps";
        /// Many sessions are open since vendors said to slow down.
        RateLimitGaps = 4, "rate_limit_gaps";
        /// A gzip file was not closed.
        GzipNotClosed = 5, "gzip_not_closed";
        /// What arrived is not what was sent.
        ChecksumMismatch = 6, "checksum_mismatch";
        /// Anything else; the note says what.
        Other = 7, "other";
        /// An intact object of the vault is not of the key that should open it.
        WrongKey = 8, "wrong_key";
        /// A file of the vault is not what was written, or is gone.
        StorageRot = 9, "storage_rot";
        /// An intact object of the vault does not authenticate: software, or an attack.
        FailedAuthentication = 10, "failed_authentication";
        /// The vault's second copy has not been reached for days.
        ReplicaBehind = 11, "replica_behind";
    }
}

named! {
    /// What an incident says of its artifact.
    IncidentLabel {
        /// It is wrong: partitions become RED.
        Invalid = 1, "invalid";
        /// It is superseded or not to be relied on: partitions become AMBER.
        Deprecated = 2, "deprecated";
    }
}

/// A reason for a verdict; a partition has a set of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reason {
    /// The bit in a record's set.
    pub bit: u64,
    /// The name in `partition_status.parquet`.
    pub name: &'static str,
    /// The verdict that it alone would give; GREEN is a note.
    pub verdict: Verdict,
    /// What it means, for `explain`.
    pub means: &'static str,
}

macro_rules! reasons {
    ($($konst:ident = $bit:literal, $name:literal, $verdict:ident, $means:literal;)*) => {
        impl Reason {
            $(#[doc = $means] pub const $konst: Reason =
                Reason { bit: 1 << $bit, name: $name, verdict: Verdict::$verdict, means: $means };)*
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$konst),*];
        }
    };
}

reasons! {
    MISSING_SESSION = 0, "missing_session", Pending, "the calendar has a session and nobody has given rows for it yet";
    NO_TRADE_AGREED = 1, "no_trade_agreed", Amber, "the calendar has a session; the vendors agree that nothing traded";
    UNOBTAINABLE = 2, "unobtainable", Red, "the calendar has a session; every vendor failed for it";
    SHORT_SESSION = 3, "short_session", Red, "rows stop (or start) far from the session's close (or open)";
    THIN_SESSION = 4, "thin_session", Amber, "rows span the session, but fewer minutes than the threshold traded";
    OUTSIDE_CALENDAR = 5, "outside_calendar", Red, "rows on a day that the calendar has no session for";
    OUTSIDE_HOURS = 6, "outside_hours", Red, "stamps outside 04:00-20:00 New York";
    OHLC_ORDER = 7, "ohlc_order", Red, "high below low, open or close, or low above open or close";
    NOT_POSITIVE = 8, "not_positive", Red, "a price that is not above zero, or a negative volume";
    NOT_FINITE = 9, "not_finite", Red, "a price or volume that is not a finite number";
    DUPLICATE_STAMP = 10, "duplicate_stamp", Red, "two rows with one stamp";
    UNSORTED = 11, "unsorted", Red, "stamps out of order";
    NO_OBSERVATION = 12, "no_observation", Amber, "a published day of a series without a value";
    SCHEMA = 13, "schema", Red, "columns or types that are not the dataset's";
    TOO_MANY_ROWS = 14, "too_many_rows", Red, "more rows than the session has minutes";
    HOLE = 15, "hole", Amber, "minutes inside the session are silent, more of them in a row than chance explains";
    NO_TRADE_MINUTES = 16, "no_trade_minutes", Green, "minutes inside the session are silent, and the vendors agree";
    BEFORE_LISTING = 17, "before_listing", Green, "the calendar has a session; the vendors agree that the symbol was not listed yet";
    DELISTED = 18, "delisted", Green, "the calendar has a session; the vendors agree that the symbol is listed no more";
    NOT_LISTED = 19, "not_listed", Green, "a session between two listings of the ticker";
    EARLIER_LISTING = 20, "earlier_listing", Amber, "rows of an earlier listing of the ticker, maybe of another company: say in universe.yaml which windows are meant";
    UNEXPLAINED_JUMP = 21, "unexplained_jump", Amber, "the price jumped from the session before, and neither an action nor a second vendor explains it";
    SPLIT_NOT_SEEN = 22, "split_not_seen", Amber, "a split took effect and the price did not move by it: adjusted prices, or a wrong action";
    OUTLIER = 23, "outlier", Amber, "return or volume far outside what the sessions before were like";
    FLAT_LINE = 24, "flat_line", Amber, "the same bar minute after minute";
    STALE = 25, "stale", Amber, "the same values session after session";
    VENDORS_DISAGREE = 26, "vendors_disagree", Amber, "another vendor gave other values for the same bars";
    DUPLICATES_DROPPED = 27, "duplicates_dropped", Green, "an answer held the same rows twice; one copy was kept";
    RESTATED = 28, "restated", Green, "a vendor gave other values later; the older file is kept";
    MISREAD_TIMESTAMPS = 29, "misread_timestamps", Red, "the session lies whole hours beside its time";
    HELD = 30, "held", Red, "a person holds it back";
    RELEASED = 31, "released", Green, "a person released it, though AMBER is held back here";
    INCIDENT_INVALID = 32, "incident_invalid", Red, "an incident labels it invalid";
    INCIDENT_DEPRECATED = 33, "incident_deprecated", Amber, "an incident labels it deprecated";
    JUMP_CONFIRMED = 34, "jump_confirmed", Green, "the price jumped, and a second vendor or an action says so too";
}

impl Reason {
    /// The reasons that people and incidents give; no check gives them.
    pub const BY_HAND: u64 =
        Self::HELD.bit | Self::RELEASED.bit | Self::INCIDENT_INVALID.bit | Self::INCIDENT_DEPRECATED.bit;

    /// The names in a set of bits, in the order of the bits.
    pub fn names(bits: u64) -> Vec<&'static str> {
        Self::ALL.iter().filter(|r| bits & r.bit != 0).map(|r| r.name).collect()
    }

    /// The worst verdict in a set of bits; an empty set is GREEN. PENDING outranks AMBER, RED outranks both.
    pub fn worst(bits: u64) -> Verdict {
        let rank = |v: Verdict| match v {
            Verdict::Green => 0,
            Verdict::Amber => 1,
            Verdict::Pending => 2,
            Verdict::Red => 3,
        };
        Self::ALL
            .iter()
            .filter(|r| bits & r.bit != 0)
            .map(|r| r.verdict)
            .max_by_key(|v| rank(*v))
            .unwrap_or(Verdict::Green)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_bit_and_name() {
        let bits = Reason::ALL.iter().fold(0u64, |a, r| {
            assert_eq!(a & r.bit, 0, "{} shares a bit", r.name);
            a | r.bit
        });
        assert_eq!(bits.count_ones() as usize, Reason::ALL.len());
    }

    #[test]
    fn the_worst_reason_gives_the_colour() {
        assert_eq!(Reason::worst(0), Verdict::Green);
        assert_eq!(Reason::worst(Reason::THIN_SESSION.bit), Verdict::Amber);
        assert_eq!(Reason::worst(Reason::THIN_SESSION.bit | Reason::OHLC_ORDER.bit), Verdict::Red);
    }

    #[test]
    fn numbers_and_names_lead_back() {
        for d in Dataset::ALL {
            assert_eq!(Dataset::from_number(d.number()), Some(*d));
            assert_eq!(Dataset::from_name(d.name()), Some(*d));
        }
    }
}
