//! The score by which vendors are ranked for a dataset:
//! coverage × preference × learned quality ÷ (expected cost × expected latency).

use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::records::Standing;
use datanode_schema::registry::{Cadence, Capability, DatasetRule, Limits};
use serde::Serialize;

/// Tasks of one request are counted up to a year of sessions: beyond it a larger page is no better.
const MOST_TASKS: f64 = 250.0;
/// Where no limit is set, a request costs so many seconds of budget.
const FREE: f64 = 0.01;

/// The terms of a score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Terms {
    /// 1 where the vendor has the session and may be asked for it, else 0.
    pub coverage: f64,
    /// The registry's preference, in hundredths.
    pub preference: f64,
    /// The share of good answers of late, from 0.02 to 1.
    pub quality: f64,
    /// Seconds of the vendor's budget that one task uses up.
    pub cost: f64,
    /// Seconds that one request takes.
    pub latency: f64,
    /// All of them together.
    pub score: f64,
}

/// The score of a vendor for a dataset.
pub fn terms(rule: &DatasetRule, c: &Capability, limits: &Limits, standing: &Standing, covered: bool) -> Terms {
    let coverage = f64::from(u8::from(covered));
    let preference = f64::from(c.preference) / 100.0;
    let quality =
        if standing.asks == 0 { 1.0 } else { (f64::from(standing.quality_ppm) / 1_000_000.0).clamp(0.02, 1.0) };
    let per = |seconds: f64, n: f64| if n > 0.0 { seconds / n } else { FREE };
    #[allow(clippy::cast_precision_loss, reason = "a limit")]
    let a_day = per(86_400.0, limits.per_day as f64);
    let request = per(1.0, f64::from(limits.per_second)).max(per(60.0, f64::from(limits.per_minute))).max(a_day);
    let shape = Shape::of(rule, c);
    #[allow(clippy::cast_precision_loss, reason = "a count below 1,000,000")]
    let tasks = (shape.tasks() as f64).clamp(1.0, MOST_TASKS);
    let cost = request / tasks;
    let latency = if standing.latency_ms > 0 { standing.latency_ms } else { c.latency_ms };
    let latency = (f64::from(latency) / 1000.0).max(0.01);
    Terms { coverage, preference, quality, cost, latency, score: coverage * preference * quality / (cost * latency) }
}

/// What one request of a vendor can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sessions of one symbol, from the first to the last.
    pub sessions: usize,
    /// Symbols.
    pub symbols: usize,
    /// Sessions × symbols.
    pub rows: usize,
    /// Calendar days from the first to the last; 0 = no limit.
    pub days: i32,
}

impl Shape {
    /// The shape that the registry gives; `rows` counts sessions of one symbol.
    pub fn of(rule: &DatasetRule, c: &Capability) -> Self {
        let rows = (c.max_rows / expected_rows(rule)).max(1) as usize;
        Self {
            sessions: rows,
            symbols: (c.max_symbols as usize).min(rows),
            rows,
            days: i32::try_from(c.max_days).unwrap_or(0),
        }
    }

    fn tasks(&self) -> usize {
        let days = usize::try_from(self.days).unwrap_or(0);
        if days == 0 { self.rows } else { self.rows.min(days.saturating_mul(self.symbols)) }
    }
}

/// Rows that a session brings as a rule. Extended hours may bring more: then the answer has one more page.
fn expected_rows(rule: &DatasetRule) -> u32 {
    match rule.cadence {
        Cadence::Minute => rule.rows_per_session.clamp(1, 390),
        Cadence::Session | Cadence::Event | Cadence::Snapshot => rule.rows_per_session.max(1),
    }
}

impl super::Learned {
    /// Averages in an answer: `good`, and how long one of its requests took.
    pub fn learn(&mut self, vendor: Vendor, dataset: Dataset, good: bool, latency_ms: Option<u32>, now: i64) {
        let s = self.0.entry((vendor, dataset)).or_default();
        let mix = |old: u32, new: u32, first: bool| {
            if first { new } else { old - old / 16 + new / 16 }
        };
        let first = s.asks == 0;
        s.asks += 1;
        s.good += u64::from(good);
        s.quality_ppm = mix(if first { 1_000_000 } else { s.quality_ppm }, if good { 1_000_000 } else { 0 }, false);
        if let Some(ms) = latency_ms.filter(|_| good) {
            s.latency_ms = mix(s.latency_ms, ms.max(1), s.latency_ms == 0).max(1);
        }
        s.updated_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::registry::{Registry, Sources};

    fn of(vendor: Vendor, standing: &Standing) -> Terms {
        let r = Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap();
        let d = Dataset::EquitiesBarsMinute;
        let caps = &r.vendors[&vendor];
        terms(&r.datasets[&d], &caps.datasets[&d], &caps.limits, standing, true)
    }

    #[test]
    fn the_score_is_made_of_its_terms() {
        let t = of(Vendor::Alpaca, &Standing::default());
        assert!((t.score - t.coverage * t.preference * t.quality / (t.cost * t.latency)).abs() < 1e-9);
        let (files, alpaca, massive) =
            (of(Vendor::Files, &Standing::default()), t, of(Vendor::Massive, &Standing::default()));
        assert!(files.score > alpaca.score && alpaca.score > massive.score, "{files:?} {alpaca:?} {massive:?}");
    }

    #[test]
    fn failures_lower_the_quality_and_good_answers_bring_it_back() {
        let mut l = super::super::Learned::default();
        let quality = |l: &super::super::Learned| l.0[&(Vendor::Alpaca, Dataset::EquitiesBars)].quality_ppm;
        for _ in 0..20 {
            l.learn(Vendor::Alpaca, Dataset::EquitiesBars, false, None, 1);
        }
        let low = quality(&l);
        assert!(low < 400_000);
        for _ in 0..60 {
            l.learn(Vendor::Alpaca, Dataset::EquitiesBars, true, Some(40), 2);
        }
        assert!(quality(&l) > 900_000);
        assert!((35..=40).contains(&l.0[&(Vendor::Alpaca, Dataset::EquitiesBars)].latency_ms));
    }
}
