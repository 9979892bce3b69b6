//! The quick way through a page of bars: the very form in which vendors write them, byte by byte. Whatever it does not
//! know (an escape, an exponent, a repeated key, a null where none is usual) it leaves to serde_json, by giving None, so
//! that what it takes is what serde_json would have taken. Pure.

use crate::frame::Bar;
use chrono::{DateTime, NaiveDate};

/// Digits whose number a u64 and, scaled, an f64 hold exactly.
const EXACT: u64 = 1 << 53;
const TENS: [f64; 18] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17];
const NANOS: i64 = 1_000_000_000;

/// A bar with its stamp in nanoseconds since 1970 UTC.
pub(super) type Stamped = (i64, Bar);

/// A place in a body.
pub(super) struct Scan<'a> {
    body: &'a [u8],
    at: usize,
    /// The date that was read last, as it stands there, and its midnight in seconds.
    date: (&'a [u8], i64),
}

/// How a vendor writes a stamp.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// `"2025-07-01T13:30:00Z"`.
    Text,
    /// Milliseconds since 1970.
    Millis,
}

impl<'a> Scan<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, date: (&[], 0) }
    }

    fn peek(&self) -> u8 {
        self.body.get(self.at).copied().unwrap_or(0)
    }

    /// Whether the next byte is this one, which then is behind us.
    fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == byte;
        self.at += usize::from(here);
        here
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at + word.len();
        (self.body.get(self.at..end)? == word).then(|| self.at = end)
    }

    /// A text of printable ASCII without escapes.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        self.word(b"\"")?;
        let rest = self.body.get(self.at..)?;
        let len = rest.iter().position(|b| !matches!(b, b' '..=b'~') || matches!(b, b'"' | b'\\'))?;
        let text = rest.get(..len)?;
        self.at += len;
        self.word(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    /// A key. Those of bars are one letter, which needs no search for its end.
    fn key(&mut self) -> Option<&'a str> {
        let letter = self.body.get(self.at + 1..self.at + 2);
        match (self.body.get(self.at..self.at + 3), letter) {
            (Some([b'"', b'a'..=b'z', b'"']), Some(letter)) => {
                self.at += 3;
                std::str::from_utf8(letter).ok()
            }
            _ => self.text(),
        }
    }

    /// The members of an object; `member` reads the value of a key, and minds that it may come once.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.word(b"{")?;
        if self.eat(b'}') {
            return Some(());
        }
        loop {
            let key = self.key()?;
            self.word(b":")?;
            member(self, key)?;
            if !self.eat(b',') {
                return self.word(b"}");
            }
        }
    }

    /// The members of a list.
    pub(super) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.word(b"[")?;
        if self.eat(b']') {
            return Some(());
        }
        loop {
            element(self)?;
            if !self.eat(b',') {
                return self.word(b"]");
            }
        }
    }

    /// A text or null.
    pub(super) fn text_or_null(&mut self) -> Option<Option<&'a str>> {
        if self.peek() == b'n' { self.word(b"null").map(|()| None) } else { self.text().map(Some) }
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        if self.peek() == b't' { self.word(b"true").map(|()| true) } else { self.word(b"false").map(|()| false) }
    }

    /// Passes over a value that nobody needs.
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek() {
            b'"' => self.text().map(|_| ()),
            b'n' => self.word(b"null"),
            b't' | b'f' => self.bool().map(|_| ()),
            _ => self.float().map(|_| ()),
        }
    }

    /// The end of the body.
    pub(super) fn end(&self) -> Option<()> {
        (self.at == self.body.len()).then_some(())
    }

    /// Goes on with `n` digit by digit; it is nonsense after more digits than a u64 holds. Also says how many there were.
    fn digits(&mut self, mut n: u64) -> (u64, usize) {
        let mut len = 0;
        for b in self.body.get(self.at..).unwrap_or(&[]) {
            let digit = b.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            n = n.wrapping_mul(10).wrapping_add(u64::from(digit));
            len += 1;
        }
        self.at += len;
        (n, len)
    }

    /// A whole number without a sign.
    fn whole(&mut self) -> Option<i64> {
        let zero = self.peek() == b'0';
        let (n, len) = self.digits(0);
        if len == 0 || len > 18 || (zero && len > 1) || matches!(self.peek(), b'.' | b'e' | b'E') {
            return None;
        }
        i64::try_from(n).ok()
    }

    /// A number without sign and exponent. One with more digits than an f64 holds is read by serde_json.
    fn float(&mut self) -> Option<f64> {
        let from = self.at;
        let zero = self.peek() == b'0';
        let (mut n, whole) = self.digits(0);
        if whole == 0 || (zero && whole > 1) {
            return None;
        }
        let mut scale = 0;
        if self.eat(b'.') {
            (n, scale) = self.digits(n);
            if scale == 0 {
                return None;
            }
        }
        if matches!(self.peek(), b'e' | b'E') {
            return None;
        }
        match TENS.get(scale) {
            // The quotient of two numbers that are held exactly is rounded once: no reader can be nearer.
            Some(tens) if whole + scale <= 18 && n <= EXACT => Some(n as f64 / tens),
            _ => serde_json::from_slice(self.body.get(from..self.at)?).ok(),
        }
    }

    /// A stamp to the second, in UTC; years that nanoseconds do not reach are left to others.
    fn stamp(&mut self) -> Option<i64> {
        let text = self.body.get(self.at..self.at + 22)?;
        let [b'"', .., b'T', _, _, b':', _, _, b':', _, _, b'Z', b'"'] = text else { return None };
        let date = text.get(1..11)?;
        if date != self.date.0 {
            self.date = (date, midnight(date)?);
        }
        let two = |at: usize| Some(i64::from(digit(*text.get(at)?)?) * 10 + i64::from(digit(*text.get(at + 1)?)?));
        let (h, m, s) = (two(12)?, two(15)?, two(18)?);
        self.at += text.len();
        (h < 24 && m < 60 && s < 60).then(|| (self.date.1 + h * 3600 + m * 60 + s) * NANOS)
    }

    /// A bar: `{"t":…,"o":…,"h":…,"l":…,"c":…,"v":…,"n":…,"vw":…}` in any order; `n` and `vw` may be absent or null.
    pub(super) fn bar(&mut self, stamp: Stamp) -> Option<Stamped> {
        let mut seen = 0u8;
        let mut bar = Bar { open: 0.0, high: 0.0, low: 0.0, close: 0.0, volume: 0.0, trades: None, vwap: None };
        let mut at = 0;
        self.object(|s, key| {
            let bit = match key {
                "t" => 1,
                "o" => 2,
                "h" => 4,
                "l" => 8,
                "c" => 16,
                "v" => 32,
                "n" => 64,
                "vw" => 128,
                _ => return s.skip(),
            };
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            match bit {
                1 if stamp == Stamp::Text => at = s.stamp()?,
                1 => at = s.whole().filter(|ms| *ms < i64::MAX / 1_000_000)? * 1_000_000,
                2 => bar.open = s.float()?,
                4 => bar.high = s.float()?,
                8 => bar.low = s.float()?,
                16 => bar.close = s.float()?,
                32 => bar.volume = s.float()?,
                _ if s.peek() == b'n' => s.word(b"null")?,
                64 => bar.trades = Some(s.whole()?),
                _ => bar.vwap = Some(s.float()?),
            }
            Some(())
        })?;
        (seen & 63 == 63).then_some((at, bar))
    }
}

fn digit(b: u8) -> Option<u8> {
    Some(b.wrapping_sub(b'0')).filter(|d| *d < 10)
}

/// The first second of a date of the years 1970 to 2199.
fn midnight(date: &[u8]) -> Option<i64> {
    let &[a, b, c, d, b'-', e, f, b'-', g, h] = date else { return None };
    let number = |digits: &[u8]| digits.iter().try_fold(0u32, |n, b| Some(n * 10 + u32::from(digit(*b)?)));
    let (year, month, day) = (number(&[a, b, c, d])?, number(&[e, f])?, number(&[g, h])?);
    let year = i32::try_from(year).ok().filter(|y| (1970..2200).contains(y))?;
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    Some((date - DateTime::UNIX_EPOCH.date_naive()).num_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bar: &str) -> Option<Stamped> {
        let mut s = Scan::new(bar.as_bytes());
        s.bar(Stamp::Text).filter(|_| s.end().is_some())
    }

    #[test]
    fn a_bar_is_read_in_any_order_of_its_keys() {
        let bar =
            r#"{"c":4.5,"h":5,"l":0.25,"o":1.10,"v":100,"x":"odd","vw":3.0001,"t":"2025-07-01T13:30:05Z","n":null}"#;
        let (at, bar) = read(bar).unwrap();
        assert_eq!(DateTime::from_timestamp_nanos(at).to_rfc3339(), "2025-07-01T13:30:05+00:00");
        let want = Bar { open: 1.1, high: 5.0, low: 0.25, close: 4.5, volume: 100.0, trades: None, vwap: Some(3.0001) };
        assert_eq!(bar, want);
    }

    #[test]
    fn what_is_not_the_usual_form_is_left_to_others() {
        let good = r#"{"t":"2025-07-01T13:30:00Z","o":1,"h":1,"l":1,"c":1,"v":1,"n":7}"#;
        assert!(read(good).is_some());
        for (from, to) in [
            ("\"o\":1", "\"o\":01"),
            ("\"o\":1", "\"o\":1."),
            ("\"o\":1", "\"o\":.5"),
            ("\"o\":1", "\"o\":-1"),
            ("\"o\":1", "\"o\":1e3"),
            ("\"o\":1", "\"o\":null"),
            ("\"o\":1,", ""),
            ("\"o\":1", "\"o\":1,\"o\":1"),
            ("\"n\":7", "\"n\":7.0"),
            ("\"n\":7", "\"n\":[7]"),
            ("\"n\"", "\"\\u006e\""),
            ("13:30:00Z", "13:30:60Z"),
            ("13:30:00Z", "24:30:00Z"),
            ("13:30:00Z", "13:30:00z"),
            ("13:30:00Z", "13:30:00.5Z"),
            ("07-01T", "02-30T"),
            ("2025", "2525"),
            ("}", "} "),
            ("}", ""),
        ] {
            assert!(read(&good.replacen(from, to, 1)).is_none(), "{from} → {to}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_serde_json(text in "(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?") {
            let mine = Scan::new(text.as_bytes()).float().map(f64::to_bits);
            prop_assert_eq!(mine, serde_json::from_str::<f64>(&text).ok().map(f64::to_bits));
        }

        #[test]
        fn stamps_are_those_of_chrono(text in "(19|20|21)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z") {
            if let Some(at) = Scan::new(format!("\"{text}\"").as_bytes()).stamp() {
                let theirs = DateTime::parse_from_rfc3339(&text).ok().and_then(|t| t.timestamp_nanos_opt());
                prop_assert_eq!(Some(at), theirs);
            }
        }
    }
}
