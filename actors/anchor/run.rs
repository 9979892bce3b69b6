//! The stage: sealings that are not in the log yet enter it, and a checkpoint is signed.
//!
//! ```text
//! read the log again, compare it with its checkpoint and with what was signed last
//!   ─▶ new entries: tiles and bundles durable ─▶ checkpoint ─▶ store ─▶ proofs
//! ```
//!
//! A kill leaves the old checkpoint, or the new one whose tiles are all there. The next run goes on from the checkpoint: what lies beyond it
//! is written anew, and tiles below it that are not what the entries give are replaced, with a warning.

use super::checkpoint::Head;
use super::log::{Book, Log, read};
use super::proof::{MAX_PROOF, Proof};
use super::tiles::{FULL, Grow, TilePath};
use super::{AnchorError, Entry, entry};
use crate::node::Node;
use crate::seal::{Descriptor, Kind, PackUid, SealError};
use crate::vault::Vault;
use crate::vault::beacon::{self, Beacon};
use datanode_schema::clock::Clock;
use datanode_schema::failpoint;
use datanode_schema::files;
use datanode_schema::records::{AnchorRecord, LogHead};
use datanode_schema::store::Batch;
use datanode_schema::trees::{ANCHORS, GENERATIONS, LOG_HEADS, SEALINGS};
use std::collections::BTreeSet;
use std::path::Path;

/// What anchoring did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AnchorCounters {
    /// Entries that the log got.
    pub entries: u64,
    /// Entries that the log has.
    pub size: u64,
    /// Proofs that were written.
    pub proofs: u64,
    /// Tiles that were not what the entries give, and were written anew.
    pub mended: u64,
    /// Descriptors of the vault that are damaged, or are not those that were anchored.
    pub refused: u64,
}

/// Enters every sealing that is complete in the vault and not in the log; doing it again enters nothing twice.
///
/// # Errors
/// [`AnchorError`]; the log is as it was, or further.
pub fn anchor(node: &Node) -> Result<AnchorCounters, AnchorError> {
    let log = Log::at(node.data.anchors());
    let key = &node.publishing.anchor.key;
    let _one_at_a_time = log.lock()?;
    let signed = log.head(key.public())?;
    let last = match node.store.load(&LOG_HEADS, &key.public().to_owned())? {
        Some(last) => Some(last),
        // The state is new or was lost: what was signed before lies in what was given out.
        None => given_out(&log, key.public()),
    };
    let mut out = AnchorCounters::default();
    let mut batch = Publish::new(node.data.root())?;
    let (mut tree, mut book) = standing(&log, signed, last.as_ref(), &mut batch)?;
    out.mended = batch.len();
    let new = waiting(node, &book, &mut out)?;
    let mut entered = Vec::new();
    for (descriptor, previous) in &new {
        let entry = Entry::of(descriptor, *previous)?;
        entered.push((tree.size(), entry.clone()));
        push(&mut tree, &entry.encode()?, &mut batch)?;
        for (i, object) in (0u64..).zip(descriptor.leaves()).filter(|_| node.publishing.anchor.per_chunk) {
            push(&mut tree, &entry::chunk(descriptor.pack_uid, i, object)?, &mut batch)?;
        }
    }
    if !new.is_empty() {
        for (place, bytes) in tree.partial() {
            batch.add(&log, place, bytes)?;
        }
    }
    failpoint::pass("anchor.entered");
    batch.publish()?;
    failpoint::pass("anchor.stored");
    let before = signed.map_or(0, |h| h.size);
    let head = Head { size: tree.size(), root: tree.root() };
    if head.size > before {
        let note = key.sign(&head.text(key.name()))?;
        let mut files = Publish::new(node.data.root())?;
        files.put(log.checkpoint_path(), &note)?;
        files.put(log.dir().join("key.pub"), format!("{}\n", key.public()).as_bytes())?;
        files.publish()?;
        failpoint::pass("anchor.signed");
        out.entries = head.size - before;
        tracing::info!(size = head.size, entries = out.entries, "the log has a new checkpoint");
    }
    out.size = head.size;
    book.extend(entered.into_iter().map(|(index, entry)| (entry.pack_uid, (index, entry))));
    if head.size > 0 {
        remember(node, &book, head, last.as_ref())?;
        failpoint::pass("anchor.noted");
        out.proofs = prove(node, &log, head, &book)?;
        sweep(&log, before, head.size);
    }
    Ok(out)
}

/// The newest head in the proofs and the beacon that lie beside the log, as far as this key signed them.
fn given_out(log: &Log, public: &str) -> Option<LogHead> {
    let proofs = std::fs::read_dir(log.dir().join("proofs")).into_iter().flatten().flatten();
    let of_proof = |path: &Path| {
        let proof = Proof::decode("a proof", &read(path, MAX_PROOF).ok()??).ok()?;
        Head::verify("a proof", &proof.checkpoint, public).ok()
    };
    let beacon = read(&beacon::path(log.dir()), beacon::MAX_NOTE).ok().flatten();
    let of_beacon = beacon.and_then(|note| Beacon::read("the beacon", &note, public).ok()?.checkpoint);
    let all = proofs.filter_map(|e| of_proof(&e.path())).chain(of_beacon);
    all.max_by_key(|h| h.size).map(|h| LogHead { size: h.size, root: h.root, at: 0 })
}

/// Reads the log up to its checkpoint: the tree, the sealings in it. Tiles that are not what they should be are put into `mend`.
fn standing(
    log: &Log,
    signed: Option<Head>,
    last: Option<&LogHead>,
    mend: &mut Publish,
) -> Result<(Grow, Book), AnchorError> {
    let size = signed.map_or(0, |h| h.size);
    if let Some(l) = last.filter(|l| l.size > size) {
        let why = format!("the log ends at {size} entries, and a checkpoint over {} was signed", l.size);
        return Err(AnchorError::RolledBack { why });
    }
    let mut book = Book::new();
    let mut other = false;
    let visit = |tree: &Grow, index: u64, text: &[u8]| {
        if let Some(l) = last.filter(|l| l.size == tree.size()) {
            other = tree.root() != l.root;
        }
        log.note(&mut book, index, text)
    };
    let mut wrong: Vec<(TilePath, Vec<u8>)> = Vec::new();
    let tree = log.scan(size, visit, |place, bytes| {
        if place.level.is_some() && !is_there(log, place, bytes)? {
            wrong.push((place, bytes.to_vec()));
        }
        Ok(())
    })?;
    if signed.is_some_and(|h| h.root != tree.root()) {
        return Err(log.other_root());
    }
    if other {
        let why = format!("its first {} entries are not those that were signed", last.map_or(0, |l| l.size));
        return Err(AnchorError::RolledBack { why });
    }
    for (place, bytes) in tree.partial() {
        if !is_there(log, place, bytes)? {
            wrong.push((place, bytes.to_vec()));
        }
    }
    for (place, bytes) in wrong {
        tracing::warn!(tile = place.name(), "a tile of the log was not what its entries give, and is made again");
        mend.add(log, place, &bytes)?;
    }
    Ok((tree, book))
}

/// Whether the file of this tile, or the filled one that replaced it, holds these bytes.
fn is_there(log: &Log, place: TilePath, bytes: &[u8]) -> Result<bool, AnchorError> {
    let most = 256 * (2 + 65_535);
    match read(&log.dir().join(place.name()), most)? {
        Some(found) => Ok(found == bytes),
        None if place.width == FULL => Ok(false),
        None => Ok(read(&log.dir().join(place.filled().name()), most)?.is_some_and(|found| found.starts_with(bytes))),
    }
}

/// The sealings that are complete in the vault and not in the log, with what they replace: in the order of their packs, then of their
/// generations, then of their ids.
fn waiting(
    node: &Node,
    book: &Book,
    out: &mut AnchorCounters,
) -> Result<Vec<(Descriptor, Option<PackUid>)>, AnchorError> {
    let vault = Vault::open(&node.data.vault())?;
    let mut new = Vec::new();
    for uid in vault.descriptors()? {
        let descriptor = match vault.descriptor(&uid) {
            Ok(d) => d,
            Err(e @ SealError::Io { .. }) => return Err(e.into()),
            // Removed in between.
            Err(e) if e.kind() == Kind::NotFound => continue,
            Err(error) => {
                tracing::error!(pack_uid = hex::encode(uid), %error, "a sealing is not anchored");
                out.refused += 1;
                continue;
            }
        };
        match book.get(&uid) {
            Some((index, entry)) => {
                if let Some(why) = entry.disagreement(&descriptor)? {
                    tracing::error!(pack_uid = hex::encode(uid), index, "the vault's descriptor {why}");
                    out.refused += 1;
                }
            }
            None => {
                let uid = hex::encode(uid);
                let pack = node.store.load(&SEALINGS, &uid)?.map(|s| s.export_id);
                let replaces = node.store.load(&GENERATIONS, &uid)?;
                let mut previous = PackUid::default();
                let known = replaces.filter(|r| hex::decode_to_slice(r, &mut previous).is_ok());
                // What the state does not know comes last.
                new.push(((pack.is_none(), pack), descriptor, known.map(|_| previous)));
            }
        }
    }
    new.sort_by(|(a, x, _), (b, y, _)| (a, x.generation, x.pack_uid).cmp(&(b, y.generation, y.pack_uid)));
    Ok(new.into_iter().map(|(_, d, previous)| (d, previous)).collect())
}

/// How many sealings the node has finished and its log does not have yet.
///
/// # Errors
/// The store's.
pub fn unanchored(node: &Node) -> Result<u64, datanode_schema::store::StoreError> {
    let known: BTreeSet<String> = node.store.load_all(&ANCHORS, &[])?.into_iter().map(|(uid, _)| uid).collect();
    let done = node.store.load_all(&SEALINGS, &[])?.into_iter().filter(|(_, s)| s.done != 0);
    Ok(done.filter(|(uid, _)| !known.contains(uid)).count() as u64)
}

/// What was signed, and where each sealing stands, into the store.
fn remember(node: &Node, book: &Book, head: Head, last: Option<&LogHead>) -> Result<(), AnchorError> {
    let at = now(&node.clock);
    let mut batch = Batch::new();
    let mut changes = 0u32;
    if last.is_none_or(|l| (l.size, l.root) != (head.size, head.root)) {
        let record = LogHead { size: head.size, root: head.root, at };
        batch.put(&LOG_HEADS, &node.publishing.anchor.key.public().to_owned(), &record)?;
        changes += 1;
    }
    let known: std::collections::BTreeMap<String, AnchorRecord> =
        node.store.load_all(&ANCHORS, &[])?.into_iter().collect();
    for (uid, (index, _)) in book {
        let uid = hex::encode(uid);
        if known.get(&uid).is_none_or(|k| k.index != *index) {
            batch.put(&ANCHORS, &uid, &AnchorRecord { index: *index, at })?;
            changes += 1;
        }
    }
    if changes > 0 {
        node.store.commit(batch)?;
    }
    Ok(())
}

fn now(clock: &Clock) -> i64 {
    clock.now().timestamp()
}

/// Writes the proofs that are lacking, at the newest checkpoint.
fn prove(node: &Node, log: &Log, head: Head, book: &Book) -> Result<u64, AnchorError> {
    let Some(note) = log.checkpoint()? else { return Ok(0) };
    let mut files = Publish::new(node.data.root())?;
    for (uid, (index, entry)) in book {
        let path = log.proof_path(uid);
        if !path.exists() {
            files.put(path, &Proof::make(log, &note, head, *index, entry)?.encode()?)?;
        }
    }
    let made = files.len();
    files.publish()?;
    failpoint::pass("anchor.proved");
    Ok(made)
}

/// Removes the parts of what has become whole: a reader takes the whole tile then. What a kill leaves of them harms nobody.
fn sweep(log: &Log, before: u64, size: u64) {
    let mut from = before;
    let mut to = size;
    for level in [None, Some(0u8), Some(1), Some(2), Some(3)] {
        if level.is_some_and(|l| l > 0) {
            (from, to) = (from >> 8, to >> 8);
        }
        for number in (from >> 8)..(to >> 8) {
            let whole = log.dir().join(TilePath { level, number, width: FULL }.name());
            let mut parts = whole.into_os_string();
            parts.push(".p");
            // Where it never was in parts there is none.
            let _ = std::fs::remove_dir_all(parts);
        }
    }
}

fn push(tree: &mut Grow, text: &[u8], batch: &mut Publish) -> Result<(), AnchorError> {
    let log = batch.log.clone();
    if tree.push(text, |place, bytes| batch.add(&log, place, bytes))? {
        return Ok(());
    }
    Err(AnchorError::integrity("an entry of the log", "is longer than 65535 bytes: this is a bug; report it"))
}

/// Files that appear together, durably.
struct Publish {
    batch: files::Batch,
    log: Log,
    root: std::path::PathBuf,
}

impl Publish {
    fn new(root: &Path) -> Result<Self, AnchorError> {
        let log = Log::at(datanode_schema::paths::DataDir::new(root).anchors());
        let batch = files::Batch::new(root).map_err(AnchorError::io("write below", root))?;
        Ok(Self { batch, log, root: root.to_owned() })
    }

    fn put(&mut self, path: std::path::PathBuf, bytes: &[u8]) -> Result<(), AnchorError> {
        self.batch.add(path.clone(), bytes).map_err(AnchorError::io("write", &path))
    }

    fn add(&mut self, log: &Log, place: TilePath, bytes: &[u8]) -> Result<(), AnchorError> {
        self.put(log.dir().join(place.name()), bytes)
    }

    fn len(&self) -> u64 {
        self.batch.len() as u64
    }

    fn publish(self) -> Result<(), AnchorError> {
        let Self { batch, root, .. } = self;
        batch.publish().map_err(AnchorError::io("publish files of the log below", &root))
    }
}
