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
use super::error::SealError;
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

/// The loans of one sealing.
#[derive(Default)]
pub(super) struct Loans {
    files: BTreeMap<Content, FileRef>,
    sealings: BTreeMap<PackUid, BorrowedSealing>,
}

impl Loans {
    /// What these files can borrow from a base and from what the base itself borrows.
    pub(super) fn from_base(vault: &Vault, base: &Base<'_>, files: &[PackFile]) -> Result<Self, SealError> {
        let descriptor = vault.descriptor(&base.pack_uid)?;
        let manifest = read_manifest(vault, &descriptor, base.key)?;
        let mut lender = Lender { vault, keys: chunk_keys(base.key)?, manifest: &manifest, chunks: BTreeMap::new() };
        let wanted: BTreeSet<Content> = files.iter().map(content).collect();
        let mut chunks_of = BTreeMap::<usize, Vec<usize>>::new();
        let jobs = manifest.jobs(&descriptor)?;
        for (number, job) in jobs.iter().enumerate() {
            for segment in &job.segments {
                chunks_of.entry(segment.file).or_default().push(number);
            }
        }
        let mut offers = BTreeMap::<Content, (FileRef, Vec<usize>)>::new();
        for (index, (file, sum)) in manifest.files.iter().zip(manifest.sums_of_files()?).enumerate() {
            let content = (sum.sha256, file.length);
            let Some(chunks) = chunks_of.remove(&index) else { continue };
            let lendable = |number: &usize| jobs.get(*number).is_some_and(|job| lender.lend(*number, job));
            if wanted.contains(&content) && chunks.iter().all(lendable) {
                offers.insert(content, (file.clone(), chunks));
            }
        }
        Ok(Self::settle(lender, &descriptor, offers))
    }

    /// Drops sealings that would be used by less than half, and gathers the chunks of the others.
    fn settle(mut lender: Lender<'_>, base: &Descriptor, offers: BTreeMap<Content, (FileRef, Vec<usize>)>) -> Self {
        let mut used = BTreeMap::<PackUid, u64>::new();
        for (file, _) in offers.values() {
            let bytes = used.entry(file.sealing).or_default();
            *bytes = bytes.saturating_add(file.length);
        }
        let mut loans = Self::default();
        let mut taken = BTreeSet::new();
        for (content, (file, chunks)) in offers {
            let Some(mut sealing) = lender.sealing(&file.sealing, base) else { continue };
            if used.get(&file.sealing).is_none_or(|used| used.saturating_mul(2) < sealing.stream_bytes) {
                continue;
            }
            sealing.chunks.clear();
            let sealing = loans.sealings.entry(file.sealing).or_insert(sealing);
            for number in chunks.into_iter().filter(|number| taken.insert(*number)) {
                sealing.chunks.extend(lender.chunks.remove(&number).flatten());
            }
            loans.files.insert(content, file);
        }
        for sealing in loans.sealings.values_mut() {
            sealing.chunks.sort_unstable_by_key(|chunk| chunk.index);
        }
        loans
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
    keys: ChunkKeys,
    manifest: &'a SealedManifest,
    /// By job number; nothing where the chunk cannot be lent.
    chunks: BTreeMap<usize, Option<BorrowedChunk>>,
}

impl Lender<'_> {
    /// Whether the chunk of this job can be lent; it is looked at once.
    fn lend(&mut self, number: usize, job: &Job) -> bool {
        let (vault, keys) = (self.vault, &self.keys);
        self.chunks.entry(number).or_insert_with(|| chunk_of(vault, keys, job)).is_some()
    }

    fn sealing(&self, uid: &PackUid, base: &Descriptor) -> Option<BorrowedSealing> {
        if *uid != base.pack_uid {
            return self.manifest.borrowed.iter().find(|borrowed| borrowed.pack_uid == *uid).cloned();
        }
        Some(BorrowedSealing {
            chunk_count: base.chunk_count,
            chunks: Vec::new(),
            generation: base.generation,
            pack_uid: base.pack_uid,
            stream_bytes: self.manifest.stream_bytes,
        })
    }
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
