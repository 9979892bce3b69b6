//! What runs in datanode: one folder a stage, in the order of the data. In each, `actor.rs` is a thin shell over
//! its siblings, which know nothing of actix.
//!
//! `vendor` asks · `queue` says what · `raw` keeps · `audit` compares with the calendar · `curate` merges · `qc` judges ·
//! `quarantine` keeps what people say of all that · `export` packs · `seal` and `vault` encrypt and keep · `keyring` keeps the keys' files, and says who may open what · `ship` delivers and removes · `pull` fetches them where they are used · `books` collects what is not asked
//! for but looked at · `schedule` leads them through a
//! nightly cycle. `objects` is what buckets and folders have in common. `frame` is the one place that names polars; `node` is what all of them
//! share, `beneath` how files are made whose names come from outside, `parallel` how some of them use two cores, `calendars` what has changed in them since something was decided by them.

pub mod anchor;
pub mod audit;
pub mod beneath;
pub mod books;
pub mod calendars;
pub mod curate;
pub mod export;
pub mod frame;
pub mod keyring;
pub mod live;
pub mod node;
pub mod objects;
pub mod offload;
pub mod parallel;
pub mod publishing;
pub mod pull;
pub mod qc;
pub mod quarantine;
pub mod queue;
pub mod raw;
pub mod retention;
pub mod schedule;
pub mod seal;
pub mod ship;
pub mod vault;
pub mod vendor;
