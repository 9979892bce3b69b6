//! Answers as text: `views` says for each command what stands where, `cells` writes values, `table` lays them out.
//!
//! Texts that came from outside (a vendor's words, an error) may hold anything: control characters never reach the
//! terminal.

mod cells;
mod desk;
mod heat;
mod quality;
mod retention;
mod table;
mod views;

pub use cells::{Show, clean};
pub use table::Style;
pub use views::{Block, Column, Field, blocks};

use serde_json::Value;
use table::{Head, fields, table, wrap};

/// The answer of the command with the wire name `cmd`, ready to print; ends with a newline.
pub fn text(cmd: &str, result: &Value, style: &Style) -> String {
    if let ("help", Some(commands)) = (cmd, result.pointer("/commands").and_then(Value::as_array)) {
        return help(commands, style);
    }
    if cmd == "coverage" && result.get("rows").is_some() {
        return heat::map(result, style);
    }
    if let ("gaps", Some(rows)) = (cmd, result.get("rows").and_then(Value::as_array)) {
        return gaps(rows, result, style);
    }
    let prepared = quality::prepared(cmd, result);
    let result = prepared.as_ref();
    let mut parts = Vec::new();
    for block in blocks(cmd) {
        let part = match block {
            Block::Fields(list) => fields_of(list, result, style),
            Block::Rows { title, at, page, columns, empty } => {
                let rows = result.pointer(at).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let body = rows_of(columns, rows, style);
                let page = page.and_then(|p| result.pointer(p));
                section(title, body, empty, page.and_then(|p| footer(p, rows.len())))
            }
        };
        if !part.is_empty() {
            parts.push(part);
        }
    }
    if parts.is_empty() {
        return format!("{}\n", cells::clean(&result.to_string()));
    }
    parts.join("\n")
}

fn gaps(rows: &[Value], result: &Value, style: &Style) -> String {
    let audited = Show::Plain.cell(result.get("audited_as_of").unwrap_or(&Value::Null));
    let runs = section("", quality::gaps(rows, style), "no gap on record", footer(result, rows.len()));
    format!("{runs}\n{}", fields(&[("audited as of".to_owned(), audited)], style))
}

/// So many commands are explained at length; more are listed.
const A_FEW: usize = 8;

fn help(commands: &[Value], style: &Style) -> String {
    let text = |c: &Value, at: &str| Show::Plain.cell(c.get(at).unwrap_or(&Value::Null));
    if commands.len() > A_FEW {
        let lines: Vec<_> = commands.iter().map(|c| (text(c, "words"), text(c, "summary"))).collect();
        let more =
            "`help COMMAND` shows its arguments and an example; `--json` after a command gives JSON; `quit` ends";
        return format!("{}\n{}\n", fields(&lines, style), wrap(more, style.width).join("\n"));
    }
    let labels = [("usage", "usage"), ("shows", "summary"), ("example", "example"), ("on the wire", "name")];
    let one = |c: &Value| fields(&labels.map(|(label, at)| (label.to_owned(), text(c, at))), style);
    commands.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn fields_of(list: &[Field], result: &Value, style: &Style) -> String {
    let mut lines = Vec::new();
    for f in list {
        if f.expand {
            let object = result.pointer(f.at).and_then(Value::as_object);
            lines.extend(
                object.into_iter().flatten().map(|(k, v)| (cells::clean(&k.replace('_', " ")), Show::Plain.cell(v))),
            );
            continue;
        }
        match result.pointer(f.at) {
            None | Some(Value::Null) if f.optional => {}
            found => lines.push((f.label.to_owned(), f.show.cell(found.unwrap_or(&Value::Null)))),
        }
    }
    fields(&lines, style)
}

fn rows_of(columns: &[Column], rows: &[Value], style: &Style) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = |c: &Column| Head {
        text: c.head,
        right: c.show.is_number(),
        whole: c.show.is_whole(),
        wraps: c.show == Show::Prose,
        spare: c.spare,
    };
    let heads: Vec<Head> = columns.iter().map(head).collect();
    let cell = |c: &Column, row: &Value| c.show.cell(row.pointer(c.at).unwrap_or(&Value::Null));
    let body: Vec<Vec<String>> = rows.iter().map(|r| columns.iter().map(|c| cell(c, r)).collect()).collect();
    table(&heads, &body, style)
}

fn section(title: &str, body: String, empty: &str, footer: Option<String>) -> String {
    let mut out = String::new();
    let nothing = body.is_empty();
    if nothing && empty.is_empty() && footer.is_none() {
        return out;
    }
    if !title.is_empty() {
        out.push_str(&format!("{title}\n"));
    }
    match footer {
        Some(f) => out.push_str(&format!("{body}{f}\n")),
        None if nothing => out.push_str(&format!("{empty}\n")),
        None => out.push_str(&body),
    }
    out
}

/// What a page says about the rows that it does not show.
fn footer(page: &Value, shown: usize) -> Option<String> {
    let number = |name: &str| page.get(name).and_then(Value::as_u64);
    let (total, offset) = (number("total")?, number("offset")?);
    let shown = shown as u64;
    if total == 0 {
        None
    } else if shown == 0 {
        Some(format!("no row from {offset} on: there are {total}"))
    } else if offset + shown < total {
        Some(format!("{} to {} of {total}; `--offset {}` shows more", offset + 1, offset + shown, offset + shown))
    } else if offset > 0 {
        Some(format!("{} to {} of {total}", offset + 1, offset + shown))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_command_has_a_view() {
        for c in crate::admin::commands::COMMANDS {
            // These are laid out by functions of their own, or have no answer.
            let own = ["help", "gaps", "coverage", "watch"].contains(&c.name);
            assert!(own || !blocks(c.name).is_empty(), "{}", c.name);
        }
    }

    #[test]
    fn a_page_says_what_it_does_not_show() {
        let page = |total: u64, offset: u64, shown| footer(&json!({"total": total, "offset": offset}), shown);
        assert_eq!(page(9, 0, 9), None);
        assert_eq!(page(9, 0, 4).unwrap(), "1 to 4 of 9; `--offset 4` shows more");
        assert_eq!(page(9, 8, 1).unwrap(), "9 to 9 of 9");
        assert_eq!(page(9, 20, 0).unwrap(), "no row from 20 on: there are 9");
    }

    #[test]
    fn the_words_of_a_vendor_cannot_move_the_cursor() {
        let answer = json!({"demotion_list": {"total": 1, "offset": 0, "limit": 1, "rows": [
            {"dataset": "d", "symbol": "S", "why": "\u{1b}[2Jgone\r\nx"}]}});
        let got = text("vendors.show", &answer, &Style { width: None, colour: false });
        assert!(got.contains("gone") && !got.contains('\u{1b}') && !got.contains('\r'), "{got:?}");
    }
}
