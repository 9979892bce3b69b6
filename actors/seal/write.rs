//! Sealing a pack into the vault: keys first, then chunks, then the descriptor that commits it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::borrow::{Base, Loans};
use super::chunk::{ChunkKeys, ChunkType, MAX_PLAINTEXT, PAD, Place, Sealer};
use super::error::{Kind, SealError};
use super::keys::{self, Identity, PackKey, Recipient, Unwraps};
use super::manifest::{self, FileRef, SealedManifest};
use super::open::chunk_keys;
use super::pack::{PackFile, PlainPack, StreamReader};
use super::parity::{GROUP, Shard};
use super::{Descriptor, ObjectRef, PackUid};
use crate::vault::{Dirty, Vault, sync_folders};

/// What to seal and how.
#[derive(Clone, Copy)]
pub struct SealPlan<'a> {
    /// A finished plain pack: `manifest.json`, `SHA256SUMS.stable.txt`, `data/…`.
    pub pack_dir: &'a Path,
    /// The sealing's uid, the one that was given to [`prepare`].
    pub pack_uid: PackUid,
    /// 0, or one more than the generation that this replaces.
    pub generation: u32,
    /// Plaintext bytes of a chunk: a multiple of 64 KiB up to 16 MiB.
    pub chunk_size: usize,
    /// Chunks sealed at once; each takes about four chunks of memory.
    pub threads: usize,
    /// An earlier sealing in this vault whose files are not sealed again.
    pub base: Option<Base<'a>>,
}

/// What a sealing made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The committed descriptor.
    pub descriptor: Descriptor,
    /// Its Merkle root.
    pub root: [u8; 32],
    /// Objects of this sealing.
    pub objects: usize,
    /// Bytes of the files sealed here, padding and borrowed files not counted.
    pub plaintext_bytes: u64,
    /// Bytes of the objects.
    pub stored_bytes: u64,
    /// Objects that were not in the vault before: fewer than `objects` where a killed sealing was resumed.
    pub new_objects: usize,
    /// Files that an earlier sealing holds, and that were not sealed again.
    pub borrowed_files: usize,
}

/// Makes the key of a sealing and its stanza durable, before the first chunk; on a second call for the same uid gives
/// the same key again, so that a sealing that was killed goes on byte for byte.
///
/// Errors: `identity` is none of the recipients (the node could not resume its own work), or cannot unwrap the stanza.
pub fn prepare(
    vault: &Vault,
    pack_uid: PackUid,
    recipients: &[Recipient],
    identity: &Identity,
) -> Result<PackKey, SealError> {
    let _guard = vault.lock_shared()?;
    let (key, stanza) = match vault.stanza(&pack_uid)? {
        Some(stanza) => (keys::unwrap(&stanza, identity)?, stanza),
        None => {
            let key = PackKey::generate()?;
            let stanza = keys::wrap(&key, recipients)?;
            keys::unwrap(&stanza, identity).map_err(|_| {
                let why =
                    format!("do not include this node's own, {}; add it to seal.recipients", identity.to_public());
                SealError::contract("recipients", why)
            })?;
            (key, stanza)
        }
    };
    // Also where the stanza was there: its checksum may be what the kill prevented.
    vault.put_stanza(&pack_uid, &stanza)?;
    Ok(key)
}

/// The key of a sealing, from its stanza.
///
/// Errors: there is none, because it was shredded or lost; `by` does not unwrap it.
pub fn unwrap_key(vault: &Vault, pack_uid: PackUid, by: &dyn Unwraps) -> Result<PackKey, SealError> {
    match vault.stanza(&pack_uid)? {
        Some(stanza) => by.unwrap_stanza(vault, &pack_uid, &stanza),
        None => match vault.shredded(&pack_uid)? {
            Some(of) => Err(SealError::Shredded { pack: hex::encode(pack_uid), at: of.shredded_at }),
            None => Err(SealError::NotFound { what: "stanza", path: vault.stanza_path(&pack_uid) }),
        },
    }
}

/// Wraps the key of a sealing to other recipients; no object changes. After a kill simply do it again.
pub fn rewrap(
    vault: &Vault,
    pack_uid: PackUid,
    identity: &Identity,
    recipients: &[Recipient],
) -> Result<(), SealError> {
    let _guard = vault.lock_shared()?;
    let key = unwrap_key(vault, pack_uid, identity)?;
    vault.replace_stanza(&pack_uid, &keys::wrap(&key, recipients)?)
}

/// Seals a pack. Done when the descriptor is durable; run again after a kill, it recognises what it wrote.
///
/// Errors: the pack's folder is not what its sums say; an object of the same name differs; another descriptor of this
/// uid exists; the system fails. None of them leaves a descriptor behind.
pub fn seal(vault: &Vault, key: &PackKey, plan: &SealPlan<'_>) -> Result<Sealed, SealError> {
    if plan.chunk_size == 0 || plan.chunk_size > MAX_PLAINTEXT || !plan.chunk_size.is_multiple_of(PAD) {
        let why = "is not a multiple of 65536 up to 16777216; set seal.chunk_size to 8388608";
        return Err(SealError::contract(format!("chunk size {}", plan.chunk_size), why));
    }
    let guard = vault.lock_shared()?;
    let pack = PlainPack::read(plan.pack_dir)?;
    let (manifest, new_files) = arrange(vault, &pack, plan)?;
    let text = Zeroizing::new(manifest.encode_padded()?);
    let data_count = manifest.stream_bytes.div_ceil(plan.chunk_size as u64);
    let count = data_count.saturating_add(text.len().div_ceil(plan.chunk_size) as u64);
    let run = Run {
        vault,
        keys: chunk_keys(key)?,
        plan,
        count: u32::try_from(count)
            .map_err(|_| SealError::contract("pack", "needs more chunks than can be numbered"))?,
        source: Mutex::new(Source { stream: StreamReader::new(&pack.dir, new_files), text: &text, next: 0 }),
        shards: Mutex::default(),
        made: Mutex::new(Ok(Vec::new())),
    };
    let made = run.all()?;
    let new_objects = made.iter().filter(|made| made.new).count();
    let objects = |kind| made.iter().filter(|made| made.kind == kind).map(|made| made.object.clone()).collect();
    let requires = manifest.borrowed.iter().map(|borrowed| borrowed.pack_uid).collect();
    let descriptor = Descriptor::new(
        plan.pack_uid,
        plan.generation,
        objects(ChunkType::Data),
        objects(ChunkType::Manifest),
        objects(ChunkType::Parity),
        requires,
    )?;
    if descriptor.chunk_count != run.count {
        return Err(SealError::internal("chunks sealed and chunks counted differ"));
    }
    vault.put_descriptor(&descriptor)?;
    drop(guard);
    Ok(Sealed {
        root: descriptor.merkle_root,
        objects: descriptor.leaves().count(),
        plaintext_bytes: manifest.stream_bytes,
        stored_bytes: descriptor.leaves().map(|object| object.object_len).fold(0, u64::saturating_add),
        new_objects,
        borrowed_files: manifest.files.iter().filter(|file| file.sealing != plan.pack_uid).count(),
        descriptor,
    })
}

/// Decides where every file lies before any is read, so that the manifest and the chunk count are known at once.
fn arrange(vault: &Vault, pack: &PlainPack, plan: &SealPlan<'_>) -> Result<(SealedManifest, Vec<PackFile>), SealError> {
    let loans = match plan.base.map(|base| Loans::from_base(vault, &base, &pack.files)) {
        None => Loans::default(),
        Some(Ok(loans)) => loans,
        Some(Err(error)) if error.kind() == Kind::Io => return Err(error),
        // What is wrong with an old sealing is the scrub's to report; tonight's pack need not wait for it.
        Some(Err(error)) => {
            tracing::warn!(%error, "the base of this sealing cannot be built on; sealing everything");
            Loans::default()
        }
    };
    lay_out(pack, loans, plan.pack_uid, plan.generation, plan.chunk_size as u64)
}

/// The place of every file, given what is borrowed: a function of these arguments alone.
pub(super) fn lay_out(
    pack: &PlainPack,
    loans: Loans,
    pack_uid: PackUid,
    generation: u32,
    size: u64,
) -> Result<(SealedManifest, Vec<PackFile>), SealError> {
    let mut files = Vec::with_capacity(pack.files.len());
    let mut new_files = Vec::new();
    let mut at = 0u64;
    for file in &pack.files {
        let path = file.sum.path.clone();
        files.push(match loans.of(file) {
            Some(loan) => FileRef { path, ..loan.clone() },
            None => {
                let chunk = u32::try_from(at.checked_div(size).unwrap_or(0))
                    .map_err(|_| SealError::contract("pack", "needs more chunks than can be numbered"))?;
                let here = FileRef {
                    chunk: if file.length == 0 { 0 } else { chunk },
                    length: file.length,
                    offset: if file.length == 0 { 0 } else { at.checked_rem(size).unwrap_or(0) },
                    path,
                    sealing: pack_uid,
                };
                at = at.checked_add(file.length).ok_or_else(|| SealError::internal("a pack beyond 2^64 bytes"))?;
                new_files.push(file.clone());
                here
            }
        });
    }
    let manifest = SealedManifest {
        borrowed: loans.into_sealings(),
        chunk_size: size,
        files,
        format: manifest::FORMAT.to_owned(),
        generation,
        manifest_json: pack.manifest_json.clone(),
        pack_uid,
        sha256sums: pack.sums_text.clone(),
        stream_bytes: at,
        version: manifest::VERSION,
    };
    Ok((manifest, new_files))
}

/// Plaintext chunks in order: the stream of files, then the sealed manifest.
struct Source<'a> {
    stream: StreamReader,
    text: &'a [u8],
    next: u32,
}

impl Source<'_> {
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

struct Made {
    index: u32,
    kind: ChunkType,
    object: ObjectRef,
    new: bool,
}

struct Run<'a> {
    vault: &'a Vault,
    keys: ChunkKeys,
    plan: &'a SealPlan<'a>,
    count: u32,
    source: Mutex<Source<'a>>,
    /// Parity groups begun and not complete: their sum, and how many objects are in it.
    shards: Mutex<BTreeMap<u32, (Shard, u32)>>,
    made: Mutex<Result<Vec<Made>, SealError>>,
}

impl Run<'_> {
    /// Seals every chunk with the plan's threads; gives the objects in order, all of them durable.
    fn all(&self) -> Result<Vec<Made>, SealError> {
        let work = || {
            if let Err(error) = self.work() {
                let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                if made.is_ok() {
                    *made = Err(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.plan.threads.min(self.count as usize) {
                scope.spawn(work);
            }
            work();
        });
        let mut lock = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made = std::mem::replace(&mut *lock, Ok(Vec::new()))?;
        made.sort_unstable_by_key(|made| (made.kind == ChunkType::Parity, made.index));
        Ok(made)
    }

    /// One worker. Reading is done in turns, which is also what hashes files in order; the rest runs alongside.
    fn work(&self) -> Result<(), SealError> {
        let mut sealer = Sealer::new().map_err(SealError::io("start zstd for", self.plan.pack_dir))?;
        let mut plaintext = Vec::new();
        let mut dirty = Dirty::new();
        while self.made.lock().unwrap_or_else(PoisonError::into_inner).is_ok() {
            let turn = self
                .source
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next(self.plan.chunk_size, &mut plaintext)?;
            let Some((kind, index)) = turn else { break };
            let (pack_uid, generation, count) = (self.plan.pack_uid, self.plan.generation, self.count);
            let place = Place { kind, pack_uid, generation, index, count };
            let object = sealer.seal(&self.keys, &place, &plaintext).map_err(|diagnosis| SealError::Object {
                pack: hex::encode(pack_uid),
                object: "(not stored: it failed its check from memory)".to_owned(),
                index,
                diagnosis,
            })?;
            let hash = *blake3::hash(object).as_bytes();
            let new = self.vault.put_named(&hash, object, &mut dirty)?;
            let object = ObjectRef { object_blake3: hash, object_len: object.len() as u64 };
            self.note(Made { index, kind, object, new });
            if let Some((place, shard)) = self.sum(index, sealer.object()) {
                let object = shard.into_object(&place).map_err(|_| SealError::internal("a parity shard"))?;
                let hash = *blake3::hash(&object).as_bytes();
                let new = self.vault.put_named(&hash, &object, &mut dirty)?;
                let object = ObjectRef { object_blake3: hash, object_len: object.len() as u64 };
                self.note(Made { index: place.index, kind: place.kind, object, new });
            }
        }
        sync_folders(&dirty)
    }

    fn note(&self, one: Made) {
        if let Ok(made) = &mut *self.made.lock().unwrap_or_else(PoisonError::into_inner) {
            made.push(one);
        }
    }

    /// Adds a chunk object to the parity of its group; gives the group's where that was its last.
    fn sum(&self, index: u32, object: &[u8]) -> Option<(Place, Shard)> {
        let group = index / GROUP;
        let full = self.count.saturating_sub(group.saturating_mul(GROUP)).min(GROUP);
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let (shard, added) = shards.entry(group).or_default();
        shard.add(object);
        *added = added.saturating_add(1);
        if *added < full {
            return None;
        }
        let (pack_uid, generation, count) = (self.plan.pack_uid, self.plan.generation, self.count.div_ceil(GROUP));
        let place = Place { kind: ChunkType::Parity, pack_uid, generation, index: group, count };
        shards.remove(&group).map(|(shard, _)| (place, shard))
    }
}
