//! Each reason of a verdict in words: the threshold that was used, and what was measured. Pure.

use super::vendor_name;
use datanode_schema::names::Reason;
use datanode_schema::records::{ActionDay, HoldingDay, LedgerDay, Second};
use serde::Serialize;
use serde_json::Value;

/// A reason, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReasonRow {
    /// The reason.
    pub reason: &'static str,
    /// The verdict that it alone would give.
    pub verdict: &'static str,
    /// In words.
    pub means: &'static str,
    /// The threshold, by its name in datasets.yaml; null where the reason has none.
    pub threshold: Option<String>,
    /// What was measured; null where nothing is kept that tells.
    pub measured: Option<String>,
}

/// What is known of a partition beside its verdict.
pub(super) struct Facts<'a> {
    /// The verdict.
    pub(super) day: &'a LedgerDay,
    /// The session with rows before it.
    pub(super) before: Option<&'a LedgerDay>,
    /// What raw holds of it, by vendor.
    pub(super) held: &'a [(String, HoldingDay)],
    /// What a second vendor gave.
    pub(super) second: Option<&'a Second>,
    /// The actions of the day.
    pub(super) action: Option<&'a ActionDay>,
    /// The thresholds of the decision.
    pub(super) thresholds: &'a Value,
}

impl Facts<'_> {
    fn holding(&self) -> Option<&HoldingDay> {
        let of = vendor_name(self.day.vendor);
        self.held.iter().find(|(v, _)| *v == of).or(self.held.first()).map(|(_, h)| h)
    }

    fn thresholds_of(&self, r: &Reason) -> Option<String> {
        let names: &[&str] = match r.bit {
            b if b == Reason::SHORT_SESSION.bit => &["max_silent_edge"],
            b if b == Reason::THIN_SESSION.bit => &["min_completeness"],
            b if b == Reason::HOLE.bit => &["hole_minutes", "hole_chance"],
            b if b == Reason::UNEXPLAINED_JUMP.bit || b == Reason::JUMP_CONFIRMED.bit => {
                &["max_jump", "action_tolerance"]
            }
            b if b == Reason::SPLIT_NOT_SEEN.bit => &["action_tolerance"],
            b if b == Reason::OUTLIER.bit => &["outlier_mads", "outlier_sessions"],
            b if b == Reason::FLAT_LINE.bit => &["flat_rows"],
            b if b == Reason::STALE.bit => &["stale_sessions"],
            b if b == Reason::VENDORS_DISAGREE.bit => &["max_disagreement", "vendor_tolerance"],
            _ => &[],
        };
        let said = |n: &&str| self.thresholds.get(n).map(|v| format!("{n} {v}"));
        let words: Vec<String> = names.iter().filter_map(said).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    fn measured(&self, r: &Reason) -> Option<String> {
        let (d, p) = (self.day, &self.day.print);
        let is = |reason: &Reason| r.bit == reason.bit;
        let of_expected = |n: u32| format!("{n} of {} minutes have a row", d.expected);
        if is(&Reason::SHORT_SESSION) {
            let edge = |h: &HoldingDay| format!("; the first is minute {}, the last minute {}", h.first, h.last);
            return Some(self.holding().map_or_else(|| of_expected(d.rows), |h| of_expected(h.regular) + &edge(h)));
        }
        if is(&Reason::THIN_SESSION) {
            return Some(of_expected(self.holding().map_or(d.rows, |h| h.regular)));
        }
        if is(&Reason::TOO_MANY_ROWS) {
            return Some(format!("{} rows where {} are expected", d.rows, d.expected));
        }
        if is(&Reason::HOLE) || is(&Reason::NO_TRADE_MINUTES) {
            let silent = self.holding().map_or(&[][..], |h| h.silent.as_slice());
            let words: Vec<String> =
                silent.iter().map(|s| format!("{} minutes from minute {}", s.minutes, s.from)).collect();
            return (!words.is_empty()).then(|| format!("silent: {}", words.join(", ")));
        }
        if is(&Reason::UNEXPLAINED_JUMP) || is(&Reason::JUMP_CONFIRMED) || is(&Reason::SPLIT_NOT_SEEN) {
            return self.jump();
        }
        if is(&Reason::OUTLIER) {
            let from =
                self.before.map_or(String::new(), |b| format!(", after {} and {}", b.print.close, b.print.volume));
            return Some(format!("close {}, volume {}{from}", p.close, p.volume));
        }
        if is(&Reason::STALE) {
            return Some(format!("open {}, close {}, volume {}, as before", p.open, p.close, p.volume));
        }
        if is(&Reason::VENDORS_DISAGREE) {
            let s = self.second?;
            return Some(format!("{} of {} rows differ from those of {}", s.differ, s.compared, vendor_name(s.vendor)));
        }
        if is(&Reason::DUPLICATES_DROPPED) || is(&Reason::RESTATED) {
            let h = self.holding()?;
            let n = if is(&Reason::RESTATED) { h.restated } else { h.duplicates };
            return Some(format!("{n} rows"));
        }
        None
    }

    fn jump(&self) -> Option<String> {
        let (b, p) = (&self.before?.print, &self.day.print);
        let factor = if b.close == 0.0 { 0.0 } else { p.open / b.close };
        let action = self.action.map_or(String::from("no action is known"), |a| {
            let mut words = Vec::new();
            if a.split != 1.0 {
                words.push(format!("a split of {} for 1", a.split));
            }
            if a.cash != 0.0 {
                words.push(format!("a dividend of {}", a.cash));
            }
            if a.other != 0 {
                words.push("another action".to_owned());
            }
            words.join(", ")
        });
        let second = self.second.map_or(String::new(), |s| format!("; {} opens at {}", vendor_name(s.vendor), s.open));
        Some(format!("from a close of {} to an open of {} (times {factor:.3}); {action}{second}", b.close, p.open))
    }
}

/// Every reason of the verdict, the worst first.
pub(super) fn explain(facts: &Facts<'_>) -> Vec<ReasonRow> {
    let row = |r: &Reason| ReasonRow {
        reason: r.name,
        verdict: r.verdict.name(),
        means: r.means,
        threshold: facts.thresholds_of(r),
        measured: facts.measured(r),
    };
    let mut reasons: Vec<&Reason> = Reason::ALL.iter().filter(|r| facts.day.reasons & r.bit != 0).collect();
    let worst = |r: &&Reason| match r.verdict.name() {
        "RED" => 0,
        "PENDING" => 1,
        "AMBER" => 2,
        _ => 3,
    };
    reasons.sort_by_key(worst);
    reasons.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::names::Vendor;
    use datanode_schema::records::{Print, Silence};
    use serde_json::json;

    fn print(open: f32, close: f32) -> Print {
        Print { digest: [0; 16], open, close, volume: 100.0 }
    }

    fn verdict(reasons: u64, print: Print) -> LedgerDay {
        LedgerDay {
            day: 1,
            verdict: 2,
            reasons,
            expected: 390,
            rows: 300,
            vendor: Vendor::Alpaca.number(),
            context: 7,
            first_seen: 1,
            updated_at: 1,
            print,
        }
    }

    #[test]
    fn a_reason_says_by_which_threshold_and_what_was_measured() {
        let bits =
            Reason::THIN_SESSION.bit | Reason::HOLE.bit | Reason::VENDORS_DISAGREE.bit | Reason::UNEXPLAINED_JUMP.bit;
        let (day, before) = (verdict(bits, print(5.0, 5.5)), verdict(0, print(9.0, 10.0)));
        let silent = vec![Silence { from: 60, minutes: 30 }];
        let held =
            HoldingDay { day: 1, rows: 300, regular: 300, first: 0, last: 389, duplicates: 0, restated: 0, silent };
        let second =
            Second { day: 1, vendor: Vendor::Massive.number(), compared: 300, differ: 60, open: 5.0, close: 5.5 };
        let thresholds = json!({"min_completeness": 0.9, "hole_minutes": 10, "hole_chance": 0.01, "max_jump": 0.4,
            "action_tolerance": 0.25, "max_disagreement": 0.05, "vendor_tolerance": 0.005});
        let rows = explain(&Facts {
            day: &day,
            before: Some(&before),
            held: &[("alpaca".into(), held)],
            second: Some(&second),
            action: None,
            thresholds: &thresholds,
        });
        let of = |name: &str| {
            rows.iter()
                .find(|r| r.reason == name)
                .map(|r| (r.threshold.clone().unwrap(), r.measured.clone().unwrap()))
                .unwrap()
        };
        assert_eq!(of("thin_session"), ("min_completeness 0.9".into(), "300 of 390 minutes have a row".into()));
        assert_eq!(of("hole").1, "silent: 30 minutes from minute 60");
        assert_eq!(of("vendors_disagree").1, "60 of 300 rows differ from those of massive");
        let jump = of("unexplained_jump").1;
        assert!(
            jump.contains("close of 10 to an open of 5 (times 0.500); no action is known; massive opens at 5"),
            "{jump}"
        );
    }

    #[test]
    fn the_worst_reason_comes_first() {
        let day = verdict(Reason::THIN_SESSION.bit | Reason::HELD.bit, print(1.0, 1.0));
        let facts = Facts { day: &day, before: None, held: &[], second: None, action: None, thresholds: &Value::Null };
        let rows = explain(&facts);
        assert_eq!(rows.iter().map(|r| r.reason).collect::<Vec<_>>(), ["held", "thin_session"]);
        assert_eq!((rows[0].threshold.clone(), rows[0].measured.clone()), (None, None));
    }
}
