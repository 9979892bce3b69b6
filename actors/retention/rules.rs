//! Packs of one place, the rules, and the time: which packs stay, and why. Pure.

use crate::publishing::Keep;
use datanode_schema::clock::date_of;
use datanode_schema::keys::Month;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A pack of a place, with what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its export id.
    pub id: String,
    /// Day number of the last session considered.
    pub as_of: i32,
    /// Unix seconds: the recorded time of its run.
    pub created_at: i64,
    /// What keeps it whatever the rules say.
    pub held: Vec<Why>,
    /// The packs that it builds on; None: not known.
    pub needs: Option<BTreeSet<String>>,
    /// Whether the folder of its date links to it.
    pub linked: bool,
}

/// Why a pack stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The newest of its place.
    Newest,
    /// This run's.
    Current,
    /// One of the last so many.
    Last(usize),
    /// Younger than so many days.
    Days(u32),
    /// The newest of its month.
    Monthly(Month),
    /// The destination has no rules.
    KeepsAll,
    /// Pinned, with the note.
    Pinned(String),
    /// An incident of this number is open.
    Incident(u64),
    /// Not yet at this destination.
    NotAt(String),
    /// The folder of its date links to it.
    Linked(i32),
    /// A pack that stays builds on it.
    NeededBy(String),
    /// It may be needed: what this pack builds on is not known.
    Unknown(String),
    /// The clock says a time before this one, the newest pack's.
    Clock(i64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("the newest"),
            Self::Current => f.write_str("this run's"),
            Self::Last(n) => write!(f, "one of the last {n}"),
            Self::Days(n) => write!(f, "younger than {n} days"),
            Self::Monthly(m) => write!(f, "the newest of {}", m.first().format("%Y-%m")),
            Self::KeepsAll => f.write_str("no rule: everything stays there"),
            Self::Pinned(note) => write!(f, "pinned: {note}"),
            Self::Incident(n) => write!(f, "incident {n} is open"),
            Self::NotAt(name) => write!(f, "not yet at {name}"),
            Self::Linked(day) => write!(f, "exports/nightly/{} links to it", date_of(*day)),
            Self::NeededBy(id) => write!(f, "needed by {id}"),
            Self::Unknown(id) => write!(f, "what {id} builds on is not known"),
            Self::Clock(_) => f.write_str("the clock is behind the newest pack: nothing is removed"),
        }
    }
}

/// What becomes of a pack: it stays where there is a reason, and goes where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its export id.
    pub id: String,
    /// Why it stays; empty: it goes.
    pub why: Vec<Why>,
}

/// Decides over the packs of one place, the newest first; `keep` None: everything stays.
pub fn decide(packs: &[Candidate], keep: Option<&Keep>, now: i64) -> Vec<Decision> {
    let mut sorted: Vec<&Candidate> = packs.iter().collect();
    sorted.sort_by_key(|c| std::cmp::Reverse((c.created_at, &c.id)));
    let mut why: BTreeMap<&str, BTreeSet<Why>> =
        sorted.iter().map(|c| (c.id.as_str(), c.held.iter().cloned().collect())).collect();
    let mut say = |id: &str, reason: Why| {
        if let Some(of) = why.get_mut(id) {
            of.insert(reason);
        }
    };
    if let Some(newest) = sorted.first() {
        say(&newest.id, Why::Newest);
        if now < newest.created_at {
            sorted.iter().for_each(|c| say(&c.id, Why::Clock(newest.created_at)));
        }
    }
    match keep {
        Some(keep) => by_rules(&sorted, keep, now, &mut say),
        None => sorted.iter().for_each(|c| say(&c.id, Why::KeepsAll)),
    }
    while spread(&sorted, &mut why) {}
    let take = |c: &&Candidate| why.get(c.id.as_str()).into_iter().flatten().cloned().collect();
    sorted.iter().map(|c| Decision { id: c.id.clone(), why: take(c) }).collect()
}

fn by_rules(sorted: &[&Candidate], keep: &Keep, now: i64, say: &mut impl FnMut(&str, Why)) {
    sorted.iter().take(keep.last).for_each(|c| say(&c.id, Why::Last(keep.last)));
    let since = now.saturating_sub(i64::from(keep.days).saturating_mul(86_400));
    let young = |c: &&&Candidate| keep.days > 0 && c.created_at > since;
    sorted.iter().filter(young).for_each(|c| say(&c.id, Why::Days(keep.days)));
    let mut months: BTreeMap<Month, &str> = BTreeMap::new();
    for c in sorted {
        months.entry(Month::of(date_of(c.as_of))).or_insert(&c.id);
    }
    let newest = months.into_iter().rev().take(usize::try_from(keep.monthly).unwrap_or(usize::MAX));
    newest.for_each(|(month, id)| say(id, Why::Monthly(month)));
}

/// Keeps what those that stay need; whether that changed anything.
fn spread(sorted: &[&Candidate], why: &mut BTreeMap<&str, BTreeSet<Why>>) -> bool {
    let mut changed = false;
    let stays = |why: &BTreeMap<&str, BTreeSet<Why>>, id: &str| why.get(id).is_some_and(|w| !w.is_empty());
    let dates: BTreeSet<i32> = sorted.iter().filter(|c| stays(why, &c.id)).map(|c| c.as_of).collect();
    for (i, c) in sorted.iter().enumerate() {
        if c.linked && dates.contains(&c.as_of) && !stays(why, &c.id) {
            changed |= why.get_mut(c.id.as_str()).is_some_and(|of| of.insert(Why::Linked(c.as_of)));
        }
        if !stays(why, &c.id) {
            continue;
        }
        let mut say = |id: &str, reason: Why| {
            if let Some(of) = why.get_mut(id) {
                changed |= of.insert(reason);
            }
        };
        match &c.needs {
            Some(needs) => needs.iter().for_each(|n| say(n, Why::NeededBy(c.id.clone()))),
            None => sorted.iter().skip(i + 1).for_each(|older| say(&older.id, Why::Unknown(c.id.clone()))),
        }
    }
    changed
}

#[cfg(test)]
mod tests;
