//! What runs in datanode: one folder a stage, in the order of the data. In each, `actor.rs` is a thin shell over
//! its siblings, which know nothing of actix.
//!
//! `vendor` asks · `queue` says what · `raw` keeps · `audit` compares with the calendar · `curate` merges · `qc` judges ·
//! `quarantine` keeps what people say of all that · `export` packs · `seal` and `vault` encrypt and keep · `keyring` keeps the keys' files, and says who may open what · `ship` delivers and removes · `pull` fetches them where they are used · `books` collects what is not asked
//! for but looked at · `backup` keeps what could not be collected again · `schedule` leads them through a
//! nightly cycle. `alert` decides what is told to somebody. `objects` is what buckets and folders have in common. `frame` is the one place that names polars; `node` is what all of them
//! share, `beneath` how files are made whose names come from outside, `parallel` how some of them use two cores, `calendars` what has changed in them since something was decided by them.

#[cfg(feature = "node")]
pub mod alert;
pub mod anchor;
#[cfg(feature = "node")]
pub mod audit;
#[cfg(feature = "node")]
pub mod backup;
pub mod beneath;
#[cfg(feature = "node")]
pub mod books;
#[cfg(feature = "node")]
pub mod calendars;
#[cfg(feature = "node")]
pub mod curate;
#[cfg(feature = "node")]
pub mod export;
#[cfg(feature = "node")]
pub mod frame;
#[cfg(feature = "node")]
pub mod keyring;
#[cfg(feature = "node")]
pub mod live;
#[cfg(feature = "node")]
pub mod node;
#[cfg(feature = "node")]
pub mod objects;
#[cfg(feature = "node")]
pub mod offload;
#[cfg(feature = "node")]
pub mod parallel;
#[cfg(feature = "node")]
pub mod publishing;
#[cfg(feature = "node")]
pub mod pull;
#[cfg(feature = "node")]
pub mod qc;
#[cfg(feature = "node")]
pub mod quarantine;
#[cfg(feature = "node")]
pub mod queue;
#[cfg(feature = "node")]
pub mod raw;
#[cfg(feature = "node")]
pub mod retention;
#[cfg(feature = "node")]
pub mod schedule;
pub mod seal;
#[cfg(feature = "node")]
pub mod ship;
pub mod vault;
#[cfg(feature = "node")]
pub mod vendor;
