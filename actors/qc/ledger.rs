//! Entering verdicts into the ledger's pages. Pure: an entry that says the same keeps its times.

use datanode_schema::records::{LedgerDay, LedgerPage};

/// Replaces the days of a month's page for which `replaces` says so by `fresh`; `first` is the month's first day number. A verdict
/// that did not change keeps `first_seen` and `updated_at`; one that did keeps `first_seen`. Returns whether anything changed.
pub fn enter(page: &mut LedgerPage, first: i32, fresh: Vec<LedgerDay>, replaces: impl Fn(&LedgerDay) -> bool) -> bool {
    let before = page.days(first);
    let mut days: Vec<LedgerDay> = before.iter().filter(|d| !replaces(d)).cloned().collect();
    for mut f in fresh {
        if let Some(old) = before.iter().find(|d| d.day == f.day) {
            f.first_seen = old.first_seen;
            let same = LedgerDay { updated_at: f.updated_at, ..old.clone() } == f;
            if same {
                f.updated_at = old.updated_at;
            }
        }
        days.retain(|d| d.day != f.day);
        days.push(f);
    }
    days.sort_by_key(|d| d.day);
    if days == before {
        return false;
    }
    *page = LedgerPage::pack(first, &days);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::records::Print;

    fn day(day: i32, rows: u32, at: i64) -> LedgerDay {
        LedgerDay {
            day,
            verdict: 1,
            reasons: 0,
            expected: 1,
            rows,
            vendor: 2,
            context: 9,
            first_seen: at,
            updated_at: at,
            print: Print::default(),
        }
    }

    #[test]
    fn an_unchanged_verdict_keeps_its_times_and_a_changed_one_its_first() {
        let mut p = LedgerPage::pack(0, &[day(1, 1, 100), day(2, 1, 100)]);
        assert!(!enter(&mut p, 0, vec![day(1, 1, 200), day(2, 1, 200)], |_| true));
        assert!(enter(&mut p, 0, vec![day(1, 1, 300), day(2, 5, 300)], |_| true));
        let second = p.days(0)[1].clone();
        assert_eq!((second.first_seen, second.updated_at, second.rows), (100, 300, 5));
        assert!(enter(&mut p, 0, vec![], |d| d.day == 1));
        assert_eq!(p.days(0).len(), 1);
    }
}
