//! Who may be asked for a task, and in which class it ranks: what stays the same for a stage. Pure.

use super::score::Shape;
use crate::vendor::Purpose;
use chrono::{DateTime, Duration, NaiveDate, Utc};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::names::{Absence, Dataset, Outcome, Vendor};
use datanode_schema::records::{Answer, Demotions, GapGroup};
use datanode_schema::registry::{Capability, DatasetRule, Registry};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Days on which one vendor failed at one task before the task is no longer given to it.
pub const MAX_ATTEMPTS: u8 = 5;
/// Different days on which one vendor is asked again for a short session.
const MAX_SHORT_DAYS: u8 = 3;

/// The class of a task: the first is served first, and none starves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The newest session.
    Today,
    /// The sessions that the registry calls recent.
    Recent,
    /// Everything older.
    History,
}

impl Class {
    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Class::Today => "today",
            Class::Recent => "recent",
            Class::History => "history",
        }
    }
}

/// A set of vendors, one bit a vendor's number.
pub type Mask = u16;

/// The bit of a vendor.
pub fn bit(vendor: Vendor) -> Mask {
    number_bit(vendor.number())
}

/// The bit of a vendor's number.
pub fn number_bit(number: u8) -> Mask {
    1u16.checked_shl(u32::from(number)).unwrap_or(0)
}

/// A vendor that has a dataset.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Who.
    pub vendor: Vendor,
    /// First and last day number that it has and gives.
    pub window: (i32, i32),
    /// What one request answers.
    pub shape: Shape,
}

/// One dataset.
#[derive(Clone, Debug)]
pub struct Offers {
    /// Its vendors.
    pub vendors: Vec<Offer>,
    /// Its calendar.
    pub calendar: Calendar,
    /// The newest session.
    newest: i32,
    /// From here on a session is recent.
    recent: i32,
}

/// What decides who may be asked for what.
#[derive(Clone, Debug)]
pub struct Lens {
    /// Ingest looks at tasks that nobody has given an answer for.
    purpose: Purpose,
    /// Day number of today (UTC): an answer of today is not asked for again.
    today: i32,
    /// Only these days.
    days: (i32, i32),
    datasets: BTreeMap<Dataset, Offers>,
}

impl Lens {
    /// The lens of a stage. `days` narrows the tasks, `now` decides which sessions a delayed vendor has.
    pub fn new(
        registry: &Registry,
        enabled: &BTreeSet<Vendor>,
        purpose: Purpose,
        now: DateTime<Utc>,
        today: i32,
        days: (i32, i32),
        as_of: NaiveDate,
    ) -> Self {
        let mut datasets = BTreeMap::new();
        for (dataset, rule) in &registry.datasets {
            let mut vendors = Vec::new();
            for (vendor, c) in registry.ranked(*dataset) {
                if enabled.contains(&vendor) {
                    vendors.push(Offer { vendor, window: window(c, now), shape: Shape::of(rule, c) });
                }
            }
            let (newest, recent) = newest(rule, as_of);
            datasets.insert(*dataset, Offers { vendors, calendar: rule.calendar(), newest, recent });
        }
        Self { purpose, today, days, datasets }
    }

    /// What there is of a dataset.
    pub fn offers(&self, dataset: Dataset) -> Option<&Offers> {
        self.datasets.get(&dataset)
    }

    /// The last day that may be asked for.
    pub fn last_day(&self) -> i32 {
        self.days.1
    }

    /// Whether tasks of a group are open at all.
    pub fn is_open(&self, g: &GapGroup) -> bool {
        let state = Absence::from_number(g.state);
        match self.purpose {
            Purpose::Ingest => {
                let failed = [Outcome::Error.number(), Outcome::Unparsable.number()];
                state == Some(Absence::Missing) && g.answers.iter().all(|a| failed.contains(&a.outcome))
            }
            Purpose::Backfill | Purpose::Lookback | Purpose::SpotCheck => {
                matches!(state, Some(Absence::Missing | Absence::Short | Absence::Hole))
            }
        }
    }

    /// Who may be asked for a day of an open group; `refused` says what demotions say.
    pub fn open_to(
        &self,
        dataset: Dataset,
        g: &GapGroup,
        day: i32,
        refused: impl Fn(Vendor, i32) -> bool,
    ) -> (Class, Mask) {
        let Some(o) = self.datasets.get(&dataset) else { return (Class::History, 0) };
        let class = if day >= o.newest {
            Class::Today
        } else if day >= o.recent {
            Class::Recent
        } else {
            Class::History
        };
        if day < self.days.0 || day > self.days.1 {
            return (class, 0);
        }
        let may = |v: &&Offer| {
            v.window.0 <= day
                && day <= v.window.1
                && g.answers.iter().find(|a| a.vendor == v.vendor.number()).is_none_or(|a| self.again(g.state, a))
                && !refused(v.vendor, day)
        };
        (class, o.vendors.iter().filter(may).fold(0, |m, v| m | bit(v.vendor)))
    }

    /// Whether a vendor that has said something may be asked again. A failure may be asked again on the same day (the
    /// caller knows how soon); an answer may not.
    pub fn again(&self, state: u8, a: &Answer) -> bool {
        if a.attempts >= MAX_ATTEMPTS {
            return false;
        }
        match Outcome::from_number(a.outcome) {
            Some(Outcome::Error | Outcome::Unparsable) => true,
            _ if [Absence::Short.number(), Absence::Hole.number()].contains(&state) => {
                a.last_day < self.today && a.days < MAX_SHORT_DAYS
            }
            _ => a.last_day < self.today,
        }
    }
}

/// The days that a vendor has and gives at `now`.
pub fn window(c: &Capability, now: DateTime<Utc>) -> (i32, i32) {
    let today = day_number(now.date_naive());
    let mut from = c.from.map_or(i32::MIN, day_number);
    let mut to = c.to.map_or(i32::MAX, day_number);
    if c.entitlement.history_days > 0 {
        from = from.max(today.saturating_sub(i32::try_from(c.entitlement.history_days).unwrap_or(i32::MAX)));
    }
    if c.entitlement.delay_minutes > 0 {
        let late = now - Duration::minutes(i64::from(c.entitlement.delay_minutes));
        to = to.min(day_number(late.date_naive()));
    }
    (from, to)
}

/// The newest session up to `as_of`, and the first one that is recent.
fn newest(rule: &DatasetRule, as_of: NaiveDate) -> (i32, i32) {
    let back = Duration::days(10 + i64::from(rule.recent_sessions) * 2);
    let sessions = rule.calendar().session_dates(as_of - back, as_of);
    let newest = sessions.last().copied().unwrap_or(as_of);
    let recent = sessions.iter().rev().nth(rule.recent_sessions as usize).or(sessions.first()).copied();
    (day_number(newest), day_number(recent.unwrap_or(newest)))
}

/// The last `n` sessions up to `as_of`.
pub fn last_sessions(rule: &DatasetRule, as_of: NaiveDate, n: u32) -> Vec<i32> {
    let back = Duration::days(10 + i64::from(n) * 2);
    let sessions = rule.calendar().session_dates(as_of - back, as_of);
    let skip = sessions.len().saturating_sub(n as usize);
    sessions.into_iter().skip(skip).map(day_number).collect()
}

/// Why a vendor may not be asked for a day; None where it may.
pub fn why_not(
    lens: &Lens,
    offer: &Offer,
    g: &GapGroup,
    day: i32,
    demotions: Option<&Demotions>,
    now: i64,
) -> Option<String> {
    if day < offer.window.0 || day > offer.window.1 {
        return Some(format!("it has {} to {}", shown(offer.window.0), shown(offer.window.1)));
    }
    if let Some(d) = demotions.and_then(|d| d.windows.iter().find(|d| d.until > now && d.from <= day && day <= d.to)) {
        return Some(format!("demoted until {}: {}", datanode_schema::clock::rfc3339_of(d.until), d.why));
    }
    let a = g.answers.iter().find(|a| a.vendor == offer.vendor.number())?;
    if lens.again(g.state, a) {
        return None;
    }
    let said = Outcome::from_number(a.outcome).map_or("nothing", Outcome::name);
    Some(if a.attempts >= MAX_ATTEMPTS {
        format!("it failed on {} days; `queue retry` gives it new attempts", a.attempts)
    } else {
        format!("it said {said} on {}, {} days in all", shown(a.last_day), a.days)
    })
}

fn shown(day: i32) -> String {
    match day {
        i32::MIN => "the beginning".to_owned(),
        i32::MAX => "now".to_owned(),
        d => date_of(d).to_string(),
    }
}
