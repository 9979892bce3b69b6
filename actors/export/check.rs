//! Reading `manifest.json`. It comes from outside, so that it is weighed before it is taken apart, and every rule of the
//! published schema is asked again here, with those that a schema cannot say.

use super::manifest::{Excluded, PackFile, PackManifest, SCHEMA_VERSION, TimeWindow};
use super::{ExportId, weight};
use chrono::NaiveDateTime;
use datanode_schema::names::Verdict;
use std::path::Path;

/// The longest manifest or sums that are read.
pub const MAX_TEXT: u64 = 64 << 20;
/// A manifest that names more files is refused.
pub const MAX_FILES: usize = 150_000;
/// The longest path in a pack.
const MAX_PATH: usize = 1024;
/// The longest component of a path: what file systems take.
const MAX_COMPONENT: usize = 255;
/// The longest text that people or settings give.
const MAX_WORDS: usize = 4096;
/// What JSON numbers hold without loss.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A manifest that is not valid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest.json: {0}")]
pub struct ManifestError(pub String);

/// Reads a manifest or sums: a plain file of bounded length. A pipe or a device in its place holds nobody, a link is not
/// followed.
///
/// # Errors
/// It is not there, is no plain file, or is longer than [`MAX_TEXT`].
pub fn read_text(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a plain file"));
    }
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let m = file.metadata()?;
    if !m.is_file() {
        return Err(std::io::Error::other("not a plain file"));
    }
    if m.len() > MAX_TEXT {
        return Err(std::io::Error::other(format!("{} bytes; more than {MAX_TEXT} are not read", m.len())));
    }
    let mut out = Vec::with_capacity(usize::try_from(m.len()).unwrap_or(0));
    file.take(MAX_TEXT).read_to_end(&mut out)?;
    Ok(out)
}

impl PackManifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// What is wrong, with the field.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let fail = |what: String| Err(ManifestError(what));
        if text.len() as u64 > MAX_TEXT {
            return fail(format!("{} bytes; more than {MAX_TEXT} are refused", text.len()));
        }
        weight::weigh(text).map_err(|e| ManifestError(brief(&e)))?;
        let m: Self = serde_json::from_slice(text).map_err(|e| ManifestError(brief(&e.to_string())))?;
        if m.schema_version != SCHEMA_VERSION {
            return fail(format!("schema_version {} where {SCHEMA_VERSION} is known", m.schema_version));
        }
        check_files(&m.files)?;
        check_id(&m)?;
        check_origin(&m)?;
        window("time_window", &m.time_window)?;
        let mut before: Option<&Excluded> = None;
        for e in &m.qc.excluded {
            excluded(e)?;
            if before.is_some_and(|b| b.partition >= e.partition) {
                return fail(format!("qc.excluded: {:?} is out of order or named twice", short(&e.partition)));
            }
            before = Some(e);
        }
        for (field, n) in [("green", m.qc.green), ("amber", m.qc.amber), ("red", m.qc.red), ("pending", m.qc.pending)] {
            number(&format!("qc.{field}"), n)?;
        }
        Ok(m)
    }
}

fn check_files(files: &[PackFile]) -> Result<(), ManifestError> {
    let fail = |what: String| Err(ManifestError(what));
    let mut before: Option<&str> = None;
    for f in files {
        let path = f.path.as_str();
        if let Err(why) = safe_path(path) {
            return fail(format!("files: {:?} {why}", short(path)));
        }
        if !path.starts_with("data/") {
            return fail(format!("files: {path:?} does not lie below data/"));
        }
        if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._=%+-".contains(&b)) {
            return fail(format!("files: {path:?} has a character that no file of a pack has"));
        }
        // Bytes below `/` may stand between a file and what claims to lie inside it, so every parent is looked for.
        if before.is_some_and(|b| b >= path) {
            return fail(format!("files: {path:?} is out of order or named twice"));
        }
        let inside = |parent: &str| files.binary_search_by(|f| f.path.as_str().cmp(parent)).is_ok();
        if path.match_indices('/').filter_map(|(i, _)| path.get(..i)).any(inside) {
            return fail(format!("files: {path:?} lies inside another file"));
        }
        before = Some(path);
        hash(&format!("files: {path:?}: sha256"), &f.sha256)?;
        number(&format!("files: {path:?}: bytes"), f.bytes)?;
        number(&format!("files: {path:?}: rows"), f.rows)?;
        let first = f.dataset.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !first || f.dataset.len() > 64 || !f.dataset.bytes().all(plain) {
            return fail(format!("files: {path:?}: {:?} is no dataset", short(&f.dataset)));
        }
        window(&format!("files: {path:?}: window"), &f.window)?;
    }
    Ok(())
}

/// The id, and what a delta builds on.
fn check_id(m: &PackManifest) -> Result<(), ManifestError> {
    let fail = |what: String| Err(ManifestError(what));
    let Some(id) = ExportId::parse(&m.export_id).filter(|id| id.source == m.source) else {
        let form = format!("YYYYMMDDTHHMMSSZ_{}_full|delta", short(&m.source));
        return fail(format!("export_id {:?} is not {form}", short(&m.export_id)));
    };
    let well_formed = m.created_at_utc.len() == 20
        && NaiveDateTime::parse_from_str(&m.created_at_utc, "%Y-%m-%dT%H:%M:%SZ")
            .is_ok_and(|t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string() == m.created_at_utc)
        && !m.created_at_utc.ends_with(":60Z");
    if !well_formed {
        return fail(format!("created_at_utc {:?} is not YYYY-MM-DDTHH:MM:SSZ", short(&m.created_at_utc)));
    }
    if id.is_delta != m.base_export_id.is_some() {
        return fail("base_export_id belongs to a delta, and only to a delta".to_owned());
    }
    let before = |other: &String| ExportId::parse(other).is_some_and(|o| o.source == id.source && other < &m.export_id);
    if let Some(bad) = m.base_export_id.iter().find(|b| !before(b)) {
        return fail(format!("base_export_id {:?} is no earlier pack of {}", short(bad), m.source));
    }
    for f in &m.files {
        if let Some(holder) = f.held_by.as_ref().filter(|p| !id.is_delta || !before(p)) {
            return fail(format!("files: {:?}: held_by {:?} is no earlier pack", f.path, short(holder)));
        }
    }
    Ok(())
}

/// Producer, calendar, configuration, words.
fn check_origin(m: &PackManifest) -> Result<(), ManifestError> {
    let (p, c) = (&m.producer, &m.calendar);
    for (field, text, longest) in [
        ("producer.host_id", Some(&p.host_id), MAX_COMPONENT),
        ("producer.version", Some(&p.version), MAX_COMPONENT),
        ("producer.image", p.image.as_ref(), MAX_WORDS),
        ("calendar.name", Some(&c.name), MAX_COMPONENT),
        ("calendar.version", Some(&c.version), MAX_COMPONENT),
        ("notes", m.notes.as_ref(), MAX_WORDS),
    ] {
        if text.is_some_and(|t| t.is_empty() || t.chars().count() > longest) {
            return Err(ManifestError(format!("{field} is empty or longer than {longest} characters")));
        }
        if text.is_some_and(|t| t.chars().any(char::is_control)) {
            return Err(ManifestError(format!("{field} has a control character")));
        }
    }
    for (field, head) in [("producer.git_sha", &p.git_sha), ("repo_head", &m.repo_head)] {
        if head.as_ref().is_some_and(|h| !(7..=64).contains(&h.len()) || !h.bytes().all(is_hex)) {
            return Err(ManifestError(format!("{field} is no commit: 7 to 64 lower-case hex digits")));
        }
    }
    hash("calendar.sha256", &c.sha256)?;
    hash("config_sha256", &m.config_sha256)
}

fn excluded(e: &Excluded) -> Result<(), ManifestError> {
    let fail = |what: &str| Err(ManifestError(format!("qc.excluded: {:?} {what}", short(&e.partition))));
    let mut parts = e.partition.split('/');
    let (dataset, symbol, date) = (parts.next(), parts.next(), parts.next());
    let named = |p: Option<&str>| p.is_some_and(|p| !p.is_empty() && p.chars().count() <= MAX_COMPONENT);
    let dated = date.is_some_and(|d| strict_date(d).is_some());
    if !named(dataset) || !named(symbol) || !dated || parts.next().is_some() {
        return fail("is not dataset/symbol/date");
    }
    if e.partition.chars().any(char::is_control) {
        return fail("has a control character");
    }
    if !matches!(e.status, Verdict::Red | Verdict::Amber) {
        return fail("is held out and neither RED nor AMBER");
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if e.reasons.is_empty() || e.reasons.iter().any(|r| r.is_empty() || r.len() > 64 || !r.bytes().all(plain)) {
        return fail("has no reasons, or one that is none");
    }
    Ok(())
}

fn window(field: &str, w: &TimeWindow) -> Result<(), ManifestError> {
    use chrono::Datelike;
    let known = |d: chrono::NaiveDate| (1..=9999).contains(&d.year());
    if w.start > w.end || !known(w.start) || !known(w.end) {
        return Err(ManifestError(format!("{field} {} to {} is no window", w.start, w.end)));
    }
    Ok(())
}

fn number(field: &str, n: u64) -> Result<(), ManifestError> {
    if n > MAX_NUMBER {
        return Err(ManifestError(format!("{field} {n} is out of range")));
    }
    Ok(())
}

fn hash(field: &str, text: &str) -> Result<(), ManifestError> {
    if is_sha256(text) { Ok(()) } else { Err(ManifestError(format!("{field} {:?} is no SHA-256", short(text)))) }
}

/// A date in its one form, YYYY-MM-DD.
pub(super) fn strict_date(text: &str) -> Option<chrono::NaiveDate> {
    text.parse().ok().filter(|d: &chrono::NaiveDate| text.len() == 10 && d.to_string() == text)
}

/// The beginning of a text that may be megabytes.
fn short(text: &str) -> String {
    let mut out: String = text.chars().take(80).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// A parser's words without the middle, where they repeat megabytes of what they were given.
///
/// What they repeat is quoted by no one: control characters are spelt out here.
fn brief(words: &str) -> String {
    let words: String =
        words.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    let n = words.chars().count();
    if n <= 500 {
        return words;
    }
    let (first, last): (String, String) = (words.chars().take(200).collect(), words.chars().skip(n - 200).collect());
    format!("{first} … {last}")
}

/// Whether a path stays inside the folder that it is joined to.
///
/// # Errors
/// What is wrong with it, to follow its name.
pub fn safe_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("is empty or longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Err("is absolute");
    }
    if path.bytes().any(|b| b.is_ascii_control() || b == b'\\') {
        return Err("has a NUL, a control character or a backslash");
    }
    if path.split('/').any(|c| c.is_empty() || c == "." || c == "..") {
        return Err("leaves the pack or has an empty component");
    }
    if path.split('/').any(|c| c.len() > MAX_COMPONENT) {
        return Err("has a component longer than 255 bytes");
    }
    Ok(())
}

fn is_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

pub(super) fn is_sha256(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_pack_are_refused() {
        let long = format!("data/{}", "x".repeat(256));
        for bad in ["", "/etc/passwd", "data/../../x", "data//x", "./x", "data/\0", "data\\x", &"a/".repeat(600), &long]
        {
            assert!(safe_path(bad).is_err(), "{bad:?}");
        }
        assert!(safe_path("data/equities_bars/year=2020/month=01/data.parquet").is_ok());
    }
}
