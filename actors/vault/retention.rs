//! Taking away what no kept pack needs, in two steps with days between them.
//!
//! First a tombstone: the thing stays where it is, readable, and who needs it again revives it by that alone. Days later, and once the
//! anchor log has grown, it is deleted, right after all descriptors were read again. The collector works under the exclusive lock, so
//! no writer can count an object as present while it goes. Killed half way it leaves things that are there, or that are on the list of
//! what was let go, and the next run goes on. One descriptor that does not parse stops everything, because its objects
//! cannot be told from garbage.
//!
//! Earlier versions moved things to `trash/<day>/`; those folders are still emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Vault;
use super::publish::{Dirty, sync_folders};
use super::tombstones::{self, Mark, Tomb, Tombstones};
use crate::seal::chunk::{HEADER, Header};
use crate::seal::{Descriptor, PackUid, SealError};
use datanode_schema::failpoint;

/// What the collector is told.
#[derive(Clone, Copy, Debug)]
pub struct Collect<'a> {
    /// Sealings that stay; what they require stays with them. Where one of these has no descriptor nothing is collected: what it
    /// required is not known.
    pub keep: &'a BTreeSet<PackUid>,
    /// Sealings that were begun and will be gone on with.
    pub begun: &'a BTreeSet<PackUid>,
    /// Unix seconds.
    pub now: i64,
    /// Seconds that a thing waits under its tombstone.
    pub wait: i64,
    /// Entries of the anchor log, by its newest checkpoint; None: it has none, and nothing is deleted.
    pub log: Option<u64>,
}

/// What the collector did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Things that got a tombstone.
    pub marked: usize,
    /// Things that lost theirs, since they are needed again.
    pub revived: usize,
    /// Sealings that were deleted.
    pub packs: usize,
    /// Objects that were deleted.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What emptying the trash did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Objects deleted for good.
    pub deleted: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that a pack names again and that were put back.
    pub restored: usize,
}

impl Vault {
    /// Marks what nothing needs, and deletes what was marked long enough ago.
    ///
    /// # Errors
    /// Somebody writes; a descriptor cannot be read; the system's. Doing it again goes on.
    pub fn collect(&self, c: &Collect<'_>) -> Result<Collected, SealError> {
        let _guard = self.lock_exclusive()?;
        let mut done = Collected::default();
        let before = tombstones::read(self)?;
        let all = self.all_descriptors()?;
        let fresh = Tomb { at: c.now, log: c.log.unwrap_or(0) };
        let now: Tombstones =
            self.unneeded(&all, c)?.into_iter().map(|m| (m, before.get(&m).copied().unwrap_or(fresh))).collect();
        done.marked = now.keys().filter(|m| !before.contains_key(*m)).count();
        done.revived = before.keys().filter(|m| !now.contains_key(*m)).count();
        if now != before {
            tombstones::write(self, &now)?;
        }
        failpoint::pass("vault.marked");
        let is_due = |t: &Tomb| t.at.saturating_add(c.wait) <= c.now && c.log.is_some_and(|n| n > t.log);
        let due: BTreeSet<Mark> = now.iter().filter(|(_, t)| is_due(t)).map(|(m, _)| *m).collect();
        if !due.is_empty() {
            self.delete(&due, c, &mut done)?;
            let left: Tombstones = now.into_iter().filter(|(m, _)| !due.contains(m)).collect();
            tombstones::write(self, &left)?;
        }
        Ok(done)
    }

    /// Deletes what is due and that nothing needs by now.
    fn delete(&self, due: &BTreeSet<Mark>, c: &Collect<'_>, done: &mut Collected) -> Result<(), SealError> {
        // Once more, right before: a descriptor may have come by another way than a writer's.
        let all = self.all_descriptors()?;
        let still = self.unneeded(&all, c)?;
        let mut go: BTreeSet<PackUid> = due
            .intersection(&still)
            .filter_map(|m| match m {
                Mark::Pack(u) => Some(*u),
                Mark::Object(_) => None,
            })
            .collect();
        // What stays may build on what is due, while it waits itself.
        loop {
            let stays = all.iter().filter(|d| !go.contains(&d.pack_uid));
            let needed: BTreeSet<PackUid> = stays.flat_map(|d| d.requires.iter().copied()).collect();
            let count = go.len();
            go.retain(|u| !needed.contains(u));
            if go.len() == count {
                break;
            }
        }
        let named = names(all.iter().filter(|d| !go.contains(&d.pack_uid)));
        let mut objects: BTreeMap<[u8; 32], u64> = BTreeMap::new();
        for d in all.iter().filter(|d| go.contains(&d.pack_uid)) {
            objects.extend(d.leaves().map(|o| (o.object_blake3, o.object_len)));
        }
        objects.extend(due.intersection(&still).filter_map(|m| match m {
            Mark::Object(h) => Some((*h, fs::symlink_metadata(self.object_path(h)).map_or(0, |m| m.len()))),
            Mark::Pack(_) => None,
        }));
        objects.retain(|h, _| !named.contains(h));
        let marks: Vec<Mark> =
            go.iter().map(|u| Mark::Pack(*u)).chain(objects.keys().map(|h| Mark::Object(*h))).collect();
        tombstones::record(self, &marks, c.now)?;
        failpoint::pass("vault.recorded");
        // The descriptor goes first: a pack without it is gone, a pack without its stanza would look broken.
        let folder = |name: &str| self.root().join(name);
        for u in &go {
            remove(&folder("descriptors").join(format!("{}.json", hex::encode(u))))?;
        }
        sync_folders(&Dirty::from([folder("descriptors")]))?;
        failpoint::pass("vault.descriptor_gone");
        for u in &go {
            for end in ["age", "age.sha256", "passphrases.json", "shredded"] {
                remove(&folder("stanzas").join(format!("{}.{end}", hex::encode(u))))?;
            }
        }
        sync_folders(&Dirty::from([folder("stanzas")]))?;
        failpoint::pass("vault.stanza_gone");
        let mut dirty = Dirty::new();
        for (h, len) in &objects {
            let path = self.object_path(h);
            remove(&path)?;
            dirty.extend(path.parent().map(Path::to_path_buf));
            done.objects = done.objects.saturating_add(1);
            done.bytes = done.bytes.saturating_add(*len);
            failpoint::pass("vault.object_gone");
        }
        done.packs = go.len();
        sync_folders(&dirty)
    }

    /// What neither a kept sealing nor one that it requires needs: sealings, stanzas without descriptor, objects without name.
    fn unneeded(&self, all: &[Descriptor], c: &Collect<'_>) -> Result<BTreeSet<Mark>, SealError> {
        let whole: BTreeSet<PackUid> = all.iter().map(|d| d.pack_uid).collect();
        // What was begun may have its descriptor already, and only the state does not know yet: what it requires stays too.
        let mut kept: BTreeSet<PackUid> = c.keep.union(c.begun).copied().collect();
        loop {
            let needed: Vec<PackUid> = all
                .iter()
                .filter(|d| kept.contains(&d.pack_uid))
                .flat_map(|d| d.requires.iter().copied())
                .filter(|u| !kept.contains(u))
                .collect();
            if needed.is_empty() {
                break;
            }
            kept.extend(needed);
        }
        let is_lost = |u: &&PackUid| !whole.contains(*u) && (c.keep.contains(*u) || !c.begun.contains(*u));
        if let Some(lost) = kept.iter().find(is_lost) {
            let what = format!("descriptor of sealing {}", hex::encode(lost));
            let why = "is gone, and what it requires is not known: nothing is collected until `datanode vault repair` has fetched it";
            return Err(SealError::integrity(what, why));
        }
        let stanzas = list(&self.root().join("stanzas"))?;
        let uid_of = |path: &PathBuf| {
            let mut uid = PackUid::default();
            let name = path.file_name()?.to_str()?.split('.').next()?;
            hex::decode_to_slice(name, &mut uid).ok().map(|()| uid)
        };
        let sealings: BTreeSet<PackUid> =
            all.iter().map(|d| d.pack_uid).chain(stanzas.iter().filter_map(uid_of)).collect();
        let mut out: BTreeSet<Mark> = sealings.difference(&kept).map(|u| Mark::Pack(*u)).collect();
        let named = names(all.iter());
        for (path, hash, _) in objects_below(&self.root().join("chunks"))? {
            // The objects of a sealing that is not finished say whose they are.
            let begun = || sealing_of(&path).is_some_and(|u| c.begun.contains(&u) && !whole.contains(&u));
            if !named.contains(&hash) && !begun() {
                out.insert(Mark::Object(hash));
            }
        }
        Ok(out)
    }

    /// Deletes trash of days before `before` (`YYYY-MM-DD`). What a present pack names by now is put back instead.
    pub fn empty_trash(&self, before: &str) -> Result<Emptied, SealError> {
        check_day(before)?;
        let mut emptied = Emptied::default();
        let days = list(&self.root().join("trash"))?;
        if days.is_empty() {
            return Ok(emptied);
        }
        let _guard = self.lock_exclusive()?;
        let named = names(self.all_descriptors()?.iter());
        for day in days {
            if day.file_name().and_then(|name| name.to_str()).is_none_or(|name| name >= before) {
                continue;
            }
            let mut dirty = Dirty::new();
            for (path, hash, len) in objects_below(&day.join("chunks"))? {
                let home = self.object_path(&hash);
                if named.contains(&hash) && !home.exists() {
                    relocate(&path, &home, &mut dirty)?;
                    emptied.restored = emptied.restored.saturating_add(1);
                } else {
                    emptied.deleted = emptied.deleted.saturating_add(1);
                    emptied.bytes = emptied.bytes.saturating_add(len);
                }
            }
            sync_folders(&dirty)?;
            fs::remove_dir_all(&day).map_err(SealError::io("remove", &day))?;
        }
        Ok(emptied)
    }

    fn all_descriptors(&self) -> Result<Vec<Descriptor>, SealError> {
        self.descriptors()?.iter().map(|uid| self.descriptor(uid)).collect()
    }
}

fn remove(path: &Path) -> Result<(), SealError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(SealError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// The sealing that an object's header names.
fn sealing_of(path: &Path) -> Option<PackUid> {
    let mut head = Vec::with_capacity(HEADER);
    File::open(path).ok()?.take(HEADER as u64).read_to_end(&mut head).ok()?;
    Header::parse(&head).ok().map(|h| h.place.pack_uid)
}

fn relocate(from: &Path, to: &Path, dirty: &mut Dirty) -> Result<(), SealError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(SealError::io("create", folder))?;
        dirty.insert(folder.to_path_buf());
    }
    dirty.extend(from.parent().map(Path::to_path_buf));
    fs::rename(from, to).map_err(SealError::io("move", from))
}

fn names<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> BTreeSet<[u8; 32]> {
    descriptors
        .flat_map(|descriptor| descriptor.leaves().map(|object| object.object_blake3).collect::<Vec<_>>())
        .collect()
}

/// Objects in `<aa>/<hex>` folders: (path, name, bytes). Files with other names are left alone.
pub(super) fn objects_below(folder: &Path) -> Result<Vec<(PathBuf, [u8; 32], u64)>, SealError> {
    let mut objects = Vec::new();
    for shard in list(folder)? {
        for path in list(&shard)? {
            let mut hash = [0u8; 32];
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if hex::decode_to_slice(name, &mut hash).is_ok() {
                let len = fs::symlink_metadata(&path).map_err(SealError::io("stat", &path))?.len();
                objects.push((path, hash, len));
            }
        }
    }
    Ok(objects)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, SealError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SealError::io("list", folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(SealError::io("list", folder))?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

fn check_day(day: &str) -> Result<(), SealError> {
    let shape = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    if day.len() == 10 && day.bytes().enumerate().all(shape) {
        return Ok(());
    }
    Err(SealError::contract(format!("day {day:?}"), "is not YYYY-MM-DD"))
}
