//! The bars of one symbol: a random walk with livelier ends of the day, a few minutes outside the session, and what the plan
//! makes wrong of it. Prices are whole cents until they are written.

use super::plan::{Plan, Symbol, Wrong};
use super::sessions::Day;
use datanode_vendorsim::Rng;
use std::ops::Range;

/// One bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its minute, counted from the open; before the open it is negative.
    pub minute: i64,
    /// Cents.
    pub open: i64,
    /// Cents.
    pub high: i64,
    /// Cents.
    pub low: i64,
    /// Cents.
    pub close: i64,
    /// Shares.
    pub volume: i64,
}

/// A session as the vendors give it. None where they have nothing.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What is true; the second vendor gives this.
    pub truth: Vec<Row>,
    /// The first vendor's, on the first night; None where it is the truth.
    pub first: Option<Vec<Row>>,
    /// The first vendor's from the second night on; None where it is the same as before.
    pub later: Option<Vec<Row>>,
}

/// All sessions in which a symbol trades, in order.
pub fn sessions(plan: &Plan, symbol: &Symbol) -> Vec<Given> {
    let mut rng = Rng::new(plan.seed, &["truth", "symbol", &symbol.name]);
    let mut walk = Walk {
        price: rng.between(2_500.0, 30_000.0),
        daily: rng.between(0.012, 0.028),
        volume: rng.between(400.0, 4_000.0),
        density: symbol.density,
    };
    let days = plan.days.iter().take(symbol.sessions).enumerate();
    days.map(|(i, day)| {
        let mut rng = Rng::new(plan.seed, &["truth", &symbol.name, &day.date.to_string()]);
        let wrong = symbol.wrong.get(&i);
        let mut truth = walk.session(&mut rng, day, wrong);
        if let Some(Wrong::Quiet(minutes)) = wrong {
            truth.retain(|r| !within(minutes, r));
        }
        given(truth, wrong)
    })
    .collect()
}

/// What the vendors make of a session.
fn given(truth: Vec<Row>, wrong: Option<&Wrong>) -> Given {
    let mut out = Given { truth, ..Given::default() };
    match wrong {
        Some(Wrong::Missing) => out.first = Some(Vec::new()),
        Some(Wrong::Hole(minutes)) => out.first = Some(without(&out.truth, minutes)),
        Some(Wrong::Twice(rows)) => {
            // A batch comes again after itself, as from a page that was given twice.
            let regular = out.truth.iter().position(|r| r.minute >= 0).unwrap_or(0);
            let at = |n: u32| (regular + n as usize).min(out.truth.len());
            let (from, to) = (at(rows.start), at(rows.end));
            let mut twice = out.truth.clone();
            let again: Vec<Row> = twice.iter().take(to).skip(from).copied().collect();
            twice.splice(to..to, again);
            out.first = Some(twice);
        }
        Some(Wrong::Restated(minute)) => {
            let mut before = out.truth.clone();
            if let Some(r) = before.iter_mut().find(|r| r.minute >= i64::from(*minute)) {
                // A late trade was not in it: less volume, another close.
                r.volume -= r.volume / 5 + 1;
                r.close = if r.close == r.low { r.high } else { r.low };
            }
            out.first = Some(before);
            out.later = Some(out.truth.clone());
        }
        Some(Wrong::Quiet(_) | Wrong::Split(_) | Wrong::News(_)) | None => {}
    }
    out
}

fn within(minutes: &Range<u32>, row: &Row) -> bool {
    (i64::from(minutes.start)..i64::from(minutes.end)).contains(&row.minute)
}

fn without(rows: &[Row], minutes: &Range<u32>) -> Vec<Row> {
    rows.iter().filter(|r| !within(minutes, r)).copied().collect()
}

/// Where a symbol's price is, and how it moves.
struct Walk {
    price: f64,
    /// The standard deviation of a day's return.
    daily: f64,
    /// Shares in a minute of the middle of the day.
    volume: f64,
    density: f64,
}

impl Walk {
    fn session(&mut self, rng: &mut Rng, day: &Day, wrong: Option<&Wrong>) -> Vec<Row> {
        match wrong {
            Some(Wrong::Split(_)) => {
                self.price /= 2.0;
                self.volume *= 2.0;
            }
            Some(Wrong::News(factor)) => self.price *= factor,
            _ => {}
        }
        self.price *= 1.0 + (self.daily * 0.4 * rng.normal()).clamp(-0.02, 0.02);
        let (lively, busy) = (rng.between(0.7, 1.4), rng.between(0.7, 1.5));
        let minutes = i64::from(day.minutes);
        let sigma = self.daily * lively / 390f64.sqrt();
        let mut out = Vec::with_capacity(day.minutes as usize + 40);
        // Two and a half hours around the session, far thinner.
        for minute in -150..minutes + 150 {
            let x = 2.0 * minute as f64 / minutes as f64 - 1.0;
            let regular = (0..minutes).contains(&minute);
            let (trades, sigma, volume) = if regular {
                // Thin symbols are thinnest in the middle of the day; liquid ones trade in every minute but a few.
                let thin = if self.density < 0.9 { 0.9 + 0.1 * x * x } else { 1.0 };
                (self.density * thin, sigma * (0.8 + 0.6 * x * x), self.volume * (0.6 + x * x))
            } else {
                (0.08, sigma * 0.3, self.volume * 0.1)
            };
            self.price = (self.price * (1.0 + sigma * rng.normal())).max(500.0);
            if rng.unit() < trades {
                out.push(self.row(rng, minute, sigma, volume * busy));
            }
        }
        out
    }

    fn row(&self, rng: &mut Rng, minute: i64, sigma: f64, volume: f64) -> Row {
        let mut near = || (self.price * (1.0 + 0.5 * sigma * rng.normal())).round() as i64;
        let (open, close, a, b) = (near(), near(), near(), near());
        let (high, low) = (open.max(close).max(a).max(b), open.min(close).min(a).min(b));
        // Never without a range, so that another close can be told.
        let high = if high == low { high + 1 } else { high };
        let volume = 20 + (volume * (0.4 + 1.2 * rng.unit())) as i64;
        Row { minute, open, high, low, close, volume }
    }
}
