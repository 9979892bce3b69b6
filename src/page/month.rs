//! `/coverage/<dataset>/<YYYY-MM>?from=SYMBOL&wrong=1`: symbol × day, a page of symbols.

use super::coverage::dataset;
use super::link::{Query, part};
use super::{Page, Refusal, Site};
use crate::admin::queries::{DayCell, Kind, MonthMap, SymbolMonth, month};
use datanode_schema::clock::date_of;
use datanode_schema::keys::Month;
use maud::{Markup, PreEscaped, html};

/// Symbols of a page.
const SYMBOLS: usize = 100;
/// Where the rows take more bytes, the rest goes to the next page.
const MOST_BYTES: usize = 150_000;

pub(super) fn page(site: &Site, name: &str, label: &str, query: &Query) -> Page {
    let d = dataset(&(site.ctx.registry)(), name)?;
    let of = parsed(label).ok_or_else(|| Refusal::Nothing(format!("{label:?} is no month such as 2024-07")))?;
    let wrong = query.text("wrong") == "1";
    let map = month(&site.ctx, d, of, query.text("from"), SYMBOLS, wrong)?;
    let (rows, next) = rows(d.name(), &map);
    let at = |of: Month| format!("/coverage/{}/{}", d.name(), written(of));
    let here = at(of);
    let more = |symbol: &str| format!("{here}?from={}{}", part(symbol), if wrong { "&wrong=1" } else { "" });
    let content = html! {
        h1 { (d.name()) " in " (label) }
        p.pages {
            @if of.0 > 0 { a href=(at(Month(of.0 - 1))) { "month before" } " " }
            a href=(at(Month(of.0 + 1))) { "month after" } " "
            a href={ "/coverage/" (d.name()) } { "all months" } " "
            @if wrong { a href=(here) { "all symbols" } } @else { a href={ (here) "?wrong=1" } { "only what is not GREEN" } }
        }
        form method="get" action=(here) {
            label for="from" { "From symbol " }
            input id="from" name="from" value=(query.text("from")) autocomplete="off" spellcheck="false" maxlength="100";
            @if wrong { input type="hidden" name="wrong" value="1"; }
            " " button { "Show" }
        }
        ul.legend {
            @for (k, words) in [(Kind::Green, "GREEN"), (Kind::Amber, "AMBER"), (Kind::Red, "RED, never ships"), (Kind::Missing, "missing"), (Kind::Explained, "absent for a reason")] {
                li { span class={ "key " (class(k)) } { (letter(k)) } (words) }
            }
            li { "blank: nothing is known" }
        }
        @if rows.is_empty() {
            p { @if wrong { "Nothing is wrong with the symbols that were looked at." } @else { "The universe has no symbol of it from there on." } }
        } @else {
            div.scroll tabindex="0" role="region" aria-label={ "Symbols and days of " (label) } {
                table.days {
                    caption { (d.name()) " in " (label) ", symbol by session; a cell leads to its reasons" }
                    thead { tr { th scope="col" { "Symbol" } @for n in &map.days { th scope="col" { (day_of(*n)) } } } }
                    tbody { (PreEscaped(rows)) }
                }
            }
        }
        @if let Some(symbol) = next { p.pages { a href=(more(&symbol)) rel="next" { "Next symbols, from " (symbol) } } }
        p.quiet { (map.symbols) " symbols in the universe." }
    };
    Ok((format!("{d} in {label}"), content))
}

/// `2024-07`, in that form alone.
fn parsed(label: &str) -> Option<Month> {
    let day = format!("{label}-01").parse::<chrono::NaiveDate>().ok()?;
    let month = Month::of(day);
    (written(month) == label).then_some(month)
}

fn written(m: Month) -> String {
    m.first().format("%Y-%m").to_string()
}

fn day_of(n: i32) -> String {
    date_of(n).format("%d").to_string()
}

/// The rows that fit, and the symbol that the next page begins with.
fn rows(dataset: &str, map: &MonthMap) -> (String, Option<String>) {
    let mut out = String::new();
    for r in &map.rows {
        let row = row(dataset, r, &map.days).into_string();
        if !out.is_empty() && out.len() + row.len() > MOST_BYTES {
            return (out, Some(r.symbol.clone()));
        }
        out += &row;
    }
    (out, map.next.clone())
}

fn row(dataset: &str, r: &SymbolMonth, days: &[i32]) -> Markup {
    let at = |n: &i32| r.days.binary_search_by_key(n, |d| d.day).ok().and_then(|i| r.days.get(i));
    html! {
        tr {
            th scope="row" { (r.symbol) }
            @for n in days { @match at(n) { None => td {}, Some(c) => (cell(dataset, &r.symbol, c)) } }
        }
    }
}

fn cell(dataset: &str, symbol: &str, c: &DayCell) -> Markup {
    let plain = c.kind == Kind::Green && c.why == "GREEN";
    html! {
        td class=(class(c.kind)) {
            a href={ "/cell/" (dataset) "/" (part(symbol)) "/" (date_of(c.day)) } title=[(!plain).then_some(&c.why)] { (letter(c.kind)) }
        }
    }
}

fn class(k: Kind) -> &'static str {
    match k {
        Kind::Green => "full",
        Kind::Amber => "some",
        Kind::Red => "red",
        Kind::Missing => "none",
        Kind::Explained => "explained",
    }
}

fn letter(k: Kind) -> &'static str {
    match k {
        Kind::Green => "G",
        Kind::Amber => "A",
        Kind::Red => "R",
        Kind::Missing => "M",
        Kind::Explained => "–",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_written_in_one_way() {
        assert_eq!(parsed("2024-07").map(written).as_deref(), Some("2024-07"));
        for bad in ["2024-7", "2024-13", "2024", "2024-07-01", "+2024-07", "x", "", "99999-01"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_ends_where_its_bytes_do_and_the_next_goes_on_there() {
        let days: Vec<i32> = (0..31).collect();
        let why = "x".repeat(100);
        let of = |i: usize| SymbolMonth {
            symbol: format!("S{i:03}"),
            days: days.iter().map(|d| DayCell { day: *d, kind: Kind::Red, why: why.clone() }).collect(),
        };
        let map =
            MonthMap { days: days.clone(), rows: (0..100).map(of).collect(), next: Some("Z".into()), symbols: 100 };
        let (text, next) = rows("equities_bars_minute", &map);
        let next = next.unwrap();
        assert!(text.len() <= MOST_BYTES && text.len() > MOST_BYTES / 2, "{}", text.len());
        assert!(text.contains("S000") && !text.contains(&next) && next.as_str() < "S100");
        let few = MonthMap { rows: (0..3).map(of).collect(), next: None, ..map };
        assert_eq!(rows("d", &few).1, None);
    }

    #[test]
    fn names_that_came_from_outside_are_text() {
        let bad = SymbolMonth {
            symbol: "\"><script>".into(),
            days: vec![DayCell { day: 0, kind: Kind::Amber, why: "\"onclick=".into() }],
        };
        let html = row("d", &bad, &[0]).into_string();
        assert!(!html.contains("<script>") && !html.contains("\"onclick"), "{html}");
        assert!(html.contains("/cell/d/%22%3E%3Cscript%3E/1970-01-01"), "{html}");
    }
}
