//! A map of coverage: a glyph a cell, a shade for the share that is there and GREEN. The glyphs differ, so that nothing depends on
//! colour.

use super::cells::clean;
use super::table::{Style, wrap};
use serde_json::Value;

/// How far cells stand apart, so that their numbers fit above them: months three columns, days two, months of symbols one.
fn apart(by: &str) -> usize {
    match by {
        "month" => 3,
        "day" => 2,
        _ => 1,
    }
}

/// What a cell looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Glyph {
    /// Nothing is known or expected.
    Nothing,
    /// Nothing is there, for a reason.
    Explained,
    /// All of it is there and GREEN.
    Full,
    /// Nine tenths or more.
    Most,
    /// Half or more.
    Half,
    /// Less.
    Some,
    /// None of it.
    None,
    /// A tenth or more is RED.
    Red,
}

impl Glyph {
    fn of(cell: &Value) -> Self {
        let n = |name: &str| cell.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (green, red) = (n("green"), n("red"));
        let expected = green + n("amber") + red + n("missing");
        match expected {
            0 if n("explained") > 0 => Self::Explained,
            0 => Self::Nothing,
            _ if red > 0 && red * 10 >= expected => Self::Red,
            _ if green == expected => Self::Full,
            _ if green * 10 >= expected * 9 => Self::Most,
            _ if green * 2 >= expected => Self::Half,
            _ if green > 0 || n("amber") > 0 => Self::Some,
            _ => Self::None,
        }
    }

    fn character(self) -> char {
        match self {
            Self::Nothing => ' ',
            Self::Explained => '-',
            Self::Full => '\u{2588}',
            Self::Most => '\u{2593}',
            Self::Half => '\u{2592}',
            Self::Some => '\u{2591}',
            Self::None => '.',
            Self::Red => 'x',
        }
    }

    fn colour(self) -> Option<u8> {
        match self {
            Self::Nothing | Self::Explained => None,
            Self::Full => Some(32),
            Self::Most | Self::Half | Self::Some => Some(33),
            Self::None | Self::Red => Some(31),
        }
    }
}

const LEGEND: &str = "\u{2588} all GREEN, \u{2593} nine tenths, \u{2592} half, \u{2591} less or AMBER, . none, x a tenth or more RED, - absent for a reason, blank: nothing expected";

/// The map, ready to print; ends with a newline.
pub(super) fn map(result: &Value, style: &Style) -> String {
    let rows = result.get("rows").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |at: &str| result.get(at).and_then(Value::as_str).map(clean).unwrap_or_default();
    let number = |at: &str| result.get(at).and_then(Value::as_u64).unwrap_or(0);
    if rows.is_empty() {
        return format!("nothing of {} is judged in that time: the next nightly cycle does it\n", text("dataset"));
    }
    let columns: Vec<String> = result
        .get("columns")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|c| clean(c.as_str().unwrap_or_default()))
        .collect();
    let by = text("by");
    let label =
        rows.iter().filter_map(|r| r.get("label")?.as_str()).map(|l| l.chars().count()).max().unwrap_or(0).min(12);
    let apart = apart(&by);
    let mut out = String::new();
    let symbol = text("symbol");
    let of = match (symbol.is_empty(), number("symbols")) {
        (true, 1) => "1 symbol".to_owned(),
        (true, n) => format!("{n} symbols"),
        _ => symbol,
    };
    out.push_str(&format!("{}, {of}, {} to {}\n\n", text("dataset"), text("from"), text("to")));
    out.push_str(&head(&by, &columns, label, apart));
    for row in rows {
        out.push_str(&line(row, label, apart, style));
    }
    let (offset, total) = (number("offset"), number("total_rows"));
    let shown = rows.len() as u64;
    if offset + shown < total {
        out.push_str(&format!(
            "{} to {} of {total}; `--offset {}` shows more\n",
            offset + 1,
            offset + shown,
            offset + shown
        ));
    }
    let words = result.get("total").map(in_words).unwrap_or_default();
    for l in [words.as_str(), LEGEND] {
        out.push('\n');
        wrap(l, style.width).iter().for_each(|l| out.push_str(&format!("{l}\n")));
    }
    out
}

/// The numbers of days or months; of many months the years, each where its January stands.
fn head(by: &str, columns: &[String], label: usize, apart: usize) -> String {
    let mut out = format!("{:label$} ", "");
    if by == "symbol" {
        let mut place = 0;
        for (i, c) in columns.iter().enumerate() {
            let year = c.get(..4).unwrap_or(c);
            let begins = i == 0 || c.ends_with("-01");
            if begins && i >= place {
                out.push_str(&" ".repeat(i - place));
                out.push_str(year);
                place = i + year.len();
            }
        }
    } else {
        // Days touch one another: every fifth is enough.
        let shown = |i: usize| by == "month" || i == 0 || (i + 1).is_multiple_of(5);
        for (i, c) in columns.iter().enumerate() {
            out.push_str(&format!("{:>apart$}", if shown(i) { c.as_str() } else { "" }));
        }
    }
    format!("{}\n", out.trim_end())
}

fn line(row: &Value, label: usize, apart: usize, style: &Style) -> String {
    let name: String =
        clean(row.get("label").and_then(Value::as_str).unwrap_or_default()).chars().take(label).collect();
    let mut out = format!("{name:<label$} ");
    for cell in row.get("cells").and_then(Value::as_array).into_iter().flatten() {
        let glyph = Glyph::of(cell);
        out.push_str(&" ".repeat(apart - 1));
        match glyph.colour().filter(|_| style.colour) {
            Some(colour) => out.push_str(&format!("\u{1b}[{colour}m{}\u{1b}[0m", glyph.character())),
            None => out.push(glyph.character()),
        }
    }
    format!("{out}  {:>4}\n", row.get("total").map(share).unwrap_or_default())
}

/// The share of what should be there that is there and GREEN, rounded down: 100% is all of it.
fn share(cell: &Value) -> String {
    let n = |name: &str| cell.get(name).and_then(Value::as_u64).unwrap_or(0);
    let expected = n("green") + n("amber") + n("red") + n("missing");
    (n("green") * 100).checked_div(expected).map_or_else(|| "-".to_owned(), |p| format!("{p}%"))
}

fn in_words(total: &Value) -> String {
    let n = |name: &str| total.get(name).and_then(Value::as_u64).unwrap_or(0);
    let expected = n("green") + n("amber") + n("red") + n("missing");
    let counts = ["green", "amber", "red", "missing", "explained"].map(n);
    let [green, amber, red, missing, explained] = counts;
    let share = share(total);
    format!(
        "{share} of {expected} expected: {green} GREEN, {amber} AMBER, {red} RED, {missing} missing; {explained} absent for a reason"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cell(green: u64, amber: u64, red: u64, missing: u64, explained: u64) -> Value {
        json!({"green": green, "amber": amber, "red": red, "missing": missing, "explained": explained})
    }

    #[test]
    fn a_cell_is_as_dark_as_its_share_is_great() {
        let of = |c: Value| Glyph::of(&c);
        assert_eq!(of(Value::Null), Glyph::Nothing);
        assert_eq!(of(cell(0, 0, 0, 0, 3)), Glyph::Explained);
        assert_eq!(of(cell(5, 0, 0, 0, 3)), Glyph::Full);
        assert_eq!(of(cell(95, 5, 0, 0, 0)), Glyph::Most);
        assert_eq!(of(cell(50, 0, 0, 50, 0)), Glyph::Half);
        assert_eq!(of(cell(0, 1, 0, 0, 0)), Glyph::Some);
        assert_eq!(of(cell(0, 0, 0, 1, 0)), Glyph::None);
        assert_eq!(of(cell(9, 0, 1, 0, 0)), Glyph::Red);
        assert_eq!(of(cell(99, 0, 1, 0, 0)), Glyph::Most, "one of many is not all");
    }

    #[test]
    fn no_two_glyphs_are_the_same_and_colour_adds_nothing() {
        use Glyph::*;
        let all = [Nothing, Explained, Full, Most, Half, Some, None, Red];
        let different: std::collections::BTreeSet<char> = all.iter().map(|g| g.character()).collect();
        assert_eq!(different.len(), all.len());
        let cells: Vec<Value> = (0..31).map(|d| cell(d % 3, d % 2, 0, 1, 0)).collect();
        let columns: Vec<String> = (1..=31).map(|d| format!("{d:02}")).collect();
        let rows = json!([{"label": "2024-01", "cells": cells, "total": cell(9, 9, 0, 31, 0)}]);
        let answer = json!({"dataset": "equities_bars", "by": "day", "symbols": 1, "columns": columns, "rows": rows,
            "total_rows": 1, "offset": 0, "total": cell(9, 9, 0, 31, 0)});
        let plain = map(&answer, &Style { width: Option::Some(80), colour: false });
        let painted = map(&answer, &Style { width: Option::Some(80), colour: true });
        let mut bare = painted.clone();
        for code in [32, 33, 31, 0] {
            bare = bare.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert!(painted != plain && bare == plain);
        assert!(plain.lines().all(|l| l.chars().count() <= 80), "{plain}");
    }
}
