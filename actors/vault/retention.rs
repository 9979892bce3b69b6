//! Taking away what no kept pack needs, in two steps with days between them.
//!
//! First into `trash/<day>/` (a tombstone that still holds the bytes), later, after a check of what refers to it now,
//! out of existence. The collector works under the exclusive lock, so no writer can count an object as present while
//! it goes; a descriptor that arrives late (from a replica, say) gets its objects back when the trash is emptied. A
//! collector killed half way leaves objects either in place or in the trash, and the next run goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Vault;
use super::publish::{Dirty, sync_folders};
use crate::seal::{Descriptor, PackUid, SealError};

/// What went to the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Packs whose descriptor went.
    pub packs: usize,
    /// Objects that no remaining pack names.
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
    /// Moves to `trash/<day>/` every pack but those in `keep` (and those whose chunks a kept pack uses), and every
    /// object that no remaining pack names. `day` is `YYYY-MM-DD` of today, given by the caller.
    ///
    /// Stanzas without a descriptor stay: a sealing that was interrupted needs its own to go on. One descriptor that
    /// does not parse stops everything, because its objects cannot be told from garbage.
    pub fn remove_unreferenced(&self, keep: &BTreeSet<PackUid>, day: &str) -> Result<Removed, SealError> {
        check_day(day)?;
        let _guard = self.lock_exclusive()?;
        let all = self.all_descriptors()?;
        let kept: BTreeSet<PackUid> = all
            .iter()
            .filter(|descriptor| keep.contains(&descriptor.pack_uid))
            .flat_map(|descriptor| descriptor.requires.iter().copied().chain([descriptor.pack_uid]))
            .collect();
        let mut removed = Removed::default();
        let mut dirty = Dirty::new();
        for descriptor in all.iter().filter(|descriptor| !kept.contains(&descriptor.pack_uid)) {
            let uid = &descriptor.pack_uid;
            // The descriptor goes first: a pack without it is gone, a pack without its stanza would look broken.
            for path in [self.descriptor_path(uid)].into_iter().chain(self.stanza_files(uid)) {
                self.move_to_trash(&path, day, &mut dirty)?;
            }
            removed.packs = removed.packs.saturating_add(1);
        }
        sync_folders(&dirty)?;
        let named = names(all.iter().filter(|descriptor| kept.contains(&descriptor.pack_uid)));
        for (path, hash, len) in objects_below(&self.root().join("chunks"))? {
            if named.contains(&hash) {
                continue;
            }
            self.move_to_trash(&path, day, &mut dirty)?;
            removed.objects = removed.objects.saturating_add(1);
            removed.bytes = removed.bytes.saturating_add(len);
        }
        sync_folders(&dirty)?;
        Ok(removed)
    }

    /// Deletes trash of days before `before` (`YYYY-MM-DD`). What a present pack names by now is put back instead.
    pub fn empty_trash(&self, before: &str) -> Result<Emptied, SealError> {
        check_day(before)?;
        let _guard = self.lock_exclusive()?;
        let named = names(self.all_descriptors()?.iter());
        let mut emptied = Emptied::default();
        for day in list(&self.root().join("trash"))? {
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

    fn move_to_trash(&self, path: &Path, day: &str, dirty: &mut Dirty) -> Result<(), SealError> {
        let within = path.strip_prefix(self.root()).map_err(|_| SealError::internal("a path outside the vault"))?;
        if !path.exists() {
            return Ok(());
        }
        relocate(path, &self.root().join("trash").join(day).join(within), dirty)
    }
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
fn objects_below(folder: &Path) -> Result<Vec<(PathBuf, [u8; 32], u64)>, SealError> {
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
