//! Parity: one object for every group of chunk objects, from which a lost one of the group is made again.
//!
//! A shard is the XOR of the group's objects, each followed by zeros to the longest, rounded up to an even length. That is
//! what Reed–Solomon with one recovery shard gives (a test compares it with `reed-solomon-simd`), and it is summed object by
//! object in any order, so memory is one shard. It is a function of ciphertext and lies in the clear; BLAKE3, by which
//! it is named, guards it like any other object.

use super::chunk::{HEADER, Header, MAX_PAYLOAD, Place, TAIL, check_place};
use super::error::Diagnosis;

/// Chunk objects (data, then sealed manifest) that one parity object covers; the last group may be smaller.
pub const GROUP: u32 = 20;
/// The scheme's name in a descriptor.
pub const SCHEME: &str = "rs-20-1";

/// The parity of one group, summed up.
#[derive(Default)]
pub struct Shard {
    /// Room for the header, then the shard.
    bytes: Vec<u8>,
}

impl Shard {
    /// Of no objects yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of no objects yet, in the memory of what was a parity object.
    pub fn in_place_of(mut object: Vec<u8>) -> Self {
        object.clear();
        Self { bytes: object }
    }

    /// Adds an object of the group. The order does not matter; adding one twice takes it out again.
    pub fn add(&mut self, object: &[u8]) {
        if self.bytes.len() < HEADER {
            self.bytes.resize(HEADER, 0);
        }
        let have = self.bytes.len().saturating_sub(HEADER);
        let (shared, longer) = object.split_at_checked(have).unwrap_or((object, &[]));
        for (sum, byte) in self.bytes.iter_mut().skip(HEADER).zip(shared) {
            *sum ^= *byte;
        }
        // With what follows, so that the shard is never moved for its last few bytes.
        self.bytes.reserve_exact(longer.len().saturating_add(TAIL).saturating_add(1));
        self.bytes.extend_from_slice(longer);
        if !self.bytes.len().is_multiple_of(2) {
            self.bytes.push(0);
        }
    }

    /// The parity object at this place.
    ///
    /// # Errors
    /// The group's objects are longer than any of ours.
    pub fn into_object(mut self, place: &Place) -> Result<Vec<u8>, Diagnosis> {
        let len = self.bytes.len().saturating_sub(HEADER);
        if len == 0 || len > MAX_PAYLOAD {
            return Err(Diagnosis::Header("length beyond the limits"));
        }
        let head = Header::of_parity(place, len)?;
        for (to, from) in self.bytes.iter_mut().zip(head) {
            *to = from;
        }
        self.bytes.extend_from_slice(&[0; TAIL]);
        Ok(self.bytes)
    }
}

/// The one missing object of a group, `len` bytes long, from the group's parity object and all its other objects.
/// Whether it is the right one its BLAKE3 says. Nothing where these cannot be of one group.
pub fn rebuild<T: AsRef<[u8]>>(
    parity_object: &[u8],
    others: impl IntoIterator<Item = T>,
    len: usize,
) -> Option<Vec<u8>> {
    let header = Header::parse(parity_object).ok()?;
    check_place(parity_object, &Place { kind: super::chunk::ChunkType::Parity, ..header.place }).ok()?;
    let shard = parity_object.get(HEADER..)?.get(..header.payload_len as usize)?;
    let mut bytes = shard.to_vec();
    for other in others {
        let other = other.as_ref();
        if other.len() > bytes.len() {
            return None;
        }
        for (sum, byte) in bytes.iter_mut().zip(other) {
            *sum ^= *byte;
        }
    }
    let beyond = bytes.get(len..)?;
    if beyond.iter().any(|byte| *byte != 0) {
        return None;
    }
    bytes.truncate(len);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::chunk::ChunkType;
    use super::*;
    use proptest::prelude::*;

    fn place(index: u32, count: u32) -> Place {
        Place { kind: ChunkType::Parity, pack_uid: [7; 16], generation: 3, index, count }
    }

    fn object_of(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut shard = Shard::new();
        objects.iter().for_each(|object| shard.add(object));
        shard.into_object(&place(1, 2)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shard_is_the_recovery_shard_of_reed_solomon_and_gives_back_any_one_object(
            objects in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..700), 1..21),
            lost: proptest::sample::Index,
        ) {
            let parity = object_of(&objects);
            let longest = objects.iter().map(Vec::len).max().unwrap().next_multiple_of(2);
            let padded = objects.iter().map(|object| {
                let mut padded = object.clone();
                padded.resize(longest, 0);
                padded
            });
            let recovery = reed_solomon_simd::encode(objects.len(), 1, padded).unwrap();
            prop_assert_eq!(&parity[HEADER..HEADER + longest], recovery[0].as_slice());
            let header = check_place(&parity, &place(1, 2)).unwrap();
            prop_assert_eq!((header.plaintext_len, header.payload_len as usize), (0, longest));
            let mut others = objects.clone();
            let gone = others.remove(lost.index(objects.len()));
            prop_assert_eq!(rebuild(&parity, &others, gone.len()), Some(gone.clone()));
            let mut backwards = objects.clone();
            backwards.reverse();
            prop_assert_eq!(object_of(&backwards), parity);
        }
    }

    #[test]
    fn what_cannot_be_of_one_group_is_not_rebuilt() {
        let objects = [b"one object".to_vec(), b"another, longer one".to_vec()];
        let parity = object_of(&objects);
        assert_eq!(rebuild(&parity, [&objects[1]], 10).unwrap(), objects[0]);
        assert_eq!(rebuild(&parity, [&objects[0]], 10), None, "bytes beyond its end");
        assert_eq!(rebuild(&parity, [&objects[1]], 10_000), None);
        assert_eq!(rebuild(&parity, [vec![0; 500]], 10), None);
        for at in [0, 5, 6, 7, 40, 44, 48, 72, parity.len() - 1] {
            let mut bad = parity.clone();
            bad[at] ^= 1;
            assert_eq!(rebuild(&bad, [&objects[1]], 10), None, "byte {at}");
        }
        assert!(Shard::new().into_object(&place(0, 1)).is_err());
    }
}
