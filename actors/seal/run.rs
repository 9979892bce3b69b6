//! Sealing in a stream: workers make objects, one thread stores them.
//!
//! ```text
//! source ─▶ worker: zstd? ─▶ encrypt ─▶ hash ─▶ temp ─▶ parity ─▶ decrypt, compare ─▶ store: sync a batch ─▶ link
//! (turns)   worker: …                                             (at most 8 wait)
//! ```
//!
//! Reading is done in turns, which is also what hashes files in order; the rest runs alongside. Only the storing thread waits
//! for the disk. Nothing has a name before it was opened again and compared, and nothing refers to a name before the run ends.
//! What is made depends on the plan alone, not on threads, batches or their order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::ObjectRef;
use super::chunk::{ChunkKeys, ChunkType, Place, Sealer};
use super::error::SealError;
use super::pack::StreamReader;
use super::parity::{GROUP, Shard};
use super::write::SealPlan;
use crate::vault::{Adding, Vault, Written};

/// Objects that one sync makes durable, at most, and as many wait to be stored.
const BATCH: usize = 8;
/// Workers beside one a core: each waits for the disk now and then.
const WAITING: usize = 1;
/// Bytes that the workers' buffers may take, three chunks each.
const BUFFERS: usize = 120 << 20;

/// Plaintext chunks in order: the stream of files, then the sealed manifest.
pub(super) struct Source<'a> {
    stream: StreamReader,
    text: &'a [u8],
    next: u32,
}

impl<'a> Source<'a> {
    pub(super) fn new(stream: StreamReader, text: &'a [u8]) -> Self {
        Self { stream, text, next: 0 }
    }

    fn next(&mut self, size: usize, buffer: &mut Vec<u8>) -> Result<Option<(ChunkType, u32)>, SealError> {
        let kind = if self.stream.next_chunk(size, buffer)?.is_some() {
            ChunkType::Data
        } else if self.text.is_empty() {
            return Ok(None);
        } else {
            let (head, tail) = self.text.split_at_checked(size).unwrap_or((self.text, &[]));
            buffer.clear();
            buffer.extend_from_slice(head);
            self.text = tail;
            ChunkType::Manifest
        };
        let index = self.next;
        self.next = index.checked_add(1).ok_or_else(|| SealError::internal("too many chunks"))?;
        Ok(Some((kind, index)))
    }
}

/// An object that was made.
pub(super) struct Made {
    pub index: u32,
    pub kind: ChunkType,
    pub object: ObjectRef,
    /// Whether the vault had it not before.
    pub new: bool,
}

/// Seals every chunk and its parity; gives the objects in the order of the leaves, all of them durable.
pub(super) fn run(
    vault: &Vault,
    keys: ChunkKeys,
    plan: &SealPlan<'_>,
    count: u32,
    source: Source<'_>,
    reference: bool,
) -> Result<Vec<Made>, SealError> {
    let run = Run {
        vault,
        keys,
        plan,
        reference,
        count,
        source: Mutex::new(source),
        shards: Mutex::default(),
        spare: Mutex::default(),
        made: Mutex::new(Ok(Vec::new())),
    };
    let room = BUFFERS.checked_div(plan.chunk_size.saturating_mul(3)).unwrap_or(1).max(1);
    let threads = plan.threads.saturating_add(WAITING).min(room).min(count as usize);
    let adding = vault.adding()?;
    std::thread::scope(|scope| {
        let (to_store, made) = sync_channel(BATCH);
        let run = &run;
        scope.spawn(move || run.guard(run.store(adding, made)));
        for _ in 1..threads {
            let to_store = to_store.clone();
            scope.spawn(move || run.guard(run.work(to_store)));
        }
        run.guard(run.work(to_store));
    });
    let mut made = run.made.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    made.sort_unstable_by_key(|made| (made.kind == ChunkType::Parity, made.index));
    Ok(made)
}

struct Run<'a> {
    vault: &'a Vault,
    keys: ChunkKeys,
    plan: &'a SealPlan<'a>,
    reference: bool,
    count: u32,
    source: Mutex<Source<'a>>,
    /// Parity groups begun and not complete: their sum, and how many objects are in it.
    shards: Mutex<BTreeMap<u32, (Shard, u32)>>,
    /// Memory of the last parity object that was written, for the next group.
    spare: Mutex<Vec<u8>>,
    made: Mutex<Result<Vec<Made>, SealError>>,
}

/// What the storing thread is told of.
type ToStore = (Made, Option<Written>);

impl Run<'_> {
    /// The first error ends the run.
    fn guard(&self, done: Result<(), SealError>) {
        if let Err(error) = done {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.is_ok() {
                *made = Err(error);
            }
        }
    }

    fn failed(&self) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).is_err()
    }

    fn work(&self, to_store: SyncSender<ToStore>) -> Result<(), SealError> {
        let mut sealer = Sealer::new().map_err(SealError::io("start zstd for", self.plan.pack_dir))?;
        if self.reference {
            sealer = sealer.by_reference();
        }
        let mut plaintext = Vec::new();
        while !self.failed() {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = source.next(self.plan.chunk_size, &mut plaintext)?;
            drop(source);
            let Some((kind, index)) = turn else { break };
            let (pack_uid, generation, count) = (self.plan.pack_uid, self.plan.generation, self.count);
            let place = Place { kind, pack_uid, generation, index, count };
            let mut parity = None;
            let hand = |object: &[u8]| {
                parity = self.sum(index, object);
                self.write(&place, object)
            };
            let made =
                sealer.seal_with(&self.keys, &place, &plaintext, hand).map_err(|diagnosis| SealError::Object {
                    pack: hex::encode(pack_uid),
                    object: "(not stored: it failed its check from memory)".to_owned(),
                    index,
                    diagnosis,
                })??;
            // The other end is gone only where storing failed, which says why.
            _ = to_store.send(made);
            if let Some((place, shard)) = parity {
                let object = shard.into_object(&place).map_err(|_| SealError::internal("a parity shard"))?;
                _ = to_store.send(self.write(&place, &object)?);
                *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = object;
            }
        }
        Ok(())
    }

    fn write(&self, place: &Place, object: &[u8]) -> Result<ToStore, SealError> {
        let hash = *blake3::hash(object).as_bytes();
        let written = self.vault.write(&hash, object)?;
        let object = ObjectRef { object_blake3: hash, object_len: object.len() as u64 };
        Ok((Made { index: place.index, kind: place.kind, object, new: written.is_some() }, written))
    }

    /// Adds a chunk object to the parity of its group; gives the group's where that was its last.
    fn sum(&self, index: u32, object: &[u8]) -> Option<(Place, Shard)> {
        let group = index / GROUP;
        let full = self.count.saturating_sub(group.saturating_mul(GROUP)).min(GROUP);
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let spare =
            || Shard::in_place_of(std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner)));
        let (shard, added) = shards.entry(group).or_insert_with(|| (spare(), 0));
        shard.add(object);
        *added = added.saturating_add(1);
        if *added < full {
            return None;
        }
        let (pack_uid, generation, count) = (self.plan.pack_uid, self.plan.generation, self.count.div_ceil(GROUP));
        let place = Place { kind: ChunkType::Parity, pack_uid, generation, index: group, count };
        shards.remove(&group).map(|(shard, _)| (place, shard))
    }

    /// Stores what the workers made until they are done.
    fn store(&self, mut adding: Adding<'_>, made: Receiver<ToStore>) -> Result<(), SealError> {
        while let Ok(first) = made.recv() {
            let (told, written): (Vec<Made>, Vec<Option<Written>>) =
                std::iter::once(first).chain(made.try_iter().take(BATCH.saturating_sub(1))).unzip();
            for one in told.iter().filter(|one| !one.new) {
                adding.recognise(&one.object.object_blake3);
            }
            adding.link(written.into_iter().flatten().collect())?;
            if let Ok(made) = &mut *self.made.lock().unwrap_or_else(PoisonError::into_inner) {
                made.extend(told);
            }
        }
        adding.finish()
    }
}
