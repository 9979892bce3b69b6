//! A consistent copy of a state, taken from its journal while somebody writes.
//!
//! The newest base and the segments behind it are the whole state once more, and nothing in them ever changes but their end: a segment
//! grows, and old files are removed as whole. So a copy needs neither the lock nor the writer: it ends with the last whole record that was
//! there, which is a commit. [`super::rebuild`] makes a state of it.

use std::{fs::File, path::Path};

use super::{
    base,
    disk::Layout,
    error::{StoreError, io_error},
    journal::{self, Numbered},
    root::Root,
};

/// While a base is being made the files of before go away; so often they are looked for again.
const TRIES: usize = 5;

/// What a copy consists of.
#[derive(Debug)]
pub struct StateCopy {
    /// The state that it leads to.
    pub root: Root,
    /// Its files, which belong into `journal/` of a state folder.
    pub files: Vec<CopiedFile>,
}

/// An open file of which the first `bytes` are to be copied. It may be removed meanwhile.
#[derive(Debug)]
pub struct CopiedFile {
    /// Its name in `journal/`.
    pub name: String,
    /// At its beginning.
    pub file: File,
    /// So much of it belongs to the copy.
    pub bytes: u64,
}

/// The copy of the state folder `dir`, as of its last commit. Every record behind the base is read and compared with its checksum; a base
/// that is damaged is passed over for an older one.
///
/// # Errors
/// [`StoreError::Corrupt`] where there is no journal, or it cannot be read to its end.
pub fn copy_of(dir: &Path) -> Result<StateCopy, StoreError> {
    let layout = Layout::new(dir);
    let mut last = None;
    for _ in 0..TRIES {
        match attempt(&layout) {
            Ok(copy) => return Ok(copy),
            // A file went, or the end grew, while it was read: both look like damage once, and not again.
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| layout.corrupt("its journal cannot be read")))
}

fn attempt(layout: &Layout) -> Result<StateCopy, StoreError> {
    let (bases, segments) = journal::list(&layout.journal())?;
    let mut chosen = None;
    for b in bases.iter().rev() {
        if base::trailer_matches(&b.path)?.is_some() {
            chosen = Some(b);
            break;
        }
        tracing::warn!(base = %b.path.display(), "a base of the journal is damaged and passed over");
    }
    let first = chosen.map_or(1, |b| b.number + 1);
    let from = segments.partition_point(|s| s.number <= first).checked_sub(1);
    let needed = from.and_then(|at| segments.get(at..)).unwrap_or_default();
    if needed.is_empty() {
        return Err(layout.corrupt(format!("its journal does not go back to commit {first}")));
    }
    let end = journal::read(needed, |_, _| Ok(()))?;
    if let Some(what) = end.damage {
        return Err(layout.corrupt(format!("the journal, {what}")));
    }
    let mut files = Vec::with_capacity(needed.len() + 1);
    for n in chosen.into_iter().chain(needed) {
        files.push(opened(n)?);
    }
    if let Some(tail) = files.last_mut() {
        tail.bytes = end.at;
    }
    Ok(StateCopy { root: end.root, files })
}

fn opened(n: &Numbered) -> Result<CopiedFile, StoreError> {
    let file = File::open(&n.path).map_err(io_error("open", &n.path))?;
    let bytes = file.metadata().map_err(io_error("measure", &n.path))?.len();
    let name = n.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(CopiedFile { name, file, bytes })
}
