//! `universe.yaml`: for each dataset and symbol the windows that the node should hold.

use super::{DatasetRule, RegistryError, yaml};
use crate::names::Dataset;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sessions `from..=to`; without `to`, until delisted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First session.
    pub from: NaiveDate,
    /// Last session.
    #[serde(default)]
    pub to: Option<NaiveDate>,
}

impl Span {
    /// The span up to `as_of`.
    pub fn until(&self, as_of: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let to = self.to.map_or(as_of, |t| t.min(as_of));
        (self.from <= to).then_some((self.from, to))
    }
}

/// What the node should hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Universe {
    /// Sorted by dataset, then symbol.
    pub datasets: BTreeMap<Dataset, BTreeMap<String, Vec<Span>>>,
}

impl Universe {
    /// The spans of a symbol.
    pub fn spans(&self, dataset: Dataset, symbol: &str) -> &[Span] {
        self.datasets.get(&dataset).and_then(|m| m.get(symbol)).map_or(&[], Vec::as_slice)
    }

    /// Every (dataset, symbol, spans).
    pub fn iter(&self) -> impl Iterator<Item = (Dataset, &str, &[Span])> {
        self.datasets.iter().flat_map(|(d, m)| m.iter().map(move |(s, w)| (*d, s.as_str(), w.as_slice())))
    }

    /// The last day that any span names, or None where a span is open.
    pub fn last_day(&self) -> Option<NaiveDate> {
        let mut last = None;
        for (_, _, spans) in self.iter() {
            for s in spans {
                last = last.max(Some(s.to?));
            }
        }
        last
    }

    /// The first day that any span names.
    pub fn first_day(&self) -> Option<NaiveDate> {
        self.iter().flat_map(|(_, _, s)| s.iter().map(|s| s.from)).min()
    }
}

/// Says what is wrong with a symbol: 1–32 of `A-Z a-z 0-9 . - : / _ ^ =`, the first a letter, digit or `^`, no `..`.
///
/// # Errors
/// The problem, in words.
pub fn check_symbol(symbol: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-:/_^=".contains(c);
    let first = symbol.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '^');
    if first && symbol.len() <= 32 && symbol.chars().all(legal) && !symbol.contains("..") && !symbol.contains("//") {
        Ok(())
    } else {
        Err(format!(
            "{symbol:?} is no symbol: 1 to 32 letters, digits or . - : / _ ^ =, beginning with a letter or digit, without `..`"
        ))
    }
}

/// Windows of one symbol: a ticker is used again a few times, not more.
const MAX_SPANS: u64 = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    universe: BTreeMap<Dataset, BTreeMap<String, Vec<Span>>>,
}

pub(super) fn parse(
    file: &str,
    text: &str,
    datasets: &BTreeMap<Dataset, DatasetRule>,
) -> Result<Universe, RegistryError> {
    let parsed: File = yaml::parse(file, text)?;
    for (dataset, symbols) in &parsed.universe {
        let at = |path: &[&str], problem: String| yaml::at(file, text, path, problem);
        let Some(rule) = datasets.get(dataset) else {
            return Err(at(
                &["universe", dataset.name()],
                "not in datasets.yaml: add it there or remove it here".into(),
            ));
        };
        for (symbol, spans) in symbols {
            let path = ["universe", dataset.name(), symbol.as_str()];
            check_symbol(symbol).map_err(|p| at(&path, p))?;
            yaml::within(spans.len() as u64, 1, MAX_SPANS).map_err(|_| {
                at(&path, format!("it has {} windows; write 1 to {MAX_SPANS}, or remove the symbol", spans.len()))
            })?;
            let mut before: Option<Span> = None;
            for s in spans {
                if s.to.is_some_and(|to| to < s.from) {
                    return Err(at(
                        &path,
                        format!("the window {} to {} ends before it begins", s.from, s.to.unwrap_or(s.from)),
                    ));
                }
                if let Some(d) = [Some(s.from), s.to].into_iter().flatten().find(|d| !rule.calendar().covers(*d)) {
                    let problem = format!("the calendar {} does not know {d}; write a day that it has", rule.calendar);
                    return Err(at(&path, problem));
                }
                if let Some(b) = before
                    && b.to.is_none_or(|to| to >= s.from)
                {
                    return Err(at(
                        &path,
                        format!("the window from {} overlaps the one from {}, or stands before it", s.from, b.from),
                    ));
                }
                before = Some(*s);
            }
        }
    }
    Ok(Universe { datasets: parsed.universe })
}

#[cfg(test)]
mod tests {
    use super::super::{Registry, Sources};
    use super::*;

    fn with_universe(text: &str) -> Result<Registry, RegistryError> {
        let mut s = Sources::read(None, None, None).unwrap();
        s.universe = ("universe.yaml".into(), text.into());
        Registry::parse(&s)
    }

    #[test]
    fn the_built_in_registry_is_valid() {
        let s = Sources::read(None, None, None).unwrap();
        Registry::parse(&s).unwrap();
    }

    #[test]
    fn a_symbol_that_climbs_is_refused_with_its_line() {
        let e = with_universe(
            "universe:\n  equities_bars:\n    AAPL: [{from: 2020-01-02}]\n    ../../x: [{from: 2020-01-02}]\n",
        )
        .unwrap_err()
        .to_string();
        assert!(e.starts_with("universe.yaml:4: universe.equities_bars.../../x: \"../../x\" is no symbol"), "{e}");
    }

    #[test]
    fn windows_that_contradict_each_other_are_refused() {
        let overlap = "universe:\n  equities_bars:\n    A: [{from: 2020-01-02, to: 2020-03-01}, {from: 2020-02-01}]\n";
        assert!(with_universe(overlap).unwrap_err().to_string().contains("overlaps"));
        let backwards = "universe:\n  equities_bars:\n    A: [{from: 2020-01-02, to: 2019-03-01}]\n";
        assert!(with_universe(backwards).unwrap_err().to_string().contains("ends before it begins"));
    }

    #[test]
    fn unknown_and_duplicate_keys_are_refused_with_their_line() {
        let e = with_universe("universe:\n  equities_bars:\n    A: [{form: 2020-01-02}]\n").unwrap_err().to_string();
        assert!(e.contains(":3:") && e.contains("did you mean `from`"), "{e}");
        let twice = "universe:\n  equities_bars:\n    A: [{from: 2020-01-02}]\n    A: [{from: 2021-01-02}]\n";
        assert!(with_universe(twice).unwrap_err().to_string().contains("duplicate"));
    }

    #[test]
    fn two_vendors_with_one_preference_contradict_each_other() {
        let mut s = Sources::read(None, None, None).unwrap();
        s.capabilities.1 = s.capabilities.1.replace("preference: 80", "preference: 90");
        let e = Registry::parse(&s).unwrap_err().to_string();
        assert!(e.contains("need different preferences"), "{e}");
    }
}
