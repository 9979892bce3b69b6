//! `report disk DIR` measures the sync latency; `report table FILE [--markdown] [--pi4 FILE] [--pi5 FILE]` makes one table
//! of the figures in files of JSON lines. Lines that are no figures are passed over.

#[path = "../common/disk.rs"]
mod disk;
#[path = "../common/figure.rs"]
mod figure;
mod targets;

use clap::Parser;
use figure::{Figure, print};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use targets::target;

/// Figures to tables.
#[derive(Parser)]
enum Args {
    /// Sync latency of the disk below DIR
    Disk {
        /// A folder that can be written to
        dir: PathBuf,
    },
    /// One table
    Table {
        /// Figures measured here
        figures: PathBuf,
        /// Markdown and not columns
        #[arg(long)]
        markdown: bool,
        /// Figures measured on a Pi 4
        #[arg(long)]
        pi4: Option<PathBuf>,
        /// Figures measured on a Pi 5
        #[arg(long)]
        pi5: Option<PathBuf>,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args_os().filter(|w| w != "--bench").collect();
    if words.len() < 2 {
        return Ok(());
    }
    match Args::parse_from(words) {
        Args::Disk { dir } => {
            for f in disk::sync_latency(&dir, "disk", 200)? {
                print(Some(f));
            }
        }
        Args::Table { figures, markdown, pi4, pi5 } => {
            let here = read(Some(&figures))?;
            let (four, five) = (by_name(read(pi4.as_deref())?), by_name(read(pi5.as_deref())?));
            let pi = |of: &BTreeMap<(String, String), Figure>, f: &Figure| {
                of.get(&name_of(f)).map_or_else(String::new, |p| number(p.value, &p.unit))
            };
            let mut rows =
                vec![["part", "figure", "unit", "target", "measured here", "Pi 4", "Pi 5", "note"].map(String::from)];
            for f in &here {
                let [wanted, measured] = [target(f).map_or_else(String::new, |t| t.to_string()), measured(f)];
                let (four, five) = (pi(&four, f), pi(&five, f));
                rows.push([
                    f.figure.clone(),
                    f.what.clone(),
                    f.unit.clone(),
                    wanted,
                    measured,
                    four,
                    five,
                    f.note.clone(),
                ]);
            }
            if markdown { in_markdown(&rows) } else { in_columns(&rows) }
        }
    }
    Ok(())
}

fn name_of(f: &Figure) -> (String, String) {
    (f.figure.clone(), format!("{} {}", f.what, f.unit))
}

fn by_name(figures: Vec<Figure>) -> BTreeMap<(String, String), Figure> {
    figures.into_iter().map(|f| (name_of(&f), f)).collect()
}

fn read(file: Option<&Path>) -> Result<Vec<Figure>, Box<dyn Error>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

/// `median (min – max)`, and what it comes to where there is a target.
fn measured(f: &Figure) -> String {
    let mut out = number(f.value, &f.unit);
    if f.n > 1 && f.max > f.min {
        out.push_str(&format!(" ({} – {})", number(f.min, &f.unit), number(f.max, &f.unit)));
    }
    if let Some(t) = target(f) {
        out.push_str(if t.met(f.value) { " · met" } else { " · MISSED" });
    }
    out
}

/// Three digits that say something, thousands apart; counts whole.
fn number(v: f64, unit: &str) -> String {
    let a = v.abs();
    let text = match a {
        _ if v.fract() == 0.0 || a >= 100.0 || unit == "rows/s" => format!("{v:.0}"),
        _ if a >= 10.0 => format!("{v:.1}"),
        _ if a >= 0.1 => format!("{v:.2}"),
        _ => format!("{v:.4}"),
    };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |d| ("-", d));
    let (whole, rest) = digits.split_once('.').map_or((digits, String::new()), |(w, r)| (w, format!(".{r}")));
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    format!("{sign}{out}{rest}")
}

fn in_markdown(rows: &[[String; 8]]) {
    for (i, row) in rows.iter().enumerate() {
        println!("| {} |", row.each_ref().map(|c| c.replace('|', "\\|")).join(" | "));
        if i == 0 {
            println!("|---|---|---|---:|---:|---:|---:|---|");
        }
    }
}

fn in_columns(rows: &[[String; 8]]) {
    let mut widths = [0; 8];
    for row in rows {
        for (w, c) in widths.iter_mut().zip(row) {
            *w = c.chars().count().max(*w);
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(i, (c, w))| {
            let pad = " ".repeat(w.saturating_sub(c.chars().count()));
            if (3..7).contains(&i) { format!("{pad}{c}") } else { format!("{c}{pad}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
