//! What the claims know between two messages, and the choice: whose turn, which tasks, who else could take them. No I/O
//! but reading pages of the store.

use super::claims::{Claimed, Next, Told};
use super::health::{Fitness, Health};
use super::index::{Batch as Tasks, Index, Lane, Part};
use super::lens::{Class, Lens};
use super::{Learned, Purse, QueueError};
use crate::node::{Node, RunContext};
use crate::vendor::{Ask, Purpose};
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::keys::{BookmarkKey, CapabilityKey, EVERY_SYMBOL, Month, PageKey};
use datanode_schema::names::{Dataset, Outcome, Vendor};
use datanode_schema::records::Lease;
use datanode_schema::registry::Registry;
use datanode_schema::store::Batch;
use datanode_schema::trees::{COUNTERS, DEMOTIONS, GAPS, LEASES, STANDINGS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The counter that fencing numbers are reserved from.
pub(super) const FENCE: &str = "fence";
/// Fencing numbers that are reserved with one commit.
pub(super) const RESERVE: u64 = 10_000;
/// A vendor whose next token is farther away than this cannot take anything now.
pub(super) const NEAR_MS: u64 = 250;
/// A vendor whose next token is farther away than this has no more part in the stage.
const LONGEST_WAIT_MS: u64 = 120_000;
/// The slow tick: what a lost hint costs at most.
const TICK_MS: u64 = 100;
/// The first rest of a page after a failure, in milliseconds.
const REST_MS: u64 = 400;

/// One lease.
pub(super) struct Work {
    pub(super) vendor: Vendor,
    pub(super) dataset: Dataset,
    pub(super) parts: Vec<Part>,
    /// The last day number that is asked for.
    to: i32,
    /// See [`Ask::certain`].
    certain: bool,
    pub(super) deadline_ms: u64,
    /// Its answer is being kept: it cannot expire any more.
    pub(super) kept: bool,
    /// It has expired: its answer cannot be kept any more.
    pub(super) over: bool,
}

/// What is known between two messages.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) index: Option<Index>,
    stage: Option<(Arc<Registry>, Purpose)>,
    pub(super) run: String,
    pub(super) purses: BTreeMap<Vendor, Purse>,
    pub(super) health: BTreeMap<Vendor, Health>,
    pub(super) paused: BTreeSet<Vendor>,
    pub(super) learned: Learned,
    unwritten: BTreeSet<(Vendor, Dataset)>,
    pub(super) work: BTreeMap<u64, Work>,
    turns: BTreeMap<Vendor, u64>,
    pub(super) here: BTreeMap<Vendor, u64>,
    pub(super) again: BTreeMap<Vendor, VecDeque<Ask>>,
    pub(super) next_fence: u64,
    pub(super) reserved: u64,
}

impl Inner {
    /// Every enabled vendor is taken to be there until it has been silent for long.
    pub(super) fn everyone_is_here(&mut self, node: &Node) {
        let now_ms = node.clock.since_boot_ms();
        self.here = node.enabled.iter().map(|v| (*v, now_ms)).collect();
    }

    /// The vendor asks for work.
    pub(super) fn seen(&mut self, vendor: Vendor, now_ms: u64) {
        self.here.insert(vendor, now_ms);
    }

    pub(super) fn rebuild(&mut self, node: &Node, run: &RunContext, purpose: Purpose) -> Result<(), QueueError> {
        let registry = node.registry();
        let now = node.clock.now();
        let days = run.days();
        let lens = Lens::new(&registry, &node.enabled, purpose, now, run.today(), days, run.as_of);
        let mut index = Index::new(lens, now.timestamp());
        if let Some(mut before) = self.index.take() {
            index = index.with_numbers_of(&mut before);
            if self.run == run.id {
                index.go_on_from(before);
            }
        }
        for (k, d) in node.store.load_all(&DEMOTIONS, &[])? {
            let series = index.series(k.dataset, &k.symbol);
            index.set_demotions(series, k.vendor, Some(d));
        }
        let now_ms = node.clock.since_boot_ms();
        node.store.scan(&GAPS, &[], |k, page| {
            if k.month.first_day() <= days.1 && k.month.first_day() + 31 > days.0 {
                let series = index.series(k.dataset, &k.symbol);
                index.put((series, k.month.0), &page.native().groups, now_ms);
            }
            ControlFlow::Continue(())
        })?;
        // What is under way stays given out until it ends, and that is now, where its answer is not being kept.
        for w in self.work.values_mut() {
            w.deadline_ms = w.deadline_ms.min(now_ms);
        }
        self.index = Some(index);
        self.run.clone_from(&run.id);
        self.stage = Some((registry, purpose));
        Ok(())
    }

    /// What changed by itself: rests that are over, and a registry that was read anew.
    pub(super) fn refresh(&mut self, node: &Node, run: &RunContext, now_ms: u64) -> Result<(), QueueError> {
        if let Some((registry, purpose)) = self.stage.clone()
            && self.work.is_empty()
            && !Arc::ptr_eq(&registry, &node.registry())
        {
            self.rebuild(node, run, purpose)?;
        }
        let rested = self.index.as_mut().map(|i| i.rested(now_ms)).unwrap_or_default();
        for page in rested {
            let key = self.index.as_ref().and_then(|i| i.name(page.0)).map(|(dataset, symbol)| PageKey {
                dataset: *dataset,
                symbol: symbol.to_string(),
                month: Month(page.1),
            });
            if let Some(k) = key {
                self.read_page(node, &k, now_ms)?;
            }
        }
        Ok(())
    }

    pub(super) fn choose(&mut self, node: &Node, vendor: Vendor, now_ms: u64) -> Result<(Ask, Vec<Part>), Next> {
        if self.paused.contains(&vendor) {
            return Err(Next::Done);
        }
        let busy = self.work.values().filter(|w| w.vendor == vendor).count();
        match self.health.entry(vendor).or_default().fitness(now_ms) {
            Fitness::Out | Fitness::Refused => return Err(Next::Done),
            Fitness::Rests(ms) => return Err(Next::Wait(ms.min(TICK_MS))),
            Fitness::Probe if busy > 0 => return Err(Next::Wait(TICK_MS)),
            Fitness::Fit | Fitness::Probe => {}
        }
        let token = self.purses.get(&vendor).map_or(0, Purse::wait_ms);
        // Spent for the day, or closed for longer than any minute's window: not in this stage.
        if token > LONGEST_WAIT_MS {
            return Err(Next::Done);
        }
        let Some((registry, purpose)) = self.stage.clone() else { return Err(Next::Done) };
        if token <= NEAR_MS
            && let Some(found) = self.pick(node, &registry, vendor, purpose, now_ms)
        {
            return found;
        }
        self.nothing_now(vendor, now_ms, token)
    }

    fn pick(
        &mut self,
        node: &Node,
        registry: &Registry,
        vendor: Vendor,
        purpose: Purpose,
        now_ms: u64,
    ) -> Option<Result<(Ask, Vec<Part>), Next>> {
        let better = self.better(node, registry, vendor, now_ms);
        let turn = self.turns.entry(vendor).or_default();
        let classes = order(*turn);
        let index = self.index.as_mut()?;
        let may = |lane: &Lane| better.get(&lane.dataset).is_some_and(|above| lane.open_to & above == 0);
        match index.pick(vendor, classes, may) {
            Ok(tasks) => {
                *turn += 1;
                let parts = tasks.parts.clone();
                Some(Ok((ask_of(registry, vendor, purpose, tasks), parts)))
            }
            Err(blocked) => {
                if let Some(ask) = self.again.get_mut(&vendor).and_then(VecDeque::pop_front) {
                    return Some(Ok((ask, Vec::new())));
                }
                blocked.then_some(Err(Next::Wait(TICK_MS / 4)))
            }
        }
    }

    /// Nothing now: later, or not at all.
    fn nothing_now<T>(&self, vendor: Vendor, now_ms: u64, token: u64) -> Result<T, Next> {
        let rest = self.index.as_ref().and_then(|i| i.next_rest(now_ms));
        let open = self.index.as_ref().is_some_and(|i| i.has_for(vendor));
        let again = self.again.get(&vendor).is_some_and(|q| !q.is_empty());
        if token > NEAR_MS && (open || again) {
            return Err(Next::Wait(token.min(TICK_MS)));
        }
        // What another vendor is at work on may come back.
        if rest.is_some() || !self.work.is_empty() {
            return Err(Next::Wait(rest.unwrap_or(TICK_MS).min(TICK_MS)));
        }
        Err(Next::Done)
    }

    /// The lease over days of a page.
    pub(super) fn lease_over(&self, dataset: Dataset, symbol: &str, month: Month, days: u32) -> Option<u64> {
        let index = self.index.as_ref()?;
        let here = |p: &Part| {
            p.page.1 == month.0
                && p.days & days != 0
                && index.name(p.page.0).is_some_and(|(d, s)| *d == dataset && &**s == symbol)
        };
        self.work.iter().find(|(_, w)| w.parts.iter().any(here)).map(|(id, _)| *id)
    }

    pub(super) fn lease(
        &mut self,
        node: &Node,
        ask: Ask,
        parts: Vec<Part>,
        now_ms: u64,
    ) -> Result<(Claimed, Batch), QueueError> {
        if self.next_fence > self.reserved {
            let mut batch = Batch::new();
            batch.put(&COUNTERS, &FENCE.to_owned(), &(self.reserved + RESERVE))?;
            node.store.commit(batch)?;
            self.reserved += RESERVE;
        }
        let id = self.next_fence;
        self.next_fence += 1;
        let lease = Lease {
            vendor: ask.vendor.number(),
            dataset: ask.dataset.number(),
            symbol: ask.symbols.join(","),
            from: day_number(ask.from),
            to: day_number(ask.to),
            fence: id,
            holder: node.holder,
            boot_id: node.boot_id.clone(),
            deadline_ms: now_ms + node.lease_ms,
            claimed_at: node.clock.now().timestamp(),
        };
        let mut batch = self.standings()?;
        batch.put(&LEASES, &id, &lease)?;
        let work = Work {
            vendor: ask.vendor,
            dataset: ask.dataset,
            parts,
            to: lease.to,
            certain: ask.certain,
            deadline_ms: lease.deadline_ms,
            kept: false,
            over: false,
        };
        self.work.insert(id, work);
        Ok((Claimed { ask, id, lease }, batch))
    }

    /// What was learned since it was last written.
    pub(super) fn standings(&mut self) -> Result<Batch, QueueError> {
        let mut batch = Batch::new();
        for (vendor, dataset) in std::mem::take(&mut self.unwritten) {
            if let Some(s) = self.learned.0.get(&(vendor, dataset)) {
                batch.put(&STANDINGS, &CapabilityKey { vendor, dataset }, s)?;
            }
        }
        Ok(batch)
    }

    pub(super) fn note(&mut self, node: &Node, ask: &Ask, told: Told, now_ms: u64) {
        let health = self.health.entry(ask.vendor).or_default();
        let good = match told.outcome {
            _ if told.key_refused => {
                health.refuse_key();
                return;
            }
            Some(Outcome::Filled | Outcome::Short | Outcome::Empty) => {
                health.answered();
                true
            }
            // What a plan does not include is learned by day and symbol; it says nothing about how well the vendor answers.
            Some(Outcome::NotEntitled | Outcome::Refused) => {
                health.answered();
                return;
            }
            Some(Outcome::Error | Outcome::Unparsable) => {
                health.failed(now_ms, rand::random());
                false
            }
            Some(Outcome::RateLimited) => {
                health.limited();
                return;
            }
            None => return,
        };
        self.learned.learn(ask.vendor, ask.dataset, good, told.latency_ms, node.clock.now().timestamp());
        self.unwritten.insert((ask.vendor, ask.dataset));
    }

    pub(super) fn put_back(
        &mut self,
        node: &Node,
        work: &Work,
        outcome: Option<Outcome>,
        now_ms: u64,
    ) -> Result<(), QueueError> {
        let today = day_number(node.clock.now().date_naive());
        let Some(index) = self.index.as_mut() else { return Ok(()) };
        index.give_back(&work.parts);
        match outcome {
            Some(Outcome::Error | Outcome::Unparsable) | None => {
                index.strike(work.vendor, &work.parts, now_ms, REST_MS);
            }
            // Days to come are refused without the vendor's being demoted: enough for this run.
            Some(Outcome::NotEntitled | Outcome::Refused) if work.certain && work.to >= today => {
                index.bar(work.vendor, &work.parts);
            }
            // A part of it is meant, perhaps: one symbol of several, the newest days. It is asked for in smaller parts.
            Some(Outcome::NotEntitled | Outcome::Refused) => index.narrow(work.vendor, &work.parts),
            Some(_) => index.widen(work.vendor, &work.parts),
        }
        let refused = matches!(outcome, Some(Outcome::NotEntitled | Outcome::Refused));
        let mut months: BTreeSet<(u32, u32)> = work.parts.iter().map(|p| p.page).collect();
        if refused {
            // The refusal is about the symbol: its other pages look different too.
            let all: BTreeSet<u32> = months.iter().map(|p| p.0).collect();
            for series in all {
                months.extend(self.read_demotions(node, series, work.vendor)?);
            }
        }
        for page in months {
            let key = self.index.as_ref().and_then(|i| i.name(page.0)).map(|(_, s)| s.to_string());
            let Some(symbol) = key else { continue };
            let key = PageKey { dataset: work.dataset, symbol, month: Month(page.1) };
            self.read_page(node, &key, now_ms)?;
        }
        Ok(())
    }

    fn read_demotions(&mut self, node: &Node, series: u32, vendor: Vendor) -> Result<Vec<(u32, u32)>, QueueError> {
        let Some(index) = self.index.as_mut() else { return Ok(Vec::new()) };
        let Some((dataset, symbol)) = index.name(series).cloned() else { return Ok(Vec::new()) };
        let key = BookmarkKey { dataset, symbol: symbol.to_string(), vendor };
        index.set_demotions(series, vendor, node.store.load(&DEMOTIONS, &key)?);
        let all = BookmarkKey { symbol: EVERY_SYMBOL.to_owned(), ..key };
        let wide = node.store.load(&DEMOTIONS, &all)?;
        let every = index.series(dataset, EVERY_SYMBOL);
        let changed = index.set_demotions(every, vendor, wide);
        Ok(if changed { index.pages_in(dataset) } else { index.pages_of(series) })
    }

    pub(super) fn read_page(&mut self, node: &Node, key: &PageKey, now_ms: u64) -> Result<(), QueueError> {
        let Some(index) = self.index.as_mut() else { return Ok(()) };
        let groups = node.store.get(&GAPS, key, |p| p.native().groups)?.unwrap_or_default();
        let series = index.series(key.dataset, &key.symbol);
        index.put((series, key.month.0), &groups, now_ms);
        Ok(())
    }
}

/// The order of the classes at a vendor's turn: today first, but every fourth turn what is recent, and every eighth what
/// is history, so that none starves.
pub(super) fn order(turn: u64) -> [Class; 3] {
    match turn % 8 {
        7 => [Class::History, Class::Recent, Class::Today],
        3 => [Class::Recent, Class::Today, Class::History],
        _ => [Class::Today, Class::Recent, Class::History],
    }
}

fn ask_of(registry: &Registry, vendor: Vendor, purpose: Purpose, tasks: Tasks) -> Ask {
    let c = registry.capability(vendor, tasks.dataset);
    let (from, to) = (tasks.days.first().copied().unwrap_or(0), tasks.days.last().copied().unwrap_or(0));
    let (from, to) = (date_of(from), date_of(to));
    let whole = registry.rule(tasks.dataset).is_some_and(|r| r.calendar().count(from, to) == tasks.days.len());
    Ask {
        vendor,
        dataset: tasks.dataset,
        symbols: tasks.symbols,
        from,
        to,
        feed: c.map(|c| c.feed.clone()).unwrap_or_default(),
        adjustment: c.map(|c| c.adjustment.clone()).unwrap_or_default(),
        max_rows: c.map_or(1, |c| c.max_rows),
        purpose,
        certain: tasks.certain,
        // Where every session of the window is asked for, days outside the calendar are taken too.
        days: if whole { Vec::new() } else { tasks.days },
    }
}
