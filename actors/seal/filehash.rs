//! SHA-256 of files as their chunks come by.
//!
//! A file that lies in one chunk is hashed by whoever opened the chunk, alongside others; one that spans chunks is
//! hashed piece by piece in order.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::manifest::{FileRef, Job, Segment};
use super::paths::Sum;

/// Compares files with their sums.
pub(crate) struct FileHashes<'a> {
    files: &'a [FileRef],
    sums: &'a [Sum],
    running: Mutex<BTreeMap<usize, (Sha256, u64)>>,
}

/// What became of a file: its index in the manifest, and whether it is what its sum says.
pub(crate) type Compared = Vec<(usize, bool)>;

impl<'a> FileHashes<'a> {
    /// Of the manifest's files and their sums, in the same order.
    pub(crate) fn new(files: &'a [FileRef], sums: &'a [Sum]) -> Self {
        Self { files, sums, running: Mutex::default() }
    }

    /// Files that have no bytes, and so appear in no chunk.
    pub(crate) fn empty(&self) -> Compared {
        let empty = self.files.iter().enumerate().filter(|(_, file)| file.length == 0);
        empty.map(|(index, _)| (index, self.matches(index, Sha256::new()))).collect()
    }

    /// The files that begin and end in this chunk.
    pub(crate) fn alongside(&self, job: &Job, plaintext: &[u8]) -> Compared {
        let whole = job.segments.iter().filter(|segment| self.is_whole(segment));
        whole
            .map(|segment| {
                (segment.file, self.matches(segment.file, Sha256::new_with_prefix(piece(segment, plaintext))))
            })
            .collect()
    }

    /// The other files of this chunk; gives those that end here. Chunks of a file must come in order.
    pub(crate) fn in_order(&self, job: &Job, plaintext: &[u8]) -> Compared {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut compared = Vec::new();
        for segment in job.segments.iter().filter(|segment| !self.is_whole(segment)) {
            let (mut hash, done) = running.remove(&segment.file).unwrap_or_default();
            hash.update(piece(segment, plaintext));
            let done = done.saturating_add(segment.len as u64);
            if self.files.get(segment.file).is_some_and(|file| file.length == done) {
                compared.push((segment.file, self.matches(segment.file, hash)));
            } else {
                running.insert(segment.file, (hash, done));
            }
        }
        compared
    }

    fn is_whole(&self, segment: &Segment) -> bool {
        self.files.get(segment.file).is_some_and(|file| file.length == segment.len as u64)
    }

    fn matches(&self, index: usize, hash: Sha256) -> bool {
        self.sums.get(index).is_some_and(|sum| sum.sha256 == hex::encode(hash.finalize()))
    }
}

/// The bytes of a segment.
pub(crate) fn piece<'a>(segment: &Segment, plaintext: &'a [u8]) -> &'a [u8] {
    plaintext.get(segment.at..).and_then(|tail| tail.get(..segment.len)).unwrap_or_default()
}
