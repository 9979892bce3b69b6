//! A measured figure: one JSON object a line on stdout, which `report` makes a table of.

use serde::{Deserialize, Serialize};

/// One figure. `value` is the median of `n` samples, `min` and `max` are the extremes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Which part of the harness measured it; a heading of the table.
    pub figure: String,
    /// What it is, in words; unique within its part.
    pub what: String,
    /// Its unit; empty for a ratio.
    #[serde(default)]
    pub unit: String,
    /// The median.
    pub value: f64,
    /// The smallest sample.
    pub min: f64,
    /// The largest sample.
    pub max: f64,
    /// How many samples.
    pub n: usize,
    /// What the reader needs to know to judge it.
    #[serde(default)]
    pub note: String,
}

impl Figure {
    /// The median of samples; nothing where there are none.
    pub fn of(figure: &str, what: &str, unit: &str, samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            figure: figure.to_owned(),
            what: what.to_owned(),
            unit: unit.to_owned(),
            value: median(&sorted)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            n: sorted.len(),
            note: String::new(),
        })
    }

    /// The same with a note.
    #[allow(dead_code, reason = "not every harness needs it")]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Prints a figure where there is one.
pub fn print(figure: Option<Figure>) {
    if let Some(line) = figure.and_then(|f| serde_json::to_string(&f).ok()) {
        println!("{line}");
    }
}

/// The middle of sorted samples, or the mean of the two middle ones.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some((sorted.get(half.checked_sub(1)?)? + upper) / 2.0) }
}

/// The sample below which `share` of the sorted samples lie.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}
