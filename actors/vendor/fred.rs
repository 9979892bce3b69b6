//! FRED `GET /fred/series/observations` as JSON (the default is XML): values are strings, `"."` is no observation, pages
//! by offset. The key travels in the query, so URLs are never logged. Source: the FRED API documentation.
//!
//! Without a key: the CSV behind the graphs of another host, `/graph/fredgraph.csv?id=`. Its header was `DATE` with `.` for
//! no observation, and is `observation_date` with an empty field; both are read.

use super::{Ask, Host, Next, Page, Refusal, Request};
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
    Request::data("/fred/series/observations", query)
}

/// The keyless request: the whole window in one answer.
pub(super) fn graph_request(ask: &Ask) -> Request {
    let query = [
        ("id", ask.symbols.first().cloned().unwrap_or_default()),
        ("cosd", ask.from.to_string()),
        ("coed", ask.to.to_string()),
    ];
    let query = query.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Request { host: Host::Graph, path: "/graph/fredgraph.csv".to_owned(), query }
}

/// Reads the graph's CSV. Its second column is named like the series.
fn parse_graph(ask: &Ask, body: &[u8]) -> Result<Page, Refusal> {
    let series = ask.symbols.first().map_or("", String::as_str);
    let text = std::str::from_utf8(body).map_err(|_| Refusal::unparsable(format!("{series}: the CSV is no text")))?;
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let header = lines.next().unwrap_or("").trim_end();
    let known = ["DATE", "observation_date"].iter().any(|d| header.split_once(',') == Some((d, series)));
    if !known {
        let start: String = header.chars().take(80).collect();
        return Err(Refusal::unparsable(format!("the CSV begins with {start:?} where DATE,{series} is expected")));
    }
    let mut page = Page::default();
    for (i, line) in lines.enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let bad = || Refusal::unparsable(format!("{series}: line {}: {:?} is no observation", i + 2, clip(line)));
        let (date, v) = line.trim_end().split_once(',').ok_or_else(bad)?;
        page.take_value(ask, series, date.parse().map_err(|_| bad())?, value(v).map_err(|()| bad())?);
    }
    // A body that was cut at the end of a line looks whole; one cut within a line does not.
    if !text.ends_with('\n') {
        return Err(Refusal::unparsable(format!("{series}: the CSV ends in the middle of a line")));
    }
    Ok(page)
}

fn clip(line: &str) -> String {
    line.chars().take(80).collect()
}

/// A value as FRED writes it: a number, or a point or nothing where there is no observation.
fn value(text: &str) -> Result<Option<f64>, ()> {
    match text.trim() {
        "." | "" => Ok(None),
        v => v.parse().map(Some).map_err(|_| ()),
    }
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
    // JSON begins with a brace; what does not is the graph's CSV, which is only ever asked for on the graph's host.
    if ["DATE,", "observation_date,", "\u{feff}"].iter().any(|h| body.starts_with(h.as_bytes())) {
        return parse_graph(ask, body);
    }
    let body: Body<'_> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of observations: {e}")))?;
    let mut page = Page::default();
    let series = ask.symbols.first().map_or("", String::as_str);
    let got = body.observations.len() as u64;
    for w in body.observations {
        let date: NaiveDate =
            w.date.parse().map_err(|_| Refusal::unparsable(format!("{series}: {:?} is no date", w.date)))?;
        let value = value(&w.value)
            .map_err(|()| Refusal::unparsable(format!("{series} {date}: {:?} is no number", w.value)))?;
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
