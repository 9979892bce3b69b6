//! The public record of a generation: canonical JSON, so that one text says one thing.

use super::{BackupError, FILES, KEYS, PREFIX, STATE};
use crate::seal::canonical::{decode, encode};
use crate::seal::passphrase::MAX_RECORDS;
use crate::seal::{PassphraseRecord, Recipient};
use chrono::{DateTime, NaiveDateTime, Utc};
use datanode_schema::clock::compact;
use serde::{Deserialize, Serialize};

/// What this build writes and reads.
pub const FORMAT: u64 = 1;
/// A longer one is not ours.
pub const MAX_MANIFEST: u64 = 256 << 10;

/// One part; fields in the order of the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its length, bytes.
    pub bytes: u64,
    /// Its name below the generation.
    pub name: String,
    /// Hex SHA-256 of it, as it lies there.
    pub sha256: String,
}

/// A generation; fields in the order of the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The last commit that the state holds.
    pub commit: u64,
    /// When it was begun, RFC 3339.
    pub created_at: String,
    /// [`FORMAT`].
    pub format: u64,
    /// `node.host_id`.
    pub host_id: String,
    /// The parts, in the order in which they were made.
    pub parts: Vec<Part>,
    /// What is public of the passphrases that open it.
    pub passphrases: Vec<PassphraseRecord>,
    /// Who can open it; the node's own key first.
    pub recipients: Vec<String>,
    /// Records of the state.
    pub records: u64,
    /// `node.source`.
    pub source: String,
    /// Hex of the state's sum (128 bits).
    pub sum: String,
    /// Version of the build that made it.
    pub version: String,
}

impl Manifest {
    /// Its text.
    ///
    /// # Errors
    /// None that can happen.
    pub fn encode(&self) -> Result<Vec<u8>, BackupError> {
        Ok(encode(self)?)
    }

    /// Reads what a bucket gave for `generation`, and checks everything that is relied on.
    ///
    /// # Errors
    /// A newer format, or no manifest.
    pub fn decode(generation: &str, text: &[u8]) -> Result<Self, BackupError> {
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let bad = |why: &str| BackupError::damaged(format!("{generation}/manifest.json"), why);
        let Format { format } = serde_json::from_slice(text).map_err(|_| bad("is no manifest"))?;
        if format > FORMAT {
            return Err(BackupError::Newer { generation: generation.to_owned(), found: format, known: FORMAT });
        }
        let m: Self = decode(&format!("{generation}/manifest.json"), text)?;
        let sum =
            |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let names: Vec<&str> = m.parts.iter().map(|p| p.name.as_str()).collect();
        if names != [STATE, FILES, KEYS] || !m.parts.iter().all(|p| sum(&p.sha256, 64)) || !sum(&m.sum, 32) {
            return Err(bad("names other parts than state, files and keys, or no sums"));
        }
        let known = m.recipients.len() <= 1024 && m.recipients.iter().all(|r| r.parse::<Recipient>().is_ok());
        if m.passphrases.len() > MAX_RECORDS || !known {
            return Err(bad("names recipients that are none"));
        }
        // What the records of passphrases ask for is bounded where records are read.
        crate::seal::passphrase::decode_records(
            "passphrases",
            &crate::seal::passphrase::encode_records(&m.passphrases)?,
        )?;
        Ok(m)
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |n, p| n.saturating_add(p.bytes))
    }

    /// How many can open it besides whoever has the node's own key.
    pub fn others(&self) -> u64 {
        self.recipients.len().saturating_sub(1) as u64
    }
}

/// The name of a generation that is begun at `at`.
pub fn name_of(at: DateTime<Utc>) -> String {
    format!("{PREFIX}{}", compact(at))
}

/// When a generation was begun, by its name; None for what is none.
pub fn stamp_of(name: &str) -> Option<DateTime<Utc>> {
    let at = NaiveDateTime::parse_from_str(name.strip_prefix(PREFIX)?, "%Y%m%dT%H%M%SZ").ok()?.and_utc();
    // chrono reads more forms than one.
    (name_of(at) == name).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let part = |name: &str| Part { bytes: 1, name: name.into(), sha256: "0".repeat(64) };
        Manifest {
            commit: 7,
            created_at: "2026-03-02T23:00:00Z".into(),
            format: FORMAT,
            host_id: "h".into(),
            parts: [STATE, FILES, KEYS].map(part).to_vec(),
            passphrases: Vec::new(),
            recipients: vec![crate::seal::Identity::generate().to_public().to_string()],
            records: 3,
            source: "datanode".into(),
            sum: "a".repeat(32),
            version: "0".into(),
        }
    }

    #[test]
    fn a_manifest_comes_back_a_newer_one_is_named_and_an_altered_one_refused() {
        let m = manifest();
        let text = m.encode().unwrap();
        assert_eq!(Manifest::decode("backup_x", &text).unwrap(), m);
        let newer = String::from_utf8(text.clone()).unwrap().replace("\"format\":1", "\"format\":2,\"new\":0");
        let e = Manifest::decode("backup_x", newer.as_bytes()).unwrap_err();
        assert!(matches!(e, BackupError::Newer { found: 2, known: 1, .. }), "{e}");
        let parted = String::from_utf8(text).unwrap().replace("files.tar", "../files.tar");
        assert!(Manifest::decode("backup_x", parted.as_bytes()).is_err());
    }

    #[test]
    fn only_what_is_named_as_a_generation_is_one() {
        let at = "2026-03-02T23:00:00Z".parse().unwrap();
        assert_eq!(stamp_of(&name_of(at)), Some(at));
        for other in ["backup_", "backup_20260302T230000", "backup_2026032T230000Z", "backups", "x_20260302T230000Z"] {
            assert_eq!(stamp_of(other), None, "{other}");
        }
    }
}
