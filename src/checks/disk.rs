//! The disk: room, and whether what is said to be durable is.

use super::Level;
use crate::config::Settings;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes and inodes.
pub(super) fn space(s: &Settings) -> Result<String, String> {
    let dir = existing(s);
    let st = nix::sys::statvfs::statvfs(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let free = st.blocks_available().saturating_mul(st.fragment_size()) >> 20;
    let floor = s.store.free_space_floor_mib;
    if free < floor {
        return Err(format!(
            "{free} MiB free in {}, the floor is {floor}; free space, or lower store.free_space_floor_mib",
            dir.display()
        ));
    }
    if st.files() > 0 && st.files_available() < 10_000 {
        return Err(format!(
            "{} inodes free in {}; remove small files, or move data_dir",
            st.files_available(),
            dir.display()
        ));
    }
    Ok(format!("{free} MiB free"))
}

/// A sync that takes less than this touched no disk, whatever the disk is: even flash with a capacitor takes longer to answer.
const IMPOSSIBLE_MS: f64 = 0.004;

/// How long one small durable write takes here.
pub(super) fn fsync(s: &Settings) -> (Level, String) {
    let dir = existing(s);
    let tried = || -> std::io::Result<f64> {
        let mut file = tempfile::NamedTempFile::new_in(&dir)?;
        let began = Instant::now();
        for _ in 0..5 {
            std::io::Write::write_all(&mut file, b"datanode")?;
            file.as_file().sync_all()?;
        }
        Ok(began.elapsed().as_secs_f64() * 1000.0 / 5.0)
    };
    match tried() {
        Err(e) => (
            Level::Failed,
            format!("{}: cannot be written and synced: {e}; check its owner and the disk", dir.display()),
        ),
        Ok(ms) if ms < IMPOSSIBLE_MS => (
            Level::Warning,
            format!(
                "{ms:.4} ms a sync, which no disk can do: a power cut may lose what was acknowledged; see `file system`"
            ),
        ),
        Ok(ms) => (Level::Ok, format!("{ms:.2} ms a sync")),
    }
}

/// The file system that a folder is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// `ext4` and such.
    pub kind: String,
    /// Where it is mounted.
    pub at: PathBuf,
    /// Options of the mount and of the file system, with commas between.
    pub options: String,
}

impl FileSystem {
    /// The one of `dir`, by the text of `/proc/self/mountinfo`.
    pub fn of(dir: &Path, mountinfo: &str) -> Option<Self> {
        let parsed = mountinfo.lines().filter_map(|l| {
            let (left, right) = l.split_once(" - ")?;
            let (mut left, mut right) = (left.split(' ').skip(4), right.split(' '));
            let (at, own) = (left.next()?, left.next()?);
            let (kind, of_fs) = (right.next()?, right.nth(1).unwrap_or_default());
            let at = PathBuf::from(at.replace("\\040", " "));
            Some(Self { kind: kind.to_owned(), at, options: format!("{own},{of_fs}") })
        });
        // Of two on one place the later one is in front.
        parsed.filter(|m| dir.starts_with(&m.at)).max_by_key(|m| m.at.as_os_str().len())
    }

    /// What speaks against keeping a state on it.
    pub fn fault(&self) -> Option<String> {
        let at = self.at.display();
        let kind = self.kind.as_str();
        if ["tmpfs", "ramfs"].contains(&kind) {
            return Some(format!("{at} is {kind}: everything is gone after a restart; move data_dir to a disk"));
        }
        if ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"].contains(&kind) {
            return Some(format!(
                "{at} is {kind}: locks and syncs over a network are not what they are on a disk; move data_dir to a local one"
            ));
        }
        let lies = ["nobarrier", "barrier=0", "async_commit", "data=writeback", "fsync_mode=nobarrier"];
        let options = self.options.split(',').find(|o| lies.contains(o) || *o == "eatmydata");
        options
            .map(|o| format!("{at} is mounted with {o}: a power cut may lose what was acknowledged; mount it without"))
    }
}

/// Whether the file system of the data folder keeps what it is given.
pub(super) fn file_system(s: &Settings) -> (Level, String) {
    let dir = existing(s);
    let dir = dir.canonicalize().unwrap_or(dir);
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match FileSystem::of(&dir, &info) {
        None => (Level::Ok, "not known on this system".to_owned()),
        Some(f) => match f.fault() {
            Some(why) => (Level::Warning, why),
            None => (Level::Ok, format!("{} at {}", f.kind, f.at.display())),
        },
    }
}

fn existing(s: &Settings) -> std::path::PathBuf {
    let mut dir = s.data_dir.as_path();
    while !dir.is_dir() {
        match dir.parent() {
            Some(p) if !p.as_os_str().is_empty() => dir = p,
            _ => return std::path::PathBuf::from("."),
        }
    }
    dir.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 22 0:25 / /tmp rw,nosuid - tmpfs tmpfs rw,size=1k\n\
        31 22 8:1 / /data rw,noatime shared:2 master:1 - ext4 /dev/sda1 rw,nobarrier\n\
        32 22 8:2 / /data/inner rw - xfs /dev/sdb rw\n\
        33 22 0:9 / /net rw - nfs4 host:/x rw,sync\n";

    #[test]
    fn the_file_system_of_a_folder_is_found_and_one_that_keeps_nothing_is_named() {
        let of = |dir: &str| FileSystem::of(Path::new(dir), INFO).unwrap();
        assert_eq!((of("/srv/x").kind, of("/srv/x").fault()), ("ext4".to_owned(), None));
        assert!(of("/tmp/x").fault().unwrap().contains("gone after a restart"));
        assert!(of("/data/x").fault().unwrap().contains("nobarrier"));
        assert_eq!(of("/data/inner/x").fault(), None);
        assert!(of("/net/x").fault().unwrap().contains("nfs4"));
        assert!(of("/database").at == Path::new("/"), "a name that begins alike is another folder");
    }
}
