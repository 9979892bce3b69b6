//! The pure part: one symbol's rows from several vendors.

use crate::frame::{Row, Table, same_cell};

/// A merged table and what the merge decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merge {
    /// The rows, in the order of [`Row::file_order`].
    pub table: Table,
    /// Rows that a better vendor's row of the same thing ([`Row::order`]) replaced.
    pub superseded: u64,
    /// Of those, the ones whose values differed.
    pub conflicts: u64,
}

/// Merges tables, the preferred vendor's first; `keep` says which stamps belong to the file at hand.
pub fn by_preference(tables: &[Table], keep: impl Fn(i64) -> bool) -> Merge {
    let mut out = Merge::default();
    let mut all: Vec<(usize, &Row)> = Vec::new();
    for (rank, t) in tables.iter().enumerate() {
        all.extend(t.rows.iter().filter(|r| keep(r.when)).map(|r| (rank, r)));
    }
    // Stable: rows of one vendor and thing stay in the order of its file.
    all.sort_by(|(a, x), (b, y)| x.order(y).then(a.cmp(b)));
    let mut best: (usize, Vec<&Row>) = (0, Vec::new());
    for (rank, row) in all {
        if best.1.first().is_some_and(|first| first.order(row).is_eq()) {
            if rank != best.0 {
                out.superseded += 1;
                out.conflicts += u64::from(!best.1.iter().any(|b| same_cell(&b.cell, &row.cell)));
                continue;
            }
        } else {
            best = (rank, Vec::new());
        }
        best.1.push(row);
        if let Some(origin) = tables.get(rank).and_then(|t| t.origin(row)) {
            let origin = out.table.intern(origin);
            out.table.rows.push(Row { origin, ..row.clone() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Cell, Origin};
    use datanode_schema::names::Vendor;

    fn table(vendor: Vendor, rows: &[(i64, f64)]) -> Table {
        let rows = rows.iter().map(|(when, v)| Row { when: *when, cell: Cell::Value(Some(*v)), origin: 0 }).collect();
        Table { rows, origins: vec![Origin { vendor, feed: "f".into(), request_id: "r".into() }] }
    }

    #[test]
    fn the_preferred_vendor_wins_a_stamp_and_the_other_fills_the_holes() {
        let m = by_preference(
            &[table(Vendor::Alpaca, &[(1, 1.0), (3, 3.0)]), table(Vendor::Massive, &[(1, 1.0), (2, 2.0), (3, 9.0)])],
            |_| true,
        );
        let seen: Vec<(i64, Vendor)> =
            m.table.rows.iter().map(|r| (r.when, m.table.origin(r).unwrap().vendor)).collect();
        assert_eq!(seen, vec![(1, Vendor::Alpaca), (2, Vendor::Massive), (3, Vendor::Alpaca)]);
        assert_eq!((m.superseded, m.conflicts), (2, 1));
    }

    #[test]
    fn only_the_stamps_of_the_file_are_taken() {
        let m = by_preference(&[table(Vendor::Alpaca, &[(1, 1.0), (2, 2.0)])], |w| w == 2);
        assert_eq!(m.table.rows.len(), 1);
    }
}
