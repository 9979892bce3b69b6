//! A pack as one file: `export_<id>.tar.zst` beside its folder. The same pack gives the same bytes.
//!
//! Files in the order of their paths below `export_<id>/`, each with the pack's time, owner 0 and mode 0644; zstd at one
//! level on one thread, with its checksum.

use super::{ExportError, MANIFEST_FILE, PackManifest, SUMS_FILE, io};
use chrono::DateTime;
use datanode_schema::files::sync_folder;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

/// Tables are compressed inside already: a higher level costs time and saves nothing.
const LEVEL: i32 = 1;

/// Writes the archive of the pack in `folder` to `temp`, durably.
///
/// # Errors
/// A file cannot be read, is not as long as the manifest says, or there is no space.
pub fn write_archive(folder: &Path, m: &PackManifest, temp: &Path) -> Result<(), ExportError> {
    let mtime = DateTime::parse_from_rfc3339(&m.created_at_utc).map_or(0, |t| t.timestamp());
    let mtime = u64::try_from(mtime).unwrap_or(0);
    let out = File::create(temp).map_err(io(temp))?;
    let mut zstd = zstd::Encoder::new(out, LEVEL).map_err(io(temp))?;
    zstd.include_checksum(true).map_err(io(temp))?;
    let mut tar = tar::Builder::new(zstd);
    let mut names: Vec<(&str, Option<u64>)> = m.own_files().map(|f| (f.path.as_str(), Some(f.bytes))).collect();
    names.extend([(MANIFEST_FILE, None), (SUMS_FILE, None)]);
    names.sort_unstable();
    for (name, told) in names {
        let path = folder.join(name);
        let file = File::open(&path).map_err(io(&path))?;
        let length = file.metadata().map_err(io(&path))?.len();
        if told.is_some_and(|n| n != length) {
            return Err(ExportError::Damaged {
                path: path.display().to_string(),
                cause: "its length is another".into(),
            });
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mtime(mtime);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        let inside = format!("export_{}/{name}", m.export_id);
        let exact = BufReader::with_capacity(256 * 1024, file).take(length);
        tar.append_data(&mut header, inside, exact).map_err(io(&path))?;
    }
    let zstd = tar.into_inner().map_err(io(temp))?;
    let mut out = zstd.finish().map_err(io(temp))?;
    out.flush().and_then(|()| out.sync_all()).map_err(io(temp))
}

/// Gives a written archive its name.
///
/// # Errors
/// The folder cannot be written.
pub fn publish_archive(temp: &Path, target: &Path) -> Result<(), ExportError> {
    std::fs::rename(temp, target).map_err(io(target))?;
    let parent = target.parent().unwrap_or(target);
    sync_folder(parent).map_err(io(parent))
}
