//! `/coverage`: a map of each dataset, a cell a month; `/coverage/<dataset>`: all of its years.

use super::ask::thousands;
use super::link::part;
use super::{Page, Refusal, Site};
use crate::admin::commands::nearest;
use crate::admin::queries::{Cell, Heat, MapRow, heat};
use datanode_schema::names::Dataset;
use datanode_schema::registry::Registry;
use maud::{Markup, html};

/// Years of each dataset that are shown where all datasets are.
const YEARS: usize = 8;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The dataset of that name, where the registry has it.
pub(super) fn dataset(registry: &Registry, name: &str) -> Result<Dataset, Refusal> {
    let known = registry.datasets.keys().map(|d| d.name());
    match Dataset::from_name(name).filter(|d| registry.datasets.contains_key(d)) {
        Some(d) => Ok(d),
        None => {
            let hint = nearest(name, known).map_or(String::new(), |n| format!("; did you mean {n}?"));
            Err(Refusal::Nothing(format!("datasets.yaml has no dataset {name:?}{hint}")))
        }
    }
}

pub(super) fn all(site: &Site) -> Page {
    let registry = (site.ctx.registry)();
    let mut maps = Vec::new();
    for d in registry.datasets.keys() {
        maps.push((*d, heat(&site.ctx, *d)?));
    }
    let without: Vec<&str> = maps.iter().filter(|(_, h)| h.years.is_empty()).map(|(d, _)| d.name()).collect();
    let content = html! {
        h1 { "Coverage" }
        p { "What is there and GREEN, of what the calendar expects of the universe: each cell a month, in percent. A cell leads to its symbols and days." }
        (legend())
        @for (d, h) in maps.iter().filter(|(_, h)| !h.years.is_empty()) { (map(*d, h, YEARS)) }
        @if !without.is_empty() { p.quiet { "Nothing is judged yet of " (without.join(", ")) "." } }
    };
    Ok(("Coverage".to_owned(), content))
}

pub(super) fn one(site: &Site, name: &str) -> Page {
    let d = dataset(&(site.ctx.registry)(), name)?;
    let h = heat(&site.ctx, d)?;
    let content = html! {
        h1 { "Coverage of " (d.name()) }
        (legend())
        (map(d, &h, usize::MAX))
        p { a href="/coverage" { "All datasets" } }
    };
    Ok((format!("Coverage of {d}"), content))
}

fn map(d: Dataset, h: &Heat, years: usize) -> Markup {
    let left = h.years.len().saturating_sub(years);
    let words = format!("{}: {}", d.name(), in_words(&h.total));
    html! {
        section {
            h2 { a href={ "/coverage/" (d.name()) } { (d.name()) } }
            @if h.years.is_empty() {
                p.quiet { "Nothing of it is judged yet: the next nightly cycle does it." }
            } @else {
                p { (thousands(h.symbols)) " symbols. " (in_words(&h.total)) "." @if h.behind { " " span.quiet { "Verdicts came since this was counted; they are in it within a minute." } } }
                div.scroll tabindex="0" role="region" aria-label=(words) {
                    table.heat {
                        caption { (d.name()) " by month, percent GREEN" }
                        thead { tr { th scope="col" { "Year" } @for m in MONTHS { th scope="col" { (m) } } } }
                        tbody { @for y in h.years.iter().skip(left) { (year(d, y)) } }
                    }
                }
                @if left > 0 { p { a href={ "/coverage/" (d.name()) } { "The " (left) " years before" } } }
            }
        }
    }
}

fn year(d: Dataset, y: &MapRow) -> Markup {
    html! {
        tr {
            th scope="row" { (y.label) }
            @for (m, c) in (1..).zip(&y.cells) {
                @match c {
                    None => td {},
                    Some(c) => td class=(shade(c)) {
                        a href={ "/coverage/" (d.name()) "/" (part(&y.label)) "-" (format!("{m:02}")) } title=(in_words(c)) { (figure(c)) }
                    },
                }
            }
        }
    }
}

/// The shades of the REPL's map, by the same bounds.
fn shade(c: &Cell) -> &'static str {
    let (expected, green) = (u64::from(c.expected()), u64::from(c.green));
    match () {
        () if expected == 0 => "explained",
        () if c.red > 0 && u64::from(c.red) * 10 >= expected => "red",
        () if green == expected => "full",
        () if green * 10 >= expected * 9 => "most",
        () if green * 2 >= expected => "half",
        () if green > 0 || c.amber > 0 => "some",
        () => "none",
    }
}

/// Percent that is GREEN; 100 only where all is, a dash where nothing is expected.
fn figure(c: &Cell) -> String {
    match c.expected() {
        0 => "–".to_owned(),
        n => (u64::from(c.green) * 100 / u64::from(n)).to_string(),
    }
}

/// A cell in words: of what is expected, and what else there is.
fn in_words(c: &Cell) -> String {
    let mut out = format!("{} of {} GREEN", thousands(c.green.into()), thousands(c.expected().into()));
    for (n, word) in [(c.amber, "AMBER"), (c.red, "RED"), (c.missing, "missing"), (c.explained, "absent for a reason")]
    {
        if n > 0 {
            out += &format!(", {} {word}", thousands(n.into()));
        }
    }
    out
}

fn legend() -> Markup {
    const KEYS: [(&str, &str); 7] = [
        ("full", "all GREEN"),
        ("most", "nine tenths"),
        ("half", "half"),
        ("some", "less, or AMBER"),
        ("none", "none"),
        ("red", "a tenth or more RED"),
        ("explained", "absent for a reason"),
    ];
    html! { ul.legend { @for (class, words) in KEYS { li { span class={ "key " (class) } {} (words) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_is_all_of_it_and_a_tenth_of_red_is_seen() {
        let cell = |green, amber, red, missing| Cell { green, amber, red, missing, explained: 0 };
        let said = |c: Cell| (shade(&c), figure(&c));
        assert_eq!(said(cell(1000, 0, 0, 0)), ("full", "100".to_owned()));
        assert_eq!(said(cell(999, 1, 0, 0)), ("most", "99".to_owned()));
        assert_eq!(said(cell(90, 0, 10, 0)), ("red", "90".to_owned()));
        assert_eq!(said(cell(0, 0, 0, 5)), ("none", "0".to_owned()));
        assert_eq!(said(Cell { explained: 3, ..Cell::default() }), ("explained", "–".to_owned()));
        assert_eq!(in_words(&cell(7, 0, 2, 1)), "7 of 10 GREEN, 2 RED, 1 missing");
    }
}
