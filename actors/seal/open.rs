//! Opening: a sealed pack becomes the plain pack again, byte for byte.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use datanode_schema::direct::Direct;
use nix::unistd::syncfs;
use zeroize::Zeroizing;

use super::beneath::Staging;
use super::chunk::{ChunkKeys, ChunkType};
use super::error::{Diagnosis, SealError};
use super::filehash::{Compared, FileHashes, piece};
use super::keys::PackKey;
use super::manifest::{Job, MAX_MANIFEST, SealedManifest, Segment};
use super::paths::{MANIFEST, SUMS, Sum};
use super::pipeline::{self, Sink, object_error};
use super::{Descriptor, PackUid};
use crate::vault::Vault;

/// Bytes after which what was written is brought to the disk while the rest is opened.
const FLUSH: u64 = 64 << 20;

/// What opening wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Files, `manifest.json` and the sums included.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Data objects read.
    pub objects: usize,
}

/// Reads and checks the sealed manifest of a pack.
pub fn read_manifest(vault: &Vault, descriptor: &Descriptor, key: &PackKey) -> Result<SealedManifest, SealError> {
    let keys = chunk_keys(key)?;
    let mut text = Zeroizing::new(Vec::new());
    let (mut object, mut unpacked) = (Zeroizing::new(Vec::new()), Zeroizing::new(Vec::new()));
    for (place, of) in descriptor.chunks().filter(|(place, _)| place.kind == ChunkType::Manifest) {
        let job = Job { place, object: of.clone(), secret: None, segments: Vec::new() };
        let plaintext = pipeline::load(vault, &job, Some(&keys), &mut object, &mut unpacked)
            .map_err(|diagnosis| object_error(&job, diagnosis))?;
        if text.len().saturating_add(plaintext.len()) > MAX_MANIFEST {
            let what = format!("sealed manifest of pack {}", hex::encode(descriptor.pack_uid));
            return Err(SealError::contract(what, "is longer than the limit; it was made by other software"));
        }
        text.extend_from_slice(plaintext);
    }
    SealedManifest::decode_padded(&text, descriptor)
}

pub(super) fn chunk_keys(key: &PackKey) -> Result<ChunkKeys, SealError> {
    ChunkKeys::new(key).ok_or_else(|| SealError::internal("a pack key has the wrong length"))
}

/// Materialises the plain pack in `to`, a folder that must not exist and appears only when everything in it has been
/// compared with the pack's sums and is durable. With `only`, just the files whose path it accepts (and always
/// `manifest.json` and the sums). Memory is a few chunks for each of the vault's threads.
///
/// Errors: the first bad object or file ends it and nothing is left behind; [`super::verify`] lists them all.
pub fn open(
    vault: &Vault,
    pack_uid: PackUid,
    key: &PackKey,
    to: &Path,
    only: Option<&dyn Fn(&str) -> bool>,
) -> Result<OpenReport, SealError> {
    let descriptor = vault.descriptor(&pack_uid)?;
    let manifest = read_manifest(vault, &descriptor, key)?;
    let wanted: Vec<bool> = manifest.files.iter().map(|file| only.is_none_or(|accepts| accepts(&file.path))).collect();
    let wants = |file: usize| wanted.get(file).copied().unwrap_or(false);
    let mut jobs = manifest.jobs(&descriptor)?;
    for job in &mut jobs {
        job.segments.retain(|segment| wants(segment.file));
    }
    jobs.retain(|job| !job.segments.is_empty());
    let sums = manifest.sums_of_files()?;
    let mut staging = Staging::begin(to)?;
    let mut report = OpenReport { objects: jobs.len(), ..OpenReport::default() };
    for (path, text) in [(MANIFEST, &manifest.manifest_json), (SUMS, &manifest.sha256sums)] {
        let full = to.join(path);
        staging.create(path)?.write_all(text.as_bytes()).map_err(SealError::io("write", &full))?;
        report.files = report.files.saturating_add(1);
        report.bytes = report.bytes.saturating_add(text.len() as u64);
    }
    let hashes = FileHashes::new(&manifest.files, &sums);
    let root = staging.root()?;
    let (wrote, told) = sync_channel(1);
    let writer = Writer {
        manifest: &manifest,
        sums: &sums,
        hashes,
        to,
        staging: Mutex::new(staging),
        handles: Mutex::default(),
        written: AtomicU64::new(0),
        wrote,
    };
    for (file, matches) in writer.hashes.empty().into_iter().filter(|(file, _)| wants(*file)) {
        writer.handle(file)?;
        writer.compare(vec![(file, matches)])?;
    }
    writer.handles.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let keys = chunk_keys(key)?;
    let staging = std::thread::scope(|scope| {
        let flushing = scope.spawn(move || flush(&root, &told));
        let done = pipeline::run(vault, &jobs, Some(&keys), &writer);
        let Writer { staging, wrote, .. } = writer;
        // Its end is what ends the flushing.
        drop(wrote);
        let flushed = flushing.join().map_err(|_| SealError::internal("a flush that panicked"))?;
        done.and(flushed).map(|()| staging)
    })?;
    for (_, file) in manifest.files.iter().enumerate().filter(|(index, _)| wants(*index)) {
        report.files = report.files.saturating_add(1);
        report.bytes = report.bytes.saturating_add(file.length);
    }
    staging.into_inner().unwrap_or_else(PoisonError::into_inner).publish()?;
    Ok(report)
}

/// Makes durable what was written so far whenever it is told to, so that little is left to the end. Ends with the writer.
fn flush(root: &File, told: &Receiver<()>) -> Result<(), SealError> {
    told.iter().try_for_each(|()| syncfs(root).map_err(SealError::errno("sync", Path::new("the opened pack"))))
}

struct Writer<'a> {
    manifest: &'a SealedManifest,
    sums: &'a [Sum],
    hashes: FileHashes<'a>,
    to: &'a Path,
    staging: Mutex<Staging>,
    /// Files begun and not complete: handle and bytes still to come.
    handles: Mutex<HashMap<usize, (Arc<Direct>, u64)>>,
    written: AtomicU64,
    wrote: SyncSender<()>,
}

impl Writer<'_> {
    fn path(&self, file: usize) -> (&str, PathBuf) {
        let path = self.manifest.files.get(file).map_or("", |file| file.path.as_str());
        (path, self.to.join(path))
    }

    fn handle(&self, file: usize) -> Result<Arc<Direct>, SealError> {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((handle, _)) = handles.get(&file) {
            return Ok(handle.clone());
        }
        let created = self.staging.lock().unwrap_or_else(PoisonError::into_inner).create(self.path(file).0)?;
        let handle = Arc::new(Direct::new(created));
        let length = self.manifest.files.get(file).map_or(0, |file| file.length);
        handles.insert(file, (handle.clone(), length));
        Ok(handle)
    }

    fn write(&self, segment: &Segment, plaintext: &[u8]) -> Result<(), SealError> {
        let handle = self.handle(segment.file)?;
        handle
            .write_all_at(piece(segment, plaintext), segment.file_offset)
            .map_err(SealError::io("write", &self.path(segment.file).1))?;
        let before = self.written.fetch_add(segment.len as u64, Ordering::Relaxed);
        if before / FLUSH != before.saturating_add(segment.len as u64) / FLUSH {
            // Where one waits already, that is enough.
            _ = self.wrote.try_send(());
        }
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, left)) = handles.get_mut(&segment.file) {
            *left = left.saturating_sub(segment.len as u64);
            if *left == 0 {
                handles.remove(&segment.file);
            }
        }
        Ok(())
    }

    fn compare(&self, compared: Compared) -> Result<(), SealError> {
        match compared.into_iter().find(|(_, matches)| !matches) {
            None => Ok(()),
            Some((file, _)) => {
                let expected = self.sums.get(file).map_or("", |sum| sum.sha256.as_str());
                let what = format!("file {:?} of the sealed pack", self.path(file).0);
                let why = format!("is not the {expected} of its sums though its chunks are authentic; report it");
                Err(SealError::integrity(what, why))
            }
        }
    }
}

impl Sink for Writer<'_> {
    fn alongside(&self, job: &Job, chunk: Result<&[u8], &Diagnosis>) -> Result<(), SealError> {
        let plaintext = chunk.map_err(|diagnosis| object_error(job, diagnosis.clone()))?;
        for segment in &job.segments {
            self.write(segment, plaintext)?;
        }
        self.compare(self.hashes.alongside(job, plaintext))
    }

    fn in_order(&self, job: &Job, chunk: Result<&[u8], &Diagnosis>) -> Result<(), SealError> {
        self.compare(self.hashes.in_order(job, chunk.unwrap_or_default()))
    }
}
