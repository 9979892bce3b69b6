//! What stands around every page.

use super::ask::minute;
use crate::admin::AdminContext;
use datanode_schema::clock::rfc3339;
use maud::{DOCTYPE, Markup, html};

const PLACES: [(&str, &str); 7] = [
    ("", "Overview"),
    ("coverage", "Coverage"),
    ("vendors", "Vendors"),
    ("runs", "Runs"),
    ("packs", "Packs"),
    ("incidents", "Incidents"),
    ("doctor", "Doctor"),
];

/// A small square in the colour of the page, so that browsers ask for no icon.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Crect width='8' height='8' rx='2' fill='%231f6feb'/%3E%3C/svg%3E";

/// The document. `place` is the first part of the path, None where it is no page.
pub(super) fn whole(ctx: &AdminContext, place: Option<&str>, title: &str, content: &Markup) -> Markup {
    let node = &ctx.desk.node;
    let now = minute(&rfc3339(ctx.clock.now()));
    let here = |name: &str| {
        place.map_or(name.is_empty() && title == "Overview", |p| p == name || (p, name) == ("cell", "coverage"))
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (node.source) "@" (node.host_id) }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/page/page.css";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    p.node { strong { (node.source) } "@" (node.host_id) " " span.quiet { "datanode " (ctx.version) " · " time { (now) " UTC" } } }
                    nav aria-label="Pages" {
                        ul {
                            @for (name, words) in PLACES {
                                li { a href={ "/" (name) } aria-current=[here(name).then_some("page")] { (words) } }
                            }
                        }
                    }
                }
                main id="content" { (content) }
                footer { p { "This page only reads. What changes something: " code { "datanode-admin" } "." } }
            }
        }
    }
}

/// A page that is none.
pub(super) fn refusal(title: &str, why: &str) -> Markup {
    html! {
        h1 { (title) }
        p { (why) }
        p { a href="/" { "Overview" } " · " a href="/coverage" { "Coverage" } " · " a href="/packs" { "Packs" } }
    }
}

/// A table that scrolls by itself where it is wider than the screen.
pub(super) fn table(caption: &str, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for h in heads { th scope="col" { (h) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A figure with its name.
pub(super) fn figure(name: &str, value: &str, more: &str) -> Markup {
    let long = value.len() > 28;
    html! {
        div class=[long.then_some("long")] {
            dt { (name) }
            dd { @if long { code { (value) } } @else { (value) } @if !more.is_empty() { " " span.quiet { (more) } } }
        }
    }
}

/// A mark with a word: never by its colour alone.
pub(super) fn mark(class: &str, word: &str) -> Markup {
    html! { span class={ "mark " (class) } { (word) } }
}

/// Links to the page before and the page after this one of a list.
pub(super) fn pages(at: &str, offset: u64, limit: u64, total: u64) -> Markup {
    let (before, after) = (offset.saturating_sub(limit), offset.saturating_add(limit));
    html! {
        @if total > limit {
            p.pages {
                (offset.saturating_add(1).min(total)) "–" (after.min(total)) " of " (total) " "
                @if offset > 0 { a href={ (at) "?offset=" (before) } rel="prev" { "newer" } " " }
                @if after < total { a href={ (at) "?offset=" (after) } rel="next" { "older" } }
            }
        }
    }
}
