//! Writing `partition_status.parquet` in batches, so that memory does not grow with the ledger.

use super::{FrameError, parquet};
use polars::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One partition of the ledger.
#[derive(Clone, Debug)]
pub struct StatusRow {
    /// Dataset.
    pub dataset: &'static str,
    /// Symbol or series.
    pub symbol: String,
    /// Day number.
    pub dt: i32,
    /// GREEN, AMBER, RED or PENDING.
    pub status: &'static str,
    /// Reasons, separated by commas, in a fixed order.
    pub reasons: String,
    /// Rows that the calendar expects.
    pub expected_rows: u32,
    /// Rows that there are.
    pub rows: u32,
    /// The vendor of most rows; empty where there are none.
    pub vendor: &'static str,
    /// The thresholds used, as JSON.
    pub thresholds: Arc<str>,
    /// Hex of the rows' digest; empty where there are none.
    pub digest: String,
    /// Calendar name, version and hash.
    pub calendar: Arc<str>,
    /// Unix seconds.
    pub first_seen: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

const BATCH: usize = 32_768;

/// A buffered file that both polars and we hold: polars writes pieces of some hundred bytes and does not say whether the
/// last flush failed.
#[derive(Clone)]
struct Shared(Arc<Mutex<BufWriter<File>>>);

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<T>) -> std::io::Result<T> {
        f(&mut *self.0.lock().map_err(|_| std::io::Error::other("the buffer is poisoned"))?)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.with(|b| b.write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.with(BufWriter::flush)
    }
}

/// Takes rows one by one.
pub struct StatusWriter {
    file: String,
    out: polars::io::parquet::write::BatchedWriter<Shared>,
    buffer: Shared,
    rows: Vec<StatusRow>,
}

impl StatusWriter {
    /// Starts the file at `path`.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(path: &Path) -> Result<Self, FrameError> {
        let fail = |cause: String| FrameError { file: path.display().to_string(), cause };
        let file = File::create(path).map_err(|e| fail(e.to_string()))?;
        let empty = frame(&[]).map_err(|e| fail(e.to_string()))?;
        let buffer = Shared(Arc::new(Mutex::new(BufWriter::with_capacity(256 * 1024, file))));
        let out = parquet::options(buffer.clone(), empty.schema())
            .batched(empty.schema())
            .map_err(|e| fail(e.to_string()))?;
        Ok(Self { file: path.display().to_string(), out, buffer, rows: Vec::with_capacity(BATCH) })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, row: StatusRow) -> Result<(), FrameError> {
        self.rows.push(row);
        if self.rows.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), FrameError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let fail = |e: PolarsError| FrameError { file: self.file.clone(), cause: e.to_string() };
        let f = frame(&self.rows).map_err(fail)?;
        self.out.write_batch(&f).map_err(fail)?;
        self.rows.clear();
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(), FrameError> {
        self.flush()?;
        let fail = |cause: String| FrameError { file: self.file.clone(), cause };
        self.out.finish().map_err(|e| fail(e.to_string()))?;
        self.buffer.flush().map_err(|e| fail(e.to_string()))
    }
}

fn frame(rows: &[StatusRow]) -> PolarsResult<DataFrame> {
    let text = |name: &'static str, f: &dyn Fn(&StatusRow) -> &str| {
        Column::new(name.into(), rows.iter().map(f).collect::<Vec<&str>>())
    };
    let count = |name: &'static str, f: fn(&StatusRow) -> u32| {
        Column::new(name.into(), rows.iter().map(|r| i64::from(f(r))).collect::<Vec<i64>>())
    };
    let time = |name: &'static str, f: fn(&StatusRow) -> i64| {
        Int64Chunked::from_vec(name.into(), rows.iter().map(|r| f(r).saturating_mul(1000)).collect())
            .into_datetime(TimeUnit::Milliseconds, Some(TimeZone::UTC))
            .into_column()
    };
    let dt = Int32Chunked::from_vec("dt".into(), rows.iter().map(|r| r.dt).collect()).into_date().into_column();
    DataFrame::new(
        rows.len(),
        vec![
            text("dataset", &|r| r.dataset),
            text("symbol", &|r| &r.symbol),
            dt,
            text("status", &|r| r.status),
            text("reasons", &|r| &r.reasons),
            count("expected_rows", |r| r.expected_rows),
            count("rows", |r| r.rows),
            text("vendor", &|r| r.vendor),
            text("thresholds", &|r| &r.thresholds),
            text("digest", &|r| &r.digest),
            text("calendar", &|r| &r.calendar),
            time("first_seen", |r| r.first_seen),
            time("updated_at", |r| r.updated_at),
        ],
    )
}
