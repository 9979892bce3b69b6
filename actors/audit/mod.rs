//! The audit: which sessions are absent or short, from what raw holds, the calendar, the universe and the bookmarks.
//!
//! It reads no data: the holdings say what every session amounts to. `inventory` is pure; `run` reads trees and writes
//! the gap pages that changed. Where a calendar changed, `recount` first counts the holdings of the changed days again.

pub mod actor;
mod inventory;
mod recount;
mod run;

pub use inventory::{Covered, Seen, inventory, is_short, settle};
pub use run::{AuditCounters, AuditError, audit, count_absences};
