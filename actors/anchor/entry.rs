//! What stands in the log: a line of canonical JSON for each sealing.
//!
//! Nothing in it comes from plaintext: market data is guessable.

use super::AnchorError;
use crate::seal::canonical::{self, fixed_hex, fixed_hex_option};
use crate::seal::{Descriptor, ObjectRef, PackUid};
use datanode_schema::files::sha256_of;
use serde::{Deserialize, Serialize};

/// `type` of a sealing's entry.
pub const PACK: &str = "datanode-pack/v1";
/// `type` of a chunk's entry.
pub const CHUNK: &str = "datanode-chunk/v1";

/// The entry of a sealing, fields in the order of the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Merkle root of the sealing's objects.
    #[serde(with = "fixed_hex")]
    pub blake3_root: [u8; 32],
    /// SHA-256 of the descriptor's canonical text.
    #[serde(with = "fixed_hex")]
    pub descriptor_sha256: [u8; 32],
    /// Its generation.
    pub generation: u32,
    /// The sealing.
    #[serde(with = "fixed_hex")]
    pub pack_uid: PackUid,
    /// The sealing that it replaces.
    #[serde(with = "fixed_hex_option")]
    pub previous: Option<PackUid>,
    /// Bytes of all its objects.
    pub size: u64,
    /// [`PACK`].
    #[serde(rename = "type")]
    pub kind: String,
}

/// The entry of one object of a sealing, fields in the order of the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkEntry {
    /// Its leaf in the sealing's Merkle tree, from 0.
    pub index: u64,
    /// Its BLAKE3.
    #[serde(with = "fixed_hex")]
    pub object_blake3: [u8; 32],
    /// Bytes.
    pub object_len: u64,
    /// The sealing.
    #[serde(with = "fixed_hex")]
    pub pack_uid: PackUid,
    /// [`CHUNK`].
    #[serde(rename = "type")]
    pub kind: String,
}

impl Entry {
    /// The entry of a sealing.
    ///
    /// # Errors
    /// The descriptor does not encode: a bug.
    pub fn of(descriptor: &Descriptor, previous: Option<PackUid>) -> Result<Self, AnchorError> {
        Ok(Self {
            blake3_root: descriptor.merkle_root,
            descriptor_sha256: sha256_of(&descriptor.encode()?),
            generation: descriptor.generation,
            pack_uid: descriptor.pack_uid,
            previous,
            size: descriptor.leaves().map(|o| o.object_len).fold(0, u64::saturating_add),
            kind: PACK.to_owned(),
        })
    }

    /// The canonical text: what is hashed into the log.
    ///
    /// # Errors
    /// It does not encode: a bug.
    pub fn encode(&self) -> Result<Vec<u8>, AnchorError> {
        Ok(canonical::encode(self)?)
    }

    /// What a descriptor says otherwise than this entry, which is of the same sealing; None where they agree.
    ///
    /// # Errors
    /// The descriptor does not encode: a bug.
    pub fn disagreement(&self, descriptor: &Descriptor) -> Result<Option<&'static str>, AnchorError> {
        let told = Self::of(descriptor, self.previous)?;
        Ok(match () {
            () if told == *self => None,
            () if told.pack_uid != self.pack_uid => Some("is of another sealing"),
            () if told.generation != self.generation => Some("is of another generation than the one that was anchored"),
            () if told.blake3_root != self.blake3_root => Some("has another root than the one that was anchored"),
            () => Some("is not the descriptor that was anchored"),
        })
    }
}

/// The text of the entry of one object.
pub(super) fn chunk(pack_uid: PackUid, index: u64, object: &ObjectRef) -> Result<Vec<u8>, AnchorError> {
    let (object_blake3, object_len) = (object.object_blake3, object.object_len);
    Ok(canonical::encode(&ChunkEntry { index, object_blake3, object_len, pack_uid, kind: CHUNK.to_owned() })?)
}

/// The entry of a sealing, where a text of the log is one; what a newer version of this software entered is passed over.
///
/// # Errors
/// It says that it is one, and is not in the form of one.
pub(super) fn pack_of(what: &str, text: &[u8]) -> Result<Option<Entry>, AnchorError> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    match serde_json::from_slice::<Kind>(text) {
        Ok(k) if k.kind == PACK => Ok(Some(canonical::decode(what, text)?)),
        _ => Ok(None),
    }
}
