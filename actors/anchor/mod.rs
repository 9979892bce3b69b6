//! The anchor log: what makes sealings immutable in public.
//!
//! One entry a sealing, in an append-only Merkle log (C2SP tlog-tiles) below `anchors/`, whose size and root the node signs in a checkpoint
//! (C2SP signed-note, Ed25519). Who holds a checkpoint can be shown later that a sealing was in the log then, and that the log has only grown.
//!
//! | file | owns |
//! |---|---|
//! | `note` | the log's key, and signed texts |
//! | `run` | the stage: sealings that are not in the log yet |

#[cfg(feature = "node")]
pub mod actor;
mod error;
mod note;
#[cfg(feature = "node")]
mod run;

pub use error::AnchorError;
pub use note::{LogKey, verify_note};
#[cfg(feature = "node")]
pub use run::{AnchorCounters, Head, anchor, head};
