//! What the tokens of a market stand for, from one look at the markets to the next, restarts included.
//!
//! A book says which token it is of and not which outcome: where the two change places, every row since is of the other side.

use super::parse::Market;
use crate::quarantine::{Acts, seen};
use datanode_schema::names::Dataset;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::COUNTERS;
use std::collections::BTreeSet;

/// A market as it was described: its condition id, and (token, outcome).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    market: String,
    tokens: Vec<(String, String)>,
}

impl Described {
    pub(super) fn of(m: &Market) -> Self {
        let mut tokens: Vec<_> = m.tokens.iter().cloned().zip(m.outcomes.iter().cloned()).collect();
        tokens.sort();
        Self { market: m.condition.clone(), tokens }
    }

    /// First 8 bytes of BLAKE3 over tokens and outcomes; the order in which the vendor lists them does not matter.
    fn hash(&self) -> u64 {
        let mut h = blake3::Hasher::new_derive_key("datanode 2026 token outcomes v1");
        for part in self.tokens.iter().flat_map(|(t, o)| [t, o]) {
            h.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        h.finalize().as_bytes().first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b))
    }
}

/// Compares the collected markets with the look before, reports those that changed, and remembers this one. `day` is the day number
/// of the look.
pub(super) fn compare(
    acts: &Acts,
    described: &[Described],
    collected: &BTreeSet<String>,
    day: i32,
) -> Result<(), StoreError> {
    let store = acts.store();
    let mut batch = Batch::new();
    for d in described.iter().filter(|d| collected.contains(&d.market)) {
        let (key, hash) = (format!("outcomes/{}", d.market), d.hash());
        let before = store.load(&COUNTERS, &key)?;
        if before == Some(hash) {
            continue;
        }
        if before.is_some() {
            let now: Vec<String> = d.tokens.iter().map(|(t, o)| format!("{} {o}", super::parse::cut(t))).collect();
            let why = format!("its tokens stand for other outcomes than before; now {}", now.join(", "));
            seen::outcomes_changed(acts, Dataset::PredictionBooks, &d.market, day, &why);
        }
        batch.put(&COUNTERS, &key, &hash)?;
    }
    if batch.is_empty() {
        return Ok(());
    }
    store.commit(batch).map(|_| ())
}
