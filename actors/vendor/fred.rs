//! FRED `GET /fred/series/observations` as JSON (the default is XML): values are strings, `"."` is no observation, pages
//! by offset. The key travels in the query, so URLs are never logged. Source: the FRED API documentation.

use super::{Ask, Next, Page, Refusal, Request};
use chrono::NaiveDate;
use serde::Deserialize;
use std::borrow::Cow;

pub(super) fn request(ask: &Ask, next: Option<&Next>) -> Request {
    let offset = if let Some(Next::Offset(o)) = next { *o } else { 0 };
    let query = [
        ("series_id", ask.symbols.first().cloned().unwrap_or_default()),
        ("file_type", "json".to_owned()),
        ("observation_start", ask.from.to_string()),
        ("observation_end", ask.to.to_string()),
        ("sort_order", "asc".to_owned()),
        ("limit", ask.max_rows.min(100_000).to_string()),
        ("offset", offset.to_string()),
    ];
    let query = query.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Request { path: "/fred/series/observations".to_owned(), query }
}

#[derive(Deserialize)]
struct Body<'a> {
    count: u64,
    #[serde(default)]
    offset: u64,
    #[serde(borrow)]
    observations: Vec<Wire<'a>>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    date: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

pub(super) fn parse(ask: &Ask, body: &[u8]) -> Result<Page, Refusal> {
    let body: Body<'_> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of observations: {e}")))?;
    let mut page = Page::default();
    let series = ask.symbols.first().map_or("", String::as_str);
    let got = body.observations.len() as u64;
    for w in body.observations {
        let date: NaiveDate =
            w.date.parse().map_err(|_| Refusal::unparsable(format!("{series}: {:?} is no date", w.date)))?;
        let value = match w.value.trim() {
            "." | "" => None,
            v => {
                let parsed: f64 =
                    v.parse().map_err(|_| Refusal::unparsable(format!("{series} {date}: {v:?} is no number")))?;
                Some(parsed)
            }
        };
        page.take_value(ask, series, date, value);
    }
    let seen = body.offset.saturating_add(got);
    if got == 0 && seen < body.count {
        return Err(Refusal::unparsable(format!("{series}: no observation where {} are announced", body.count)));
    }
    if got > 0 && seen < body.count {
        page.next = Some(Next::Offset(seen));
    }
    Ok(page)
}
