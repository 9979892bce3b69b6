//! The figures, and one table of everybody.

use crate::Scores;
use crate::figure::{Figure, print};
use crate::lab::claims::Class;
use crate::lab::score::Score;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Prints precision and recall of each class; a sample is one market.
pub fn figures(node: &Scores, others: &BTreeMap<String, Scores>) {
    let node = [("node".to_owned(), node)];
    for (who, scores) in node.into_iter().chain(others.iter().map(|(who, s)| (who.clone(), s))) {
        for (class, all) in scores {
            let part = format!("truth: {}", class.name());
            let total = sum(all);
            let note = format!("{} real, {} claimed, {} right", total.real, total.found, total.right);
            if *class == Class::Else {
                let found: Vec<f64> = all.iter().map(|s| s.found as f64).collect();
                print(Figure::of(&part, &format!("{who}: verdicts"), "", &found).map(|f| f.note(note)));
                continue;
            }
            let precision: Vec<f64> = all.iter().map(|s| s.precision().unwrap_or(0.0)).collect();
            let recall: Vec<f64> = all.iter().map(Score::recall).collect();
            print(Figure::of(&part, &format!("{who}: precision"), "", &precision).map(|f| f.note(note.clone())));
            print(Figure::of(&part, &format!("{who}: recall"), "", &recall).map(|f| f.note(note)));
        }
    }
}

/// Markdown: a row a class; precision and recall of everybody over all their markets. What somebody has no notion of is —.
pub fn table(node: &Scores, others: &BTreeMap<String, Scores>, markets: usize) -> String {
    let everybody: Vec<(String, &Scores)> =
        std::iter::once(("datanode".to_owned(), node)).chain(others.iter().map(|(who, s)| (who.clone(), s))).collect();
    let mut out = String::from("| class |");
    for (who, s) in &everybody {
        let n = s.values().map(Vec::len).max().unwrap_or(0);
        let _ = write!(out, " {who}, {n} of {markets} markets: claimed right of real | precision | recall |");
    }
    out.push_str("\n|---|");
    everybody.iter().for_each(|_| out.push_str("---:|---:|---:|"));
    out.push('\n');
    for class in Class::ALL {
        let _ = write!(out, "| {} |", class.name());
        for (_, scores) in &everybody {
            let cells = match scores.get(&class).map(|all| sum(all)) {
                None => " — | — | — |".to_owned(),
                Some(s) => {
                    let precision = s.precision().map_or_else(|| "—".to_owned(), |p| format!("{p:.3}"));
                    format!(" {} · {} · {} | {precision} | {:.3} |", s.found, s.right, s.real, s.recall())
                }
            };
            out.push_str(&cells);
        }
        out.push('\n');
    }
    out
}

fn sum(all: &[Score]) -> Score {
    let mut out = Score::default();
    all.iter().for_each(|s| out += *s);
    out
}
