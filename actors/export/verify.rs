//! Verifying a pack folder without the node: nothing of its state is opened, and no table is decoded.
//!
//! A delta has two good forms: as it was made, with its own files alone, and materialised, with those that earlier packs hold
//! beside them. Its sums say which it is; nothing between the two is good.

use super::check::read_text;
use super::manifest::PackManifest;
use super::sums::{BadSums, MANIFEST_FILE, SUMS_FILE, parse_sums};
use crate::parallel;
use datanode_schema::files::{sha256_hex, sha256_plain};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Entries of a folder that nobody listed are named up to so many.
const MAX_NAMED: usize = 1000;

/// Something that is wrong with a pack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackProblem {
    /// Manifest, sums or a path are not valid: exit 4.
    Contract(String),
    /// A file is missing, extra or altered: exit 3.
    Integrity(String),
}

impl PackProblem {
    /// What is wrong, for people.
    pub fn words(&self) -> &str {
        match self {
            Self::Contract(w) | Self::Integrity(w) => w,
        }
    }
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
    /// Files of a delta that lie in earlier packs, and not here.
    pub elsewhere: u64,
    /// Everything that is wrong, sorted; empty for a good pack.
    pub problems: Vec<PackProblem>,
}

/// What the manifest says of the files.
#[derive(Default)]
struct Claims {
    /// Lengths by path.
    bytes: BTreeMap<String, u64>,
}

/// Verifies the pack at `dir` on `threads` threads. Returns None where there is no pack.
pub fn verify_pack(dir: &Path, threads: usize) -> Option<PackReport> {
    let mut report = PackReport::default();
    if !dir.is_dir() {
        return None;
    }
    let (manifest_text, sums_text) = (read_text(&dir.join(MANIFEST_FILE)), read_text(&dir.join(SUMS_FILE)));
    let absent = |r: &io::Result<Vec<u8>>| r.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    if absent(&manifest_text) && absent(&sums_text) {
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
        Err(e) => {
            report.problems.push(unread(SUMS_FILE, &e));
            if e.kind() == io::ErrorKind::Other {
                // Something that nobody may read stands there: there is nothing to compare with.
                report.problems.extend(manifest_text.as_ref().err().map(|e| unread(MANIFEST_FILE, e)));
                return Some(report);
            }
        }
    }
    let claims = match &manifest_text {
        Ok(text) => check_manifest(text, &named, &mut report),
        Err(e) => {
            report.problems.push(unread(MANIFEST_FILE, e));
            Claims::default()
        }
    };
    drop(manifest_text);
    let mut found = Found { named: &named, present: BTreeSet::new(), strange: Vec::new(), problems: Vec::new() };
    found.walk(dir, dir);
    report.problems.append(&mut found.problems);
    compare(dir, &found, &claims, threads, &mut report);
    report.problems.sort();
    report.problems.dedup();
    Some(report)
}

/// What is wrong with the files of a delta that lie in earlier packs, whose folders are below `home`. Their bytes are compared
/// where those packs are verified: here, that each is there and means the same file.
pub fn verify_holders(pack: &Path, home: &Path) -> Vec<PackProblem> {
    let read = |folder: &Path| PackManifest::parse(&read_text(&folder.join(MANIFEST_FILE)).ok()?).ok();
    // A manifest that cannot be read is told by `verify_pack`.
    let Some(m) = read(pack) else { return Vec::new() };
    let mut out = Vec::new();
    for id in m.holders() {
        let folder = home.join(format!("export_{id}"));
        let holder = read(&folder);
        for f in m.files.iter().filter(|f| f.held_by.as_deref() == Some(id)) {
            let told = holder.as_ref().and_then(|h| h.file(&f.path)).filter(|h| h.held_by.is_none());
            let same = told.is_some_and(|h| h.sha256 == f.sha256);
            let there = folder.join(&f.path).symlink_metadata().is_ok_and(|s| s.is_file() && s.len() == f.bytes);
            if !same || !there {
                out.push(PackProblem::Integrity(format!("{}: held by {id}, where it is not", f.path)));
            }
        }
    }
    out
}

/// A text that could not be read: gone, or something else stands in its place.
fn unread(name: &str, e: &io::Error) -> PackProblem {
    match e.kind() {
        io::ErrorKind::NotFound => PackProblem::Integrity(format!("{name}: missing")),
        io::ErrorKind::Other => PackProblem::Contract(format!("{name}: {e}")),
        _ => PackProblem::Integrity(format!("{name}: cannot be read: {e}")),
    }
}

/// The manifest against its own rules and against the sums. A manifest whose bytes are not those that the sums name was
/// altered, which outranks what is wrong with its contents.
fn check_manifest(text: &[u8], named: &BTreeMap<String, String>, report: &mut PackReport) -> Claims {
    let listed = named.get(MANIFEST_FILE);
    let altered = listed.is_some_and(|sum| *sum != sha256_hex(text));
    if listed.is_none() && !named.is_empty() {
        report.problems.push(PackProblem::Integrity(format!("{MANIFEST_FILE}: not listed in {SUMS_FILE}")));
    }
    let m = match PackManifest::parse(text) {
        Ok(m) => m,
        Err(e) => {
            report.problems.push(match altered {
                true => PackProblem::Integrity(format!("{MANIFEST_FILE}: altered ({e})")),
                false => PackProblem::Contract(e.to_string()),
            });
            return Claims::default();
        }
    };
    if altered {
        report.problems.push(PackProblem::Integrity(format!("{MANIFEST_FILE}: altered: its SHA-256 is another")));
    }
    (report.files, report.bytes) = (1, text.len() as u64);
    report.export_id.clone_from(&m.export_id);
    report.rows = m.data_rows();
    let held = m.files.iter().filter(|f| f.held_by.is_some());
    let (all, here) = held.fold((0, 0), |(all, here), f| (all + 1, here + u64::from(named.contains_key(&f.path))));
    if here > 0 && here < all {
        let what = format!("{SUMS_FILE}: lists {here} of the {all} files that earlier packs hold; all, or none");
        report.problems.push(PackProblem::Integrity(what));
    }
    report.elsewhere = all - here;
    let mut claims = Claims::default();
    for f in &m.files {
        match named.get(&f.path) {
            Some(sum) if *sum == f.sha256 => {}
            None if f.held_by.is_some() => continue,
            _ => {
                let what = format!("{}: {MANIFEST_FILE} and {SUMS_FILE} disagree", f.path);
                report.problems.push(PackProblem::Integrity(what));
            }
        }
        claims.bytes.insert(f.path.clone(), f.bytes);
    }
    let known = |p: &str| p == MANIFEST_FILE || m.file(p).is_some();
    for p in named.keys().filter(|p| !known(p)) {
        report.problems.push(PackProblem::Integrity(format!("{p}: not listed in {MANIFEST_FILE}")));
    }
    claims
}

/// What lies in the folder. Links are named and not followed.
struct Found<'a> {
    named: &'a BTreeMap<String, String>,
    present: BTreeSet<String>,
    /// Links, pipes and the like, up to [`MAX_NAMED`].
    strange: Vec<String>,
    problems: Vec<PackProblem>,
}

impl Found<'_> {
    fn walk(&mut self, root: &Path, dir: &Path) {
        let Ok(entries) = std::fs::read_dir(dir) else {
            self.note(PackProblem::Integrity(format!("{}: cannot be listed", dir.display())));
            return;
        };
        for e in entries.flatten() {
            let path = e.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            match e.file_type() {
                Ok(t) if t.is_dir() => self.walk(root, &path),
                Ok(t) if t.is_file() => {
                    if self.named.contains_key(&name) {
                        self.present.insert(name);
                    } else if name != SUMS_FILE {
                        self.note(PackProblem::Integrity(format!("{name}: not listed in {SUMS_FILE}")));
                    }
                }
                _ => {
                    self.note(PackProblem::Contract(format!("{name}: neither a file nor a folder")));
                    if self.strange.len() < MAX_NAMED {
                        self.strange.push(name);
                    }
                }
            }
        }
    }

    /// Whether a path is, or lies behind, something that was told already.
    fn is_strange(&self, path: &str) -> bool {
        self.strange.iter().any(|s| path.strip_prefix(s.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/')))
    }

    /// A folder of ten million strangers is not told one by one.
    fn note(&mut self, problem: PackProblem) {
        match self.problems.len() {
            n if n < MAX_NAMED => self.problems.push(problem),
            MAX_NAMED => self.problems.push(PackProblem::Integrity("and more that is not listed".to_owned())),
            _ => {}
        }
    }
}

/// Every listed file against its sum and its length; the manifest was compared when it was read.
fn compare(dir: &Path, found: &Found<'_>, claims: &Claims, threads: usize, report: &mut PackReport) {
    let files: Vec<(&String, &String)> =
        found.named.iter().filter(|(path, _)| *path != MANIFEST_FILE && !found.is_strange(path)).collect();
    let shares = parallel::each(threads.max(1), &files, |share| {
        let mut mine = (0u64, 0u64, Vec::new());
        while let Some((path, sum)) = share.next() {
            let told = claims.bytes.get(*path).copied();
            match check_file(&dir.join(path), found.present.contains(*path), path, sum, told) {
                Ok(bytes) => {
                    mine.0 += 1;
                    mine.1 += bytes;
                }
                Err(p) => mine.2.push(PackProblem::Integrity(p)),
            }
        }
        mine
    });
    for (files, bytes, problems) in shares {
        report.files += files;
        report.bytes += bytes;
        report.problems.extend(problems);
    }
}

/// The length of a good file, or what is wrong with it. `told`: the manifest's word on its length.
fn check_file(full: &Path, present: bool, path: &str, sum: &str, told: Option<u64>) -> Result<u64, String> {
    // What the walk did not meet is not opened: it is gone, or behind a link.
    if !present {
        return Err(format!("{path}: missing"));
    }
    match sha256_plain(full) {
        Ok((got, _)) if hex::encode(got) != sum => Err(format!("{path}: altered: its SHA-256 is another")),
        Ok((_, bytes)) if told.is_some_and(|t| t != bytes) => {
            Err(format!("{path}: {bytes} bytes, where {MANIFEST_FILE} says {}", told.unwrap_or(0)))
        }
        Ok((_, bytes)) => Ok(bytes),
        Err(e) => Err(format!("{path}: cannot be read: {e}")),
    }
}
