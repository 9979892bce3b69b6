//! The envelope around every value: what it is, whose it is, and whether it is still what was written.
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | magic `dn` |
//! | 2 | version of the envelope, 1 |
//! | 3 | version of the record's type |
//! | 4 | table id |
//! | 5 | flags, 0 |
//! | 6..8 | length of the payload, little-endian |
//! | 8..12 | crc32 over bytes 0..8, the key, the payload; little-endian |
//! | 12.. | payload: rkyv bytes, little-endian, unaligned, 32-bit pointers |
//!
//! rkyv's own check finds four flipped bits out of five only when they leave the type's rules; the crc finds all. With
//! the key inside it, a value that is found under another key is as bad as a damaged one.

/// Bytes before the payload.
pub(crate) const HEADER: usize = 12;
/// The largest value with its envelope: larger ones would leave sled's log for files that it never syncs.
pub(crate) const MAX_VALUE: usize = 4096;
/// The newest envelope that this build reads.
pub(crate) const VERSION: u8 = 1;
const MAGIC: [u8; 2] = *b"dn";

/// Why an envelope was not opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The envelope itself is of a newer kind.
    Newer(u8),
    /// It is damaged, or not the one of this key.
    Bad(&'static str),
}

/// An opened envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened<'a> {
    /// Version of the record's type.
    pub version: u8,
    /// The record's bytes.
    pub payload: &'a [u8],
}

/// Appends `payload` in an envelope. The caller has checked that both fit into [`MAX_VALUE`].
pub(crate) fn seal(out: &mut Vec<u8>, table: u8, version: u8, key: &[u8], payload: &[u8]) {
    let [l0, l1] = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_le_bytes();
    let header = [MAGIC[0], MAGIC[1], VERSION, version, table, 0, l0, l1];
    out.extend_from_slice(&header);
    out.extend_from_slice(&checksum(&header, key, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Checks the envelope that stands under `key` in `table`.
pub(crate) fn open<'a>(table: u8, key: &[u8], value: &'a [u8]) -> Result<Opened<'a>, Fault> {
    let Some((header, rest)) = value.split_first_chunk::<8>() else { return Err(Fault::Bad("it is too short")) };
    let Some((crc, payload)) = rest.split_first_chunk::<4>() else { return Err(Fault::Bad("it is too short")) };
    let [m0, m1, envelope, version, id, flags, l0, l1] = *header;
    if [m0, m1] != MAGIC {
        return Err(Fault::Bad("it does not begin with the envelope's magic"));
    }
    if envelope > VERSION {
        return Err(Fault::Newer(envelope));
    }
    if u32::from_le_bytes(*crc) != checksum(header, key, payload) {
        return Err(Fault::Bad("its checksum does not match"));
    }
    if id != table || flags != 0 || usize::from(u16::from_le_bytes([l0, l1])) != payload.len() {
        return Err(Fault::Bad("its header belongs to another record"));
    }
    Ok(Opened { version, payload })
}

fn checksum(header: &[u8; 8], key: &[u8], payload: &[u8]) -> u32 {
    let mut h = crc32fast::Hasher::new();
    h.update(header);
    h.update(key);
    h.update(payload);
    h.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_value_or_key_is_found() {
        let mut v = Vec::new();
        seal(&mut v, 7, 3, b"key", b"some payload");
        assert_eq!(open(7, b"key", &v), Ok(Opened { version: 3, payload: b"some payload" }));
        for bit in 0..v.len() * 8 {
            let mut w = v.clone();
            w[bit / 8] ^= 1 << (bit % 8);
            assert!(open(7, b"key", &w).is_err(), "bit {bit}");
        }
        assert!(open(7, b"kez", &v).is_err());
        assert!(open(8, b"key", &v).is_err());
        assert!(open(7, b"key", &v[..v.len() - 1]).is_err());
    }
}
