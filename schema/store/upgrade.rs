//! From the state of an earlier build to this one's: a whole copy first, then the steps.
//!
//! `state/format` holds a number and its checksum, so that a turned bit is damage and no other format; where it is lacking, the state is from before there was one (format 0). A state of a newer format is
//! refused. An older one is copied beside itself (`state.before-format-N`) before anything of it is changed, and the number is written
//! last: a crash anywhere leaves a state that begins again from the step where it was, and a copy that the earlier build opens.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    disk::{self, Layout, Lock},
    error::{StoreError, io_error},
    journal,
};

/// The format that this build reads and writes.
///
/// 0: records with envelopes, without this number. 1: the same records; the number stands beside them.
pub const FORMAT: u8 = 1;

/// What the file of a format holds.
pub fn format_line(n: u8) -> String {
    format!("{n} {:08x}\n", crc32fast::hash(format!("datanode state format {n}").as_bytes()))
}

/// A step from one format to the next, over a state folder that nobody else has.
type Step = fn(&Path) -> Result<(), StoreError>;

/// `STEPS[n]` makes format n + 1 of format n.
const STEPS: [Step; FORMAT as usize] = [numbered];

/// Nothing of the records changed: only that the number is there.
fn numbered(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// What an upgrade did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The format that was found.
    pub from: u8,
    /// Where the state lies as it was.
    pub copy: PathBuf,
}

/// Brings the state folder `dir` to [`FORMAT`]; None where it is there already, or where there is no state yet.
///
/// # Errors
/// [`StoreError::Newer`] where a newer build wrote it, [`StoreError::Busy`], and what the disk says; too little space for the copy is
/// said before anything is written.
pub fn upgrade(dir: &Path) -> Result<Option<Upgraded>, StoreError> {
    upgrade_to(dir, &STEPS)
}

fn upgrade_to(dir: &Path, steps: &[Step]) -> Result<Option<Upgraded>, StoreError> {
    let layout = Layout::new(dir);
    let known = steps.len() as u8;
    disk::make_dir(dir)?;
    let _lock = Lock::take(&layout)?;
    journal::remove_temps(&layout.dir)?;
    let file = dir.join("format");
    let write = |n: u8| disk::write_whole(&file, format_line(n).as_bytes());
    let found = match number(&layout, known)? {
        Some(n) => n,
        None if layout.sled().exists() => 0,
        None => {
            write(known)?;
            return Ok(None);
        }
    };
    if found == known {
        return Ok(None);
    }
    let copy = copied(dir, found)?;
    for (step, n) in steps.iter().skip(usize::from(found)).zip(found + 1..) {
        crate::failpoint::pass("upgrade.step");
        step(dir)?;
        write(n)?;
    }
    Ok(Some(Upgraded { from: found, copy }))
}

/// The number beside the records; None where there is none.
fn number(layout: &Layout, known: u8) -> Result<Option<u8>, StoreError> {
    let file = layout.dir.join("format");
    let text = match fs::read(&file) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("read", &file)(e)),
    };
    let said = text.split_once(' ').and_then(|(n, _)| n.parse::<u8>().ok()).filter(|n| format_line(*n) == text);
    let Some(found) = said else {
        return Err(layout.corrupt(format!("{} does not say which format this is", file.display())));
    };
    if found > known {
        let what = format!("the state {} (as it was before its upgrade it may lie beside it)", layout.dir.display());
        return Err(StoreError::Newer { what, found, known });
    }
    Ok(Some(found))
}

/// Refuses a state that a newer build wrote; for what makes it anew from its journal.
///
/// # Errors
/// [`StoreError::Newer`].
pub fn refuse_newer(dir: &Path) -> Result<(), StoreError> {
    match number(&Layout::new(dir), FORMAT) {
        // What holds no number is among the damage that is about to be mended.
        Ok(_) | Err(StoreError::Corrupt { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Says of a state that was just made that it is of [`FORMAT`].
///
/// # Errors
/// The disk's.
pub fn mark(dir: &Path) -> Result<(), StoreError> {
    disk::write_whole(&dir.join("format"), format_line(FORMAT).as_bytes())
}

/// The copy beside the state; one that stands already is of an upgrade that was cut off, and is right.
fn copied(dir: &Path, found: u8) -> Result<PathBuf, StoreError> {
    let name = |end: &str| dir.with_file_name(format!("{}.before-format-{found}{end}", file_name(dir)));
    let (copy, half) = (name(""), name(".half"));
    if copy.is_dir() {
        return Ok(copy);
    }
    if half.exists() {
        fs::remove_dir_all(&half).map_err(io_error("remove the unfinished", &half))?;
    }
    let (needed, free) = (size(dir)?, disk::free_bytes(dir)?);
    if needed > free {
        let short =
            format!("the state has {needed} bytes, and {free} are free: an upgrade copies it first; free that much");
        return Err(io_error("copy the state before its upgrade,", dir)(std::io::Error::other(short)));
    }
    copy_folder(dir, &half)?;
    crate::files::sync_file_system(&half).map_err(io_error("sync", &half))?;
    crate::failpoint::pass("upgrade.copied");
    fs::rename(&half, &copy).map_err(io_error("name", &copy))?;
    disk::sync_parent(&copy)?;
    Ok(copy)
}

fn file_name(dir: &Path) -> String {
    dir.file_name().map_or_else(|| "state".to_owned(), |n| n.to_string_lossy().into_owned())
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    let list = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    list.map_err(io_error("list", dir))
}

fn size(dir: &Path) -> Result<u64, StoreError> {
    let mut sum = 0u64;
    for e in entries(dir)? {
        let m = e.metadata().map_err(io_error("look at", &e.path()))?;
        sum = sum.saturating_add(if m.is_dir() { size(&e.path())? } else { m.len() });
    }
    Ok(sum)
}

/// Files and folders; the lock is whoever's who has it, and is not copied.
fn copy_folder(from: &Path, to: &Path) -> Result<(), StoreError> {
    disk::make_dir(to)?;
    for e in entries(from)? {
        let (path, target) = (e.path(), to.join(e.file_name()));
        let kind = e.file_type().map_err(io_error("look at", &path))?;
        if kind.is_dir() {
            copy_folder(&path, &target)?;
        } else if kind.is_file() && e.file_name() != "lock" {
            fs::copy(&path, &target).map_err(io_error("copy", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of format 0 with two files of it.
    fn old() -> (tempfile::TempDir, PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("state");
        fs::create_dir_all(dir.join("sled")).unwrap();
        fs::write(dir.join("sled/db"), "as it was").unwrap();
        fs::write(dir.join("clean"), "x").unwrap();
        (tmp, dir)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn changes(dir: &Path) -> Result<(), StoreError> {
        fs::write(dir.join("sled/db"), "changed").map_err(io_error("write", dir))
    }

    fn fails(dir: &Path) -> Result<(), StoreError> {
        changes(dir)?;
        Err(io_error("stop in", dir)(std::io::Error::other("power")))
    }

    #[test]
    fn a_new_state_is_of_this_format_and_nothing_is_copied() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("state");
        assert_eq!(upgrade(&dir).unwrap(), None);
        assert_eq!(read(&dir.join("format")), format_line(FORMAT));
        assert_eq!(upgrade(&dir).unwrap(), None);
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_older_state_is_copied_whole_before_it_is_changed() {
        let (_tmp, dir) = old();
        let done = upgrade_to(&dir, &[changes]).unwrap().unwrap();
        assert_eq!((done.from, done.copy.clone()), (0, dir.with_file_name("state.before-format-0")));
        assert_eq!((read(&dir.join("sled/db")), read(&dir.join("format"))), ("changed".into(), format_line(1)));
        assert_eq!(
            (read(&done.copy.join("sled/db")), read(&done.copy.join("clean"))),
            ("as it was".into(), "x".into())
        );
        assert!(!done.copy.join("format").exists() && !done.copy.join("lock").exists());
    }

    #[test]
    fn an_upgrade_that_was_cut_off_keeps_the_first_copy_and_goes_on() {
        let (_tmp, dir) = old();
        assert!(upgrade_to(&dir, &[numbered, fails]).is_err());
        assert_eq!((read(&dir.join("sled/db")), read(&dir.join("format"))), ("changed".into(), format_line(1)));
        // The step that failed is done again; the copy of format 0 stays what it was.
        let done = upgrade_to(&dir, &[numbered, changes]).unwrap().unwrap();
        assert_eq!((done.from, read(&dir.join("format"))), (1, format_line(2)));
        assert_eq!(read(&dir.with_file_name("state.before-format-0").join("sled/db")), "as it was");
    }

    #[test]
    fn a_newer_state_is_refused_and_stays_as_it_is() {
        let (_tmp, dir) = old();
        fs::write(dir.join("format"), format_line(9)).unwrap();
        assert!(matches!(upgrade(&dir), Err(StoreError::Newer { found: 9, known: FORMAT, .. })));
        for damaged in ["nine".as_bytes(), b"9\n", b"", b"\xff", &format_line(9).as_bytes()[1..]] {
            fs::write(dir.join("format"), damaged).unwrap();
            assert!(matches!(upgrade(&dir), Err(StoreError::Corrupt { .. })));
        }
        assert_eq!(read(&dir.join("sled/db")), "as it was");
    }
}
