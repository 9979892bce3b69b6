//! Proofs of one sealing that need nothing of the node but its public key (c2sp.org/tlog-proof@v1), and proofs that the log only grew.

use super::checkpoint::Head;
use super::log::{Log, MAX_CHECKPOINT};
use super::{AnchorError, Entry};
use crate::seal::canonical::{self, fixed_hex_option};
use crate::seal::{Descriptor, PackUid};
use serde::{Deserialize, Serialize};
use tlog_tiles::Hash;

const HEADER: &str = "c2sp.org/tlog-proof@v1";
const GROWN: &str = "datanode-consistency/v1";
/// A path in a tree of 2^63 entries.
const MAX_HASHES: usize = 63;
/// A longer proof is refused, bytes.
pub const MAX_PROOF: u64 = MAX_CHECKPOINT + 8192;

/// What the entry of a sealing holds and its descriptor does not say.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    #[serde(with = "fixed_hex_option")]
    previous: Option<PackUid>,
}

/// A sealing's way to the root of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Where the sealing stands in the log.
    pub index: u64,
    /// The sealing that it replaces, as its entry says; only [`Proof::verify`] tells whether that is so.
    pub previous: Option<PackUid>,
    /// From the entry's neighbour upwards.
    pub hashes: Vec<[u8; 32]>,
    /// The signed checkpoint.
    pub checkpoint: Vec<u8>,
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Where the sealing stands in the log.
    pub index: u64,
    /// The checkpoint that covers it.
    pub head: Head,
    /// Its entry.
    pub entry: Entry,
}

impl Proof {
    /// The proof of a sealing at the newest checkpoint, from the tiles.
    ///
    /// # Errors
    /// Tiles are lacking or altered.
    pub fn make(log: &Log, note: &[u8], head: Head, index: u64, entry: &Entry) -> Result<Self, AnchorError> {
        let hashes = log.inclusion(head, index, &entry.encode()?)?;
        Ok(Self { index, previous: entry.previous, hashes, checkpoint: note.to_vec() })
    }

    /// The text of the file.
    ///
    /// # Errors
    /// It does not encode: a bug.
    pub fn encode(&self) -> Result<Vec<u8>, AnchorError> {
        let extra = base64(&canonical::encode(&Extra { previous: self.previous })?);
        let mut text = format!("{HEADER}\nextra {extra}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text += &format!("{}\n", Hash(*hash));
        }
        text.push('\n');
        Ok([text.as_bytes(), &self.checkpoint].concat())
    }

    /// Reads the text of a file; only the spelling of [`Proof::encode`] is taken.
    ///
    /// # Errors
    /// It is no proof of a sealing.
    pub fn decode(what: &str, bytes: &[u8]) -> Result<Self, AnchorError> {
        let proof = Self::parse(what, bytes).ok_or_else(|| AnchorError::integrity(what, NO_PROOF))?;
        if proof.encode()? != bytes {
            return Err(AnchorError::integrity(what, NO_PROOF));
        }
        Ok(proof)
    }

    fn parse(what: &str, bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() as u64 <= MAX_PROOF)?;
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let extra = lines.next().filter(|l| *l == HEADER).and(lines.next())?.strip_prefix("extra ")?;
        let Extra { previous } = canonical::decode(what, &of_base64(extra)?).ok()?;
        let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
        Some(Self { index, previous, hashes: hashes_of(lines)?, checkpoint: checkpoint.as_bytes().to_vec() })
    }

    /// Verifies that the sealing of this descriptor stands in the log whose public key this is.
    ///
    /// # Errors
    /// It does not: altered, another sealing's, another log's.
    pub fn verify(&self, what: &str, descriptor: &Descriptor, public: &str) -> Result<Proved, AnchorError> {
        let head = Head::verify(&format!("checkpoint of {what}"), &self.checkpoint, public)?;
        let entry = Entry::of(descriptor, self.previous)?;
        let leaf = tlog_tiles::record_hash(&entry.encode()?);
        let path = self.hashes.iter().map(|h| Hash(*h)).collect();
        tlog_tiles::check_record(&path, head.size, Hash(head.root), self.index, leaf).map_err(|_| {
            let why = format!(
                "does not prove sealing {} of this descriptor: one of the two was altered, or is another's; fetch both again",
                hex::encode(descriptor.pack_uid)
            );
            AnchorError::integrity(what, why)
        })?;
        Ok(Proved { index: self.index, head, entry })
    }
}

const NO_PROOF: &str =
    "is no proof of a sealing (c2sp.org/tlog-proof@v1) as this software writes them: altered; fetch it again";

/// The way from an older root of the log to a newer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Entries of the older log.
    pub old: u64,
    /// Entries of the newer one.
    pub new: u64,
    /// See RFC 6962 §2.1.2.
    pub hashes: Vec<[u8; 32]>,
}

impl Consistency {
    /// The proof that the log of `old` entries is the beginning of that of `head`.
    ///
    /// # Errors
    /// There were never so many entries; tiles are lacking or altered.
    pub fn make(log: &Log, head: Head, old: u64) -> Result<Self, AnchorError> {
        Ok(Self { old, new: head.size, hashes: log.consistency(head, old)? })
    }

    /// The text of a file: a header, both sizes, a hash a line.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{GROWN}\nold {}\nnew {}\n", self.old, self.new);
        for hash in &self.hashes {
            text += &format!("{}\n", Hash(*hash));
        }
        text.into_bytes()
    }

    /// Reads that text.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(what: &str, bytes: &[u8]) -> Result<Self, AnchorError> {
        let parse = || {
            let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() <= 8192)?;
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let old = lines.next().filter(|l| *l == GROWN).and(lines.next())?.strip_prefix("old ")?.parse().ok()?;
            let new = lines.next()?.strip_prefix("new ")?.parse().ok()?;
            Some(Self { old, new, hashes: hashes_of(lines)? })
        };
        let why =
            "is no proof of consistency (datanode-consistency/v1); make it again with `datanode anchor consistency`";
        parse().filter(|p| p.encode() == bytes).ok_or_else(|| AnchorError::integrity(what, why))
    }

    /// Verifies that the log of `old` is the beginning of that of `new`.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, old: Head, new: Head) -> Result<(), AnchorError> {
        let path = self.hashes.iter().map(|h| Hash(*h)).collect();
        let sizes = (self.old, self.new) == (old.size, new.size);
        let good = sizes && tlog_tiles::check_tree(&path, new.size, Hash(new.root), old.size, Hash(old.root)).is_ok();
        let what = || format!("the log of {} entries", new.size);
        let why = "did not grow from the older checkpoint: the log was rewritten, or one of them is another log's; keep both as evidence";
        if good { Ok(()) } else { Err(AnchorError::integrity(what(), why)) }
    }
}

fn hashes_of<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<[u8; 32]>> {
    let all: Vec<[u8; 32]> =
        lines.take(MAX_HASHES + 1).map(|l| Hash::parse_hash(l).ok().map(|h| h.0)).collect::<Option<_>>()?;
    (all.len() <= MAX_HASHES).then_some(all)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let all = (0..3).fold(0u32, |n, i| n << 8 | u32::from(three.get(i).copied().unwrap_or(0)));
        for i in 0..4usize {
            let six = (all >> (18 - 6 * i)) & 63;
            let letter = ALPHABET.get(six as usize).copied().unwrap_or(b'=');
            out.push(if i > three.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

fn of_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks(4) {
        let letters = four.iter().filter(|b| **b != b'=').count();
        let mut all = 0u32;
        for i in 0..4 {
            let at = match four.get(i).filter(|_| i < letters) {
                Some(b) => ALPHABET.iter().position(|a| a == b)?,
                None => 0,
            };
            all = all << 6 | u32::try_from(at).ok()?;
        }
        out.extend(all.to_be_bytes().iter().skip(1).take(letters.saturating_sub(1)));
    }
    (base64(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc_in_one_spelling() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), text);
            assert_eq!(of_base64(text).unwrap(), plain.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(of_base64(&base64(&all)).unwrap(), all);
        for bad in ["Zg", "Zh==", "Zm9=", "Zg= ", "Z===", "====", "Zm9v\n", "Zg==Zg==", "Zm-v"] {
            assert_eq!(of_base64(bad), None, "{bad:?}");
        }
    }
}
