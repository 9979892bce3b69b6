//! Dibs: a vendor may claim what every better one cannot take now.

use super::dispatch::{Inner, NEAR_MS};
use super::health::Fitness;
use super::lens::bit;
use super::{Purse, score};
use crate::node::Node;
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::registry::Registry;
use std::collections::BTreeMap;

/// A vendor that has asked for nothing for so long, and works on nothing, is not there.
const ABSENT_MS: u64 = 2_000;

/// How a vendor stands with the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ability {
    /// It takes what it is given.
    Able,
    /// It is busy, and what it is busy for may go to others.
    Busy,
    /// It is busy, and what waits for it is not given to others.
    BusyAlone,
    /// It cannot be asked now: paused, resting, out of tokens, refused.
    Unable,
}

impl Inner {
    /// For each dataset the vendors that have a better score than `vendor` and can take something now.
    pub(super) fn better(
        &self,
        node: &Node,
        registry: &Registry,
        vendor: Vendor,
        now_ms: u64,
    ) -> BTreeMap<Dataset, u16> {
        let mut out = BTreeMap::new();
        for dataset in registry.datasets.keys() {
            let Some(own) = self.score(registry, vendor, *dataset) else { continue };
            let mut above = 0;
            for rival in node.enabled.iter().filter(|r| **r != vendor) {
                let Some(theirs) = self.score(registry, *rival, *dataset) else { continue };
                let ahead = (theirs, rival.number()) > (own, vendor.number());
                if ahead
                    && matches!(self.ability(registry, *rival, *dataset, now_ms), Ability::Able | Ability::BusyAlone)
                {
                    above |= bit(*rival);
                }
            }
            out.insert(*dataset, above);
        }
        out
    }

    pub(super) fn score(&self, registry: &Registry, vendor: Vendor, dataset: Dataset) -> Option<f64> {
        let (rule, caps) = (registry.rule(dataset)?, registry.vendors.get(&vendor)?);
        let standing = self.learned.0.get(&(vendor, dataset)).copied().unwrap_or_default();
        Some(score::terms(rule, caps.datasets.get(&dataset)?, &caps.limits, &standing, true).score)
    }

    pub(super) fn ability(&self, registry: &Registry, vendor: Vendor, dataset: Dataset, now_ms: u64) -> Ability {
        let fitness = self.health.get(&vendor).copied().unwrap_or_default().fitness(now_ms);
        if self.paused.contains(&vendor) || !matches!(fitness, Fitness::Fit | Fitness::Probe) {
            return Ability::Unable;
        }
        let Some(caps) = registry.vendors.get(&vendor) else { return Ability::Unable };
        let under_way = self.work.values().filter(|w| w.vendor == vendor).count();
        // Between two stages nobody asks for work, and nobody is absent.
        let idle = self.work.is_empty() && self.here.values().all(|t| t + ABSENT_MS < now_ms);
        if under_way == 0 && !idle && self.here.get(&vendor).is_none_or(|t| t + ABSENT_MS < now_ms) {
            return Ability::Unable;
        }
        let most = if fitness == Fitness::Probe { 1 } else { caps.limits.concurrency as usize };
        let busy = under_way >= most || self.purses.get(&vendor).map_or(0, Purse::wait_ms) > NEAR_MS;
        match (busy, caps.datasets.get(&dataset).is_none_or(|c| c.spill)) {
            (false, _) => Ability::Able,
            (true, true) => Ability::Busy,
            (true, false) => Ability::BusyAlone,
        }
    }
}
