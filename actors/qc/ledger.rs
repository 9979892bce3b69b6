//! Entering verdicts into the ledger's pages. Pure: an entry that says the same keeps its times.

use super::relate::CROSS;
use datanode_schema::names::Reason;
use datanode_schema::records::{LedgerDay, LedgerPage};

/// The reasons of a fresh verdict beside those of the entry before that are not the judge's to give: what its neighbours say, what
/// vendors agreed on, what a person said. Each of these is changed by its own step, so that a verdict which comes out the same
/// leaves the entry as it was.
pub fn carry(fresh: &LedgerDay, old: &LedgerDay) -> u64 {
    if fresh.rows == 0 || old.rows == 0 {
        return fresh.reasons | (old.reasons & Reason::BY_HAND);
    }
    let mut out = fresh.reasons | (old.reasons & (CROSS | Reason::BY_HAND | Reason::EARLIER_LISTING.bit));
    if out & Reason::HOLE.bit != 0 && old.reasons & Reason::NO_TRADE_MINUTES.bit != 0 {
        out ^= Reason::HOLE.bit | Reason::NO_TRADE_MINUTES.bit;
    }
    out
}

/// Replaces the days of a month's page for which `replaces` says so by `fresh`; `first` is the month's first day number. A verdict
/// that did not change keeps `first_seen` and `updated_at`; one that did keeps `first_seen`. Returns whether anything changed.
pub fn enter(page: &mut LedgerPage, first: i32, fresh: Vec<LedgerDay>, replaces: impl Fn(&LedgerDay) -> bool) -> bool {
    let before = page.days(first);
    let mut days: Vec<LedgerDay> = before.iter().filter(|d| !replaces(d)).cloned().collect();
    for mut f in fresh {
        if let Some(old) = before.iter().find(|d| d.day == f.day) {
            f.first_seen = old.first_seen;
            f.reasons = carry(&f, old);
            f.verdict = Reason::worst(f.reasons).number();
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

/// Gives sessions other reasons: `change` gets an entry and says which. Returns whether anything changed; what did is `now`'s.
pub fn amend(page: &mut LedgerPage, first: i32, now: i64, change: impl Fn(&LedgerDay) -> u64) -> bool {
    let mut days = page.days(first);
    let mut changed = false;
    for d in &mut days {
        let reasons = change(d);
        if reasons != d.reasons {
            (d.reasons, d.verdict, d.updated_at) = (reasons, Reason::worst(reasons).number(), now);
            changed = true;
        }
    }
    if changed {
        *page = LedgerPage::pack(first, &days);
    }
    changed
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
    fn a_fresh_verdict_keeps_what_others_said_and_a_filled_absence_does_not() {
        let said = Reason::OUTLIER.bit | Reason::HELD.bit | Reason::NO_TRADE_MINUTES.bit | Reason::THIN_SESSION.bit;
        let old = LedgerDay { reasons: said, ..day(1, 1, 100) };
        let fresh = LedgerDay { reasons: Reason::HOLE.bit, ..day(1, 1, 200) };
        assert_eq!(Reason::names(carry(&fresh, &old)), ["no_trade_minutes", "outlier", "held"]);
        let absent = LedgerDay { rows: 0, ..old };
        assert_eq!(Reason::names(carry(&fresh, &absent)), ["hole", "held"]);
        let mut p = LedgerPage::pack(0, &[day(1, 1, 100), day(2, 1, 100)]);
        assert!(amend(&mut p, 0, 300, |d| if d.day == 1 { Reason::OUTLIER.bit } else { d.reasons }));
        let [a, b] = [p.days(0)[0].clone(), p.days(0)[1].clone()];
        assert_eq!((a.verdict, a.updated_at, b.updated_at), (2, 300, 100));
        assert!(!amend(&mut p, 0, 400, |d| d.reasons));
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
