//! The pure part: one symbol's rows from several vendors.

use crate::frame::{Row, Table, same_cell};

/// A merged table and what the merge decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merge {
    /// The rows, sorted by stamp.
    pub table: Table,
    /// Rows that a better vendor's row of the same stamp replaced.
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
    // Stable: rows of one vendor and stamp stay in the order of its file.
    all.sort_by_key(|(rank, r)| (r.when, *rank));
    let mut best: Option<(usize, &Row)> = None;
    for (rank, row) in all {
        match best {
            Some((b, first)) if first.when == row.when && rank != b => {
                out.superseded += 1;
                out.conflicts += u64::from(!same_cell(&first.cell, &row.cell));
                continue;
            }
            Some((_, first)) if first.when == row.when => {}
            _ => best = Some((rank, row)),
        }
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
