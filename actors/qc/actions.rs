//! What corporate actions come to by day, for those who judge prices.

use crate::frame::{Action, ActionKind, Table};
use crate::node::Node;
use datanode_schema::clock::date_of;
use datanode_schema::keys::{Month, PageKey};
use datanode_schema::names::Dataset;
use datanode_schema::records::{ActionDay, ActionPage};
use datanode_schema::registry::Registry;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{ACTIONS, UNRELATED};
use std::collections::BTreeMap;

/// Datasets whose prices move by actions.
pub(crate) const PRICED: [Dataset; 2] = [Dataset::EquitiesBars, Dataset::EquitiesBarsMinute];

/// The actions of each symbol's months in a curated file; none where it is of another dataset.
pub fn action_pages(dataset: Dataset, symbols: &[(String, Table)]) -> BTreeMap<PageKey, ActionPage> {
    let mut out: BTreeMap<PageKey, ActionPage> = BTreeMap::new();
    if dataset != Dataset::CorporateActions {
        return out;
    }
    for (symbol, table) in symbols {
        for r in &table.rows {
            let (Some(action), Ok(day)) = (r.cell.action(), i32::try_from(r.when)) else { continue };
            let key = PageKey { dataset, symbol: symbol.clone(), month: Month::of(date_of(day)) };
            add(&mut out.entry(key).or_default().days, day, action);
        }
    }
    out
}

/// Adds one action to the days of a page. A value that is no number above zero says nothing: the row itself is judged RED.
fn add(days: &mut Vec<ActionDay>, day: i32, action: &Action) {
    let value = |v: Option<f64>| v.filter(|v| v.is_finite() && *v > 0.0);
    let at = days.partition_point(|d| d.day < day);
    if days.get(at).is_none_or(|d| d.day != day) {
        days.insert(at, ActionDay { day, split: 1.0, cash: 0.0, other: 0 });
    }
    let Some(d) = days.get_mut(at) else { return };
    match action.kind {
        ActionKind::Split | ActionKind::StockDividend => d.split *= value(action.ratio).unwrap_or(1.0),
        ActionKind::Dividend => d.cash += value(action.cash).unwrap_or(0.0),
        // A name moves no price.
        ActionKind::NameChange => {}
        ActionKind::Merger
        | ActionKind::PartialCall
        | ActionKind::Redemption
        | ActionKind::Reorganization
        | ActionKind::Rights
        | ActionKind::SpinOff
        | ActionKind::UnitSplit
        | ActionKind::Worthless => d.other = 1,
    }
}

/// Writes the pages that changed; the prices from there on are compared again, without a file's being read.
pub fn enter_actions(
    node: &Node,
    registry: &Registry,
    pages: &BTreeMap<PageKey, ActionPage>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let now = node.clock.now().timestamp();
    for (key, page) in pages {
        if node.store.load(&ACTIONS, key)?.as_ref() == Some(page) {
            continue;
        }
        batch.put(&ACTIONS, key, page)?;
        for dataset in PRICED.into_iter().filter(|d| registry.rule(*d).is_some()) {
            batch.put(&UNRELATED, &PageKey { dataset, ..key.clone() }, &now)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actions_of_a_day_are_one_split_and_one_sum() {
        let mut days = Vec::new();
        let of = |kind, ratio, cash| Action { kind, ratio, cash };
        add(&mut days, 7, &of(ActionKind::Split, Some(2.0), None));
        add(&mut days, 7, &of(ActionKind::StockDividend, Some(1.5), None));
        add(&mut days, 7, &of(ActionKind::Dividend, None, Some(0.25)));
        add(&mut days, 7, &of(ActionKind::Dividend, None, Some(0.5)));
        add(&mut days, 3, &of(ActionKind::SpinOff, Some(0.3), None));
        add(&mut days, 5, &of(ActionKind::Split, Some(f64::NAN), None));
        add(&mut days, 6, &of(ActionKind::NameChange, None, None));
        assert_eq!(
            days,
            [
                ActionDay { day: 3, split: 1.0, cash: 0.0, other: 1 },
                ActionDay { day: 5, split: 1.0, cash: 0.0, other: 0 },
                ActionDay { day: 6, split: 1.0, cash: 0.0, other: 0 },
                ActionDay { day: 7, split: 3.0, cash: 0.75, other: 0 },
            ]
        );
    }
}
