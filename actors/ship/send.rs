//! One load to one destination: look, send what is not there, look again, and then the commit.
//!
//! Nothing there is ever overwritten, but for the stanza of a sealing. What is there without a receipt, or is not as its receipt says, is read back and compared.

use super::load::Load;
use super::plan::Form;
use super::sum::{Item, Sum};
use super::target::{Made, Seen, Target, blocking};
use super::{ShipCounters, ShipError, receipts};
use crate::node::Node;
use crate::quarantine::seen;
use datanode_schema::failpoint;
use datanode_schema::records::Receipt;
use object_store::path::Path as Key;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// So often a load is looked at until everything is there as it was sent.
const LOOKS: usize = 4;
/// Receipts that share a commit.
const GROUP: usize = 64;
/// Milliseconds after which those that there are get one.
const WAIT_MS: u64 = 500;
/// Milliseconds between lines in the log.
const TELL_MS: u64 = 15_000;

/// How an object came to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    Present,
    Copied,
    Sent,
}

/// One object's way.
struct Job {
    item: Item,
    /// Whether what lies there may be replaced, should it be another.
    replaces: bool,
    name: String,
    seen: Option<Seen>,
    receipt: Option<Receipt>,
    source: Option<(String, Seen)>,
}

/// Sends a load; the one that began it may have been another process.
pub async fn send(node: &Node, target: &Arc<Target>, load: &Load) -> Result<ShipCounters, ShipError> {
    let mut sending = Sending {
        node,
        target,
        load,
        receipts: receipts::of_pack(&node.store, &target.name, &load.export_id)?,
        sources: match load.form {
            Form::Plain => receipts::sources(&node.store, &target.name, &node.source, load)?,
            Form::Sealed => BTreeMap::new(),
        },
        fresh: Vec::new(),
        kept_at: node.clock.since_boot_ms(),
        told_at: node.clock.since_boot_ms(),
        c: ShipCounters::default(),
    };
    let objects = load.items.len() as u64 + 1;
    let since_ms = node.clock.since_boot_ms();
    node.shipping.change(&target.name, |p| {
        let (pack, form) = (load.export_id.clone(), load.form.name().to_owned());
        let (last_error, last_error_at) = (std::mem::take(&mut p.last_error), p.last_error_at);
        *p = super::Progress {
            pack,
            form,
            objects,
            bytes: load.bytes(),
            since_ms,
            last_error,
            last_error_at,
            ..Default::default()
        };
    });
    let done = sending.all().await;
    // What arrived before a failure is not asked for again.
    let kept = sending.keep();
    node.shipping.change(&target.name, |p| p.pack.clear());
    if let Err(ShipError::Altered(what)) = &done {
        seen::upload_differs(&node.acts, &load.export_id, &format!("{what} is not what is sent"));
    }
    done?;
    kept?;
    Ok(sending.c)
}

struct Sending<'a> {
    node: &'a Node,
    target: &'a Arc<Target>,
    load: &'a Load,
    receipts: BTreeMap<String, Receipt>,
    sources: BTreeMap<[u8; 32], (String, Seen)>,
    fresh: Vec<(String, Receipt)>,
    kept_at: u64,
    told_at: u64,
    c: ShipCounters,
}

impl Sending<'_> {
    async fn all(&mut self) -> Result<(), ShipError> {
        let items: Vec<&Item> = self.load.items.iter().collect();
        for look in 0.. {
            let there = self.target.list(&self.load.prefix, items.len()).await?;
            let open: Vec<&Item> = items.iter().filter(|i| look == 0 || !self.is_settled(i, &there)).copied().collect();
            if self.round(&open, &there).await? == 0 {
                break;
            }
            if look + 1 == LOOKS {
                return Err(ShipError::Unsteady(format!("{}/{}", self.target.bucket.url, self.load.prefix)));
            }
        }
        // The commit: everything that it speaks of is durable before it.
        self.keep()?;
        self.target.settle().await?;
        failpoint::pass("ship.before_commit");
        super::there::before_commit(self.node, self.target, self.load.form, &self.load.export_id).await?;
        let there = match self.target.look(&self.name(&self.load.last)).await? {
            Some(seen) => BTreeMap::from([(self.target.bucket.key(&self.name(&self.load.last)), seen)]),
            None => BTreeMap::new(),
        };
        self.round(&[&self.load.last], &there).await?;
        self.target.settle().await?;
        failpoint::pass("ship.committed");
        Ok(())
    }

    fn name(&self, item: &Item) -> String {
        format!("{}/{}", self.load.prefix, item.path)
    }

    /// Whether an object that was dealt with before is listed as it was left.
    fn is_settled(&self, item: &Item, there: &BTreeMap<Key, Seen>) -> bool {
        let listed = there.get(&self.target.bucket.key(&self.name(item)));
        listed.is_some_and(|s| {
            let as_left = |r: &Receipt| s.e_tag.is_empty() || s.e_tag == r.e_tag;
            s.bytes == item.bytes && self.receipts.get(&item.path).is_none_or(as_left)
        })
    }

    /// Deals with these; how many were sent or copied.
    async fn round(&mut self, open: &[&Item], there: &BTreeMap<Key, Seen>) -> Result<u64, ShipError> {
        let (mut under_way, mut moved, mut failed) = (JoinSet::new(), 0, None);
        let mut next = open.iter();
        loop {
            while failed.is_none() && under_way.len() < self.target.parallel {
                if self.node.stopping() {
                    failed = Some(ShipError::Stopping);
                    break;
                }
                let Some(item) = next.next() else { break };
                let name = self.name(item);
                let job = Job {
                    seen: there.get(&self.target.bucket.key(&name)).cloned(),
                    receipt: self.receipts.get(&item.path).cloned(),
                    source: self.sources.get(item.sum.bytes()).cloned(),
                    replaces: item.changes,
                    item: (*item).clone(),
                    name,
                };
                let target = self.target.clone();
                under_way.spawn(async move { job.done(&target).await.map(|(how, e_tag)| (job.item, how, e_tag)) });
            }
            match under_way.join_next().await {
                None => break,
                Some(Ok(Ok((item, how, e_tag)))) => {
                    moved += u64::from(how != How::Present);
                    self.arrived(item, how, e_tag).await?;
                }
                // The first failure says the most; what is under way still ends.
                Some(Ok(Err(e))) => failed = failed.or(Some(e)),
                Some(Err(e)) => failed = failed.or_else(|| Some(ShipError::Runtime(e.to_string()))),
            }
        }
        match failed {
            Some(e) => Err(e),
            None => Ok(moved),
        }
    }

    async fn arrived(&mut self, item: Item, how: How, e_tag: String) -> Result<(), ShipError> {
        failpoint::pass("ship.copied");
        match how {
            How::Present => self.c.present += 1,
            How::Copied => self.c.copied += 1,
            How::Sent => {
                self.c.written += 1;
                self.c.bytes += item.bytes;
            }
        }
        let receipt =
            Receipt { sum: *item.sum.bytes(), bytes: item.bytes, e_tag, at: self.node.clock.now().timestamp() };
        let old = self.receipts.get(&item.path);
        if old.is_none_or(|o| o.e_tag != receipt.e_tag || o.sum != receipt.sum) {
            self.receipts.insert(item.path.clone(), receipt.clone());
            self.fresh.push((item.path.clone(), receipt));
        }
        let now = self.node.clock.since_boot_ms();
        let mut line = super::Progress::default();
        self.node.shipping.change(&self.target.name, |p| {
            p.objects_done = (p.objects_done + 1).min(p.objects);
            p.bytes_done = (p.bytes_done + item.bytes).min(p.bytes);
            line = p.clone();
        });
        if now.saturating_sub(self.told_at) >= TELL_MS {
            self.told_at = now;
            let (done, of) = (line.objects_done, line.objects);
            tracing::info!(
                destination = self.target.name,
                pack = line.pack,
                form = line.form,
                objects = done,
                of,
                bytes = line.bytes_done,
                rate = line.rate(now),
                "shipping"
            );
        }
        if self.fresh.len() >= GROUP || now.saturating_sub(self.kept_at) >= WAIT_MS {
            self.kept_at = now;
            let new = std::mem::take(&mut self.fresh);
            let (store, to, id) = (self.node.store.clone(), self.target.name.clone(), self.load.export_id.clone());
            blocking(move || receipts::keep(&store, &to, &id, &new)).await?;
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<(), ShipError> {
        receipts::keep(&self.node.store, &self.target.name, &self.load.export_id, &std::mem::take(&mut self.fresh))
    }
}

impl Job {
    async fn done(&self, target: &Arc<Target>) -> Result<(How, String), ShipError> {
        if let Some(seen) = &self.seen {
            return self.compared(target, seen).await;
        }
        if let Some((from, held)) = &self.source
            && let Some(copy) = target.copy(from, held, &self.name).await?
        {
            if copy == *held {
                return Ok((How::Copied, copy.e_tag));
            }
            return Ok((How::Copied, self.read_back(target).await?));
        }
        match target.put(&self.name, &self.item).await? {
            Made::New(e_tag) => Ok((How::Sent, e_tag)),
            // Of an attempt whose answer was lost, most likely.
            Made::There => Ok((How::Present, self.read_back(target).await?)),
        }
    }

    /// What was there before: by its receipt, else by its bytes.
    async fn compared(&self, target: &Target, seen: &Seen) -> Result<(How, String), ShipError> {
        let known = self.receipt.as_ref().filter(|r| r.sum == *self.item.sum.bytes() && r.bytes == seen.bytes);
        if let Some(r) = known.filter(|r| !r.e_tag.is_empty()) {
            let e_tag = match seen.e_tag.as_str() {
                // This store's listings do not tell.
                "" => target.look(&self.name).await?.map(|s| s.e_tag).unwrap_or_default(),
                told => told.to_owned(),
            };
            if e_tag == r.e_tag {
                return Ok((How::Present, e_tag));
            }
        }
        match self.read_back(target).await {
            Err(ShipError::Altered(_)) if self.replaces => {
                let from = self.item.clone();
                target.replace(&self.name, blocking(move || from.read()).await?).await?;
                Ok((How::Sent, self.read_back(target).await?))
            }
            read => Ok((How::Present, read?)),
        }
    }

    /// The e-tag of the object, where its bytes are what they must be.
    async fn read_back(&self, target: &Target) -> Result<String, ShipError> {
        let like: Sum = self.item.sum;
        match target.read_back(&self.name, like, self.item.bytes).await? {
            Some((sum, seen)) if sum == *like.bytes() && seen.bytes == self.item.bytes => Ok(seen.e_tag),
            Some(_) => Err(ShipError::Altered(format!("{}/{}", target.bucket.url, self.name))),
            None => Err(ShipError::Unsteady(format!("{}/{}", target.bucket.url, self.name))),
        }
    }
}
