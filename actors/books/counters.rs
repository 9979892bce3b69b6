//! What the collector counted, and what it lacks.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Everything that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Ticks of the cadence that have begun: snapshots and gaps.
    pub ticks: u64,
    /// Rounds in which every book was asked for.
    pub snapshots: u64,
    /// Ticks without a round: the vendor rested, or the machine was late.
    pub missed_ticks: u64,
    /// Books that came and were kept.
    pub books: u64,
    /// Requests that went out.
    pub requests: u64,
    /// 429.
    pub rate_limited: u64,
    /// 403, or a page where JSON is expected.
    pub blocked: u64,
    /// 5xx, broken or slow answers, answers that do not parse.
    pub failed: u64,
    /// Rounds that our own budget ended.
    pub budget_spent: u64,
    /// Discoveries that came to their end.
    pub discoveries: u64,
    /// Markets whose outcomes and tokens do not belong together.
    pub mapping_rejected: u64,
    /// Books that were not asked for, have no end, or do not parse.
    pub books_rejected: u64,
    /// Books whose best bid is not below the best ask; kept.
    pub crossed: u64,
    /// Books with a price outside 0 to 1 or a negative size; kept.
    pub odd: u64,
    /// Tokens without an order book any more.
    pub gone: u64,
    /// Files closed.
    pub closed_files: u64,
    /// Of those, files that an earlier process left open.
    pub recovered_files: u64,
    /// Books in those.
    pub recovered_books: u64,
}

/// What is known of one token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MarketSeen {
    /// Condition id of its market.
    pub market: String,
    /// Token id.
    pub asset_id: String,
    /// Snapshots that were due.
    pub expected: u64,
    /// Snapshots that came.
    pub got: u64,
    /// The longest time without one so far, in seconds.
    pub longest_silence_seconds: u64,
    /// Whether it is collected now.
    pub open: bool,
    #[serde(skip)]
    last_ms: u64,
    #[serde(skip)]
    longest_ms: u64,
}

/// Counters and tokens together.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// See there.
    pub counters: Counters,
    markets: BTreeMap<String, MarketSeen>,
}

/// The running collector's tally, for those who look at it.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Tally>>);

/// Tokens that are remembered; closed ones are forgotten above this.
const MOST: usize = 20_000;

impl Board {
    /// Reads or writes the tally. A poisoned one stays usable: it only counts.
    pub fn with<T>(&self, f: impl FnOnce(&mut Tally) -> T) -> T {
        match self.0.lock() {
            Ok(mut t) => f(&mut t),
            Err(poisoned) => f(&mut poisoned.into_inner()),
        }
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        self.with(|t| t.counters)
    }

    /// Every token, those with the most gaps first; silences count up to `now_ms`.
    pub fn markets(&self, now_ms: u64) -> Vec<MarketSeen> {
        let mut all: Vec<MarketSeen> = self.with(|t| t.markets.values().cloned().collect());
        for m in &mut all {
            let running = if m.open { now_ms.saturating_sub(m.last_ms) } else { 0 };
            m.longest_silence_seconds = m.longest_ms.max(running) / 1000;
        }
        all.sort_by(|a, b| {
            let gaps = |m: &MarketSeen| m.expected.saturating_sub(m.got);
            gaps(b).cmp(&gaps(a)).then(a.market.cmp(&b.market)).then(a.asset_id.cmp(&b.asset_id))
        });
        all
    }
}

impl Tally {
    /// The set is now this: (token, market). A token that is new is silent from now on.
    pub fn set(&mut self, tokens: &[(String, String)], now_ms: u64) {
        for m in self.markets.values_mut() {
            m.open = false;
        }
        for (asset, market) in tokens {
            let seen = self.markets.entry(asset.clone()).or_insert_with(|| MarketSeen {
                market: market.clone(),
                asset_id: asset.clone(),
                last_ms: now_ms,
                ..MarketSeen::default()
            });
            seen.open = true;
        }
        if self.markets.len() > MOST {
            self.markets.retain(|_, m| m.open);
        }
    }

    /// So many snapshots of every open token were due.
    pub fn due(&mut self, ticks: u64) {
        for m in self.markets.values_mut().filter(|m| m.open) {
            m.expected = m.expected.saturating_add(ticks);
        }
    }

    /// A token's book came.
    pub fn got(&mut self, asset: &str, now_ms: u64) {
        if let Some(m) = self.markets.get_mut(asset) {
            m.got += 1;
            m.longest_ms = m.longest_ms.max(now_ms.saturating_sub(m.last_ms));
            m.last_ms = now_ms;
        }
    }

    /// A token has no book any more.
    pub fn gone(&mut self, asset: &str) {
        if let Some(m) = self.markets.get_mut(asset) {
            m.open = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_was_due_and_did_not_come() {
        let b = Board::default();
        b.with(|t| {
            t.set(&[("1".into(), "m".into()), ("2".into(), "m".into())], 1_000);
            t.due(3);
            t.got("1", 2_000);
            t.got("1", 9_000);
            t.gone("2");
            t.due(2);
        });
        let all = b.markets(10_000);
        let line = |m: &MarketSeen| (m.asset_id.clone(), m.expected, m.got, m.longest_silence_seconds, m.open);
        assert_eq!(
            all.iter().map(line).collect::<Vec<_>>(),
            [("1".into(), 5, 2, 7, true), ("2".into(), 3, 0, 0, false)]
        );
    }
}
