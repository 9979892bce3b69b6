//! Writing curated order books in batches, so that memory does not grow with the day.
//!
//! Columns of `prediction_books`: market str, asset_id str, ts timestamp(ns, UTC) of the exchange, side str (bid | ask), level i32
//! (0 = the best), price f64 (dollars, 0 to 1), size f64 (shares), vendor str, request_id str.

use super::{FrameError, parquet};
use datanode_schema::names::Vendor;
use polars::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One level of one side of a book.
#[derive(Clone, Debug)]
pub struct BookLevel {
    /// Condition id.
    pub market: Arc<str>,
    /// Token.
    pub asset_id: Arc<str>,
    /// Nanoseconds since 1970, UTC.
    pub ts: i64,
    /// Bid or ask.
    pub bid: bool,
    /// 0 = the best.
    pub level: i32,
    /// Dollars.
    pub price: f64,
    /// Shares.
    pub size: f64,
    /// The manifest line.
    pub request_id: Arc<str>,
}

const BATCH: usize = 65_536;

/// A buffered file that both polars and we hold: polars writes small pieces and does not say whether the last flush failed.
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

/// Takes levels one by one.
pub struct BookWriter {
    file: String,
    vendor: Vendor,
    out: polars::io::parquet::write::BatchedWriter<Shared>,
    buffer: Shared,
    rows: Vec<BookLevel>,
}

impl BookWriter {
    /// Starts the file at `path`.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(path: &Path, vendor: Vendor) -> Result<Self, FrameError> {
        let fail = |cause: String| FrameError { file: path.display().to_string(), cause };
        let file = File::create(path).map_err(|e| fail(e.to_string()))?;
        let empty = frame(vendor, &[]).map_err(|e| fail(e.to_string()))?;
        let buffer = Shared(Arc::new(Mutex::new(BufWriter::with_capacity(256 * 1024, file))));
        let out = parquet::options(buffer.clone(), empty.schema())
            .batched(empty.schema())
            .map_err(|e| fail(e.to_string()))?;
        Ok(Self { file: path.display().to_string(), vendor, out, buffer, rows: Vec::new() })
    }

    /// Adds a level.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, row: BookLevel) -> Result<(), FrameError> {
        self.rows.push(row);
        if self.rows.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), FrameError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let fail = |e: PolarsError| FrameError { file: self.file.clone(), cause: e.to_string() };
        let f = frame(self.vendor, &self.rows).map_err(fail)?;
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

fn frame(vendor: Vendor, rows: &[BookLevel]) -> PolarsResult<DataFrame> {
    let text = |name: &'static str, f: &dyn Fn(&BookLevel) -> &str| {
        Column::new(name.into(), rows.iter().map(f).collect::<Vec<&str>>())
    };
    let float = |name: &'static str, f: fn(&BookLevel) -> f64| {
        Column::new(name.into(), rows.iter().map(f).collect::<Vec<f64>>())
    };
    let ts = Int64Chunked::from_vec("ts".into(), rows.iter().map(|r| r.ts).collect())
        .into_datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC))
        .into_column();
    DataFrame::new(
        rows.len(),
        vec![
            text("market", &|r| &r.market),
            text("asset_id", &|r| &r.asset_id),
            ts,
            text("side", &|r| if r.bid { "bid" } else { "ask" }),
            Column::new("level".into(), rows.iter().map(|r| r.level).collect::<Vec<i32>>()),
            float("price", |r| r.price),
            float("size", |r| r.size),
            text("vendor", &|_| vendor.name()),
            text("request_id", &|r| &r.request_id),
        ],
    )
}
