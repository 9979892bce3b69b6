//! Alpaca. Bars: `GET /v2/stocks/bars`, many symbols a request, `next_page_token` until null; `limit` is the total across
//! symbols, a page may hold fewer. Options: contracts from the trading host's `/v2/options/contracts`, the active ones and
//! then the expired ones, and of each 100 of them the bars, `/v1beta1/options/bars`. Corporate actions: `alpaca_actions`.
//! Source: the vendor's OpenAPI documents.

use super::answer::utc_window;
use super::scan::{Scan, Stamp, Stamped};
use super::steps::{Stage, Step};
use super::{Ask, Host, Next, Page, Refusal, Request, alpaca_actions, contracts};
use crate::frame::Bar;
use chrono::{DateTime, Days, Utc};
use datanode_schema::clock::rfc3339;
use datanode_schema::names::Dataset;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Contracts of one request for bars.
const BATCH: usize = 100;
/// An option lives three years at the most (LEAPS); some days more for odd expiries.
const LONGEST_LIFE: Days = Days::new(1_200);

/// The request for a page. `until`: nothing younger is asked for, since the plan refuses the whole request for it.
pub(super) fn request(ask: &Ask, next: Option<&Next>, until: Option<DateTime<Utc>>) -> Request {
    match ask.dataset {
        Dataset::CorporateActions => alpaca_actions::request(ask, next),
        Dataset::OptionsBars => options(ask, Step::of(next).unwrap_or(&Step::first(Stage::Active)), until),
        _ => {
            let mut query = vec![("symbols".to_owned(), ask.symbols.join(","))];
            query.extend(bars_query(ask, token(next), until));
            query.push(("adjustment".to_owned(), ask.adjustment.clone()));
            query.push(("feed".to_owned(), ask.feed.clone()));
            Request::data("/v2/stocks/bars", query)
        }
    }
}

/// The token of a page.
pub(super) fn token(next: Option<&Next>) -> Option<&str> {
    if let Some(Next::Token(t)) = next { Some(t) } else { None }
}

fn bars_query(ask: &Ask, token: Option<&str>, until: Option<DateTime<Utc>>) -> Vec<(String, String)> {
    let (start, end) = utc_window(ask.from, ask.to);
    let end = until.filter(|u| *u > start).map_or(end, |u| u.min(end));
    let timeframe = if ask.dataset.is_stamped() { "1Min" } else { "1Day" };
    let mut query = vec![
        ("timeframe".to_owned(), timeframe.to_owned()),
        ("start".to_owned(), rfc3339(start)),
        ("end".to_owned(), rfc3339(end)),
        ("limit".to_owned(), ask.max_rows.min(10_000).to_string()),
        ("sort".to_owned(), "asc".to_owned()),
    ];
    query.extend(token.map(|t| ("page_token".to_owned(), t.to_owned())));
    query
}

fn options(ask: &Ask, step: &Step, until: Option<DateTime<Utc>>) -> Request {
    let token = token(step.page.as_deref());
    if step.stage == Stage::Bars {
        let mut query = vec![("symbols".to_owned(), step.batch(BATCH).join(","))];
        query.extend(bars_query(ask, token, until));
        return Request::data("/v1beta1/options/bars", query);
    }
    // Without an upper bound only the contracts of the next days are listed.
    let last = ask.to.checked_add_days(LONGEST_LIFE).unwrap_or(ask.to);
    let status = if step.stage == Stage::Expired { "inactive" } else { "active" };
    let mut query = vec![
        ("underlying_symbols".to_owned(), ask.symbols.join(",")),
        ("status".to_owned(), status.to_owned()),
        ("expiration_date_gte".to_owned(), ask.from.to_string()),
        ("expiration_date_lte".to_owned(), last.to_string()),
        ("limit".to_owned(), "10000".to_owned()),
    ];
    query.extend(token.map(|t| ("page_token".to_owned(), t.to_owned())));
    Request { host: Host::Trading, path: "/v2/options/contracts".to_owned(), query }
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

#[derive(Deserialize)]
struct Contracts<'a> {
    #[serde(borrow)]
    option_contracts: Option<Vec<Contract<'a>>>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Contract<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}

pub(super) fn parse(ask: &Ask, next: Option<&Next>, body: &[u8]) -> Result<Page, Refusal> {
    match ask.dataset {
        Dataset::CorporateActions => alpaca_actions::parse(ask, body),
        Dataset::OptionsBars => {
            let first = Step::first(Stage::Active);
            let step = Step::of(next).unwrap_or(&first);
            if step.stage == Stage::Bars { option_bars(ask, step, body) } else { contract_list(ask, step, body) }
        }
        _ => match quick_bars(ask, body) {
            Some(page) => Ok(page),
            None => bars(body, |page, symbol, at, bar| page.take_bar(ask, symbol, at, bar)),
        },
    }
}

/// A token as the next page; an empty one is the end.
pub(super) fn page_after(token: Option<String>) -> Option<Next> {
    token.filter(|t| !t.is_empty()).map(Next::Token)
}

/// A page in the form in which Alpaca writes it; None where it is in another, which [`bars`] then reads or refuses.
fn quick_bars(ask: &Ask, body: &[u8]) -> Option<Page> {
    let mut page = Page::default();
    let (mut bars, mut token) = (None, None);
    let mut rows: Vec<Stamped> = Vec::new();
    let mut s = Scan::new(body);
    s.object(|s, key| match key {
        "bars" if bars.is_none() => {
            // In the order of symbols, each once, as the map of the other way has them.
            let mut last = "";
            bars = Some(s.object(|s, symbol| {
                if symbol <= last {
                    return None;
                }
                last = symbol;
                s.list(|s| s.bar(Stamp::Text).map(|b| rows.push(b)))?;
                page.take_bars(ask, symbol, rows.drain(..));
                Some(())
            })?);
            Some(())
        }
        "next_page_token" if token.is_none() => s.text_or_null().map(|t| token = Some(t)),
        "bars" | "next_page_token" => None,
        _ => s.skip(),
    })?;
    s.end()?;
    bars?;
    page.next = page_after(token.flatten().map(str::to_owned));
    Some(page)
}

fn bars(body: &[u8], mut take: impl FnMut(&mut Page, &str, Option<DateTime<Utc>>, Bar)) -> Result<Page, Refusal> {
    let body: Body<'_> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of bars: {e}")))?;
    let mut page = Page { next: page_after(body.next_page_token), ..Page::default() };
    let Some(bars) = body.bars else { return Err(Refusal::unparsable("no `bars` in the answer")) };
    for (symbol, rows) in bars {
        for w in rows {
            let at = DateTime::parse_from_rfc3339(&w.t).ok().map(|t| t.to_utc());
            let bar = Bar { open: w.o, high: w.h, low: w.l, close: w.c, volume: w.v, trades: w.n, vwap: w.vw };
            take(&mut page, &symbol, at, bar);
        }
    }
    Ok(page)
}

fn option_bars(ask: &Ask, step: &Step, body: &[u8]) -> Result<Page, Refusal> {
    let asked = step.batch(BATCH);
    let underlier = ask.symbols.first().map_or("", String::as_str);
    let mut page =
        bars(body, |page, contract, at, bar| page.take_option(ask, underlier, Some(asked), contract, at, bar))?;
    page.next = match page.next {
        Some(rest) => Some(step.paged(rest)),
        None => step.next_batch(BATCH),
    };
    Ok(page)
}

fn contract_list(ask: &Ask, step: &Step, body: &[u8]) -> Result<Page, Refusal> {
    let body: Contracts<'_> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of contracts: {e}")))?;
    let Some(list) = body.option_contracts else {
        return Err(Refusal::unparsable("no `option_contracts` in the answer"));
    };
    contracts::listed(ask, step, list.iter().map(|c| &*c.symbol), page_after(body.next_page_token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Purpose;
    use datanode_schema::names::Vendor;
    use proptest::prelude::*;

    fn ask(days: Vec<i32>) -> Ask {
        Ask {
            vendor: Vendor::Alpaca,
            dataset: Dataset::EquitiesBarsMinute,
            symbols: vec!["AA".into(), "B.C".into()],
            from: "2025-03-07".parse().unwrap(),
            to: "2025-03-11".parse().unwrap(),
            feed: "sip".into(),
            adjustment: "raw".into(),
            max_rows: 10_000,
            purpose: Purpose::Ingest,
            certain: true,
            days,
        }
    }

    fn slow(ask: &Ask, body: &[u8]) -> Result<Page, Refusal> {
        bars(body, |page, symbol, at, bar| page.take_bar(ask, symbol, at, bar))
    }

    fn bar() -> impl Strategy<Value = String> {
        let number = || prop_oneof!["[1-9][0-9]{0,3}\\.[0-9]{1,4}", "[0-9]{1,7}", "0\\.[0-9]{1,19}"];
        let rest = prop_oneof![Just(""), Just(",\"n\":null,\"vw\":null"), Just(",\"n\":12,\"vw\":1.25")];
        (number(), number(), number(), 5..13u32, 0..24u32, 0..60u32, rest).prop_map(|(a, b, c, d, h, m, rest)| {
            format!(
                "{{\"c\":{a},\"h\":{b},\"l\":{a},\"o\":{c},\"t\":\"2025-03-{d:02}T{h:02}:{m:02}:00Z\",\"v\":{b}{rest}}}"
            )
        })
    }

    proptest! {
        // Days before, after and around a change of clocks, symbols that were not asked for, bytes that were changed.
        #[test]
        fn the_quick_way_takes_what_the_other_takes(
            lists in prop::collection::btree_map("AA|AB|B\\.C|CC", prop::collection::vec(bar(), 0..6), 0..4),
            next in prop_oneof![Just("null"), Just("\"QUE=\""), Just("\"\"")],
            days in prop_oneof![Just(vec![]), Just(vec![20_154, 20_157])],
            change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let lists: Vec<String> = lists.iter().map(|(s, b)| format!("\"{s}\":[{}]", b.join(","))).collect();
            let mut body = format!("{{\"bars\":{{{}}},\"next_page_token\":{next}}}", lists.join(",")).into_bytes();
            if let Some((at, byte)) = &change {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            let ask = ask(days);
            let quick = quick_bars(&ask, &body);
            if let Some(page) = quick {
                prop_assert_eq!(Ok(page), slow(&ask, &body));
            }
        }
    }

    #[test]
    fn the_vendors_own_form_goes_the_quick_way() {
        let body = br#"{"bars":{"AA":[{"c":1.5,"h":2,"l":1,"n":3,"o":1,"t":"2025-03-10T13:30:00Z","v":100,"vw":1.25}]},"next_page_token":null}"#;
        let page = quick_bars(&ask(vec![]), body).unwrap();
        assert_eq!(page.rows["AA"].len(), 1);
        assert_eq!(page, slow(&ask(vec![]), body).unwrap());
    }
}
