//! `/cell/<dataset>/<symbol>/<date>`: everything that is known of one partition.

use super::ask::{ask, list, minute, show, text};
use super::coverage::dataset;
use super::link::part;
use super::shell::{figure, mark, table};
use super::{Page, Refusal, Site};
use crate::admin::queries::{Explained, RequestRow, explain_soon};
use crate::admin::render::Show;
use maud::{Markup, html};
use serde_json::{Value, json};

pub(super) fn page(site: &Site, name: &str, symbol: &str, date: &str) -> Page {
    let d = dataset(&(site.ctx.registry)(), name)?;
    let month = date.get(..7).unwrap_or_default();
    let back = format!("/coverage/{}/{}", d.name(), part(month));
    let e = match explain_soon(&site.ctx, d.name(), symbol, date) {
        Ok(e) => e,
        Err(e) => return Err(Refusal::from(e)),
    };
    // Who would be asked for it: of interest where it is absent or short.
    let asked = e
        .absence
        .as_ref()
        .and_then(|_| ask(&site.ctx, "explain", json!({"dataset": d.name(), "symbol": symbol, "date": date})).ok());
    let content = html! {
        p.pages { a href={ (back) "?from=" (part(symbol)) } { (d.name()) " in " (month) } }
        h1 { (symbol) " " (date) " " span.quiet { (d.name()) } }
        (facts(&e))
        (reasons(&e))
        (absence(&e, asked.as_ref()))
        (held(&e))
        (said(&e))
        (requests(&e.requests, e.older_not_searched))
    };
    Ok((format!("{symbol} {date}"), content))
}

fn facts(e: &Explained) -> Markup {
    let number = |n: Option<u32>| n.map_or("–".to_owned(), |n| n.to_string());
    let colour = match e.verdict {
        Some("GREEN") => "full",
        Some("AMBER") => "some",
        Some("RED") => "red",
        _ => "none",
    };
    html! {
        p.sentence { (mark(colour, e.verdict.unwrap_or("no verdict"))) " In packs: " (e.ships) "." }
        dl.figures {
            (figure("Rows", &number(e.rows), ""))
            (figure("Expected", &number(e.expected), "by the calendar"))
            (figure("Vendor", e.vendor.as_deref().unwrap_or("–"), ""))
            (figure("First judged", &minute(e.first_seen.as_deref().unwrap_or_default()), ""))
            (figure("Verdict since", &minute(e.updated_at.as_deref().unwrap_or_default()), ""))
            (figure("Calendar", e.calendar.as_deref().unwrap_or("–"), ""))
            @if let Some(digest) = &e.digest { (figure("BLAKE3 of the rows", digest, "first 16 bytes")) }
        }
    }
}

fn reasons(e: &Explained) -> Markup {
    let rows = html! {
        @for r in &e.reasons {
            tr { td { (r.reason) } td { (r.verdict) } td.wide { (r.means) } td.wide { (r.measured.as_deref().unwrap_or("–")) } td { (r.threshold.as_deref().unwrap_or("–")) } }
        }
    };
    html! {
        h2 { "Reasons" }
        @if e.reasons.is_empty() { p { "No check found anything." } } @else {
            (table("Reasons of the verdict, the worst first", &["Reason", "Alone it gives", "Means", "Measured", "Threshold"], &rows))
        }
    }
}

fn absence(e: &Explained, asked: Option<&Value>) -> Markup {
    let Some(a) = &e.absence else { return html! {} };
    let answers = html! {
        @for r in &a.answers { tr { td { (r.vendor) } td { (r.outcome) } td.n { (r.days) } td.n { (r.attempts) } td { (r.last_day) } } }
    };
    let scores = asked.map_or(&[][..], |v| list(v, "vendors"));
    let scores = html! {
        @for r in scores {
            tr { td { (text(r, "vendor")) } td.n { (show(r, "score", Show::Number)) } td { (text(r, "can_take_now")) } td.wide { (show(r, "why_not", Show::Plain)) } }
        }
    };
    html! {
        h2 { "Why it is absent or short" }
        p { "The queue says " strong { (a.state) } @if let Some(why) = a.why { ": " (why) } ". Seen first " (minute(a.discovered_at.as_deref().unwrap_or_default())) "." }
        @if a.answers.is_empty() { p { "Nobody was asked yet." } } @else {
            (table("What vendors said", &["Vendor", "Said", "On days", "Failed attempts", "Last"], &answers))
        }
        @if asked.is_some() { (table("Who would be asked next", &["Vendor", "Score", "Can take it now", "Why it may not be asked"], &scores)) }
    }
}

fn held(e: &Explained) -> Markup {
    let rows = html! {
        @for h in &e.held { tr { td { (h.vendor) } td.n { (h.rows) } td.n { (h.regular) } td.n { (h.duplicates) } td.n { (h.restated) } } }
    };
    html! {
        @if !e.held.is_empty() {
            h2 { "Raw" }
            (table("What raw holds of it", &["Vendor", "Rows", "In the session", "Copies dropped", "Restated"], &rows))
        }
    }
}

fn said(e: &Explained) -> Markup {
    let holds = html! {
        @for h in &e.holds {
            tr { td { (h.what) } td { (h.from.as_deref().unwrap_or("–")) " to " (h.to.as_deref().unwrap_or("–")) } td { (minute(h.at.as_deref().unwrap_or_default())) } td { (h.by) } td.wide { (h.why) } }
        }
    };
    let incidents = html! {
        @for i in &e.incidents { tr { td.n { (i.id) } td { (i.state) } td { (i.label) } td { (i.kind) } td.wide { (i.note) } } }
    };
    html! {
        @if !e.holds.is_empty() { h2 { "Holds" } (table("Holds and releases, the last one counts", &["What", "Days", "When", "By", "Why"], &holds)) }
        @if !e.incidents.is_empty() { h2 { "Incidents" } (table("Incidents on the day", &["Number", "State", "Label", "Kind", "Note"], &incidents)) }
    }
}

fn requests(all: &[RequestRow], older: bool) -> Markup {
    let rows = html! {
        @for r in all {
            tr { td { (minute(&r.fetched_at)) } td { (r.vendor) } td { (r.outcome) } td.n { (r.rows) } td.wide { (r.note.as_deref().unwrap_or("–")) } td { code { (r.request_id) } } }
        }
    };
    html! {
        @if !all.is_empty() {
            h2 { "Requests" }
            (table("Requests that were about it, the newest first", &["When", "Vendor", "Came to", "Rows, all days", "Note", "Id"], &rows))
        }
        @if older { p.quiet { "Only the newest manifests were looked through; " code { "datanode-admin qc explain" } " looks further back." } }
    }
}
