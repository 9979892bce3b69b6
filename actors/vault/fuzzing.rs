//! Ways in for fuzzing and its replay: what the vault reads from outside. Not part of the product.

use super::beacon;
use super::challenge::Challenge;
use crate::seal::passphrase::decode_records;

/// The text of a beacon, and that of a challenge: each has one spelling.
pub fn beacon(bytes: &[u8]) {
    if let Ok(b) = beacon::parse(bytes) {
        assert_eq!(b.text().as_bytes(), bytes, "two spellings of one beacon");
        assert!(b.held.iter().all(|h| h.bitmap.len() as u64 == h.leaves.div_ceil(8)), "a bitmap of another length");
    }
    if let Ok(c) = Challenge::parse(bytes) {
        assert_eq!(c.text().as_bytes(), bytes, "two spellings of one challenge");
        let ends = |a: &super::challenge::Ask| a.offset.saturating_add(a.length.into()) <= a.object.object_len;
        assert!(c.asks.iter().all(ends), "a range outside of its object");
    }
}

/// What lies beside a stanza: the public part of passphrases.
pub fn records(bytes: &[u8]) {
    let _ = decode_records("fuzz", bytes);
}
