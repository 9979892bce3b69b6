//! What the node holds: its curated files beside the truth, row by row.

use super::Fallible;
use super::claims::Place;
use super::folder::{World, print};
use datanode_actors::frame::{Cell, Row, read_curated};
use datanode_schema::names::Dataset;
use std::collections::BTreeSet;
use std::path::Path;

/// Sessions of which every row is there with its true values, and no other row. A session that the truth does not have counts
/// as held where the node has rows of it: a false one.
pub fn held(world: &World, data: &Path) -> Fallible<BTreeSet<Place>> {
    let root = data.join("data_layer/curated/equities_bars_minute");
    let days: BTreeSet<_> = world.rows.keys().map(|(_, day)| *day).collect();
    let mut out = BTreeSet::new();
    for day in days {
        let file = root.join(format!("date={day}/data.parquet"));
        for (symbol, table) in read_curated(&file, Dataset::EquitiesBarsMinute)? {
            let place = (symbol, day);
            let there = print(table.rows.iter().filter_map(values));
            if world.rows.get(&place).is_none_or(|c| c.print == there) {
                out.insert(place);
            }
        }
    }
    Ok(out)
}

/// Seconds, cents and shares of a bar.
fn values(row: &Row) -> Option<(i64, [i64; 5])> {
    let Cell::Bar(b) = &row.cell else { return None };
    let cents = |x: f64| (x * 100.0).round() as i64;
    Some((row.when / 1_000_000_000, [cents(b.open), cents(b.high), cents(b.low), cents(b.close), b.volume as i64]))
}
