//! The market on disk: the vendors' folders, what the node is told of them, and the truth.
//!
//! `first/` is what the first vendor has on the first night, `later/` what it has from the second night on, `second/` what the
//! second vendor has. What is the same is one file with several names.

use super::Fallible;
use super::claims::{Claims, Class, Place};
use super::market::{Given, Row, sessions};
use super::plan::{Plan, Wrong};
use super::sessions::{Day, WINDOW};
use datanode_schema::registry::DEFAULT_DATASETS;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The vendors' folders.
pub struct World {
    /// The first vendor, first night.
    pub first: PathBuf,
    /// The first vendor, later.
    pub later: PathBuf,
    /// The second vendor.
    pub second: PathBuf,
    /// What the node should hold.
    pub universe: PathBuf,
    /// Datasets, with a lookback over all sessions: what is restated is asked for again.
    pub datasets: PathBuf,
    /// Two vendors without limits.
    pub capabilities: PathBuf,
    /// The sessions that have rows.
    pub rows: BTreeMap<Place, Counts>,
}

/// How much there is of a session.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Minutes of the session.
    pub minutes: u32,
    /// Minutes of the session with a row.
    pub regular: usize,
    /// The same of the first vendor on the first night; rows that came twice count once.
    pub regular_first: usize,
    /// What the rows come to: [`print`].
    pub print: u64,
}

/// What rows come to: seconds of the stamp; open, high, low and close in cents; shares.
pub fn print(rows: impl IntoIterator<Item = (i64, [i64; 5])>) -> u64 {
    let mut hasher = DefaultHasher::new();
    rows.into_iter().for_each(|row| row.hash(&mut hasher));
    hasher.finish()
}

impl Counts {
    /// Whether so many minutes with a row make a thin session: the threshold of `datasets.yaml` is nine tenths.
    pub fn is_thin(&self, regular: usize) -> bool {
        regular * 10 < self.minutes as usize * 9
    }
}

impl World {
    /// Writes everything below `root`.
    pub fn write(plan: &Plan, root: &Path) -> Fallible<Self> {
        let at = |name: &str| root.join(name);
        let mut world = Self {
            first: at("first"),
            later: at("later"),
            second: at("second"),
            universe: at("universe.yaml"),
            datasets: at("datasets.yaml"),
            capabilities: at("vendor_capabilities.yaml"),
            rows: BTreeMap::new(),
        };
        for symbol in &plan.symbols {
            let folder = |of: &Path| of.join("equities_bars_minute").join(&symbol.name);
            for of in [&world.first, &world.later, &world.second] {
                std::fs::create_dir_all(folder(of))?;
            }
            for (day, given) in plan.days.iter().zip(sessions(plan, symbol)) {
                let counts = Counts {
                    minutes: day.minutes,
                    regular: regular(day, &given.truth),
                    regular_first: regular(day, given.first.as_ref().unwrap_or(&given.truth)),
                    print: print(given.truth.iter().map(|r| {
                        let at = day.open.timestamp() + 60 * r.minute;
                        (at, [r.open, r.high, r.low, r.close, r.volume])
                    })),
                };
                world.rows.insert((symbol.name.clone(), day.date), counts);
                write_day(day, &given, [folder(&world.first), folder(&world.later), folder(&world.second)])?;
            }
        }
        let mut splits = String::from("symbol,ex_date,new_shares_per_old\n");
        for s in &plan.symbols {
            for (i, _) in s.wrong.iter().filter(|(_, w)| matches!(w, Wrong::Split(true))) {
                if let Some(day) = plan.days.get(*i) {
                    writeln!(splits, "{},{},2", s.name, day.date)?;
                }
            }
        }
        for of in [&world.first, &world.later, &world.second] {
            std::fs::write(of.join("splits.csv"), &splits)?;
        }
        std::fs::write(&world.universe, universe(plan)?)?;
        std::fs::write(&world.datasets, datasets(plan.days.len())?)?;
        std::fs::write(&world.capabilities, CAPABILITIES)?;
        std::fs::write(at("truth.json"), serde_json::to_vec_pretty(plan)?)?;
        Ok(world)
    }

    /// What is true: the plan's, and what follows from how many rows there are.
    pub fn truth(&self, plan: &Plan) -> Claims {
        let thin = self.rows.iter().filter(|(_, c)| c.is_thin(c.regular)).map(|(place, _)| place.clone()).collect();
        let mut out = plan.truth();
        out.insert(Class::Thin, thin);
        out.insert(Class::Held, self.rows.keys().cloned().collect());
        out
    }
}

/// Minutes of the session with a row.
fn regular(day: &Day, rows: &[Row]) -> usize {
    let minutes = rows.iter().map(|r| r.minute).filter(|m| (0..i64::from(day.minutes)).contains(m));
    minutes.collect::<BTreeSet<_>>().len()
}

/// Writes a session to the folders of the first vendor, the first vendor later, and the second.
fn write_day(day: &Day, given: &Given, [first, later, second]: [PathBuf; 3]) -> Fallible<()> {
    let name = format!("{}.csv", day.date);
    std::fs::write(second.join(&name), text(day, &given.truth))?;
    match &given.first {
        None => std::fs::hard_link(second.join(&name), first.join(&name))?,
        Some(rows) if rows.is_empty() => {}
        Some(rows) => std::fs::write(first.join(&name), text(day, rows))?,
    }
    if given.later.is_some() {
        std::fs::hard_link(second.join(&name), later.join(&name))?;
    } else if first.join(&name).exists() {
        std::fs::hard_link(first.join(&name), later.join(&name))?;
    }
    Ok(())
}

fn text(day: &Day, rows: &[Row]) -> String {
    let mut out = String::from("t,open,high,low,close,volume\n");
    for r in rows {
        let t = (day.open + chrono::TimeDelta::minutes(r.minute)).format("%Y-%m-%dT%H:%M:%SZ");
        let cents = |c: i64| format!("{}.{:02}", c / 100, c % 100);
        let [o, h, l, c] = [r.open, r.high, r.low, r.close].map(cents);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{t},{o},{h},{l},{c},{}", r.volume);
    }
    out
}

/// No window ends: what stops trading is the node's to find out.
fn universe(plan: &Plan) -> Result<String, std::fmt::Error> {
    let mut out = String::from("universe:\n");
    for dataset in ["equities_bars_minute", "corporate_actions"] {
        writeln!(out, "  {dataset}:")?;
        for s in &plan.symbols {
            writeln!(out, "    {}: [{{from: {}}}]", s.name, WINDOW.0)?;
        }
    }
    Ok(out)
}

fn datasets(sessions: usize) -> Fallible<String> {
    let at = DEFAULT_DATASETS.find("\n  equities_bars_minute:").ok_or("datasets.yaml has no equities_bars_minute")?;
    let (before, after) = DEFAULT_DATASETS.split_at(at);
    let key = "lookback_sessions: ";
    let (head, tail) = after.split_once(key).ok_or("equities_bars_minute has no lookback_sessions")?;
    let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
    Ok(format!("{before}{head}{key}{sessions}{tail}"))
}

const CAPABILITIES: &str = "\
vendors:
  alpaca:
    limits: {per_second: 0, per_minute: 0, per_day: 0, concurrency: 4}
    datasets:
      equities_bars_minute: {preference: 90, feed: sip, adjustment: raw, max_symbols: 50, max_rows: 10000}
      corporate_actions: {preference: 90, feed: \"\", max_symbols: 50, max_rows: 1000}
  massive:
    limits: {per_second: 0, per_minute: 0, per_day: 0, concurrency: 2}
    datasets:
      equities_bars_minute: {preference: 80, feed: sip, adjustment: raw, max_symbols: 1, max_rows: 50000}
      corporate_actions: {preference: 80, feed: \"\", max_symbols: 1, max_rows: 5000}
";
