//! Merging an answer into what a raw file holds.

use crate::frame::{Cell, Origin, Row, Table, same_cell};
use std::cmp::Ordering;
use std::iter::Peekable;

/// What merging did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Rows with a stamp that was not held.
    pub new: u64,
    /// Rows that replaced a row with other values.
    pub restated: u64,
    /// Rows that said the same again.
    pub same: u64,
    /// When the rows are of that replaced others, one each.
    pub restated_at: Vec<i64>,
    /// When the rows are of that were exact copies of another row of this answer, one each.
    pub duplicates_at: Vec<i64>,
}

/// Merges `rows` of `origin` into `table`, in the order of [`Row::file_order`]. A row that says the same keeps its first
/// origin; a restatement takes the newer values. Two rows of one thing ([`Row::order`]) in one answer are both kept where
/// they differ: judging them is QC's work.
pub fn merge(table: &mut Table, rows: Vec<(i64, Cell)>, origin: &Origin) -> Merged {
    let mut out = Merged::default();
    let id = table.intern(origin);
    let held = std::mem::take(&mut table.rows);
    let mut fresh: Vec<Row> = rows.into_iter().map(|(when, cell)| Row { when, cell, origin: id }).collect();
    fresh.sort_by(Row::file_order);
    fresh.dedup_by(|b, a| {
        let copy = a.order(b).is_eq() && same_cell(&a.cell, &b.cell);
        if copy {
            out.duplicates_at.push(b.when);
        }
        copy
    });
    if held.is_empty() {
        out.new = fresh.len() as u64;
        table.rows = fresh;
        drop_unused_origins(table);
        return out;
    }
    let mut old = held.into_iter().peekable();
    let mut new = fresh.into_iter().peekable();
    let mut merged = Vec::with_capacity(old.size_hint().0 + new.size_hint().0);
    loop {
        let side = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(o), Some(n)) => o.order(n),
        };
        match side {
            Ordering::Less => merged.extend(old.next()),
            Ordering::Greater => {
                out.new += 1;
                merged.extend(new.next());
            }
            Ordering::Equal => {
                let (before, after) = (group(&mut old), group(&mut new));
                let same =
                    before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| same_cell(&a.cell, &b.cell));
                if same {
                    out.same += after.len() as u64;
                    merged.extend(before);
                } else {
                    out.restated += after.len() as u64;
                    out.restated_at.extend(after.iter().map(|r| r.when));
                    merged.extend(after);
                }
            }
        }
    }
    table.rows = merged;
    drop_unused_origins(table);
    out
}

/// The rows of the next thing.
fn group(rows: &mut Peekable<impl Iterator<Item = Row>>) -> Vec<Row> {
    let mut out: Vec<Row> = rows.next().into_iter().collect();
    while let Some(r) = rows.next_if(|r| out.first().is_some_and(|f| f.order(r).is_eq())) {
        out.push(r);
    }
    out
}

fn drop_unused_origins(table: &mut Table) {
    let origins = std::mem::take(&mut table.origins);
    let mut rows = std::mem::take(&mut table.rows);
    // Thousands of rows have one origin: each is looked for once.
    let mut places: Vec<Option<u32>> = vec![None; origins.len()];
    for r in &mut rows {
        let i = r.origin as usize;
        if let (Some(place), Some(o)) = (places.get_mut(i), origins.get(i)) {
            r.origin = *place.get_or_insert_with(|| table.intern(o));
        }
    }
    table.rows = rows;
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::names::Vendor;

    fn origin(id: &str) -> Origin {
        Origin { vendor: Vendor::Alpaca, feed: "sip".into(), request_id: id.into() }
    }

    fn value(v: f64) -> Cell {
        Cell::Value(Some(v))
    }

    #[test]
    fn a_second_answer_adds_keeps_and_restates() {
        let mut t = Table::default();
        assert_eq!(merge(&mut t, vec![(2, value(2.0)), (1, value(1.0))], &origin("a")).new, 2);
        let m = merge(&mut t, vec![(1, value(1.0)), (2, value(2.5)), (3, value(3.0))], &origin("b"));
        assert_eq!((m.new, m.restated, m.same), (1, 1, 1));
        let seen: Vec<(i64, &str)> = t.rows.iter().map(|r| (r.when, &*t.origin(r).unwrap().request_id)).collect();
        assert_eq!(seen, vec![(1, "a"), (2, "b"), (3, "b")]);
    }

    #[test]
    fn copies_within_an_answer_and_restated_rows_are_told_by_their_stamps() {
        let mut t = Table::default();
        let m = merge(&mut t, vec![(1, value(1.0)), (2, value(2.0)), (1, value(1.0)), (1, value(1.0))], &origin("a"));
        assert_eq!((m.new, m.duplicates_at, m.restated_at), (2, vec![1, 1], vec![]));
        let m = merge(&mut t, vec![(1, value(1.0)), (2, value(2.5)), (2, value(2.5))], &origin("b"));
        assert_eq!((m.same, m.duplicates_at, m.restated_at), (1, vec![2], vec![2]));
    }

    #[test]
    fn the_same_answer_again_changes_nothing() {
        let mut t = Table::default();
        let rows = vec![(1, Cell::Value(None)), (2, value(f64::NAN)), (2, value(7.0))];
        merge(&mut t, rows.clone(), &origin("a"));
        let before = format!("{t:?}");
        let m = merge(&mut t, rows, &origin("b"));
        assert_eq!((m.new, m.restated, m.same), (0, 0, 3));
        assert_eq!(format!("{t:?}"), before);
    }

    #[test]
    fn a_split_and_a_dividend_of_one_day_live_side_by_side_and_are_restated_each_for_itself() {
        use crate::frame::{Action, ActionKind};
        let split = |r| Cell::Action(Action { kind: ActionKind::Split, ratio: Some(r), cash: None });
        let cash = |c| Cell::Action(Action { kind: ActionKind::Dividend, ratio: None, cash: Some(c) });
        let mut t = Table::default();
        assert_eq!(merge(&mut t, vec![(9, cash(0.5)), (9, split(7.0)), (9, cash(0.25))], &origin("a")).new, 3);
        let again = merge(&mut t, vec![(9, cash(0.25)), (9, cash(0.5))], &origin("b"));
        assert_eq!((again.new, again.restated, again.same), (0, 0, 2), "the order of an answer does not matter");
        let other = merge(&mut t, vec![(9, cash(0.75))], &origin("c"));
        assert_eq!((other.new, other.restated), (0, 1));
        let seen: Vec<&Cell> = t.rows.iter().map(|r| &r.cell).collect();
        assert_eq!(seen, [&cash(0.75), &split(7.0)]);
    }

    #[test]
    fn contracts_of_one_minute_are_rows_of_their_own() {
        use crate::frame::{Bar, OptionBar};
        let bar = Bar { open: 1.0, high: 1.0, low: 1.0, close: 1.0, volume: 1.0, trades: None, vwap: None };
        let of = |c: &str| Cell::Option(Box::new(OptionBar { contract: c.into(), bar }));
        let mut t = Table::default();
        let rows = vec![(1, of("B")), (1, of("A")), (2, of("A"))];
        assert_eq!(merge(&mut t, rows.clone(), &origin("a")).new, 3);
        assert_eq!(merge(&mut t, rows, &origin("b")).same, 3);
        let order: Vec<(i64, Cell)> = t.rows.iter().map(|r| (r.when, r.cell.clone())).collect();
        assert_eq!(order, [(1, of("A")), (2, of("A")), (1, of("B"))], "by contract, then time");
    }
}
