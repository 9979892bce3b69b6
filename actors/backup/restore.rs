//! From a generation to a data folder. Everything is fetched and proved beside its place first; the state is moved last, so a folder with a
//! state is whole. What is there already stays: a log never goes back.

use super::manifest::Manifest;
use super::read::{Opener, fetch, manifest_of};
use super::{BackupError, Place};
use datanode_schema::failpoint;
use datanode_schema::files::{sync_file_system, sync_folder};
use datanode_schema::paths::DataDir;
use datanode_schema::store::{Root, StoreOptions, TableDef, mark};
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where a restore works; what a killed one left is removed.
const WORK: &str = ".restoring";
/// Where configuration and registries are put, for a person to look at.
pub const CONFIG: &str = "restored-config";

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its name.
    pub generation: String,
    /// What it is.
    pub manifest: Manifest,
    /// The state that stands now.
    pub root: Root,
    /// What was put into place, below the data folder.
    pub placed: Vec<String>,
    /// What was there already and stays.
    pub kept: Vec<String>,
}

/// Restores a generation into `to`, which must be empty; with `fill` it only must have no state, and what it has stays.
///
/// # Errors
/// [`BackupError`]; the folder has no state then.
#[allow(clippy::too_many_arguments, reason = "a verb with its place, its key and its target")]
pub fn restore(
    place: &Place,
    generation: Option<&str>,
    opener: &Opener,
    to: &Path,
    fill: bool,
    tables: &[TableDef],
    options: &StoreOptions,
) -> Result<Restored, BackupError> {
    let (generation, manifest) = manifest_of(place, generation)?;
    let data = DataDir::new(to);
    check_target(&data, fill)?;
    let work = to.join(WORK);
    remove_all(&work)?;
    private(&work)?;
    let fetched = fetch(place, &generation, &manifest, opener, &work, tables, options);
    let root = fetched.inspect_err(|_| drop(remove_all(&work)))?;
    failpoint::pass("restore.fetched");
    let mut done = Restored { generation, manifest, root, placed: Vec::new(), kept: Vec::new() };
    let files = work.join("files");
    done.put_log(&files.join("anchors"), &data)?;
    done.put_each(&files.join("events"), &data.events(), to)?;
    private(&to.join("keys"))?;
    done.put_each(&files.join("keys"), &to.join("keys"), to)?;
    done.put_each(&files.join("config"), &to.join(CONFIG), to)?;
    sync_file_system(to).map_err(BackupError::io("sync", to))?;
    failpoint::pass("restore.placed");
    let state = work.join("state");
    // Made by this build, in its format: nothing is to be upgraded.
    mark(&state)?;
    fs::rename(&state, data.state()).map_err(BackupError::io("move", &state))?;
    sync_folder(to).map_err(BackupError::io("sync", to))?;
    done.placed.push("state".to_owned());
    remove_all(&work)?;
    Ok(done)
}

/// Whether something may be restored there.
fn check_target(data: &DataDir, fill: bool) -> Result<(), BackupError> {
    let to = data.root();
    private(to)?;
    let refuse = |why: &str| Err(BackupError::Usage(format!("{}: {why}", to.display())));
    if data.state().exists() {
        return refuse("there is a state; restore into another folder, or move state/ away first and add --fill");
    }
    let entries = fs::read_dir(to).map_err(BackupError::io("list", to))?;
    let others = entries.flatten().any(|e| e.file_name() != WORK);
    if others && !fill && !to.join(WORK).is_dir() {
        return refuse(
            "it is not empty; restore into an empty folder, or add --fill: what is there stays, and what is lacking comes",
        );
    }
    Ok(())
}

impl Restored {
    /// Moves each file of a folder to where there is none.
    fn put_each(&mut self, from: &Path, to: &Path, root: &Path) -> Result<(), BackupError> {
        let entries = match fs::read_dir(from) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            read => read.map_err(BackupError::io("list", from))?,
        };
        fs::create_dir_all(to).map_err(BackupError::io("make", to))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        files.sort();
        for file in files {
            let target = to.join(file.file_name().unwrap_or_default());
            let name = target.strip_prefix(root).unwrap_or(&target).display().to_string();
            // An event file only grows: the longer one is the newer.
            let longer =
                |a: &Path, b: &Path| fs::metadata(a).map_or(0, |m| m.len()) > fs::metadata(b).map_or(0, |m| m.len());
            if target.exists() && !(name.contains("events/") && longer(&file, &target)) {
                self.kept.push(name);
                continue;
            }
            fs::rename(&file, &target).map_err(BackupError::io("move", &file))?;
            self.placed.push(name);
        }
        Ok(())
    }

    /// The log that is there stays where it is at least as long; a shorter one is set aside, never removed.
    fn put_log(&mut self, from: &Path, data: &DataDir) -> Result<(), BackupError> {
        if !from.is_dir() {
            return Ok(());
        }
        let here = data.anchors();
        let (ours, theirs) = (length_of(&here), length_of(from));
        if ours.is_some() && ours >= theirs {
            let (ours, theirs) = (ours.unwrap_or(0), theirs.unwrap_or(0));
            self.kept.push(format!("anchors (its log has {ours} entries, that of the backup {theirs})"));
            return Ok(());
        }
        if here.exists() {
            let free = (1..u32::MAX).map(|n| data.root().join(format!("anchors.set-aside-{n}"))).find(|p| !p.exists());
            let aside = free.unwrap_or_else(|| data.root().join("anchors.set-aside"));
            fs::rename(&here, &aside).map_err(BackupError::io("move", &here))?;
        }
        fs::rename(from, &here).map_err(BackupError::io("move", from))?;
        self.placed.push("anchors".to_owned());
        Ok(())
    }
}

/// Entries that the checkpoint in a folder covers, by its second line; None without one.
fn length_of(anchors: &Path) -> Option<u64> {
    fs::read_to_string(anchors.join("checkpoint")).ok()?.lines().nth(1)?.parse().ok()
}

fn private(dir: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(BackupError::io("make", dir))
}

fn remove_all(dir: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done.map_err(BackupError::io("remove", dir)),
    }
}
