//! What comes back.

use super::{Ask, Next, occ};
use crate::frame::{Action, Bar, Cell, OptionBar};
use chrono::{DateTime, NaiveDate, Utc};
use datanode_schema::calendar::{new_york_date, new_york_midnight_utc};
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::names::{Dataset, Outcome};
use std::collections::BTreeMap;
use std::ops::Range;

/// Rows of one symbol: (`when` as in [`crate::frame::Row`], values).
pub type SymbolRows = Vec<(i64, Cell)>;

/// What a refusal is about, as far as the vendor's words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scope {
    /// The key is not accepted: nothing of this vendor will be given.
    Key,
    /// The plan does not include the window that was asked for (too old, too new, not yet).
    Window,
    /// The vendor does not know this symbol, or not for this plan.
    Symbol,
    /// Not the vendor but something before it refused: the caller is blocked, and asking again soon makes it worse.
    Block,
    /// The words do not tell.
    #[default]
    Unsaid,
}

/// An answer that is not rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{outcome}: {note}")]
pub struct Refusal {
    /// What it comes to.
    pub outcome: Outcome,
    /// The vendor's words, shortened.
    pub note: String,
    /// How long the vendor asked to be left alone.
    pub retry_after_ms: Option<u64>,
    /// What it is about.
    pub scope: Scope,
}

impl Refusal {
    /// A refusal with an outcome and words.
    pub fn new(outcome: Outcome, note: impl Into<String>) -> Self {
        let mut note: String = note.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if note.len() > 300 {
            let end = (0..=300).rev().find(|i| note.is_char_boundary(*i)).unwrap_or(0);
            note.truncate(end);
        }
        Self { outcome, note, retry_after_ms: None, scope: Scope::Unsaid }
    }
    /// The same, about something.
    #[must_use]
    pub fn about(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }
    /// Whether it is the key that was refused: then nothing else is worth asking with it.
    pub fn is_of_key(&self) -> bool {
        self.scope == Scope::Key
    }
    /// Whether it is the symbol that is not known or not given, whatever the days.
    pub fn is_of_symbol(&self) -> bool {
        self.scope == Scope::Symbol || (self.outcome == Outcome::Refused && self.scope != Scope::Window)
    }
    /// The request as such was refused.
    pub fn refused(note: impl Into<String>) -> Self {
        Self::new(Outcome::Refused, note)
    }
    /// The body is not what the interface says.
    pub fn unparsable(note: impl Into<String>) -> Self {
        Self::new(Outcome::Unparsable, note)
    }
}

/// Rows that were not taken, with the first case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejects {
    /// How many.
    pub rows: u64,
    /// The first, in words.
    pub first: String,
}

impl Rejects {
    pub(super) fn add(&mut self, why: impl FnOnce() -> String) {
        if self.rows == 0 {
            self.first = Refusal::refused(why()).note;
        }
        self.rows += 1;
    }
}

/// One page of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Rows by symbol; only symbols that were asked for.
    pub rows: BTreeMap<String, SymbolRows>,
    /// Where the next page is.
    pub next: Option<Next>,
    /// What was not taken.
    pub rejects: Rejects,
}

/// A whole answer to an ask.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The question.
    pub ask: Ask,
    /// Rows by symbol; empty where the outcome is not a good answer.
    pub rows: BTreeMap<String, SymbolRows>,
    /// Why there are none, where the answer was not good.
    pub refusal: Option<Refusal>,
    /// Requests made or files read.
    pub pages: u32,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// BLAKE3 of the bodies, one after the other.
    pub body_blake3: String,
    /// What was not taken.
    pub rejects: Rejects,
    /// Bodies to keep, since not all of them was taken.
    pub kept_bodies: Vec<Vec<u8>>,
    /// When the last page arrived.
    pub fetched_at: DateTime<Utc>,
    /// Milliseconds that it took in all.
    pub elapsed_ms: u64,
}

impl Page {
    /// Takes a bar whose stamp is its start. A stamp outside the asked window, or a symbol that was not asked for, is
    /// rejected; values are taken as they are, since judging them is not the vendor stage's work.
    pub(super) fn take_bar(&mut self, ask: &Ask, symbol: &str, at: Option<DateTime<Utc>>, bar: Bar) {
        let Some(at) = at else {
            self.rejects.add(|| format!("{symbol}: a stamp that is no time"));
            return;
        };
        let date = new_york_date(at);
        let when = if ask.dataset.is_stamped() { at.timestamp_nanos_opt() } else { Some(i64::from(day_number(date))) };
        self.take(ask, symbol, date, when, Cell::Bar(bar));
    }

    /// Takes bars of one symbol as [`Page::take_bar`] does, each with its stamp in nanoseconds; what a day's first bar comes
    /// to is remembered for the others.
    pub(super) fn take_bars(&mut self, ask: &Ask, symbol: &str, bars: impl ExactSizeIterator<Item = (i64, Bar)>) {
        if !ask.dataset.is_stamped() || !ask.symbols.iter().any(|s| s == symbol) {
            for (at, bar) in bars {
                self.take_bar(ask, symbol, Some(DateTime::from_timestamp_nanos(at)), bar);
            }
            return;
        }
        let mut rows = self.rows.remove(symbol).unwrap_or_default();
        rows.reserve(bars.len());
        let (mut day, mut wanted) = (0..0, false);
        for (at, bar) in bars {
            if !day.contains(&at) {
                let date = new_york_date(DateTime::from_timestamp_nanos(at));
                day = nanoseconds_of(date);
                let inside = date >= ask.from && date <= ask.to;
                wanted = inside && ask.wants(day_number(date));
                if !inside {
                    // Each is a reject of its own: nothing is remembered.
                    day = 0..0;
                    self.take_bar(ask, symbol, Some(DateTime::from_timestamp_nanos(at)), bar);
                    continue;
                }
            }
            if wanted {
                rows.push((at, Cell::Bar(bar)));
            }
        }
        if !rows.is_empty() {
            self.rows.insert(symbol.to_owned(), rows);
        }
    }

    /// Takes a bar of a contract as a row of its underlier. `asked`: the contracts that were asked for, where some were.
    pub(super) fn take_option(
        &mut self,
        ask: &Ask,
        underlier: &str,
        asked: Option<&[String]>,
        contract: &str,
        at: Option<DateTime<Utc>>,
        bar: Bar,
    ) {
        if !occ::is_of(contract, underlier) || asked.is_some_and(|a| !a.iter().any(|c| c == contract)) {
            self.rejects.add(|| format!("contract {contract:?} was not asked for"));
            return;
        }
        let Some(at) = at else {
            self.rejects.add(|| format!("{contract}: a stamp that is no time"));
            return;
        };
        let rows = self.rows.get(underlier);
        // Bars of a contract come together: its name is kept once.
        let known = rows.and_then(|r| r.last()).and_then(|(_, c)| match c {
            Cell::Option(o) if &*o.contract == contract => Some(o.contract.clone()),
            _ => None,
        });
        let contract = known.unwrap_or_else(|| contract.into());
        let cell = Cell::Option(Box::new(OptionBar { contract, bar }));
        self.take(ask, underlier, new_york_date(at), at.timestamp_nanos_opt(), cell);
    }

    /// Takes a corporate action by its ex-date. What lies outside the window is no fault: vendors are asked for more than is
    /// wanted where they filter by another date.
    pub(super) fn take_action(
        &mut self,
        ask: &Ask,
        symbol: &str,
        date: Option<NaiveDate>,
        action: Action,
        currency: Option<&str>,
    ) {
        let Some(date) = date else {
            self.rejects.add(|| format!("{symbol}: a {} without a date", action.kind.name()));
            return;
        };
        if let Some(other) = currency.filter(|c| action.cash.is_some() && !c.is_empty() && *c != "USD") {
            self.rejects.add(|| format!("{symbol} {date}: a {} in {other:?}, not in dollars", action.kind.name()));
            return;
        }
        if (ask.from..=ask.to).contains(&date) || !ask.symbols.iter().any(|s| s == symbol) {
            self.take(ask, symbol, date, Some(i64::from(day_number(date))), Cell::Action(action));
        }
    }

    /// Takes a value of a series.
    pub(super) fn take_value(&mut self, ask: &Ask, symbol: &str, date: NaiveDate, value: Option<f64>) {
        self.take(ask, symbol, date, Some(i64::from(day_number(date))), Cell::Value(value));
    }

    pub(super) fn take(&mut self, ask: &Ask, symbol: &str, date: NaiveDate, when: Option<i64>, cell: Cell) {
        if !ask.symbols.iter().any(|s| s == symbol) {
            self.rejects.add(|| format!("symbol {symbol:?} was not asked for"));
            return;
        }
        let Some(when) = when.filter(|_| date >= ask.from && date <= ask.to) else {
            self.rejects.add(|| format!("{symbol}: {date} lies outside the window {} to {}", ask.from, ask.to));
            return;
        };
        // A backfill asks for a window and wants some of its days: the others are held already.
        if !ask.wants(day_number(date)) {
            return;
        }
        match self.rows.get_mut(symbol) {
            Some(rows) => rows.push((when, cell)),
            None => {
                self.rows.insert(symbol.to_owned(), vec![(when, cell)]);
            }
        }
    }
}

/// The nanoseconds of a day in New York; none where they cannot be counted.
fn nanoseconds_of(date: NaiveDate) -> Range<i64> {
    let midnight = |d: NaiveDate| new_york_midnight_utc(d).timestamp_nanos_opt();
    match (midnight(date), date.succ_opt().and_then(midnight)) {
        (Some(from), Some(to)) => from..to,
        _ => 0..0,
    }
}

/// `at` as nanoseconds or day number leads back to the session's date.
pub fn date_of_row(dataset: Dataset, when: i64) -> NaiveDate {
    if dataset.is_stamped() {
        new_york_date(DateTime::from_timestamp_nanos(when))
    } else {
        date_of(i32::try_from(when).unwrap_or(i32::MAX))
    }
}

/// The first and last second of sessions `from..=to` in UTC.
pub(super) fn utc_window(from: NaiveDate, to: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let next = to.succ_opt().unwrap_or(to);
    (new_york_midnight_utc(from), new_york_midnight_utc(next) - chrono::Duration::seconds(1))
}
