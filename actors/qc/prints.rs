//! What the rows of a session come to: its first and last price and its volume. Pure.

use crate::frame::{Cell, Row};
use datanode_schema::clock::date_of;
use datanode_schema::names::Dataset;
use datanode_schema::records::Print;
use datanode_schema::registry::DatasetRule;

/// The print of a session's rows, in the order of the file.
///
/// Of minute bars the prices are those of the regular hours where there are rows in them: a single trade at four in the
/// morning is often far off. Options and actions have no price of their own.
pub fn print_of(dataset: Dataset, rule: &DatasetRule, day: i32, rows: &[Row], digest: [u8; 16]) -> Print {
    let (open, close) = ends(dataset, rule, day, rows);
    let volume = match dataset {
        Dataset::EquitiesBars | Dataset::EquitiesBarsMinute => {
            rows.iter().filter_map(|r| r.cell.bar()).map(|b| b.volume).sum()
        }
        _ => 0.0,
    };
    Print { digest, open, close, volume: finite(volume) }
}

/// The first and the last price of a session's rows; see [`print_of`].
pub fn ends(dataset: Dataset, rule: &DatasetRule, day: i32, rows: &[Row]) -> (f32, f32) {
    let rows = match dataset {
        Dataset::EquitiesBars | Dataset::MacroTreasury => rows,
        Dataset::EquitiesBarsMinute => regular(rule, day, rows),
        Dataset::OptionsBars | Dataset::CorporateActions | Dataset::PredictionBooks => return (0.0, 0.0),
    };
    let price = |r: Option<&Row>, of: fn(&Cell) -> Option<f64>| finite(r.and_then(|r| of(&r.cell)).unwrap_or(0.0));
    let open = |c: &Cell| c.bar().map(|b| b.open).or_else(|| c.value());
    let close = |c: &Cell| c.bar().map(|b| b.close).or_else(|| c.value());
    (price(rows.first(), open), price(rows.last(), close))
}

/// The rows of the regular hours; all of them where there are none.
fn regular<'a>(rule: &DatasetRule, day: i32, rows: &'a [Row]) -> &'a [Row] {
    let Some(s) = rule.calendar().session(date_of(day)) else { return rows };
    let (Some(open), Some(close)) = (s.open.timestamp_nanos_opt(), s.close.timestamp_nanos_opt()) else {
        return rows;
    };
    let from = rows.partition_point(|r| r.when < open);
    let to = rows.partition_point(|r| r.when < close);
    rows.get(from..to).filter(|r| !r.is_empty()).unwrap_or(rows)
}

/// As the records hold it; 0 where it is no finite number.
#[allow(clippy::cast_possible_truncation, reason = "prints are compared by the hundredth")]
fn finite(v: f64) -> f32 {
    let v = v as f32;
    if v.is_finite() { v } else { 0.0 }
}
