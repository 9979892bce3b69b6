//! Tiingo, one ticker a request. End of day: `GET /tiingo/daily/<ticker>/prices`, of which the unadjusted fields are read;
//! splits and dividends come in the same rows and are left to their own dataset. Minutes: `GET /iex/<ticker>/prices`, what
//! was traded on IEX alone, its volume only where `columns` asks for it. Of a window with more minutes than an answer holds
//! the newest are given, and nothing says so: a full answer is taken from its second day on, and the days up to its first,
//! of which a part may be missing, are asked for again. IEX trades from 8:00 to 17:00 New York, so that a day in UTC is the same
//! day. Classes of shares are written with a dash (`BRK-B`). Source: api.tiingo.com/documentation, end-of-day and iex.

use super::{Ask, Next, Page, Refusal, Request};
use crate::frame::{Bar, Cell};
use chrono::{DateTime, NaiveDate};
use datanode_schema::calendar::new_york_date;
use datanode_schema::clock::day_number;
use datanode_schema::names::Outcome;
use serde::Deserialize;
use std::borrow::Cow;

/// Minutes of an answer at most.
const MOST_ROWS: u32 = 10_000;

pub(super) fn request(ask: &Ask, next: Option<&Next>) -> Result<Request, Refusal> {
    let ticker: String = ask.symbols.first().map(|s| super::percent(&s.replace(['.', '/'], "-"))).unwrap_or_default();
    let window = [("startDate", ask.from.to_string()), ("endDate", last_day(ask, next)?.to_string())];
    let (path, how): (String, &[(&str, &str)]) = if ask.dataset.is_stamped() {
        let how = &[
            ("resampleFreq", "1min"),
            ("columns", "open,high,low,close,volume"),
            ("afterHours", "true"),
            ("forceFill", "false"),
        ];
        (format!("/iex/{ticker}/prices"), how)
    } else {
        (format!("/tiingo/daily/{ticker}/prices"), &[])
    };
    let how = how.iter().chain(&[("format", "json")]).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let query = window.into_iter().map(|(k, v)| (k.to_owned(), v)).chain(how).collect();
    Ok(Request::data(&path, query))
}

/// The last day of a page: the ask's, or the first of the page before.
fn last_day(ask: &Ask, next: Option<&Next>) -> Result<NaiveDate, Refusal> {
    match next {
        None => Ok(ask.to),
        Some(Next::Token(day)) => {
            day.parse().map_err(|_| Refusal::unparsable(format!("{day:?} is no day to go on at")))
        }
        Some(_) => Err(Refusal::unparsable("a page that is no day")),
    }
}

#[derive(Deserialize)]
struct Words {
    detail: String,
}

/// Null stands in a row for what is not known.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    date: Cow<'a, str>,
    open: Option<f64>,
    high: Option<f64>,
    low: Option<f64>,
    close: Option<f64>,
    volume: Option<f64>,
}

impl Wire<'_> {
    fn bar(&self) -> Option<Bar> {
        let (open, high, low, close) = (self.open?, self.high?, self.low?, self.close?);
        Some(Bar { open, high, low, close, volume: self.volume?, trades: None, vwap: None })
    }
}

pub(super) fn parse(ask: &Ask, next: Option<&Next>, body: &[u8]) -> Result<Page, Refusal> {
    // Spent allocations were seen to be told with status 200.
    if let Ok(Words { detail }) = serde_json::from_slice(body) {
        let spent = detail.contains("allocation");
        return Err(if spent { Refusal::new(Outcome::RateLimited, detail) } else { Refusal::unparsable(detail) });
    }
    let rows: Vec<Wire<'_>> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a list of prices: {e}")))?;
    if ask.dataset.is_stamped() { minutes(ask, next, &rows) } else { Ok(days(ask, &rows)) }
}

fn days(ask: &Ask, rows: &[Wire<'_>]) -> Page {
    let symbol = ask.symbols.first().map_or("", String::as_str);
    let mut page = Page::default();
    for w in rows {
        // Midnight UTC stands for the session's date.
        let date: Option<NaiveDate> = w.date.get(..10).and_then(|d| d.parse().ok());
        let (Some(date), Some(bar)) = (date, w.bar()) else {
            page.rejects.add(|| format!("{symbol}: {:?} is no date, or a price or the volume is missing", w.date));
            continue;
        };
        page.take(ask, symbol, date, Some(i64::from(day_number(date))), Cell::Bar(bar));
    }
    page
}

fn minutes(ask: &Ask, next: Option<&Next>, rows: &[Wire<'_>]) -> Result<Page, Refusal> {
    let symbol = ask.symbols.first().map_or("", String::as_str);
    // What lies behind this page came with the one before.
    let window = Ask { to: last_day(ask, next)?, ..ask.clone() };
    let stamp = |w: &Wire<'_>| DateTime::parse_from_rfc3339(&w.date).ok().map(|t| t.to_utc());
    let full = rows.len() >= ask.max_rows.min(MOST_ROWS) as usize;
    let first = full.then(|| rows.iter().filter_map(stamp).min()).flatten().map(new_york_date);
    let first = first.filter(|first| *first >= ask.from);
    if first.is_some_and(|first| first >= window.to) {
        return Err(Refusal::unparsable(format!("{} minutes of {symbol} on one day", rows.len())));
    }
    let mut page = Page { next: first.map(|day| Next::Token(day.to_string())), ..Page::default() };
    for w in rows {
        let (at, bar) = (stamp(w), w.bar());
        if first.is_some() && at.map(new_york_date) == first {
            continue;
        }
        match bar {
            Some(bar) => page.take_bar(&window, symbol, at, bar),
            None => page.rejects.add(|| format!("{symbol} {:?}: a price or the volume is missing", w.date)),
        }
    }
    Ok(page)
}
