//! The public record of a sealing: what anyone may know, enough to prove a pack without its keys.
//!
//! Holds object hashes and lengths only. No path, plaintext hash or file length appears in it, because market data is
//! guessable.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::canonical::{self, fixed_hex, fixed_hex_list};
use super::chunk::{ChunkType, MAX_OBJECT, Place};
use super::error::SealError;
use super::parity::{GROUP, SCHEME};
use super::{PackUid, merkle};

/// `format` of a descriptor.
pub const FORMAT: &str = "datanode-pack-descriptor";
/// Version that this software writes and reads.
pub const VERSION: u32 = 1;
/// A longer descriptor is refused before it is read, bytes: this is room for a terabyte, and what grows while it is read stays below 32 MiB.
pub const MAX_DESCRIPTOR: u64 = 16 << 20;
const NO_PARITY: &str = "none";

/// One stored object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// BLAKE3 of the whole object: its name in the vault and its Merkle leaf.
    #[serde(with = "fixed_hex")]
    pub object_blake3: [u8; 32],
    /// Bytes.
    pub object_len: u64,
}

/// Parity over the objects. Scheme `none` has no objects, scheme `rs-20-1` one for every twenty chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parity {
    /// Parity objects in order.
    pub objects: Vec<ObjectRef>,
    /// `none` or [`SCHEME`].
    pub scheme: String,
}

/// A pack descriptor, version 1; fields in the order of the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Data and manifest chunks together; the `count` of every chunk header.
    pub chunk_count: u32,
    /// Data objects in order: chunk index 0 and up.
    pub data_objects: Vec<ObjectRef>,
    /// [`FORMAT`].
    pub format: String,
    /// The `generation` of every chunk header.
    pub generation: u32,
    /// Leaves under the root: data, manifest and parity objects.
    pub leaf_count: u64,
    /// Sealed-manifest objects in order, after the data.
    pub manifest_objects: Vec<ObjectRef>,
    /// See [`merkle::root`].
    #[serde(with = "fixed_hex")]
    pub merkle_root: [u8; 32],
    /// The sealing.
    #[serde(with = "fixed_hex")]
    pub pack_uid: PackUid,
    /// Parity objects.
    pub parity: Parity,
    /// Earlier sealings of which chunks are used, sorted: these must be kept as long as this one.
    #[serde(with = "fixed_hex_list")]
    pub requires: Vec<PackUid>,
    /// [`VERSION`].
    pub version: u32,
}

impl Descriptor {
    /// The descriptor of finished objects, with its root. Without parity objects its scheme is `none`.
    pub fn new(
        pack_uid: PackUid,
        generation: u32,
        data_objects: Vec<ObjectRef>,
        manifest_objects: Vec<ObjectRef>,
        parity_objects: Vec<ObjectRef>,
        requires: Vec<PackUid>,
    ) -> Result<Self, SealError> {
        let chunks = data_objects.len().saturating_add(manifest_objects.len());
        let leaf_count = chunks.saturating_add(parity_objects.len());
        let scheme = if parity_objects.is_empty() { NO_PARITY } else { SCHEME };
        let mut descriptor = Self {
            chunk_count: u32::try_from(chunks).map_err(|_| SealError::internal("too many chunks"))?,
            data_objects,
            format: FORMAT.to_owned(),
            generation,
            leaf_count: leaf_count as u64,
            manifest_objects,
            merkle_root: [0; 32],
            pack_uid,
            parity: Parity { objects: parity_objects, scheme: scheme.to_owned() },
            requires,
            version: VERSION,
        };
        descriptor.merkle_root = descriptor.root();
        Ok(descriptor)
    }

    /// The canonical text.
    pub fn encode(&self) -> Result<Vec<u8>, SealError> {
        canonical::encode(self)
    }

    /// Parses the canonical text and checks everything that can be checked without the objects.
    /// A newer version than ours is refused, not guessed at.
    pub fn decode(what: &str, text: &[u8]) -> Result<Self, SealError> {
        #[derive(Deserialize)]
        struct Version {
            format: String,
            version: u32,
        }
        if let Ok(Version { format, version }) = serde_json::from_slice(text)
            && (format != FORMAT || version != VERSION)
        {
            let why = format!("is {format} version {version}, this software reads {FORMAT} {VERSION}; update datanode");
            return Err(SealError::contract(what, why));
        }
        let record: Self = canonical::decode(what, text)?;
        match record.inconsistency() {
            None => Ok(record),
            Some(why) => Err(SealError::integrity(what, format!("{why}; it was altered: restore it from a replica"))),
        }
    }

    fn inconsistency(&self) -> Option<&'static str> {
        let chunks = self.data_objects.len().saturating_add(self.manifest_objects.len());
        let leaves = chunks.saturating_add(self.parity.objects.len());
        let sorted = self.requires.iter().collect::<BTreeSet<_>>();
        if self.chunk_count as usize != chunks {
            return Some("chunk_count is not the number of objects listed");
        }
        if self.leaf_count != leaves as u64 {
            return Some("leaf_count is not the number of objects listed");
        }
        if self.manifest_objects.is_empty() {
            return Some("it lists no sealed-manifest object");
        }
        let parity = match self.parity.scheme.as_str() {
            NO_PARITY => 0,
            SCHEME => chunks.div_ceil(GROUP as usize),
            _ => return Some("its parity scheme is unknown"),
        };
        if self.parity.objects.len() != parity {
            return Some("its parity objects are not as many as its scheme makes");
        }
        if !sorted.iter().copied().eq(self.requires.iter()) || sorted.contains(&self.pack_uid) {
            return Some("requires is not a sorted list of other sealings");
        }
        if self.leaves().any(|object| object.object_len > MAX_OBJECT as u64) {
            return Some("an object is longer than the limit");
        }
        if self.root() != self.merkle_root {
            return Some("its Merkle root is not that of its objects");
        }
        None
    }

    /// Every object in Merkle order: data, sealed manifest, parity.
    pub fn leaves(&self) -> impl Iterator<Item = &ObjectRef> {
        self.data_objects.iter().chain(&self.manifest_objects).chain(&self.parity.objects)
    }

    fn root(&self) -> [u8; 32] {
        merkle::root(self.leaves().map(|object| object.object_blake3))
    }

    /// Data and manifest chunks with the place each must claim.
    pub fn chunks(&self) -> impl Iterator<Item = (Place, &ObjectRef)> {
        let kinds = std::iter::repeat_n(ChunkType::Data, self.data_objects.len())
            .chain(std::iter::repeat_n(ChunkType::Manifest, self.manifest_objects.len()));
        let objects = self.data_objects.iter().chain(&self.manifest_objects);
        (0u32..).zip(kinds.zip(objects)).map(|(index, (kind, object))| (self.place(kind, index), object))
    }

    /// The parity objects with the place each must claim.
    pub fn parity(&self) -> impl Iterator<Item = (Place, &ObjectRef)> {
        let count = u32::try_from(self.parity.objects.len()).unwrap_or(u32::MAX);
        let place = move |index| Place { count, ..self.place(ChunkType::Parity, index) };
        (0u32..).zip(&self.parity.objects).map(move |(group, object)| (place(group), object))
    }

    /// The parity group of a chunk: its number, which is the index of its parity object where the scheme has one, and the
    /// chunks in it.
    pub fn group_of(&self, chunk_index: u32) -> (u32, Range<u32>) {
        let group = chunk_index / GROUP;
        let begin = group.saturating_mul(GROUP);
        (group, begin..begin.saturating_add(GROUP).min(self.chunk_count))
    }

    /// The place of a chunk of this sealing.
    pub fn place(&self, kind: ChunkType, index: u32) -> Place {
        Place { kind, pack_uid: self.pack_uid, generation: self.generation, index, count: self.chunk_count }
    }
}
