//! `/runs`: the last cycles as timelines.

use super::ask::{ago, ask, list, millis, minute, number, show, text};
use super::charts::stages;
use super::link::{Query, part};
use super::shell::{mark, pages, table};
use super::{Page, Site};
use crate::admin::AdminContext;
use crate::admin::protocol::AdminError;
use crate::admin::render::Show;
use maud::{Markup, html};
use serde_json::{Value, json};

/// Runs of a page.
const RUNS: u64 = 20;

/// Runs with their stages, the newest first; and how many there are.
pub(super) fn newest(ctx: &AdminContext, offset: u64, limit: u64) -> Result<(Vec<Value>, u64), AdminError> {
    let all = ask(ctx, "runs", json!({"offset": offset, "limit": limit}))?;
    let one = |r: &Value| ask(ctx, "runs.show", json!({"run_id": text(r, "run_id")}));
    Ok((list(&all, "rows").iter().map(one).collect::<Result<_, _>>()?, number(&all, "total")))
}

pub(super) fn page(site: &Site, query: &Query) -> Page {
    let offset = query.number("offset");
    let (all, total) = newest(&site.ctx, offset, RUNS)?;
    let content = html! {
        h1 { "Runs" }
        @if all.is_empty() { p { "There is no run here: the scheduler starts one at its time." } }
        @for r in &all { (run(&site.ctx, r, true)) }
        (pages("/runs", offset, RUNS, total))
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
