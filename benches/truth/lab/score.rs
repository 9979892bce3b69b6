//! Claims against the truth.

use super::claims::{Claims, Class, Place};
use std::collections::BTreeSet;

/// How a class came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Places that the truth has.
    pub real: usize,
    /// Places that were claimed.
    pub found: usize,
    /// Places that both have.
    pub right: usize,
}

impl Score {
    /// The share of the claims that is right; 1 where nothing was claimed and nothing was to be found.
    pub fn precision(&self) -> Option<f64> {
        match (self.found, self.real) {
            (0, 0) => Some(1.0),
            (0, _) => None,
            (found, _) => Some(self.right as f64 / found as f64),
        }
    }

    /// The share of what is true that was claimed.
    pub fn recall(&self) -> f64 {
        if self.real == 0 { 1.0 } else { self.right as f64 / self.real as f64 }
    }

    /// Whether every claim is right and nothing is left unclaimed.
    pub fn perfect(&self) -> bool {
        self.right == self.real && self.right == self.found
    }
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, o: Self) {
        self.real += o.real;
        self.found += o.found;
        self.right += o.right;
    }
}

/// How one class came out.
pub fn score(class: Class, truth: &Claims, claims: &Claims) -> Score {
    let none = BTreeSet::new();
    let (real, found) = (truth.get(&class).unwrap_or(&none), claims.get(&class).unwrap_or(&none));
    Score { real: real.len(), found: found.len(), right: real.intersection(found).count() }
}

/// What was not found, and what was found and is not there: the first few of each, for a person to look at.
pub fn wrong(class: Class, truth: &Claims, claims: &Claims) -> String {
    let none = BTreeSet::new();
    let (real, found) = (truth.get(&class).unwrap_or(&none), claims.get(&class).unwrap_or(&none));
    let some = |what: &str, a: &BTreeSet<Place>, b: &BTreeSet<Place>| {
        let all: Vec<String> = a.difference(b).map(|(s, d)| format!("{s} {d}")).collect();
        let more = if all.len() > 8 { ", …" } else { "" };
        format!("{} {what}: {}{more}", all.len(), all.iter().take(8).cloned().collect::<Vec<_>>().join(", "))
    };
    format!("{}: {}; {}", class.name(), some("not found", real, found), some("not there", found, real))
}
