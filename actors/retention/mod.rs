//! Retention: which packs stay, here and at each destination, and how the others go.
//!
//! | file | owns |
//! |---|---|
//! | `rules` | packs, rules, pins, needs and the time make decisions (pure): [`decide`] |
//! | `facts` | what the store and the folders say of each pack |
//! | `plan` | the decisions of every place, with a digest of what would go |
//! | `local` | removing here: packs, links by date, archives, vault objects |
//! | `bucket` | removing at a destination |
//! | `error` | why it stopped |
//!
//! What is shown is what is done: the command, the admin socket and the nightly cycle make the same [`Plan`], and [`apply`] removes
//! what it names and nothing else.
//!
//! # What keeps a pack
//!
//! Each is enough: it is the newest of its place, or this run's; one of the last so many; younger than so many days; the newest of one
//! of the newest months (by the last session considered); pinned; named by an open incident (close it to let the pack go, whatever it is
//! replaced by: what is wrong with a pack can only be looked at while it is there); not yet at a destination that it is to go to; what
//! `exports/nightly/<date>` links to while another pack of that date stays; needed by a pack that stays (the packs that a delta's
//! files lie in, the sealings whose chunks a sealing names). Where the needs of a pack that stays are not known, everything
//! older stays. Where the clock says a time before the newest pack, nothing is removed anywhere.

pub mod actor;
mod bucket;
mod error;
mod facts;
mod local;
mod plan;
mod rules;

pub use error::RetentionError;
pub use facts::{Facts, brought_key, removal_key};
pub use local::{RetentionCounters, apply, retain};
pub use plan::{LOCAL, Place, Plan, Row, plan};
pub use rules::{Candidate, Decision, Why, decide};
