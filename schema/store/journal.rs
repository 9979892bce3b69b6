//! The commit journal: the second copy of every acknowledged change, and the audit trail.
//!
//! A segment `seg-N.log` begins with commit N. Its header (44 bytes): magic `dnjseg01`, N, the root before N, crc32. A
//! record (header 48 bytes, then the operations of [`super::batch`]): magic `dnjr`, payload length, root after the
//! commit, crc32 of the payload, crc32 of the header. Numbers are little-endian. Commit numbers run without a hole.
//!
//! A record that is bad is a *torn tail* where nothing readable follows it and no later segment exists: it was being
//! written when the machine stopped. Anything else is damage.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    disk,
    error::{StoreError, io_error},
    root::{ROOT_BYTES, Root},
};

const SEGMENT_MAGIC: &[u8; 8] = b"dnjseg01";
const SEGMENT_HEADER: usize = 8 + ROOT_BYTES + 4;
const RECORD_MAGIC: &[u8; 4] = b"dnjr";
const RECORD_HEADER: usize = 4 + 4 + ROOT_BYTES + 4 + 4;

/// A file of the journal folder: its number is that of its first commit (segment) or of its last one (base).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub number: u64,
    pub path: PathBuf,
}

/// The bases and segments of a journal folder, by number.
pub(crate) fn list(dir: &Path) -> Result<(Vec<Numbered>, Vec<Numbered>), StoreError> {
    let (mut bases, mut segments) = (Vec::new(), Vec::new());
    for name in disk::names(dir)? {
        let number = |head: &str, tail: &str| name.strip_prefix(head)?.strip_suffix(tail)?.parse::<u64>().ok();
        let path = dir.join(&name);
        if let Some(number) = number("base-", ".zst") {
            bases.push(Numbered { number, path });
        } else if let Some(number) = number("seg-", ".log") {
            segments.push(Numbered { number, path });
        }
    }
    bases.sort_by_key(|n| n.number);
    segments.sort_by_key(|n| n.number);
    Ok((bases, segments))
}

/// Removes files that were being written when a process ended.
pub(crate) fn remove_temps(dir: &Path) -> Result<(), StoreError> {
    for name in disk::names(dir)?.iter().filter(|n| n.ends_with(".tmp")) {
        disk::remove(&dir.join(name))?;
    }
    Ok(())
}

fn segment_header(before: &Root) -> Vec<u8> {
    let mut h = SEGMENT_MAGIC.to_vec();
    h.extend_from_slice(&before.to_bytes());
    h.extend_from_slice(&crc32fast::hash(&h).to_le_bytes());
    h
}

fn parse_segment_header(h: &[u8; SEGMENT_HEADER]) -> Option<Root> {
    let (body, crc) = h.split_last_chunk::<4>()?;
    (u32::from_le_bytes(*crc) == crc32fast::hash(body)).then_some(())?;
    Root::from_bytes(body.strip_prefix(SEGMENT_MAGIC)?)
}

struct RecordHeader {
    len: usize,
    root: Root,
    payload_crc: u32,
}

fn parse_record_header(h: &[u8]) -> Option<RecordHeader> {
    let (body, crc) = h.split_last_chunk::<4>()?;
    (u32::from_le_bytes(*crc) == crc32fast::hash(body)).then_some(())?;
    let (len, rest) = body.strip_prefix(RECORD_MAGIC)?.split_first_chunk::<4>()?;
    let (root, payload_crc) = rest.split_last_chunk::<4>()?;
    Some(RecordHeader {
        len: u32::from_le_bytes(*len) as usize,
        root: Root::from_bytes(root)?,
        payload_crc: u32::from_le_bytes(*payload_crc),
    })
}

/// What a [`Reader`] came upon.
#[derive(Debug)]
pub(crate) enum Next {
    /// A whole record; its operations are in the buffer.
    Record(Root),
    /// The end of the segment.
    End,
    /// A bad record at this offset.
    Bad { at: u64, why: String },
}

/// Reads one segment from its beginning.
pub(crate) struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    len: u64,
    at: u64,
    /// The root after the last record that was read.
    pub root: Root,
}

impl Reader {
    /// Opens a segment; the inner error says what is wrong with its header.
    pub fn open(segment: &Numbered) -> Result<Result<Reader, String>, StoreError> {
        let path = segment.path.clone();
        let file = File::open(&path).map_err(io_error("open", &path))?;
        let len = file.metadata().map_err(io_error("measure", &path))?.len();
        let mut file = BufReader::with_capacity(256 << 10, file);
        let mut h = [0; SEGMENT_HEADER];
        if len < SEGMENT_HEADER as u64 {
            return Ok(Err(format!("{} is shorter than its header", path.display())));
        }
        file.read_exact(&mut h).map_err(io_error("read", &path))?;
        Ok(match parse_segment_header(&h) {
            Some(root) if root.commit + 1 == segment.number => {
                Ok(Reader { file, path, len, at: SEGMENT_HEADER as u64, root })
            }
            Some(_) => Err(format!("{} begins with another commit than its name says", path.display())),
            None => Err(format!("the header of {} is damaged", path.display())),
        })
    }

    /// Reads the next record's operations into `payload`.
    pub fn next(&mut self, payload: &mut Vec<u8>) -> Result<Next, StoreError> {
        let left = self.len - self.at;
        if left == 0 {
            return Ok(Next::End);
        }
        let bad = |at: u64, why: &str| Ok(Next::Bad { at, why: why.to_owned() });
        if left < RECORD_HEADER as u64 {
            return bad(self.at, "a header is cut short");
        }
        let mut h = [0; RECORD_HEADER];
        self.file.read_exact(&mut h).map_err(io_error("read", &self.path))?;
        let Some(header) = parse_record_header(&h) else { return bad(self.at, "a header is damaged") };
        if header.root.commit != self.root.commit + 1 {
            return bad(self.at, "a commit number is out of order");
        }
        if header.len as u64 > left - RECORD_HEADER as u64 {
            return bad(self.at, "a record is cut short");
        }
        payload.resize(header.len, 0);
        self.file.read_exact(payload).map_err(io_error("read", &self.path))?;
        if crc32fast::hash(payload) != header.payload_crc {
            return bad(self.at, "the checksum of a record does not match");
        }
        self.at += (RECORD_HEADER + header.len) as u64;
        self.root = header.root;
        Ok(Next::Record(header.root))
    }
}

/// True where a readable record header with a later commit stands behind `at`: then what is bad there is no torn tail.
fn later_record_follows(path: &Path, at: u64, bad_commit: u64) -> Result<bool, StoreError> {
    let mut f = File::open(path).map_err(io_error("open", path))?;
    let mut rest = Vec::new();
    f.seek(SeekFrom::Start(at)).and_then(|_| f.read_to_end(&mut rest)).map_err(io_error("read", path))?;
    Ok(rest
        .windows(RECORD_HEADER)
        .filter(|w| w.starts_with(RECORD_MAGIC))
        .filter_map(parse_record_header)
        .any(|h| h.root.commit > bad_commit))
}

/// A torn tail, to be cut off.
#[derive(Debug, Clone)]
pub(crate) struct Torn {
    pub path: PathBuf,
    pub at: u64,
    pub why: String,
}

/// Where a journal ends.
#[derive(Debug)]
pub(crate) struct End {
    pub root: Root,
    pub torn: Option<Torn>,
    /// Set where records cannot be read though later ones were written: everything behind is out of reach.
    pub damage: Option<String>,
    pub records: u64,
    /// Bytes of the last segment up to the end of its last whole record.
    pub at: u64,
}

/// Reads the segments in order and calls `f` with every record; stops at the first damage.
pub(crate) fn read(
    segments: &[Numbered],
    mut f: impl FnMut(&Root, &[u8]) -> Result<(), StoreError>,
) -> Result<End, StoreError> {
    let mut end = End { root: Root::default(), torn: None, damage: None, records: 0, at: 0 };
    let mut payload = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        let mut reader = match Reader::open(segment)? {
            Ok(r) => r,
            Err(why) => return Ok(End { damage: Some(why), ..end }),
        };
        if i > 0 && reader.root != end.root {
            let why = format!("{} does not continue the segment before it", segment.path.display());
            return Ok(End { damage: Some(why), ..end });
        }
        end.root = reader.root;
        end.at = reader.at;
        loop {
            match reader.next(&mut payload)? {
                Next::Record(root) => {
                    f(&root, &payload)?;
                    end.root = root;
                    end.records += 1;
                    end.at = reader.at;
                }
                Next::End => break,
                Next::Bad { at, why } => {
                    let last = i + 1 == segments.len();
                    let why =
                        format!("{} at byte {at} (commit {}): {why}", segment.path.display(), end.root.commit + 1);
                    if last && !later_record_follows(&segment.path, at, end.root.commit + 1)? {
                        end.torn = Some(Torn { path: segment.path.clone(), at, why });
                    } else {
                        end.damage = Some(why);
                    }
                    return Ok(end);
                }
            }
        }
    }
    Ok(end)
}

/// Appends records to the last segment.
pub(crate) struct Writer {
    dir: PathBuf,
    file: File,
    path: PathBuf,
    len: u64,
    root: Root,
    buf: Vec<u8>,
    /// Tests let the next sync fail.
    #[cfg(test)]
    pub fail_sync: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Writer {
    /// Begins a segment after `root`.
    pub fn create(dir: &Path, root: Root) -> Result<Writer, StoreError> {
        let path = dir.join(format!("seg-{:020}.log", root.commit + 1));
        let temp = path.with_extension("tmp");
        let mut f = disk::create(&temp)?;
        f.write_all(&segment_header(&root)).and_then(|()| f.sync_all()).map_err(io_error("write", &temp))?;
        drop(f);
        disk::publish(&temp, &path)?;
        Writer::append_to(dir, path, root)
    }

    /// Continues a segment that ends with `root` and has no torn tail.
    pub fn append_to(dir: &Path, path: PathBuf, root: Root) -> Result<Writer, StoreError> {
        let mut file = OpenOptions::new().write(true).open(&path).map_err(io_error("open", &path))?;
        let len = file.seek(SeekFrom::End(0)).map_err(io_error("seek in", &path))?;
        Ok(Writer {
            dir: dir.to_path_buf(),
            file,
            path,
            len,
            root,
            buf: Vec::new(),
            #[cfg(test)]
            fail_sync: Default::default(),
        })
    }

    /// Appends a record and makes it durable.
    pub fn append(&mut self, root: &Root, parts: &[&[u8]]) -> Result<(), StoreError> {
        let mut crc = crc32fast::Hasher::new();
        let mut len = 0;
        for p in parts {
            crc.update(p);
            len += p.len();
        }
        let buf = &mut self.buf;
        buf.clear();
        buf.extend_from_slice(RECORD_MAGIC);
        buf.extend_from_slice(&(len as u32).to_le_bytes());
        buf.extend_from_slice(&root.to_bytes());
        buf.extend_from_slice(&crc.finalize().to_le_bytes());
        buf.extend_from_slice(&crc32fast::hash(buf).to_le_bytes());
        for p in parts {
            buf.extend_from_slice(p);
        }
        self.file.write_all(buf).map_err(io_error("append to", &self.path))?;
        #[cfg(test)]
        if self.fail_sync.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io_error("sync", &self.path)(std::io::Error::from_raw_os_error(libc::EIO)));
        }
        self.file.sync_data().map_err(io_error("sync", &self.path))?;
        self.len += self.buf.len() as u64;
        self.root = *root;
        if self.buf.capacity() > 4 << 20 {
            self.buf = Vec::new();
        }
        Ok(())
    }

    /// Bytes of the current segment.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Begins a new segment, unless the current one is still without a record.
    pub fn rotate(&mut self) -> Result<(), StoreError> {
        if self.len == SEGMENT_HEADER as u64 {
            return Ok(());
        }
        #[cfg(test)]
        let fail_sync = self.fail_sync.clone();
        *self = Writer::create(&self.dir, self.root)?;
        #[cfg(test)]
        {
            self.fail_sync = fail_sync;
        }
        Ok(())
    }
}

/// Cuts a torn tail off, durably.
pub(crate) fn cut(torn: &Torn) -> Result<(), StoreError> {
    let f = OpenOptions::new().write(true).open(&torn.path).map_err(io_error("open", &torn.path))?;
    f.set_len(torn.at).and_then(|()| f.sync_all()).map_err(io_error("cut the torn tail of", &torn.path))
}

/// Removes the segments that hold only commits up to `commit`, never the last one.
pub(crate) fn prune(segments: &[Numbered], commit: u64) -> Result<(), StoreError> {
    for (a, b) in segments.iter().zip(segments.iter().skip(1)) {
        if b.number <= commit + 1 {
            fs::remove_file(&a.path).map_err(io_error("remove", &a.path))?;
        }
    }
    match segments.first() {
        Some(s) => disk::sync_parent(&s.path),
        None => Ok(()),
    }
}
