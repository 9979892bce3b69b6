//! Entering verdicts into the ledger's pages. Pure: an entry that says the same keeps its times.

use datanode_schema::records::{LedgerDay, LedgerPage};

/// Replaces the days of `page` for which `replaces` says so by `fresh`. A verdict that did not change keeps
/// `first_seen` and `updated_at`; one that did keeps `first_seen`. Returns whether anything changed.
pub fn enter(page: &mut LedgerPage, fresh: Vec<LedgerDay>, replaces: impl Fn(&LedgerDay) -> bool) -> bool {
    let before = page.clone();
    let mut days: Vec<LedgerDay> = page.days.iter().filter(|d| !replaces(d)).cloned().collect();
    for mut f in fresh {
        if let Some(old) = before.days.iter().find(|d| d.day == f.day) {
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
    page.days = days;
    *page != before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i32, rows: u32, at: i64) -> LedgerDay {
        LedgerDay {
            day,
            verdict: 1,
            reasons: 0,
            expected: 1,
            rows,
            vendor: 2,
            digest: [0; 16],
            context: 9,
            first_seen: at,
            updated_at: at,
        }
    }

    #[test]
    fn an_unchanged_verdict_keeps_its_times_and_a_changed_one_its_first() {
        let mut p = LedgerPage { days: vec![day(1, 1, 100), day(2, 1, 100)] };
        assert!(!enter(&mut p, vec![day(1, 1, 200), day(2, 1, 200)], |_| true));
        assert!(enter(&mut p, vec![day(1, 1, 300), day(2, 5, 300)], |_| true));
        assert_eq!((p.days[1].first_seen, p.days[1].updated_at, p.days[1].rows), (100, 300, 5));
        assert!(enter(&mut p, vec![], |d| d.day == 1));
        assert_eq!(p.days.len(), 1);
    }
}
