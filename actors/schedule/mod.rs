//! The nightly cycle: ingest · audit · backfill · curate · qc · export · seal · ship · retention, each stage resumable.
//!
//! `runs` opens, resumes and closes the record of a run; `stages` starts the actors; `cycle` leads a run through them;
//! `actor` wakes at the set time. Messages carry no data that is not in the store: a run that was killed is taken up
//! from its record.

pub mod actor;
mod cycle;
mod error;
mod runs;
mod stages;
mod timing;

pub use cycle::{CyclePlan, RunSummary, StageDone, cycle};
pub use error::CycleError;
pub use runs::RunBook;
pub use stages::Stages;
pub use timing::{Rhythm, Timetable, last_session, next_wake};
