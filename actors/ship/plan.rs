//! What is still to be brought where: one answer, by which shipping sends and retention keeps.

use super::ShipError;
use super::load::{held_by, required};
use crate::node::Node;
use crate::publishing::{Destination, Keep, ShipMode};
use crate::retention::{Candidate, Facts, decide};
use std::collections::BTreeSet;

/// What of a pack is brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Its files.
    Plain,
    /// Its sealing.
    Sealed,
}

impl Form {
    /// As in keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sealed => "sealed",
        }
    }

    /// What a mode brings.
    pub fn of(mode: ShipMode) -> &'static [Self] {
        match mode {
            ShipMode::Plain => &[Self::Plain],
            ShipMode::Sealed => &[Self::Sealed],
            ShipMode::Both => &[Self::Plain, Self::Sealed],
        }
    }
}

/// When the run of a pack was, in unix seconds, and the pack's id: packs are compared by both.
pub type Age = (i64, String);

/// The packs that are due, oldest first: all that were made since the first arrived; where none arrived, the newest alone; the run's own
/// in any case. Which were made since is not asked of the clock, which may have been wrong for a night: `brought` are those that
/// arrived once (and may have gone again), and those that were here before the first did. `here` are those that could be brought, `had`
/// those that are there, a removal under way included.
pub fn due(here: &BTreeSet<Age>, had: &BTreeSet<Age>, brought: &BTreeSet<String>, current: &str) -> Vec<String> {
    let newer = |p: &&Age| match had.last() {
        Some(newest) => !had.contains(*p) && (*p > newest || !brought.contains(&p.1)),
        None => here.last() == Some(*p),
    };
    let own = |p: &&Age| p.1 == current && !had.contains(*p);
    here.iter().filter(|p| newer(p) || own(p)).map(|(_, id)| id.clone()).collect()
}

/// Of `due`, what a destination's own rules would not remove again as soon as it is there. `packs` are those that the destination has and
/// those that are due.
pub fn lasting(due: Vec<String>, packs: &[Candidate], keep: &Keep, now: i64) -> Vec<String> {
    let stays = decide(packs, Some(keep), now).into_iter().filter(|d| !d.why.is_empty());
    let stays: BTreeSet<String> = stays.map(|d| d.id).collect();
    due.into_iter().filter(|id| stays.contains(id)).collect()
}

/// The packs that are due at a destination in a form, oldest first, without what they build on.
pub fn due_at(facts: &Facts<'_>, d: &Destination, form: Form, current: &str, now: i64) -> Vec<String> {
    let (had, brought) = (facts.had(&d.name, form.name()), facts.brought(&d.name, form.name()));
    let due = due(&facts.bringable(form), &had, &brought, current);
    let Some(keep) = d.keep.as_ref().filter(|_| !due.is_empty()) else { return due };
    let mut packs = facts.at(&d.name, form.name());
    packs.extend(facts.candidates(&due, form.name()));
    lasting(due, &packs, keep, now)
}

/// Adds what each pack builds on, before it; what has arrived is left out.
pub fn with_needs<E>(
    due: Vec<String>,
    arrived: &BTreeSet<String>,
    mut needs: impl FnMut(&str) -> Result<Vec<String>, E>,
) -> Result<Vec<String>, E> {
    let mut out = Vec::new();
    let mut met: BTreeSet<String> = arrived.clone();
    // (pack, whether what it needs is in `out`)
    let mut stack: Vec<(String, bool)> = due.into_iter().rev().map(|id| (id, false)).collect();
    while let Some((id, ready)) = stack.pop() {
        if ready {
            out.push(id);
        } else if met.insert(id.clone()) {
            let first = needs(&id)?;
            stack.push((id, true));
            stack.extend(first.into_iter().rev().map(|n| (n, false)));
        }
    }
    Ok(out)
}

/// What a pack builds on, as it says itself.
pub(super) fn needs(node: &Node, form: Form, id: &str) -> Result<Vec<String>, ShipError> {
    match form {
        Form::Plain => held_by(node, id),
        Form::Sealed => required(node, id),
    }
}

/// What is still to be brought to a destination in one form.
#[derive(Debug, Default)]
pub struct Plan {
    /// The packs that can go, in order.
    pub go: Vec<String>,
    /// Why others, which are due as well, cannot.
    pub cannot: Vec<ShipError>,
    /// What is here and was never meant for this destination: all that is older than its first pack.
    pub before: Vec<String>,
    /// What is noted as brought and no longer here.
    pub gone: Vec<String>,
}

/// The plan for a destination in a form: a pack that cannot go keeps no other from going.
///
/// # Errors
/// The store's.
pub(super) fn plan(node: &Node, d: &Destination, form: Form, current: &str) -> Result<Plan, ShipError> {
    let facts = Facts::read(node)?;
    let mut met = facts.arrived(&d.name, form.name());
    let mut out = Plan::default();
    let due = due_at(&facts, d, form, current, node.clock.now().timestamp());
    let here: BTreeSet<String> = facts.bringable(form).into_iter().map(|(_, id)| id).collect();
    if facts.had(&d.name, form.name()).is_empty() {
        out.before = here.iter().filter(|id| !due.contains(id)).cloned().collect();
    }
    out.gone = facts.brought(&d.name, form.name()).difference(&here).cloned().collect();
    for id in due {
        match with_needs(vec![id], &met, |id| needs(node, form, id)) {
            Ok(more) => {
                met.extend(more.iter().cloned());
                out.go.extend(more);
            }
            Err(e @ ShipError::Store(_)) => return Err(e),
            Err(e) => out.cannot.push(e),
        }
    }
    Ok(out)
}

/// What is to be brought to a destination in a form, in order.
///
/// # Errors
/// The store's, or that of a pack that is due and cannot go.
pub fn wanted(node: &Node, d: &Destination, form: Form, current: &str) -> Result<Vec<String>, ShipError> {
    let plan = plan(node, d, form, current)?;
    ShipError::all(plan.cannot).map(|()| plan.go)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn set(text: &str) -> BTreeSet<String> {
        ids(text).into_iter().collect()
    }

    /// Packs that are as old as their names say.
    fn ages(text: &str) -> BTreeSet<Age> {
        ids(text).into_iter().map(|id| (i64::from(id.as_bytes()[0]), id)).collect()
    }

    #[test]
    fn what_was_made_since_the_first_that_arrived_is_due_oldest_first() {
        let due = |here: &str, had: &str, brought: &str, own: &str| due(&ages(here), &ages(had), &set(brought), own);
        assert_eq!(due("a b c d", "a b", "a b", "d"), ids("c d"));
        assert_eq!(due("a b c d", "c", "a b c", ""), ids("d"), "what was never meant for it stays here");
        assert_eq!(due("a b c", "", "", "c"), ids("c"), "a new destination begins with the newest");
        assert_eq!(due("a b c", "", "a b c", "c"), ids("c"), "so does one that has nothing any more");
        assert_eq!(due("a b c", "c", "a b c", "b"), ids("b"), "the run's own goes whatever the clock said");
        assert_eq!(due("a b c d", "a d", "a d", ""), ids("b c"), "the clock was ahead in the night of d");
        assert!(due("a b", "a b", "a b", "b").is_empty());
        assert!(due("", "", "", "").is_empty());
        // It went by the rules there: nothing that is older goes there for that.
        assert!(due("a b c", "a c", "a b c", "c").is_empty());
    }

    #[test]
    fn the_time_of_the_run_counts_before_the_name() {
        let here: BTreeSet<Age> = [(5, "b".to_owned()), (9, "a".to_owned())].into();
        assert_eq!(due(&here, &BTreeSet::new(), &BTreeSet::new(), ""), ids("a"));
        assert_eq!(due(&here, &[(5, "b".to_owned())].into(), &BTreeSet::new(), ""), ids("a"));
    }

    fn candidate(age: i64, needs: &[i64]) -> Candidate {
        let name = |n: &i64| format!("{n:03}");
        let needs = Some(needs.iter().map(name).collect());
        Candidate {
            id: name(&age),
            created_at: age * 86_400,
            as_of: 20_000 + age as i32,
            needs,
            ..Candidate::default()
        }
    }

    #[test]
    fn what_the_destinations_own_rules_would_remove_is_not_sent_but_for_what_is_needed() {
        let keep = Keep { last: 2, days: 0, monthly: 0 };
        let packs = [candidate(1, &[]), candidate(2, &[1]), candidate(3, &[]), candidate(4, &[]), candidate(5, &[3])];
        let all: Vec<String> = packs.iter().map(|c| c.id.clone()).collect();
        assert_eq!(lasting(all.clone(), &packs, &keep, 9 * 86_400), ids("003 004 005"));
        // With the clock behind nothing is removed there, and so everything lasts.
        assert_eq!(lasting(all.clone(), &packs, &keep, 86_400), all);
    }

    proptest! {
        /// Nights of packs, a destination that is sometimes dead and has rules of its own, and its retention each night.
        #[test]
        fn no_pack_goes_back_and_forth(
            nights in prop::collection::vec((any::<bool>(), prop::collection::vec(1usize..5, 0..3)), 1..14),
            last in 1usize..4, days in 0u32..5, monthly in 0u32..2,
        ) {
            let keep = Keep { last, days, monthly };
            let (mut here, mut there): (Vec<Candidate>, Vec<Candidate>) = (Vec::new(), Vec::new());
            let (mut removed, mut brought): (BTreeSet<String>, BTreeSet<String>) = Default::default();
            for (night, (alive, back)) in nights.iter().enumerate() {
                let night = night as i64 + 1;
                let needs: Vec<i64> = back.iter().map(|b| night - *b as i64).filter(|n| *n > 0).collect();
                here.push(candidate(night, &needs));
                let now = night * 86_400 + 1;
                let age = |c: &Candidate| (c.created_at, c.id.clone());
                let arrived: BTreeSet<String> = there.iter().map(|c| c.id.clone()).collect();
                let (own, all) = (format!("{night:03}"), here.iter().map(age).collect());
                let due = due(&all, &there.iter().map(age).collect(), &brought, &own);
                let before: Vec<String> = here.iter().map(|c| c.id.clone()).filter(|id| !due.contains(id)).collect();
                let mut packs = there.clone();
                packs.extend(here.iter().filter(|c| due.contains(&c.id)).cloned());
                let go = lasting(due, &packs, &keep, now);
                prop_assert!(go.contains(&format!("{night:03}")), "a night's own pack is always meant to go");
                if !alive {
                    continue;
                }
                let needs = |id: &str| Ok::<_, Infallible>(here.iter().filter(|c| c.id == id)
                    .flat_map(|c| c.needs.iter().flatten().cloned()).collect());
                let Ok(sent) = with_needs(go.clone(), &arrived, needs);
                for id in &sent {
                    prop_assert!(go.contains(id) && !removed.contains(id) || needed(&here, &go).contains(id), "{id} came back");
                }
                brought.extend(there.is_empty().then_some(before).into_iter().flatten().chain(sent.iter().cloned()));
                there.extend(here.iter().filter(|c| sent.contains(&c.id)).cloned());
                let decided = decide(&there, Some(&keep), now);
                for d in decided.iter().filter(|d| d.why.is_empty()) {
                    prop_assert!(!sent.contains(&d.id), "{} was sent to be removed at once", d.id);
                    removed.insert(d.id.clone());
                }
                there.retain(|c| decided.iter().any(|d| d.id == c.id && !d.why.is_empty()));
            }
        }
    }

    /// Everything that packs build on.
    fn needed(here: &[Candidate], of: &[String]) -> BTreeSet<String> {
        let mut out: BTreeSet<String> = of.iter().cloned().collect();
        loop {
            let more: BTreeSet<String> =
                here.iter().filter(|c| out.contains(&c.id)).flat_map(|c| c.needs.iter().flatten().cloned()).collect();
            let before = out.len();
            out.extend(more);
            if out.len() == before {
                return out;
            }
        }
    }

    #[test]
    fn what_a_pack_builds_on_goes_before_it_and_once() {
        let needs = |id: &str| {
            Ok::<_, Infallible>(match id {
                "d" => ids("a c"),
                "c" => ids("a b"),
                // A circle, which no honest pack has, ends all the same.
                "b" => ids("d"),
                _ => Vec::new(),
            })
        };
        let Ok(got) = with_needs(ids("d e"), &set(""), needs);
        assert_eq!(got, ids("a b c d e"));
        let Ok(got) = with_needs(ids("d"), &set("a b"), needs);
        assert_eq!(got, ids("c d"));
    }
}
