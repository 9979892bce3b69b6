//! The records of the trees; `trees.rs` has the version of each.
//!
//! A published version is never edited: a change is a new struct in a `v2` beside it, a `From` the old one, and a new
//! version number in `trees.rs`. No Rc, Arc, HashMap or niche in a record. Dates are day numbers (days since
//! 1970-01-01), times unix seconds. A value stays under 4 KiB: pages are cut by month.

mod calendar;
mod collect;
mod grouped;
mod holding;
mod ledger;
mod publish;
mod quarantine;
mod told;
mod work;

pub use calendar::{CalendarHours, CalendarYear};
pub use collect::{ArchivedDemotion, Bookmark, Demotion, Demotions, Window};
pub use grouped::bits;
pub use holding::{Holding, HoldingDay, HoldingGroup, LEAST_SILENCE, MOST_SILENCES, Silence};
pub use ledger::{ActionDay, ActionPage, LedgerDay, LedgerGroup, LedgerPage, Print, Second, SecondPage};
pub use publish::{
    AnchorRecord, BackupRecord, ChunkRecord, CuratedFile, LogHead, Offloaded, PackRecord, Pin, Probe, Receipt,
    ScrubRecord, SealingRecord, Shipment,
};
pub use quarantine::{HoldRecord, Incident};
pub use told::Told;
pub use work::{
    Answer, BudgetRecord, GapGroup, GapPage, GapTask, Lease, RunRecord, Spent, StageRecord, Standing, VendorState,
};
