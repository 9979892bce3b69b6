//! What holds and incidents make of a verdict. Pure but for loading.

use super::Artifact;
use datanode_schema::names::{Dataset, IncidentLabel, Reason, Verdict};
use datanode_schema::records::{HoldRecord, Incident, LedgerDay, LedgerPage};
use datanode_schema::registry::Amber;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::{HOLDS, INCIDENTS};
use std::collections::BTreeMap;

/// Everything that is said by hand, by symbol; loaded once for a stage.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    of: BTreeMap<Dataset, BTreeMap<String, Manual>>,
    nothing: Manual,
}

/// What is said by hand of one symbol of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manual {
    /// In the order of the acts.
    holds: Vec<HoldRecord>,
    /// First and last day, and the reason that the label gives.
    labels: Vec<(i32, i32, u64)>,
}

impl Quarantine {
    /// What the store has.
    ///
    /// # Errors
    /// The store's.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let mut q = Self::default();
        for (k, hold) in store.load_all(&HOLDS, &[])? {
            q.entry(k.dataset, &k.symbol).holds.push(hold);
        }
        for (_, incident) in store.load_all(&INCIDENTS, &[])? {
            // Closed ones too, without a label: what they once marked is looked at again.
            if let Some((dataset, symbol, from, to)) =
                Artifact::parse(&incident.artifact).ok().as_ref().and_then(Artifact::span)
            {
                let bit = if incident.is_open() { reason_of(&incident) } else { 0 };
                q.entry(dataset, symbol).labels.push((from, to, bit));
            }
        }
        Ok(q)
    }

    fn entry(&mut self, dataset: Dataset, symbol: &str) -> &mut Manual {
        self.of.entry(dataset).or_default().entry(symbol.to_owned()).or_default()
    }

    /// What is said of one symbol; of most of them nothing.
    pub fn of(&self, dataset: Dataset, symbol: &str) -> &Manual {
        self.of.get(&dataset).and_then(|s| s.get(symbol)).unwrap_or(&self.nothing)
    }

    /// Every symbol of which something is, or was, said.
    pub fn symbols(&self) -> impl Iterator<Item = (Dataset, &str, &Manual)> {
        self.of.iter().flat_map(|(d, symbols)| symbols.iter().map(|(s, m)| (*d, s.as_str(), m)))
    }
}

fn reason_of(incident: &Incident) -> u64 {
    match IncidentLabel::from_number(incident.label) {
        Some(IncidentLabel::Deprecated) => Reason::INCIDENT_DEPRECATED.bit,
        // A label that this build does not know is taken for the worse one.
        Some(IncidentLabel::Invalid) | None => Reason::INCIDENT_INVALID.bit,
    }
}

/// Whether a person can have looked at a day when they released it: an end that is open is none of days to come.
fn had_come(release: &HoldRecord, day: i32) -> bool {
    i64::from(day) <= release.at.div_euclid(86_400)
}

/// The reasons of a set that alone would give AMBER.
fn amber_of(reasons: u64) -> u64 {
    let amber = Reason::ALL.iter().filter(|r| r.verdict == Verdict::Amber).fold(0, |a, r| a | r.bit);
    reasons & amber
}

impl Manual {
    /// The reasons of a day with rows: what the checks found, without what was said by hand before, and with what is said now.
    /// Whoever enters a verdict into the ledger passes its reasons through this, and takes the colour of what comes out.
    pub fn apply(&self, day: i32, reasons: u64) -> u64 {
        let labels = self.labels.iter().filter(|(from, to, _)| *from <= day && day <= *to);
        let found = labels.fold(reasons & !Reason::BY_HAND, |all, (_, _, bit)| all | bit);
        match self.last_word(day) {
            Some(h) if h.holds => found | Reason::HELD.bit,
            // What came up since nobody has looked at: it is held again.
            Some(h) if had_come(h, day) && Reason::worst(found) == Verdict::Amber && amber_of(found) & !h.lets == 0 => {
                found | Reason::RELEASED.bit
            }
            _ => found,
        }
    }

    /// Of the holds and releases that cover a day the last one.
    fn last_word(&self, day: i32) -> Option<&HoldRecord> {
        self.holds.iter().rev().find(|h| h.from <= day && day <= h.to)
    }

    /// Whether a day is held.
    pub fn is_held(&self, day: i32) -> bool {
        self.last_word(day).is_some_and(|h| h.holds)
    }

    /// Whether a hold covers any of these days, with rows or without.
    fn holds_any(&self, from: i32, to: i32) -> bool {
        // What counts changes only where an act begins, or after one has ended.
        let edges = self.holds.iter().flat_map(|h| [h.from, h.to.saturating_add(1)]).filter(|d| from < *d && *d <= to);
        edges.chain([from]).any(|d| self.is_held(d))
    }
}

/// A month's page with what is said by hand; None where it says so already. `first` is the month's first day number, `now` unix
/// seconds.
pub fn reenter(page: &LedgerPage, first: i32, manual: &Manual, now: i64) -> Option<LedgerPage> {
    let mut days = page.days(first);
    let mut changed = false;
    for d in days.iter_mut() {
        // Of what is not there nothing is said: it was held while it had rows.
        let reasons = if d.rows > 0 { manual.apply(d.day, d.reasons) } else { d.reasons & !Reason::BY_HAND };
        if reasons != d.reasons {
            (d.reasons, d.verdict, d.updated_at) = (reasons, Reason::worst(reasons).number(), now);
            changed = true;
        }
    }
    changed.then(|| LedgerPage::pack(first, &days))
}

/// What a release would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Whether it ends a hold.
    pub ends: bool,
    /// AMBER partitions that may ship by it.
    pub released: u64,
    /// The set of their reasons.
    pub lets: u64,
    /// Partitions that stay RED, by a check or by an incident.
    pub still_red: u64,
    /// The first of those: its day and its reasons.
    pub first_red: Option<(i32, u64)>,
}

/// What a release of `from..=to` would do, given the symbol's ledger days and the dataset's rule.
pub fn weigh_release(manual: &Manual, days: &[LedgerDay], (from, to): (i32, i32), amber: Amber) -> Release {
    let mut out = Release { ends: manual.holds_any(from, to), ..Release::default() };
    for d in days.iter().filter(|d| d.rows > 0 && from <= d.day && d.day <= to) {
        let rest = manual.apply(d.day, d.reasons) & !(Reason::HELD.bit | Reason::RELEASED.bit);
        match Reason::worst(rest) {
            Verdict::Red => {
                out.still_red += 1;
                out.first_red.get_or_insert((d.day, rest));
            }
            Verdict::Amber if amber == Amber::Hold => {
                out.released += 1;
                out.lets |= amber_of(rest);
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::records::Print;

    const THIN: u64 = Reason::THIN_SESSION.bit;
    const WRONG: u64 = Reason::OHLC_ORDER.bit;

    fn hold(from: i32, to: i32, holds: bool, lets: u64) -> HoldRecord {
        HoldRecord { from, to, holds, lets, at: 10 * 86_400, by: "uid 1".into(), why: "why".into() }
    }

    fn manual(holds: &[HoldRecord], labels: &[(i32, i32, u64)]) -> Manual {
        Manual { holds: holds.to_vec(), labels: labels.to_vec() }
    }

    fn day(day: i32, reasons: u64, rows: u32) -> LedgerDay {
        LedgerDay {
            day,
            verdict: Reason::worst(reasons).number(),
            reasons,
            expected: 1,
            rows,
            vendor: 2,
            context: 9,
            first_seen: 1,
            updated_at: 1,
            print: Print { digest: [3; 16], ..Print::default() },
        }
    }

    #[test]
    fn the_last_act_that_covers_a_day_counts() {
        let m = manual(&[hold(0, 30, true, 0), hold(10, 12, false, 0), hold(12, 12, true, 0)], &[]);
        let held: Vec<i32> = (8..14).filter(|d| m.apply(*d, 0) & Reason::HELD.bit != 0).collect();
        assert_eq!(held, [8, 9, 12, 13]);
        assert!(m.holds_any(9, 11) && m.holds_any(11, 12) && !m.holds_any(10, 11) && !m.holds_any(31, 90));
        assert!(manual(&[hold(i32::MIN, i32::MAX, true, 0)], &[]).holds_any(5, 5));
    }

    #[test]
    fn what_was_said_before_is_masked_and_what_checks_found_stays() {
        let m = manual(&[], &[(5, 6, Reason::INCIDENT_INVALID.bit)]);
        assert_eq!(m.apply(4, THIN | Reason::BY_HAND), THIN);
        assert_eq!(m.apply(5, WRONG), WRONG | Reason::INCIDENT_INVALID.bit);
    }

    #[test]
    fn a_release_lets_pass_what_was_seen_and_nothing_that_came_since() {
        let m = manual(&[hold(0, 9, false, THIN)], &[]);
        assert_eq!(m.apply(1, THIN), THIN | Reason::RELEASED.bit);
        assert_eq!(m.apply(1, THIN | Reason::OUTLIER.bit), THIN | Reason::OUTLIER.bit);
        assert_eq!(m.apply(1, THIN | WRONG), THIN | WRONG, "RED is never released");
        assert_eq!(m.apply(1, 0), 0, "GREEN needs no release");
        assert_eq!(m.apply(10, THIN), THIN);
        let open = manual(&[hold(0, i32::MAX, false, THIN)], &[]);
        assert_eq!(open.apply(10, THIN), THIN | Reason::RELEASED.bit);
        assert_eq!(open.apply(11, THIN), THIN, "the day after the release nobody had seen");
    }

    #[test]
    fn a_page_is_entered_again_only_where_something_changes() {
        let gone = Reason::MISSING_SESSION.bit;
        let page = LedgerPage::pack(0, &[day(1, 0, 1), day(2, THIN, 1), day(3, gone | Reason::HELD.bit, 0)]);
        let m = manual(&[hold(2, 3, true, 0)], &[]);
        let got = reenter(&page, 0, &m, 77).unwrap().days(0);
        let of = |d: &LedgerDay| (d.reasons, d.verdict, d.updated_at, d.first_seen);
        assert_eq!(of(&got[0]), (0, Verdict::Green.number(), 1, 1));
        assert_eq!(of(&got[1]), (THIN | Reason::HELD.bit, Verdict::Red.number(), 77, 1));
        assert_eq!(got[1].print, page.days(0)[1].print, "what the rows come to stays");
        assert_eq!(of(&got[2]), (gone, Verdict::Pending.number(), 77, 1), "nothing is there any more to be held");
        assert!(reenter(&reenter(&page, 0, &m, 77).unwrap(), 0, &m, 99).is_none());
        let back = reenter(&LedgerPage::pack(0, &got), 0, &Manual::default(), 88).unwrap().days(0);
        assert_eq!(of(&back[1]), (THIN, Verdict::Amber.number(), 88, 1));
    }

    #[test]
    fn a_release_is_weighed_before_it_is_made() {
        let days = [day(1, 0, 1), day(2, THIN, 1), day(3, WRONG, 1), day(4, Reason::MISSING_SESSION.bit, 0)];
        let held = manual(&[hold(1, 3, true, 0)], &[]);
        let r = weigh_release(&held, &days, (1, 4), Amber::Hold);
        assert_eq!((r.ends, r.released, r.lets, r.still_red, r.first_red), (true, 1, THIN, 1, Some((3, WRONG))));
        let r = weigh_release(&Manual::default(), &days, (1, 4), Amber::Ship);
        assert_eq!((r.ends, r.released, r.lets), (false, 0, 0));
        let labelled = manual(&[], &[(2, 2, Reason::INCIDENT_INVALID.bit)]);
        assert_eq!(
            weigh_release(&labelled, &days, (2, 2), Amber::Hold).still_red,
            1,
            "an incident is closed, not released"
        );
    }
}
