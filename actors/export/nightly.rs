//! `exports/nightly/<as-of>`: the pack under the session's date.

use super::{ExportError, MANIFEST_FILE, io, remove};
use crate::node::Node;
use chrono::NaiveDate;
use datanode_schema::failpoint;
use datanode_schema::files::same_file;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::path::Path;

/// `exports/nightly/<as-of>`: the same files, hard-linked; a rerun replaces the folder whole, and at no moment is there none.
pub fn link_nightly(node: &Node, as_of: NaiveDate, pack: &Path) -> Result<(), ExportError> {
    let target = node.data.nightly(as_of);
    if same_file(&pack.join(MANIFEST_FILE), &target.join(MANIFEST_FILE)) {
        return Ok(());
    }
    let fresh = node.data.root().join("tmp").join(format!("nightly-{as_of}"));
    remove(&fresh)?;
    link_tree(pack, &fresh)?;
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(io(parent))?;
    }
    failpoint::pass("export.nightly");
    if !target.exists() {
        return std::fs::rename(&fresh, &target).map_err(io(&target));
    }
    match renameat2(AT_FDCWD, &fresh, AT_FDCWD, &target, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => remove(&fresh),
        // A file system that cannot exchange two folders: for a moment there is none of this date.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOTSUP) => {
            remove(&target)?;
            std::fs::rename(&fresh, &target).map_err(io(&target))
        }
        Err(e) => Err(io(&target)(e.into())),
    }
}

fn link_tree(from: &Path, to: &Path) -> Result<(), ExportError> {
    std::fs::create_dir_all(to).map_err(io(to))?;
    for e in std::fs::read_dir(from).map_err(io(from))? {
        let e = e.map_err(io(from))?;
        let target = to.join(e.file_name());
        if e.file_type().map_err(io(from))?.is_dir() {
            link_tree(&e.path(), &target)?;
        } else {
            std::fs::hard_link(e.path(), &target).map_err(io(&target))?;
        }
    }
    Ok(())
}
