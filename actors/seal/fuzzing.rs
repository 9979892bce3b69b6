//! Ways in for fuzzing and its replay: what reads bytes from outside, with whatever must hold of what it makes of them. Not part of the product.

use super::aead::Backend;
use super::chunk::{self, ChunkKeys, ChunkType, Codec, Header, MAX_PLAINTEXT, Opener, Place, check_place};
use super::manifest::SealedManifest;
use super::{Descriptor, Identity, ObjectRef, PackKey, unwrap};

/// An object: its header, and opening it with a key that did not seal it.
pub fn chunk(object: &[u8]) {
    let Ok(header) = Header::parse(object) else { return };
    assert!(header.plaintext_len as usize <= MAX_PLAINTEXT && header.place.index < header.place.count);
    let sound = check_place(object, &header.place).is_ok();
    let Some(keys) = ChunkKeys::new(&PackKey::from_bytes([7; 32])) else { return };
    let (mut copy, mut unpacked) = (object.to_vec(), Vec::new());
    let opened = chunk::open(Backend::chosen(), &mut copy, &header.place, Opener::Pack(&keys), &mut unpacked);
    assert!(sound || opened.is_err(), "what does not fit its place was opened");
}

/// A payload that was sealed with the right key and says that it is zstd: it gives as many bytes as were authenticated, or none.
pub fn payload(bytes: &[u8]) {
    let Some((len, payload)) = bytes.split_first_chunk::<4>() else { return };
    let len = u32::from_le_bytes(*len) as usize % (MAX_PLAINTEXT + 1);
    let place = Place { kind: ChunkType::Data, pack_uid: [1; 16], generation: 0, index: 0, count: 2 };
    let Some(keys) = ChunkKeys::new(&PackKey::from_bytes([7; 32])) else { return };
    let (mut object, mut unpacked) = ([&[0; chunk::HEADER], payload, &[0; chunk::TAIL]].concat(), Vec::new());
    let sealed = chunk::assemble(Backend::chosen(), &keys, &place, Codec::Zstd, len, &mut object);
    if sealed.is_err() {
        return;
    }
    if let Ok(plain) = chunk::open(Backend::chosen(), &mut object, &place, Opener::Pack(&keys), &mut unpacked) {
        assert_eq!(plain.len(), len, "another length than was authenticated");
    }
}

/// A descriptor: what is taken has one spelling.
pub fn descriptor(text: &[u8]) {
    if let Ok(d) = Descriptor::decode("fuzz", text) {
        assert_eq!(d.encode().ok().as_deref(), Some(text), "two spellings of one descriptor");
        assert_eq!(d.chunks().count(), d.chunk_count as usize);
    }
}

/// The plaintext of a sealed manifest, with a descriptor that suits what it says: every range that it gives lies within its chunk, and files
/// are covered whole.
pub fn sealed_manifest(text: &[u8]) {
    let end = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    let Ok(said) = serde_json::from_slice::<SealedManifest>(text.get(..end).unwrap_or_default()) else { return };
    let object = ObjectRef { object_blake3: [1; 32], object_len: 200 };
    let objects = said.stream_bytes.checked_div(said.chunk_size).unwrap_or(0).min(64) + 1;
    let some = |n: u64| (0..n).map(|_| object.clone()).collect::<Vec<_>>();
    let requires = said.borrowed.iter().map(|b| b.pack_uid).collect();
    let count = said.stream_bytes.div_ceil(said.chunk_size.max(1)).min(objects);
    let made = Descriptor::new(said.pack_uid, said.generation, some(count), some(1), Vec::new(), requires);
    let Ok(descriptor) = made else { return };
    let Ok(manifest) = SealedManifest::decode_padded(text, &descriptor) else { return };
    let Ok(jobs) = manifest.jobs(&descriptor) else { return };
    let mut covered = vec![0u64; manifest.files.len()];
    for segment in jobs.iter().flat_map(|j| &j.segments) {
        assert!(segment.at.saturating_add(segment.len) <= MAX_PLAINTEXT, "a range outside of any chunk");
        if let Some(sum) = covered.get_mut(segment.file) {
            assert_eq!(*sum, segment.file_offset, "a file is not covered in order");
            *sum = sum.saturating_add(segment.len as u64);
        }
    }
    let mut lengths = manifest.files.iter().map(|f| f.length);
    assert!(covered.into_iter().all(|sum| lengths.next() == Some(sum)), "a file is not covered whole");
}

/// A stanza, with an identity that it may be for.
pub fn stanza(bytes: &[u8], identity: &Identity) {
    let _ = unwrap(bytes, identity);
}
