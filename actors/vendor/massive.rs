//! Massive aggregates: `GET /v2/aggs/ticker/{T}/range/1/{span}/{from}/{to}`. `adjusted` defaults to true, so it is
//! always sent; no data is `results` absent or null; `next_url` names the vendor's host, of which only path and query
//! are used. Source: the vendor's OpenAPI document.

use super::{Ask, Next, Page, Refusal, Request};
use crate::frame::Bar;
use chrono::DateTime;
use datanode_schema::names::Dataset;
use serde::Deserialize;
use std::borrow::Cow;

pub(super) fn request(ask: &Ask, next: Option<&Next>) -> Result<Request, Refusal> {
    if let Some(Next::PathAndQuery(link)) = next {
        return split(link);
    }
    let span = if ask.dataset == Dataset::EquitiesBarsMinute { "minute" } else { "day" };
    let symbol: String = ask.symbols.first().map(|s| percent(s)).unwrap_or_default();
    Ok(Request {
        path: format!("/v2/aggs/ticker/{symbol}/range/1/{span}/{}/{}", ask.from, ask.to),
        query: vec![
            ("adjusted".to_owned(), adjusted(ask).to_string()),
            ("sort".to_owned(), "asc".to_owned()),
            ("limit".to_owned(), ask.max_rows.min(50_000).to_string()),
        ],
    })
}

/// Massive knows split-adjusted or not; whatever is not raw is that.
fn adjusted(ask: &Ask) -> bool {
    ask.adjustment != "raw"
}

/// Symbols may hold `/` or `:`; in a path they are one segment.
fn percent(symbol: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    symbol.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn split(link: &str) -> Result<Request, Refusal> {
    if !link.starts_with("/v2/aggs/") {
        let path = link.split('?').next().unwrap_or("");
        return Err(Refusal::unparsable(format!("next_url leads to {path:?}, which is no page of aggregates")));
    }
    let (path, query) = link.split_once('?').unwrap_or((link, ""));
    // The vendor may have put a key into the link; ours goes into the header.
    let query = url_pairs(query).into_iter().filter(|(k, _)| !k.eq_ignore_ascii_case("apikey")).collect();
    Ok(Request { path: path.to_owned(), query })
}

fn url_pairs(query: &str) -> Vec<(String, String)> {
    reqwest::Url::parse(&format!("http://host/?{query}"))
        .map(|u| u.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect())
        .unwrap_or_default()
}

/// Path and query of a link, whatever its host.
fn without_host(link: &str) -> Option<String> {
    let url = reqwest::Url::parse(link).ok()?;
    Some(match url.query() {
        Some(q) => format!("{}?{q}", url.path()),
        None => url.path().to_owned(),
    })
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    ticker: Option<Cow<'a, str>>,
    #[serde(default)]
    adjusted: Option<bool>,
    #[serde(default)]
    results: Option<Vec<Wire>>,
    #[serde(default)]
    next_url: Option<String>,
}

#[derive(Deserialize)]
struct Wire {
    t: i64,
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
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of aggregates: {e}")))?;
    match body.status.as_deref() {
        Some("OK" | "DELAYED") => {}
        other => {
            return Err(Refusal::unparsable(format!(
                "status {:?} where OK or DELAYED is expected",
                other.unwrap_or("")
            )));
        }
    }
    let mut page = Page::default();
    if let Some(link) = body.next_url {
        let next = without_host(&link).ok_or_else(|| Refusal::unparsable("next_url is no URL"))?;
        page.next = Some(Next::PathAndQuery(next));
    }
    let asked = ask.symbols.first().map_or("", String::as_str);
    let symbol = body.ticker.as_deref().unwrap_or(asked);
    let results = body.results.unwrap_or_default();
    let wanted = adjusted(ask);
    if !results.is_empty() && body.adjusted.is_some_and(|a| a != wanted) {
        return Err(Refusal::unparsable(format!("bars with adjusted={} where {wanted} was asked for", !wanted)));
    }
    for w in results {
        let bar = Bar { open: w.o, high: w.h, low: w.l, close: w.c, volume: w.v, trades: w.n, vwap: w.vw };
        page.take_bar(ask, symbol, DateTime::from_timestamp_millis(w.t), bar);
    }
    Ok(page)
}
