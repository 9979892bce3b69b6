//! Merging an answer into what a raw file holds.

use crate::frame::{Cell, Origin, Row, Table, same_cell};

/// What merging did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Rows with a stamp that was not held.
    pub new: u64,
    /// Rows that replaced a row with other values.
    pub restated: u64,
    /// Rows that said the same again.
    pub same: u64,
}

/// Merges `rows` of `origin` into `table`, sorted by stamp. A row that says the same keeps its first origin; a
/// restatement takes the newer values. Two rows with one stamp in one answer are both kept where they differ: judging
/// them is QC's work.
pub fn merge(table: &mut Table, rows: Vec<(i64, Cell)>, origin: &Origin) -> Merged {
    let mut out = Merged::default();
    let id = table.intern(origin);
    let held = std::mem::take(&mut table.rows);
    let mut fresh: Vec<Row> = rows.into_iter().map(|(when, cell)| Row { when, cell, origin: id }).collect();
    fresh.sort_by_key(|r| r.when);
    fresh.dedup_by(|b, a| a.when == b.when && same_cell(&a.cell, &b.cell));
    let mut old = held.into_iter().peekable();
    let mut new = fresh.into_iter().peekable();
    let mut merged = Vec::with_capacity(old.size_hint().0 + new.size_hint().0);
    loop {
        match (old.peek().map(|r| r.when), new.peek().map(|r| r.when)) {
            (None, None) => break,
            (Some(o), n) if n.is_none_or(|n| o < n) => merged.extend(old.next()),
            (o, Some(n)) if o.is_none_or(|o| n < o) => {
                out.new += 1;
                merged.extend(new.next());
            }
            (Some(stamp), _) => {
                let mut before = Vec::new();
                while let Some(r) = old.next_if(|r| r.when == stamp) {
                    before.push(r);
                }
                let mut after = Vec::new();
                while let Some(r) = new.next_if(|r| r.when == stamp) {
                    after.push(r);
                }
                let same =
                    before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| same_cell(&a.cell, &b.cell));
                if same {
                    out.same += after.len() as u64;
                    merged.extend(before);
                } else {
                    out.restated += after.len() as u64;
                    merged.extend(after);
                }
            }
            (None, Some(_)) => break,
        }
    }
    table.rows = merged;
    drop_unused_origins(table);
    out
}

fn drop_unused_origins(table: &mut Table) {
    let origins = std::mem::take(&mut table.origins);
    let mut rows = std::mem::take(&mut table.rows);
    for r in &mut rows {
        if let Some(o) = origins.get(r.origin as usize) {
            r.origin = table.intern(o);
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
    fn the_same_answer_again_changes_nothing() {
        let mut t = Table::default();
        let rows = vec![(1, Cell::Value(None)), (2, value(f64::NAN)), (2, value(7.0))];
        merge(&mut t, rows.clone(), &origin("a"));
        let before = format!("{t:?}");
        let m = merge(&mut t, rows, &origin("b"));
        assert_eq!((m.new, m.restated, m.same), (0, 0, 3));
        assert_eq!(format!("{t:?}"), before);
    }
}
