//! Paths of a pack: data from outside, whoever wrote them.
//!
//! Also reads `SHA256SUMS.stable.txt`, the list that says which paths a pack has.

use std::collections::BTreeSet;

use super::error::SealError;

/// The list of a pack's files, itself not in the list.
pub const SUMS: &str = "SHA256SUMS.stable.txt";
/// The pack's own manifest, in the list.
pub const MANIFEST: &str = "manifest.json";

const MAX_PATH: usize = 1024;
const MAX_COMPONENT: usize = 255;

/// Whether a path may be created beneath a folder: relative, `/`-separated, nothing that leaves, hides or confuses.
/// Says what is wrong otherwise.
pub fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("is empty or longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Err("is absolute");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("holds a control character or a backslash");
    }
    for component in path.split('/') {
        match component {
            "" => return Err("has an empty component"),
            "." | ".." => return Err("has a component `.` or `..`"),
            long if long.len() > MAX_COMPONENT => return Err("has a component longer than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

/// Checks a whole list: each path alone, no duplicate, none that is also the folder of another.
pub fn check_all<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Result<(), SealError> {
    let refuse = |path: &str, why: &str| {
        SealError::contract(
            format!("path {path:?} in the sealed manifest"),
            format!("{why}; nothing was written for it"),
        )
    };
    let mut seen = BTreeSet::new();
    for path in paths.clone() {
        check(path).map_err(|why| refuse(path, why))?;
        if !seen.insert(path) {
            return Err(refuse(path, "is there twice"));
        }
    }
    for path in paths {
        let mut folder = path;
        while let Some((parent, _)) = folder.rsplit_once('/') {
            if seen.contains(parent) {
                return Err(refuse(path, "lies beneath another file"));
            }
            folder = parent;
        }
    }
    Ok(())
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Path within the pack.
    pub path: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
}

/// Parses `SHA256SUMS.stable.txt`: lines `<hex>  <path>`, sorted bytewise by path, all paths valid, `manifest.json`
/// among them.
pub fn parse_sums(text: &str) -> Result<Vec<Sum>, SealError> {
    let refuse = |why: String| SealError::contract(SUMS, format!("{why}; export the pack again"));
    let mut sums: Vec<Sum> = Vec::new();
    for (number, line) in (1..).zip(text.split_terminator('\n')) {
        let (sha256, path) =
            line.split_once("  ").ok_or_else(|| refuse(format!("line {number} is not `<sha256>  <path>`")))?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if sha256.len() != 64 || !sha256.bytes().all(is_hex) {
            return Err(refuse(format!("line {number} has no lower-case SHA-256")));
        }
        check(path).map_err(|why| refuse(format!("path {path:?} on line {number} {why}")))?;
        if sums.last().is_some_and(|last| last.path.as_str() >= path) {
            return Err(refuse(format!("line {number} is not sorted bytewise by path")));
        }
        sums.push(Sum { path: path.to_owned(), sha256: sha256.to_owned() });
    }
    if !text.ends_with('\n') || !sums.iter().any(|sum| sum.path == MANIFEST) {
        return Err(refuse("has no line of manifest.json or no newline at its end".to_owned()));
    }
    if sums.iter().any(|sum| sum.path == SUMS) {
        return Err(refuse("lists itself".to_owned()));
    }
    check_all(sums.iter().map(|sum| sum.path.as_str()))?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused_and_plain_ones_are_not() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\0b",
            "a\\b",
            "a\nb",
            "\u{7f}",
            "\u{85}",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"a".repeat(256)).is_err());
        assert!(check(&"ab/".repeat(400)).is_err());
        for good in ["manifest.json", "data/BRK.B/date=2024-01-02/x.parquet", "..a/b..", "ä/ö", &"a".repeat(255)] {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_list_with_a_duplicate_or_a_file_beneath_a_file_is_refused() {
        assert!(check_all(["a", "b", "a"].into_iter()).is_err());
        assert!(check_all(["a", "a/b/c"].into_iter()).is_err());
        assert!(check_all(["a/b", "a/c", "ab"].into_iter()).is_ok());
    }

    #[test]
    fn sums_that_are_unsorted_malformed_or_without_manifest_are_refused() {
        let h = "0".repeat(64);
        assert_eq!(parse_sums(&format!("{h}  data/a\n{h}  manifest.json\n")).unwrap().len(), 2);
        for bad in [
            format!("{h}  data/a\n"),
            format!("{h}  manifest.json"),
            format!("{h}  manifest.json\n{h}  data/a\n"),
            format!("{h} manifest.json\n"),
            format!("{}  manifest.json\n", "A".repeat(64)),
            format!("{h}  data/../a\n{h}  manifest.json\n"),
            format!("{h}  {SUMS}\n{h}  manifest.json\n"),
            String::new(),
        ] {
            assert!(parse_sums(&bad).is_err(), "{bad:?}");
        }
    }
}
