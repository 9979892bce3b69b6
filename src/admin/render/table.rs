//! Laying out: columns that line up and fit the terminal.

/// Columns are this far apart.
const GAP: usize = 2;
/// A text column is not made narrower than this while another can be.
const LEAST: usize = 8;
/// A sentence is cut, not wrapped, where it would be narrower than this.
const READABLE: usize = 24;

/// What the output can take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Columns of the terminal; None: as wide as the text (files and pipes).
    pub width: Option<usize>,
    /// Whether colours may be used.
    pub colour: bool,
}

/// The head of a column.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub text: &'static str,
    pub right: bool,
    /// Never cut, as long as anything else can give.
    pub whole: bool,
    /// As the last column, and where there is room, it goes on below itself and is not cut.
    pub wraps: bool,
    /// Left out where the table does not fit, the lowest number first; 0: never.
    pub spare: u8,
}

/// A head line and the rows; every line ends with a newline. What does not fit is, in this order, cut (texts), left out
/// (spare columns, named below the table), cut (names, numbers).
pub(super) fn table(heads: &[Head], rows: &[Vec<String>], style: &Style) -> String {
    let (shown, left_out) = choose(heads, rows, style.width);
    let pick = |row: &Vec<String>| shown.iter().filter_map(|i| row.get(*i).cloned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = rows.iter().map(pick).collect();
    let heads: Vec<Head> = shown.iter().filter_map(|i| heads.get(*i).copied()).collect();
    let mut out = lay_out(&heads, &rows, style);
    if !left_out.is_empty() {
        let note = format!("too narrow for: {} (`--json` shows them)", left_out.join(", "));
        wrap(&note, style.width).iter().for_each(|l| out.push_str(&format!("{l}\n")));
    }
    out
}

/// The columns that are shown, and the names of the others.
fn choose(heads: &[Head], rows: &[Vec<String>], fit: Option<usize>) -> (Vec<usize>, Vec<&'static str>) {
    let mut shown: Vec<usize> = (0..heads.len()).collect();
    let mut left_out = Vec::new();
    let natural = natural(heads, rows);
    let least = |i: &usize| {
        let width = natural.get(*i).copied().unwrap_or(0);
        if heads.get(*i).is_some_and(|h| h.whole) { width } else { width.min(LEAST) }
    };
    while fit.is_some_and(|f| shown.iter().map(least).sum::<usize>() + GAP * shown.len().saturating_sub(1) > f) {
        let spare = |i: &&usize| heads.get(**i).filter(|h| h.spare > 0).map(|h| h.spare);
        let Some(next) = shown.iter().filter(|i| spare(i).is_some()).min_by_key(|i| spare(i)).copied() else { break };
        shown.retain(|i| *i != next);
        left_out.extend(heads.get(next).map(|h| h.text));
    }
    (shown, left_out)
}

fn lay_out(heads: &[Head], rows: &[Vec<String>], style: &Style) -> String {
    let widths = widths(heads, rows, style.width);
    let mut out = String::new();
    let names: Vec<String> = heads.iter().map(|h| h.text.to_owned()).collect();
    let head = line(heads, &names, &widths, |s, _| s);
    out.push_str(&if style.colour { format!("\u{1b}[1m{head}\u{1b}[0m\n") } else { format!("{head}\n") });
    let wraps = heads.last().zip(widths.last()).is_some_and(|(h, w)| h.wraps && *w >= READABLE);
    for row in rows {
        for part in if wraps { unfold(row, widths.last().copied()) } else { vec![row.clone()] } {
            out.push_str(&line(
                heads,
                &part,
                &widths,
                |padded, word| if style.colour { paint(padded, word) } else { padded },
            ));
            out.push('\n');
        }
    }
    out
}

/// A row whose last cell is wrapped to `room`: the row, and what goes on below it.
fn unfold(row: &[String], room: Option<usize>) -> Vec<Vec<String>> {
    let Some((last, others)) = row.split_last() else { return Vec::new() };
    let below = |i: usize, part: String| {
        let before = others.iter().map(|c| if i == 0 { c.clone() } else { String::new() });
        before.chain([part]).collect()
    };
    wrap(last, room).into_iter().enumerate().map(|(i, part)| below(i, part)).collect()
}

/// Labels and values, one a line.
pub(super) fn fields(lines: &[(String, String)], style: &Style) -> String {
    let label = lines.iter().map(|(l, _)| width(l)).max().unwrap_or(0);
    let room = style.width.map(|w| w.saturating_sub(label + GAP).max(LEAST));
    let mut out = String::new();
    for (l, v) in lines {
        // A value that does not fit goes on below itself: here nothing may be lost.
        for (i, part) in wrap(v, room).into_iter().enumerate() {
            let l = if i == 0 { l.as_str() } else { "" };
            let line = format!("{l:<label$}{:GAP$}{part}", "");
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out
}

fn width(s: &str) -> usize {
    s.chars().count()
}

/// Breaks a text at blanks; a word that is longer than the room stays whole.
pub(super) fn wrap(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room.filter(|r| width(text) > *r) else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(l) if width(l) + 1 + width(word) <= room => {
                l.push(' ');
                l.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// As wide as the widest cell.
fn natural(heads: &[Head], rows: &[Vec<String>]) -> Vec<usize> {
    let widest = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| width(c)).max().unwrap_or(0);
    heads.iter().enumerate().map(|(i, h)| width(h.text).max(widest(i))).collect()
}

/// The widths of the columns; where their own are too much, the widest text column gives first.
fn widths(heads: &[Head], rows: &[Vec<String>], fit: Option<usize>) -> Vec<usize> {
    let mut out = natural(heads, rows);
    let Some(fit) = fit else { return out };
    loop {
        let total = out.iter().sum::<usize>() + GAP * heads.len().saturating_sub(1);
        if total <= fit {
            return out;
        }
        let text_first = heads.iter().zip(&mut out).filter(|(h, w)| !h.whole && **w > LEAST).max_by_key(|(_, w)| **w);
        match text_first.map(|(_, w)| w) {
            Some(w) => *w -= 1,
            None => match out.iter_mut().filter(|w| **w > 3).max() {
                Some(w) => *w -= 1,
                None => return out,
            },
        }
    }
}

fn line(heads: &[Head], cells: &[String], widths: &[usize], finish: impl Fn(String, &str) -> String) -> String {
    let mut out = String::new();
    let last = heads.len().saturating_sub(1);
    for (i, ((head, cell), width)) in heads.iter().zip(cells).zip(widths).enumerate() {
        let text = cut(cell, *width);
        let padded = match (head.right, i == last) {
            (true, _) => format!("{text:>width$}"),
            (false, true) => text.clone(),
            (false, false) => format!("{text:<width$}"),
        };
        out.push_str(&finish(padded, &text));
        if i != last {
            out.push_str(&" ".repeat(GAP));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(room.saturating_sub(1)).collect();
    out.push('…');
    out
}

fn paint(padded: String, word: &str) -> String {
    let colour = match word {
        "GREEN" | "done" | "standing" => 32,
        "AMBER" | "PENDING" | "short" | "pending" | "open" | "deprecated" => 33,
        "RED" | "refused" | "unknown" | "stopped" | "unobtainable" | "expired" | "void" | "invalid" => 31,
        _ => return padded,
    };
    format!("\u{1b}[{colour}m{padded}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: [Head; 3] = [
        Head { text: "symbol", right: false, whole: true, wraps: false, spare: 0 },
        Head { text: "rows", right: true, whole: true, wraps: false, spare: 1 },
        Head { text: "why", right: false, whole: false, wraps: false, spare: 0 },
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |a: &str, b: &str, c: &str| vec![a.to_owned(), b.to_owned(), c.to_owned()];
        vec![row("AAPL", "390", "RED"), row("BRK.B", "7", "a long story that goes on and on")]
    }

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let got = table(&HEADS, &rows(), &Style { width: None, colour: false });
        assert_eq!(got, "symbol  rows  why\nAAPL     390  RED\nBRK.B      7  a long story that goes on and on\n");
    }

    #[test]
    fn a_table_fits_any_width_that_holds_it_at_all() {
        for width in 17..60 {
            let got = table(&HEADS, &rows(), &Style { width: Some(width), colour: false });
            assert!(got.lines().all(|l| l.chars().count() <= width), "{width}:\n{got}");
            assert!(got.contains("BRK.B"), "names stay whole at {width}:\n{got}");
            assert_eq!(got.contains("390"), width >= 22, "a spare column goes, and is never cut, at {width}:\n{got}");
            assert_eq!(got.contains("too narrow"), width < 22, "and what went is named at {width}:\n{got}");
        }
    }

    #[test]
    fn a_sentence_goes_on_below_itself_where_there_is_room_for_it() {
        let mut heads = HEADS;
        heads[2].wraps = true;
        let at = |width| table(&heads, &rows(), &Style { width: Some(width), colour: false });
        let folded = "BRK.B      7  a long story that goes\n              on and on\n";
        assert!(at(38).ends_with(folded), "{}", at(38));
        assert!(at(30).ends_with("a long story th…\n"), "{}", at(30));
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let plain = table(&HEADS, &rows(), &Style { width: Some(40), colour: false });
        let mut painted = table(&HEADS, &rows(), &Style { width: Some(40), colour: true });
        assert!(painted.contains("\u{1b}[31mRED"));
        for code in ["\u{1b}[1m", "\u{1b}[31m", "\u{1b}[0m"] {
            painted = painted.replace(code, "");
        }
        assert_eq!(painted, plain);
    }

    #[test]
    fn a_long_value_is_wrapped_and_not_cut() {
        let got = fields(&[("why".into(), "one two three four".into())], &Style { width: Some(14), colour: false });
        assert_eq!(got, "why  one two\n     three\n     four\n");
    }
}
