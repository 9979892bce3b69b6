//! The decisions of every place, as a person sees them and as they are carried out.

use super::RetentionError;
use super::facts::{FORMS, Facts, place};
use super::rules::{Decision, Why, decide};
use crate::node::Node;
use datanode_schema::clock::{date_of, rfc3339, rfc3339_of};
use serde::Serialize;

/// The name of this disk among the places.
pub const LOCAL: &str = "here";

/// Where a pack is, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// [`LOCAL`], or a destination's name.
    #[serde(rename = "where")]
    pub name: String,
    /// `pack`, `plain` or `sealed`.
    pub form: &'static str,
}

/// A pack of a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Its export id.
    pub export_id: String,
    /// The last session considered.
    pub as_of: String,
    /// Bytes that its manifest names.
    pub bytes: u64,
    /// Whether it stays.
    pub keep: bool,
    /// Why it stays, or goes.
    pub why: Vec<String>,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// When it was made.
    pub now: String,
    /// What is wrong with the clock; then nothing is removed.
    pub clock: Option<String>,
    /// Every pack of every place, the newest first.
    pub rows: Vec<Row>,
    /// Packs that go.
    pub removals: u64,
    /// Hex, over what goes and from where: two plans with the same digest do the same.
    pub digest: String,
}

impl Plan {
    /// What goes from a place.
    pub(super) fn gone<'p>(&'p self, place: &'p Place) -> impl Iterator<Item = &'p Row> {
        self.rows.iter().filter(move |r| !r.keep && r.place == *place)
    }

    /// What stays at a place.
    pub(super) fn kept<'p>(&'p self, place: &'p Place) -> impl Iterator<Item = &'p Row> {
        self.rows.iter().filter(move |r| r.keep && r.place == *place)
    }
}

/// This disk.
pub(super) fn here() -> Place {
    place(LOCAL, "pack")
}

/// Makes the plan; nothing is changed. `current` is the run's own pack, which always stays; it may be empty.
///
/// # Errors
/// The store's.
pub fn plan(node: &Node, current: &str) -> Result<Plan, RetentionError> {
    let now = node.clock.now();
    let at = now.timestamp();
    let facts = Facts::read(node)?;
    let destinations = node.publishing.destinations.current();
    let mut decided: Vec<(Place, Vec<Decision>)> = Vec::new();
    decided.push((here(), decide(&facts.here(current, &destinations, at), Some(&node.publishing.keep), at)));
    for d in destinations.iter() {
        for form in FORMS {
            let mut all = facts.at(&d.name, form);
            for c in all.iter_mut().filter(|c| c.id == current) {
                c.held.push(Why::Current);
            }
            decided.push((place(&d.name, form), decide(&all, d.keep.as_ref(), at)));
        }
    }
    let clock = decided.iter().flat_map(|(_, d)| d).flat_map(|d| &d.why).find_map(|w| match w {
        Why::Clock(newest) => Some(format!(
            "the clock says {}, and the newest pack is of {}: set the clock; until then nothing is removed",
            rfc3339(now),
            rfc3339_of(*newest)
        )),
        _ => None,
    });
    if clock.is_some() {
        // One clock for all places.
        let all = decided.iter_mut().flat_map(|(_, d)| d).filter(|d| d.why.is_empty());
        all.for_each(|d| d.why.push(Why::Clock(at)));
    }
    let mut rows: Vec<Row> = Vec::new();
    for (place, decisions) in decided {
        rows.extend(decisions.into_iter().map(|d| row(&facts, &place, &d)));
        if clock.is_none() && place.name != LOCAL {
            let there = facts.arrived(&place.name, place.form);
            let left = facts
                .removing(&place.name, place.form)
                .into_iter()
                .filter(|id| !there.contains(id))
                .collect::<Vec<_>>();
            rows.extend(
                left.into_iter()
                    .map(|id| Row { why: vec!["its removal was begun".into()], ..row(&facts, &place, &none(id)) }),
            );
        }
    }
    let gone = || rows.iter().filter(|r| !r.keep);
    let mut h = blake3::Hasher::new_derive_key("datanode 2026 retention plan v1");
    for r in gone() {
        for part in [&r.place.name, r.place.form, &r.export_id] {
            h.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    let digest = h.finalize().to_hex().chars().take(32).collect();
    Ok(Plan { now: rfc3339(now), clock, removals: gone().count() as u64, digest, rows })
}

fn none(id: String) -> Decision {
    Decision { id, why: Vec::new() }
}

fn row(facts: &Facts<'_>, place: &Place, d: &Decision) -> Row {
    let keep = !d.why.is_empty();
    let why = if keep { d.why.iter().map(ToString::to_string).collect() } else { vec!["no rule keeps it".to_owned()] };
    let as_of = facts.packs.get(&d.id).map(|p| date_of(p.as_of).to_string()).unwrap_or_default();
    Row { place: place.clone(), export_id: d.id.clone(), as_of, bytes: facts.bytes(&d.id), keep, why }
}
