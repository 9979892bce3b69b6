//! Massive. Aggregates: `GET /v2/aggs/ticker/{T}/range/1/{span}/{from}/{to}`. `adjusted` defaults to true, so it is always
//! sent; no data is `results` absent or null; `next_url` names the vendor's host, of which only path and query are used.
//! Options: the contracts of an underlier (`massive_reference`), then the aggregates of one contract after the other, whose
//! ticker is `O:` and the OCC symbol. Splits and dividends: `massive_reference`. Source: the vendor's OpenAPI document.

use super::scan::{Scan, Stamp, Stamped};
use super::steps::{Stage, Step};
use super::{Ask, Next, Page, Refusal, Request, massive_reference, percent};
use crate::frame::Bar;
use chrono::{DateTime, Utc};
use datanode_schema::names::Dataset;
use serde::Deserialize;
use std::borrow::Cow;

pub(super) fn request(ask: &Ask, next: Option<&Next>) -> Result<Request, Refusal> {
    match ask.dataset {
        Dataset::CorporateActions => {
            massive_reference::actions_request(ask, Step::of(next).unwrap_or(&Step::first(Stage::Splits)))
        }
        Dataset::OptionsBars => {
            let first = Step::first(Stage::Active);
            let step = Step::of(next).unwrap_or(&first);
            if step.stage != Stage::Bars {
                return massive_reference::contracts_request(ask, step);
            }
            let contract = step.batch(1).first().map_or("", String::as_str);
            aggregates(ask, &format!("O:{contract}"), step.page.as_deref())
        }
        _ => aggregates(ask, ask.symbols.first().map_or("", String::as_str), next),
    }
}

fn aggregates(ask: &Ask, ticker: &str, next: Option<&Next>) -> Result<Request, Refusal> {
    if let Some(Next::PathAndQuery(link)) = next {
        return linked(link, &["/v2/aggs/"]);
    }
    let span = if ask.dataset.is_stamped() { "minute" } else { "day" };
    let path = format!("/v2/aggs/ticker/{}/range/1/{span}/{}/{}", percent(ticker), ask.from, ask.to);
    let query = vec![
        ("adjusted".to_owned(), adjusted(ask).to_string()),
        ("sort".to_owned(), "asc".to_owned()),
        ("limit".to_owned(), ask.max_rows.min(50_000).to_string()),
    ];
    Ok(Request::data(&path, query))
}

/// Massive knows split-adjusted or not; whatever is not raw is that.
fn adjusted(ask: &Ask) -> bool {
    ask.adjustment != "raw"
}

/// The request of a link, which must lead to one of `prefixes`.
pub(super) fn linked(link: &str, prefixes: &[&str]) -> Result<Request, Refusal> {
    let (path, query) = link.split_once('?').unwrap_or((link, ""));
    let climbs = path.split('/').any(|s| s == ".." || s == ".");
    if climbs || !prefixes.iter().any(|p| path.starts_with(p)) {
        return Err(Refusal::unparsable(format!(
            "next_url leads to {path:?}, which is no page of {}",
            prefixes.join(", ")
        )));
    }
    // The vendor may have put a key into the link; ours goes into the header.
    let query = url_pairs(query).into_iter().filter(|(k, _)| !k.eq_ignore_ascii_case("apikey")).collect();
    Ok(Request::data(path, query))
}

fn url_pairs(query: &str) -> Vec<(String, String)> {
    reqwest::Url::parse(&format!("http://host/?{query}"))
        .map(|u| u.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect())
        .unwrap_or_default()
}

/// The page that a link stands for.
pub(super) fn page_after(link: Option<&str>) -> Result<Option<Next>, Refusal> {
    let Some(link) = link.filter(|l| !l.is_empty()) else { return Ok(None) };
    let next = without_host(link).ok_or_else(|| Refusal::unparsable("next_url is no URL"))?;
    Ok(Some(Next::PathAndQuery(next)))
}

/// Refuses an answer whose status is no success.
pub(super) fn succeeded(status: Option<&str>) -> Result<(), Refusal> {
    match status {
        Some("OK" | "DELAYED") => Ok(()),
        other => {
            let status = other.unwrap_or("");
            Err(Refusal::unparsable(format!("status {status:?} where OK or DELAYED is expected")))
        }
    }
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

pub(super) fn parse(ask: &Ask, next: Option<&Next>, body: &[u8]) -> Result<Page, Refusal> {
    match ask.dataset {
        Dataset::CorporateActions => {
            massive_reference::actions(ask, Step::of(next).unwrap_or(&Step::first(Stage::Splits)), body)
        }
        Dataset::OptionsBars => {
            let first = Step::first(Stage::Active);
            let step = Step::of(next).unwrap_or(&first);
            if step.stage == Stage::Bars {
                option_bars(ask, step, body)
            } else {
                massive_reference::contracts(ask, step, body)
            }
        }
        _ => {
            let asked = ask.symbols.first().map_or("", String::as_str);
            match quick_bars(ask, asked, body) {
                Some(page) => Ok(page),
                None => bars(ask, asked, body, |page, symbol, at, bar| page.take_bar(ask, symbol, at, bar)),
            }
        }
    }
}

fn option_bars(ask: &Ask, step: &Step, body: &[u8]) -> Result<Page, Refusal> {
    let asked = step.batch(1);
    let underlier = ask.symbols.first().map_or("", String::as_str);
    let contract = asked.first().map_or("", String::as_str);
    let mut page = bars(ask, contract, body, |page, ticker, at, bar| {
        let contract = ticker.strip_prefix("O:").unwrap_or(ticker);
        page.take_option(ask, underlier, Some(asked), contract, at, bar);
    })?;
    page.next = match page.next {
        Some(rest) => Some(step.paged(rest)),
        None => step.next_batch(1),
    };
    Ok(page)
}

/// A page in the form in which Massive writes it; None where it is in another or to be refused, which is left to [`bars`].
fn quick_bars(ask: &Ask, asked: &str, body: &[u8]) -> Option<Page> {
    let (mut status, mut ticker, mut was_adjusted, mut link) = (None, None, None, None);
    let mut rows: Option<Vec<Stamped>> = None;
    let mut s = Scan::new(body);
    s.object(|s, key| match key {
        "status" if status.is_none() => s.text().map(|t| status = Some(t)),
        "ticker" if ticker.is_none() => s.text().map(|t| ticker = Some(t)),
        "adjusted" if was_adjusted.is_none() => s.bool().map(|a| was_adjusted = Some(a)),
        "next_url" if link.is_none() => s.text().map(|l| link = Some(l)),
        "results" if rows.is_none() => {
            let rows = rows.insert(Vec::new());
            s.list(|s| s.bar(Stamp::Millis).map(|b| rows.push(b)))
        }
        "status" | "ticker" | "adjusted" | "next_url" | "results" => None,
        _ => s.skip(),
    })?;
    s.end()?;
    succeeded(status).ok()?;
    let mut page = Page { next: page_after(link).ok()?, ..Page::default() };
    let rows = rows?;
    if was_adjusted.is_some_and(|a| a != adjusted(ask)) {
        return None;
    }
    page.take_bars(ask, ticker.unwrap_or(asked), rows.into_iter());
    Some(page)
}

fn bars(
    ask: &Ask,
    asked: &str,
    body: &[u8],
    mut take: impl FnMut(&mut Page, &str, Option<DateTime<Utc>>, Bar),
) -> Result<Page, Refusal> {
    let body: Body<'_> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of aggregates: {e}")))?;
    succeeded(body.status.as_deref())?;
    let mut page = Page { next: page_after(body.next_url.as_deref())?, ..Page::default() };
    let symbol = body.ticker.as_deref().unwrap_or(asked);
    let results = body.results.unwrap_or_default();
    let wanted = adjusted(ask);
    if !results.is_empty() && body.adjusted.is_some_and(|a| a != wanted) {
        return Err(Refusal::unparsable(format!("bars with adjusted={} where {wanted} was asked for", !wanted)));
    }
    for w in results {
        let bar = Bar { open: w.o, high: w.h, low: w.l, close: w.c, volume: w.v, trades: w.n, vwap: w.vw };
        take(&mut page, symbol, DateTime::from_timestamp_millis(w.t), bar);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Purpose;
    use datanode_schema::names::Vendor;
    use proptest::prelude::*;

    fn ask() -> Ask {
        Ask {
            vendor: Vendor::Massive,
            dataset: Dataset::EquitiesBarsMinute,
            symbols: vec!["AA".into()],
            from: "2025-03-07".parse().unwrap(),
            to: "2025-03-11".parse().unwrap(),
            feed: "sip".into(),
            adjustment: "raw".into(),
            max_rows: 50_000,
            purpose: Purpose::Ingest,
            certain: true,
            days: vec![],
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_takes_what_the_other_takes(
            bars_of in prop::collection::vec((1_741_200_000_000..1_741_800_000_000i64, 0..100_000u32, 0..100_000u32), 0..6),
            ticker in "AA|AB",
            status in "OK|DELAYED|ERROR",
            more in any::<bool>(),
            change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let one = |(t, a, b): &(i64, u32, u32)| {
                let (a, b) = (f64::from(*a) / 100.0, f64::from(*b) / 10_000.0);
                format!("{{\"v\":{a},\"vw\":{b},\"o\":{a},\"c\":{b},\"h\":{a},\"l\":{b},\"t\":{t},\"n\":7}}")
            };
            let list: Vec<String> = bars_of.iter().map(one).collect();
            let next = if more { ",\"next_url\":\"https://x.example/v2/aggs/ticker/AA?cursor=abc\"" } else { "" };
            let mut body = format!(
                "{{\"ticker\":\"{ticker}\",\"queryCount\":1,\"adjusted\":false,\"results\":[{}],\"status\":\"{status}\"{next}}}",
                list.join(",")
            )
            .into_bytes();
            if let Some((at, byte)) = &change {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            let ask = ask();
            let slow = bars(&ask, "AA", &body, |page, symbol, at, bar| page.take_bar(&ask, symbol, at, bar));
            let quick = quick_bars(&ask, "AA", &body);
            if change.is_none() {
                prop_assert_eq!(quick.is_some(), status != "ERROR");
            }
            if let Some(page) = quick {
                prop_assert_eq!(Ok(page), slow);
            }
        }
    }
}
