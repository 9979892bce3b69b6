//! The keys of the trees. Numbers are big-endian, so that the order of the bytes is the order of the values.

use crate::names::{Dataset, Vendor};
use crate::store::{Key, decode_str, decode_u64, encode_str};
use chrono::{Datelike, NaiveDate};

/// A month, as `year * 12 + month - 1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Month(pub u32);

impl Month {
    /// The month that `date` lies in.
    pub fn of(date: NaiveDate) -> Self {
        Self(u32::try_from(date.year()).unwrap_or(0) * 12 + date.month0())
    }
    /// The first day.
    pub fn first(self) -> NaiveDate {
        let year = i32::try_from(self.0 / 12).unwrap_or(0);
        NaiveDate::from_ymd_opt(year, self.0 % 12 + 1, 1).unwrap_or_default()
    }
    /// The day number of the first day.
    pub fn first_day(self) -> i32 {
        crate::clock::day_number(self.first())
    }
    /// The last day.
    pub fn last(self) -> NaiveDate {
        Month(self.0 + 1).first().pred_opt().unwrap_or_default()
    }
}

/// A dataset and one of its symbols (or series).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeriesKey {
    /// The dataset.
    pub dataset: Dataset,
    /// The symbol or the series.
    pub symbol: String,
}

/// A month of days of one symbol: a page of the gap queue or of the ledger.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageKey {
    /// The dataset.
    pub dataset: Dataset,
    /// The symbol or the series.
    pub symbol: String,
    /// The month.
    pub month: Month,
}

/// An act on one symbol, by its number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HoldKey {
    /// The dataset.
    pub dataset: Dataset,
    /// The symbol or the series.
    pub symbol: String,
    /// The number of the act: later acts have higher ones.
    pub act: u64,
}

/// In the place of a symbol: what a vendor refused of several symbols, it is taken to refuse of all. No symbol.
pub const EVERY_SYMBOL: &str = "*";

/// What one vendor has given of one symbol.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BookmarkKey {
    /// The dataset.
    pub dataset: Dataset,
    /// The symbol or the series.
    pub symbol: String,
    /// The vendor.
    pub vendor: Vendor,
}

/// A month of days that one vendor has given of one symbol.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HoldingKey {
    /// The dataset.
    pub dataset: Dataset,
    /// The symbol or the series.
    pub symbol: String,
    /// The month.
    pub month: Month,
    /// The vendor.
    pub vendor: Vendor,
}

/// What one vendor can do for one dataset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CapabilityKey {
    /// The vendor.
    pub vendor: Vendor,
    /// The dataset.
    pub dataset: Dataset,
}

/// What was decided by a calendar: each purpose is brought up to date by a stage of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DecidedBy {
    /// The holdings: where in its session a day's rows lie.
    Holdings = 1,
    /// The verdicts of the ledger.
    Verdicts = 2,
}

/// A year of a calendar, as it was when something was decided by it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CalendarKey {
    /// What was decided.
    pub purpose: DecidedBy,
    /// The calendar's name.
    pub calendar: String,
    /// The year.
    pub year: u16,
}

impl CalendarKey {
    /// The bytes that the keys of all years of a calendar start with.
    pub fn prefix(purpose: DecidedBy, calendar: &str) -> Vec<u8> {
        let mut out = vec![purpose as u8];
        encode_str(&mut out, calendar);
        out
    }
}

/// A curated file that waits for a stage.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TouchedKey {
    /// The dataset.
    pub dataset: Dataset,
    /// The file, relative to `data_layer/curated`.
    pub path: String,
}

impl HoldingKey {
    /// The bytes that the keys of a month start with, whoever the vendor.
    pub fn of_month(dataset: Dataset, symbol: &str, month: Month) -> Vec<u8> {
        let mut out = SeriesKey::prefix(dataset, symbol);
        out.extend_from_slice(&month.0.to_be_bytes());
        out
    }
}

impl SeriesKey {
    /// The bytes that every key of this symbol starts with.
    pub fn prefix(dataset: Dataset, symbol: &str) -> Vec<u8> {
        let mut out = vec![dataset.number()];
        encode_str(&mut out, symbol);
        out
    }
}

fn number(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn month(bytes: &mut &[u8]) -> Option<Month> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(Month(u32::from_be_bytes(*head)))
}

fn end<T>(bytes: &[u8], value: T) -> Option<T> {
    bytes.is_empty().then_some(value)
}

impl Key for SeriesKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.dataset.number());
        encode_str(out, &self.symbol);
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let dataset = Dataset::from_number(number(&mut b)?)?;
        let symbol = decode_str(&mut b)?;
        end(b, Self { dataset, symbol })
    }
}

impl Key for PageKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.dataset.number());
        encode_str(out, &self.symbol);
        out.extend_from_slice(&self.month.0.to_be_bytes());
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let dataset = Dataset::from_number(number(&mut b)?)?;
        let symbol = decode_str(&mut b)?;
        let month = month(&mut b)?;
        end(b, Self { dataset, symbol, month })
    }
}

impl Key for HoldKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.dataset.number());
        encode_str(out, &self.symbol);
        out.extend_from_slice(&self.act.to_be_bytes());
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let dataset = Dataset::from_number(number(&mut b)?)?;
        let symbol = decode_str(&mut b)?;
        let act = decode_u64(&mut b)?;
        end(b, Self { dataset, symbol, act })
    }
}

impl Key for BookmarkKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.dataset.number());
        encode_str(out, &self.symbol);
        out.push(self.vendor.number());
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let dataset = Dataset::from_number(number(&mut b)?)?;
        let symbol = decode_str(&mut b)?;
        let vendor = Vendor::from_number(number(&mut b)?)?;
        end(b, Self { dataset, symbol, vendor })
    }
}

impl Key for HoldingKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.dataset.number());
        encode_str(out, &self.symbol);
        out.extend_from_slice(&self.month.0.to_be_bytes());
        out.push(self.vendor.number());
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let dataset = Dataset::from_number(number(&mut b)?)?;
        let symbol = decode_str(&mut b)?;
        let month = month(&mut b)?;
        let vendor = Vendor::from_number(number(&mut b)?)?;
        end(b, Self { dataset, symbol, month, vendor })
    }
}

impl Key for CapabilityKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.vendor.number(), self.dataset.number()]);
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let vendor = Vendor::from_number(number(&mut b)?)?;
        let dataset = Dataset::from_number(number(&mut b)?)?;
        end(b, Self { vendor, dataset })
    }
}

impl Key for CalendarKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(Self::prefix(self.purpose, &self.calendar));
        out.extend_from_slice(&self.year.to_be_bytes());
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let purpose = match number(&mut b)? {
            1 => DecidedBy::Holdings,
            2 => DecidedBy::Verdicts,
            _ => return None,
        };
        let calendar = decode_str(&mut b)?;
        let (head, rest) = b.split_first_chunk::<2>()?;
        end(rest, Self { purpose, calendar, year: u16::from_be_bytes(*head) })
    }
}

impl Key for TouchedKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.dataset.number());
        encode_str(out, &self.path);
    }
    fn decode(mut b: &[u8]) -> Option<Self> {
        let dataset = Dataset::from_number(number(&mut b)?)?;
        let path = decode_str(&mut b)?;
        end(b, Self { dataset, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_decode_to_what_was_encoded_and_sort_by_time() {
        let k = |m| PageKey { dataset: Dataset::EquitiesBars, symbol: "AAPL".into(), month: Month(m) };
        let bytes = |k: &PageKey| {
            let mut v = Vec::new();
            k.encode(&mut v);
            v
        };
        assert_eq!(PageKey::decode(&bytes(&k(24_000))).unwrap(), k(24_000));
        assert!(bytes(&k(255)) < bytes(&k(256)));
        assert!(PageKey::decode(&bytes(&k(1))[..5]).is_none());
    }

    #[test]
    fn a_year_of_a_calendar_has_a_key_of_its_own() {
        let k = CalendarKey { purpose: DecidedBy::Verdicts, calendar: "XNYS".into(), year: 2025 };
        let mut bytes = Vec::new();
        k.encode(&mut bytes);
        assert_eq!(CalendarKey::decode(&bytes), Some(k));
        assert!(bytes.starts_with(&CalendarKey::prefix(DecidedBy::Verdicts, "XNYS")));
        assert!(!bytes.starts_with(&CalendarKey::prefix(DecidedBy::Holdings, "XNYS")));
        bytes[0] = 3;
        assert_eq!(CalendarKey::decode(&bytes), None);
    }

    #[test]
    fn a_month_knows_its_days() {
        let m = Month::of("2024-02-10".parse().unwrap());
        assert_eq!(m.first().to_string(), "2024-02-01");
        assert_eq!(m.last().to_string(), "2024-02-29");
    }
}
