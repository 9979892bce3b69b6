//! Pictures of figures, as SVG: positions are attributes, so that they need no style of their own. Each has its figures beside it or in
//! its titles.

use super::ask::{list, millis, number, text, thousands};
use maud::{Markup, html};
use serde_json::Value;

/// Width of a picture in its own units.
const WIDE: u64 = 1000;
/// A stage that took no time to speak of is still seen.
const LEAST: u64 = 3;

/// The stages of a run (the answer of `runs.show`), one after the other, as wide as they took.
pub(super) fn stages(run: &Value) -> Markup {
    let all = list(run, "stage_list");
    let took: Vec<u64> = all.iter().map(|s| number(s, "millis")).collect();
    let whole: u64 = took.iter().sum::<u64>().max(1);
    let room = WIDE.saturating_sub(LEAST * all.len() as u64);
    let mut at = 0;
    let mut bars = Vec::new();
    for (s, ms) in all.iter().zip(&took) {
        let wide = LEAST + ms * room / whole;
        bars.push((text(s, "stage"), *ms, at, wide));
        at += wide;
    }
    html! {
        @if !bars.is_empty() {
            svg.stages viewBox={ "0 0 " (WIDE) " 24" } preserveAspectRatio="none" role="img" aria-label={ "Stages of " (text(run, "run_id")) } {
                @for (name, ms, at, wide) in &bars {
                    rect class={ "s-" (name) } x=(at) y="0" width=(wide) height="24" { title { (name) ": " (millis(*ms)) } }
                }
            }
            ul.legend {
                @for (name, ms, ..) in &bars { li { span class={ "key s-" (name) } {} (name) " " span.quiet { (millis(*ms)) } } }
            }
        }
    }
}

/// What a run found open, and what it left.
pub(super) struct Open {
    /// The run.
    pub(super) run: String,
    /// Sessions that were open at its audit.
    pub(super) before: u64,
    /// Sessions that were open after its backfill.
    pub(super) after: u64,
}

/// The open sessions over the runs, as bars: what was there, and what was left of it.
pub(super) fn burn_down(runs: &[Open]) -> Markup {
    let most = runs.iter().map(|r| r.before.max(r.after)).max().unwrap_or(0).max(1);
    let step = WIDE / (runs.len().max(1) as u64);
    let high = |n: u64| (n.saturating_mul(100) / most).max(u64::from(n > 0));
    html! {
        svg.burn viewBox={ "0 0 " (WIDE) " 102" } preserveAspectRatio="none" role="img" aria-label="Open sessions over the last runs" {
            @for (i, r) in runs.iter().enumerate() {
                @let x = i as u64 * step + step / 10;
                @let wide = (step * 8 / 10).max(1);
                g {
                    title { (r.run) ": " (thousands(r.before)) " open at the audit, " (thousands(r.after)) " left" }
                    rect.before x=(x) y=(101 - high(r.before)) width=(wide) height=(high(r.before)) {}
                    rect.after x=(x) y=(101 - high(r.after)) width=(wide) height=(high(r.after)) {}
                }
            }
            line.floor x1="0" y1="101" x2=(WIDE) y2="101" {}
        }
    }
}

/// A share of something, as a bar.
pub(super) fn share(part: u64, whole: u64, words: &str) -> Markup {
    let percent = part.min(whole).saturating_mul(100).checked_div(whole).unwrap_or(0);
    html! {
        svg.share viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=(words) {
            title { (words) }
            rect.all x="0" y="0" width="100" height="8" {}
            rect.part x="0" y="0" width=(percent) height="8" {}
        }
    }
}

/// The open sessions before and after each run, the oldest first, from the runs' own counters (answers of `runs.show`).
pub(super) fn open_of(runs: &[Value]) -> Vec<Open> {
    let counted = |run: &Value, name: &str| -> Option<u64> {
        let counters = list(run, "stage_list").iter().find(|s| text(s, "stage") == name)?.get("counters")?;
        counters.get("missing")?;
        Some(["missing", "pending", "short", "holes", "unobtainable"].iter().map(|n| number(counters, n)).sum())
    };
    let of = |run: &Value| {
        let (before, after) = (counted(run, "audit"), counted(run, "backfill"));
        let run = text(run, "run_id").to_owned();
        Some(Open { run, before: before.or(after)?, after: after.or(before)? })
    };
    runs.iter().rev().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_bars_of_a_run_lie_beside_each_other_and_within_the_picture() {
        let run = json!({"run_id": "r", "stage_list": [{"stage": "ingest", "millis": 0}, {"stage": "qc", "millis": 3000},
            {"stage": "export", "millis": 1000}]});
        let svg = stages(&run).into_string();
        let widths: Vec<u64> =
            svg.split(" width=\"").skip(1).map(|t| t.split('"').next().unwrap().parse().unwrap()).collect();
        assert_eq!((widths[0], widths.len()), (LEAST, 3));
        assert!(widths.iter().sum::<u64>() <= WIDE && widths[1] > 2 * widths[2], "{widths:?}");
        assert!(svg.contains("qc: 3.0 s"), "{svg}");
        assert!(!stages(&json!({})).into_string().contains("svg"));
    }

    #[test]
    fn what_is_open_comes_from_the_counters_of_audit_and_backfill_the_oldest_run_first() {
        let run = |id: &str, audit: Value, backfill: Value| json!({"run_id": id, "stage_list": [{"stage": "audit", "counters": audit}, {"stage": "backfill", "counters": backfill}]});
        let new = run("b", json!({"missing": 5, "short": 2, "explained": 90}), json!({"missing": 1, "pending": 1}));
        let old = run("a", json!({"missing": 9}), json!({"requests": 3}));
        let open: Vec<_> =
            open_of(&[new, json!({"run_id": "c"}), old]).into_iter().map(|o| (o.run, o.before, o.after)).collect();
        assert_eq!(open, [("a".to_owned(), 9, 9), ("b".to_owned(), 7, 2)]);
    }
}
