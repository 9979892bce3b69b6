//! The collector's files: the hour's open one, closing it, recovering what a kill left, and the manifest lines.
//!
//! Closing is a rename of a synced file, so a crash leaves an open file or a closed one. The manifest line follows; a closed file
//! without one gets it at the next start. Nothing here writes into a closed file.

use super::parse::Record;
use super::segment::{self, End};
use super::{BooksError, io};
use crate::quarantine::{Acts, seen};
use chrono::{DateTime, NaiveDate, Utc};
use datanode_schema::clock::{Clock, rfc3339};
use datanode_schema::failpoint;
use datanode_schema::files::{self, sha256_file, sync_folder};
use datanode_schema::manifest::{self, Line, VERSION, Written};
use datanode_schema::names::{Dataset, Outcome, Vendor};
use datanode_schema::paths::DataDir;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const VENDOR: Vendor = Vendor::Polymarket;
const DATASET: Dataset = Dataset::PredictionBooks;

/// What keeping needs.
#[derive(Clone)]
pub(super) struct Keeper {
    data: DataDir,
    clock: Clock,
}

/// The file of the hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    date: NaiveDate,
    hour: u32,
    /// Its name when it is closed, without the endings: `07` or `07-2`.
    name: String,
    path: PathBuf,
    /// Of every book in it.
    pub(super) request_id: String,
}

/// A closed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) date: NaiveDate,
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// What recovering found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    pub(super) files: u64,
    pub(super) books: u64,
}

impl Closed {
    /// Its path as manifest lines have it.
    pub(super) fn relative(&self) -> String {
        format!("{VENDOR}/{DATASET}/date={}/{}.jsonl.gz", self.date, self.name)
    }
}

impl Keeper {
    /// Of a data folder.
    pub(super) fn new(data: DataDir, clock: Clock) -> Self {
        Self { data, clock }
    }

    fn root(&self) -> PathBuf {
        self.data.raw().join(VENDOR.name()).join(DATASET.name())
    }

    fn folder(&self, date: NaiveDate) -> PathBuf {
        self.root().join(format!("date={date}"))
    }

    /// The file for what comes now; nothing is made before the first book.
    pub(super) fn open(&self, now: DateTime<Utc>) -> Open {
        let (date, hour) = (now.date_naive(), chrono::Timelike::hour(&now));
        let folder = self.folder(date);
        let name = free_name(&folder, hour);
        let request_id = request_id(date, &name);
        Open { date, hour, path: folder.join(format!("{hour:02}.jsonl.gz.open")), name, request_id }
    }

    /// Appends books, durably.
    pub(super) fn append(&self, open: &Open, records: &[Record]) -> Result<(), BooksError> {
        let encode = |r: &Record| serde_json::to_vec(r).map_err(std::io::Error::from);
        let lines: Vec<Vec<u8>> = records.iter().map(encode).collect::<Result<_, _>>().map_err(io(&open.path))?;
        if lines.is_empty() {
            return Ok(());
        }
        let folder = self.folder(open.date);
        let fresh = !open.path.exists();
        if fresh {
            std::fs::create_dir_all(&folder).map_err(io(&folder))?;
        }
        segment::append(&open.path, &lines).map_err(io(&open.path))?;
        if fresh {
            sync_folder(&folder).map_err(io(&folder))?;
        }
        failpoint::pass("books.appended");
        Ok(())
    }

    /// Closes the hour's file; None where nothing came.
    pub(super) fn close(&self, open: &Open) -> Result<Option<Closed>, BooksError> {
        if !open.path.exists() {
            return Ok(None);
        }
        let folder = self.folder(open.date);
        // The name was free when the file was begun; it is looked for again, since no closed file is ever replaced.
        let name = free_name(&folder, open.hour);
        let target = folder.join(format!("{name}.jsonl.gz"));
        failpoint::pass("books.closing");
        std::fs::rename(&open.path, &target).map_err(io(&target))?;
        sync_folder(&folder).map_err(io(&folder))?;
        failpoint::pass("books.closed");
        let closed = Closed { date: open.date, name, path: target };
        self.note(std::slice::from_ref(&closed))?;
        Ok(Some(closed))
    }

    /// Closes every file that an earlier process left open, cut back to its last whole book, and writes the manifest lines that
    /// are not there. Closed files are read at most.
    pub(super) fn recover(&self, acts: &Acts) -> Result<Recovered, BooksError> {
        let mut out = Recovered::default();
        for (date, folder) in self.dates()? {
            for (hour, path) in open_files(&folder)? {
                if let Some(books) = self.recover_one(&path, acts)? {
                    let open = Open { date, hour, name: String::new(), path, request_id: String::new() };
                    self.close(&open)?;
                    out.files += 1;
                    out.books += books;
                }
            }
            let missing = self.without_line(date)?;
            self.note(&missing)?;
        }
        Ok(out)
    }

    /// The books of an open file, which then ends with a whole member; None where it held none and is gone.
    fn recover_one(&self, path: &Path, acts: &Acts) -> Result<Option<u64>, BooksError> {
        let good = |l: &[u8]| serde_json::from_slice::<Record>(l).is_ok();
        let tmp = self.data.root().join("tmp");
        std::fs::create_dir_all(&tmp).map_err(io(&tmp))?;
        let temp = tmp.join(format!("books-{}", std::process::id()));
        let (books, end) = segment::recover(path, &temp, good).map_err(io(path))?;
        failpoint::pass("books.recovered");
        if let (false, Some(file)) = (end == End::Whole, self.below_data_layer(path)) {
            let how = if end == End::Torn { "was cut off" } else { "is damaged; it was set aside whole" };
            seen::unclosed(acts, file, format!("a kill left it open and its end {how}; {books} whole books were kept"));
        }
        match &end {
            End::Whole if books > 0 => {
                // It is as it should be: its own bytes stay.
                std::fs::remove_file(&temp).map_err(io(&temp))?;
                return Ok(Some(books));
            }
            End::Damaged(why) => {
                let aside = path.with_extension("damaged");
                tracing::error!(file = %path.display(), why, kept = %aside.display(), "an unclosed file is damaged; its whole books are taken over, the file is set aside");
                std::fs::copy(path, &aside)
                    .and_then(|_| std::fs::File::open(&aside)?.sync_all())
                    .map_err(io(&aside))?;
            }
            End::Whole | End::Torn => {}
        }
        if books == 0 {
            std::fs::remove_file(&temp).map_err(io(&temp))?;
            std::fs::remove_file(path).map_err(io(path))?;
            return Ok(None);
        }
        std::fs::rename(&temp, path).map_err(io(path))?;
        if let Some(folder) = path.parent() {
            sync_folder(folder).map_err(io(folder))?;
        }
        tracing::warn!(file = %path.display(), books, "an unclosed file was cut back to its last whole book");
        Ok(Some(books))
    }

    /// How an incident names an open file: by the name that it gets when it is closed.
    fn below_data_layer(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix(self.data.raw()).ok()?.to_str()?;
        Some(format!("raw/{}", inside.trim_end_matches(".open")))
    }

    /// Dates that have a folder, the oldest first.
    pub(super) fn dates(&self) -> Result<BTreeMap<NaiveDate, PathBuf>, BooksError> {
        let root = self.root();
        let date = |name: &str| name.strip_prefix("date=").and_then(|d| d.parse::<NaiveDate>().ok());
        Ok(names(&root)?.into_iter().filter_map(|n| Some((date(&n)?, root.join(&n)))).collect())
    }

    /// Dates that have manifest lines, whether or not their files are still here.
    pub(super) fn noted_dates(&self) -> Result<Vec<NaiveDate>, BooksError> {
        let folder = self.data.manifests().join(VENDOR.name()).join(DATASET.name());
        let date = |n: &String| n.strip_prefix("manifest-books-")?.strip_suffix(".jsonl")?.parse().ok();
        Ok(names(&folder)?.iter().filter_map(date).collect())
    }

    /// The folder of the dates, relative to `raw/`.
    pub(super) fn below_raw(&self) -> String {
        format!("{VENDOR}/{DATASET}")
    }

    /// The closed files of a date, in the order in which they were written.
    pub(super) fn closed(&self, date: NaiveDate) -> Result<Vec<Closed>, BooksError> {
        let folder = self.folder(date);
        let mut out: Vec<((u32, u32), Closed)> = Vec::new();
        for n in names(&folder)? {
            if let Some((name, place)) = n.strip_suffix(".jsonl.gz").and_then(|b| Some((b.to_owned(), place(b)?))) {
                out.push((place, Closed { date, name, path: folder.join(&n) }));
            }
        }
        out.sort_by_key(|(place, _)| *place);
        Ok(out.into_iter().map(|(_, c)| c).collect())
    }

    fn without_line(&self, date: NaiveDate) -> Result<Vec<Closed>, BooksError> {
        let noted = self.lines(date)?;
        let noted: BTreeSet<&str> = noted.iter().flat_map(|l| &l.files).map(|f| f.path.as_str()).collect();
        Ok(self.closed(date)?.into_iter().filter(|c| !noted.contains(c.relative().as_str())).collect())
    }

    /// The manifest lines of a date.
    pub(super) fn lines(&self, date: NaiveDate) -> Result<Vec<Line>, BooksError> {
        let file = manifest::file_of(&self.data, VENDOR, DATASET, &run_of(date));
        // A torn last line of a crash was never acknowledged; the next append cuts it off.
        let whole = std::fs::read(&file).is_ok_and(|b| b.is_empty() || b.ends_with(b"\n"));
        if !whole && file.exists() {
            let batch = files::Batch::new(self.data.root()).map_err(io(&file))?;
            publish(batch, &file, Vec::new())?;
        }
        Ok(manifest::read(&file)?)
    }

    fn note(&self, closed: &[Closed]) -> Result<(), BooksError> {
        for c in closed {
            let line = self.line(c)?;
            let mut text = serde_json::to_vec(&line).map_err(std::io::Error::from).map_err(io(&c.path))?;
            text.push(b'\n');
            let file = manifest::file_of(&self.data, VENDOR, DATASET, &run_of(c.date));
            publish(files::Batch::new(self.data.root()).map_err(io(&file))?, &file, text)?;
            failpoint::pass("books.noted");
        }
        Ok(())
    }

    fn line(&self, c: &Closed) -> Result<Line, BooksError> {
        let (mut rows, mut hash, mut markets) = (0u64, blake3::Hasher::new(), BTreeSet::new());
        let (mut first, mut last, mut bytes) = (None, String::new(), 0u64);
        let end = segment::lines(&c.path, |l| {
            rows += 1;
            bytes += l.len() as u64 + 1;
            hash.update(l).update(b"\n");
            if let Ok(r) = serde_json::from_slice::<Record>(l) {
                markets.insert(r.market);
                first.get_or_insert_with(|| r.received_at.clone());
                last = r.received_at;
            }
            Ok(())
        })
        .map_err(io(&c.path))?;
        let (sum, _) = sha256_file(&c.path).map_err(io(&c.path))?;
        let damage = if end == End::Whole { String::new() } else { format!("; {end:?}") };
        let span = format!("{} markets, {} to {last}{damage}", markets.len(), first.unwrap_or_default());
        Ok(Line {
            v: VERSION,
            run: run_of(c.date),
            request_id: request_id(c.date, &c.name),
            vendor: VENDOR,
            dataset: DATASET,
            symbol: "*".to_owned(),
            from: c.date,
            to: c.date,
            purpose: "snapshot".to_owned(),
            feed: "clob".to_owned(),
            adjustment: String::new(),
            fetched_at: rfc3339(self.clock.now()),
            outcome: if end == End::Whole { Outcome::Filled } else { Outcome::Unparsable },
            rows,
            empty_sessions: 0,
            restated: 0,
            duplicates: 0,
            pages: 0,
            bytes,
            body_blake3: hash.finalize().to_hex().to_string(),
            files: vec![Written { path: c.relative(), sha256: hex::encode(sum) }],
            rejected: Vec::new(),
            note: span,
        })
    }
}

fn publish(mut batch: files::Batch, file: &Path, text: Vec<u8>) -> Result<(), BooksError> {
    batch.append(file.to_owned(), text);
    batch.publish().map_err(io(file))
}

/// The run that the lines of a date stand under.
fn run_of(date: NaiveDate) -> String {
    format!("books-{date}")
}

fn request_id(date: NaiveDate, name: &str) -> String {
    manifest::request_id(&run_of(date), VENDOR, DATASET, name, date, date, "snapshot")
}

/// `HH`, or `HH-1` and so on where that is taken.
fn free_name(folder: &Path, hour: u32) -> String {
    let name = |n: u32| if n == 0 { format!("{hour:02}") } else { format!("{hour:02}-{n}") };
    let taken = |n: &u32| folder.join(format!("{}.jsonl.gz", name(*n))).exists();
    (0..u32::MAX).find(|n| !taken(n)).map_or_else(String::new, name)
}

/// Hour and number of a closed file's name.
pub(super) fn place(name: &str) -> Option<(u32, u32)> {
    let (hour, n) = name.split_once('-').unwrap_or((name, "0"));
    let hour = (hour.len() == 2).then(|| hour.parse::<u32>().ok()).flatten().filter(|h| *h < 24)?;
    Some((hour, n.parse().ok()?))
}

fn open_files(folder: &Path) -> Result<Vec<(u32, PathBuf)>, BooksError> {
    let hour = |n: &str| n.strip_suffix(".jsonl.gz.open").and_then(place).map(|(h, _)| h);
    Ok(names(folder)?.into_iter().filter_map(|n| Some((hour(&n)?, folder.join(&n)))).collect())
}

/// The names in a folder, sorted; none where there is no such folder.
fn names(folder: &Path) -> Result<BTreeSet<String>, BooksError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(e) => e,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(e) => return Err(io(folder)(e)),
    };
    let mut out = BTreeSet::new();
    for e in entries {
        out.extend(e.map_err(io(folder))?.file_name().into_string().ok());
    }
    Ok(out)
}
