//! Removing packs and sealings at a destination.
//!
//! What a pack consists of is listed below its own folder, but which packs are ours to remove only the shipments say: nothing that this
//! node did not bring there is touched. In a batch of its own the shipment becomes a removal (tree `counters`,
//! `retention/removing/<destination>/<form>/<export id>`); then goes what makes the pack complete, its manifest or descriptor; then
//! its pointer and all the rest. Where the bucket refuses the first step the pack stays complete and is a shipment again; a
//! kill or a refusal later leaves a pack that nobody takes for complete, and the next run goes on with it.
//!
//! Objects are deleted by name, never a version of them: in a bucket that keeps versions a removal can be taken back,
//! and what an object lock keeps is kept.

use super::facts::{Facts, removal_key};
use super::local::is_pinned;
use super::plan::Row;
use super::{Place, RetentionError};
use crate::node::Node;
use crate::objects::layout;
use crate::objects::pointer::{MAX_POINTER, Pointer};
use crate::objects::{Access, Bucket, BucketKind, Fault, ObjectError};
use crate::publishing::Destination;
use crate::ship::{Form, forget_receipts, place_of};
use datanode_schema::failpoint;
use datanode_schema::records::Shipment;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{COUNTERS, NEEDS, SHIPMENTS};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeMap;

/// What became of the removals at a destination.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Packs and sealings of which nothing is left.
    pub(super) removed: u64,
    /// Why the others are not gone.
    pub(super) refusals: Vec<String>,
}

fn intent(place: &Place, id: &str) -> String {
    removal_key(&place.name, place.form, id)
}

/// Removes the packs of these rows, one after the other.
pub(super) fn remove(node: &Node, d: &Destination, rows: &[&Row]) -> Result<Outcome, RetentionError> {
    let mut out = Outcome::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, bucket) = match (runtime, d.access.open()) {
        (Ok(r), Ok(b)) => (r, b),
        (Err(e), _) => return Ok(Outcome { refusals: vec![format!("no runtime: {e}; try again")], ..out }),
        (_, Err(e)) => return Ok(Outcome { refusals: vec![e.to_string()], ..out }),
    };
    let latest = match runtime.block_on(latest(&bucket, &node.source)) {
        Ok(l) => l,
        Err(why) => return Ok(Outcome { refusals: vec![why], ..out }),
    };
    for row in rows {
        if row.place.form == "plain" && latest.as_deref() == Some(row.export_id.as_str()) {
            out.refusals.push(format!(
                "{} is what latest.pointer names, and stays until a newer pack is shipped",
                row.export_id
            ));
            continue;
        }
        let Some(at) = place_of(node, row.place.form, &row.export_id)? else {
            out.refusals.push(format!("{}: no sealing of it is on record", row.export_id));
            continue;
        };
        match runtime.block_on(one(node, &bucket, row, &at)) {
            Ok(None) => out.removed += 1,
            Ok(Some(e)) => {
                out.refusals.push(format!("{}: {e}", row.export_id));
                // A store that does not answer would be asked in vain for each.
                if e.fault == Fault::Unavailable {
                    break;
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(out)
}

/// The pack that the pointer to the newest names; None where there is no pointer.
async fn latest(bucket: &Bucket, source: &str) -> Result<Option<String>, String> {
    let name = layout::latest(source);
    let read = bucket.read(&name, MAX_POINTER).await.map_err(|e| e.to_string())?;
    let Some(text) = read else { return Ok(None) };
    let text =
        std::str::from_utf8(&text).map_err(|_| format!("{name} is no text, and nothing is removed beside it"))?;
    let pointer =
        Pointer::parse(text).map_err(|e| format!("{name}: {e}, and nothing is removed beside it; ship again"))?;
    Ok(Some(pointer.export_id))
}

/// Of packs that are to go from here, those that a destination has on record and that cannot be seen there, each with why: the copy here
/// may be the last. A destination that does not answer is asked once.
pub(super) fn not_there(
    node: &Node,
    facts: &Facts<'_>,
    destinations: &[Destination],
    gone: &[&str],
) -> Result<BTreeMap<String, String>, RetentionError> {
    let mut out = BTreeMap::new();
    for d in destinations {
        for form in [Form::Plain, Form::Sealed] {
            let arrived = facts.arrived(&d.name, form.name());
            let claimed: Vec<&str> = gone.iter().copied().filter(|id| arrived.contains(*id)).collect();
            if claimed.is_empty() {
                continue;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let opened = match (runtime, d.access.open()) {
                (Ok(r), Ok(b)) => Ok((r, b)),
                (Err(e), _) => Err(format!("no runtime: {e}")),
                (_, Err(e)) => Err(e.to_string()),
            };
            let mut silent = None;
            for id in claimed {
                let seen = match (&opened, &silent) {
                    (Err(e), _) | (_, Some(e)) => Err(String::clone(e)),
                    (Ok((r, b)), None) => match place_of(node, form.name(), id)? {
                        Some((_, name)) => r.block_on(stands(b, &name)).map_err(|e| {
                            silent = (e.fault == Fault::Unavailable).then(|| e.to_string());
                            e.to_string()
                        }),
                        None => Ok(false),
                    },
                };
                let why = match seen {
                    Ok(true) => continue,
                    Ok(false) => "it had arrived there and is gone; see who removed it".to_owned(),
                    Err(e) => format!("it cannot be seen there ({e})"),
                };
                out.insert(id.to_owned(), format!("{id} stays here: {} ({}): {why}", d.name, form.name()));
            }
        }
    }
    Ok(out)
}

async fn stands(bucket: &Bucket, name: &str) -> Result<bool, ObjectError> {
    match bucket.store.head(&bucket.key(name)).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(ObjectError::of(&bucket.url, format!("look at {name}"), &e)),
    }
}

/// Removes one, of which the folder and the commit are given; the store's refusal, where there is one.
async fn one(
    node: &Node,
    bucket: &Bucket,
    row: &Row,
    (folder, commit): &(String, String),
) -> Result<Option<ObjectError>, StoreError> {
    let (id, place) = (&row.export_id, &row.place);
    let shipment = format!("{}/{}/{id}", place.name, place.form);
    let before = node.store.load(&SHIPMENTS, &shipment)?;
    if !begin(node, place, id, &shipment)? {
        return Ok(Some(ObjectError::usage(&bucket.url, "not removed", "it was pinned meanwhile")));
    }
    failpoint::pass("retention.begun");
    if let Err(e) = gone(bucket, commit).await {
        // A refusal leaves it as it was; after anything else nobody knows, and the removal goes on.
        if matches!(e.fault, Fault::Credentials | Fault::Unsupported) {
            undo(node, place, id, before.as_ref(), &shipment)?;
        }
        return Ok(Some(e));
    }
    failpoint::pass("retention.uncommitted");
    if place.form == "plain"
        && let Err(e) = gone(bucket, &layout::pointer(&node.source, id)).await
    {
        return Ok(Some(e));
    }
    if let Err(e) = below(bucket, folder).await {
        return Ok(Some(ObjectError::of(&bucket.url, format!("delete {folder}/"), &e)));
    }
    failpoint::pass("retention.deleted");
    end(node, place, id)?;
    Ok(None)
}

/// From here on the removal is on record, and the pack no shipment. False: it was pinned since the plan was made.
fn begin(node: &Node, place: &Place, id: &str, shipment: &String) -> Result<bool, StoreError> {
    let _still = node.acts.still();
    let intent = intent(place, id);
    if node.store.get(&COUNTERS, &intent, |_| ())?.is_none() && is_pinned(node, id)? {
        return Ok(false);
    }
    let mut batch = Batch::new();
    batch.put(&COUNTERS, &intent, &1)?.delete(&SHIPMENTS, shipment);
    node.store.commit(batch)?;
    Ok(true)
}

/// The removal is done: nothing there can be copied or compared any more. What the pack builds on is forgotten with the last place that has it.
fn end(node: &Node, place: &Place, id: &str) -> Result<(), StoreError> {
    forget_receipts(&node.store, &place.name, id, place.form == Form::Sealed.name())?;
    let mut batch = Batch::new();
    batch.delete(&COUNTERS, &intent(place, id));
    let form_of = format!("{}/{id}", place.form);
    let others = node.store.load_all(&SHIPMENTS, &[])?;
    if !others.iter().any(|(k, _)| k.split_once('/').is_some_and(|(_, rest)| rest == form_of)) {
        for (need, _) in node.store.load_all(&NEEDS, format!("{form_of}/").as_bytes())? {
            batch.delete(&NEEDS, &need);
        }
    }
    node.store.commit(batch).map(|_| ())
}

/// The pack is complete there: it is a shipment again, where it was one.
fn undo(node: &Node, place: &Place, id: &str, before: Option<&Shipment>, shipment: &String) -> Result<(), StoreError> {
    let Some(before) = before else { return Ok(()) };
    let mut batch = Batch::new();
    batch.put(&SHIPMENTS, shipment, before)?.delete(&COUNTERS, &intent(place, id));
    node.store.commit(batch).map(|_| ())
}

/// Deletes an object; one that is not there is gone.
async fn gone(bucket: &Bucket, name: &str) -> Result<(), ObjectError> {
    match bucket.store.delete(&bucket.key(name)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(ObjectError::of(&bucket.url, format!("delete {name}"), &e)),
    }
}

/// Deletes whatever lies below a folder.
async fn below(bucket: &Bucket, folder: &str) -> object_store::Result<()> {
    // The store's own listing of a folder goes through links, and would delete what lies behind them.
    if let (BucketKind::Folder, Ok(root)) =
        (bucket.kind, Access { url: bucket.url.clone(), ..Access::default() }.folder_path())
    {
        return match std::fs::remove_dir_all(root.join(folder)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(object_store::Error::Generic { store: "folder", source: Box::new(e) })
            }
            _ => Ok(()),
        };
    }
    let prefix = bucket.key(folder);
    let inside = |key: &Key| key.prefix_match(&prefix).is_some_and(|mut parts| parts.next().is_some());
    let found: Vec<Key> = bucket.store.list(Some(&prefix)).map_ok(|m| m.location).try_collect().await?;
    let keys: Vec<object_store::Result<Key>> = found.into_iter().filter(inside).map(Ok).collect();
    let mut done = bucket.store.delete_stream(futures_util::stream::iter(keys).boxed());
    while let Some(deleted) = done.next().await {
        match deleted {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
