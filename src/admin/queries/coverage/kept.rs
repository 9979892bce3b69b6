//! The maps that are kept: what was counted last, for whoever must not wait, and whether the ledger has changed since.

use super::{Cell, Kept, MapRow, Maps, Months, by_months, count, sum};
use crate::admin::AdminContext;
use crate::admin::queries::lately::FEW;
use datanode_actors::parallel::each;
use datanode_schema::names::Dataset;
use datanode_schema::store::StoreError;
use datanode_schema::trees::LEDGER;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

impl Maps {
    /// Counts what has changed since: for whoever has time before the question comes.
    ///
    /// # Errors
    /// The store's.
    pub fn warm(&self, ctx: &AdminContext) -> Result<(), StoreError> {
        (ctx.registry)().datasets.keys().try_for_each(|d| self.of(ctx, *d, true).map(|_| ()))
    }

    /// The map of now; of a large ledger, the one that was counted last, unless a fresh one is asked for: [`Maps::warm`] is.
    pub(super) fn of(&self, ctx: &AdminContext, dataset: Dataset, fresh: bool) -> Result<Kept, StoreError> {
        let at = ctx.store.changed_at(LEDGER.name);
        let last_will_do = !fresh && ctx.store.len(LEDGER.name) > FEW;
        let known = |m: &BTreeMap<Dataset, Kept>| m.get(&dataset).filter(|k| k.at == at || last_will_do).cloned();
        if let Some(kept) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(kept);
        }
        // One symbol's keys begin with its first byte: the parts are counted side by side.
        let parts: Vec<u8> = (0..=u8::MAX).collect();
        let counted = each(ctx.desk.node.threads, &parts, |share| {
            let (mut months, mut symbols) = (Months::new(), 0);
            while let Some(first) = share.next() {
                if ctx.desk.node.stopping() {
                    return Err(StoreError::Stopped { cause: "the node is stopping".to_owned() });
                }
                symbols += count(&ctx.store, &[dataset.number(), *first], (i32::MIN, i32::MAX), &mut months)?;
            }
            Ok::<_, StoreError>((months, symbols))
        });
        let (mut months, mut symbols) = (Months::new(), 0);
        for part in counted {
            let (of, n) = part?;
            symbols += n;
            for (month, days) in of {
                let all = months.entry(month).or_default();
                all.iter_mut().zip(days.iter()).for_each(|(to, from)| to.add(from));
            }
        }
        let kept = Kept { at, months: Arc::new(months), symbols };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(dataset, kept.clone());
        Ok(kept)
    }
}

/// A dataset by year and month.
#[derive(Clone, Debug)]
pub struct Heat {
    /// A row a year, twelve cells each, the oldest first.
    pub years: Vec<MapRow>,
    /// Everything together.
    pub total: Cell,
    /// Symbols that the ledger has of it.
    pub symbols: u64,
    /// Whether verdicts came since it was counted; they are counted within a minute.
    pub behind: bool,
}

/// The map of a dataset, of the same counting as `coverage`.
///
/// # Errors
/// The store's.
pub fn heat(ctx: &AdminContext, dataset: Dataset) -> Result<Heat, StoreError> {
    let kept = ctx.maps.of(ctx, dataset, false)?;
    let years = by_months(&kept.months);
    let total = sum(years.iter().map(|y| &y.total));
    Ok(Heat { years, total, symbols: kept.symbols, behind: kept.at != ctx.store.changed_at(LEDGER.name) })
}
