//! QC: a verdict for every partition, with its reasons and the thresholds that were used. QC never rewrites data.
//!
//! `judge` is pure. `run` judges the curated files that changed, enters the absences of the queue, and writes
//! `qc/partition_status.parquet` from the ledger.

pub mod actor;
mod context;
mod judge;
mod ledger;
mod outcome;
mod run;
mod status;

pub use context::Context;
pub use judge::{Judged, judge};
pub(crate) use outcome::STATUS_DIRTY;
pub use outcome::{QcCounters, QcError};
pub use run::qc;
pub use status::refresh_status;
