//! Verifying: every object, record and file that a pack stands on, and a list of all that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::chunk::{ChunkKeys, ChunkType};
use super::error::{Diagnosis, Kind, SealError};
use super::filehash::{Compared, FileHashes};
use super::keys::PackKey;
use super::manifest::{Job, SealedManifest};
use super::open::{chunk_keys, read_manifest};
use super::pipeline::{self, Sink};
use super::{Descriptor, PackUid};
use crate::vault::Vault;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An object of the pack, its own or borrowed.
    Object {
        /// The sealing it belongs to, hex.
        pack: String,
        /// The object's BLAKE3, hex.
        object: String,
        /// Its number among the leaves of that sealing: data, sealed manifest, parity.
        index: u32,
        /// What is wrong.
        diagnosis: Diagnosis,
        /// Files of this pack that lie in it; known only with the key and a readable sealed manifest.
        files: Vec<String>,
    },
    /// A file whose chunks are authentic and whose bytes are not those of its sum.
    File {
        /// Path within the pack.
        path: String,
    },
    /// A record of the vault: stanza, checksum, descriptor of a required sealing, sealed manifest.
    Record {
        /// Which.
        what: String,
        /// What is wrong and what to do.
        why: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { pack, object, index, diagnosis, files } => {
                write!(f, "pack {pack}, chunk {index}, object {object}: {diagnosis}")?;
                if !files.is_empty() {
                    write!(f, " (holds {})", files.join(", "))?;
                }
                Ok(())
            }
            Self::File { path } => write!(f, "file {path:?}: sha256 differs from the pack's sums; report it"),
            Self::Record { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Everything that is wrong, records first, then objects by index, then files.
    pub findings: Vec<Finding>,
    /// Objects looked at, the bad ones included.
    pub objects: usize,
    /// Bytes of those objects, as their descriptor says.
    pub stored_bytes: u64,
    /// Files compared with their sums; 0 without a key.
    pub files: usize,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }

    /// The family of the findings for an exit code; nothing when all is well.
    pub fn kind(&self) -> Option<Kind> {
        (!self.is_ok()).then_some(Kind::Integrity)
    }
}

/// Looks whether every object of a pack is there with its length, and at the records. Reads no object.
pub fn check(vault: &Vault, pack_uid: PackUid) -> Result<VerifyReport, SealError> {
    let descriptor = vault.descriptor(&pack_uid)?;
    let mut report = records(vault, &descriptor)?;
    for job in own_jobs(&descriptor) {
        count(&mut report, &job);
        if let Err(diagnosis) = vault.presence(&job.object.object_blake3, job.object.object_len) {
            report.findings.push(object_finding(&descriptor, &job, diagnosis, Vec::new()));
        }
    }
    Ok(report)
}

/// Verifies a pack and goes on past whatever is wrong.
///
/// Without a key: descriptor and root, stanza against its checksum, every object's hash, length and header. With the
/// key also: commitment and tag of every chunk, borrowed ones included, and the sha256 of every file.
///
/// Errors: only where there is nothing to list, that is without a readable descriptor, or when the system fails.
pub fn verify(vault: &Vault, pack_uid: PackUid, key: Option<&PackKey>) -> Result<VerifyReport, SealError> {
    let descriptor = vault.descriptor(&pack_uid)?;
    let mut report = records(vault, &descriptor)?;
    let keys = key.map(chunk_keys).transpose()?;
    let manifest = match key.map(|key| read_manifest(vault, &descriptor, key)) {
        None => None,
        Some(Ok(manifest)) => Some(manifest),
        // Its objects are among the jobs below, where this is found again and listed.
        Some(Err(SealError::Object { .. })) => None,
        Some(Err(error)) => {
            let what = format!("sealed manifest of pack {}", hex::encode(pack_uid));
            report.findings.push(Finding::Record { what, why: error.to_string() });
            None
        }
    };
    let mut jobs = own_jobs(&descriptor);
    if let Some(manifest) = &manifest {
        jobs.retain(|job| job.place.kind != ChunkType::Data);
        jobs.extend(manifest.jobs(&descriptor)?);
        jobs.sort_by_key(|job| (job.secret.is_some(), job.place.pack_uid, leaf_of(&descriptor, job)));
    }
    for job in &jobs {
        count(&mut report, job);
    }
    report.findings.extend(examine(vault, &descriptor, manifest.as_ref(), &jobs, keys.as_ref())?);
    report.files = manifest.map_or(0, |manifest| manifest.files.len().saturating_add(1));
    Ok(report)
}

fn own_jobs(descriptor: &Descriptor) -> Vec<Job> {
    let job = |(place, object): (_, &super::ObjectRef)| Job {
        place,
        object: object.clone(),
        secret: None,
        segments: Vec::new(),
    };
    descriptor.chunks().chain(descriptor.parity()).map(job).collect()
}

fn count(report: &mut VerifyReport, job: &Job) {
    report.objects = report.objects.saturating_add(1);
    report.stored_bytes = report.stored_bytes.saturating_add(job.object.object_len);
}

fn records(vault: &Vault, descriptor: &Descriptor) -> Result<VerifyReport, SealError> {
    let mut report = VerifyReport::default();
    match vault.stanza_problem(&descriptor.pack_uid) {
        Ok(None) => {}
        Ok(Some((path, why))) => {
            report.findings.push(Finding::Record { what: path.display().to_string(), why: why.to_owned() });
        }
        Err(SealError::Integrity { what, why }) => report.findings.push(Finding::Record { what, why }),
        Err(error) => return Err(error),
    }
    for uid in &descriptor.requires {
        if let Err(error) = vault.descriptor(uid) {
            let what = format!("required sealing {}", hex::encode(uid));
            report.findings.push(Finding::Record { what, why: error.to_string() });
        }
    }
    Ok(report)
}

/// Parity comes after the chunks; of borrowed sealings only chunks are looked at.
fn leaf_of(descriptor: &Descriptor, job: &Job) -> u32 {
    let before = if job.place.kind == ChunkType::Parity { descriptor.chunk_count } else { 0 };
    job.place.index.saturating_add(before)
}

fn object_finding(descriptor: &Descriptor, job: &Job, diagnosis: Diagnosis, files: Vec<String>) -> Finding {
    Finding::Object {
        pack: hex::encode(job.place.pack_uid),
        object: hex::encode(job.object.object_blake3),
        index: leaf_of(descriptor, job),
        diagnosis,
        files,
    }
}

fn examine(
    vault: &Vault,
    descriptor: &Descriptor,
    manifest: Option<&SealedManifest>,
    jobs: &[Job],
    keys: Option<&ChunkKeys>,
) -> Result<Vec<Finding>, SealError> {
    let sums = manifest.map(SealedManifest::sums_of_files).transpose()?.unwrap_or_default();
    let files = manifest.map(|manifest| manifest.files.as_slice()).unwrap_or_default();
    let examiner = Examiner { hashes: FileHashes::new(files, &sums), bad: Mutex::default() };
    examiner.note(examiner.hashes.empty());
    pipeline::run(vault, jobs, keys, &examiner)?;
    let bad = examiner.bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    let path = |file: &usize| files.get(*file).map(|file| file.path.clone());
    let mut lost = BTreeSet::new();
    let mut findings = Vec::new();
    for job in jobs {
        if let Some(diagnosis) = bad.objects.get(&name(job)) {
            let here: Vec<usize> = job.segments.iter().map(|segment| segment.file).collect();
            findings.push(object_finding(descriptor, job, diagnosis.clone(), here.iter().filter_map(path).collect()));
            lost.extend(here);
        }
    }
    // A file in a bad chunk is named there already.
    findings.extend(bad.files.difference(&lost).filter_map(path).map(|path| Finding::File { path }));
    Ok(findings)
}

type Name = (PackUid, u8, u32);

fn name(job: &Job) -> Name {
    (job.place.pack_uid, job.place.kind as u8, job.place.index)
}

#[derive(Default)]
struct Bad {
    objects: BTreeMap<Name, Diagnosis>,
    files: BTreeSet<usize>,
}

struct Examiner<'a> {
    hashes: FileHashes<'a>,
    bad: Mutex<Bad>,
}

impl Examiner<'_> {
    fn note(&self, compared: Compared) {
        let wrong = compared.into_iter().filter(|(_, matches)| !matches).map(|(file, _)| file);
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).files.extend(wrong);
    }
}

impl Sink for Examiner<'_> {
    fn alongside(&self, job: &Job, chunk: Result<&[u8], &Diagnosis>) -> Result<(), SealError> {
        match chunk {
            Ok(plaintext) => self.note(self.hashes.alongside(job, plaintext)),
            Err(diagnosis) => {
                let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
                bad.objects.insert(name(job), diagnosis.clone());
            }
        }
        Ok(())
    }

    fn in_order(&self, job: &Job, chunk: Result<&[u8], &Diagnosis>) -> Result<(), SealError> {
        // Of a file with a bad chunk the rest is hashed for nothing: its sum cannot match, and it is named already.
        self.note(self.hashes.in_order(job, chunk.unwrap_or_default()));
        Ok(())
    }
}
