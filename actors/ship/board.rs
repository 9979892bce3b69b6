//! What is under way, for whoever asks: one line a destination. It is lost with the process; what arrived is in the store.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The pack that is on its way; empty: none.
    pub pack: String,
    /// `plain` or `sealed`.
    pub form: String,
    /// Objects that are there.
    pub objects_done: u64,
    /// Objects of the pack.
    pub objects: u64,
    /// Bytes that are there.
    pub bytes_done: u64,
    /// Bytes of the pack.
    pub bytes: u64,
    /// Milliseconds since boot when the pack was begun.
    pub since_ms: u64,
    /// Why the last attempt of this process failed; empty: it did not.
    pub last_error: String,
    /// Unix seconds of it.
    pub last_error_at: i64,
}

impl Progress {
    /// Bytes a second so far.
    pub fn rate(&self, now_ms: u64) -> u64 {
        let rate = u128::from(self.bytes_done) * 1000 / u128::from(now_ms.saturating_sub(self.since_ms).max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// The board.
#[derive(Debug, Default)]
pub struct Board {
    lines: Mutex<BTreeMap<String, Progress>>,
    trusted: Mutex<Trust>,
    turn: Mutex<()>,
}

/// The destinations that were looked at since the last reload.
#[derive(Debug, Default)]
struct Trust {
    reloads: u64,
    names: BTreeSet<String>,
}

fn open<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// A destination's line.
    pub fn of(&self, destination: &str) -> Progress {
        open(&self.lines).get(destination).cloned().unwrap_or_default()
    }

    pub(super) fn change(&self, destination: &str, change: impl FnOnce(&mut Progress)) {
        change(open(&self.lines).entry(destination.to_owned()).or_default());
    }

    /// Whether this process has looked at a destination and found it good, or accepted.
    pub(super) fn is_trusted(&self, destination: &str) -> bool {
        open(&self.trusted).names.contains(destination)
    }

    /// How often destinations were reloaded: what is seen of one holds only while this is the same.
    pub(super) fn reloads(&self) -> u64 {
        open(&self.trusted).reloads
    }

    /// Trusts a destination that was looked at since so many reloads; a later one made it another.
    pub(super) fn trust(&self, destination: &str, reloads: u64) {
        let mut t = open(&self.trusted);
        if t.reloads == reloads {
            t.names.insert(destination.to_owned());
        }
    }

    /// Held while what is on record of a destination is compared and changed: it may be looked at twice at once.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        open(&self.turn)
    }

    /// Destinations are looked at again before anything goes to them: they are others now, or have other keys.
    pub fn distrust_all(&self) {
        let mut t = open(&self.trusted);
        t.reloads += 1;
        t.names.clear();
    }
}
