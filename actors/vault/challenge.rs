//! Challenges: questions that only who has the bytes can answer.
//!
//! A verifier needs nothing but descriptors to ask: which bytes of which objects, each with a nonce that nobody could know before. To check
//! the answers it needs those very bytes: a replica, or the sealings as they were shipped. Text of lines:
//!
//! ```text
//! datanode-challenge/v1
//! time <RFC 3339, UTC, whole seconds>
//! ask <nonce> <object> <object's length> <offset> <length>
//! ```

use super::Vault;
use super::beacon::{Answer, Beacon, MAX_ANSWERS, fixed, is_range, number, when};
use crate::seal::{Descriptor, ObjectRef, SealError, chunk::MAX_OBJECT};
use chrono::{DateTime, Utc};
use datanode_schema::clock::rfc3339;
use rand::TryRngCore;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FIRST: &str = "datanode-challenge/v1";
/// A longer text is no challenge, bytes.
pub const MAX_TEXT: usize = 256 * 1024;
/// Bytes that one question asks for, where the object has as many.
const RANGE: u64 = 4096;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Random; answers are matched by it.
    pub nonce: [u8; 16],
    /// The object.
    pub object: ObjectRef,
    /// Where in it, bytes.
    pub offset: u64,
    /// How many.
    pub length: u32,
}

/// A challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The questions.
    pub asks: Vec<Ask>,
}

impl Challenge {
    /// Questions about the objects of these descriptors. Without a seed they are drawn from the system's generator; the same seed gives the
    /// same questions, for whoever wants to show afterwards how they were drawn.
    ///
    /// # Errors
    /// There is nothing to ask about; no random numbers.
    pub fn new(of: &[Descriptor], count: usize, at: DateTime<Utc>, seed: Option<[u8; 32]>) -> Result<Self, SealError> {
        let leaves: Vec<&ObjectRef> = of.iter().flat_map(Descriptor::leaves).filter(|o| o.object_len > 0).collect();
        if leaves.is_empty() || count == 0 || count > MAX_ANSWERS {
            return Err(SealError::contract(
                "challenge",
                format!("asks about no object, or not 1 to {MAX_ANSWERS} questions"),
            ));
        }
        let mut key = Zeroizing::new(seed.unwrap_or_default());
        if seed.is_none() {
            let filled = rand::rngs::OsRng.try_fill_bytes(key.as_mut_slice());
            filled.map_err(|e| SealError::contract("random generator", format!("{e}; nothing was made")))?;
        }
        let mut draw = blake3::Hasher::new_keyed(&key).update(b"datanode-challenge/v1").finalize_xof();
        let mut below = |n: u64| {
            let mut bytes = [0u8; 16];
            draw.fill(&mut bytes);
            // 128 bits over at most 2^64: what is uneven about it is below 2^-64.
            u64::try_from(u128::from_le_bytes(bytes) % u128::from(n.max(1))).unwrap_or(0)
        };
        let mut asks = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(object) = leaves.get(below(leaves.len() as u64) as usize) else { continue };
            let length = RANGE.min(object.object_len);
            let offset = below(object.object_len.saturating_sub(length).saturating_add(1));
            let mut nonce = [0u8; 16];
            for byte in &mut nonce {
                *byte = u8::try_from(below(256)).unwrap_or(0);
            }
            let length = u32::try_from(length).unwrap_or(0);
            asks.push(Ask { nonce, object: (*object).clone(), offset, length });
        }
        Ok(Self { at, asks })
    }

    /// Its text.
    pub fn text(&self) -> String {
        let mut text = format!("{FIRST}\ntime {}\n", rfc3339(self.at));
        for a in &self.asks {
            let (nonce, object) = (hex::encode(a.nonce), hex::encode(a.object.object_blake3));
            text += &format!("ask {nonce} {object} {} {} {}\n", a.object.object_len, a.offset, a.length);
        }
        text
    }

    /// Parses a text; only the one that [`Challenge::text`] gives of it is taken.
    ///
    /// # Errors
    /// It is none, or beyond the limits.
    pub fn parse(text: &[u8]) -> Result<Self, SealError> {
        let bad = |why: &str| {
            SealError::contract("challenge", format!("{why}; make one with `datanode vault challenge new`"))
        };
        if text.len() > MAX_TEXT {
            return Err(bad("is longer than any"));
        }
        let text = std::str::from_utf8(text).map_err(|_| bad("is not UTF-8"))?;
        let challenge = lines(text).ok_or_else(|| bad("is not in the form of datanode-challenge/v1"))?;
        if challenge.text() != text {
            return Err(bad("is not in the one form that a challenge has"));
        }
        Ok(challenge)
    }
}

fn lines(text: &str) -> Option<Challenge> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != FIRST {
        return None;
    }
    let at = when(lines.next()?.strip_prefix("time ")?)?;
    let mut asks = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.strip_prefix("ask ")?.split(' ').collect();
        let [nonce, object, len, offset, length] = fields.as_slice() else { return None };
        let (object_len, offset, length) = (number(len)?, number(offset)?, number(length)?);
        let ends = offset.checked_add(length)?;
        if asks.len() >= MAX_ANSWERS || !is_range(offset, length) || object_len > MAX_OBJECT as u64 || ends > object_len
        {
            return None;
        }
        let object = ObjectRef { object_blake3: fixed(object)?, object_len };
        asks.push(Ask { nonce: fixed(nonce)?, object, offset, length: u32::try_from(length).ok()? });
    }
    (!asks.is_empty()).then_some(Challenge { at, asks })
}

fn hash(ask: &Ask, object: &[u8]) -> Option<[u8; 32]> {
    let from = usize::try_from(ask.offset).ok()?;
    let bytes = object.get(from..from.checked_add(ask.length as usize)?)?;
    Some(*blake3::Hasher::new().update(&ask.nonce).update(bytes).finalize().as_bytes())
}

/// The answers that this vault can give. An object is read whole and compared with its name: rot answers nothing.
pub(super) fn answers(vault: &Vault, challenge: &Challenge) -> Vec<Answer> {
    let mut object = Vec::new();
    let mut out = Vec::new();
    for ask in &challenge.asks {
        if vault.read_into(&ask.object.object_blake3, ask.object.object_len, &mut object).is_err() {
            continue;
        }
        if let Some(hash) = hash(ask, &object) {
            let (nonce, offset, length) = (ask.nonce, ask.offset, ask.length);
            out.push(Answer { nonce, object: ask.object.object_blake3, offset, length, hash });
        }
    }
    out
}

/// What checking answers found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Questions.
    pub asked: usize,
    /// Answers that are right: the bytes were compared.
    pub right: usize,
    /// Answers that are there, and whose bytes were not compared: the verifier has none.
    pub unchecked: usize,
    /// What is wrong, a line each.
    pub wrong: Vec<String>,
}

/// Whether a beacon answers a challenge. `objects` is where the verifier has the ciphertext: a vault, a sealing as it was shipped, or a folder
/// of such; without it only completeness and freshness can be checked. The beacon's signature is checked by whoever read it.
///
/// # Errors
/// None that a beacon or a challenge can cause.
pub fn check(challenge: &Challenge, beacon: &Beacon, objects: Option<&Path>) -> Result<Checked, SealError> {
    let mut found = Checked { asked: challenge.asks.len(), ..Checked::default() };
    if beacon.at < challenge.at {
        let why = format!("the answer is of {}, before the challenge of {}", rfc3339(beacon.at), rfc3339(challenge.at));
        found.wrong.push(why);
    }
    let given: BTreeMap<&[u8; 16], &Answer> = beacon.answers.iter().map(|a| (&a.nonce, a)).collect();
    let folders = objects.map(holders).transpose()?;
    for ask in &challenge.asks {
        let name = hex::encode(ask.object.object_blake3);
        let what = format!("object {name}, {} bytes at {}", ask.length, ask.offset);
        let fits =
            |a: &&&Answer| a.object == ask.object.object_blake3 && a.offset == ask.offset && a.length == ask.length;
        let Some(answer) = given.get(&ask.nonce).filter(fits) else {
            found.wrong.push(format!("{what}: no answer; the node does not have it, or it is damaged there"));
            continue;
        };
        let Some(folders) = &folders else {
            found.unchecked += 1;
            continue;
        };
        match own(folders, &name, ask) {
            None => found.wrong.push(format!("{what}: it cannot be compared, since it is not here whole")),
            Some(object) if hash(ask, &object) == Some(answer.hash) => found.right += 1,
            Some(_) => found.wrong.push(format!("{what}: the answer is not of these bytes")),
        }
    }
    Ok(found)
}

/// The folders in which the verifier's objects may lie.
fn holders(objects: &Path) -> Result<Vec<PathBuf>, SealError> {
    let mut folders = vec![objects.join("chunks")];
    for entry in std::fs::read_dir(objects).map_err(SealError::io("list", objects))? {
        let path = entry.map_err(SealError::io("list", objects))?.path().join("chunks");
        if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// The verifier's own copy, where it is what its name says.
fn own(folders: &[PathBuf], name: &str, ask: &Ask) -> Option<Vec<u8>> {
    let below = Path::new(name.get(..2)?).join(name);
    let whole = |path: PathBuf| {
        let meta = std::fs::symlink_metadata(&path).ok()?;
        let bytes = (meta.is_file() && meta.len() == ask.object.object_len).then(|| std::fs::read(&path).ok())??;
        (blake3::hash(&bytes) == ask.object.object_blake3).then_some(bytes)
    };
    folders.iter().find_map(|folder| whole(folder.join(&below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge() -> Challenge {
        let object = ObjectRef { object_blake3: [5; 32], object_len: 10_000 };
        let descriptor =
            Descriptor::new([1; 16], 0, vec![object.clone()], vec![object.clone()], vec![object], Vec::new()).unwrap();
        Challenge::new(&[descriptor], 5, "2026-03-05T23:00:00Z".parse().unwrap(), Some([1; 32])).unwrap()
    }

    #[test]
    fn the_same_seed_asks_the_same_and_a_challenge_has_one_text() {
        assert_eq!(challenge(), challenge());
        let text = challenge().text();
        assert_eq!(Challenge::parse(text.as_bytes()).unwrap(), challenge());
        let nonces: std::collections::BTreeSet<_> = challenge().asks.iter().map(|a| a.nonce).collect();
        assert_eq!(nonces.len(), 5);
        for (from, to) in
            [("v1", "v3"), (" 10000 ", " 100 "), (" 10000 ", " 010000 "), (" 10000 ", " 99999999 "), ("ask ", "ask  ")]
        {
            let bad = text.replacen(from, to, 1);
            assert!(bad != text && Challenge::parse(bad.as_bytes()).is_err(), "{to}");
        }
        assert!(Challenge::parse(b"datanode-challenge/v1\ntime 2026-03-05T23:00:00Z\n").is_err(), "no question");
    }
}
