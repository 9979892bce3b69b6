//! Sealing a pack into the vault: keys first, then chunks, then the descriptor that commits it.

use std::path::Path;

use datanode_schema::failpoint;
use zeroize::Zeroizing;

use super::borrow::{Base, Bases, Loans};
use super::chunk::{ChunkType, MAX_PLAINTEXT, PAD};
use super::error::SealError;
use super::keys::{self, Identity, PackKey, Recipient, Unwraps};
use super::manifest::{self, FileRef, SealedManifest};
use super::open::chunk_keys;
use super::pack::{PackFile, PlainPack, StreamReader};
use super::run::{self, Source};
use super::{Descriptor, PackUid};
use crate::vault::Vault;

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
    /// Chunks sealed at once; each takes about three chunks of memory, and there are fewer where that is much.
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
    let from = plan.base.as_slice();
    whole(vault, key, plan, &Bases { from, avoid: None }, false)
}

/// As [`seal`], building on several sealings in place of the plan's one.
pub fn seal_upon(vault: &Vault, key: &PackKey, plan: &SealPlan<'_>, bases: &Bases<'_>) -> Result<Sealed, SealError> {
    whole(vault, key, plan, bases, false)
}

/// As [`seal`] without a base, by RustCrypto's cipher alone, for measuring; the bytes are the same.
#[doc(hidden)]
pub fn seal_by_reference(vault: &Vault, key: &PackKey, plan: &SealPlan<'_>) -> Result<Sealed, SealError> {
    whole(vault, key, plan, &Bases::default(), true)
}

fn whole(
    vault: &Vault,
    key: &PackKey,
    plan: &SealPlan<'_>,
    bases: &Bases<'_>,
    reference: bool,
) -> Result<Sealed, SealError> {
    if plan.chunk_size == 0 || plan.chunk_size > MAX_PLAINTEXT || !plan.chunk_size.is_multiple_of(PAD) {
        let why = "is not a multiple of 65536 up to 16777216; set seal.chunk_size to 8388608";
        return Err(SealError::contract(format!("chunk size {}", plan.chunk_size), why));
    }
    let guard = vault.lock_shared()?;
    let pack = PlainPack::read(plan.pack_dir)?;
    // Where every file lies is settled before any is read, so that the manifest and the chunk count are known at once.
    let loans = Loans::from_bases(vault, bases, &pack.files)?;
    let (manifest, new_files) = lay_out(&pack, loans, plan.pack_uid, plan.generation, plan.chunk_size as u64)?;
    let text = Zeroizing::new(manifest.encode_padded()?);
    let data_count = manifest.stream_bytes.div_ceil(plan.chunk_size as u64);
    let count = data_count.saturating_add(text.len().div_ceil(plan.chunk_size) as u64);
    let count =
        u32::try_from(count).map_err(|_| SealError::contract("pack", "needs more chunks than can be numbered"))?;
    let source = Source::new(StreamReader::new(&pack.dir, new_files), &text);
    let made = run::run(vault, chunk_keys(key)?, plan, count, source, reference)?;
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
    if descriptor.chunk_count != count {
        return Err(SealError::internal("chunks sealed and chunks counted differ"));
    }
    failpoint::pass("seal.objects");
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
