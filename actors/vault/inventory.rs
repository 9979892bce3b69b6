//! What a vault should hold: its descriptors, and every object that any of them names.

use super::finding::{Class, Finding, Subject};
use super::{Removed, Vault};
use crate::seal::chunk::{ChunkType, Place};
use crate::seal::{Descriptor, Kind, PackUid, SealError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What the anchor log says of a sealing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its generation.
    pub generation: u32,
    /// Its Merkle root.
    pub root: [u8; 32],
    /// SHA-256 of its descriptor.
    pub descriptor_sha256: [u8; 32],
}

/// What the anchor log knows; empty where there is none.
pub type Log = BTreeMap<PackUid, Logged>;

/// What the log in this folder knows; with its public key, where its newest checkpoint is signed by it. One that cannot be read, or has
/// lost its checkpoint, is no reason to look at nothing: it is told, and counts for nothing.
pub fn log_of(anchors: &Path, public: Option<&str>) -> (Log, Option<String>) {
    let of = |e: crate::anchor::Entry| {
        let (generation, root, descriptor_sha256) = (e.generation, e.blake3_root, e.descriptor_sha256);
        (e.pack_uid, Logged { generation, root, descriptor_sha256 })
    };
    let log = crate::anchor::Log::at(anchors);
    let signed = public.map_or(Ok(None), |key| log.head(key));
    match signed.and_then(|_| crate::anchor::book(anchors)) {
        Ok(book) if book.is_empty() && anchors.join("tile").is_dir() && !log.checkpoint_path().exists() => {
            let what = log.checkpoint_path().display().to_string();
            (Log::new(), Some(format!("{what} is gone; bring it back from the replica, a bucket or a backup")))
        }
        Ok(book) => (book.into_values().map(|(_, e)| of(e)).collect(), None),
        Err(e) => (Log::new(), Some(e.to_string())),
    }
}

/// An object that a descriptor names.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name.
    pub hash: [u8; 32],
    /// Its length.
    pub len: u64,
    /// Index of the descriptor.
    pub pack: u32,
    /// Index among the descriptor's leaves.
    pub leaf: u32,
}

/// What should be there, and what is wrong with the records that say so.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Descriptors that can be read, by uid.
    pub descriptors: Vec<Descriptor>,
    /// The objects that they name, by name. One that several name comes several times.
    pub named: Vec<Named>,
    /// Sealings that retention let go, and when.
    pub removed: Removed,
    /// What is wrong with descriptors.
    pub findings: Vec<Finding>,
}

impl Inventory {
    /// Reads every descriptor; what cannot be read is a finding.
    ///
    /// # Errors
    /// The system's.
    pub fn read(vault: &Vault, log: &Log) -> Result<Self, SealError> {
        let mut inv = Self { removed: vault.removed()?, ..Self::default() };
        for uid in inv.list(vault)? {
            match vault.descriptor(&uid) {
                Ok(d) => {
                    if let Some(why) = log.get(&uid).and_then(|l| contradiction(&d, l)) {
                        // The same root names the same objects: then it is a digit that rotted. Another root is another sealing.
                        let same =
                            log.get(&uid).is_some_and(|l| (l.root, l.generation) == (d.merkle_root, d.generation));
                        let class = if same { Class::StorageRot } else { Class::FailedAuthentication };
                        inv.findings.push(Finding::bad(Subject::Descriptor(uid), class, why));
                    }
                    inv.descriptors.push(d);
                }
                // Retention may have let it go since the folder was listed.
                Err(SealError::NotFound { .. }) => {}
                Err(e) if e.kind() == Kind::Io => return Err(e),
                Err(e) => inv.findings.push(Finding::bad(Subject::Descriptor(uid), Class::StorageRot, e.to_string())),
            }
        }
        inv.absent(log);
        inv.name_all();
        Ok(inv)
    }

    /// The uids of the descriptors' names; other names are findings.
    fn list(&mut self, vault: &Vault) -> Result<Vec<PackUid>, SealError> {
        let (mut uids, mut strays) = (BTreeSet::new(), Vec::new());
        for folder in std::iter::once(vault.root()).chain(vault.siblings().map(Path::new)) {
            for name in names(&folder.join("descriptors"))? {
                let mut uid = PackUid::default();
                let stem = name.strip_suffix(".json").filter(|s| s.bytes().all(|b| !b.is_ascii_uppercase()));
                match stem.map(|s| hex::decode_to_slice(s, &mut uid)) {
                    Some(Ok(())) => _ = uids.insert(uid),
                    _ => strays.push(name),
                }
            }
        }
        for name in strays {
            let why = "is no descriptor (<32 hex digits>.json): nothing is collected while it is there; move it out of the vault";
            let subject = Subject::Stray(format!("descriptors/{name}"));
            self.findings.push(Finding::bad(subject, Class::StorageRot, why));
        }
        Ok(uids.into_iter().collect())
    }

    /// Sealings that the log or another sealing knows, and that are not there.
    fn absent(&mut self, log: &Log) {
        let bad: BTreeSet<PackUid> = self.findings.iter().filter_map(|f| f.subject.pack()).collect();
        let have: BTreeSet<PackUid> = self.descriptors.iter().map(|d| d.pack_uid).chain(bad.iter().copied()).collect();
        let gone = |u: &&PackUid| !have.contains(*u) && !self.removed.contains_key(*u);
        let by_log = "the anchor log knows it, retention did not let it go, and its descriptor is not here: fetch it from a replica";
        let mut missing: BTreeMap<PackUid, String> = log.keys().filter(gone).map(|u| (*u, by_log.to_owned())).collect();
        // What a damaged one requires nobody knows.
        for d in self.descriptors.iter().filter(|d| !bad.contains(&d.pack_uid)) {
            for u in d.requires.iter().filter(|u| !have.contains(*u)) {
                let why = format!(
                    "pack {} builds on it, and its descriptor is not here: fetch it from a replica",
                    hex::encode(d.pack_uid)
                );
                missing.entry(*u).or_insert(why);
            }
        }
        for (uid, why) in missing {
            self.findings.push(Finding::bad(Subject::Sealing(uid), Class::StorageRot, why));
        }
    }

    fn name_all(&mut self) {
        for (pack, d) in (0u32..).zip(&self.descriptors) {
            let of = |(leaf, o): (u32, &crate::seal::ObjectRef)| Named {
                hash: o.object_blake3,
                len: o.object_len,
                pack,
                leaf,
            };
            self.named.extend((0u32..).zip(d.leaves()).map(of));
        }
        self.named.sort_unstable_by_key(|n| (n.hash, n.pack, n.leaf));
    }

    /// The descriptor that names it.
    pub fn descriptor(&self, n: &Named) -> Option<&Descriptor> {
        self.descriptors.get(n.pack as usize)
    }

    /// The descriptor of a sealing.
    pub fn of(&self, uid: &PackUid) -> Option<&Descriptor> {
        let at = self.descriptors.binary_search_by_key(uid, |d| d.pack_uid).ok()?;
        self.descriptors.get(at)
    }

    /// The place that the object must claim.
    pub fn place(&self, n: &Named) -> Option<Place> {
        place_of_leaf(self.descriptor(n)?, n.leaf)
    }

    /// What a finding about it is about.
    pub fn subject(&self, n: &Named) -> Subject {
        Subject::Object(self.descriptor(n).map(|d| d.pack_uid).unwrap_or_default(), n.leaf, n.hash)
    }

    /// Whether any descriptor names it.
    pub fn names(&self, hash: &[u8; 32]) -> bool {
        self.named.binary_search_by(|n| n.hash.cmp(hash)).is_ok()
    }

    /// The names, each once, as ranges of `named`.
    pub fn groups(&self) -> Vec<&[Named]> {
        self.named.chunk_by(|a, b| a.hash == b.hash).collect()
    }
}

/// The place of a leaf: data, sealed manifest, parity.
pub fn place_of_leaf(d: &Descriptor, leaf: u32) -> Option<Place> {
    if let Some(group) = leaf.checked_sub(d.chunk_count) {
        let count = u32::try_from(d.parity.objects.len()).ok()?;
        let (pack_uid, generation) = (d.pack_uid, d.generation);
        return Some(Place { kind: ChunkType::Parity, pack_uid, generation, index: group, count });
    }
    let kind = if (leaf as usize) < d.data_objects.len() { ChunkType::Data } else { ChunkType::Manifest };
    Some(d.place(kind, leaf))
}

/// What the log says otherwise of a descriptor.
pub(super) fn contradiction(d: &Descriptor, l: &Logged) -> Option<&'static str> {
    use sha2::{Digest, Sha256};
    let sum = d.encode().ok().map(|t| Sha256::digest(&t));
    if d.generation != l.generation {
        return Some(
            "the anchor log has another generation of it: an older one was put in its place; fetch it from a replica",
        );
    }
    if d.merkle_root != l.root || sum.is_none_or(|s| s.as_slice() != l.descriptor_sha256) {
        return Some("it is not the descriptor that the anchor log knows: fetch that from a replica");
    }
    None
}

/// The names in a folder, sorted; none where it is missing.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, SealError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(SealError::io("list", folder)(e)),
    };
    let mut all = Vec::new();
    for e in entries {
        all.push(e.map_err(SealError::io("list", folder))?.file_name().to_string_lossy().into_owned());
    }
    all.sort_unstable();
    Ok(all)
}
