//! Tiingo's end-of-day prices: `GET /tiingo/daily/<ticker>/prices`, one ticker a request, no pages. The unadjusted fields are
//! read; splits and dividends come in the same rows and are left to their own dataset. Classes of shares are written with a
//! dash (`BRK-B`). Source: api.tiingo.com/documentation/end-of-day.

use super::{Ask, Page, Refusal, Request};
use crate::frame::{Bar, Cell};
use chrono::NaiveDate;
use datanode_schema::clock::day_number;
use datanode_schema::names::Outcome;
use serde::Deserialize;
use std::borrow::Cow;

pub(super) fn request(ask: &Ask) -> Request {
    let ticker: String = ask.symbols.first().map(|s| super::percent(&s.replace(['.', '/'], "-"))).unwrap_or_default();
    let query = [("startDate", ask.from.to_string()), ("endDate", ask.to.to_string()), ("format", "json".to_owned())];
    Request::data(
        &format!("/tiingo/daily/{ticker}/prices"),
        query.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    )
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body<'a> {
    #[serde(borrow)]
    Rows(Vec<Wire<'a>>),
    /// Spent allocations were seen to be told with status 200.
    Words { detail: String },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    date: Cow<'a, str>,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
}

pub(super) fn parse(ask: &Ask, body: &[u8]) -> Result<Page, Refusal> {
    let rows = match serde_json::from_slice(body) {
        Ok(Body::Rows(rows)) => rows,
        Ok(Body::Words { detail }) if detail.contains("allocation") => {
            return Err(Refusal::new(Outcome::RateLimited, detail));
        }
        Ok(Body::Words { detail }) => return Err(Refusal::unparsable(detail)),
        Err(e) => return Err(Refusal::unparsable(format!("not a list of prices: {e}"))),
    };
    let symbol = ask.symbols.first().map_or("", String::as_str);
    let mut page = Page::default();
    for w in rows {
        // Midnight UTC stands for the session's date.
        let date: Option<NaiveDate> = w.date.get(..10).and_then(|d| d.parse().ok());
        let Some(date) = date else {
            page.rejects.add(|| format!("{symbol}: {:?} is no date", w.date));
            continue;
        };
        let bar =
            Bar { open: w.open, high: w.high, low: w.low, close: w.close, volume: w.volume, trades: None, vwap: None };
        page.take(ask, symbol, date, Some(i64::from(day_number(date))), Cell::Bar(bar));
    }
    Ok(page)
}
