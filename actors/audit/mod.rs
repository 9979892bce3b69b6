//! The audit: which sessions are absent or short, from what raw holds, the calendar, the universe and the bookmarks.
//!
//! It reads no data: the holdings say what every session amounts to. `inventory` (what is absent), `holes` (what is absent within a
//! session) and `listing` (what explains it) are pure; `run` reads trees and writes the gap pages that changed.

pub mod actor;
mod holes;
mod inventory;
mod listing;
mod run;

pub use holes::{holes, is_short, union};
pub use inventory::settle;
pub use run::{AuditCounters, AuditError, Scope, audit, count_absences};
