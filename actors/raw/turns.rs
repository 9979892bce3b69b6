//! Turns: files and pages of one symbol are read, merged and written by one worker at a time.

use datanode_schema::names::Dataset;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard};

const STRIPES: usize = 64;

/// Locks by (dataset, symbol), striped.
pub struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    /// Waits for every turn there is: for who looks at all symbols.
    pub fn all(&self) -> Vec<MutexGuard<'_, ()>> {
        self.0.iter().filter_map(|m| m.lock().ok()).collect()
    }

    /// Waits for the turn of every symbol; taken in one order, so two workers never wait for each other.
    pub fn take(&self, dataset: Dataset, symbols: &[String]) -> Vec<MutexGuard<'_, ()>> {
        let stripe = |s: &String| {
            let mut h = DefaultHasher::new();
            (dataset, s).hash(&mut h);
            usize::try_from(h.finish() % STRIPES as u64).unwrap_or(0)
        };
        let wanted: BTreeSet<usize> = symbols.iter().map(stripe).collect();
        wanted.into_iter().filter_map(|i| self.0.get(i)?.lock().ok()).collect()
    }
}
