//! Ship: finished packs reach every destination.
//!
//! A destination is a bucket or a folder. An object is created and never overwritten; `manifest.json`, or the descriptor, comes last: its
//! presence is the commit. What a destination has already is not sent: receipts say so, the bucket copies from an earlier pack, and what
//! a killed process left is read back and compared.
//!
//! | file | owns |
//! |---|---|
//! | `deliver` | all destinations, each on a thread of its own; pointers, counters |
//! | `plan` | what is still to be brought where, and in which order |
//! | `load` | what a pack or a sealing consists of |
//! | `send` | one load to one destination, resumed where it stopped |
//! | `stanzas` | what changes of a sealing after its commit |
//! | `target` | what can be done to a destination, within its time, memory and bandwidth |
//! | `folder` | the same for a folder |
//! | `probe` | whether a destination keeps its word |
//! | `there` | whether it is the place that it was, and has what packs build on |
//! | `receipts`, `sum`, `pace`, `board` | what is known of objects; what they must be; the cap; what is under way |

pub mod actor;
mod board;
mod deliver;
mod error;
mod folder;
mod load;
mod pace;
mod plan;
mod probe;
mod receipts;
mod send;
mod stanzas;
mod sum;
mod target;
mod there;

pub use board::{Board, Progress};
pub use deliver::{ShipCounters, ship};
pub use error::ShipError;
pub(crate) use pace::Pace;
pub(crate) use plan::with_needs;
pub use plan::{Age, Form, due_at, wanted};
pub use probe::{NO, YES, lies, probe_destination, trust_all};
pub(crate) use receipts::forget as forget_receipts;
pub(crate) use sum::{Item, Sum};
pub(crate) use target::{Made, Seen, Target};
pub use there::{anew_key, place_of};

use error::io;
use target::blocking;
