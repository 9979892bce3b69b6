//! The beacon: what this node says that it holds, signed with the key of its log.
//!
//! A note (C2SP signed-note) of lines, each a word and its fields with one space between:
//!
//! ```text
//! datanode-beacon/v1
//! node <the log's name>
//! time <RFC 3339, UTC, whole seconds>
//! checkpoint <size> <root, base64>                            or: checkpoint none
//! scrubbed <when the last whole scrub ended>                  or: scrubbed never
//! sealings <how many the vault has>
//! sealing <uid> <Merkle root> <leaves> <bitmap, base64>       sorted by uid; bit i, counted from the lowest of the first byte: leaf i is here
//! answer <nonce> <object> <offset> <length> <BLAKE3 of nonce ‖ bytes>
//! ```
//!
//! Hashes, uids and nonces are lower-case hex. Who can compare (a replica, whoever the sealings were shipped to) makes a challenge and
//! checks the answers; see `challenge`. A bitmap alone is a claim: an object is held where a file of its length is there.

use super::base64;
use super::challenge::Challenge;
use super::{Vault, challenge};
use crate::anchor::{Head, LogKey, verify_note};
#[cfg(feature = "node")]
use crate::node::Node;
use crate::seal::{PackUid, SealError, chunk::MAX_OBJECT};
use chrono::{DateTime, Utc};
use datanode_schema::clock::rfc3339;
use std::path::Path;

const FIRST: &str = "datanode-beacon/v1";
/// A longer text is no beacon, bytes: notes end at 1,000,000.
pub const MAX_TEXT: usize = 990_000;
/// The longest note that is read, bytes.
pub const MAX_NOTE: u64 = 1_000_000;
/// The most leaves of a sealing that a beacon speaks of.
pub const MAX_LEAVES: u64 = 1 << 22;
/// The most answers in a beacon.
pub const MAX_ANSWERS: usize = 1024;
/// The most bytes that one answer is of.
pub const MAX_RANGE: u32 = 1 << 20;
/// What signatures and answers may take beside the sealings, bytes.
const SPARE: usize = 20_000;

/// A sealing, and which of its objects are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The sealing.
    pub uid: PackUid,
    /// Its Merkle root.
    pub root: [u8; 32],
    /// Its leaves.
    pub leaves: u64,
    /// Bit i, counted from the lowest of the first byte: leaf i.
    pub bitmap: Vec<u8>,
}

/// The answer to one question of a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the question.
    pub nonce: [u8; 16],
    /// The object's BLAKE3.
    pub object: [u8; 32],
    /// Where in the object, bytes.
    pub offset: u64,
    /// How many.
    pub length: u32,
    /// BLAKE3 of nonce ‖ bytes.
    pub hash: [u8; 32],
}

/// What a beacon says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The name of the node's log.
    pub node: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The newest checkpoint; None: the log is empty.
    pub checkpoint: Option<Head>,
    /// When the last whole scrub ended.
    pub scrubbed_at: Option<DateTime<Utc>>,
    /// Sealings that the vault has; the list may end earlier, where a note has no more room.
    pub sealings: u64,
    /// They, sorted by uid.
    pub held: Vec<Held>,
    /// Answers to a challenge.
    pub answers: Vec<Answer>,
}

impl Held {
    /// Leaves that are here.
    pub fn count(&self) -> u64 {
        self.bitmap.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }
}

impl Beacon {
    /// Its text, which is what is signed.
    pub fn text(&self) -> String {
        let mut lines = vec![FIRST.to_owned(), format!("node {}", self.node), format!("time {}", rfc3339(self.at))];
        lines.push(match &self.checkpoint {
            Some(head) => format!("checkpoint {} {}", head.size, base64::encode(&head.root)),
            None => "checkpoint none".to_owned(),
        });
        lines.push(format!("scrubbed {}", self.scrubbed_at.map_or_else(|| "never".to_owned(), rfc3339)));
        lines.push(format!("sealings {}", self.sealings));
        lines.extend(self.held.iter().map(line_of));
        for a in &self.answers {
            let (nonce, object, hash) = (hex::encode(a.nonce), hex::encode(a.object), hex::encode(a.hash));
            lines.push(format!("answer {nonce} {object} {} {} {hash}", a.offset, a.length));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Reads a note that the log key `public` has signed.
    ///
    /// # Errors
    /// It is not signed by it, or is no beacon.
    pub fn read(what: &str, note: &[u8], public: &str) -> Result<Self, SealError> {
        let text = verify_note(what, note, public).map_err(|e| SealError::integrity(what, e.to_string()))?;
        let beacon = parse(text.as_bytes())?;
        let name = public.split('+').next().unwrap_or_default();
        if beacon.node != name {
            return Err(SealError::integrity(what, format!("is of {:?}, and signed by {name:?}", beacon.node)));
        }
        Ok(beacon)
    }
}

fn line_of(h: &Held) -> String {
    format!("sealing {} {} {} {}", hex::encode(h.uid), hex::encode(h.root), h.leaves, base64::encode(&h.bitmap))
}

/// Parses the text of a beacon. Only the one text that [`Beacon::text`] gives of it is taken; nothing longer than the text is allocated.
///
/// # Errors
/// It is none, or beyond the limits.
pub fn parse(text: &[u8]) -> Result<Beacon, SealError> {
    let bad = |why: String| SealError::contract("beacon", format!("{why}; it was made by other software, or altered"));
    if text.len() > MAX_TEXT {
        return Err(bad(format!("is longer than {MAX_TEXT} bytes")));
    }
    let text = std::str::from_utf8(text).map_err(|_| bad("is not UTF-8".to_owned()))?;
    let beacon = lines(text).ok_or_else(|| bad("is not in the form of datanode-beacon/v1".to_owned()))?;
    if beacon.text() != text {
        return Err(bad("is not in the one form that a beacon has".to_owned()));
    }
    Ok(beacon)
}

fn lines(text: &str) -> Option<Beacon> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != FIRST {
        return None;
    }
    let node = lines.next()?.strip_prefix("node ").filter(|name| is_name(name))?.to_owned();
    let at = when(lines.next()?.strip_prefix("time ")?)?;
    let checkpoint = match lines.next()?.strip_prefix("checkpoint ")? {
        "none" => None,
        line => {
            let (size, root) = line.split_once(' ')?;
            Some(Head { size: number(size)?, root: base64::decode(root)?.try_into().ok()? })
        }
    };
    let scrubbed_at = match lines.next()?.strip_prefix("scrubbed ")? {
        "never" => None,
        time => Some(when(time)?),
    };
    let sealings = number(lines.next()?.strip_prefix("sealings ")?)?;
    let (mut held, mut answers): (Vec<Held>, Vec<Answer>) = (Vec::new(), Vec::new());
    for line in lines {
        if let Some(line) = line.strip_prefix("sealing ") {
            let one = held_of(line)?;
            if !answers.is_empty() || held.last().is_some_and(|last| last.uid >= one.uid) {
                return None;
            }
            held.push(one);
        } else {
            let one = answer_of(line.strip_prefix("answer ")?)?;
            if answers.len() >= MAX_ANSWERS {
                return None;
            }
            answers.push(one);
        }
    }
    (held.len() as u64 <= sealings).then_some(Beacon { node, at, checkpoint, scrubbed_at, sealings, held, answers })
}

/// Whether a log may be called so (C2SP signed-note).
fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && name.chars().count() <= 200 && !name.chars().any(odd)
}

fn held_of(line: &str) -> Option<Held> {
    let mut fields = line.split(' ');
    let (uid, root) = (fixed(fields.next()?)?, fixed(fields.next()?)?);
    let leaves = number(fields.next()?)?;
    let bitmap = base64::decode(fields.next()?)?;
    if fields.next().is_some() || leaves > MAX_LEAVES || bitmap.len() as u64 != leaves.div_ceil(8) {
        return None;
    }
    let spare = (8 - leaves % 8) % 8;
    let is_clear = bitmap.last().is_none_or(|last| u32::from(*last) >> (8 - spare) == 0);
    is_clear.then_some(Held { uid, root, leaves, bitmap })
}

fn answer_of(line: &str) -> Option<Answer> {
    let mut fields = line.split(' ');
    let (nonce, object) = (fixed(fields.next()?)?, fixed(fields.next()?)?);
    let (offset, length) = (number(fields.next()?)?, number(fields.next()?)?);
    let hash = fixed(fields.next()?)?;
    if fields.next().is_some() || !is_range(offset, length) {
        return None;
    }
    Some(Answer { nonce, object, offset, length: u32::try_from(length).ok()?, hash })
}

/// Whether so many bytes at `offset` may be asked for.
pub(super) fn is_range(offset: u64, length: u64) -> bool {
    let ends = offset.checked_add(length);
    length > 0 && length <= u64::from(MAX_RANGE) && ends.is_some_and(|end| end <= MAX_OBJECT as u64)
}

/// Fixed-size bytes in lower-case hex.
pub(super) fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

/// A decimal number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// A time, to the second.
pub(super) fn when(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc)).filter(|t| rfc3339(*t) == text)
}

/// Who makes a beacon, and of what.
#[derive(Clone, Copy)]
pub struct Maker<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// The log's key.
    pub log: &'a LogKey,
    /// The log.
    pub anchors: &'a Path,
    /// Now.
    pub at: DateTime<Utc>,
    /// When the last whole scrub ended.
    pub scrubbed_at: Option<DateTime<Utc>>,
}

impl Maker<'_> {
    /// A signed beacon, with answers to a challenge where there is one. What a challenge asks for and is not here, or is damaged, has none.
    ///
    /// # Errors
    /// The log does not verify, a descriptor cannot be read, or the text cannot be signed.
    pub fn make(&self, challenge: Option<&Challenge>) -> Result<Vec<u8>, SealError> {
        let of_log = |e: crate::anchor::AnchorError| SealError::integrity("anchor log", e.to_string());
        let uids = self.vault.descriptors()?;
        let mut beacon = Beacon {
            node: self.log.name().to_owned(),
            at: self.at,
            checkpoint: crate::anchor::head(self.anchors, self.log.public()).map_err(of_log)?,
            scrubbed_at: self.scrubbed_at,
            sealings: uids.len() as u64,
            held: Vec::new(),
            answers: challenge.map(|c| challenge::answers(self.vault, c)).unwrap_or_default(),
        };
        let mut size = beacon.text().len().saturating_add(SPARE);
        for uid in uids {
            // One that is damaged is not held, and is no reason to say nothing of the others.
            let Ok(held) = self.held(uid) else { continue };
            size = size.saturating_add(line_of(&held).len() + 1);
            if size > MAX_TEXT {
                tracing::warn!(
                    listed = beacon.held.len(),
                    of = beacon.sealings,
                    "a beacon has no room for all sealings"
                );
                break;
            }
            beacon.held.push(held);
        }
        self.log.sign(&beacon.text()).map_err(of_log)
    }

    fn held(&self, uid: PackUid) -> Result<Held, SealError> {
        let descriptor = self.vault.descriptor(&uid)?;
        let mut bitmap = vec![0u8; descriptor.leaf_count.div_ceil(8) as usize];
        for (i, leaf) in descriptor.leaves().enumerate() {
            if self.vault.presence(&leaf.object_blake3, leaf.object_len).is_ok()
                && let Some(byte) = bitmap.get_mut(i / 8)
            {
                *byte |= 1 << (i % 8);
            }
        }
        Ok(Held { uid, root: descriptor.merkle_root, leaves: descriptor.leaf_count, bitmap })
    }
}

/// Where the newest beacon of a node is: `anchors/beacon`.
pub fn path(anchors: &Path) -> std::path::PathBuf {
    anchors.join("beacon")
}

/// What the newest beacon of this node said of the last scrub; None where there is none, or it is not to be believed.
pub fn said_of_scrub(anchors: &Path, public: &str) -> Option<DateTime<Utc>> {
    let file = std::fs::File::open(path(anchors)).ok()?;
    let mut note = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_NOTE), &mut note).ok()?;
    Beacon::read("the beacon", &note, public).ok()?.scrubbed_at
}

#[cfg(feature = "node")]
/// Writes the beacon of a node, `anchors/beacon`; at every moment it is a whole one. `scrubbed_at` is when the last whole scrub ended.
///
/// # Errors
/// As [`Maker::make`]; it cannot be written.
pub fn publish(node: &Node, scrubbed_at: Option<DateTime<Utc>>) -> Result<(), SealError> {
    let vault = Vault::open(&node.data.vault())?;
    let anchors = node.data.anchors();
    let log = &node.publishing.anchor.key;
    let note = Maker { vault: &vault, log, anchors: &anchors, at: node.clock.now(), scrubbed_at }.make(None)?;
    let to = path(&anchors);
    datanode_schema::files::replace(&to, &note).map_err(SealError::io("write", &to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn beacon() -> Beacon {
        let at = "2026-03-05T23:00:00Z".parse().unwrap();
        let held =
            |n: u8, leaves: u64, bitmap: &[u8]| Held { uid: [n; 16], root: [n; 32], leaves, bitmap: bitmap.to_vec() };
        Beacon {
            node: "pi.lan/datanode".to_owned(),
            at,
            checkpoint: Some(Head { size: 7, root: [9; 32] }),
            scrubbed_at: Some(at),
            sealings: 3,
            held: vec![held(1, 9, &[0xff, 1]), held(2, 8, &[0x7f])],
            answers: vec![Answer { nonce: [3; 16], object: [4; 32], offset: 5, length: 6, hash: [7; 32] }],
        }
    }

    #[test]
    fn a_beacon_is_read_back_as_it_was_written_and_in_no_other_form() {
        let text = beacon().text();
        assert_eq!(parse(text.as_bytes()).unwrap(), beacon());
        let none = Beacon { checkpoint: None, scrubbed_at: None, held: vec![], answers: vec![], ..beacon() };
        assert_eq!(parse(none.text().as_bytes()).unwrap(), none);
        for (from, to) in [
            ("v1", "v2"),
            ("node ", "node  "),
            ("23:00:00Z", "23:00:00+00:00"),
            ("checkpoint 7", "checkpoint +7"),
            ("checkpoint 7", "checkpoint 07"),
            ("sealings 3", "sealings 1"),
            (" 9 /wE=", " 9 /wM="),
            (" 9 /wE=", " 17 /wE="),
            (" 5 6 ", " 5 0 "),
            (" 5 6 ", " 17000000 6 "),
            (" 5 6 ", " 18446744073709551615 6 "),
            ("answer", "anwser"),
            ("0404", "0A0A"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text, "{from}");
            assert!(parse(bad.as_bytes()).is_err(), "{to}");
        }
        let mut lines: Vec<&str> = text.lines().collect();
        lines.swap(6, 7);
        assert!(parse(format!("{}\n", lines.join("\n")).as_bytes()).is_err(), "sealings out of order");
        assert!(parse(text.trim_end().as_bytes()).is_err(), "no newline at the end");
        assert!(parse(&vec![b'a'; MAX_TEXT + 1]).is_err());
        assert_eq!(beacon().held[0].count(), 9);
    }

    proptest! {
        #[test]
        fn no_altered_byte_is_read_as_the_same_beacon(at: prop::sample::Index, flip in 1u8..=255) {
            let text = beacon().text().into_bytes();
            let mut bad = text.clone();
            let at = at.index(bad.len());
            bad[at] ^= flip;
            prop_assert_ne!(parse(&bad).ok(), Some(beacon()));
        }
    }
}
