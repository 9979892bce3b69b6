//! The queue: what to ask next, and whether the budget allows it.
//!
//! `lens` says who may be asked for a task, `score` who is best at it, `index` keeps what is open in lanes, `batch`
//! shapes a request, `health` leaves
//! a failing vendor alone, `budget` counts tokens: all pure. `dispatch` chooses, `rivals` says who else could; `claims` writes leases; `lookback` plans
//! what is asked for again; `purse` makes a budget durable; `desk` is for people; `actor` is the shell.

pub mod actor;
mod batch;
mod budget;
mod claims;
pub mod desk;
mod dispatch;
mod error;
mod health;
mod index;
mod lens;
mod lookback;
mod pace;
mod purse;
mod rivals;
mod score;
mod spot;

pub use budget::Bucket;
pub use claims::{Claimed, Claims, Next, Told};
pub use error::QueueError;
pub use lens::{Class, MAX_ATTEMPTS, Mask, bit, number_bit, window};
pub use pace::Lesson;
pub use purse::{Purse, PurseStanding};
pub use score::Terms;

/// What was learned of each vendor for each dataset.
#[derive(Default)]
pub(crate) struct Learned(
    pub(crate)  std::collections::BTreeMap<
        (datanode_schema::names::Vendor, datanode_schema::names::Dataset),
        datanode_schema::records::Standing,
    >,
);
