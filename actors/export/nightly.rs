//! `exports/nightly/<as-of>`: the pack under the session's date.

use super::{ExportError, MANIFEST_FILE, io};
use crate::node::{Node, RunContext};
use datanode_schema::failpoint;
use datanode_schema::files::same_file;
use std::path::Path;

/// `exports/nightly/<as-of>`: the same files, hard-linked; a rerun replaces the folder whole.
pub fn link_nightly(node: &Node, run: &RunContext, pack: &Path) -> Result<(), ExportError> {
    let target = node.data.nightly(run.as_of);
    if same_file(&pack.join(MANIFEST_FILE), &target.join(MANIFEST_FILE)) {
        return Ok(());
    }
    let tmp = node.data.root().join("tmp");
    let (fresh, old) = (tmp.join(format!("nightly-{}", run.as_of)), tmp.join(format!("nightly-old-{}", run.as_of)));
    for d in [&fresh, &old] {
        if d.exists() {
            std::fs::remove_dir_all(d).map_err(io(d))?;
        }
    }
    link_tree(pack, &fresh)?;
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(io(parent))?;
    }
    if target.exists() {
        std::fs::rename(&target, &old).map_err(io(&target))?;
    }
    failpoint::pass("export.nightly");
    std::fs::rename(&fresh, &target).map_err(io(&target))?;
    if old.exists() {
        std::fs::remove_dir_all(&old).map_err(io(&old))?;
    }
    Ok(())
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
