//! Writing past the page cache.
//!
//! What is written once in large pieces and not read again soon costs twice or more through the page cache: each byte is copied into
//! pages that must be found for it, written back later, and those pages push out what the machine works with. A file here has a
//! second handle with `O_DIRECT`, by which the whole blocks of a piece go straight to the disk; only what is left at its edges goes
//! through the cache. Where the file system knows no such handle, or refuses it, everything goes through the cache: what lies
//! in the file is the same. It is durable only after a sync, as ever.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Blocks of the file that go directly begin and end at multiples of this. No page is larger: bytes that went through the cache never share a page with bytes that did not.
const BLOCK: usize = 64 << 10;
/// Bytes of one write where they must be copied first, to where they are aligned.
const ROOM: usize = 1 << 20;
/// Where memory must begin to be written directly. No device asks for more.
const PAGE: usize = 4096;

thread_local! {
    /// Room for a copy, kept between writes.
    static MEMORY: RefCell<Aligned> = const { RefCell::new(Aligned { bytes: Vec::new() }) };
}

/// Memory that begins where a page does: what is written from here needs no copy.
#[derive(Debug, Default)]
pub struct Aligned {
    bytes: Vec<u8>,
}

impl Aligned {
    /// The first `len` bytes; what they hold from before, or zeros. Grows and never shrinks.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len.saturating_add(PAGE) {
            self.bytes = vec![0; len.saturating_add(PAGE)];
        }
        let start = self.bytes.as_ptr().align_offset(PAGE);
        self.bytes.get_mut(start..).and_then(|all| all.get_mut(..len)).unwrap_or_default()
    }
}

/// A file that is written in large pieces.
#[derive(Debug)]
pub struct Direct {
    cached: File,
    direct: OnceLock<Option<File>>,
    refused: AtomicBool,
}

impl Direct {
    /// Writes by way of this file, which is open for writing.
    pub fn new(file: File) -> Self {
        Self { cached: file, direct: OnceLock::new(), refused: AtomicBool::new(false) }
    }

    /// The file itself, to be synced.
    pub fn into_file(self) -> File {
        self.cached
    }

    /// Writes all of `bytes` from `offset` on. Pieces that do not overlap may be written at once, by several threads.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let before = usize::try_from(offset.next_multiple_of(BLOCK as u64).saturating_sub(offset)).unwrap_or(BLOCK);
        let whole = bytes.len().saturating_sub(before) / BLOCK * BLOCK;
        let Some(direct) = Some(whole).filter(|n| *n > 0).and_then(|_| self.direct()) else {
            return self.cached.write_all_at(bytes, offset);
        };
        let (head, rest) = bytes.split_at_checked(before).unwrap_or((bytes, &[]));
        let (blocks, tail) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
        let first = offset.saturating_add(head.len() as u64);
        self.cached.write_all_at(head, offset)?;
        self.write_blocks(direct, blocks, first)?;
        self.cached.write_all_at(tail, first.saturating_add(whole as u64))
    }

    fn write_blocks(&self, direct: &File, blocks: &[u8], first: u64) -> io::Result<()> {
        if blocks.as_ptr().align_offset(PAGE) == 0 {
            return self.write_aligned(direct, blocks, first);
        }
        MEMORY.with_borrow_mut(|memory| {
            let room = memory.room(ROOM);
            let mut at = first;
            for piece in blocks.chunks(ROOM) {
                let Some(copy) = room.get_mut(..piece.len()) else { continue };
                copy.copy_from_slice(piece);
                self.write_aligned(direct, copy, at)?;
                at = at.saturating_add(piece.len() as u64);
            }
            Ok(())
        })
    }

    fn write_aligned(&self, direct: &File, blocks: &[u8], at: u64) -> io::Result<()> {
        if !self.refused.load(Ordering::Relaxed) {
            match direct.write_all_at(blocks, at) {
                // It opens such a file and does not write it: what else it refuses, it refuses again.
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => self.refused.store(true, Ordering::Relaxed),
                other => return other,
            }
        }
        self.cached.write_all_at(blocks, at)
    }

    fn direct(&self) -> Option<&File> {
        let open = || {
            let again = format!("/proc/self/fd/{}", self.cached.as_raw_fd());
            OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(again).ok()
        };
        self.direct.get_or_init(open).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that differ everywhere.
    fn bytes(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
    }

    #[test]
    fn pieces_of_any_offset_and_length_make_the_same_file_in_the_cache_and_past_it() {
        for folder in [std::env::temp_dir(), "/dev/shm".into()] {
            let dir = tempfile::tempdir_in(folder).unwrap();
            let mut memory = Aligned::default();
            let want = memory.room(5 * ROOM + 12_345);
            want.copy_from_slice(&bytes(5 * ROOM + 12_345));
            let want = &*want;
            for cuts in [vec![], vec![1], vec![BLOCK, 2 * BLOCK + 1], vec![BLOCK - 1, ROOM, 3 * ROOM + 777], vec![56]] {
                let path = dir.path().join("file");
                let file = Direct::new(File::create(&path).unwrap());
                let ends = cuts.iter().copied().chain([want.len()]);
                let mut from = 0;
                let mut pieces = Vec::new();
                for end in ends {
                    pieces.push((from, end));
                    from = end;
                }
                // In any order, and at once.
                std::thread::scope(|s| {
                    for (from, end) in pieces.iter().rev() {
                        let (file, want) = (&file, &want);
                        s.spawn(move || file.write_all_at(&want[*from..*end], *from as u64).unwrap());
                    }
                });
                file.into_file().sync_all().unwrap();
                assert!(std::fs::read(&path).unwrap() == want, "{cuts:?} in {}", dir.path().display());
            }
        }
    }

    #[test]
    fn small_files_need_no_second_handle() {
        let dir = tempfile::tempdir().unwrap();
        let file = Direct::new(File::create(dir.path().join("file")).unwrap());
        file.write_all_at(b"small", 0).unwrap();
        assert!(file.direct.get().is_none());
    }
}
