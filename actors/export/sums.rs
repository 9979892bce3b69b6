//! `SHA256SUMS.stable.txt`: every file of the folder but itself, sorted by path bytewise, as `sha256sum -c` reads it.
//!
//! A line is `^[0-9a-f]{64}  (manifest\.json|data(/[A-Za-z0-9._=%+-]{1,255})+)$`, and every line ends with one LF. A delta as
//! it was made lists its own files; once materialised beside those of earlier packs, all of them.

use super::check::{MAX_FILES, is_sha256, safe_path};

/// The manifest's name.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The sums' name.
pub const SUMS_FILE: &str = "SHA256SUMS.stable.txt";

/// The text for (hex sum, path) pairs.
pub fn format_sums(mut sums: Vec<(String, String)>) -> String {
    sums.sort_by(|a, b| a.1.as_bytes().cmp(b.1.as_bytes()));
    sums.iter().map(|(sum, path)| format!("{sum}  {path}\n")).collect()
}

/// Sums that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSums {
    /// Not what the exporter writes: it was altered.
    Altered(String),
    /// A path that leaves the pack: whoever wrote it broke the contract.
    Path(String),
}

/// The (hex sum, path) pairs of a text.
///
/// # Errors
/// The first line that is not one, that names an unsafe path, or that is out of order.
pub fn parse_sums(text: &str) -> Result<Vec<(String, String)>, BadSums> {
    let mut out: Vec<(String, String)> = Vec::new();
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(BadSums::Altered(format!("{SUMS_FILE}: the last line is cut off")));
    }
    for (i, line) in text.split_terminator('\n').enumerate() {
        let at = |why: &str| format!("{SUMS_FILE}:{}: {why}", i + 1);
        let bad = |why: &str| BadSums::Altered(at(why));
        if i > MAX_FILES {
            return Err(bad("more files than a pack has"));
        }
        let (sum, path) = line.split_once("  ").ok_or_else(|| bad("not `<sha256>  <path>`"))?;
        if !is_sha256(sum) {
            return Err(bad("not a SHA-256 in lower-case hex"));
        }
        safe_path(path)
            .map_err(|why| BadSums::Path(at(&format!("{:?} {why}", path.chars().take(80).collect::<String>()))))?;
        if out.last().is_some_and(|(_, before)| before.as_bytes() >= path.as_bytes()) {
            return Err(bad("out of order or twice"));
        }
        if path == SUMS_FILE {
            return Err(bad("lists itself"));
        }
        out.push((sum.to_owned(), path.to_owned()));
    }
    Ok(out)
}
