//! What the store and the folders say of each pack: what holds it, and what it builds on.
//!
//! What a pack builds on is in its own manifest (`held_by` of a delta's files) and in its sealing's descriptor. While they lie
//! here they are read; before retention removes them it notes the answer (tree `needs`), for the destinations that still have the pack.

use super::Place;
use super::rules::{Candidate, Why};
use crate::export::{ExportId, MANIFEST_FILE, PackManifest, read_text};
use crate::node::Node;
use crate::publishing::Destination;
use crate::quarantine::Artifact;
use crate::seal::PackUid;
use crate::ship::{Age, Form, anew_key, due_at, with_needs};
use crate::vault::Vault;
use datanode_schema::clock::date_of;
use datanode_schema::files::same_file;
use datanode_schema::records::{PackRecord, Pin};
use datanode_schema::store::StoreError;
use datanode_schema::trees::{COUNTERS, INCIDENTS, NEEDS, PACKS, PINS, SHIPMENTS};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// `plain` and `sealed`, as the keys of shipments have them.
pub(super) const FORMS: [&str; 2] = [Form::Plain.name(), Form::Sealed.name()];

/// What begins the key of a removal under way (tree `counters`).
const REMOVING: &str = "retention/removing/";

/// What begins the key of a pack that no longer goes to a destination by itself (tree `counters`).
const BROUGHT: &str = "brought/";

/// The key that says that a pack arrived at a destination once, or was older than its first: it may be gone from there, and stays gone.
pub fn brought_key(destination: &str, form: &str, id: &str) -> String {
    format!("{BROUGHT}{destination}/{form}/{id}")
}

/// The key of the removal of a pack at a destination.
pub fn removal_key(destination: &str, form: &str, id: &str) -> String {
    format!("{REMOVING}{destination}/{form}/{id}")
}

/// Everything that decisions are made of, read once.
pub struct Facts<'a> {
    node: &'a Node,
    /// Every pack that ever was, by id.
    pub(super) packs: BTreeMap<String, PackRecord>,
    pins: BTreeMap<String, Pin>,
    incidents: BTreeMap<String, u64>,
    /// `<destination>/<form>` to the packs that it has.
    shipped: BTreeMap<String, BTreeSet<String>>,
    /// The same of removals that were begun and are not done.
    removing: BTreeMap<String, BTreeSet<String>>,
    /// The same of what arrived once, or was never meant to.
    brought: BTreeMap<String, BTreeSet<String>>,
    noted: BTreeMap<String, BTreeSet<String>>,
    /// Where shipping began anew: from which unix second on.
    anew: BTreeMap<String, i64>,
    by_uid: BTreeMap<String, String>,
}

impl<'a> Facts<'a> {
    /// Reads the store.
    ///
    /// # Errors
    /// The store's.
    pub fn read(node: &'a Node) -> Result<Self, StoreError> {
        let packs: BTreeMap<_, _> = node.store.load_all(&PACKS, &[])?.into_iter().collect();
        let mut incidents = BTreeMap::new();
        for (number, i) in node.store.load_all(&INCIDENTS, &[])?.into_iter().filter(|(_, i)| i.is_open()) {
            if let Ok(Artifact::Pack(id)) = Artifact::parse(&i.artifact) {
                incidents.entry(id).or_insert(number);
            }
        }
        let shipped = by_place(node.store.load_all(&SHIPMENTS, &[])?.iter().map(|(k, _)| k.as_str()));
        let removals = node.store.load_all(&COUNTERS, REMOVING.as_bytes())?;
        let removing = by_place(removals.iter().filter_map(|(k, _)| k.strip_prefix(REMOVING)));
        let brought = node.store.load_all(&COUNTERS, BROUGHT.as_bytes())?;
        let brought = by_place(brought.iter().filter_map(|(k, _)| k.strip_prefix(BROUGHT)));
        let mut noted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, _) in node.store.load_all(&NEEDS, &[])? {
            if let Some((pack, need)) = key.rsplit_once('/') {
                let of = noted.entry(pack.to_owned()).or_default();
                of.extend((!need.is_empty()).then(|| need.to_owned()));
            }
        }
        let sealed = packs.iter().filter(|(_, p)| !p.pack_uid.is_empty());
        let by_uid = sealed.map(|(id, p)| (p.pack_uid.clone(), id.clone())).collect();
        let anew = node.store.load_all(&COUNTERS, b"ship/")?.into_iter().filter(|(k, _)| k.ends_with("/anew"));
        let anew = anew.filter_map(|(k, at)| Some((k, i64::try_from(at).ok()?))).collect();
        let pins = node.store.load_all(&PINS, &[])?.into_iter().collect();
        Ok(Self { node, packs, pins, incidents, shipped, removing, brought, noted, anew, by_uid })
    }

    /// The packs that stand here. `current` is the run's own.
    pub(super) fn here(&self, current: &str, destinations: &[Destination], now: i64) -> Vec<Candidate> {
        let standing = || self.packs.iter().filter(|(_, p)| p.removed_at == 0);
        let mut out: Vec<Candidate> = standing().map(|(id, p)| self.candidate(id, p, "plain")).collect();
        for c in &mut out {
            c.held.extend((c.id == current).then_some(Why::Current));
            c.linked = self.is_linked(c);
        }
        for d in destinations {
            let waiting = self.unshipped(d, now);
            for c in out.iter_mut().filter(|c| waiting.contains(&c.id)) {
                c.held.push(Why::NotAt(d.name.clone()));
            }
        }
        out
    }

    /// The packs that a destination has in one form.
    pub fn at(&self, destination: &str, form: &str) -> Vec<Candidate> {
        self.candidates(&self.arrived(destination, form), form)
    }

    /// These packs, where they are known.
    pub fn candidates<'i>(&self, ids: impl IntoIterator<Item = &'i String>, form: &str) -> Vec<Candidate> {
        ids.into_iter().filter_map(|id| Some(self.candidate(id, self.packs.get(id)?, form))).collect()
    }

    /// The ids of what a destination has in one form.
    pub fn arrived(&self, destination: &str, form: &str) -> BTreeSet<String> {
        self.shipped.get(&format!("{destination}/{form}")).cloned().unwrap_or_default()
    }

    /// The ids of what is being removed there.
    pub(super) fn removing(&self, destination: &str, form: &str) -> BTreeSet<String> {
        self.removing.get(&format!("{destination}/{form}")).cloned().unwrap_or_default()
    }

    /// What a destination has in one form, and what is being removed there. Where shipping began anew, a pack without a name that is
    /// just older than the first one to come again.
    pub fn had(&self, destination: &str, form: &str) -> BTreeSet<Age> {
        let ids = self.arrived(destination, form).into_iter().chain(self.removing(destination, form));
        let anew = self.anew.get(&anew_key(destination, form)).map(|at| (*at, String::new()));
        ids.filter_map(|id| Some((self.packs.get(&id)?.created_at, id))).chain(anew).collect()
    }

    /// The ids of what arrived there once, or was older than the first that did.
    pub fn brought(&self, destination: &str, form: &str) -> BTreeSet<String> {
        self.brought.get(&format!("{destination}/{form}")).cloned().unwrap_or_default()
    }

    /// The packs that stand here and could be brought in this form.
    pub fn bringable(&self, form: Form) -> BTreeSet<Age> {
        let can = |p: &PackRecord| p.removed_at == 0 && (form == Form::Plain || !p.pack_uid.is_empty());
        self.packs.iter().filter(|(_, p)| can(p)).map(|(id, p)| (p.created_at, id.clone())).collect()
    }

    /// Whether any place that packs are brought to has this one.
    pub(super) fn is_elsewhere(&self, id: &str) -> bool {
        self.shipped.values().any(|ids| ids.contains(id))
    }

    fn candidate(&self, id: &str, p: &PackRecord, form: &str) -> Candidate {
        let pinned = self.pins.get(id).map(|p| Why::Pinned(p.note.clone()));
        let incident = self.incidents.get(id).map(|n| Why::Incident(*n));
        Candidate {
            id: id.to_owned(),
            as_of: p.as_of,
            created_at: p.created_at,
            held: pinned.into_iter().chain(incident).collect(),
            needs: self.needs(id, form),
            linked: false,
        }
    }

    /// The packs that one builds on, in a form; None where nothing that is here says so.
    pub(super) fn needs(&self, id: &str, form: &str) -> Option<BTreeSet<String>> {
        if let Some(known) = self.noted.get(&format!("{form}/{id}")) {
            return Some(known.clone());
        }
        if form == "sealed" {
            return self.of_sealing(&self.packs.get(id)?.pack_uid);
        }
        if !ExportId::parse(id)?.is_delta {
            return Some(BTreeSet::new());
        }
        let text = read_text(&self.node.data.pack(&self.node.source, id).join(MANIFEST_FILE)).ok()?;
        let manifest = PackManifest::parse(&text).ok().filter(|m| m.export_id == id)?;
        Some(manifest.holders().into_iter().map(str::to_owned).collect())
    }

    fn of_sealing(&self, uid: &str) -> Option<BTreeSet<String>> {
        let mut bytes = PackUid::default();
        hex::decode_to_slice(uid, &mut bytes).ok()?;
        let requires = Vault::open(&self.node.data.vault()).ok()?.descriptor(&bytes).ok()?.requires;
        // A sealing of which no pack is known is of none that could be removed.
        Some(requires.iter().filter_map(|uid| self.by_uid.get(&hex::encode(uid)).cloned()).collect())
    }

    /// Standing packs that are yet to go to a destination, and what they build on.
    fn unshipped(&self, d: &Destination, now: i64) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for form in Form::of(d.mode) {
            let due = due_at(self, d, *form, "", now);
            let needs = |id: &str| Ok::<_, Infallible>(self.needs(id, form.name()).into_iter().flatten().collect());
            let Ok(all) = with_needs(due, &self.arrived(&d.name, form.name()), needs);
            out.extend(all);
        }
        out
    }

    fn is_linked(&self, c: &Candidate) -> bool {
        let folder = self.node.data.pack(&self.node.source, &c.id);
        same_file(&folder.join(MANIFEST_FILE), &self.node.data.nightly(date_of(c.as_of)).join(MANIFEST_FILE))
    }

    /// The bytes of a pack that it says of itself; what removing it frees here may be less, since files are links.
    pub(super) fn bytes(&self, id: &str) -> u64 {
        self.packs.get(id).map_or(0, |p| p.bytes)
    }
}

/// The name of a place and form in a plan.
pub(super) fn place(destination: &str, form: &'static str) -> Place {
    Place { name: destination.to_owned(), form }
}

/// Keys `<destination>/<form>/<id>`, by what stands before the id.
fn by_place<'k>(keys: impl Iterator<Item = &'k str>) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, id) in keys.filter_map(|k| k.rsplit_once('/')) {
        out.entry(place.to_owned()).or_default().insert(id.to_owned());
    }
    out
}
