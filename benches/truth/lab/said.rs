//! What the node says: its ledger, and the claims that are in it.

use super::Fallible;
use super::claims::{Claims, Class, Place};
use super::folder::World;
use super::sessions::WINTER;
use chrono::NaiveDate;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::store::{Store, StoreOptions};
use datanode_schema::trees::{self, LEDGER};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicted {
    /// Names of the reasons.
    pub reasons: BTreeSet<&'static str>,
    /// Whether it is GREEN.
    pub green: bool,
    /// Rows that the calendar expects.
    pub expected: u32,
    /// Rows that there are.
    pub rows: u32,
}

/// The verdicts of all partitions.
pub type Ledger = BTreeMap<(Dataset, String, NaiveDate), Verdicted>;

/// Reads the ledger of a node that does not run.
pub fn ledger(data: &Path) -> Fallible<Ledger> {
    let options = StoreOptions { free_space_floor: 0, ..StoreOptions::default() };
    let store = Store::open(&data.join("state"), &trees::all(), &options)?;
    let mut out = Ledger::new();
    for (key, page) in store.load_all(&LEDGER, &[])? {
        for d in page.days(key.month.first_day()) {
            let said = Verdicted {
                reasons: Reason::names(d.reasons).into_iter().collect(),
                green: d.verdict == Verdict::Green.number(),
                expected: d.expected,
                rows: d.rows,
            };
            out.insert((key.dataset, key.symbol.clone(), date_of(d.day)), said);
        }
    }
    Ok(out)
}

/// Reasons that a wrong idea of a session's hours would bring.
const OF_HOURS: [&str; 5] = ["hole", "short_session", "outside_hours", "misread_timestamps", "outside_calendar"];

/// What the node claims, from its ledger after the first night and after the last.
///
/// A session is claimed as missing when the first night says so and the last does not say that the symbol was gone; minutes
/// are claimed as a hole when the last night has them filled.
pub fn claims(first: &Ledger, last: &Ledger) -> Claims {
    let mut out = Claims::new();
    for ((dataset, symbol, date), said) in first {
        if *dataset != Dataset::EquitiesBarsMinute {
            continue;
        }
        let place = (symbol.clone(), *date);
        let later =
            |reason: &str| last.get(&(*dataset, symbol.clone(), *date)).is_some_and(|v| v.reasons.contains(reason));
        let mut put = |class: Class, is: bool| {
            if is {
                out.entry(class).or_default().insert(place.clone());
            }
        };
        put(Class::Missing, said.reasons.contains("missing_session") && !later("delisted"));
        put(Class::Hole, said.reasons.contains("hole") && !later("hole") && !later("no_trade_minutes"));
        put(Class::Duplicate, said.reasons.contains("duplicates_dropped"));
        put(Class::Split, said.reasons.contains("unexplained_jump"));
    }
    let mut gone: BTreeSet<&String> = BTreeSet::new();
    for ((dataset, symbol, date), said) in last {
        if *dataset != Dataset::EquitiesBarsMinute {
            continue;
        }
        let place = (symbol.clone(), *date);
        let right_hours = said.rows > 0 && OF_HOURS.iter().all(|r| !said.reasons.contains(r));
        let day = date.to_string();
        let mut put = |class: Class, is: bool| {
            if is {
                out.entry(class).or_default().insert(place.clone());
            }
        };
        put(Class::Quiet, said.reasons.contains("no_trade_minutes"));
        put(Class::Thin, said.reasons.contains("thin_session"));
        put(Class::Restated, said.reasons.contains("restated"));
        put(Class::HalfDay, said.expected == 210 && right_hours);
        put(Class::Clocks, day == WINTER && said.expected == 390 && right_hours);
        put(Class::Delisting, said.reasons.contains("delisted") && gone.insert(symbol));
    }
    out
}

/// Partitions that are not GREEN for a reason that the truth does not have, with those reasons. At the end nothing but thin
/// sessions may be left: a second vendor has confirmed the jumps.
pub fn otherwise(first: &Ledger, last: &Ledger, truth: &Claims, world: &World) -> BTreeMap<Place, Vec<&'static str>> {
    let is = |class: Class, place: &Place| truth.get(&class).is_some_and(|c| c.contains(place));
    let gone = |place: &Place| {
        truth.get(&Class::Delisting).is_some_and(|c| c.iter().any(|(s, from)| *s == place.0 && *from <= place.1))
    };
    let mut out: BTreeMap<Place, Vec<&'static str>> = BTreeMap::new();
    for (night, ledger) in [(1, first), (2, last)] {
        for ((dataset, symbol, date), said) in ledger.iter().filter(|(_, v)| !v.green) {
            let place = (symbol.clone(), *date);
            let known = |reason: &str| {
                *dataset == Dataset::EquitiesBarsMinute
                    && match (reason, night) {
                        ("missing_session", 1) => is(Class::Missing, &place) || gone(&place),
                        ("hole", 1) => is(Class::Hole, &place) || is(Class::Quiet, &place),
                        // The same event, said of the return and not of the price. A second vendor ends both.
                        ("unexplained_jump" | "outlier", 1) => is(Class::Split, &place),
                        ("thin_session", 1) => world.rows.get(&place).is_some_and(|c| c.is_thin(c.regular_first)),
                        ("thin_session", 2) => is(Class::Thin, &place),
                        _ => false,
                    }
            };
            let colours = |r: &&&str| Reason::ALL.iter().any(|x| x.name == **r && x.verdict != Verdict::Green);
            let strange: Vec<&'static str> =
                said.reasons.iter().filter(colours).filter(|r| !known(r)).copied().collect();
            if !strange.is_empty() {
                out.entry(place).or_default().extend(strange);
            }
        }
    }
    out
}
