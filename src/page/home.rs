//! `/`: the node at a glance. Every figure comes from `facts`, as in `/metrics` and alerts.

use super::ask::{ask, bytes, list, minute, number, seconds, text, thousands};
use super::charts::{Open, burn_down, open_of, share};
use super::concerns::{Concern, concerns, sentence};
use super::incidents::open_ones;
use super::link::part;
use super::packs::state;
use super::runs::{newest, run};
use super::shell::{figure, table};
use super::vendors::overview;
use super::{Page, Site};
use crate::admin::queries::{DiskFact, Facts, facts};
use datanode_schema::clock::rfc3339_of;
use maud::{Markup, html};
use serde_json::{Value, json};

/// Runs of the burn-down.
const RUNS: usize = 30;
/// Open incidents that are listed.
const INCIDENTS: u64 = 10;

pub(super) fn page(site: &Site) -> Page {
    let f = facts(&site.ctx)?;
    let all = concerns(&f, site.late_hours);
    let (runs, _) = newest(&site.ctx, 0, RUNS)?;
    let open = ask(&site.ctx, "incident.list", json!({"open": true, "limit": INCIDENTS}))?;
    let live = (site.ctx.live)();
    let content = html! {
        (verdict(&f, &all))
        section {
            h2 { "Newest pack" }
            (pack(site, &f)?)
        }
        section {
            h2 { "Last run" }
            @match runs.first() {
                Some(r) => (run(&site.ctx, r, false)),
                None => p { "None yet." },
            }
            p.quiet {
                @if live.get("busy") == Some(&Value::Bool(true)) { "A cycle is under way. " }
                @if !text(&live, "next_nightly").is_empty() { "The next one is due at " (minute(text(&live, "next_nightly"))) " UTC." }
            }
        }
        section {
            h2 { "Queue" }
            (queue(&f, &open_of(&runs)))
        }
        section { h2 { "Vendors" } (overview(&f.vendors)) p { a href="/vendors" { "Refusals, latency, outcomes" } } }
        section { h2 { "Open incidents" } (open_ones(&site.ctx, list(&open, "rows"), number(&open, "total"))) }
        section { h2 { "Machine" } (machine(&f)) }
    };
    Ok(("Overview".to_owned(), content))
}

fn verdict(f: &Facts, all: &[Concern]) -> Markup {
    let class = match (all.iter().any(|c| c.bad), all.is_empty()) {
        (true, _) => "bad",
        (false, false) => "warn",
        (false, true) => "good",
    };
    html! {
        h1 class={ "verdict " (class) } { (sentence(f, all)) }
        @if !all.is_empty() {
            ul.concerns { @for c in all { li class=(if c.bad { "bad" } else { "warn" }) { (c.what) " " span.next { "Next: " (c.next) } } } }
        }
    }
}

fn pack(site: &Site, f: &Facts) -> Result<Markup, super::Refusal> {
    let Some(p) = &f.newest_pack else { return Ok(html! { p { "None yet: the next nightly cycle publishes one." } }) };
    let proof = state(site, &p.export_id)?;
    let age = u64::try_from(p.age_seconds).unwrap_or(0);
    Ok(html! {
        p { a href={ "/packs/" (part(&p.export_id)) } { (p.export_id) } " " (proof) }
        dl.figures {
            (figure("As of", &p.as_of, ""))
            (figure("Made", &minute(&rfc3339_of(p.created_at)), &format!("{} ago", seconds(age))))
            (figure("Rows", &thousands(p.rows), ""))
            (figure("Files", &thousands(p.files), &bytes(p.bytes)))
        }
    })
}

/// Sessions by dataset and absence, and the open ones over the last runs.
fn queue(f: &Facts, open: &[Open]) -> Markup {
    let states: Vec<&str> = f.queue.keys().copied().collect();
    let heads: Vec<&str> = ["Dataset"].into_iter().chain(states.iter().copied()).chain(["Oldest missing"]).collect();
    let count = |n: Option<&u64>| n.filter(|n| **n > 0).map_or_else(|| "–".to_owned(), |n| thousands(*n));
    let rows = html! {
        @for g in &f.gaps {
            tr {
                th scope="row" { a href={ "/coverage/" (g.dataset) } { (g.dataset) } }
                @for s in &states { td.n { (count(g.sessions.get(s))) } }
                td { (g.oldest_missing.as_deref().unwrap_or("–")) @if let Some(d) = g.oldest_missing_days { " " span.quiet { (d) " days" } } }
            }
        }
        tr.total { th scope="row" { "All" } @for s in &states { td.n { (count(f.queue.get(s))) } } td { @match f.oldest_missing_days { Some(d) => { (d) " days" }, None => "–" } } }
    };
    html! {
        (table("Absent and short sessions, by why", &heads, &rows))
        @if let (Some(first), Some(last)) = (open.first(), open.last()) {
            h3 { "Burn-down" }
            p { "Open sessions at the audit of each of the last " (open.len()) " runs, and what its backfill left: " (thousands(first.before)) " at the audit of the oldest, " (thousands(last.after)) " now." }
            (burn_down(open))
            ul.legend { li { span.key.before {} "open at the audit" } li { span.key.after {} "left after the backfill" } }
        }
    }
}

fn machine(f: &Facts) -> Markup {
    let clock = match f.clock_ahead_seconds {
        None => "no vendor said yet".to_owned(),
        Some(0) => "as vendors say".to_owned(),
        Some(n) if n > 0 => format!("{n} s ahead of vendors"),
        Some(n) => format!("{} s behind vendors", n.unsigned_abs()),
    };
    let v = &f.vault;
    let read = if v.read_through_at > 0 { minute(&rfc3339_of(v.read_through_at)) } else { "not yet".to_owned() };
    html! {
        @if let Some(d) = &f.disk { (disk(d)) }
        dl.figures {
            (figure("Clock", &clock, ""))
            (figure("State", &bytes(f.state_bytes), &format!("commit {}", thousands(f.commit))))
            (figure("Up for", &seconds(u64::try_from(f.uptime_seconds).unwrap_or(0)), ""))
            (figure("Vault", &format!("{} sealings", thousands(v.sealings)), &format!("{} objects, {} damaged", thousands(v.objects), v.bad)))
            (figure("Vault read through", &read, ""))
            (figure("Anchor log", &format!("{} entries", thousands(v.log_entries)), &format!("{} sealings wait", v.not_anchored)))
            @for s in &f.ship { (figure(&format!("Shipped to {}", s.destination), &thousands(s.shipped), &format!("{} failed attempts", s.failed))) }
        }
    }
}

fn disk(d: &DiskFact) -> Markup {
    let used = d.size_bytes.saturating_sub(d.free_bytes);
    let full = d.days_until_full.map_or(String::new(), |n| format!(", full in {n:.0} days at the rate of late"));
    let words = format!("{} of {} free{full}", bytes(d.free_bytes), bytes(d.size_bytes));
    html! { p.disk { "Disk: " (words) " " (share(used, d.size_bytes, &format!("{} used", bytes(used)))) } }
}
