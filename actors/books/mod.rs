//! The collector of prediction markets: order-book snapshots on a cadence, kept as gzip JSON lines.
//!
//! Not asked through the queue, since a book that nobody looked at is gone for ever. `core` decides (pure, no clock),
//! `parse` reads what the vendor says (pure), `mapping` compares what tokens stand for, `ask` speaks HTTP within the vendor's budget, `segment` keeps an hour's
//! file, `keep` closes, recovers and lists files, `collect` is the loop over these, `curate` makes the day's Parquet,
//! `actor` is the shell.
//!
//! Files: `data_layer/raw/polymarket/prediction_books/date=YYYY-MM-DD/HH.jsonl.gz`, by the UTC hour in which the snapshot
//! began; `HH-1.jsonl.gz` and so on where the hour went on after a restart. A closed file is never written again. The one
//! being written is `HH.jsonl.gz.open`: one gzip member for each answer, synced before it counts. A kill loses at most the answer
//! that was under way.

pub mod actor;
mod ask;
mod collect;
mod core;
mod counters;
mod curate;
mod keep;
mod mapping;
mod noted;
mod parse;
mod segment;

pub use collect::{Collector, Parts, Summary};
pub use counters::{Board, Counters, MarketSeen, Tally};
pub use curate::{BooksCurated, curate};
pub use noted::{Noted, noted};
pub use parse::Rank;

/// The collector cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// A file could not be written or read.
    #[error("{path}: {cause}; check the disk's free space and permissions")]
    Io {
        /// The file or folder.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The client could not be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(String),
    /// A manifest is damaged.
    #[error(transparent)]
    Manifest(#[from] datanode_schema::manifest::BadLine),
    /// A thread ended before its work was done.
    #[error("the writer of books stopped: {0}; start the node again")]
    Stopped(String),
}

fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> BooksError {
    let path = path.display().to_string();
    move |cause| BooksError::Io { path, cause }
}
