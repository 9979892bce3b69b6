//! Alpaca market data v2: `GET /v2/stocks/bars`, many symbols a request, `next_page_token` until null.
//! Source: the vendor's OpenAPI document; `limit` is the total across symbols, a page may hold fewer.

use super::answer::utc_window;
use super::{Ask, Next, Page, Refusal, Request};
use crate::frame::Bar;
use chrono::DateTime;
use datanode_schema::clock::rfc3339;
use datanode_schema::names::Dataset;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(super) fn request(ask: &Ask, next: Option<&Next>) -> Request {
    let (start, end) = utc_window(ask.from, ask.to);
    let timeframe = if ask.dataset == Dataset::EquitiesBarsMinute { "1Min" } else { "1Day" };
    let mut query = vec![
        ("symbols".to_owned(), ask.symbols.join(",")),
        ("timeframe".to_owned(), timeframe.to_owned()),
        ("start".to_owned(), rfc3339(start)),
        ("end".to_owned(), rfc3339(end)),
        ("limit".to_owned(), ask.max_rows.min(10_000).to_string()),
        ("adjustment".to_owned(), ask.adjustment.clone()),
        ("feed".to_owned(), ask.feed.clone()),
        ("sort".to_owned(), "asc".to_owned()),
    ];
    if let Some(Next::Token(t)) = next {
        query.push(("page_token".to_owned(), t.clone()));
    }
    Request { path: "/v2/stocks/bars".to_owned(), query }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    bars: Option<BTreeMap<Cow<'a, str>, Vec<Wire<'a>>>>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    t: Cow<'a, str>,
    o: f64,
    h: f64,
    l: f64,
    c: f64,
    v: f64,
    #[serde(default)]
    n: Option<i64>,
    #[serde(default)]
    vw: Option<f64>,
}

pub(super) fn parse(ask: &Ask, body: &[u8]) -> Result<Page, Refusal> {
    let body: Body<'_> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of bars: {e}")))?;
    let mut page = Page { next: body.next_page_token.filter(|t| !t.is_empty()).map(Next::Token), ..Page::default() };
    let Some(bars) = body.bars else { return Err(Refusal::unparsable("no `bars` in the answer")) };
    for (symbol, rows) in bars {
        for w in rows {
            let at = DateTime::parse_from_rfc3339(&w.t).ok().map(|t| t.to_utc());
            let bar = Bar { open: w.o, high: w.h, low: w.l, close: w.c, volume: w.v, trades: w.n, vwap: w.vw };
            page.take_bar(ask, &symbol, at, bar);
        }
    }
    Ok(page)
}
