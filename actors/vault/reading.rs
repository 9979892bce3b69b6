//! Reading objects: as fast as the disk gives them, each hashed once as it comes, in the memory of one object a thread.

use super::Vault;
use super::finding::Class;
use super::inventory::{Inventory, Named};
use crate::seal::chunk::{ChunkKeys, HEADER, MAX_OBJECT, Place};
use crate::seal::{Diagnosis, PackUid, judge, judge_head};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes that are read and hashed at once: they stay in the cache between the two.
const PIECE: usize = 256 << 10;

/// The keys of sealings.
pub type Keys = BTreeMap<PackUid, ChunkKeys>;

/// The buffers of one thread.
#[derive(Default)]
pub struct Reader {
    object: Vec<u8>,
    unpacked: Vec<u8>,
    /// What the page cache holds of an object is dropped before it is read.
    from_disk: bool,
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Presence, length and header.
    Look,
    /// Every byte.
    Read,
    /// Every byte as the disk has it, whatever the page cache holds.
    Disk,
}

impl Reader {
    /// Reads an object of exactly this length and compares it with its name. With `keep` its bytes stay in the buffer, without it only
    /// the first do.
    pub fn read(&mut self, vault: &Vault, hash: &[u8; 32], len: u64, keep: bool) -> Result<(), Diagnosis> {
        let mut file = open(vault, hash, len)?;
        if self.from_disk {
            // Advice: a file system that does not take it gives what it has.
            _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        let whole = usize::try_from(len).ok().filter(|n| *n <= MAX_OBJECT);
        let whole = whole.ok_or(Diagnosis::Header("length beyond the limits"))?;
        let room = if keep { whole } else { whole.min(PIECE) };
        // Grows to the longest object once; what it held before is written over.
        if self.object.len() < room {
            self.object.resize(room, 0);
        }
        let mut hasher = blake3::Hasher::new();
        let mut done = 0;
        let mut head = [0u8; HEADER];
        while done < whole {
            let at = if keep { done } else { 0 };
            let n = PIECE.min(whole.saturating_sub(done));
            let piece = self.object.get_mut(at..at.saturating_add(n)).ok_or(Diagnosis::Leaf)?;
            file.read_exact(piece).map_err(unreadable)?;
            hasher.update(piece);
            if done == 0 {
                head.iter_mut().zip(piece.iter()).for_each(|(to, from)| *to = *from);
            }
            done = done.saturating_add(n);
        }
        if hasher.finalize() != *hash {
            return Err(Diagnosis::Leaf);
        }
        if !keep && let Some(first) = self.object.get_mut(..HEADER.min(whole)) {
            first.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }

    /// What is wrong with an object that should be at these places; nothing where it is sound.
    pub fn diagnose(
        &mut self,
        vault: &Vault,
        inv: &Inventory,
        group: &[Named],
        depth: Depth,
        keys: &Keys,
    ) -> Vec<(Named, Diagnosis)> {
        let Some(first) = group.first() else { return Vec::new() };
        let places: Vec<(Named, Place)> = group.iter().filter_map(|n| Some((*n, inv.place(n)?))).collect();
        if depth == Depth::Look {
            let looked = self.look(vault, first, &places);
            if looked.is_empty() {
                return looked;
            }
            // What is wrong is for its bytes to say.
        }
        let key = |place: &Place| keys.get(&place.pack_uid);
        let keep = places.iter().any(|(_, p)| key(p).is_some());
        let mut out = Vec::new();
        let mut sound = None;
        for (n, place) in &places {
            // Two records may give one name two lengths.
            let read = match sound {
                Some(len) if len == n.len => Ok(()),
                _ => self.read(vault, &n.hash, n.len, keep),
            };
            let judged = read.and_then(|()| {
                sound = Some(n.len);
                let whole = usize::try_from(n.len).unwrap_or(0);
                match key(place) {
                    Some(keys) => {
                        sound = None;
                        let object = self.object.get_mut(..whole).ok_or(Diagnosis::Leaf)?;
                        judge(object, place, keys, &mut self.unpacked)
                    }
                    None => judge_head(self.object.get(..HEADER.min(whole)).unwrap_or_default(), n.len, place),
                }
            });
            out.extend(judged.err().map(|d| (*n, d)));
        }
        out
    }

    fn look(&mut self, vault: &Vault, first: &Named, places: &[(Named, Place)]) -> Vec<(Named, Diagnosis)> {
        let mut head = [0u8; HEADER];
        let read = open(vault, &first.hash, first.len).and_then(|mut f| {
            let n = HEADER.min(usize::try_from(first.len).unwrap_or(HEADER));
            let head = head.get_mut(..n).unwrap_or_default();
            f.read_exact(head).map_err(unreadable)
        });
        let judged = |(n, place): &(Named, Place)| {
            let found = match &read {
                Err(d) => Err(d.clone()),
                Ok(()) if n.len != first.len => Err(Diagnosis::Length { expected: n.len, found: first.len }),
                Ok(()) => judge_head(&head, n.len, place),
            };
            found.err().map(|d| (*n, d))
        };
        places.iter().filter_map(judged).collect()
    }
}

fn open(vault: &Vault, hash: &[u8; 32], len: u64) -> Result<File, Diagnosis> {
    let path = vault.object_path(hash);
    // A pipe would hold whoever opens it.
    let meta = std::fs::symlink_metadata(&path).map_err(unreadable)?;
    if !meta.is_file() || meta.len() != len {
        return Err(Diagnosis::Length { expected: len, found: if meta.is_file() { meta.len() } else { 0 } });
    }
    File::open(&path).map_err(unreadable)
}

fn unreadable(e: std::io::Error) -> Diagnosis {
    match e.kind() {
        std::io::ErrorKind::NotFound => Diagnosis::Missing,
        _ => Diagnosis::Unreadable(e.to_string()),
    }
}

/// What reading many came to.
#[derive(Debug, Default)]
pub struct Examined {
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read of them; headers do not count.
    pub bytes: u64,
    /// What is wrong, by place.
    pub bad: Vec<(Named, Diagnosis)>,
}

/// Diagnoses many objects with the vault's threads. `turn` is asked before each with its length, and ends it by false.
pub fn examine(
    vault: &Vault,
    inv: &Inventory,
    groups: &[&[Named]],
    depth: Depth,
    keys: &Keys,
    turn: &(dyn Fn(u64) -> bool + Sync),
) -> Examined {
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let all = Mutex::new(Examined::default());
    let work = || {
        let mut reader = Reader { from_disk: depth == Depth::Disk, ..Reader::default() };
        let mut mine = Examined::default();
        while !stopped.load(Ordering::Relaxed) {
            let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let len = group.first().map_or(0, |n| n.len);
            if !turn(len) {
                stopped.store(true, Ordering::Relaxed);
                break;
            }
            mine.bad.extend(reader.diagnose(vault, inv, group, depth, keys));
            mine.objects = mine.objects.saturating_add(1);
            if depth != Depth::Look {
                mine.bytes = mine.bytes.saturating_add(len);
            }
        }
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.objects = all.objects.saturating_add(mine.objects);
        all.bytes = all.bytes.saturating_add(mine.bytes);
        all.bad.append(&mut mine.bad);
    };
    std::thread::scope(|scope| {
        for _ in 1..vault.threads().min(groups.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.bad.sort_by_key(|(n, d)| (n.pack, n.leaf, Class::of(d)));
    all
}
