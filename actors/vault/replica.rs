//! The second copy of the vault, kept in step: what is here and not there is brought, descriptors last; what was let go here goes there as
//! well, the same days later.
//!
//! The tree `replicated` has a receipt for each path that is there. Beside paths it has `.datanode/replica.id`, whose sum is what the
//! marker there says (a place without it is not the one that the receipts speak of, and nothing is brought to it: a disk may not be
//! mounted), and `.down`, since when it cannot be reached.

use super::inventory::Inventory;
use super::stanza::stanza_names;
use super::tombstones::{Mark, removed};
use super::{Vault, log_of};
use crate::node::Node;
use crate::objects::{Bucket, BucketKind, ObjectError};
use crate::publishing::{Destination, Replica, ShipMode};
use crate::quarantine::seen;
use crate::seal::{PackUid, SealError};
use crate::ship::{Item, Made, Seen, ShipError, Sum, Target};
use datanode_schema::failpoint;
use datanode_schema::names::IncidentKind;
use datanode_schema::records::Receipt;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::REPLICATED;
use object_store::ObjectStoreExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MARKER: &str = ".datanode/replica.id";
const DOWN: &str = ".down";
/// Seconds for which it may be away before somebody is told.
const PATIENCE: i64 = 3 * 86_400;
/// Receipts in one commit.
const BATCH: usize = 256;
/// Bytes of bodies held at once.
const MEMORY: u64 = 64 << 20;
/// Writing there what is read there again takes no longer than this, bytes.
const MAX_MARKER: u64 = 256;

/// What a night's work on it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replicated {
    /// Files brought.
    pub brought: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that had been damaged or lost there, and were brought again.
    pub repaired: u64,
    /// Files that went there, since they were let go here.
    pub removed: u64,
    /// 1 where it could not be done, or not wholly.
    pub failed: u64,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault here refused.
    #[error(transparent)]
    Vault(#[from] SealError),
    /// The place refused, or does not answer.
    #[error(transparent)]
    There(#[from] ShipError),
    /// The place is another.
    #[error(
        "{0}: this is not the replica that was written until now ({MARKER} is missing or another): mount its disk, or check vault.replica.url. \
         To begin anew in this place, write the word `new` into {MARKER} there"
    )]
    Other(String),
    /// No runtime.
    #[error("no runtime: {0}; try again")]
    Runtime(#[from] std::io::Error),
}

impl From<ObjectError> for ReplicaError {
    fn from(e: ObjectError) -> Self {
        Self::There(e.into())
    }
}

/// Brings the replica into step. What fails is logged, counted, and after some days an incident.
///
/// # Errors
/// The store's.
pub fn replicate(node: &Node, vault: &Vault) -> Result<Replicated, StoreError> {
    let Some(replica) = &node.publishing.vault.replica else { return Ok(Replicated::default()) };
    let mut done = Replicated::default();
    let went = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ReplicaError::from)
        .and_then(|r| r.block_on(Step::open(node, vault, replica)?.go(&mut done)));
    let now = node.clock.now().timestamp();
    let mut batch = Batch::new();
    match went {
        Ok(()) => {
            batch.delete(&REPLICATED, &DOWN.to_owned());
            node.store.commit(batch)?;
            let artifact = crate::quarantine::Artifact::Vault("replica".to_owned());
            node.acts.mended(IncidentKind::ReplicaBehind, &artifact, "it is in step again");
        }
        Err(ReplicaError::Store(e)) => return Err(e),
        Err(e) => {
            tracing::error!(url = replica.access.url, error = %e, "the vault's replica is not in step");
            done.failed = 1;
            let since = node.store.load(&REPLICATED, &DOWN.to_owned())?.map_or(now, |r| r.at);
            batch.put(
                &REPLICATED,
                &DOWN.to_owned(),
                &Receipt { sum: [0; 32], bytes: 0, e_tag: String::new(), at: since },
            )?;
            node.store.commit(batch)?;
            if now.saturating_sub(since) >= PATIENCE {
                let days = now.saturating_sub(since) / 86_400;
                seen::replica_behind(&node.acts, format!("not in step for {days} days: {e}"));
            }
        }
    }
    Ok(done)
}

struct Step<'a> {
    node: &'a Node,
    vault: &'a Vault,
    target: Arc<Target>,
    known: BTreeMap<String, Receipt>,
    fresh: Vec<(String, Receipt)>,
}

impl<'a> Step<'a> {
    fn open(node: &'a Node, vault: &'a Vault, replica: &Replica) -> Result<Self, ReplicaError> {
        let d = Destination {
            name: "replica".to_owned(),
            access: replica.access.clone(),
            mode: ShipMode::Sealed,
            accept_unsafe: false,
            bytes_per_second: replica.bytes_per_second,
            parallel: 1,
            keep: None,
        };
        let target = Arc::new(Target::open(&d, &node.clock, MEMORY)?.of(node));
        let known = node.store.load_all(&REPLICATED, &[])?.into_iter().collect();
        Ok(Self { node, vault, target, known, fresh: Vec::new() })
    }

    async fn go(mut self, done: &mut Replicated) -> Result<(), ReplicaError> {
        self.same_place().await?;
        let inv = Inventory::read(
            self.vault,
            &log_of(&self.node.data.anchors(), Some(self.node.publishing.anchor.key.public())).0,
        )?;
        let there = self.listing().await?;
        let mut wanted = BTreeSet::new();
        let mut incomplete = BTreeSet::new();
        // What the log contradicts is not spread.
        let bad: BTreeSet<PackUid> = inv.findings.iter().filter_map(|f| f.subject.pack()).collect();
        incomplete.extend(bad.iter().copied());
        for d in inv.descriptors.iter().filter(|d| !bad.contains(&d.pack_uid)) {
            let mut whole = true;
            for o in d.leaves() {
                let name = super::finding::object_name(&o.object_blake3);
                let from = self.vault.object_path(&o.object_blake3);
                let item = Item {
                    path: name.clone(),
                    from,
                    sum: Sum::Blake3(o.object_blake3),
                    bytes: o.object_len,
                    changes: false,
                };
                whole &= self.bring(&item, &there, done).await?;
                wanted.insert(name);
            }
            // What is damaged here must not take the place of what is sound there.
            let sound = self.vault.shredded(&d.pack_uid)?.is_some()
                || (self.vault.stanza_problem(&d.pack_uid)?.is_none() && self.vault.passphrases(&d.pack_uid).is_ok());
            if !sound {
                wanted.extend(stanza_names(&d.pack_uid));
                whole = false;
            }
            for name in stanza_names(&d.pack_uid).into_iter().filter(|_| sound) {
                let from = self.vault.root().join(&name);
                if from.is_file() {
                    let item = Item { changes: true, ..Item::as_it_is(&name, from)? };
                    whole &= self.bring(&item, &there, done).await?;
                    wanted.insert(name);
                }
            }
            if !whole {
                incomplete.insert(d.pack_uid);
            }
        }
        self.keep(1)?;
        self.target.settle().await?;
        failpoint::pass("replica.objects");
        for d in inv.descriptors.iter().filter(|d| !incomplete.contains(&d.pack_uid)) {
            let path = self.vault.descriptor_path(&d.pack_uid);
            let name = format!("descriptors/{}.json", hex::encode(d.pack_uid));
            let item = Item::as_it_is(&name, path)?;
            self.bring(&item, &there, done).await?;
            wanted.insert(name);
        }
        self.keep(1)?;
        self.target.settle().await?;
        self.let_go(&inv, &wanted, done).await?;
        done.failed = u64::from(!incomplete.is_empty());
        Ok(())
    }

    /// Sees that it is the place that the receipts speak of.
    async fn same_place(&mut self) -> Result<(), ReplicaError> {
        let there = self.target.read(MARKER, MAX_MARKER).await?;
        let there = there.map(|t| String::from_utf8_lossy(&t).trim().to_owned());
        let known = self.known.remove(MARKER).map(|r| hex::encode(r.sum));
        self.known.remove(DOWN);
        if there.is_some() && there == known {
            return Ok(());
        }
        let begins = known.is_none() || there.as_deref() == Some("new");
        if !begins {
            return Err(ReplicaError::Other(self.target.bucket.url.clone()));
        }
        let mut batch = Batch::new();
        for path in std::mem::take(&mut self.known).into_keys() {
            batch.delete(&REPLICATED, &path);
        }
        // One that another node made, or this one before its state was made again, goes on.
        let id = match there.filter(|t| t != "new") {
            Some(id) => id,
            None => {
                let id = hex::encode(rand::random::<[u8; 32]>());
                self.target.replace(MARKER, format!("{id}\n").into()).await?;
                id
            }
        };
        let mut sum = [0u8; 32];
        if hex::decode_to_slice(&id, &mut sum).is_err() {
            return Err(ReplicaError::Other(self.target.bucket.url.clone()));
        }
        batch.put(&REPLICATED, &MARKER.to_owned(), &Receipt { sum, bytes: 0, e_tag: String::new(), at: 0 })?;
        self.node.store.commit(batch)?;
        Ok(())
    }

    /// What is there, by path below the vault.
    async fn listing(&self) -> Result<BTreeMap<String, Seen>, ReplicaError> {
        let mut out = BTreeMap::new();
        for folder in ["chunks", "stanzas", "descriptors"] {
            let base = self.target.bucket.key(folder).to_string();
            let all = self.target.list(folder, self.known.len()).await?;
            for (key, seen) in all {
                if let Some(rest) = key.to_string().strip_prefix(&base) {
                    out.insert(format!("{folder}{rest}"), seen);
                }
            }
        }
        Ok(out)
    }

    /// Sees that one file is there as it is here; false where the one here cannot be brought.
    async fn bring(
        &mut self,
        item: &Item,
        there: &BTreeMap<String, Seen>,
        done: &mut Replicated,
    ) -> Result<bool, ReplicaError> {
        let known = self.known.get(&item.path);
        let seen = there.get(&item.path);
        let same_sum = known.is_some_and(|r| r.sum == *item.sum.bytes());
        if let (Some(r), Some(s)) = (known, seen)
            && same_sum
            && (r.bytes, &r.e_tag) == (s.bytes, &s.e_tag)
        {
            return Ok(true);
        }
        let (was_known, name) = (known.is_some(), item.path.clone());
        let now = match seen {
            // Written over by us, or by nobody we know: only reading back says.
            Some(_) => match self.target.read_back(&name, item.sum, item.bytes).await? {
                Some((sum, seen)) if sum == *item.sum.bytes() => Some(seen),
                _ => None,
            },
            None => None,
        };
        let now = match now {
            Some(seen) => seen,
            None => {
                let Some(seen) = self.write(item, seen.is_some()).await? else { return Ok(false) };
                if was_known && same_sum {
                    tracing::error!(path = name, "it was damaged or lost at the replica, and is brought again");
                    done.repaired = done.repaired.saturating_add(1);
                } else {
                    done.brought = done.brought.saturating_add(1);
                    done.bytes = done.bytes.saturating_add(item.bytes);
                }
                seen
            }
        };
        let at = self.node.clock.now().timestamp();
        self.fresh.push((name, Receipt { sum: *item.sum.bytes(), bytes: now.bytes, e_tag: now.e_tag, at }));
        self.keep(BATCH)?;
        Ok(true)
    }

    /// Writes it there; None where the file here is not what it should be, which is for the scrub to find.
    async fn write(&self, item: &Item, stands: bool) -> Result<Option<Seen>, ReplicaError> {
        let name = &item.path;
        if !stands {
            match self.target.put(name, item).await {
                Ok(Made::New(_) | Made::There) => {}
                Err(ShipError::AlteredHere(what)) => {
                    tracing::error!("{what}: it is not brought to the replica, since it is damaged here");
                    return Ok(None);
                }
                Err(ShipError::Here { path, cause }) => {
                    tracing::error!("{path}: {cause}; it is not brought to the replica");
                    return Ok(None);
                }
                Err(e) => return Err(e.into()),
            }
        } else {
            // What stands there is damaged, or an earlier stanza: sound bytes take its name.
            let Ok(body) = item.read() else { return Ok(None) };
            self.target.replace(name, body).await?;
        }
        match self.target.read_back(name, item.sum, item.bytes).await? {
            Some((sum, seen)) if sum == *item.sum.bytes() => Ok(Some(seen)),
            _ => Err(ShipError::Altered(format!("{}/{name}", self.target.bucket.url)).into()),
        }
    }

    /// Keeps receipts, where there are so many.
    fn keep(&mut self, least: usize) -> Result<(), StoreError> {
        if self.fresh.len() < least || self.fresh.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (path, r) in self.fresh.drain(..) {
            batch.put(&REPLICATED, &path, &r)?;
        }
        self.node.store.commit(batch)?;
        failpoint::pass("replica.receipts");
        Ok(())
    }

    /// Removes there what was let go here long enough ago, and the keys that were dropped here. A sealing's descriptor goes first.
    async fn let_go(
        &mut self,
        inv: &Inventory,
        wanted: &BTreeSet<String>,
        done: &mut Replicated,
    ) -> Result<(), ReplicaError> {
        let wait = i64::from(self.node.publishing.trash_days).saturating_mul(86_400);
        let now = self.node.clock.now().timestamp();
        let mut gone: Vec<String> = Vec::new();
        removed(self.vault, |mark, at| {
            if at.saturating_add(wait) > now {
                return;
            }
            match mark {
                Mark::Pack(u) => {
                    gone.push(format!("descriptors/{}.json", hex::encode(u)));
                    gone.extend(stanza_names(&u));
                }
                Mark::Object(h) => gone.push(super::finding::object_name(&h)),
            }
        })?;
        for d in &inv.descriptors {
            if matches!(self.vault.shredded(&d.pack_uid), Ok(Some(_))) {
                gone.extend(stanza_names(&d.pack_uid).into_iter().take(3));
            }
        }
        // Descriptors before all else; what is named here, or still is here, stays there.
        gone.sort_by_key(|p| !p.starts_with("descriptors/"));
        let mut forget = Batch::new();
        for path in gone.iter().filter(|p| self.known.contains_key(*p) && !wanted.contains(*p)) {
            if self.vault.root().join(path).exists() {
                continue;
            }
            delete(&self.target.bucket, path).await?;
            forget.delete(&REPLICATED, path);
            done.removed = done.removed.saturating_add(1);
        }
        if !forget.is_empty() {
            self.node.store.commit(forget)?;
        }
        Ok(())
    }
}

async fn delete(bucket: &Bucket, path: &str) -> Result<(), ObjectError> {
    if bucket.kind == BucketKind::Http {
        return Err(ObjectError::usage(&bucket.url, format!("delete {path}"), "this place can only be read"));
    }
    match bucket.store.delete(&bucket.key(path)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(ObjectError::of(&bucket.url, format!("delete {path}"), &e)),
    }
}
