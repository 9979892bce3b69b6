//! QC: a verdict for every partition, with its reasons and the thresholds that were used. QC never rewrites data.
//!
//! Two pure layers. `judge` looks at the rows of one partition (`minute` and `prints` with it); `relate` at the prints of a symbol's
//! sessions beside each other, with actions and second vendors. `run` judges the curated files that changed (and those that
//! `reopen` says other rules change), `absences` brings in what the queue knows, `relation` compares the sessions around what
//! changed without reading a file, and `status` writes `qc/partition_status.parquet` from the ledger. What is to be done is always
//! in the store: `unjudged` files, `unrelated` months.

mod absences;
mod actions;
pub mod actor;
mod context;
mod judge;
mod ledger;
mod minute;
mod outcome;
mod prints;
mod relate;
mod relation;
mod reopen;
mod run;
mod status;

pub(crate) use actions::PRICED;
pub use context::Context;
pub use judge::{Judged, judge};
pub(crate) use outcome::STATUS_DIRTY;
pub use outcome::{QcCounters, QcError};
pub use prints::ends;
pub use relate::{CROSS, Series, reach, relate};
pub use run::qc;
pub use status::refresh_status;
