//! Bringing packs to every destination, each on its own.

use super::load::Load;
use super::plan::{Form, needs};
use super::send::send;
use super::stanzas::refresh;
use super::target::{Made, PART, SINGLE, Target};
use super::{ShipError, io, probe, receipts, there};
use crate::export::MANIFEST_FILE;
use crate::node::Node;
use crate::objects::pointer::{MAX_POINTER, Pointer};
use crate::objects::{Fault, ObjectError, layout};
use crate::publishing::Destination;
use crate::quarantine::seen;
use crate::retention::{brought_key, removal_key};
use datanode_schema::failpoint;
use datanode_schema::records::Shipment;
use datanode_schema::store::Batch;
use datanode_schema::trees::{COUNTERS, SHIPMENTS};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What shipping did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShipCounters {
    /// Objects written at destinations.
    pub written: u64,
    /// Objects that were there already, compared.
    pub present: u64,
    /// Objects that a destination copied from an earlier pack of its own.
    pub copied: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Packs and sealings that arrived whole.
    pub shipped: u64,
}

impl std::ops::AddAssign for ShipCounters {
    fn add_assign(&mut self, o: Self) {
        self.written += o.written;
        self.present += o.present;
        self.copied += o.copied;
        self.bytes += o.bytes;
        self.shipped += o.shipped;
    }
}

/// Brings what is due to every destination; `export_id` is the run's own pack. Without destinations there is nothing to do.
///
/// # Errors
/// Those of all destinations that failed; the others have what they should, and doing it again goes on where it stopped.
pub fn ship(node: &Node, export_id: &str) -> Result<ShipCounters, ShipError> {
    let mut c = ShipCounters::default();
    let all = node.publishing.destinations.current();
    // They share the memory for bodies; each has room for a part.
    let memory = (SINGLE / all.len().max(1) as u64).max(PART);
    let mut failed = Vec::new();
    let done: Vec<_> = std::thread::scope(|s| {
        let begun: Vec<_> = all.iter().map(|d| s.spawn(move || deliver(node, d, export_id, memory))).collect();
        begun.into_iter().map(|t| t.join()).collect()
    });
    for (d, done) in all.iter().zip(done) {
        match done {
            Ok((did, result)) => {
                c += did;
                failed.extend(result.err().map(|e| (d.name.clone(), e)));
            }
            Err(_) => failed.push((d.name.clone(), ShipError::Runtime("a thread ended".to_owned()))),
        }
    }
    if failed.is_empty() { Ok(c) } else { Err(ShipError::Destinations(failed)) }
}

/// One destination: what it got, and how it ended.
fn deliver(node: &Node, d: &Destination, export_id: &str, memory: u64) -> (ShipCounters, Result<(), ShipError>) {
    let mut c = ShipCounters::default();
    let result = try_deliver(node, d, export_id, memory, &mut c);
    let (last_error, last_error_at) = match &result {
        Ok(()) => (String::new(), 0),
        Err(e) => (e.to_string(), node.clock.now().timestamp()),
    };
    let failed = result.as_ref().is_err_and(|e| !e.is_stop());
    if failed {
        tracing::error!(
            destination = d.name,
            error = last_error,
            "shipping failed; what arrived stays, and the next run goes on"
        );
        // A counter that cannot be written must not hide what failed.
        if let Err(e) = node.count(&format!("ship/{}/failed", d.name)) {
            tracing::error!(error = %e, "the failure could not be counted");
        }
    }
    node.shipping.change(&d.name, |p| (p.last_error, p.last_error_at) = (last_error, last_error_at));
    (c, result)
}

fn try_deliver(
    node: &Node,
    d: &Destination,
    export_id: &str,
    memory: u64,
    c: &mut ShipCounters,
) -> Result<(), ShipError> {
    make_folder(d)?;
    let target = Arc::new(Target::open(d, &node.clock, memory)?.of(node));
    let runtime = runtime()?;
    if there::is_known(node, d)? {
        runtime.block_on(there::same_place(node, d, &target))?;
    }
    let (mut due, mut failed, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    for form in Form::of(d.mode) {
        let plan = runtime.block_on(there::plan_at(node, d, &target, *form, export_id))?;
        due.extend(plan.go.into_iter().map(|id| (*form, id)));
        failed.extend(plan.cannot);
        marks.push((*form, plan.before, plan.gone));
    }
    if due.is_empty() {
        failed.extend(stanzas(&runtime, node, d, &target));
        return ShipError::all(failed);
    }
    runtime.block_on(probe::trust(node, d, &target))?;
    if let Some(f) = target.folder() {
        f.sweep()?;
    }
    for (form, before, gone) in marks.into_iter().filter(|(form, ..)| due.iter().any(|(f, _)| f == form)) {
        mark(node, &d.name, form, &before, &gone)?;
    }
    let mut stay: BTreeSet<(&str, String)> = BTreeSet::new();
    for (form, id) in due {
        // What it builds on did not go.
        let keeps = |of: &Vec<String>| of.iter().any(|n| stay.contains(&(form.name(), n.clone())));
        let builds_on = needs(node, form, &id);
        let done = match builds_on {
            Ok(of) if keeps(&of) => {
                stay.insert((form.name(), id));
                continue;
            }
            Ok(of) => runtime.block_on(bring(node, d, &target, (form, &id), &of)),
            Err(e) => Err(e),
        };
        match done {
            Ok(did) => *c += did,
            Err(e) => {
                let goes_on = e.is_of_one_pack();
                if goes_on {
                    tracing::error!(destination = d.name, pack = id, form = form.name(), error = %e, "a pack did not go");
                }
                failed.push(e);
                stay.insert((form.name(), id));
                if !goes_on {
                    return ShipError::all(failed);
                }
            }
        }
    }
    failed.extend(stanzas(&runtime, node, d, &target));
    ShipError::all(failed)
}

/// Why stanzas there are not as they are here.
fn stanzas(runtime: &tokio::runtime::Runtime, node: &Node, d: &Destination, to: &Arc<Target>) -> Option<ShipError> {
    runtime.block_on(refresh(node, d, to)).err()
}

/// One pack in one form, with all that follows from its arrival.
async fn bring(
    node: &Node,
    d: &Destination,
    target: &Arc<Target>,
    (form, id): (Form, &str),
    builds_on: &[String],
) -> Result<ShipCounters, ShipError> {
    let load = Load::of(node, id, form)?;
    let did = send(node, target, &load).await?;
    if form == Form::Plain {
        point(node, target, id).await?;
    }
    record(node, &d.name, &load, did)?;
    receipts::prune(&node.store, &d.name, &load, if form == Form::Plain { builds_on } else { &[] })?;
    seen::upload_whole(&node.acts, id, &d.access.url);
    tracing::info!(
        destination = d.name,
        pack = id,
        form = form.name(),
        written = did.written,
        copied = did.copied,
        present = did.present,
        bytes = did.bytes,
        "shipped"
    );
    Ok(ShipCounters { shipped: 1, ..did })
}

fn record(node: &Node, destination: &str, load: &Load, did: ShipCounters) -> Result<(), ShipError> {
    let files = load.items.len() as u64 + 1;
    let record = Shipment { files, bytes: did.bytes, finished_at: node.clock.now().timestamp() };
    let mut batch = Batch::new();
    let (form, id) = (load.form.name(), &load.export_id);
    batch.put(&SHIPMENTS, &format!("{destination}/{form}/{id}"), &record)?;
    batch.put(&COUNTERS, &brought_key(destination, form, id), &1)?;
    // A removal that stopped half way is over: the pack was needed again.
    batch.delete(&COUNTERS, &removal_key(destination, form, id));
    node.store.commit(batch)?;
    Ok(node.count(&format!("ship/{destination}/shipped"))?)
}

/// Notes what was here before a destination's first pack; what is no longer here needs no note.
fn mark(node: &Node, destination: &str, form: Form, before: &[String], gone: &[String]) -> Result<(), ShipError> {
    let key = |id: &String| brought_key(destination, form.name(), id);
    let all = before.iter().map(|id| (key(id), true)).chain(gone.iter().map(|id| (key(id), false)));
    for some in all.collect::<Vec<_>>().chunks(1024) {
        let mut batch = Batch::new();
        for (key, stays) in some {
            if *stays {
                batch.put(&COUNTERS, key, &1)?;
            } else {
                batch.delete(&COUNTERS, key);
            }
        }
        node.store.commit(batch)?;
    }
    Ok(())
}

/// The pointers to a pack that is whole: its own, once for ever, and the newest's, which never goes back.
async fn point(node: &Node, target: &Arc<Target>, export_id: &str) -> Result<(), ShipError> {
    let (bucket, prefix) = bucket_and_prefix(&target.bucket.url, &node.source);
    let pointer =
        Pointer { export_bucket: bucket, export_prefix: prefix, export_id: export_id.to_owned(), ..Pointer::default() };
    let text = bytes::Bytes::from(pointer.to_text());
    let own = layout::pointer(&node.source, export_id);
    if target.create(&own, text.clone()).await? == Made::There {
        // It may have been written when the bucket was reached by another name; the pack that it names is what counts.
        let there = target.read(&own, MAX_POINTER).await?.map(|t| Pointer::parse(&String::from_utf8_lossy(&t)));
        if !there.is_some_and(|p| p.is_ok_and(|p| p.export_id == export_id)) {
            let what = format!("{}/{own}", target.bucket.url);
            seen::upload_differs(&node.acts, export_id, &format!("{what} is not what is sent"));
            return Err(ShipError::Altered(what));
        }
    }
    failpoint::pass("ship.pointed");
    let latest = layout::latest(&node.source);
    let there = match target.read(&latest, MAX_POINTER).await {
        Err(ShipError::Object(e)) if e.fault == Fault::Usage => None,
        read => read?,
    };
    let newest = there.and_then(|t| Pointer::parse(&String::from_utf8_lossy(&t)).ok()).map(|p| p.export_id);
    // One that names no pack of ours that is there would hide every new one.
    let stands = match newest.filter(|n| n.as_str() >= export_id) {
        Some(n) => target.look(&format!("{}/{MANIFEST_FILE}", layout::pack(&node.source, &n))).await?.is_some(),
        None => false,
    };
    if !stands {
        target.replace(&latest, text).await?;
    }
    Ok(())
}

/// `s3://bucket/a/b` is the bucket `s3://bucket` and what its keys begin with; a folder is a bucket of its own.
fn bucket_and_prefix(url: &str, source: &str) -> (String, String) {
    let exports = layout::exports(source);
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some((scheme, rest)) if scheme != "file" => match rest.split_once('/') {
            Some((bucket, below)) => (format!("{scheme}://{bucket}"), format!("{}/{exports}", below.trim_matches('/'))),
            None => (url.to_owned(), exports),
        },
        _ => (url.to_owned(), exports),
    }
}

/// A destination folder is made where what it lies in is there.
pub(super) fn make_folder(d: &Destination) -> Result<(), ShipError> {
    let Ok(path) = d.access.folder_path() else { return Ok(()) };
    match std::fs::create_dir(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let why = "the folder that it would be in is not there: make it, or mount what it is on";
            Err(ObjectError::usage(&d.access.url, "no such folder", why).into())
        }
        made => made.map_err(io(&path)),
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, ShipError> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|e| ShipError::Runtime(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_names_the_bucket_and_what_its_keys_begin_with() {
        let of = |url: &str| bucket_and_prefix(url, "home");
        let want = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of("s3://packs"), want("s3://packs", "exports/home"));
        assert_eq!(of("s3://packs/a/b/"), want("s3://packs", "a/b/exports/home"));
        assert_eq!(of("/mnt/nas/packs/"), want("/mnt/nas/packs", "exports/home"));
        assert_eq!(of("file:///mnt/nas"), want("file:///mnt/nas", "exports/home"));
    }
}
