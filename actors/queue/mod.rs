//! The queue: what to ask next, and whether the budget allows it.
//!
//! `plan` is pure: universe, bookmarks and gap pages become [`Ask`](crate::vendor::Ask)s, in a fixed order. `budget` is
//! pure: token buckets. `purse` makes a bucket durable; `claims` writes leases; `actor` is the shell.

pub mod actor;
mod budget;
mod claims;
mod error;
mod pace;
mod plan;
mod purse;

pub use budget::Bucket;
pub use claims::{Claimed, Claims};
pub use error::QueueError;
pub use pace::Learned;
pub use plan::MAX_ATTEMPTS;
pub use purse::{Purse, PurseStanding};
