//! What an object is, once its bytes are known to hash to its name: the chunk of its place, of the right key, authentic.

use super::aead::{Backend, TAG};
use super::chunk::{self, ChunkKeys, ChunkType, HEADER, Header, Opener, Place};
use super::error::Diagnosis;

/// Whether an object that begins with `head` and has `len` bytes is the chunk of this place. No key is needed, nor its bytes.
pub(crate) fn judge_head(head: &[u8], len: u64, place: &Place) -> Result<(), Diagnosis> {
    let header = Header::parse(head)?;
    if header.place != *place {
        return Err(Diagnosis::Header("pack, generation, index, count or type is not that of this place"));
    }
    if len != (HEADER as u64).saturating_add(u64::from(header.payload_len)).saturating_add(TAG as u64) {
        return Err(Diagnosis::Header("length of the object is not that of its payload"));
    }
    Ok(())
}

/// The same with the key: commitment, tag and codec too. The object is opened in place; parity has nothing to open.
pub(crate) fn judge(
    object: &mut [u8],
    place: &Place,
    keys: &ChunkKeys,
    unpacked: &mut Vec<u8>,
) -> Result<(), Diagnosis> {
    if place.kind == ChunkType::Parity {
        return judge_head(object, object.len() as u64, place);
    }
    chunk::open(Backend::chosen(), object, place, Opener::Pack(keys), unpacked).map(|_| ())
}
