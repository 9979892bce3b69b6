//! `/runs`: the last cycles as timelines.

use super::ask::{ago, list, millis, minute, number, show, text};
use super::charts::stages;
use super::link::{Query, part};
use super::shell::{mark, pages, table};
use super::{Page, Refusal, Site};
use crate::admin::AdminContext;
use crate::admin::queries::newest_runs;
use crate::admin::render::Show;
use maud::{Markup, html};
use serde_json::Value;

/// Runs of a page.
const RUNS: usize = 20;

/// Runs with their stages as `runs.show` gives them, the newest first; and how many there are.
pub(super) fn newest(ctx: &AdminContext, offset: u64, limit: usize) -> Result<(Vec<Value>, u64), Refusal> {
    let (all, total) = newest_runs(ctx, usize::try_from(offset).unwrap_or(usize::MAX), limit)?;
    let as_told = |r| serde_json::to_value(r).map_err(|e| Refusal::Failed(e.to_string()));
    Ok((all.iter().map(as_told).collect::<Result<_, _>>()?, total as u64))
}

pub(super) fn page(site: &Site, query: &Query) -> Page {
    let offset = query.number("offset");
    let (all, total) = newest(&site.ctx, offset, RUNS)?;
    let content = html! {
        h1 { "Runs" }
        @if all.is_empty() { p { "There is no run here: the scheduler starts one at its time." } }
        @else { h2 { "The newest first" } }
        @for r in &all { (run(&site.ctx, r, true)) }
        (pages("/runs", offset, RUNS as u64, total))
    };
    Ok(("Runs".to_owned(), content))
}

/// A run: a line, its stages, and with `counters` what each counted.
pub(super) fn run(ctx: &AdminContext, r: &Value, counters: bool) -> Markup {
    let (id, error, export) = (text(r, "run_id"), text(r, "error"), text(r, "export_id"));
    html! {
        section.run {
            h3 { (id) " " (state(r)) }
            p {
                "As of " (text(r, "as_of")) ", started " (minute(text(r, "started_at"))) " " span.quiet { (ago(ctx, text(r, "started_at"))) }
                ", " (millis(number(r, "millis"))) " of work"
                @if number(r, "attempts") > 1 { ", " (number(r, "attempts")) " processes" }
                "."
                @if !export.is_empty() { " Pack " a href={ "/packs/" (part(export)) } { (export) } "." }
            }
            @if !error.is_empty() { p.bad { "It stopped: " (error) } }
            (stages(r))
            @if counters { (counted(r)) }
        }
    }
}

fn state(r: &Value) -> Markup {
    match text(r, "state") {
        "done" => mark("good", "done"),
        "stopped" => mark("bad", "stopped"),
        "open" => mark("warn", "open"),
        other => mark("off", other),
    }
}

fn counted(r: &Value) -> Markup {
    let rows = html! {
        @for s in list(r, "stage_list") {
            tr { th scope="row" { (text(s, "stage")) } td.n { (millis(number(s, "millis"))) } td.wide { (show(s, "counters", Show::Pairs)) } }
        }
    };
    html! {
        details { summary { "What the stages counted" } (table("Stages", &["Stage", "Took", "Counted"], &rows)) }
    }
}
