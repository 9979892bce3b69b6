//! The figures, and one table of everybody.

use crate::Scores;
use crate::figure::{Figure, print};
use crate::lab::claims::Class;
use crate::lab::score::Score;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Prints precision and recall of each class over all markets; lowest and highest are those of single markets.
pub fn figures(node: &Scores, others: &BTreeMap<String, Scores>) {
    let node = [("node".to_owned(), node)];
    for (who, scores) in node.into_iter().chain(others.iter().map(|(who, s)| (who.clone(), s))) {
        for (class, all) in scores {
            let total = sum(all);
            let note = format!("{} real, {} claimed, {} right", total.real, total.found, total.right);
            let say = |what: &str, of: &dyn Fn(&Score) -> f64| {
                let samples: Vec<f64> = all.iter().map(of).collect();
                let f = Figure::of(&format!("truth: {}", class.name()), &format!("{who}: {what}"), "", &samples);
                // A median would hide the one market in which something was missed.
                print(f.map(|f| Figure { value: of(&total), ..f }.note(note.clone())));
            };
            if *class == Class::Else {
                say("verdicts", &|s| s.found as f64);
                continue;
            }
            say("precision", &|s| s.precision().unwrap_or(0.0));
            say("recall", &Score::recall);
        }
    }
}

/// Markdown: a row a class, a column a program; precision and recall over all of its markets, and how much it claimed. What
/// somebody has no notion of is —.
pub fn table(node: &Scores, others: &BTreeMap<String, Scores>, markets: usize) -> String {
    let everybody: Vec<(&str, &Scores)> =
        std::iter::once(("datanode", node)).chain(others.iter().map(|(who, s)| (who.as_str(), s))).collect();
    let mut out = format!("| {markets} markets | real |");
    for (who, s) in &everybody {
        let n = s.values().map(Vec::len).max().unwrap_or(0);
        let of = if n == markets { String::new() } else { format!(", {n} of the markets") };
        // Writing to a string cannot fail.
        let _ = write!(out, " {who}{of} |");
    }
    out.push_str("\n|---|---:|");
    everybody.iter().for_each(|_| out.push_str("---:|"));
    out.push('\n');
    for class in Class::ALL {
        let real = node.get(&class).map(|all| sum(all).real).unwrap_or(0);
        let _ = write!(out, "| {} | {real} |", class.name());
        for (_, scores) in &everybody {
            let cell = scores.get(&class).map_or_else(|| "—".to_owned(), |all| cell(class, &sum(all)));
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    out
}

/// `precision · recall (claims)`.
fn cell(class: Class, s: &Score) -> String {
    if class == Class::Else {
        return s.found.to_string();
    }
    let precision = s.precision().map_or_else(|| "none".to_owned(), |p| format!("{p:.3}"));
    format!("{precision} · {:.3} ({})", s.recall(), s.found)
}

fn sum(all: &[Score]) -> Score {
    let mut out = Score::default();
    all.iter().for_each(|s| out += *s);
    out
}
