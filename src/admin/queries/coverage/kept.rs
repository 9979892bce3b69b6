//! The whole map of a dataset for a page that must not wait: what was counted last, and whether the ledger has changed since.

use super::{Cell, MapRow, by_months, sum};
use crate::admin::AdminContext;
use datanode_schema::names::Dataset;
use datanode_schema::store::StoreError;
use datanode_schema::trees::LEDGER;

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
