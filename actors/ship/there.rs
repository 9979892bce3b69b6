//! Whether what the records say of a destination is so: it is the place that it was, and what a pack builds on is still there.
//!
//! Each destination has a marker, `.datanode/<source>.id`: a random id, created once and for ever. A place without it, or with another, is
//! not the one that the records speak of (it was emptied, or its name was turned to another), and they are dropped.

use super::plan::{Form, Plan, needs, plan};
use super::target::{Made, Target};
use super::{ShipError, receipts};
use crate::export::MANIFEST_FILE;
use crate::node::Node;
use crate::objects::{ObjectError, layout};
use crate::publishing::Destination;
use crate::retention::removal_key;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{COUNTERS, PACKS, PROBES, SHIPMENTS};
use std::collections::BTreeSet;

/// Bytes of the longest marker that is read.
const MAX_MARKER: u64 = 256;

/// The folder of a pack in a form at a destination, and in it the object whose presence is the commit; None where the pack has no
/// sealing on record.
///
/// # Errors
/// The store's.
pub fn place_of(node: &Node, form: &str, id: &str) -> Result<Option<(String, String)>, StoreError> {
    if form == Form::Plain.name() {
        let folder = layout::pack(&node.source, id);
        let commit = format!("{folder}/{MANIFEST_FILE}");
        return Ok(Some((folder, commit)));
    }
    let uid = node.store.load(&PACKS, &id.to_owned())?.map(|p| p.pack_uid);
    let uid = uid.filter(|u| u.len() == 32 && u.bytes().all(|b| b.is_ascii_hexdigit()));
    Ok(uid.map(|u| {
        let folder = layout::sealing(&node.source, &u);
        let commit = format!("{folder}/descriptors/{u}.json");
        (folder, commit)
    }))
}

/// Whether it is on record which place a destination is.
pub(super) fn is_known(node: &Node, d: &Destination) -> Result<bool, StoreError> {
    Ok(node.store.load(&PROBES, &d.name)?.is_some_and(|p| !p.id.is_empty()))
}

/// Sees that a destination is the one that it was. Where it is not, everything on record of it is dropped, and what was there and
/// stands here goes there again.
pub(super) async fn same_place(node: &Node, d: &Destination, target: &Target) -> Result<(), ShipError> {
    let name = layout::marker(&node.source);
    let there = match marker(target, &name).await? {
        Some(id) => id,
        None => {
            let new = format!("{:032x}", rand::random::<u128>());
            match target.create(&name, format!("{new}\n").into()).await? {
                Made::New(_) => new,
                Made::There => marker(target, &name)
                    .await?
                    .ok_or_else(|| ShipError::Unsteady(format!("{}/{name}", target.bucket.url)))?,
            }
        }
    };
    let _turn = node.shipping.turn();
    let Some(mut known) = node.store.load(&PROBES, &d.name)? else { return Ok(()) };
    if known.id == there {
        return Ok(());
    }
    let mut batch = Batch::new();
    if !known.id.is_empty() {
        tracing::error!(
            destination = d.name,
            url = d.access.url,
            "THIS IS NOT THE PLACE THAT PACKS WENT TO: its {name} is missing or another, so it was emptied, or the name stands for another \
             place now. What was on record of it is dropped, and the packs that were there and stand here are shipped again"
        );
        forget_all(node, &d.name, &mut batch)?;
    }
    known.id = there;
    batch.put(&PROBES, &d.name, &known)?;
    node.store.commit(batch)?;
    Ok(())
}

async fn marker(target: &Target, name: &str) -> Result<Option<String>, ShipError> {
    let Some(text) = target.read(name, MAX_MARKER).await? else { return Ok(None) };
    let id = String::from_utf8_lossy(&text).trim().to_owned();
    if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(Some(id));
    }
    let why = "it is no marker of a node; find out who changed it, and remove it";
    Err(ObjectError::usage(&target.bucket.url, format!("get {name}"), why).into())
}

/// Receipts go first, since there may be many; all else goes with the batch that takes the new marker.
fn forget_all(node: &Node, destination: &str, batch: &mut Batch) -> Result<(), ShipError> {
    receipts::forget_all(&node.store, destination)?;
    let prefix = format!("{destination}/");
    let shipments = node.store.load_all(&SHIPMENTS, prefix.as_bytes())?;
    for form in [Form::Plain, Form::Sealed] {
        let of = format!("{prefix}{}/", form.name());
        let mut oldest: Option<u64> = None;
        for (key, _) in shipments.iter().filter(|(k, _)| k.starts_with(&of)) {
            batch.delete(&SHIPMENTS, key);
            let pack = node.store.load(&PACKS, &key.split_at(of.len()).1.to_owned())?;
            let stands = pack.filter(|p| p.removed_at == 0).and_then(|p| u64::try_from(p.created_at).ok());
            oldest = stands.into_iter().chain(oldest).min();
        }
        if let Some(at) = oldest {
            batch.put(&COUNTERS, &anew_key(destination, form.name()), &at)?;
        }
        let removals = removal_key(destination, form.name(), "");
        for (key, _) in node.store.load_all(&COUNTERS, removals.as_bytes())? {
            batch.delete(&COUNTERS, &key);
        }
    }
    Ok(())
}

/// The key of the unix second from which on packs are due at a destination where shipping began anew (tree `counters`).
pub fn anew_key(destination: &str, form: &str) -> String {
    format!("ship/{destination}/{form}/anew")
}

/// What is to be brought to a destination. What those packs build on is looked for there first: what is gone is brought again.
pub(super) async fn plan_at(
    node: &Node,
    d: &Destination,
    target: &Target,
    form: Form,
    current: &str,
) -> Result<Plan, ShipError> {
    let mut looked: BTreeSet<String> = BTreeSet::new();
    loop {
        let found = plan(node, d, form, current)?;
        let mut gone = false;
        for id in &found.go {
            for need in needs(node, form, id)? {
                let key = format!("{}/{}/{need}", d.name, form.name());
                let arrived = node.store.load(&SHIPMENTS, &key)?.is_some();
                if arrived && looked.insert(key.clone()) && !stands(node, target, form, &need).await? {
                    forget_one(node, &d.name, form, &need)?;
                    gone = true;
                }
            }
        }
        if !gone {
            return Ok(found);
        }
    }
}

async fn stands(node: &Node, target: &Target, form: Form, id: &str) -> Result<bool, ShipError> {
    match place_of(node, form.name(), id)? {
        Some((_, name)) => Ok(target.look(&name).await?.is_some()),
        None => Ok(false),
    }
}

/// Sees once more, right before a commit, that what it builds on is there.
pub(super) async fn before_commit(node: &Node, target: &Target, form: Form, id: &str) -> Result<(), ShipError> {
    for need in needs(node, form, id)? {
        if !stands(node, target, form, &need).await? {
            return Err(ShipError::Unsteady(format!("{}: {need} ({})", target.bucket.url, form.name())));
        }
    }
    Ok(())
}

fn forget_one(node: &Node, destination: &str, form: Form, id: &str) -> Result<(), ShipError> {
    tracing::error!(
        destination,
        pack = id,
        form = form.name(),
        "IT HAD ARRIVED THERE AND IS GONE, and a newer one builds on it: it is shipped again; see who removes packs there (a lifecycle rule?)"
    );
    receipts::forget(&node.store, destination, id, form == Form::Sealed)?;
    let mut batch = Batch::new();
    batch.delete(&SHIPMENTS, &format!("{destination}/{}/{id}", form.name()));
    node.store.commit(batch)?;
    Ok(())
}
