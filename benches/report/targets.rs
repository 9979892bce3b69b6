//! What the project set itself, in one place. They are shown beside what was measured, and nothing fails on them: how
//! fast a machine is that does other work too proves nothing about the program.

use crate::figure::Figure;
use std::fmt;

/// A bound.
#[derive(Clone, Copy)]
pub enum Target {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

use Target::{AtLeast, AtMost};

/// Part, figure, unit, bound.
const TARGETS: [(&str, &str, &str, Target); 4] = [
    ("nightly", "rows a second, end to end", "rows/s", AtLeast(50_000.0)),
    ("nightly", "peak memory", "MB", AtMost(256.0)),
    ("nothing to do", "wall", "s", AtMost(2.0)),
    ("nothing to do", "requests", "requests", AtMost(0.0)),
];

/// The bound of a figure.
pub fn target(f: &Figure) -> Option<Target> {
    let of = TARGETS.iter().find(|(part, what, unit, _)| (*part, *what, *unit) == (&f.figure, &f.what, &f.unit));
    of.map(|(_, _, _, t)| *t)
}

impl Target {
    /// Whether a value is within the bound.
    pub fn met(self, value: f64) -> bool {
        match self {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtLeast(bound) => write!(f, "≥ {}", crate::number(*bound, "")),
            AtMost(bound) => write!(f, "≤ {}", crate::number(*bound, "")),
        }
    }
}
