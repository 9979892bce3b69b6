//! The generations of a place, and letting go of those that the rule does not keep.

use super::manifest::{MAX_MANIFEST, Manifest, stamp_of};
use super::{BackupError, KeepGenerations, MANIFEST, Place, kept};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;

/// One generation, as a place shows it.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its name.
    pub name: String,
    /// When it was begun, by its name.
    pub at: DateTime<Utc>,
    /// None: it was not finished, or is being made.
    pub manifest: Option<Manifest>,
    /// Why its manifest cannot be used; empty where it can, or is not there.
    pub fault: String,
}

/// All of them, the oldest first. One that cannot be read is told as such.
///
/// # Errors
/// The place's.
pub fn generations(place: &Place) -> Result<Vec<Generation>, BackupError> {
    let mut found: Vec<_> = place.folders()?.into_iter().filter_map(|n| Some((stamp_of(&n)?, n))).collect();
    found.sort();
    let mut out = Vec::with_capacity(found.len());
    for (at, name) in found {
        let text = place.small(&format!("{name}/{MANIFEST}"), MAX_MANIFEST)?;
        let (manifest, fault) = match text.map(|t| Manifest::decode(&name, &t)).transpose() {
            Ok(m) => (m, String::new()),
            Err(e) => (None, e.to_string()),
        };
        out.push(Generation { name, at, manifest, fault });
    }
    Ok(out)
}

/// Removes what the rule does not keep, and what was begun before the newest whole one and never finished. The manifest goes first. A
/// generation that cannot be read stays: a newer build may know it.
///
/// # Errors
/// The place's; what was removed is removed.
pub fn prune(place: &Place, keep: KeepGenerations, dry_run: bool) -> Result<Vec<String>, BackupError> {
    let all = generations(place)?;
    let whole: BTreeSet<DateTime<Utc>> = all.iter().filter(|g| g.manifest.is_some()).map(|g| g.at).collect();
    let stay = kept(&whole, keep);
    let mut gone = Vec::new();
    for g in &all {
        let surplus = g.manifest.is_some() && !stay.contains(&g.at);
        let unfinished =
            g.manifest.is_none() && g.fault.is_empty() && whole.last().is_some_and(|newest| g.at < *newest);
        if !surplus && !unfinished {
            continue;
        }
        if !dry_run {
            place.remove(&g.name, MANIFEST)?;
        }
        gone.push(g.name.clone());
    }
    Ok(gone)
}
