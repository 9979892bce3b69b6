//! What can be wrong in a vault, and which of three people it is for.

use crate::seal::{Diagnosis, PackUid};
use serde::{Serialize, Serializer};
use std::fmt;

/// The three-way diagnosis. Each calls for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Intact, and the key at hand is not its key.
    WrongKey,
    /// The bytes are not those that were written, or are not there.
    StorageRot,
    /// Intact bytes that do not authenticate, or are not what their place calls for: software, or an attack.
    FailedAuthentication,
}

impl Class {
    /// The class of what is wrong with an object whose leaf was looked at.
    pub fn of(d: &Diagnosis) -> Self {
        match d {
            Diagnosis::Commitment => Self::WrongKey,
            Diagnosis::Missing | Diagnosis::Unreadable(_) | Diagnosis::Length { .. } | Diagnosis::Leaf => {
                Self::StorageRot
            }
            Diagnosis::Header(_) | Diagnosis::Aead | Diagnosis::Codec => Self::FailedAuthentication,
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongKey => "wrong key",
            Self::StorageRot => "storage rot",
            Self::FailedAuthentication => "FAILED AUTHENTICATION",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A sealing that is not there at all.
    Sealing(PackUid),
    /// A public record.
    Descriptor(PackUid),
    /// A wrapped key.
    Stanza(PackUid),
    /// The checksum beside it.
    Sum(PackUid),
    /// An object: its sealing, its leaf there, its name.
    Object(PackUid, u32, [u8; 32]),
    /// An object that no descriptor names.
    Orphan([u8; 32]),
    /// A file that has no business where it is: its path below the vault.
    Stray(String),
}

impl Subject {
    /// Where it is or would be, below the vault.
    pub fn path(&self) -> String {
        match self {
            Self::Sealing(u) | Self::Descriptor(u) => format!("descriptors/{}.json", hex::encode(u)),
            Self::Stanza(u) => format!("stanzas/{}.age", hex::encode(u)),
            Self::Sum(u) => format!("stanzas/{}.age.sha256", hex::encode(u)),
            Self::Object(_, _, h) | Self::Orphan(h) => object_name(h),
            Self::Stray(path) => path.clone(),
        }
    }

    /// The sealing that it belongs to.
    pub fn pack(&self) -> Option<PackUid> {
        match self {
            Self::Sealing(u) | Self::Descriptor(u) | Self::Stanza(u) | Self::Sum(u) | Self::Object(u, ..) => Some(*u),
            Self::Orphan(_) | Self::Stray(_) => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Sealing(_) => "sealing",
            Self::Descriptor(_) => "descriptor",
            Self::Stanza(_) => "stanza",
            Self::Sum(_) => "stanza sum",
            Self::Object(..) => "object",
            Self::Orphan(_) => "orphan",
            Self::Stray(_) => "stray file",
        }
    }
}

/// `chunks/<aa>/<hex>`.
pub fn object_name(hash: &[u8; 32]) -> String {
    let name = hex::encode(hash);
    format!("chunks/{}/{name}", name.get(..2).unwrap_or("00"))
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// About what.
    pub subject: Subject,
    /// What it amounts to; None: it is no damage, and worth knowing.
    pub class: Option<Class>,
    /// What is wrong and what to do.
    pub why: String,
    /// What is lost with it: files of packs (`<pack uid>/<path>`), known only with the key.
    pub files: Vec<String>,
}

impl Finding {
    /// Damage.
    pub fn bad(subject: Subject, class: Class, why: impl Into<String>) -> Self {
        Self { subject, class: Some(class), why: why.into(), files: Vec::new() }
    }

    /// Something worth knowing.
    pub fn notice(subject: Subject, why: impl Into<String>) -> Self {
        Self { subject, class: None, why: why.into(), files: Vec::new() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class.map_or("note", Class::name);
        write!(f, "{class}: {} {}: {}", self.subject.kind(), self.subject.path(), self.why)?;
        if let Subject::Object(pack, leaf, _) = &self.subject {
            write!(f, " (pack {}, leaf {leaf})", hex::encode(pack))?;
        }
        if !self.files.is_empty() {
            write!(f, "; holds {}", self.files.join(", "))?;
        }
        Ok(())
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            kind: &'static str,
            path: String,
            pack_uid: Option<String>,
            diagnosis: Option<Class>,
            why: &'a str,
            files: &'a [String],
        }
        let line = Line {
            kind: self.subject.kind(),
            path: self.subject.path(),
            pack_uid: self.subject.pack().map(hex::encode),
            diagnosis: self.class,
            why: &self.why,
            files: &self.files,
        };
        line.serialize(s)
    }
}
