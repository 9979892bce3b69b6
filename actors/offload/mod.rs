//! Offload: closed files go to another place by rclone, and from here once they are safe there.
//!
//! | file | owns |
//! |---|---|
//! | `rclone` | running it: copy, and what the remote says of files |
//! | `plan` | which files are to go, and which may be removed here |
//! | `run` | doing it, step by step |
//! | `error` | why it stopped |
//!
//! What goes: files of order books that are closed and noted in a manifest, never of the present hour; packs as one file. Steps: the
//! local file is hashed and compared with its manifest line → `rclone copy` (never over a file that is there) → the remote's own
//! SHA-256 is compared with ours; MD5 where it has no other and the file is small enough to have gone in one piece; else, and wherever the
//! remote is not of a kind that hashes its own bytes, the file is read back and hashed → a line in `data_layer/manifests/offload/` and a record (tree `offloaded`) → where it is older than the rules
//! ask, it is compared once more, there and here, and removed here.
//!
//! A file that is recorded and gone from here is no damage: the deep audit counts it, and the curated file of its date stays as it is.

mod error;
mod plan;
mod rclone;
mod run;

pub use error::OffloadError;
pub use plan::{Item, OffloadPlan, plan};
pub use run::{Offloaded, offload};
