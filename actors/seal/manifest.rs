//! The sealed manifest: the secret record that turns chunks back into a pack.
//!
//! Canonical JSON, then zero bytes up to a multiple of 64 KiB, cut into manifest chunks. Holds the pack's own
//! `manifest.json` and `SHA256SUMS.stable.txt` as texts, and for every other file its place: a sealing, the chunk and
//! offset where it begins, its length. A file goes on at offset 0 of the next chunk. Chunks of earlier sealings come
//! with their own secrets. It is authenticated, yet its paths and ranges are checked like any input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::PackUid;
use super::canonical::{self, fixed_hex};
use super::chunk::{ChunkSecret, ChunkType, MAX_OBJECT, MAX_PLAINTEXT, PAD, Place};
use super::descriptor::{Descriptor, ObjectRef};
use super::error::SealError;
use super::paths::{self, MANIFEST, Sum};

/// `format` of a sealed manifest.
pub const FORMAT: &str = "datanode-sealed-manifest";
/// Version that this software writes and reads.
pub const VERSION: u32 = 1;
/// A longer sealed manifest is refused, bytes: room for more than a million files.
pub const MAX_MANIFEST: usize = 256 << 20;

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Chunk index within the sealing where the file begins.
    pub chunk: u32,
    /// Bytes.
    pub length: u64,
    /// Where in that chunk it begins, bytes.
    pub offset: u64,
    /// Path within the pack.
    pub path: String,
    /// This pack's sealing or a borrowed one.
    #[serde(with = "fixed_hex")]
    pub sealing: PackUid,
}

/// A chunk of an earlier sealing with its own secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct BorrowedChunk {
    /// As in the chunk's header.
    #[serde(with = "fixed_hex")]
    pub commitment: [u8; 32],
    /// Index within its sealing.
    pub index: u32,
    /// XChaCha20-Poly1305 key of this chunk alone.
    #[serde(with = "fixed_hex")]
    pub key: [u8; 32],
    /// Its nonce.
    #[serde(with = "fixed_hex")]
    pub nonce: [u8; 24],
    /// The object's name.
    #[serde(with = "fixed_hex")]
    pub object_blake3: [u8; 32],
    /// Bytes of the object.
    pub object_len: u64,
    /// Bytes of its plaintext.
    pub plaintext_len: u64,
}

impl BorrowedChunk {
    pub(crate) fn secret(&self) -> ChunkSecret {
        ChunkSecret { key: self.key, nonce: self.nonce, commitment: self.commitment }
    }

    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef { object_blake3: self.object_blake3, object_len: self.object_len }
    }
}

/// An earlier sealing of which chunks are used.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BorrowedSealing {
    /// Its `count`, as in its chunk headers.
    pub chunk_count: u32,
    /// The chunks used, by index.
    pub chunks: Vec<BorrowedChunk>,
    /// Its generation.
    pub generation: u32,
    /// The sealing.
    #[serde(with = "fixed_hex")]
    pub pack_uid: PackUid,
    /// Bytes of files sealed in it, padding not counted.
    pub stream_bytes: u64,
}

/// A sealed manifest, version 1; fields in the order of the canonical text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedManifest {
    /// Earlier sealings used, by uid.
    pub borrowed: Vec<BorrowedSealing>,
    /// Plaintext bytes of every data chunk of this sealing but the last.
    pub chunk_size: u64,
    /// Every file of the pack but `manifest.json`, in the order of the sums.
    pub files: Vec<FileRef>,
    /// [`FORMAT`].
    pub format: String,
    /// As in the descriptor.
    pub generation: u32,
    /// The pack's `manifest.json`, byte for byte.
    pub manifest_json: String,
    /// This sealing.
    #[serde(with = "fixed_hex")]
    pub pack_uid: PackUid,
    /// The pack's `SHA256SUMS.stable.txt`, byte for byte.
    pub sha256sums: String,
    /// Bytes of files sealed here, padding not counted.
    pub stream_bytes: u64,
    /// [`VERSION`].
    pub version: u32,
}

/// A piece of a file within one chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Index into [`SealedManifest::files`].
    pub file: usize,
    /// Where in the chunk, bytes.
    pub at: usize,
    /// Bytes.
    pub len: usize,
    /// Where in the file, bytes.
    pub file_offset: u64,
}

/// One chunk to read, and what is in it.
pub(crate) struct Job {
    pub place: Place,
    pub object: ObjectRef,
    /// For a chunk of an earlier sealing.
    pub secret: Option<ChunkSecret>,
    pub segments: Vec<Segment>,
}

impl SealedManifest {
    /// The padded plaintext of the manifest chunks.
    pub(crate) fn encode_padded(&self) -> Result<Vec<u8>, SealError> {
        let mut text = canonical::encode(self)?;
        let padded = text.len().next_multiple_of(PAD);
        if padded > MAX_MANIFEST {
            return Err(SealError::contract("pack", "has more files than a sealed manifest can list; split it"));
        }
        text.resize(padded, 0);
        Ok(text)
    }

    /// Parses the plaintext of the manifest chunks and checks all of it against the descriptor.
    pub(crate) fn decode_padded(padded: &[u8], descriptor: &Descriptor) -> Result<Self, SealError> {
        let what = format!("sealed manifest of pack {}", hex::encode(descriptor.pack_uid));
        let end = padded.iter().position(|byte| *byte == b'\n').map_or(padded.len(), |at| at.saturating_add(1));
        let (text, padding) = padded.split_at_checked(end).unwrap_or((padded, &[]));
        if padding.iter().any(|byte| *byte != 0) {
            return Err(SealError::contract(what, "has bytes in its padding; it was made by other software"));
        }
        let manifest: Self = canonical::decode(&what, text)?;
        if manifest.format != FORMAT || manifest.version != VERSION {
            let why = format!("is {} version {}; update datanode", manifest.format, manifest.version);
            return Err(SealError::contract(what, why));
        }
        match manifest.inconsistency(descriptor)? {
            None => Ok(manifest),
            Some(why) => Err(SealError::contract(what, format!("{why}; it was made by other software"))),
        }
    }

    /// The pack's list of files; [`Self::sums_of_files`] is the part that `files` mirrors.
    pub fn sums(&self) -> Result<Vec<Sum>, SealError> {
        paths::parse_sums(&self.sha256sums)
    }

    /// The sums in the order of `files`: all but `manifest.json`.
    pub(crate) fn sums_of_files(&self) -> Result<Vec<Sum>, SealError> {
        Ok(self.sums()?.into_iter().filter(|sum| sum.path != MANIFEST).collect())
    }

    fn inconsistency(&self, descriptor: &Descriptor) -> Result<Option<&'static str>, SealError> {
        paths::check_all(self.files.iter().map(|file| file.path.as_str()).chain([MANIFEST, paths::SUMS]))?;
        let sums = self.sums()?;
        let manifest_sum = hex::encode(Sha256::digest(&self.manifest_json));
        if self.pack_uid != descriptor.pack_uid || self.generation != descriptor.generation {
            return Ok(Some("is of another pack or generation than its descriptor"));
        }
        if !sums.iter().any(|sum| sum.path == MANIFEST && sum.sha256 == manifest_sum) {
            return Ok(Some("holds a manifest.json that its sums do not vouch for"));
        }
        let listed = sums.iter().map(|sum| sum.path.as_str()).filter(|path| *path != MANIFEST);
        if !listed.eq(self.files.iter().map(|file| file.path.as_str())) {
            return Ok(Some("lists other files than its sums"));
        }
        let size = self.chunk_size;
        if size == 0 || size > MAX_PLAINTEXT as u64 || !size.is_multiple_of(PAD as u64) {
            return Ok(Some("has a chunk size beyond the limits"));
        }
        if self.stream_bytes.div_ceil(size) != descriptor.data_objects.len() as u64 {
            return Ok(Some("counts other data chunks than its descriptor"));
        }
        if !self.borrowed.iter().map(|borrowed| borrowed.pack_uid).eq(descriptor.requires.iter().copied()) {
            return Ok(Some("borrows from other sealings than its descriptor requires"));
        }
        let limits = |chunk: &BorrowedChunk| {
            chunk.object_len <= MAX_OBJECT as u64
                && chunk.plaintext_len > 0
                && chunk.plaintext_len <= MAX_PLAINTEXT as u64
        };
        if !self.borrowed.iter().flat_map(|borrowed| &borrowed.chunks).all(limits) {
            return Ok(Some("borrows a chunk beyond the limits"));
        }
        self.jobs(descriptor).map(|_| None)
    }

    /// Every chunk of this pack in reading order: its own data chunks, then borrowed ones, each with what lies in it.
    /// A range that leaves its sealing is refused.
    pub(crate) fn jobs(&self, descriptor: &Descriptor) -> Result<Vec<Job>, SealError> {
        let mut jobs = Vec::new();
        let mut number = BTreeMap::new();
        for (place, object) in descriptor.chunks().filter(|(place, _)| place.kind == ChunkType::Data) {
            let start = u64::from(place.index).saturating_mul(self.chunk_size);
            let len = self.stream_bytes.saturating_sub(start).min(self.chunk_size);
            number.insert((place.pack_uid, place.index), (jobs.len(), len));
            jobs.push(Job { place, object: object.clone(), secret: None, segments: Vec::new() });
        }
        for from in &self.borrowed {
            for chunk in &from.chunks {
                let (pack_uid, generation, count) = (from.pack_uid, from.generation, from.chunk_count);
                let place = Place { kind: ChunkType::Data, pack_uid, generation, index: chunk.index, count };
                number.insert((pack_uid, chunk.index), (jobs.len(), chunk.plaintext_len));
                jobs.push(Job { place, object: chunk.object(), secret: Some(chunk.secret()), segments: Vec::new() });
            }
        }
        for (index, file) in self.files.iter().enumerate() {
            self.place_file(index, file, &number, &mut jobs)?;
        }
        Ok(jobs)
    }

    fn place_file(
        &self,
        index: usize,
        file: &FileRef,
        number: &BTreeMap<(PackUid, u32), (usize, u64)>,
        jobs: &mut [Job],
    ) -> Result<(), SealError> {
        let refuse = || {
            let what = format!("sealed manifest of pack {}", hex::encode(self.pack_uid));
            SealError::contract(what, format!("places {:?} outside of its sealing", file.path))
        };
        let (mut chunk, mut offset, mut done) = (file.chunk, file.offset, 0u64);
        while done < file.length {
            let (job, len) = number.get(&(file.sealing, chunk)).copied().ok_or_else(refuse)?;
            let here = len.checked_sub(offset).filter(|left| *left > 0).ok_or_else(refuse)?;
            let take = here.min(file.length.saturating_sub(done));
            let (Ok(at), Ok(len)) = (usize::try_from(offset), usize::try_from(take)) else { return Err(refuse()) };
            let job = jobs.get_mut(job).ok_or_else(refuse)?;
            job.segments.push(Segment { file: index, at, len, file_offset: done });
            done = done.saturating_add(take);
            chunk = chunk.checked_add(1).ok_or_else(refuse)?;
            offset = 0;
        }
        Ok(())
    }
}
