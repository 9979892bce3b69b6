//! The chunk object, version 1: what one piece of a pack looks like at rest. All integers little-endian.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `DNCK` |
//! | 4 | version u8 (1) · suite u8 (1; 0 for parity) · type u8 (0 data, 1 manifest, 2 parity) · codec u8 (0 raw, 1 zstd) |
//! | 8 | pack_uid \[16\] |
//! | 24 | generation u32 · index u32 · count u32 · flags u32 (bit 0 = final, all others zero) |
//! | 40 | plaintext_len u32 · payload_len u32 (without the tag) |
//! | 48 | salt \[24\] |
//! | 72 | commitment \[32\] |
//! | 104 | ciphertext ‖ tag \[16\] |
//!
//! Suite 1: AAD = bytes 0–47; `key[32] ‖ nonce[24] ‖ commitment[32]` = HKDF-SHA256-Expand (RFC 5869 §2.3) of the pack
//! key with info `"datanode/chunk/v1" ‖ 0x00 ‖ salt ‖ AAD`; XChaCha20-Poly1305 over the payload. The salt is a keyed
//! hash of AAD and payload, so a retry writes the same bytes and different bytes never meet the same nonce. The
//! commitment is compared before the AEAD is tried, because Poly1305 alone does not bind a ciphertext to one key.
//!
//! Suite 0, for parity alone, encrypts nothing: plaintext_len 0, salt, commitment and tag all zero, the shard as it is.
//!
//! Knows nothing of files, folders or the vault.

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::PackUid;
use super::aead::{Backend, TAG};
use super::error::Diagnosis;
use super::keys::PackKey;
pub use super::sealer::Sealer;

/// Largest plaintext of a chunk, bytes.
pub const MAX_PLAINTEXT: usize = 16 << 20;
/// Largest payload, bytes: a plaintext that grew under compression would still fit.
pub const MAX_PAYLOAD: usize = MAX_PLAINTEXT + PAD;
/// The last chunk of a stream is padded to a multiple of this, so that its length says little about the files.
pub const PAD: usize = 64 * 1024;
/// Bytes before the ciphertext.
pub const HEADER: usize = 104;
/// Bytes after it.
pub(super) const TAIL: usize = TAG;
/// Largest object, bytes.
pub const MAX_OBJECT: usize = HEADER + MAX_PAYLOAD + TAG;

const MAGIC: [u8; 4] = *b"DNCK";
const VERSION: u8 = 1;
const SUITE: u8 = 1;
const SUITE_CLEAR: u8 = 0;
const AAD: usize = 48;
const FINAL: u32 = 1;
const INFO: &[u8] = b"datanode/chunk/v1\0";
const SALT_CONTEXT: &str = "datanode 2026 chunk salt v1";

const _: () = assert!(MAX_PLAINTEXT.is_multiple_of(PAD) && MAX_PAYLOAD < u32::MAX as usize);

/// What a chunk carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChunkType {
    /// Bytes of the pack's files.
    Data = 0,
    /// Bytes of the sealed manifest.
    Manifest = 1,
    /// A parity shard, in the clear.
    Parity = 2,
}

/// How the payload was made from the plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One zstd frame; only where level 1 saves at least 5 %.
    Zstd = 1,
}

/// The place of a chunk in its sealing; all of it is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it carries.
    pub kind: ChunkType,
    /// The sealing.
    pub pack_uid: PackUid,
    /// The sealing's generation.
    pub generation: u32,
    /// 0-based, data first, then sealed manifest; of parity the group's number.
    pub index: u32,
    /// Data and manifest chunks together; of parity the groups.
    pub count: u32,
}

impl Place {
    fn flags(&self) -> u32 {
        if self.index.checked_add(1) == Some(self.count) { FINAL } else { 0 }
    }
}

/// A parsed header whose limits hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the chunk says it belongs.
    pub place: Place,
    /// How to undo the payload.
    pub codec: Codec,
    /// Bytes of plaintext, padding included.
    pub plaintext_len: u32,
    /// Bytes of ciphertext without its tag.
    pub payload_len: u32,
    /// Input to the derivation.
    pub salt: [u8; 24],
    /// What only the right key reproduces.
    pub commitment: [u8; 32],
}

impl Header {
    fn aad(place: &Place, codec: Codec, plaintext_len: u32, payload_len: u32) -> [u8; AAD] {
        let mut aad = [0u8; AAD];
        let fields: [&[u8]; 9] = [
            &MAGIC,
            &[VERSION, suite_of(place.kind), place.kind as u8, codec as u8],
            &place.pack_uid,
            &place.generation.to_le_bytes(),
            &place.index.to_le_bytes(),
            &place.count.to_le_bytes(),
            &place.flags().to_le_bytes(),
            &plaintext_len.to_le_bytes(),
            &payload_len.to_le_bytes(),
        ];
        for (to, from) in aad.iter_mut().zip(fields.iter().copied().flatten()) {
            *to = *from;
        }
        aad
    }

    /// The header of a parity object whose shard has this length.
    pub(super) fn of_parity(place: &Place, len: usize) -> Result<impl Iterator<Item = u8> + use<>, Diagnosis> {
        let len = u32::try_from(len).map_err(|_| Diagnosis::Header("length beyond the limits"))?;
        let aad = Self::aad(place, Codec::Raw, 0, len);
        Ok(aad.into_iter().chain(std::iter::repeat_n(0, HEADER.saturating_sub(AAD))))
    }

    /// Reads and checks a header: magic, versions, limits, flags. Allocates nothing.
    pub fn parse(object: &[u8]) -> Result<Self, Diagnosis> {
        let short = Diagnosis::Header("shorter than a header");
        let word = |at: usize| field::<4>(object, at).map(u32::from_le_bytes);
        let (Some(magic), Some([version, suite, kind, codec])) = (field::<4>(object, 0), field::<4>(object, 4)) else {
            return Err(short);
        };
        let (Some(pack_uid), Some(salt), Some(commitment)) = (field(object, 8), field(object, 48), field(object, 72))
        else {
            return Err(short);
        };
        let (Some(generation), Some(index), Some(count), Some(flags)) = (word(24), word(28), word(32), word(36)) else {
            return Err(short);
        };
        let (Some(plaintext_len), Some(payload_len)) = (word(40), word(44)) else { return Err(short) };
        if magic != MAGIC {
            return Err(Diagnosis::Header("no DNCK magic"));
        }
        if version != VERSION || (suite != SUITE && suite != SUITE_CLEAR) {
            return Err(Diagnosis::Header("version or suite unknown; a newer datanode may read it"));
        }
        let kind = match kind {
            0 => ChunkType::Data,
            1 => ChunkType::Manifest,
            2 => ChunkType::Parity,
            _ => return Err(Diagnosis::Header("type unknown")),
        };
        if suite != suite_of(kind) {
            return Err(Diagnosis::Header("suite is not that of its type"));
        }
        let codec = match codec {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            _ => return Err(Diagnosis::Header("codec unknown")),
        };
        let place = Place { kind, pack_uid, generation, index, count };
        if index >= count || flags != place.flags() {
            return Err(Diagnosis::Header("index, count and final flag disagree"));
        }
        if kind == ChunkType::Parity {
            let clear = codec == Codec::Raw && plaintext_len == 0 && salt == [0; 24] && commitment == [0; 32];
            let shard = payload_len > 0 && payload_len.is_multiple_of(2) && payload_len as usize <= MAX_PAYLOAD;
            return match clear && shard {
                true => Ok(Self { place, codec, plaintext_len, payload_len, salt, commitment }),
                false => Err(Diagnosis::Header("not the header of a parity object")),
            };
        }
        if plaintext_len == 0 || plaintext_len as usize > MAX_PLAINTEXT || payload_len as usize > MAX_PAYLOAD {
            return Err(Diagnosis::Header("length beyond the limits"));
        }
        if codec == Codec::Raw && payload_len != plaintext_len {
            return Err(Diagnosis::Header("raw payload of another length than its plaintext"));
        }
        Ok(Self { place, codec, plaintext_len, payload_len, salt, commitment })
    }
}

fn suite_of(kind: ChunkType) -> u8 {
    if kind == ChunkType::Parity { SUITE_CLEAR } else { SUITE }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Key, nonce and commitment of one chunk. Enough to open that chunk and nothing else.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ChunkSecret {
    pub(crate) key: [u8; 32],
    pub(crate) nonce: [u8; 24],
    pub(crate) commitment: [u8; 32],
}

/// What derives the secrets of a sealing's chunks.
#[derive(Clone)]
pub struct ChunkKeys {
    expand: Hkdf<Sha256>,
    salt_key: Zeroizing<[u8; 32]>,
}

impl ChunkKeys {
    /// Prepares a pack key. `None` cannot happen with a 32-byte key; it is not a panic either way.
    pub fn new(key: &PackKey) -> Option<Self> {
        let expand = Hkdf::from_prk(key.expose()).ok()?;
        Some(Self { expand, salt_key: Zeroizing::new(blake3::derive_key(SALT_CONTEXT, key.expose())) })
    }

    fn salt(&self, aad: &[u8; AAD], payload: &blake3::Hash) -> [u8; 24] {
        let mut hasher = blake3::Hasher::new_keyed(&self.salt_key);
        hasher.update(aad).update(payload.as_bytes());
        let mut salt = [0u8; 24];
        hasher.finalize_xof().fill(&mut salt);
        salt
    }

    fn expand(&self, salt: &[u8; 24], aad: &[u8; AAD]) -> Option<ChunkSecret> {
        let mut okm = Zeroizing::new([0u8; 88]);
        self.expand.expand_multi_info(&[INFO, salt, aad], okm.as_mut_slice()).ok()?;
        let okm = okm.as_slice();
        Some(ChunkSecret { key: field(okm, 0)?, nonce: field(okm, 32)?, commitment: field(okm, 56)? })
    }

    /// The secret of the chunk that has this header.
    pub fn secret(&self, header: &Header) -> Option<ChunkSecret> {
        let aad = Header::aad(&header.place, header.codec, header.plaintext_len, header.payload_len);
        self.expand(&header.salt, &aad)
    }
}

/// What opens a chunk: its pack's keys, or (for a chunk of an earlier pack) its own secret.
#[derive(Clone, Copy)]
pub enum Opener<'a> {
    /// Derive from the pack key.
    Pack(&'a ChunkKeys),
    /// As the sealed manifest gave it.
    Chunk(&'a ChunkSecret),
}

/// Seals in place: `object` has room for a header, then the payload, then room for the tag.
pub(super) fn assemble(
    backend: Backend,
    keys: &ChunkKeys,
    place: &Place,
    codec: Codec,
    plaintext_len: usize,
    object: &mut [u8],
) -> Result<(), Diagnosis> {
    let limits = || Diagnosis::Header("length beyond the limits");
    let (head, body) = object.split_at_mut_checked(HEADER).ok_or_else(limits)?;
    let payload_len = body.len().checked_sub(TAG).ok_or_else(limits)?;
    let (payload, tail) = body.split_at_mut_checked(payload_len).ok_or_else(limits)?;
    let plaintext_len = u32::try_from(plaintext_len).map_err(|_| limits())?;
    let payload_len = u32::try_from(payload_len).map_err(|_| limits())?;
    let aad = Header::aad(place, codec, plaintext_len, payload_len);
    let salt = keys.salt(&aad, &blake3::hash(payload));
    let secret = keys.expand(&salt, &aad).ok_or(Diagnosis::Commitment)?;
    for (to, from) in head.iter_mut().zip(aad.iter().chain(&salt).chain(&secret.commitment)) {
        *to = *from;
    }
    let tag = backend.seal(&secret.key, &secret.nonce, &aad, payload).map_err(|_| Diagnosis::Aead)?;
    tail.copy_from_slice(&tag);
    Ok(())
}

/// Checks that an object is the chunk of this place, without any key.
pub fn check_place(object: &[u8], expected: &Place) -> Result<Header, Diagnosis> {
    let header = Header::parse(object)?;
    if header.place != *expected {
        return Err(Diagnosis::Header("pack, generation, index, count or type is not that of this place"));
    }
    if object.len() != HEADER.saturating_add(header.payload_len as usize).saturating_add(TAG) {
        return Err(Diagnosis::Header("length of the object is not that of its payload"));
    }
    let tail = object.len().saturating_sub(TAIL);
    if header.place.kind == ChunkType::Parity && object.get(tail..).is_none_or(|tag| tag.iter().any(|b| *b != 0)) {
        return Err(Diagnosis::Header("a parity object with a tag"));
    }
    Ok(header)
}

/// Opens an object in place and gives its plaintext, which lies in `object` (raw) or in `unpacked` (zstd).
pub(crate) fn open<'a>(
    backend: Backend,
    object: &'a mut [u8],
    expected: &Place,
    opener: Opener<'_>,
    unpacked: &'a mut Vec<u8>,
) -> Result<&'a [u8], Diagnosis> {
    let header = check_place(object, expected)?;
    if header.place.kind == ChunkType::Parity {
        return Err(Diagnosis::Header("parity, which has no plaintext"));
    }
    let secret = match opener {
        Opener::Pack(keys) => keys.secret(&header).ok_or(Diagnosis::Commitment)?,
        Opener::Chunk(secret) => secret.clone(),
    };
    if !bool::from(secret.commitment.ct_eq(&header.commitment)) {
        return Err(Diagnosis::Commitment);
    }
    let damaged = Diagnosis::Header("length of the object is not that of its payload");
    let (head, body) = object.split_at_mut_checked(HEADER).ok_or(damaged.clone())?;
    let (payload, tag) = body.split_at_mut_checked(header.payload_len as usize).ok_or(damaged.clone())?;
    let aad = head.get(..AAD).ok_or(damaged.clone())?;
    let tag: [u8; TAG] = (&*tag).try_into().map_err(|_| damaged)?;
    backend.open(&secret.key, &secret.nonce, aad, payload, &tag).map_err(|_| Diagnosis::Aead)?;
    match header.codec {
        Codec::Raw => Ok(payload),
        Codec::Zstd => {
            let len = header.plaintext_len as usize;
            if unpacked.len() < len {
                unpacked.resize(len, 0);
            }
            let room = unpacked.get_mut(..len).ok_or(Diagnosis::Codec)?;
            match zstd::bulk::decompress_to_buffer(payload, room) {
                Ok(size) if size == len => Ok(room),
                _ => Err(Diagnosis::Codec),
            }
        }
    }
}
