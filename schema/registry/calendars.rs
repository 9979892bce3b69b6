//! `calendars.yaml`: what the owner knows better than the built-in calendars.

use super::{RegistryError, yaml};
use crate::calendar::{Calendar, CorrectionList, Corrections};
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The calendars of the datasets: the built-in ones, with the owner's corrections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Calendars {
    corrected: BTreeMap<&'static str, (Calendar, Corrections)>,
    /// Why, for people, in the order of the file's dates.
    notes: Vec<Correction>,
}

/// One entry, for people.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Correction {
    /// The calendar's name.
    pub calendar: &'static str,
    /// `closed`, `open` or `early`.
    pub kind: &'static str,
    /// The day.
    pub date: NaiveDate,
    /// Who says so.
    pub why: String,
}

impl Calendars {
    /// A calendar with its corrections; the built-in one where it has none.
    pub fn get(&self, calendar: Calendar) -> Calendar {
        self.corrected.get(calendar.name()).map_or(calendar.base(), |(c, _)| *c)
    }

    /// Every correction.
    pub fn corrections(&self) -> &[Correction] {
        &self.notes
    }

    /// By calendar, what is corrected, without the reasons: the part of the configuration that decides something.
    pub fn decisive(&self) -> BTreeMap<&'static str, String> {
        self.corrected.iter().map(|(name, (_, c))| (*name, c.canonical())).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    calendars: Option<BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    closed: BTreeMap<String, String>,
    #[serde(default)]
    open: BTreeMap<String, String>,
    #[serde(default)]
    early: BTreeMap<String, Early>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Early {
    close: String,
    why: String,
}

/// Corrections of one calendar: each keeps its days' tables in memory as long as the process lives.
const MOST: u64 = 1_000;
/// Characters of a reason.
const LONGEST_WHY: usize = 500;

pub(super) fn parse(file: &str, text: &str) -> Result<Calendars, RegistryError> {
    let parsed: File = yaml::parse(file, text)?;
    let mut out = Calendars::default();
    for (name, entry) in parsed.calendars.unwrap_or_default() {
        let path = ["calendars", name.as_str()];
        let calendar = Calendar::from_name(&name).filter(|c| *c != Calendar::Always).ok_or_else(|| {
            yaml::at(file, text, &path, format!("{name:?} is no calendar that can be corrected; write XNYS or US_BOND"))
        })?;
        let entries = (entry.closed.len() + entry.open.len() + entry.early.len()) as u64;
        yaml::within(entries, 1, MOST)
            .map_err(|_| yaml::at(file, text, &path, format!("it has {entries} corrections; write 1 to {MOST}")))?;
        let read = Reading { file, text, calendar };
        let mut corrections = Corrections::default();
        for (day, why) in &entry.closed {
            let date = read.entry(CorrectionList::Closed, day, why, &mut out.notes)?;
            corrections.closed.insert(date);
        }
        for (day, why) in &entry.open {
            let date = read.entry(CorrectionList::Open, day, why, &mut out.notes)?;
            corrections.open.insert(date);
        }
        for (day, e) in &entry.early {
            let date = read.entry(CorrectionList::Early, day, &e.why, &mut out.notes)?;
            corrections.early.insert(date, read.close(day, &e.close)?);
        }
        let corrected = calendar
            .corrected(&corrections)
            .map_err(|e| read.at(e.list, &e.date.to_string(), &[], e.problem.clone()))?;
        out.corrected.insert(calendar.name(), (corrected, corrections));
    }
    Ok(out)
}

/// One calendar's part of the file.
struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    calendar: Calendar,
}

impl Reading<'_> {
    fn at(&self, list: CorrectionList, day: &str, field: &[&str], problem: String) -> RegistryError {
        let mut path = vec!["calendars", self.calendar.name(), list.name(), day];
        path.extend(field);
        yaml::at(self.file, self.text, &path, problem)
    }

    /// The date of an entry; notes why.
    fn entry(
        &self,
        list: CorrectionList,
        day: &str,
        why: &str,
        notes: &mut Vec<Correction>,
    ) -> Result<NaiveDate, RegistryError> {
        // Written in one way only, so that no day stands there twice.
        let date = day.parse::<NaiveDate>().ok().filter(|d| d.to_string() == day);
        let Some(date) = date else {
            return Err(self.at(list, day, &[], format!("{day:?} is no date; write YYYY-MM-DD")));
        };
        let field: &[&str] = if list == CorrectionList::Early { &["why"] } else { &[] };
        if why.trim().is_empty() {
            let problem = "nobody says why; write who announced it, and where".to_owned();
            return Err(self.at(list, day, field, problem));
        }
        let length = why.chars().count();
        if length > LONGEST_WHY {
            let problem = format!("the reason has {length} characters; write at most {LONGEST_WHY}");
            return Err(self.at(list, day, field, problem));
        }
        let why = why.trim().to_owned();
        notes.push(Correction { calendar: self.calendar.name(), kind: list.name(), date, why });
        Ok(date)
    }

    fn close(&self, day: &str, close: &str) -> Result<NaiveTime, RegistryError> {
        let time = NaiveTime::parse_from_str(close, "%H:%M").ok();
        time.filter(|t| t.format("%H:%M").to_string() == close).ok_or_else(|| {
            let problem = format!("{close:?} is no time; write HH:MM in quotes, New York time, such as \"13:00\"");
            self.at(CorrectionList::Early, day, &["close"], problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT_CALENDARS, Registry, Sources};
    use super::*;
    use crate::names::Dataset;

    const GOOD: &str = "\
calendars:
  XNYS:
    closed:
      2025-06-24: day of mourning, notice of 2025-06-20
    early:
      2025-06-26: {close: \"12:30\", why: network failure}
  US_BOND:
    open:
      2025-04-18: the release has a value
";

    #[test]
    fn the_built_in_file_corrects_nothing() {
        let c = parse("calendars.yaml", DEFAULT_CALENDARS).unwrap();
        assert_eq!((c.get(Calendar::Xnys), c.corrections().len()), (Calendar::Xnys, 0));
        assert!(c.decisive().is_empty());
        assert_eq!(parse("f", "calendars:\n").unwrap(), Calendars::default());
    }

    #[test]
    fn the_example_in_the_built_in_file_is_valid() {
        let (_, example) = DEFAULT_CALENDARS.rsplit_once("#\n").unwrap();
        let text = example.strip_suffix("calendars:\n").unwrap().replace('#', "");
        assert_eq!(parse("f", &format!("calendars:\n{text}")).unwrap().corrections().len(), 3);
    }

    #[test]
    fn every_dataset_of_a_corrected_calendar_has_the_corrected_one() {
        let mut s = Sources::read(None, None, None).unwrap();
        s.calendars.1 = GOOD.to_owned();
        let r = Registry::parse(&s).unwrap();
        let of = |d| r.rule(d).unwrap().calendar();
        let day = |x: &str| x.parse::<NaiveDate>().unwrap();
        for d in [Dataset::EquitiesBars, Dataset::EquitiesBarsMinute, Dataset::OptionsBars] {
            assert!(!of(d).is_session(day("2025-06-24")), "{d}");
            assert_eq!(of(d).session(day("2025-06-26")).unwrap().minutes(), 180);
        }
        assert!(of(Dataset::MacroTreasury).is_session(day("2025-04-18")));
        assert!(of(Dataset::MacroTreasury).is_session(day("2025-06-24")), "another calendar is left alone");
        assert_eq!(of(Dataset::PredictionBooks), Calendar::Always);
        assert_eq!(r.calendars.get(Calendar::Xnys), of(Dataset::EquitiesBars));
        let xnys = "closed 2025-06-24\nearly 2025-06-26 12:30\n";
        assert_eq!(r.calendars.decisive().get("XNYS").unwrap(), xnys, "the reason decides nothing");
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_field() {
        for (find, put, says) in [
            ("XNYS:", "XNYX:", "c.yaml:2: calendars.XNYX: \"XNYX\" is no calendar that can be corrected"),
            ("XNYS:", "24x7:", "c.yaml:2: calendars.24x7: \"24x7\" is no calendar that can be corrected"),
            ("2025-06-24:", "2025-06-28:", "c.yaml:4: calendars.XNYS.closed.2025-06-28: XNYS is closed every Saturday"),
            ("2025-06-24:", "2025-6-24:", "c.yaml:4: calendars.XNYS.closed.2025-6-24: \"2025-6-24\" is no date"),
            ("2025-06-24:", "2025-02-30:", "c.yaml:4: calendars.XNYS.closed.2025-02-30: \"2025-02-30\" is no date"),
            (
                "day of mourning, notice of 2025-06-20",
                "\" \"",
                "c.yaml:4: calendars.XNYS.closed.2025-06-24: nobody says why",
            ),
            ("12:30", "16:30", "c.yaml:6: calendars.XNYS.early.2025-06-26: 16:30 is outside the session"),
            ("12:30", "noon", "c.yaml:6: calendars.XNYS.early.2025-06-26.close: \"noon\" is no time"),
            (", why: network failure", "", "c.yaml:6: calendars.XNYS.early.2025-06-26: missing field `why`; add it"),
            ("2025-04-18:", "2025-04-19:", "c.yaml:9: calendars.US_BOND.open.2025-04-19: it is a Saturday"),
            (
                "2025-04-18:",
                "2031-04-18:",
                "c.yaml:9: calendars.US_BOND.open.2031-04-18: US_BOND knows the years 1962 to 2030",
            ),
            ("closed:", "closd:", "did you mean `closed`?"),
        ] {
            assert!(GOOD.contains(find), "{find}");
            let e = parse("c.yaml", &GOOD.replace(find, put)).unwrap_err().to_string();
            assert!(e.contains(says), "{put}: {e}");
        }
        let twice = GOOD.replace("    early:", "      2025-06-24: said again\n    early:");
        assert!(parse("c.yaml", &twice).unwrap_err().to_string().contains("duplicate"));
    }
}
