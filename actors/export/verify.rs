//! Verifying a pack folder without the node: nothing of its state is opened.

use super::manifest::PackManifest;
use super::sums::{BadSums, MANIFEST_FILE, SUMS_FILE, parse_sums};
use datanode_schema::files::{sha256_file, sha256_hex};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that is wrong with a pack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackProblem {
    /// Manifest, sums or a path are not valid: exit 4.
    Contract(String),
    /// A file is missing, extra or altered: exit 3.
    Integrity(String),
}

/// What verifying found.
#[derive(Clone, Debug, Default)]
pub struct PackReport {
    /// The pack's id, where its manifest could be read.
    pub export_id: String,
    /// Files compared.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Rows that the manifest claims.
    pub rows: u64,
    /// Everything that is wrong, sorted; empty for a good pack.
    pub problems: Vec<PackProblem>,
}

/// Verifies the pack at `dir` on `threads` threads. Returns None where there is no pack.
pub fn verify_pack(dir: &Path, threads: usize) -> Option<PackReport> {
    let mut report = PackReport::default();
    if !dir.is_dir() {
        return None;
    }
    let (manifest_text, sums_text) = (read_plain(&dir.join(MANIFEST_FILE)), read_plain(&dir.join(SUMS_FILE)));
    if manifest_text.is_err() && sums_text.is_err() {
        return None;
    }
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    match sums_text.map(String::from_utf8) {
        Ok(Ok(text)) => match parse_sums(&text) {
            Ok(sums) => named.extend(sums.into_iter().map(|(s, p)| (p, s))),
            // A sums file that was made by us and does not parse was altered.
            Err(BadSums::Altered(e)) => report.problems.push(PackProblem::Integrity(e)),
            // Nothing of it is believed, and nothing is looked at by it.
            Err(BadSums::Path(e)) => {
                report.problems.push(PackProblem::Contract(e));
                return Some(report);
            }
        },
        Ok(Err(_)) => report.problems.push(PackProblem::Integrity(format!("{SUMS_FILE}: altered: not text"))),
        Err(e) => report.problems.push(PackProblem::Integrity(format!("{SUMS_FILE}: missing: {e}"))),
    }
    match &manifest_text {
        Ok(text) => check_manifest(text, &named, &mut report),
        Err(e) => report.problems.push(PackProblem::Integrity(format!("{MANIFEST_FILE}: missing: {e}"))),
    }
    let mut present = BTreeSet::new();
    walk(dir, dir, &mut present, &mut report.problems);
    for extra in present.iter().filter(|p| *p != SUMS_FILE && !named.contains_key(*p)) {
        report.problems.push(PackProblem::Integrity(format!("{extra}: not listed in {SUMS_FILE}")));
    }
    compare(dir, &named, threads, &mut report);
    report.problems.sort();
    report.problems.dedup();
    Some(report)
}

/// The longest manifest or sums that are read.
const MAX_TEXT: u64 = 1 << 30;

/// Reads a plain file of bounded length; a pipe or a device in its place must not hold us.
fn read_plain(path: &Path) -> std::io::Result<Vec<u8>> {
    let m = std::fs::symlink_metadata(path)?;
    if !m.is_file() || m.len() > MAX_TEXT {
        return Err(std::io::Error::other("not a plain file, or longer than a gibibyte"));
    }
    std::fs::read(path)
}

/// The manifest against its own rules and against the sums. A manifest whose bytes are not those that the sums name was
/// altered, which outranks what is wrong with its contents.
fn check_manifest(text: &[u8], named: &BTreeMap<String, String>, report: &mut PackReport) {
    let listed = named.get(MANIFEST_FILE);
    let altered = listed.is_some_and(|sum| *sum != sha256_hex(text));
    if listed.is_none() && !named.is_empty() {
        report.problems.push(PackProblem::Integrity(format!("{MANIFEST_FILE}: not listed in {SUMS_FILE}")));
    }
    match PackManifest::parse(text) {
        Ok(m) => {
            report.export_id.clone_from(&m.export_id);
            report.rows = m.files.iter().filter(|f| f.dataset != "qc").map(|f| f.rows).sum();
            for f in &m.files {
                if named.get(&f.path) != Some(&f.sha256) {
                    let what = format!("{}: {MANIFEST_FILE} and {SUMS_FILE} disagree", f.path);
                    report.problems.push(PackProblem::Integrity(what));
                }
            }
            let listed: BTreeSet<&str> = m.files.iter().map(|f| f.path.as_str()).collect();
            for p in named.keys().filter(|p| *p != MANIFEST_FILE && !listed.contains(p.as_str())) {
                report.problems.push(PackProblem::Integrity(format!("{p}: not listed in {MANIFEST_FILE}")));
            }
        }
        Err(e) if altered => report.problems.push(PackProblem::Integrity(format!("{MANIFEST_FILE}: altered ({e})"))),
        Err(e) => report.problems.push(PackProblem::Contract(e.to_string())),
    }
}

fn walk(root: &Path, dir: &Path, out: &mut BTreeSet<String>, problems: &mut Vec<PackProblem>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        problems.push(PackProblem::Integrity(format!("{}: cannot be listed", dir.display())));
        return;
    };
    for e in entries.flatten() {
        let path = e.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        match e.file_type() {
            Ok(t) if t.is_dir() => walk(root, &path, out, problems),
            Ok(t) if t.is_file() => {
                out.insert(name);
            }
            _ => problems.push(PackProblem::Contract(format!("{name}: neither a file nor a folder"))),
        }
    }
}

fn compare(dir: &Path, named: &BTreeMap<String, String>, threads: usize, report: &mut PackReport) {
    let files: Vec<(&String, &String)> = named.iter().collect();
    let next = AtomicUsize::new(0);
    let found: Mutex<(u64, u64, Vec<PackProblem>)> = Mutex::default();
    std::thread::scope(|s| {
        for _ in 0..threads.max(1) {
            s.spawn(|| {
                while let Some((path, sum)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let full: PathBuf = dir.join(path);
                    let problem = match std::fs::symlink_metadata(&full) {
                        Ok(m) if !m.is_file() => Err(PackProblem::Contract(format!("{path}: not a plain file"))),
                        Ok(_) => match sha256_file(&full) {
                            Ok((got, bytes)) if hex::encode(got) == **sum => Ok(bytes),
                            Ok(_) => Err(PackProblem::Integrity(format!("{path}: altered: its SHA-256 is another"))),
                            Err(e) => Err(PackProblem::Integrity(format!("{path}: cannot be read: {e}"))),
                        },
                        Err(_) => Err(PackProblem::Integrity(format!("{path}: missing"))),
                    };
                    if let Ok(mut f) = found.lock() {
                        match problem {
                            Ok(bytes) => {
                                f.0 += 1;
                                f.1 += bytes;
                            }
                            Err(p) => f.2.push(p),
                        }
                    }
                }
            });
        }
    });
    if let Ok((files, bytes, problems)) = found.into_inner() {
        report.files = files;
        report.bytes = bytes;
        report.problems.extend(problems);
    }
}
