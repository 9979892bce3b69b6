//! What is open to whom, in memory: one slot for all days of a page that rank alike, in lanes of first come, first
//! served. Made from the gap pages when a stage begins, and again for a page whenever it changed; never the truth. Pure.

use super::lens::{Class, Lens, Mask, bit};
use datanode_schema::keys::{EVERY_SYMBOL, Month};
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::records::{Demotions, GapGroup, bits};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What all tasks of a lane have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lane {
    /// The class.
    pub class: Class,
    /// The dataset.
    pub dataset: Dataset,
    /// Who may be asked.
    pub open_to: Mask,
}

/// The place in a lane: discovery, month, series.
pub(super) type Entry = (i64, u32, u32);
/// A page: series, month.
pub type PageRef = (u32, u32);

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) lane: Lane,
    pub(super) days: u32,
    pub(super) discovered: i64,
}

/// Days of one page that were given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The page.
    pub page: PageRef,
    /// Its days.
    pub days: u32,
}

/// Tasks that one request can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The dataset.
    pub dataset: Dataset,
    /// The class of its first task.
    pub class: Class,
    /// The symbols, sorted.
    pub symbols: Vec<String>,
    /// The days, the same for all symbols.
    pub days: Vec<i32>,
    /// Where they are from.
    pub parts: Vec<Part>,
    /// See [`crate::vendor::Ask::certain`].
    pub certain: bool,
}

/// A vendor that failed for a page in this stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strike {
    times: u8,
    until_ms: u64,
}

/// A vendor that refused something of a page: it is asked for one symbol, and so many sessions, at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrow {
    pub(super) sessions: usize,
    /// Below this nothing is split any more.
    pub(super) least: usize,
}

/// A refused request is split down to this part of it.
const SPLIT: usize = 32;

/// Failures of one vendor at one page in a stage before it is left to others.
const MOST_STRIKES: u8 = 5;

/// The index.
pub struct Index {
    pub(super) lens: Lens,
    now_unix: i64,
    names: Vec<(Dataset, Arc<str>)>,
    ids: HashMap<(Dataset, Arc<str>), u32>,
    pub(super) pages: HashMap<PageRef, Vec<Slot>>,
    pub(super) lanes: BTreeMap<Lane, BTreeSet<Entry>>,
    leased: HashMap<PageRef, u32>,
    pub(super) strikes: HashMap<(PageRef, Vendor), Strike>,
    pub(super) narrowed: HashMap<(PageRef, Vendor), Narrow>,
    barred: HashMap<(PageRef, Vendor), u32>,
    due: BTreeSet<(u64, PageRef)>,
    demotions: HashMap<(u32, Vendor), Demotions>,
    pub(super) oldest: u32,
}

impl Index {
    /// An empty index.
    pub fn new(lens: Lens, now_unix: i64) -> Self {
        Self {
            lens,
            now_unix,
            names: Vec::new(),
            ids: HashMap::new(),
            pages: HashMap::new(),
            lanes: BTreeMap::new(),
            leased: HashMap::new(),
            strikes: HashMap::new(),
            narrowed: HashMap::new(),
            barred: HashMap::new(),
            due: BTreeSet::new(),
            demotions: HashMap::new(),
            oldest: u32::MAX,
        }
    }

    /// The number of a series.
    pub fn series(&mut self, dataset: Dataset, symbol: &str) -> u32 {
        if let Some((d, s)) = self.names.last()
            && *d == dataset
            && &**s == symbol
        {
            return u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX);
        }
        let key = (dataset, Arc::<str>::from(symbol));
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(key.clone());
        self.ids.insert(key, id);
        id
    }

    /// The series of a number.
    pub fn name(&self, series: u32) -> Option<&(Dataset, Arc<str>)> {
        self.names.get(series as usize)
    }

    /// Series keep their numbers, and what is under way stays given out: its parts are spoken of by these numbers when it ends.
    pub fn with_numbers_of(mut self, before: &mut Index) -> Self {
        self.names = std::mem::take(&mut before.names);
        self.ids = std::mem::take(&mut before.ids);
        self.leased = std::mem::take(&mut before.leased);
        self
    }

    /// The next stage of a run: what failed in the one before is still known.
    pub fn go_on_from(&mut self, before: Index) {
        self.strikes = before.strikes;
        self.narrowed = before.narrowed;
        self.barred = before.barred;
        self.due = before.due;
    }

    /// What a vendor is not to be asked for. Whether that is news.
    pub fn set_demotions(&mut self, series: u32, vendor: Vendor, d: Option<Demotions>) -> bool {
        let before = match d.clone() {
            Some(d) => self.demotions.insert((series, vendor), d),
            None => self.demotions.remove(&(series, vendor)),
        };
        before != d
    }

    /// Takes in a page as it now is; `now_ms` is time since boot.
    pub fn put(&mut self, page: PageRef, groups: &[GapGroup], now_ms: u64) {
        self.remove(page);
        let Some((dataset, _)) = self.name(page.0).cloned() else { return };
        let first = Month(page.1).first_day();
        let leased = self.leased.get(&page).copied().unwrap_or(0);
        let every = self.ids.get(&(dataset, Arc::<str>::from(EVERY_SYMBOL))).copied();
        let mut slots: Vec<Slot> = Vec::new();
        for g in groups.iter().filter(|g| self.lens.is_open(g)) {
            for n in bits(g.days & !leased) {
                let (class, open_to) =
                    self.lens.open_to(dataset, g, first + n, |v, day| self.refused(page, every, v, day, now_ms));
                if open_to == 0 {
                    continue;
                }
                let lane = Lane { class, dataset, open_to };
                match slots.iter_mut().find(|s| s.lane == lane && s.discovered == g.discovered_at) {
                    Some(s) => s.days |= 1 << n,
                    None => slots.push(Slot { lane, days: 1 << n, discovered: g.discovered_at }),
                }
            }
        }
        if slots.is_empty() {
            return;
        }
        for s in &slots {
            self.lanes.entry(s.lane).or_default().insert((s.discovered, page.1, page.0));
        }
        self.oldest = self.oldest.min(page.1);
        self.pages.insert(page, slots);
    }

    fn refused(&self, page: PageRef, every: Option<u32>, vendor: Vendor, day: i32, now_ms: u64) -> bool {
        if !self.strikes.is_empty() && self.strikes.get(&(page, vendor)).is_some_and(|s| s.until_ms > now_ms) {
            return true;
        }
        let barred = || self.barred.get(&(page, vendor)).copied().unwrap_or(0);
        let bit = || u32::try_from(day - Month(page.1).first_day()).ok().and_then(|n| 1u32.checked_shl(n)).unwrap_or(0);
        if !self.barred.is_empty() && barred() & bit() != 0 {
            return true;
        }
        if self.demotions.is_empty() {
            return false;
        }
        let by = |series| self.demotions.get(&(series, vendor)).is_some_and(|d| d.refuses(day, self.now_unix));
        by(page.0) || every.is_some_and(by)
    }

    fn remove(&mut self, page: PageRef) {
        for s in self.pages.remove(&page).unwrap_or_default() {
            self.leave(&s.lane, (s.discovered, page.1, page.0));
        }
    }

    fn leave(&mut self, lane: &Lane, entry: Entry) {
        if let Some(set) = self.lanes.get_mut(lane) {
            set.remove(&entry);
            if set.is_empty() {
                self.lanes.remove(lane);
            }
        }
    }

    /// The tasks that `vendor` is to be asked for next: the front of the first class that has any in a lane that it may
    /// claim from, and what one request answers with it. `Err(true)`: there are some, but a better vendor has them first.
    ///
    /// # Errors
    /// Nothing for it; see above.
    pub fn pick(&mut self, vendor: Vendor, classes: [Class; 3], may: impl Fn(&Lane) -> bool) -> Result<Batch, bool> {
        let mut blocked = false;
        for class in classes {
            let mut front: Option<(Entry, Lane)> = None;
            for (lane, set) in &self.lanes {
                if lane.class != class || lane.open_to & bit(vendor) == 0 {
                    continue;
                }
                if !may(lane) {
                    blocked = true;
                    continue;
                }
                if let Some(e) = set.first()
                    && front.is_none_or(|(f, _)| *e < f)
                {
                    front = Some((*e, *lane));
                }
            }
            if let Some((entry, lane)) = front {
                let batch = self.batch(vendor, entry, lane, &may);
                self.take(&batch);
                return Ok(batch);
            }
        }
        Err(blocked)
    }

    /// The days of a page that `vendor` may claim.
    pub(super) fn claimable(&self, page: PageRef, vendor: Vendor, may: &impl Fn(&Lane) -> bool) -> u32 {
        let slots = self.pages.get(&page).map_or(&[][..], Vec::as_slice);
        slots.iter().filter(|s| s.lane.open_to & bit(vendor) != 0 && may(&s.lane)).fold(0, |a, s| a | s.days)
    }

    fn take(&mut self, batch: &Batch) {
        for p in &batch.parts {
            *self.leased.entry(p.page).or_default() |= p.days;
            let Some(mut slots) = self.pages.remove(&p.page) else { continue };
            for s in &mut slots {
                s.days &= !p.days;
            }
            for s in slots.iter().filter(|s| s.days == 0) {
                self.leave(&s.lane, (s.discovered, p.page.1, p.page.0));
            }
            slots.retain(|s| s.days != 0);
            if !slots.is_empty() {
                self.pages.insert(p.page, slots);
            }
        }
    }

    /// The lease over these parts has ended; the pages are to be put again.
    pub fn give_back(&mut self, parts: &[Part]) {
        for p in parts {
            if let Some(days) = self.leased.get_mut(&p.page) {
                *days &= !p.days;
                if *days == 0 {
                    self.leased.remove(&p.page);
                }
            }
        }
    }

    /// The vendor failed for these pages: not before `rest_ms × 2^failures`, and after too many not in this stage.
    pub fn strike(&mut self, vendor: Vendor, parts: &[Part], now_ms: u64, rest_ms: u64) {
        for p in parts {
            let s = self.strikes.entry((p.page, vendor)).or_default();
            s.times = s.times.saturating_add(1);
            s.until_ms = if s.times >= MOST_STRIKES { u64::MAX } else { now_ms + (rest_ms << (s.times - 1).min(8)) };
            if s.until_ms < u64::MAX {
                self.due.insert((s.until_ms, p.page));
            }
        }
    }

    /// The vendor refused: next it is asked for the smallest part, and for more wherever that is given.
    pub fn narrow(&mut self, vendor: Vendor, parts: &[Part]) {
        let Some(first) = parts.first().map(|p| p.page.0) else { return };
        let several = parts.iter().any(|p| p.page.0 != first);
        let own = parts.iter().filter(|p| p.page.0 == first);
        let asked = own.map(|p| p.days.count_ones() as usize).sum::<usize>().max(1);
        for p in parts {
            let least = self.narrowed.get(&(p.page, vendor)).map_or((asked / SPLIT).max(1), |n| n.least);
            let sessions = if several { asked } else { least };
            self.narrowed.insert((p.page, vendor), Narrow { sessions, least });
        }
    }

    /// These very days are not asked of the vendor any more in this run.
    pub fn bar(&mut self, vendor: Vendor, parts: &[Part]) {
        for p in parts {
            *self.barred.entry((p.page, vendor)).or_default() |= p.days;
        }
    }

    /// The vendor gave what it was asked for: it is asked for more at a time again.
    pub fn widen(&mut self, vendor: Vendor, parts: &[Part]) {
        if self.narrowed.is_empty() {
            return;
        }
        for p in parts {
            if let Some(n) = self.narrowed.get_mut(&(p.page, vendor)) {
                n.sessions = n.sessions.saturating_mul(4);
            }
        }
    }

    /// Pages that are to be put again, since a rest is over.
    pub fn rested(&mut self, now_ms: u64) -> Vec<PageRef> {
        let later = self.due.split_off(&(now_ms + 1, (0, 0)));
        std::mem::replace(&mut self.due, later).into_iter().map(|(_, p)| p).collect()
    }

    /// Milliseconds until the next rest is over.
    pub fn next_rest(&self, now_ms: u64) -> Option<u64> {
        self.due.first().map(|(t, _)| t.saturating_sub(now_ms).max(1))
    }

    /// Whether anything is open to a vendor, whoever else may be asked.
    pub fn has_for(&self, vendor: Vendor) -> bool {
        self.lanes.keys().any(|l| l.open_to & bit(vendor) != 0)
    }

    /// The pages of a dataset that have something open.
    pub fn pages_in(&self, dataset: Dataset) -> Vec<PageRef> {
        self.pages.keys().filter(|p| self.name(p.0).is_some_and(|(d, _)| *d == dataset)).copied().collect()
    }

    /// The pages of a series that have something open.
    pub fn pages_of(&self, series: u32) -> Vec<PageRef> {
        self.pages.keys().filter(|p| p.0 == series).copied().collect()
    }
}

#[cfg(test)]
mod tests;
