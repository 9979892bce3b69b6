//! `/doctor`: what a person would look at first, as a list of checks over the same figures.

use super::ask::{bytes, seconds, thousands};
use super::concerns::concerns;
use super::shell::{mark, table};
use super::{Page, Site};
use crate::admin::queries::{Facts, facts};
use maud::{Markup, html};

pub(super) fn page(site: &Site) -> Page {
    let f = facts(&site.ctx)?;
    let wrong = concerns(&f, site.late_hours);
    let mut checks = (site.checks)();
    checks.sort_by_key(|c| c.level == "ok");
    let found = wrong.len() + checks.iter().filter(|c| c.level != "ok").count();
    let rows = html! {
        @for c in &wrong {
            tr { td { (if c.bad { mark("bad", "wrong") } else { mark("warn", "look") }) } td.wide { (c.what) } td { code { (c.next) } } }
        }
        @for c in &checks {
            tr { td { (level(c.level)) } td.wide { (c.name) ": " (c.text) } td {} }
        }
        @for (name, seen) in seen(&f) { tr { td { (mark("off", "seen")) } td.wide { (name) ": " (seen) } td {} } }
    };
    let content: Markup = html! {
        h1 { "Doctor" }
        p { @match found { 0 => "No check of a running node finds anything.", 1 => "One finding.", n => { (n) " findings." } } }
        (table("Checks", &["", "Finding", "Next"], &rows))
        p { "What needs another look at the machine (secrets, buckets, the file system's word, keys) is in " code { "datanode doctor" } "." }
    };
    Ok(("Doctor".to_owned(), content))
}

fn level(word: &str) -> Markup {
    match word {
        "ok" => mark("good", "ok"),
        "warning" => mark("warn", "look"),
        _ => mark("bad", "wrong"),
    }
}

/// What was looked at.
fn seen(f: &Facts) -> Vec<(&'static str, String)> {
    let mut out = vec![
        ("State", format!("{}, commit {}", bytes(f.state_bytes), thousands(f.commit))),
        ("Runs", format!("{} cycles ended well, {} stopped", thousands(f.cycles_good), thousands(f.cycles_failed))),
        ("Packs", format!("{} stand here, {} were refused", thousands(f.packs), thousands(f.exports_refused))),
        (
            "Vault",
            format!(
                "{} sealings, {} objects, {} damaged",
                thousands(f.vault.sealings),
                thousands(f.vault.objects),
                f.vault.bad
            ),
        ),
        ("Anchor log", format!("{} entries, {} sealings wait", thousands(f.vault.log_entries), f.vault.not_anchored)),
        ("Vendors", format!("{} enabled", f.vendors.iter().filter(|v| v.enabled).count())),
    ];
    if let Some(p) = &f.newest_pack {
        out.push((
            "Newest pack",
            format!("{}, {} old", p.export_id, seconds(u64::try_from(p.age_seconds).unwrap_or(0))),
        ));
    }
    if let Some(d) = &f.disk {
        let inodes = if d.inodes == 0 {
            String::new()
        } else {
            format!(", {} of {} inodes", thousands(d.free_inodes), thousands(d.inodes))
        };
        out.push(("Disk", format!("{} of {} free{inodes}", bytes(d.free_bytes), bytes(d.size_bytes))));
    }
    let clock =
        f.clock_ahead_seconds.map_or("no vendor said yet".to_owned(), |n| format!("{n} s ahead of what vendors say"));
    out.push(("Clock", clock));
    out
}
