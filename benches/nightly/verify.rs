//! `datanode pack verify` beside coreutils' `sha256sum -c`, on the same files, in turn.

use crate::sums::compare;
use serde_json::json;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

type Fallible<T> = Result<T, Box<dyn Error>>;

const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS.stable.txt";
/// Bytes of a file of the large pack.
const FILE: usize = 1 << 20;

/// Compares both on the pack of the data folder, and on a large one made after its model.
pub fn verify(datanode: &Path, data: &Path, work: &Path, mib: usize) -> Fallible<()> {
    let pack = pack_in(&data.join("exports"))?.ok_or("the nightly left no pack")?;
    compare(datanode, &pack, work, "pack of the nightly", crate::size_of(&pack)?)?;
    if mib > 0 {
        let large = work.join("large-pack");
        make_large(&pack, &large, mib)?;
        compare(datanode, &large, work, "large pack", crate::size_of(&large)?)?;
        std::fs::remove_dir_all(&large)?;
    }
    Ok(())
}

/// The first pack below `exports/<source>`.
fn pack_in(exports: &Path) -> Fallible<Option<PathBuf>> {
    for source in std::fs::read_dir(exports)? {
        for pack in std::fs::read_dir(source?.path())? {
            let pack = pack?.path();
            let name = pack.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with("export_") && pack.join(MANIFEST).is_file() {
                return Ok(Some(pack));
            }
        }
    }
    Ok(None)
}

/// A pack of `mib` files of one MiB each, with the real one's manifest about them: what is compared is hashing, and the
/// start of a process is not most of it.
fn make_large(model: &Path, to: &Path, mib: usize) -> Fallible<()> {
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(model.join(MANIFEST))?)?;
    let of_model =
        manifest.get("files").and_then(|f| f.as_array()).and_then(|f| f.first()).cloned().ok_or("no files")?;
    std::fs::create_dir_all(to.join("data"))?;
    let (mut files, mut sums) = (Vec::new(), String::new());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in 0..mib {
        let mut bytes = Vec::with_capacity(FILE);
        while bytes.len() < FILE {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        let (path, sum) = (format!("data/{i:06}.bin"), datanode_schema::files::sha256_hex(&bytes));
        std::fs::write(to.join(&path), &bytes)?;
        writeln!(sums, "{sum}  {path}")?;
        let mut f = of_model.clone();
        if let Some(o) = f.as_object_mut() {
            o.insert("path".to_owned(), json!(path));
            o.insert("sha256".to_owned(), json!(sum));
            o.insert("bytes".to_owned(), json!(FILE));
            o.insert("rows".to_owned(), json!(1));
        }
        files.push(f);
    }
    if let Some(o) = manifest.as_object_mut() {
        o.insert("files".to_owned(), files.into());
    }
    let text = serde_json::to_string_pretty(&manifest)?;
    writeln!(sums, "{}  {MANIFEST}", datanode_schema::files::sha256_hex(text.as_bytes()))?;
    std::fs::write(to.join(MANIFEST), text)?;
    std::fs::write(to.join(SUMS), sums)?;
    Ok(())
}
