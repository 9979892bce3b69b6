//! Whether a destination keeps its word, seen by trying: create a name twice, send a body with another's checksum, read back.
//!
//! S3's own interface has both; services that speak it often answer 200 and do neither. Google's and Azure's stores have conditional
//! creation and no SHA-256 of this kind: their checksum stays "not known".

use super::target::{Made, Target};
use super::{ShipError, blocking, there};
use crate::node::Node;
use crate::objects::{BucketKind, ObjectError};
use crate::publishing::Destination;
use datanode_schema::clock::Clock;
use datanode_schema::records::Probe;
use datanode_schema::store::Batch;
use datanode_schema::trees::PROBES;
use object_store::ObjectStoreExt;
use std::sync::Arc;
use std::time::Duration;

/// It does.
pub const YES: u8 = 1;
/// It does not.
pub const NO: u8 = 2;

/// SHA-256 of no bytes, in base64: the wrong checksum of anything else.
const SUM_OF_NOTHING: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const FIRST: &[u8] = b"datanode looks whether this bucket keeps its word";
const SECOND: &[u8] = b"if you read this, the bucket overwrote what it was told to create";

/// What is wrong with it; None where it may be trusted.
pub fn lies(p: &Probe) -> Option<String> {
    let lies = [p.create, p.checksum, p.read_back].contains(&NO);
    lies.then(|| p.note.clone())
}

/// Tries a destination, from a process without a node.
///
/// # Errors
/// It cannot be reached or written.
pub fn probe_destination(d: &Destination, clock: &Clock) -> Result<Probe, ShipError> {
    super::deliver::make_folder(d)?;
    let target = Arc::new(Target::open(d, clock, super::target::SINGLE)?);
    super::deliver::runtime()?.block_on(probe(&target, clock))
}

/// Looks at a destination before the first pack goes to it. One that lies is refused, or noted loudly where its owner accepts it.
/// Whether it is the place that it was is asked each time.
pub(super) async fn trust(node: &Node, d: &Destination, target: &Arc<Target>) -> Result<(), ShipError> {
    let reloads = node.shipping.reloads();
    if !node.shipping.is_trusted(&d.name) {
        look(node, d, target).await?;
    }
    there::same_place(node, d, target).await?;
    node.shipping.trust(&d.name, reloads);
    Ok(())
}

async fn look(node: &Node, d: &Destination, target: &Arc<Target>) -> Result<(), ShipError> {
    let mut p = probe(target, &node.clock).await?;
    {
        let _turn = node.shipping.turn();
        // Which place it was is another question.
        p.id = node.store.load(&PROBES, &d.name)?.map(|old| old.id).unwrap_or_default();
        let mut batch = Batch::new();
        batch.put(&PROBES, &d.name, &p)?;
        node.store.commit(batch)?;
    }
    match lies(&p) {
        Some(why) if d.accept_unsafe => {
            tracing::warn!(
                destination = d.name,
                url = d.access.url,
                why,
                "THE BUCKET IS NOT SAFE, and accept_unsafe_bucket is set"
            );
        }
        Some(why) => return Err(ShipError::Unsafe { name: d.name.clone(), url: d.access.url.clone(), why }),
        None => {
            tracing::info!(destination = d.name, url = d.access.url, note = p.note, "the destination keeps its word")
        }
    }
    Ok(())
}

/// Looks at every destination that was not looked at; what is wrong is logged, and the ship stage will say it again.
pub fn trust_all(node: &Node) {
    for d in node.publishing.destinations.current().iter() {
        let looked = super::deliver::make_folder(d).and_then(|()| {
            let target = Arc::new(Target::open(d, &node.clock, super::target::SINGLE)?);
            super::deliver::runtime()?.block_on(trust(node, d, &target))
        });
        if let Err(e) = looked {
            tracing::error!(destination = d.name, error = %e, "nothing can be shipped there as it stands");
        }
    }
}

async fn probe(target: &Arc<Target>, clock: &Clock) -> Result<Probe, ShipError> {
    let mut p = Probe {
        url: target.bucket.url.clone(),
        create: 0,
        checksum: 0,
        read_back: 0,
        note: String::new(),
        at: clock.now().timestamp(),
        id: String::new(),
    };
    let mut notes: Vec<String> = Vec::new();
    if target.folder().is_some() {
        let me = target.clone();
        let creates = blocking(move || me.folder().map_or(Ok(false), |f| f.probe())).await?;
        (p.create, p.read_back) = (u8::from(creates), YES);
        if !creates {
            notes.push("the file system has no hard links: names are looked at before they are written".to_owned());
        }
        p.note = notes.join("; ");
        return Ok(p);
    }
    let name = |what: &str| format!(".datanode-probe/{:016x}-{what}", rand::random::<u64>());
    let (twice, sums) = (name("create"), name("checksum"));
    if target.create(&twice, FIRST.into()).await? == Made::There {
        return Err(ObjectError::usage(&p.url, format!("put {twice}"), "a name that was never used is taken").into());
    }
    p.create = match target.create(&twice, SECOND.into()).await? {
        Made::There => YES,
        Made::New(_) => NO,
    };
    if p.create == NO {
        notes.push("it overwrote an object that was to be created only where there is none".to_owned());
    }
    let back = target.read(&twice, 1 << 10).await?;
    p.read_back = match back.as_deref() {
        Some(FIRST) => YES,
        Some(SECOND) if p.create == NO => YES,
        _ => NO,
    };
    if p.read_back == NO {
        notes.push("it does not give back what was written".to_owned());
    }
    (p.checksum, notes) = wrong_checksum(target, &sums, notes).await?;
    for n in [&twice, &sums] {
        let key = target.bucket.key(n);
        if let Err(e) = target.timed(&format!("delete {n}"), 0, target.bucket.store.delete(&key)).await
            && e.fault != crate::objects::Fault::NotFound
        {
            notes.push(format!("{n} could not be deleted"));
        }
    }
    p.note = notes.join("; ");
    // A record has its limit.
    p.note = p.note.chars().take(1000).collect();
    Ok(p)
}

async fn wrong_checksum(target: &Target, name: &str, mut notes: Vec<String>) -> Result<(u8, Vec<String>), ShipError> {
    if target.bucket.kind != BucketKind::S3 {
        notes.push("its interface has no SHA-256 on upload: checksums are not known".to_owned());
        return Ok((0, notes));
    }
    let header = ("x-amz-checksum-sha256", SUM_OF_NOTHING.to_owned());
    let Some(url) = target.bucket.signed_put(name, header.clone()).await? else {
        notes.push("without a key nothing can be signed: checksums are not known".to_owned());
        return Ok((0, notes));
    };
    let failed = |e: reqwest::Error| {
        let why = e.without_url().to_string();
        ShipError::from(ObjectError::usage(&target.bucket.url, format!("put {name}"), why))
    };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(failed)?;
    let answer = client.put(url).header(header.0, header.1).body(SECOND).send().await.map_err(failed)?;
    let checksum = match answer.status().as_u16() {
        200..=299 => {
            notes.push("it took a body whose checksum is another's".to_owned());
            NO
        }
        400 => YES,
        other => {
            notes.push(format!("it answered {other} to a wrong checksum: checksums are not known"));
            0
        }
    };
    Ok((checksum, notes))
}
