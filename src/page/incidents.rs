//! `/incidents`: what is known to be wrong, and what was.

use super::ask::{ago, ask, list, minute, number, text};
use super::link::Query;
use super::shell::{mark, pages, table};
use super::{Page, Site};
use crate::admin::AdminContext;
use maud::{Markup, html};
use serde_json::{Value, json};

/// Closed and open ones of a page.
const INCIDENTS: u64 = 100;

pub(super) fn page(site: &Site, query: &Query) -> Page {
    let offset = query.number("offset");
    let open = ask(&site.ctx, "incident.list", json!({"open": true, "limit": INCIDENTS}))?;
    let all = ask(&site.ctx, "incident.list", json!({"offset": offset, "limit": INCIDENTS}))?;
    let content = html! {
        h1 { "Incidents" }
        h2 { "Open" }
        (open_ones(&site.ctx, list(&open, "rows"), number(&open, "total")))
        h2 { "All" }
        @if number(&all, "total") == 0 { p { "There was never one." } } @else { (every(list(&all, "rows"))) }
        (pages("/incidents", offset, INCIDENTS, number(&all, "total")))
    };
    Ok(("Incidents".to_owned(), content))
}

/// What `/` shows too.
pub(super) fn open_ones(ctx: &AdminContext, rows: &[Value], total: u64) -> Markup {
    let body = html! {
        @for i in rows {
            tr {
                th scope="row" { (number(i, "id")) } td { (text(i, "kind")) } td { (text(i, "label")) } td { code { (text(i, "artifact")) } }
                td.wide { (text(i, "note")) } td { (minute(text(i, "opened_at"))) " " span.quiet { (ago(ctx, text(i, "opened_at"))) } }
            }
        }
    };
    html! {
        @if rows.is_empty() { p { "None is open." } } @else {
            (table("Open incidents, the newest first", &["Number", "Kind", "Label", "About", "Note", "Since"], &body))
            @if total > rows.len() as u64 { p { a href="/incidents" { "All " (total) } } }
            p.quiet { "Close one with " code { "datanode-admin incident close NUMBER --why TEXT" } "." }
        }
    }
}

fn every(rows: &[Value]) -> Markup {
    let body = html! {
        @for i in rows {
            tr {
                th scope="row" { (number(i, "id")) }
                td { @if text(i, "state") == "open" { (mark("bad", "open")) } @else { (mark("off", "closed")) } }
                td { (text(i, "kind")) } td { (text(i, "label")) } td { code { (text(i, "artifact")) } } td.wide { (text(i, "note")) }
                td { (minute(text(i, "opened_at"))) " by " (text(i, "opened_by")) }
                td { @if text(i, "state") != "open" { (minute(text(i, "closed_at"))) " by " (text(i, "closed_by")) ": " (text(i, "closed_why")) } }
            }
        }
    };
    table(
        "Incidents, the newest first",
        &["Number", "State", "Kind", "Label", "About", "Note", "Opened", "Closed"],
        &body,
    )
}
