//! What has to be counted over whole trees, kept while they do not change.
//!
//! Of a small state everything is counted whenever it is asked for. Counting a large one takes longer than anybody should wait: then who
//! asks is given what was counted last, and a thread counts anew beside, for a small part of the time.

use super::Tally;
use crate::admin::AdminContext;
use datanode_schema::keys::SeriesKey;
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::{BOOKMARKS, CHUNKS, DEMOTIONS, GAPS, LEDGER};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Records that are counted whenever they changed: a millisecond or two.
pub(super) const FEW: u64 = 4096;
/// Counting a large state takes at most this part of the time.
const PART: u64 = 50;

/// A figure that is kept; starts empty.
#[derive(Debug)]
pub struct Lately<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    kept: Mutex<Option<Kept<T>>>,
    counting: AtomicBool,
}

#[derive(Debug)]
struct Kept<T> {
    changed: u64,
    took_ms: u64,
    since_ms: u64,
    value: Arc<T>,
}

impl<T> Default for Lately<T> {
    fn default() -> Self {
        Self(Arc::new(Shared { kept: Mutex::default(), counting: AtomicBool::new(false) }))
    }
}

impl<T: Send + Sync + 'static> Lately<T> {
    /// What `count` makes of these trees: of now where they are small, else as new as counting beside allows.
    fn get(
        &self,
        ctx: &AdminContext,
        trees: &[&str],
        count: fn(&Store) -> Result<T, StoreError>,
    ) -> Result<Arc<T>, StoreError> {
        // Read before counting: what is committed meanwhile makes the next question count again.
        let changed = trees.iter().map(|t| ctx.store.changed_at(t)).max().unwrap_or(0);
        let now = ctx.clock.since_boot_ms();
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(k) = kept.as_ref() {
            if k.changed == changed {
                return Ok(k.value.clone());
            }
            if trees.iter().map(|t| ctx.store.len(t)).sum::<u64>() > FEW {
                let rested = now.saturating_sub(k.since_ms) > k.took_ms.saturating_mul(PART);
                if rested && !self.0.counting.swap(true, Ordering::AcqRel) {
                    self.count_beside(ctx, changed, count);
                }
                return Ok(k.value.clone());
            }
        }
        let value = Arc::new(count(&ctx.store)?);
        let since_ms = ctx.clock.since_boot_ms();
        *kept = Some(Kept { changed, took_ms: since_ms.saturating_sub(now), since_ms, value: value.clone() });
        Ok(value)
    }

    fn count_beside(&self, ctx: &AdminContext, changed: u64, count: fn(&Store) -> Result<T, StoreError>) {
        let (shared, store, clock) = (self.0.clone(), ctx.store.clone(), ctx.clock.clone());
        let begun = std::thread::Builder::new().name("counting".to_owned()).spawn(move || {
            let now = clock.since_boot_ms();
            match count(&store) {
                Ok(value) => {
                    let since_ms = clock.since_boot_ms();
                    let took_ms = since_ms.saturating_sub(now);
                    let new = Kept { changed, took_ms, since_ms, value: Arc::new(value) };
                    *shared.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
                }
                Err(e) => tracing::warn!(error = %e, "the state could not be counted; the figures are older"),
            }
            shared.counting.store(false, Ordering::Release);
        });
        if let Err(e) = begun {
            self.0.counting.store(false, Ordering::Release);
            tracing::warn!(error = %e, "no thread to count the state with; the figures are older");
        }
    }
}

/// What the commands count; starts empty.
#[derive(Debug, Default)]
pub struct Known {
    tasks: Lately<BySeries>,
    verdicts: Lately<Verdicts>,
    vendors: Lately<BTreeMap<datanode_schema::names::Vendor, Tally>>,
    objects: Lately<(u64, u64)>,
}

/// Days of each symbol by the number of their state, in the order of the store's keys.
pub(super) type BySeries = BTreeMap<Vec<u8>, [u32; 8]>;

/// The ledger, counted.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Days by verdict.
    pub series: BySeries,
    /// Days by dataset and reason.
    pub reasons: BTreeMap<(Dataset, u64), u64>,
}

impl Known {
    /// Counts what nobody has asked for yet, and looks whether the rest is still so.
    ///
    /// # Errors
    /// The store's.
    pub fn warm(&self, ctx: &AdminContext) -> Result<(), StoreError> {
        self.tasks(ctx)?;
        self.verdicts(ctx)?;
        self.vendors(ctx)?;
        self.objects(ctx).map(drop)
    }

    pub(super) fn tasks(&self, ctx: &AdminContext) -> Result<Arc<BySeries>, StoreError> {
        self.tasks.get(ctx, &[GAPS.name], |store| {
            let mut out = Adding::default();
            store.scan(&GAPS, &[], |k, page| {
                for g in page.groups.iter() {
                    out.add(k.dataset, &k.symbol, g.state, g.days.to_native().count_ones());
                }
                ControlFlow::Continue(())
            })?;
            Ok(out.done())
        })
    }

    pub(super) fn verdicts(&self, ctx: &AdminContext) -> Result<Arc<Verdicts>, StoreError> {
        self.verdicts.get(ctx, &[LEDGER.name], |store| {
            let (mut series, mut reasons) = (Adding::default(), BTreeMap::new());
            store.scan(&LEDGER, &[], |k, page| {
                for g in page.groups.iter() {
                    let n = g.days.to_native().count_ones();
                    let verdict = Verdict::from_number(g.verdict).unwrap_or(Verdict::Pending);
                    series.add(k.dataset, &k.symbol, verdict.number(), n);
                    let bits = g.reasons.to_native();
                    for r in Reason::ALL.iter().filter(|r| bits & r.bit != 0) {
                        *reasons.entry((k.dataset, r.bit)).or_default() += u64::from(n);
                    }
                }
                ControlFlow::Continue(())
            })?;
            Ok(Verdicts { series: series.done(), reasons })
        })
    }

    pub(super) fn vendors(
        &self,
        ctx: &AdminContext,
    ) -> Result<Arc<BTreeMap<datanode_schema::names::Vendor, Tally>>, StoreError> {
        self.vendors.get(ctx, &[BOOKMARKS.name, DEMOTIONS.name], super::vendors::tallies)
    }

    /// Objects of the vault and their bytes.
    pub(super) fn objects(&self, ctx: &AdminContext) -> Result<Arc<(u64, u64)>, StoreError> {
        self.objects.get(ctx, &[CHUNKS.name], |store| {
            let (mut objects, mut bytes) = (0u64, 0u64);
            store.scan(&CHUNKS, &[], |_, c| {
                objects += 1;
                bytes = bytes.saturating_add(c.bytes.to_native());
                ControlFlow::Continue(())
            })?;
            Ok((objects, bytes))
        })
    }
}

/// Adds up what comes in the order of the keys: one look into the map a symbol, not one a page.
#[derive(Default)]
struct Adding {
    out: BySeries,
    now: Option<(Dataset, String, [u32; 8])>,
}

impl Adding {
    fn add(&mut self, dataset: Dataset, symbol: &str, state: u8, n: u32) {
        if self.now.as_ref().is_none_or(|(d, s, _)| *d != dataset || s != symbol) {
            self.close();
            self.now = Some((dataset, symbol.to_owned(), [0; 8]));
        }
        if let Some(c) = self.now.as_mut().and_then(|(.., counts)| counts.get_mut(usize::from(state))) {
            *c = c.saturating_add(n);
        }
    }

    fn close(&mut self) {
        if let Some((dataset, symbol, counts)) = self.now.take() {
            self.out.insert(SeriesKey::prefix(dataset, &symbol), counts);
        }
    }

    fn done(mut self) -> BySeries {
        self.close();
        self.out
    }
}

/// The part of a count that is of a dataset, or all of it.
pub(super) fn of_dataset(counted: &BySeries, dataset: Option<Dataset>) -> impl Iterator<Item = (&Vec<u8>, &[u32; 8])> {
    counted.iter().filter(move |(key, _)| dataset.is_none_or(|d| key.first() == Some(&d.number())))
}

/// How many of these states a symbol has; all where none is wanted.
pub(super) fn matching(counts: &[u32; 8], wanted: Option<u8>) -> u64 {
    match wanted {
        Some(w) => u64::from(counts.get(usize::from(w)).copied().unwrap_or(0)),
        None => counts.iter().map(|n| u64::from(*n)).sum(),
    }
}
