//! A calendar's sessions, computed once: a sorted list and, for each day, how many sessions came before it.

use chrono::{Datelike, NaiveDate, NaiveTime};
use sha2::{Digest, Sha256};

use super::{Session, dates::ymd, new_york};

/// What the sessions of a market have in common.
pub(super) struct Market {
    /// First and last year that its rules are known for.
    pub(super) years: (i32, i32),
    /// When it opens, New York time.
    pub(super) open: NaiveTime,
    /// When a whole day closes, New York time.
    pub(super) close: NaiveTime,
}

/// A session's date and the time at which it closes, New York time.
pub(super) type Closing = (NaiveDate, NaiveTime);

/// Sessions of whole years with O(1) lookup by date.
pub(super) struct Table {
    first: NaiveDate,
    last: NaiveDate,
    sessions: Vec<Session>,
    /// `rank[i]` sessions lie before day `first + i`; one more entry than there are days.
    rank: Vec<u32>,
    sha256: String,
}

impl Table {
    /// Builds a market's table from its sessions, which are sorted.
    pub(super) fn new(market: &Market, days: &[Closing]) -> Self {
        let (first, last) = (ymd(market.years.0, 1, 1), ymd(market.years.1, 12, 31));
        let sessions: Vec<Session> = days
            .iter()
            .map(|&(date, close)| Session {
                date,
                open: new_york(date, market.open),
                close: new_york(date, close),
                half_day: close < market.close,
            })
            .collect();
        let span = usize::try_from((last - first).num_days()).unwrap_or(0) + 1;
        let mut rank = Vec::with_capacity(span + 1);
        let (mut seen, mut next) = (0_u32, sessions.iter().peekable());
        for day in first.iter_days().take(span) {
            rank.push(seen);
            if next.next_if(|s| s.date == day).is_some() {
                seen += 1;
            }
        }
        rank.push(seen);
        let sha256 = digest(&sessions);
        Self { first, last, sessions, rank, sha256 }
    }

    pub(super) fn covers(&self, date: NaiveDate) -> bool {
        (self.first..=self.last).contains(&date)
    }

    /// The first and the last day of the covered years.
    pub(super) fn bounds(&self) -> (NaiveDate, NaiveDate) {
        (self.first, self.last)
    }

    /// Bytes of memory that the table takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.sessions.capacity() * size_of::<Session>() + self.rank.capacity() * size_of::<u32>()
    }

    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// How many sessions lie strictly before `date`, which may be outside the covered years.
    fn before(&self, date: NaiveDate) -> usize {
        let days = i64::from(date.num_days_from_ce()) - i64::from(self.first.num_days_from_ce());
        let at = usize::try_from(days).unwrap_or(0).min(self.rank.len().saturating_sub(1));
        self.rank.get(at).map_or(0, |&n| n as usize)
    }

    /// Like [`Table::before`], with `date` itself counted.
    fn through(&self, date: NaiveDate) -> usize {
        date.succ_opt().map_or(self.sessions.len(), |next| self.before(next))
    }

    pub(super) fn session(&self, date: NaiveDate) -> Option<&Session> {
        self.sessions.get(self.before(date)).filter(|s| s.date == date)
    }

    pub(super) fn is_session(&self, date: NaiveDate) -> bool {
        self.through(date) > self.before(date)
    }

    /// The sessions of an inclusive span; empty when `to` is before `from`.
    pub(super) fn span(&self, from: NaiveDate, to: NaiveDate) -> &[Session] {
        self.sessions.get(self.before(from)..self.through(to)).unwrap_or(&[])
    }

    pub(super) fn next(&self, date: NaiveDate) -> Option<NaiveDate> {
        self.sessions.get(self.through(date)).map(|s| s.date)
    }

    pub(super) fn previous(&self, date: NaiveDate) -> Option<NaiveDate> {
        self.before(date).checked_sub(1).and_then(|at| self.sessions.get(at)).map(|s| s.date)
    }
}

/// Hex SHA-256 over one line a session: `YYYY-MM-DD,OPEN,CLOSE`, times in UTC as RFC 3339 to the second.
pub(super) fn digest(sessions: &[Session]) -> String {
    let mut hash = Sha256::new();
    for s in sessions {
        let line = format!("{},{},{}\n", s.date, s.open.format("%FT%TZ"), s.close.format("%FT%TZ"));
        hash.update(line.as_bytes());
    }
    hex::encode(hash.finalize())
}
