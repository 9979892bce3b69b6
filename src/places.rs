//! A destination is a place of its own: not the node's folder, whose packs its rules would remove, nor what another destination counts on.

use crate::failure::Failure;
use datanode_actors::objects::{Access, real};
use datanode_actors::publishing::Destination;
use std::path::{Path, PathBuf};

/// Refuses a replica of the vault that is within the data folder, or at a destination of packs.
///
/// # Errors
/// Exit 2.
pub fn check_replica(data_dir: &Path, replica: &Access, all: &[Destination]) -> Result<(), Failure> {
    let meet = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let (root, path) = replica.place().map_err(|e| Failure::usage(format!("vault.replica.url: {e}")))?;
    let data = real(data_dir);
    if root.is_empty() && meet(&path, &data) {
        return Err(Failure::usage(format!(
            "vault.replica.url: {} is within data_dir ({}), or around it; what takes one copy would take both: choose another disk",
            replica.url,
            data.display()
        )));
    }
    for d in all {
        if d.access.place().is_ok_and(|(r, p)| r == root && meet(&p, &path)) {
            return Err(Failure::usage(format!(
                "vault.replica.url: {} is the place of destination {}, or one is within the other; retention there would thin the \
                 copy out: give each its own",
                replica.url, d.name
            )));
        }
    }
    Ok(())
}

/// Refuses a place of backups that is within the data folder, or around it.
///
/// # Errors
/// Exit 2.
pub fn check_backup(data_dir: &Path, place: &Access) -> Result<(), Failure> {
    let (root, path) = place.place().map_err(|e| Failure::usage(format!("backup.url: {e}")))?;
    let data = real(data_dir);
    if root.is_empty() && (path.starts_with(&data) || data.starts_with(&path)) {
        return Err(Failure::usage(format!(
            "backup.url: {} is within data_dir ({}), or around it; what takes one would take both: choose another disk",
            place.url,
            data.display()
        )));
    }
    Ok(())
}

/// Refuses what is not.
///
/// # Errors
/// Exit 2.
pub fn check(data_dir: &Path, all: &[Destination]) -> Result<(), Failure> {
    let meet = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let setting = |name: &str| match name {
        "folder" => "ship.folder".to_owned(),
        _ => format!("ship.destinations.{name}.url"),
    };
    let data = real(data_dir);
    let mut places: Vec<(&str, String, PathBuf)> = Vec::new();
    for d in all {
        let (root, path) = d.access.place().map_err(|e| Failure::usage(format!("{}: {e}", setting(&d.name))))?;
        if root.is_empty() && meet(&path, &data) {
            return Err(Failure::usage(format!(
                "{}: {} is within data_dir ({}), or around it; packs would be brought to where they are: choose a folder outside",
                setting(&d.name),
                d.access.url,
                data.display()
            )));
        }
        if let Some((other, ..)) = places.iter().find(|(_, r, p)| *r == root && meet(p, &path)) {
            return Err(Failure::usage(format!(
                "{}: {} is the place of {}, or one is within the other; what one removes the other would miss: give each its own (for \
                 both forms in one place, mode = \"both\")",
                setting(&d.name),
                d.access.url,
                setting(other)
            )));
        }
        places.push((&d.name, root, path));
    }
    Ok(())
}
