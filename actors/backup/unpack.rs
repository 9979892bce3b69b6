//! From a tar to files below a folder. What a tar says is hostile: plain files of plain names alone, nothing through a link.

use super::BackupError;
use crate::beneath::Beneath;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// As many files as no backup has.
const MOST_FILES: usize = 1_000_000;
/// Folders in a name.
const DEEPEST: usize = 12;

/// Writes the files of a tar below `to`, mode 0600; the first component of each name must be one of `tops`. How many there were.
///
/// # Errors
/// A name or kind that no backup has; the tar ends early; the disk.
pub fn unpack(what: &str, tar: impl Read, to: &Path, tops: &[&str]) -> Result<usize, BackupError> {
    let bad = |why: String| BackupError::damaged(what, why);
    let root = File::open(to).map_err(BackupError::io("open", to))?;
    let mut here = Beneath::new(root);
    let mut archive = tar::Archive::new(tar);
    let mut files = 0;
    // Raw: long names by extra entries, sparse files and such are none of ours.
    for entry in archive.entries().map_err(|e| bad(e.to_string()))?.raw(true) {
        let mut entry = entry.map_err(|e| bad(e.to_string()))?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap_or_default();
        files += 1;
        if !entry.header().entry_type().is_file() || !is_plain(&name, tops) || files > MOST_FILES {
            return Err(bad(format!("it holds {name:?}, which no backup has")));
        }
        let path = to.join(&name);
        let mut out = here.create(&name).map_err(|e| BackupError::io("create", &path)(e.into()))?;
        out.set_permissions(Permissions::from_mode(0o600)).map_err(BackupError::io("set the mode of", &path))?;
        let size = entry.size();
        let copied = io::copy(&mut entry, &mut out).map_err(|e| bad(format!("{name}: {e}")))?;
        if copied != size {
            return Err(bad(format!("{name} ends early")));
        }
    }
    Ok(files)
}

/// Whether a name is relative, of plain components, and in one of the folders.
fn is_plain(name: &str, tops: &[&str]) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"._-+%=@".contains(&b);
    let part = |p: &str| !p.is_empty() && p != "." && p != ".." && p.len() <= 200 && p.bytes().all(letter);
    let mut parts = name.split('/');
    let top = parts.next().is_some_and(|t| tops.contains(&t));
    let rest: Vec<&str> = parts.collect();
    top && !rest.is_empty() && rest.len() <= DEEPEST && rest.into_iter().all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(name: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut h = tar::Header::new_ustar();
        if let Some(raw) = h.as_old_mut().name.get_mut(..name.len()) {
            raw.copy_from_slice(name.as_bytes());
        }
        h.set_entry_type(kind);
        h.set_size(1);
        h.set_cksum();
        let mut b = tar::Builder::new(Vec::new());
        b.append(&h, &b"x"[..]).unwrap();
        b.into_inner().unwrap()
    }

    #[test]
    fn only_plain_files_in_the_folders_that_are_expected_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        let file = tar::EntryType::Regular;
        for name in ["../x", "/keys/x", "keys/../../x", "keys/a b", "keys", "other/x", "keys//x", "keys/./x", ""] {
            assert!(unpack("t", tar_of(name, file).as_slice(), &inside, &["keys"]).is_err(), "{name}");
        }
        for kind in
            [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory, tar::EntryType::GNULongName]
        {
            assert!(unpack("t", tar_of("keys/x", kind).as_slice(), &inside, &["keys"]).is_err(), "{kind:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(unpack("t", tar_of("keys/x", file).as_slice(), &inside, &["keys"]).unwrap(), 1);
        let made = inside.join("keys/x");
        assert_eq!(std::fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o600);
        let twice = unpack("t", tar_of("keys/x", file).as_slice(), &inside, &["keys"]);
        assert!(twice.is_err(), "nothing is overwritten");
    }
}
