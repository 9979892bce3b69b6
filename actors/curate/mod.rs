//! Curate: one table a day or month with the rows of all vendors, the preferred vendor's first.
//!
//! Only touched files are rebuilt, from the raw files that contribute to them, and a rebuilt file with the same bytes is
//! not written. A crash leaves the old or the new file, and what was not committed is touched still.

pub mod actor;
mod merge;
mod run;
mod second;

pub use merge::{Merge, by_preference};
pub use run::{CurateCounters, CurateError, curate};
