//! What earlier pulls left that is still right: hard links instead of downloads.
//!
//! Nothing is taken by its name or its time: a file is linked into the partial folder first and hashed there, so that nobody can exchange it
//! in between.

use super::PullError;
use super::place::{files, open_folder, read_manifest};
use crate::beneath::Beneath;
use crate::export::{MANIFEST_FILE, PackFile, SUMS_FILE};
use crate::parallel;
use datanode_schema::files::sha256_hex_of;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders of earlier packs, and what they say they hold.
pub struct Earlier {
    folders: Vec<PathBuf>,
    /// SHA-256 to (folder, path).
    held: BTreeMap<String, (usize, String)>,
}

impl Earlier {
    /// Of these folders; what has no manifest that is valid holds nothing.
    pub fn of(folders: Vec<PathBuf>) -> Self {
        let mut held = BTreeMap::new();
        for (i, folder) in folders.iter().enumerate() {
            for f in read_manifest(folder).map(|m| m.files).unwrap_or_default() {
                held.entry(f.sha256).or_insert((i, f.path));
            }
        }
        Self { folders, held }
    }

    /// Whether one of them says that it holds this file.
    pub fn claims(&self, file: &PackFile) -> bool {
        self.held.contains_key(&file.sha256)
    }
}

/// What of `wanted` lies in `partial` after this and is right: the paths. Other files in it are removed.
///
/// # Errors
/// The partial folder cannot be read or written.
pub fn take(
    partial: &Path,
    earlier: &Earlier,
    wanted: &[PackFile],
    trust: bool,
) -> Result<BTreeSet<String>, PullError> {
    let names: BTreeSet<&str> = wanted.iter().map(|f| f.path.as_str()).chain([MANIFEST_FILE, SUMS_FILE]).collect();
    let present = files(partial).map_err(PullError::failed)?;
    let mut here = open_folder(partial).map_err(|e| PullError::io("open", partial, e))?;
    for foreign in present.iter().filter(|p| !names.contains(p.as_str())) {
        here.unlink(foreign).map_err(|e| PullError::io("remove", &partial.join(foreign), e))?;
    }
    let taken = parallel::each(threads(), wanted, |share| -> Result<Vec<String>, PullError> {
        let mut right = Vec::new();
        let mut here = open_folder(partial).map_err(|e| PullError::io("open", partial, e))?;
        let mut there: Vec<Option<Beneath>> = earlier.folders.iter().map(|f| open_folder(f).ok()).collect();
        while let Some(file) = share.next() {
            if one(&mut here, &mut there, earlier, file, present.contains(&file.path), trust)
                .map_err(|e| PullError::io("remove", &partial.join(&file.path), e))?
            {
                right.push(file.path.clone());
            }
        }
        Ok(right)
    });
    let mut out = BTreeSet::new();
    for paths in taken {
        out.extend(paths?);
    }
    Ok(out)
}

/// Whether the file is here and right, by itself or by a link. What is wrong has no name here afterwards.
fn one(
    here: &mut Beneath,
    there: &mut [Option<Beneath>],
    earlier: &Earlier,
    file: &PackFile,
    present: bool,
    trust: bool,
) -> Result<bool, nix::errno::Errno> {
    if present {
        // Of an attempt that broke off: nobody vouches for its length.
        if is_right(here, file, false) {
            return Ok(true);
        }
        here.unlink(&file.path)?;
    }
    let Some((folder, path)) = earlier.held.get(&file.sha256) else { return Ok(false) };
    let Some(from) = there.get_mut(*folder).and_then(Option::as_mut) else { return Ok(false) };
    if here.link(from, path, &file.path).is_err() {
        return Ok(false);
    }
    if is_right(here, file, trust) {
        return Ok(true);
    }
    here.unlink(&file.path)?;
    Ok(false)
}

fn is_right(folder: &mut Beneath, file: &PackFile, trust: bool) -> bool {
    let Ok(open) = folder.open(&file.path) else { return false };
    let plain = open.metadata().is_ok_and(|m| m.is_file() && m.len() == file.bytes);
    plain && (trust || sha256_hex_of(open).is_ok_and(|(sum, _)| sum == file.sha256))
}

/// Links these files from one folder into another; gives the first that is missing or not right.
///
/// # Errors
/// A folder cannot be opened.
pub fn link_all(from: &Path, to: &Path, wanted: &[PackFile]) -> Result<Option<String>, PullError> {
    let mut there = open_folder(from).map_err(|e| PullError::io("open", from, e))?;
    let mut here = open_folder(to).map_err(|e| PullError::io("open", to, e))?;
    for f in wanted {
        if here.link(&mut there, &f.path, &f.path).is_err() || !is_right(&mut here, f, false) {
            return Ok(Some(f.path.clone()));
        }
    }
    Ok(None)
}

/// The files of `wanted` that are not right in `dir`.
pub fn wrong_in(dir: &Path, wanted: &[PackFile]) -> usize {
    let right = parallel::each(threads(), wanted, |share| {
        let mut folder = open_folder(dir).ok();
        let mut n = 0usize;
        while let Some(file) = share.next() {
            n += usize::from(folder.as_mut().is_some_and(|f| is_right(f, file, false)));
        }
        n
    });
    wanted.len().saturating_sub(right.into_iter().sum())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().min(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::TimeWindow;
    use datanode_schema::files::sha256_hex;
    use std::fs;

    fn file(path: &str, text: &str) -> PackFile {
        let day = chrono::NaiveDate::default();
        PackFile {
            path: path.to_owned(),
            sha256: sha256_hex(text.as_bytes()),
            bytes: text.len() as u64,
            rows: 1,
            dataset: "d".to_owned(),
            window: TimeWindow { start: day, end: day },
            held_by: None,
        }
    }

    #[test]
    fn what_is_right_is_linked_and_what_is_not_has_no_name_left() {
        let root = tempfile::tempdir().unwrap();
        let (old, partial) = (root.path().join("old"), root.path().join("partial"));
        fs::create_dir_all(old.join("data")).unwrap();
        fs::create_dir_all(partial.join("data")).unwrap();
        fs::write(old.join("data/a"), "same").unwrap();
        fs::write(old.join("data/b"), "evil").unwrap();
        std::os::unix::fs::symlink("a", old.join("data/c")).unwrap();
        fs::write(partial.join("data/d"), "half").unwrap();
        fs::write(partial.join("data/e"), "whole").unwrap();
        fs::write(partial.join("data/foreign"), "x").unwrap();
        let wanted = [
            file("data/a2", "same"),
            file("data/b", "good"),
            file("data/c", "sam2"),
            file("data/d", "halfwhole"),
            file("data/e", "whole"),
        ];
        let held = [("data/a", "same"), ("data/b", "good"), ("data/c", "sam2")];
        let held = held.into_iter().map(|(p, t)| (sha256_hex(t.as_bytes()), (0, p.to_owned()))).collect();
        let earlier = Earlier { folders: vec![old.clone()], held };
        let taken = take(&partial, &earlier, &wanted, false).unwrap();
        assert_eq!(taken, BTreeSet::from(["data/a2".to_owned(), "data/e".to_owned()]));
        assert_eq!(files(&partial).unwrap(), taken);
        assert_eq!(fs::read_to_string(old.join("data/b")).unwrap(), "evil", "the earlier pack is left as it is");
        let trusting = take(&partial, &earlier, &wanted, true).unwrap();
        assert!(trusting.contains("data/b") && !trusting.contains("data/c"));
    }
}
