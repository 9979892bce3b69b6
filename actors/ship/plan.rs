//! What is still to be brought where.

use super::ShipError;
use super::load::{held_by, required};
use crate::node::Node;
use crate::publishing::{Destination, ShipMode};
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::SHIPMENTS;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

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
    pub fn name(self) -> &'static str {
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

/// The packs that are due, oldest first: all that are newer than the newest that arrived; of a destination that has none, the
/// newest alone; the run's own in any case, whatever the clock said.
pub fn due(standing: &[String], arrived: &BTreeSet<String>, current: &str) -> Vec<String> {
    let newest = arrived.last();
    let mut out: BTreeSet<&String> = match newest {
        Some(n) => standing.iter().filter(|id| *id > n).collect(),
        None => standing.iter().max().into_iter().collect(),
    };
    out.extend(standing.iter().filter(|id| *id == current && !arrived.contains(*id)));
    out.into_iter().cloned().collect()
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

/// The packs of which a form has arrived at a destination.
pub fn arrived(store: &Store, destination: &str, form: Form) -> Result<BTreeSet<String>, StoreError> {
    let prefix = format!("{destination}/{}/", form.name());
    let mut out = BTreeSet::new();
    store.scan(&SHIPMENTS, prefix.as_bytes(), |k, _| {
        out.extend(k.strip_prefix(&prefix).map(str::to_owned));
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

/// The packs that stand here and could be brought in this form, oldest first.
fn standing(node: &Node, form: Form) -> Result<Vec<String>, StoreError> {
    let mut all = node.standing_packs()?;
    all.retain(|(_, p)| form == Form::Plain || !p.pack_uid.is_empty());
    Ok(all.into_iter().rev().map(|(id, _)| id).collect())
}

/// What is to be brought to a destination in a form, in order.
pub fn wanted(node: &Node, d: &Destination, form: Form, current: &str) -> Result<Vec<String>, ShipError> {
    let arrived = arrived(&node.store, &d.name, form)?;
    let due = due(&standing(node, form)?, &arrived, current);
    with_needs(due, &arrived, |id| match form {
        Form::Plain => held_by(node, id),
        Form::Sealed => required(node, id),
    })
}

/// The packs that must stay here, since some destination is still to get them, or what it is to get builds on them.
///
/// # Errors
/// The store's, or a pack's that cannot be read.
pub fn unshipped(node: &Node) -> Result<BTreeSet<String>, ShipError> {
    let mut out = BTreeSet::new();
    for d in node.publishing.destinations.current().iter() {
        for form in Form::of(d.mode) {
            out.extend(wanted(node, d, *form, "")?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn set(text: &str) -> BTreeSet<String> {
        ids(text).into_iter().collect()
    }

    #[test]
    fn what_is_newer_than_the_newest_that_arrived_is_due_oldest_first() {
        assert_eq!(due(&ids("a b c d"), &set("a b"), "d"), ids("c d"));
        assert_eq!(due(&ids("a b c d"), &set("c"), ""), ids("d"), "what was never meant for it stays here");
        assert_eq!(due(&ids("a b c"), &set(""), "c"), ids("c"), "a new destination begins with the newest");
        assert_eq!(due(&ids("a b c"), &set("c"), "b"), ids("b"), "the run's own goes whatever its name says");
        assert!(due(&ids("a b"), &set("a b"), "b").is_empty());
        assert!(due(&[], &set(""), "").is_empty());
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
