//! Publishing files: temps written and lines appended, one sync, renames, one sync. Only then may the store say that they exist.
//!
//! Temps live in `<data_dir>/tmp`, on the same file system, so that what a crash leaves behind is one folder to empty.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Whether two names are links of one file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
        _ => false,
    }
}

/// A batch of files that appear together.
pub struct Batch {
    tmp: PathBuf,
    process: u32,
    moves: Vec<(PathBuf, PathBuf)>,
    appends: Vec<(PathBuf, Vec<u8>)>,
}

impl Batch {
    /// A batch below the data folder `root`.
    ///
    /// # Errors
    /// The folder for temps cannot be made.
    pub fn new(root: &Path) -> io::Result<Self> {
        let tmp = root.join("tmp");
        std::fs::create_dir_all(&tmp)?;
        Ok(Self { tmp, process: std::process::id(), moves: Vec::new(), appends: Vec::new() })
    }

    /// A temp that will become `target`; the caller writes it whole before [`Batch::publish`].
    pub fn temp_for(&mut self, target: PathBuf) -> PathBuf {
        let temp = self.tmp.join(format!("{}-{}", self.process, temp_number()));
        self.moves.push((temp.clone(), target));
        temp
    }

    /// Files that will appear.
    pub fn len(&self) -> usize {
        self.moves.len()
    }

    /// Adds a whole file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, target: PathBuf, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(self.temp_for(target), bytes)
    }

    /// Appends a line to a file, before the first sync.
    pub fn append(&mut self, target: PathBuf, line: Vec<u8>) {
        self.appends.push((target, line));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.appends.is_empty()
    }

    /// Makes every file of the batch appear, durably.
    ///
    /// # Errors
    /// The first that failed; temps and targets then are as a crash would leave them, and doing it again is right.
    pub fn publish(self) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        // A line before the files that it tells of: what lies in a file is never without its line, whenever a crash comes.
        crate::failpoint::pass("files.before_lines");
        for (target, line) in &self.appends {
            append(target, line)?;
        }
        if !self.moves.is_empty() {
            crate::failpoint::pass("files.before_sync");
            sync_file_system(&self.tmp)?;
        }
        let mut made: Option<&Path> = None;
        for (temp, target) in &self.moves {
            if let Some(parent) = target.parent()
                && made != Some(parent)
            {
                std::fs::create_dir_all(parent)?;
                made = Some(parent);
            }
            std::fs::rename(temp, target)?;
        }
        crate::failpoint::pass("files.renamed");
        sync_file_system(&self.tmp)?;
        crate::failpoint::pass("files.published");
        Ok(())
    }
}

fn temp_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Appends `line`; a torn last line, which a crash may leave, is cut off first, since nothing was acknowledged for it.
fn append(target: &Path, line: &[u8]) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // A line that another thread is writing looks torn until it is whole: one at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut f = OpenOptions::new().read(true).append(true).create(true).open(target)?;
    trim_torn_line(&mut f)?;
    f.write_all(line)
}

fn trim_torn_line(f: &mut File) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let len = f.metadata()?.len();
    let mut end = len;
    let mut block = [0u8; 4096];
    while end > 0 {
        let start = end.saturating_sub(4096);
        let n = usize::try_from(end - start).unwrap_or(4096);
        let Some(window) = block.get_mut(..n) else { break };
        f.seek(SeekFrom::Start(start))?;
        f.read_exact(window)?;
        if let Some(p) = window.iter().rposition(|b| *b == b'\n') {
            end = start + p as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len { f.set_len(end) } else { Ok(()) }
}

/// Makes everything written so far on the file system of `path` durable.
///
/// # Errors
/// The kernel's, which may be of an earlier write.
pub fn sync_file_system(path: &Path) -> io::Result<()> {
    let f = File::open(path)?;
    nix::unistd::syncfs(&f).map_err(io::Error::from)
}

/// Makes a folder's entries durable.
///
/// # Errors
/// The kernel's.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Replaces `target` with `bytes`, atomically and durably.
///
/// # Errors
/// The first step that failed.
pub fn replace(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let temp = parent.join(format!(".tmp-{}-{}", std::process::id(), temp_number()));
    let mut f = File::create(&temp)?;
    f.write_all(bytes)?;
    f.sync_all()?;
    std::fs::rename(&temp, target)?;
    sync_folder(parent)
}

/// Empties the folder of temps; call it before anything else writes.
///
/// # Errors
/// A temp cannot be removed.
pub fn sweep(root: &Path) -> io::Result<u64> {
    let tmp = root.join("tmp");
    let mut n = 0;
    match std::fs::read_dir(&tmp) {
        Ok(entries) => {
            for e in entries {
                let e = e?;
                if e.file_type()?.is_dir() {
                    std::fs::remove_dir_all(e.path())?
                } else {
                    std::fs::remove_file(e.path())?
                }
                n += 1;
            }
            Ok(n)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

/// SHA-256 of bytes.
pub fn sha256_of(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

/// Hex SHA-256 of bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha256_of(bytes))
}

/// SHA-256 and length of a file, read in pieces.
///
/// # Errors
/// It cannot be read.
pub fn sha256_file(path: &Path) -> io::Result<([u8; 32], u64)> {
    sha256_read(File::open(path)?)
}

/// SHA-256 and length of a plain file; a link is not followed, and a pipe in its place holds nobody.
///
/// # Errors
/// It cannot be read, or is no plain file.
pub fn sha256_plain(path: &Path) -> io::Result<([u8; 32], u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let f = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !f.metadata()?.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    sha256_read(f)
}

/// Hex SHA-256 and length of what is read from an open file.
///
/// # Errors
/// It cannot be read.
pub fn sha256_hex_of(file: File) -> io::Result<(String, u64)> {
    sha256_read(file).map(|(sum, bytes)| (hex::encode(sum), bytes))
}

/// SHA-256 and length of what is read, in pieces.
///
/// # Errors
/// The reader's.
pub fn sha256_read(mut f: impl io::Read) -> io::Result<([u8; 32], u64)> {
    use sha2::Digest;
    let mut h = sha2::Sha256::new();
    let mut buf = vec![0u8; 256 * 1024];
    let mut total = 0u64;
    loop {
        let n = f.read(&mut buf)?;
        let Some(part) = buf.get(..n) else { break };
        if part.is_empty() {
            break;
        }
        h.update(part);
        total += n as u64;
    }
    Ok((h.finalize().into(), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_threads_are_all_there() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("manifest.jsonl");
        // Lines that cross pages: while one is being written, another thread must not take it for torn.
        let line = |t: usize, n: usize| format!("{t} {n} {}\n", "x".repeat(3_000 + 37 * n % 3_000));
        std::thread::scope(|s| {
            for t in 0..4 {
                let (target, line) = (&target, &line);
                s.spawn(move || {
                    for n in 0..400 {
                        append(target, line(t, n).as_bytes()).unwrap();
                    }
                });
            }
        });
        let text = std::fs::read_to_string(&target).unwrap();
        let mut got: Vec<&str> = text.split_inclusive('\n').collect();
        let all: Vec<String> = (0..4).flat_map(|t| (0..400).map(move |n| (t, n))).map(|(t, n)| line(t, n)).collect();
        let mut want: Vec<&str> = all.iter().map(String::as_str).collect();
        got.sort_unstable();
        want.sort_unstable();
        assert_eq!(got.len(), want.len());
        assert!(got == want, "a line is torn");
    }

    #[test]
    fn a_torn_last_line_is_cut_before_the_next_is_appended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m/manifest.jsonl");
        append(&file, b"one\n").unwrap();
        std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"tor").unwrap();
        append(&file, b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_batch_appears_whole_and_leaves_no_temp() {
        let dir = tempfile::tempdir().unwrap();
        let mut b = Batch::new(dir.path()).unwrap();
        b.add(dir.path().join("a/b/c"), b"x").unwrap();
        b.append(dir.path().join("log"), b"line\n".to_vec());
        b.publish().unwrap();
        assert_eq!(std::fs::read(dir.path().join("a/b/c")).unwrap(), b"x");
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}
