//! Files that an earlier sealing holds already.
//!
//! A loan is made by content (sha256 and length), only where every chunk of the file is present, and only from a
//! sealing of which at least half is still in use: below that its files are sealed anew, so that old sealings can be
//! let go. Whoever is given the new pack can read the whole of a borrowed chunk, its neighbours included.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;

use super::PackUid;
use super::chunk::{ChunkKeys, HEADER, Header};
use super::descriptor::Descriptor;
use super::error::{Kind, SealError};
use super::keys::PackKey;
use super::manifest::{BorrowedChunk, BorrowedSealing, FileRef, Job, SealedManifest};
use super::open::{chunk_keys, read_manifest};
use super::pack::PackFile;
use crate::vault::Vault;

type Content = (String, u64);

/// An earlier sealing and its key.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// Its uid.
    pub pack_uid: PackUid,
    /// Its key, for reading its manifest and deriving the secrets of the chunks that are used.
    pub key: &'a PackKey,
}

/// What a sealing may be built on.
#[derive(Clone, Copy, Default)]
pub struct Bases<'a> {
    /// Earlier sealings, the one to be preferred first.
    pub from: &'a [Base<'a>],
    /// Sealings from which nothing may be borrowed, not through another either.
    pub avoid: Option<&'a BTreeSet<PackUid>>,
}

impl Bases<'_> {
    fn may(&self, uid: &PackUid) -> bool {
        self.avoid.is_none_or(|avoid| !avoid.contains(uid))
    }
}

/// The loans of one sealing.
#[derive(Default)]
pub(super) struct Loans {
    files: BTreeMap<Content, FileRef>,
    sealings: BTreeMap<PackUid, BorrowedSealing>,
}

/// A chunk: its sealing and its index there.
type ChunkId = (PackUid, u32);

impl Loans {
    /// What these files can borrow from some bases and from what the bases borrow themselves.
    ///
    /// What is wrong with an old sealing is the scrub's to report: it is no base, and tonight's pack need not wait for it. Errors are
    /// the system's only.
    pub(super) fn from_bases(vault: &Vault, bases: &Bases<'_>, files: &[PackFile]) -> Result<Self, SealError> {
        let mut lender = Lender {
            vault,
            bases,
            wanted: files.iter().map(content).collect(),
            chunks: BTreeMap::new(),
            sealings: BTreeMap::new(),
            offers: BTreeMap::new(),
        };
        for base in bases.from.iter().filter(|base| bases.may(&base.pack_uid)) {
            match lender.look_at(base) {
                Err(error) if error.kind() == Kind::Io => return Err(error),
                Err(error) => {
                    let uid = hex::encode(base.pack_uid);
                    tracing::warn!(%error, pack_uid = uid, "this sealing cannot be built on");
                }
                Ok(()) => {}
            }
        }
        Ok(lender.settle())
    }

    /// Where this file's content lies already.
    pub(super) fn of(&self, file: &PackFile) -> Option<&FileRef> {
        self.files.get(&content(file))
    }

    /// The sealings borrowed from, by uid.
    pub(super) fn into_sealings(self) -> Vec<BorrowedSealing> {
        self.sealings.into_values().collect()
    }
}

fn content(file: &PackFile) -> Content {
    (file.sum.sha256.clone(), file.length)
}

struct Lender<'a> {
    vault: &'a Vault,
    bases: &'a Bases<'a>,
    /// What has not been found yet.
    wanted: BTreeSet<Content>,
    /// Every chunk that was looked at; nothing where it cannot be lent.
    chunks: BTreeMap<ChunkId, Option<BorrowedChunk>>,
    /// Every sealing met, without its chunks.
    sealings: BTreeMap<PackUid, BorrowedSealing>,
    offers: BTreeMap<Content, (FileRef, Vec<ChunkId>)>,
}

impl Lender<'_> {
    /// Finds what this base and those that it borrows from can lend.
    fn look_at(&mut self, base: &Base<'_>) -> Result<(), SealError> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let descriptor = self.vault.descriptor(&base.pack_uid)?;
        let manifest = read_manifest(self.vault, &descriptor, base.key)?;
        let keys = chunk_keys(base.key)?;
        self.meet(&manifest, &descriptor);
        let mut chunks_of = BTreeMap::<usize, Vec<usize>>::new();
        let jobs = manifest.jobs(&descriptor)?;
        for (number, job) in jobs.iter().enumerate() {
            for segment in &job.segments {
                chunks_of.entry(segment.file).or_default().push(number);
            }
        }
        for (index, (file, sum)) in manifest.files.iter().zip(manifest.sums_of_files()?).enumerate() {
            let content = (sum.sha256, file.length);
            let Some(chunks) = chunks_of.remove(&index) else { continue };
            if !self.wanted.contains(&content) || !self.bases.may(&file.sealing) {
                continue;
            }
            let jobs: Vec<&Job> = chunks.iter().filter_map(|number| jobs.get(*number)).collect();
            if jobs.iter().all(|job| self.lend(&keys, job)) {
                self.wanted.remove(&content);
                self.offers.insert(content, (file.clone(), jobs.iter().map(|job| id(job)).collect()));
            }
        }
        Ok(())
    }

    fn meet(&mut self, manifest: &SealedManifest, base: &Descriptor) {
        let own = BorrowedSealing {
            chunk_count: base.chunk_count,
            chunks: Vec::new(),
            generation: base.generation,
            pack_uid: base.pack_uid,
            stream_bytes: manifest.stream_bytes,
        };
        self.sealings.entry(base.pack_uid).or_insert(own);
        for borrowed in &manifest.borrowed {
            let bare = || BorrowedSealing { chunks: Vec::new(), ..borrowed.clone() };
            self.sealings.entry(borrowed.pack_uid).or_insert_with(bare);
        }
    }

    /// Whether the chunk of this job can be lent; it is looked at once.
    fn lend(&mut self, keys: &ChunkKeys, job: &Job) -> bool {
        let vault = self.vault;
        self.chunks.entry(id(job)).or_insert_with(|| chunk_of(vault, keys, job)).is_some()
    }

    /// Drops sealings that would be used by less than half, and gathers the chunks of the others.
    fn settle(mut self) -> Loans {
        let mut used = BTreeMap::<PackUid, u64>::new();
        for (file, _) in self.offers.values() {
            let bytes = used.entry(file.sealing).or_default();
            *bytes = bytes.saturating_add(file.length);
        }
        let mut loans = Loans::default();
        for (content, (file, chunks)) in std::mem::take(&mut self.offers) {
            let Some(sealing) = self.sealings.get(&file.sealing) else { continue };
            if used.get(&file.sealing).is_none_or(|used| used.saturating_mul(2) < sealing.stream_bytes) {
                continue;
            }
            let sealing = loans.sealings.entry(file.sealing).or_insert_with(|| sealing.clone());
            for chunk in chunks {
                // A chunk of several files is named once.
                sealing.chunks.extend(self.chunks.remove(&chunk).flatten());
            }
            loans.files.insert(content, file);
        }
        for sealing in loans.sealings.values_mut() {
            sealing.chunks.sort_unstable_by_key(|chunk| chunk.index);
        }
        loans
    }
}

fn id(job: &Job) -> ChunkId {
    (job.place.pack_uid, job.place.index)
}

/// A chunk with its own secret. Only the header is read: whether the bytes are sound is the scrub's to find.
fn chunk_of(vault: &Vault, keys: &ChunkKeys, job: &Job) -> Option<BorrowedChunk> {
    let object = &job.object;
    vault.presence(&object.object_blake3, object.object_len).ok()?;
    let mut head = Vec::with_capacity(HEADER);
    File::open(vault.object_path(&object.object_blake3)).ok()?.take(HEADER as u64).read_to_end(&mut head).ok()?;
    let header = Header::parse(&head).ok()?;
    let secret = match &job.secret {
        Some(secret) => secret.clone(),
        None => keys.secret(&header)?,
    };
    (header.place == job.place && header.commitment == secret.commitment).then(|| BorrowedChunk {
        commitment: secret.commitment,
        index: job.place.index,
        key: secret.key,
        nonce: secret.nonce,
        object_blake3: object.object_blake3,
        object_len: object.object_len,
        plaintext_len: u64::from(header.plaintext_len),
    })
}
