//! What goes wrong, and where: drawn from the seed before a single bar is made.

use super::claims::{Claims, Class};
use super::sessions::{self, Day};
use datanode_vendorsim::Rng;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How much of everything.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// Symbols; every fourth of them trades in half to two thirds of its minutes.
    pub symbols: usize,
    /// Sessions that the first vendor lacks.
    pub missing: usize,
    /// Half hours that the first vendor lacks.
    pub holes: usize,
    /// Stretches that the first vendor gives twice.
    pub duplicates: usize,
    /// Two-for-one splits that nobody announces.
    pub splits: usize,
    /// Hours in which nothing traded.
    pub quiet: usize,
    /// Symbols that stop trading.
    pub delisted: usize,
    /// Rows that the first vendor restates.
    pub restated: usize,
    /// Splits that are announced, and gaps of a tenth after news: neither is anything to report.
    pub decoys: usize,
}

impl Size {
    /// What the project measures itself by.
    #[allow(dead_code, reason = "the test runs the small one")]
    pub const FULL: Self = Self {
        symbols: 50,
        missing: 20,
        holes: 20,
        duplicates: 10,
        splits: 5,
        quiet: 10,
        delisted: 5,
        restated: 50,
        decoys: 4,
    };
    /// All of it, on twelve symbols, for every run of the tests.
    #[allow(dead_code, reason = "the bench runs the full one")]
    pub const SMALL: Self = Self {
        symbols: 12,
        missing: 6,
        holes: 6,
        duplicates: 3,
        splits: 2,
        quiet: 3,
        delisted: 2,
        restated: 12,
        decoys: 1,
    };
}

/// A thing that is wrong with the rows of one session.
#[derive(Clone, Debug, Serialize)]
pub enum Wrong {
    /// The first vendor does not have the session.
    Missing,
    /// The first vendor lacks these minutes of the session.
    Hole(Range<u32>),
    /// So many rows from the n-th on come twice from the first vendor.
    Twice(Range<u32>),
    /// Nothing traded in these minutes.
    Quiet(Range<u32>),
    /// The row of this minute, or the next that has one, is restated the day after.
    Restated(u32),
    /// From this session on there are two shares for one; `true` where it was announced.
    Split(bool),
    /// The price opens higher or lower by this factor, after news.
    News(f64),
}

/// A symbol's character.
#[derive(Clone, Debug, Serialize)]
pub struct Symbol {
    /// Its ticker.
    pub name: String,
    /// The share of minutes in which it trades, at the open and the close; a tenth less in the middle of the day.
    pub density: f64,
    /// How many of the sessions it trades in, from the first on.
    pub sessions: usize,
    /// What is wrong, by number of the session.
    pub wrong: BTreeMap<usize, Wrong>,
}

/// Everything that is true of a seed.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How much of everything.
    pub size: Size,
    /// The symbols, by name.
    pub symbols: Vec<Symbol>,
    /// The sessions.
    #[serde(skip)]
    pub days: Vec<Day>,
}

/// Above this share of minutes a symbol counts as liquid.
const LIQUID: f64 = 0.95;

impl Plan {
    /// Draws what goes wrong.
    pub fn draw(seed: u64, size: Size) -> Self {
        let mut rng = Rng::new(seed, &["truth", "plan"]);
        let days = sessions::all();
        let symbols = (0..size.symbols).map(|i| Symbol::draw(&mut rng, i, days.len())).collect();
        let mut plan = Self { seed, size, symbols, days };
        plan.delist(&mut rng);
        for (n, announced) in [(size.splits, false), (size.decoys, true)] {
            plan.each(&mut rng, n, |_, s, day| s.apart(day).then_some(Wrong::Split(announced)));
        }
        plan.each(&mut rng, size.decoys, |rng, s, day| {
            let factor = if rng.unit() < 0.5 { 0.9 } else { 1.1 };
            s.apart(day).then_some(Wrong::News(factor))
        });
        // The last session before a delisting is kept, so that the delisting begins where the plan says.
        plan.each(&mut rng, size.missing, |_, s, day| {
            (day + 1 < s.sessions || s.sessions == 60).then_some(Wrong::Missing)
        });
        let minutes = |plan: &Self, day: usize| plan.days.get(day).map_or(0, |d| d.minutes);
        let all: Vec<u32> = (0..plan.days.len()).map(|d| minutes(&plan, d)).collect();
        let inside = |rng: &mut Rng, day: usize, n: u32| {
            let room = all.get(day).map_or(0, |m| m - 30 - n);
            let from = 15 + u32::try_from(rng.below(u64::from(room))).unwrap_or(0);
            from..from + n
        };
        plan.each(&mut rng, size.holes, |rng, _, day| Some(Wrong::Hole(inside(rng, day, 30))));
        plan.each(&mut rng, size.quiet, |rng, s, day| (s.density > LIQUID).then(|| Wrong::Quiet(inside(rng, day, 60))));
        plan.each(&mut rng, size.duplicates, |rng, _, _| {
            let (from, n) = (rng.below(60) as u32, 30 + rng.below(61) as u32);
            Some(Wrong::Twice(from..from + n))
        });
        plan.each(&mut rng, size.restated, |rng, _, day| Some(Wrong::Restated(inside(rng, day, 1).start)));
        plan
    }

    /// Symbols end eight to twenty-five sessions before the others.
    fn delist(&mut self, rng: &mut Rng) {
        let mut left = self.size.delisted;
        while left > 0 {
            let (at, early) = (rng.below(self.symbols.len() as u64) as usize, 8 + rng.below(18) as usize);
            if let Some(s) = self.symbols.get_mut(at).filter(|s| s.sessions == self.days.len()) {
                s.sessions -= early;
                left -= 1;
            }
        }
    }

    /// Puts `n` things into sessions that have nothing wrong yet; `what` may refuse a place.
    fn each(&mut self, rng: &mut Rng, n: usize, what: impl Fn(&mut Rng, &Symbol, usize) -> Option<Wrong>) {
        let mut left = n;
        while left > 0 {
            let (at, day) = (rng.below(self.symbols.len() as u64) as usize, rng.below(self.days.len() as u64) as usize);
            let Some(s) = self.symbols.get_mut(at) else { continue };
            // Nothing beside a split or news: what is wrong there must be known for certain.
            let beside = [day.saturating_sub(1), day, day + 1]
                .into_iter()
                .any(|d| matches!(s.wrong.get(&d), Some(Wrong::Split(_) | Wrong::News(_))));
            if day >= s.sessions || s.wrong.contains_key(&day) || beside {
                continue;
            }
            if let Some(wrong) = what(rng, s, day) {
                s.wrong.insert(day, wrong);
                left -= 1;
            }
        }
    }

    /// What is true of the plan, in the words in which everybody is asked; `World::truth` has the rest.
    pub fn truth(&self) -> Claims {
        let mut out = Claims::new();
        let half: BTreeSet<_> = self.days.iter().filter(|d| d.minutes == 210).map(|d| d.date).collect();
        for s in &self.symbols {
            let mut put = |class: Class, day: usize| {
                if let Some(d) = self.days.get(day) {
                    out.entry(class).or_default().insert((s.name.clone(), d.date));
                }
            };
            for (day, wrong) in &s.wrong {
                match wrong {
                    Wrong::Missing => put(Class::Missing, *day),
                    Wrong::Hole(_) => put(Class::Hole, *day),
                    Wrong::Twice(_) => put(Class::Duplicate, *day),
                    Wrong::Quiet(_) => put(Class::Quiet, *day),
                    Wrong::Restated(_) => put(Class::Restated, *day),
                    Wrong::Split(false) => put(Class::Split, *day),
                    Wrong::Split(true) | Wrong::News(_) => {}
                }
            }
            if s.sessions < self.days.len() {
                put(Class::Delisting, s.sessions);
            }
            for (i, d) in self.days.iter().enumerate().take(s.sessions) {
                if half.contains(&d.date) {
                    put(Class::HalfDay, i);
                }
                if d.date.to_string() == sessions::WINTER {
                    put(Class::Clocks, i);
                }
            }
        }
        out
    }
}

impl Symbol {
    fn draw(rng: &mut Rng, i: usize, sessions: usize) -> Self {
        let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
        let density = match i % 4 {
            3 => rng.between(0.55, 0.70),
            2 => rng.between(0.97, 1.0),
            _ => 1.0,
        };
        let name = format!("T{}{}", letter(i / 26), letter(i));
        Self { name, density, sessions, wrong: BTreeMap::new() }
    }

    /// Whether a jump may be put here: sessions enough before and after, and nothing wrong on either side.
    fn apart(&self, day: usize) -> bool {
        let clear = |d: usize| !self.wrong.contains_key(&d);
        self.sessions == 60 && (5..55).contains(&day) && clear(day - 1) && clear(day + 1)
    }
}
