//! Spot checks: partitions that one vendor gave are asked of a second one. Some of the newest are drawn each night, by the night's
//! date, so that the same night draws the same ones whenever it is begun again; and every jump that nothing explains is put
//! to another vendor once, some a night. What comes in is raw like any other answer, and is compared when it is curated.

use super::QueueError;
use super::lens::{last_sessions, window};
use super::score::Shape;
use crate::node::{Node, RunContext};
use crate::vendor::{Ask, Purpose};
use datanode_schema::clock::date_of;
use datanode_schema::keys::{BookmarkKey, EVERY_SYMBOL, HoldingKey, Month, PageKey};
use datanode_schema::names::{Dataset, Reason, Vendor};
use datanode_schema::records::{Demotions, bits};
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::trees::{BOOKMARKS, DEMOTIONS, HOLDINGS, LEDGER, SECONDS, SUSPECTS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

/// Jumps of one dataset that are put to a second vendor in one night.
const JUMPS: usize = 20;

/// The partitions that go into one ask: one day of several symbols.
type Group = (Dataset, Vendor, i32);

/// The asks of tonight, by vendor.
pub(super) fn plan(node: &Node, run: &RunContext) -> Result<BTreeMap<Vendor, VecDeque<Ask>>, QueueError> {
    let registry = node.registry();
    let mut groups: BTreeMap<Group, BTreeSet<String>> = BTreeMap::new();
    for (dataset, rule) in registry.datasets.iter().filter(|(_, r)| r.spot_checks > 0) {
        let enabled = registry.ranked(*dataset).into_iter().filter(|(v, _)| node.enabled.contains(v));
        if enabled.count() < 2 {
            continue;
        }
        let night = Night { node, run, registry: &registry, dataset: *dataset };
        for (vendor, symbol, day) in night.drawn(rule)?.into_iter().chain(night.jumps()?) {
            groups.entry((*dataset, vendor, day)).or_default().insert(symbol);
        }
    }
    let mut out: BTreeMap<Vendor, VecDeque<Ask>> = BTreeMap::new();
    for ((dataset, vendor, day), symbols) in groups {
        let (Some(rule), Some(c)) = (registry.rule(dataset), registry.capability(vendor, dataset)) else { continue };
        let shape = Shape::of(rule, c);
        let symbols: Vec<String> = symbols.into_iter().collect();
        // As of the lookback: the symbols stand in a lease, which is a record.
        for some in symbols.chunks(shape.symbols.min(shape.rows).clamp(1, 90)) {
            out.entry(vendor).or_default().push_back(Ask {
                vendor,
                dataset,
                symbols: some.to_vec(),
                from: date_of(day),
                to: date_of(day),
                feed: c.feed.clone(),
                adjustment: c.adjustment.clone(),
                max_rows: c.max_rows,
                purpose: Purpose::SpotCheck,
                certain: false,
                days: vec![day],
            });
        }
    }
    Ok(out)
}

struct Night<'a> {
    node: &'a Node,
    run: &'a RunContext,
    registry: &'a Registry,
    dataset: Dataset,
}

impl Night<'_> {
    /// Where a partition comes in the order of the night.
    fn lot(&self, symbol: &str, day: i32) -> u64 {
        let text = format!("{} {} {symbol} {day}", self.run.as_of, self.dataset);
        blake3::hash(text.as_bytes()).as_bytes().first_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b))
    }

    /// So many of the newest partitions as the rule says, the first ones of the night's order. Those that were compared
    /// already count: else a night that is begun again would draw others.
    fn drawn(&self, rule: &DatasetRule) -> Result<Vec<(Vendor, String, i32)>, QueueError> {
        let (first, last) = self.run.days();
        let mut days = last_sessions(rule, self.run.as_of, rule.recent_sessions);
        days.retain(|d| first <= *d && *d <= last);
        let symbols = self.registry.universe.datasets.get(&self.dataset);
        let mut lots: Vec<(u64, &str, i32)> = symbols
            .into_iter()
            .flat_map(|m| m.keys())
            .flat_map(|s| days.iter().map(|d| (self.lot(s, *d), s.as_str(), *d)))
            .collect();
        lots.sort_unstable();
        let (mut out, mut drawn) = (Vec::new(), 0);
        for (_, symbol, day) in lots {
            if drawn >= rule.spot_checks {
                break;
            }
            let held = self.held(symbol, day)?;
            if held.is_empty() {
                continue;
            }
            let second = self.second(symbol, day, &held)?;
            drawn += u32::from(second.is_some() || held.len() > 1);
            if held.len() == 1 {
                out.extend(second.map(|v| (v, symbol.to_owned(), day)));
            }
        }
        Ok(out)
    }

    /// Jumps without an explanation that were found on a day before this run's, and of which no second vendor has said anything.
    fn jumps(&self) -> Result<Vec<(Vendor, String, i32)>, QueueError> {
        let (first, last) = self.run.days();
        let mut lots: Vec<(u64, String, i32)> = Vec::new();
        for (key, _) in self.node.store.load_all(&SUSPECTS, &[self.dataset.number()])? {
            let seconds = self.node.store.load(&SECONDS, &key)?.unwrap_or_default();
            let page = self.node.store.load(&LEDGER, &key)?.unwrap_or_default();
            for d in page.days(key.month.first_day()) {
                let found = d.updated_at.div_euclid(86_400) < i64::from(self.run.today());
                let jump = d.rows > 0 && d.reasons & Reason::UNEXPLAINED_JUMP.bit != 0;
                let open = !seconds.days.iter().any(|s| s.day == d.day);
                if jump && found && open && first <= d.day && d.day <= last {
                    lots.push((self.lot(&key.symbol, d.day), key.symbol.clone(), d.day));
                }
            }
        }
        lots.sort_unstable();
        let mut out = Vec::new();
        for (_, symbol, day) in lots {
            let held = self.held(&symbol, day)?;
            out.extend(self.second(&symbol, day, &held)?.map(|v| (v, symbol, day)));
            if out.len() >= JUMPS {
                break;
            }
        }
        Ok(out)
    }

    /// Who has given the partition.
    fn held(&self, symbol: &str, day: i32) -> Result<BTreeSet<Vendor>, QueueError> {
        let month = Month::of(date_of(day));
        let mut out = BTreeSet::new();
        self.node.store.scan(&HOLDINGS, &HoldingKey::of_month(self.dataset, symbol, month), |k, page| {
            if bits(page.days_with_rows()).any(|n| month.first_day() + n == day) {
                out.insert(k.vendor);
            }
            ControlFlow::Continue(())
        })?;
        Ok(out)
    }

    /// The best of the other vendors that has the day, refuses nothing of the symbol, was not asked today, and has not said that it has
    /// nothing.
    fn second(&self, symbol: &str, day: i32, held: &BTreeSet<Vendor>) -> Result<Option<Vendor>, QueueError> {
        let store = &self.node.store;
        let page = PageKey { dataset: self.dataset, symbol: symbol.to_owned(), month: Month::of(date_of(day)) };
        let seconds = store.load(&SECONDS, &page)?.unwrap_or_default();
        let now = self.node.clock.now();
        for (vendor, c) in self.registry.ranked(self.dataset) {
            let (from, to) = window(c, now);
            let had_nothing = seconds.days.iter().any(|s| s.day == day && s.vendor == vendor.number());
            let enabled = self.node.enabled.contains(&vendor);
            if held.contains(&vendor) || !enabled || had_nothing || day < from || to < day {
                continue;
            }
            let key = BookmarkKey { dataset: self.dataset, symbol: symbol.to_owned(), vendor };
            let every = BookmarkKey { symbol: EVERY_SYMBOL.to_owned(), ..key.clone() };
            let looked = store.load(&BOOKMARKS, &key)?.map_or(0, |b| b.looked_at);
            let mut refused = looked.div_euclid(86_400) >= i64::from(self.run.today());
            for k in [&key, &every] {
                // Whatever the days: what need not be asked is not asked of who has just refused the symbol.
                let standing = |d: Demotions| d.windows.iter().any(|w| w.until > now.timestamp());
                refused |= store.load(&DEMOTIONS, k)?.is_some_and(standing);
            }
            if !refused {
                return Ok(Some(vendor));
            }
        }
        Ok(None)
    }
}
