//! What the store and the folders say of each pack: what holds it, and what it builds on.
//!
//! What a pack builds on is in its own manifest (`held_by` of a delta's files) and in its sealing's descriptor. While they lie
//! here they are read; before retention removes them it notes the answer (tree `needs`), for the destinations that still have the pack.

use super::rules::{Candidate, Why, decide};
use super::{Place, RetentionError};
use crate::export::{ExportId, MANIFEST_FILE, PackManifest};
use crate::node::Node;
use crate::publishing::{Destination, ShipMode};
use crate::quarantine::Artifact;
use crate::seal::PackUid;
use crate::vault::Vault;
use datanode_schema::clock::date_of;
use datanode_schema::records::{PackRecord, Pin};
use datanode_schema::trees::{INCIDENTS, NEEDS, PACKS, PINS, SHIPMENTS};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// `plain` and `sealed`, as the keys of shipments have them.
pub(super) const FORMS: [&str; 2] = ["plain", "sealed"];

/// Everything that decisions are made of, read once.
pub(super) struct Facts<'a> {
    node: &'a Node,
    /// Every pack that ever was, by id.
    pub(super) packs: BTreeMap<String, PackRecord>,
    pins: BTreeMap<String, Pin>,
    incidents: BTreeMap<String, u64>,
    /// `<destination>/<form>` to the packs that it has.
    shipped: BTreeMap<String, BTreeSet<String>>,
    noted: BTreeMap<String, BTreeSet<String>>,
    by_uid: BTreeMap<String, String>,
}

impl<'a> Facts<'a> {
    pub(super) fn read(node: &'a Node) -> Result<Self, RetentionError> {
        let packs: BTreeMap<_, _> = node.store.load_all(&PACKS, &[])?.into_iter().collect();
        let mut incidents = BTreeMap::new();
        for (number, i) in node.store.load_all(&INCIDENTS, &[])?.into_iter().filter(|(_, i)| i.is_open()) {
            if let Ok(Artifact::Pack(id)) = Artifact::parse(&i.artifact) {
                incidents.entry(id).or_insert(number);
            }
        }
        let mut shipped: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, _) in node.store.load_all(&SHIPMENTS, &[])? {
            if let Some((place, id)) = key.rsplit_once('/') {
                shipped.entry(place.to_owned()).or_default().insert(id.to_owned());
            }
        }
        let mut noted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, _) in node.store.load_all(&NEEDS, &[])? {
            if let Some((pack, need)) = key.rsplit_once('/') {
                let of = noted.entry(pack.to_owned()).or_default();
                of.extend((!need.is_empty()).then(|| need.to_owned()));
            }
        }
        let sealed = packs.iter().filter(|(_, p)| !p.pack_uid.is_empty());
        let by_uid = sealed.map(|(id, p)| (p.pack_uid.clone(), id.clone())).collect();
        let pins = node.store.load_all(&PINS, &[])?.into_iter().collect();
        Ok(Self { node, packs, pins, incidents, shipped, noted, by_uid })
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
            let waiting = self.unshipped(d, &out, now);
            for c in out.iter_mut().filter(|c| waiting.contains(&c.id)) {
                c.held.push(Why::NotAt(d.name.clone()));
            }
        }
        out
    }

    /// The packs that a destination has in one form.
    pub(super) fn at(&self, destination: &str, form: &str) -> Vec<Candidate> {
        let ids = self.shipped.get(&format!("{destination}/{form}")).into_iter().flatten();
        ids.filter_map(|id| Some(self.candidate(id, self.packs.get(id)?, form))).collect()
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
        let text = std::fs::read(self.node.data.pack(&self.node.source, id).join(MANIFEST_FILE)).ok()?;
        let manifest = PackManifest::parse(&text).ok().filter(|m| m.export_id == id)?;
        Some(manifest.files.into_iter().filter_map(|f| f.held_by).collect())
    }

    fn of_sealing(&self, uid: &str) -> Option<BTreeSet<String>> {
        let mut bytes = PackUid::default();
        hex::decode_to_slice(uid, &mut bytes).ok()?;
        let requires = Vault::open(&self.node.data.vault()).ok()?.descriptor(&bytes).ok()?.requires;
        // A sealing of which no pack is known is of none that could be removed.
        Some(requires.iter().filter_map(|uid| self.by_uid.get(&hex::encode(uid)).cloned()).collect())
    }

    /// Standing packs that are yet to go to a destination. What is older than the newest that it has was there and went, or was never
    /// to go there; of a destination that has none, the newest is to go there. What its own rules would remove at once is not waited for.
    fn unshipped(&self, d: &Destination, standing: &[Candidate], now: i64) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        let wanted = |form: &str| match d.mode {
            ShipMode::Plain => form == "plain",
            ShipMode::Sealed => form == "sealed",
            ShipMode::Both => true,
        };
        let lasting: BTreeSet<String> = match &d.keep {
            None => standing.iter().map(|c| c.id.clone()).collect(),
            keep => {
                let all = decide(standing, keep.as_ref(), now);
                all.into_iter().filter(|x| !x.why.is_empty()).map(|x| x.id).collect()
            }
        };
        let age = |id: &String| self.packs.get(id).map(|p| (p.created_at, id.clone()));
        let newest_here = standing.iter().filter_map(|c| age(&c.id)).max();
        for form in FORMS.into_iter().filter(|f| wanted(f)) {
            let newest_there =
                self.shipped.get(&format!("{}/{form}", d.name)).into_iter().flatten().filter_map(age).max();
            let waits = |id: &String| match (&newest_there, age(id)) {
                (Some(there), Some(this)) => this > *there,
                (None, this) => this == newest_here,
                (_, None) => false,
            };
            out.extend(standing.iter().map(|c| &c.id).filter(|id| waits(id) && lasting.contains(*id)).cloned());
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

fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.ino(), a.dev()) == (b.ino(), b.dev()),
        _ => false,
    }
}
