//! The audit: which sessions are absent or short, from what raw holds, the calendar, the universe and the bookmarks.
//!
//! It reads no data: the holdings say what every session amounts to. `inventory` (what is absent), `holes` (what is absent within a
//! session) and `listing` (what explains it) are pure; `run` reads trees and writes the gap pages that changed. Where a
//! calendar changed, `recount` first counts the holdings of the changed days again. `deep` alone reads all files, when it is
//! asked to.

pub mod actor;
mod deep;
mod holes;
mod inventory;
mod listing;
mod recount;
mod run;

pub use deep::{DeepReport, Finding, deep};
pub use holes::{holes, is_short, union};
pub use inventory::settle;
pub use run::{AuditCounters, AuditError, Scope, audit, count_absences};
