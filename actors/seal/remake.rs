//! Sealing lost chunks again from the plain pack, for the repair of a vault.
//!
//! The same key, place and bytes make the same object, so what is made here is taken only where its BLAKE3 is that of the
//! descriptor; nothing else has to be believed of the pack's folder.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::borrow::Loans;
use super::chunk::{ChunkKeys, ChunkType, HEADER, Header, MAX_PLAINTEXT, PAD, Sealer, TAIL};
use super::error::{Kind, SealError};
use super::keys::PackKey;
use super::manifest::{Job, SealedManifest};
use super::open::{chunk_keys, read_manifest};
use super::pack::{PlainPack, open_regular};
use super::write::lay_out;
use super::{DEFAULT_CHUNK, Descriptor};
use crate::vault::Vault;

/// Takes a chunk's index and its object.
pub type Put<'a> = &'a mut dyn FnMut(u32, &[u8]) -> Result<(), SealError>;

/// Seals the `wanted` chunks (data, then sealed manifest; parity is no chunk) of a committed sealing again from the plain pack
/// in `pack_dir`, and hands out those that are what the descriptor names. A chunk whose files are gone or altered is left out. Where
/// the sealed manifest itself is lost, the arrangement is found again for a sealing that borrows from none.
///
/// # Errors
/// The pack's folder is of another pack or cannot be read at all; `put`'s.
pub fn remake(
    vault: &Vault,
    descriptor: &Descriptor,
    key: &PackKey,
    pack_dir: &Path,
    wanted: &BTreeSet<u32>,
    put: Put<'_>,
) -> Result<(), SealError> {
    let mut left: BTreeSet<u32> = wanted.iter().copied().filter(|index| *index < descriptor.chunk_count).collect();
    let mut maker = Maker {
        descriptor,
        keys: chunk_keys(key)?,
        sealer: Sealer::new().map_err(SealError::io("start zstd for", pack_dir))?,
        pack_dir,
        plaintext: Zeroizing::new(Vec::new()),
    };
    for manifest in arrangements(vault, descriptor, key, pack_dir)? {
        if left.is_empty() {
            break;
        }
        maker.make(&manifest, &mut left, put)?;
    }
    Ok(())
}

/// How the pack may have been laid out: one way where the sealed manifest can be read, some to be tried where it cannot.
fn arrangements(
    vault: &Vault,
    descriptor: &Descriptor,
    key: &PackKey,
    pack_dir: &Path,
) -> Result<Vec<SealedManifest>, SealError> {
    match read_manifest(vault, descriptor, key) {
        Ok(manifest) => return Ok(vec![manifest]),
        Err(error) if !matches!(error, SealError::Object { .. }) => return Err(error),
        // With borrowed chunks it also holds secrets of other sealings.
        Err(_) if !descriptor.requires.is_empty() => return Ok(Vec::new()),
        Err(_) => {}
    }
    let pack = PlainPack::read(pack_dir)?;
    let mut fitting = Vec::new();
    for size in chunk_sizes(vault, descriptor) {
        let (manifest, _) = lay_out(&pack, Loans::default(), descriptor.pack_uid, descriptor.generation, size)?;
        let text = manifest.encode_padded()?.len() as u64;
        let fits = manifest.stream_bytes.div_ceil(size) == descriptor.data_objects.len() as u64
            && text.div_ceil(size) == descriptor.manifest_objects.len() as u64;
        if fits {
            fitting.push(manifest);
        }
    }
    Ok(fitting)
}

/// Chunk sizes that this sealing may have, the likeliest first: what a chunk before the last says of itself, what the
/// lengths of the objects say if they are raw, whole MiB.
fn chunk_sizes(vault: &Vault, descriptor: &Descriptor) -> Vec<u64> {
    let mut sizes = Vec::new();
    let last = descriptor.data_objects.len().saturating_sub(1);
    for object in descriptor.data_objects.iter().take(last) {
        let raw = object.object_len.saturating_sub((HEADER + TAIL) as u64);
        if let Ok(bytes) = vault.get(&object.object_blake3, object.object_len)
            && let Ok(header) = Header::parse(&bytes)
        {
            sizes.push(u64::from(header.plaintext_len));
            break;
        }
        sizes.push(raw);
    }
    sizes.push(DEFAULT_CHUNK as u64);
    sizes.extend((1..=16u64).rev().map(|mib| mib << 20));
    let mut met = BTreeSet::new();
    sizes.retain(|size| {
        *size > 0 && *size <= MAX_PLAINTEXT as u64 && size.is_multiple_of(PAD as u64) && met.insert(*size)
    });
    sizes
}

struct Maker<'a> {
    descriptor: &'a Descriptor,
    keys: ChunkKeys,
    sealer: Sealer,
    pack_dir: &'a Path,
    plaintext: Zeroizing<Vec<u8>>,
}

impl Maker<'_> {
    /// Makes what is left by this arrangement; what came out as it should is left no more.
    fn make(&mut self, manifest: &SealedManifest, left: &mut BTreeSet<u32>, put: Put<'_>) -> Result<(), SealError> {
        let text = Zeroizing::new(manifest.encode_padded()?);
        let jobs = manifest.jobs(self.descriptor)?;
        let size = usize::try_from(manifest.chunk_size).unwrap_or(MAX_PLAINTEXT);
        let data = self.descriptor.data_objects.len();
        for (place, object) in self.descriptor.chunks() {
            let index = place.index;
            if !left.contains(&index) {
                continue;
            }
            let there = match (place.kind, jobs.get(index as usize)) {
                (ChunkType::Data, Some(job)) => self.read(manifest, job)?,
                (ChunkType::Manifest, _) => {
                    let number = (index as usize).saturating_sub(data);
                    self.plaintext.clear();
                    self.plaintext.extend_from_slice(text.chunks(size).nth(number).unwrap_or_default());
                    true
                }
                _ => false,
            };
            if !there || self.plaintext.is_empty() {
                continue;
            }
            let made = self.sealer.seal(&self.keys, &place, &self.plaintext);
            let made = made.map_err(|diagnosis| SealError::Object {
                pack: hex::encode(place.pack_uid),
                object: hex::encode(object.object_blake3),
                index,
                diagnosis,
            })?;
            if blake3::hash(made) == object.object_blake3 {
                put(index, made)?;
                left.remove(&index);
            }
        }
        Ok(())
    }

    /// The plaintext of a data chunk from the files in it; false where one of them is gone or shorter.
    fn read(&mut self, manifest: &SealedManifest, job: &Job) -> Result<bool, SealError> {
        let start = u64::from(job.place.index).saturating_mul(manifest.chunk_size);
        let len = manifest.stream_bytes.saturating_sub(start).min(manifest.chunk_size);
        let len = usize::try_from(len).unwrap_or(0).next_multiple_of(PAD);
        self.plaintext.clear();
        self.plaintext.resize(len, 0);
        for segment in &job.segments {
            let Some(file) = manifest.files.get(segment.file) else { return Ok(false) };
            let path = self.pack_dir.join(&file.path);
            let handle = match open_regular(&path) {
                Ok(handle) => handle,
                Err(error) if error.kind() == Kind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
            let room = self.plaintext.get_mut(segment.at..).and_then(|tail| tail.get_mut(..segment.len));
            let Some(room) = room else { return Ok(false) };
            match handle.read_exact_at(room, segment.file_offset) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(SealError::io("read", &path)(error)),
            }
        }
        Ok(true)
    }
}
