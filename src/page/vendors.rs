//! `/vendors`: who is asked, what is left of their budgets, and how they answer.

use super::ask::{ask, bytes, list, minute, number, text, thousands};
use super::charts::share;
use super::shell::{mark, table};
use super::{Page, Site};
use crate::admin::queries::{StandingRow, VendorFact, facts, standings};
use datanode_actors::vendor::BOUNDS;
use datanode_schema::clock::rfc3339_of;
use maud::{Markup, html};
use serde_json::{Value, json};

/// Refusals that are listed.
const DEMOTIONS: u64 = 100;

pub(super) fn page(site: &Site) -> Page {
    let facts = facts(&site.ctx)?;
    let demotions = ask(&site.ctx, "demotions", json!({"limit": DEMOTIONS}))?;
    let content = html! {
        h1 { "Vendors" }
        (overview(&facts.vendors))
        h2 { "How they have done" }
        (record(&standings(&site.ctx)?))
        h2 { "What they answered" }
        p { "Requests since the process started, by what came of each." }
        (traffic(&facts.vendors))
        h2 { "Refusals" }
        (refusals(&demotions))
    };
    Ok(("Vendors".to_owned(), content))
}

/// Name, state, budget: what `/` shows too.
pub(super) fn overview(all: &[VendorFact]) -> Markup {
    let enabled = all.iter().filter(|v| v.enabled).chain(all.iter().filter(|v| !v.enabled));
    let rows = html! {
        @for v in enabled {
            tr {
                th scope="row" { (v.vendor) }
                td { (state(v)) }
                td.n { (thousands(v.spent_today)) }
                td {
                    @match v.left_today {
                        None => span.quiet { "no daily limit" },
                        Some(left) => {
                            @let whole = left.saturating_add(v.spent_today);
                            (share(left, whole, &format!("{} of {} left", thousands(left), thousands(whole)))) " " (thousands(left)) " left"
                        },
                    }
                }
                td { (latency(v)) }
                td.wide { (outcomes(v)) }
            }
        }
    };
    table(
        "Vendors, budgets, latency and outcomes",
        &["Vendor", "State", "Asked today", "Budget of the day", "Latency", "Answers"],
        &rows,
    )
}

fn state(v: &VendorFact) -> Markup {
    match () {
        () if !v.enabled => mark("off", "disabled"),
        () if v.paused => mark("warn", "paused by a person"),
        () if v.closed_until > 0 => mark("warn", &format!("left alone until {}", minute(&rfc3339_of(v.closed_until)))),
        () if v.left_today == Some(0) => mark("warn", "budget of the day spent"),
        () => mark("good", "asked"),
    }
}

/// Median and ninety-fifth percentile, from the histogram: the upper bounds of their buckets.
fn latency(v: &VendorFact) -> String {
    let t = &v.traffic;
    let all: u64 = t.latency.iter().sum();
    let below = |percent: u64| {
        let mut seen = 0;
        let at = t.latency.iter().position(|n| {
            seen += n;
            seen * 100 >= all * percent
        });
        at.and_then(|i| BOUNDS.get(i)).map_or_else(|| "over 60 s".to_owned(), |s| format!("≤ {s} s"))
    };
    if all == 0 { "–".to_owned() } else { format!("half {}, most {}", below(50), below(95)) }
}

fn outcomes(v: &VendorFact) -> String {
    let words: Vec<String> = v.traffic.answers.iter().map(|(o, n)| format!("{o} {}", thousands(*n))).collect();
    if words.is_empty() { "none since the start".to_owned() } else { words.join(", ") }
}

fn record(all: &[StandingRow]) -> Markup {
    let rows = html! {
        @for s in all {
            tr {
                th scope="row" { (s.vendor) } td { (s.dataset) } td.n { (thousands(s.asks)) } td.n { (thousands(s.good)) }
                td.n { (s.quality_percent) " %" } td.n { @match s.latency_ms { Some(ms) => { (ms) " ms" }, None => "–" } }
                td { (minute(s.updated_at.as_deref().unwrap_or_default())) }
            }
        }
    };
    html! {
        @if all.is_empty() { p { "Nobody was asked yet." } } @else {
            (table("By dataset, since the node began", &["Vendor", "Dataset", "Asks", "Good", "Good of late", "A request takes", "Last"], &rows))
        }
    }
}

fn traffic(all: &[VendorFact]) -> Markup {
    let rows = html! {
        @for v in all.iter().filter(|v| v.enabled) {
            tr {
                th scope="row" { (v.vendor) }
                td { @for (o, n) in &v.traffic.requests { (o) " " (thousands(*n)) " " } @if v.traffic.requests.is_empty() { "–" } }
                td.n { (thousands(v.traffic.rows)) } td.n { (bytes(v.traffic.bytes)) } td.n { (thousands(v.traffic.restated)) }
                td.n { @match v.traffic.clock_ahead_seconds { Some(n) => { (n) " s" }, None => "–" } }
            }
        }
    };
    table(
        "Requests since the start",
        &["Vendor", "Requests", "Rows", "Bytes", "Restated rows", "Our clock is ahead by"],
        &rows,
    )
}

fn days(d: &Value) -> String {
    match (text(d, "from"), text(d, "to")) {
        ("", "") => "all".to_owned(),
        ("", to) => format!("up to {to}"),
        (from, "") => format!("from {from} on"),
        (from, to) if from == to => from.to_owned(),
        (from, to) => format!("{from} to {to}"),
    }
}

fn refusals(demotions: &Value) -> Markup {
    let rows = html! {
        @for d in list(demotions, "rows") {
            tr {
                th scope="row" { (text(d, "vendor")) } td { (text(d, "dataset")) } td { (text(d, "symbol")) }
                td { (days(d)) }
                td { @if d.get("standing") == Some(&Value::Bool(true)) { "until " (minute(text(d, "until"))) } @else { "may be asked again" } }
                td.wide { (text(d, "why")) }
            }
        }
    };
    html! {
        @match number(demotions, "total") {
            0 => p { "No vendor refuses anything." },
            n => {
                p { @if n == 1 { "One window is refused by a vendor" } @else { (thousands(n)) " windows are refused by vendors" } @if n > DEMOTIONS { "; the first " (DEMOTIONS) } "." }
                (table("Refusals on record", &["Vendor", "Dataset", "Symbol", "Days", "State", "The vendor's words"], &rows))
            },
        }
    }
}
