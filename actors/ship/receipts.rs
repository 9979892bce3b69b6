//! Receipts: what is known of objects at a destination, so that nothing is sent twice and the bucket can copy what it has.

use super::ShipError;
use super::load::Load;
use super::plan::Form;
use super::target::Seen;
use crate::objects::layout;
use datanode_schema::records::Receipt;
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::RECEIPTS;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// The longest key that the store takes, with room for its end. What is longer gets no receipt: it is read back instead.
const LONGEST: usize = 500;

/// The receipts of a pack at a destination, by path.
pub fn of_pack(store: &Store, destination: &str, export_id: &str) -> Result<BTreeMap<String, Receipt>, StoreError> {
    let prefix = format!("{destination}/{export_id}/");
    let all = store.load_all(&RECEIPTS, prefix.as_bytes())?;
    Ok(all.into_iter().filter_map(|(k, r)| Some((k.strip_prefix(&prefix)?.to_owned(), r))).collect())
}

/// Keeps receipts, in one commit.
pub fn keep(store: &Store, destination: &str, export_id: &str, new: &[(String, Receipt)]) -> Result<(), ShipError> {
    let mut batch = Batch::new();
    for (path, r) in new {
        let key = format!("{destination}/{export_id}/{path}");
        if key.len() <= LONGEST {
            batch.put(&RECEIPTS, &key, r)?;
        }
    }
    if !batch.is_empty() {
        store.commit(batch)?;
        datanode_schema::failpoint::pass("ship.receipts");
    }
    Ok(())
}

fn is_of_sealing(path: &str) -> bool {
    ["chunks/", "stanzas/", "descriptors/"].iter().any(|p| path.starts_with(p)) || path.ends_with(".tlog-proof")
}

/// Packs whose receipts stay, beside the newest that arrived and those that it builds on.
const SPARE: usize = 8;

/// Forgets what no later pack can be copied from: receipts of a sealing that is whole, and of packs that newer ones have replaced.
/// What arrived stays on record as a shipment.
pub fn prune(store: &Store, destination: &str, load: &Load, builds_on: &[String]) -> Result<(), ShipError> {
    let prefix = format!("{destination}/");
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    store.scan(&RECEIPTS, prefix.as_bytes(), |k, _| {
        if let Some((id, path)) = k.strip_prefix(&prefix).and_then(|rest| rest.split_once('/'))
            && is_of_sealing(path) == (load.form == Form::Sealed)
        {
            of.entry(id.to_owned()).or_default().push(k);
        }
        ControlFlow::Continue(())
    })?;
    let spared = if load.form == Form::Sealed { 0 } else { SPARE };
    let stay: BTreeSet<String> = of.keys().rev().take(spared).chain(builds_on).cloned().collect();
    let may_go = |id: &str| match load.form {
        Form::Sealed => id == load.export_id,
        Form::Plain => id < load.export_id.as_str() && !stay.contains(id),
    };
    let gone: Vec<String> = of.into_iter().filter(|(id, _)| may_go(id)).flat_map(|(_, keys)| keys).collect();
    Ok(delete(store, &gone)?)
}

/// Forgets all objects of a pack, or of its sealing, that are no longer at a destination.
pub fn forget(store: &Store, destination: &str, export_id: &str, sealing: bool) -> Result<(), StoreError> {
    let prefix = format!("{destination}/{export_id}/");
    let mut gone = Vec::new();
    store.scan(&RECEIPTS, prefix.as_bytes(), |k, _| {
        if k.strip_prefix(&prefix).is_some_and(|path| is_of_sealing(path) == sealing) {
            gone.push(k);
        }
        ControlFlow::Continue(())
    })?;
    delete(store, &gone)
}

/// Forgets all objects at a destination.
pub fn forget_all(store: &Store, destination: &str) -> Result<(), StoreError> {
    let mut gone = Vec::new();
    store.scan(&RECEIPTS, format!("{destination}/").as_bytes(), |k, _| {
        gone.push(k);
        ControlFlow::Continue(())
    })?;
    delete(store, &gone)
}

fn delete(store: &Store, keys: &[String]) -> Result<(), StoreError> {
    for some in keys.chunks(4096) {
        let mut batch = Batch::new();
        for key in some {
            batch.delete(&RECEIPTS, key);
        }
        store.commit(batch)?;
    }
    Ok(())
}

/// What the bucket has already of a pack's files, in the newest earlier pack that has it: sum → (object, as it was seen).
pub fn sources(
    store: &Store,
    destination: &str,
    source: &str,
    load: &Load,
) -> Result<BTreeMap<[u8; 32], (String, Seen)>, StoreError> {
    let wanted: BTreeSet<&[u8; 32]> = load.items.iter().map(|i| i.sum.bytes()).collect();
    let prefix = format!("{destination}/");
    let mut out = BTreeMap::new();
    store.scan(&RECEIPTS, prefix.as_bytes(), |k, r| {
        let rest = k.strip_prefix(&prefix).unwrap_or_default();
        if let Some((id, path)) = rest.split_once('/')
            && id != load.export_id
            && path.starts_with("data/")
            && wanted.contains(&r.sum)
        {
            let seen = Seen { bytes: r.bytes.to_native(), e_tag: r.e_tag.as_str().to_owned() };
            // Keys come in order: a later pack's replaces an earlier one's.
            out.insert(r.sum, (format!("{}/{path}", layout::pack(source, id)), seen));
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}
