//! The anchor log: what makes sealings immutable in public.
//!
//! One entry a sealing, in an append-only Merkle log (C2SP tlog-tiles) below `anchors/`, whose size and root the node signs in a checkpoint
//! (C2SP signed-note, Ed25519). Who holds a checkpoint can be shown later that a sealing was in the log then, and that the log has only grown.
//!
//! ```text
//! anchors/tile/<L>/<N>[.p/<W>]        hashes, 256 a tile          written before the checkpoint that covers them
//! anchors/tile/entries/<N>[.p/<W>]    entries, length-prefixed    likewise
//! anchors/checkpoint                  name, size, root, signatures
//! anchors/key.pub                     what proofs are verified with; copy it elsewhere
//! anchors/proofs/<uid>.tlog-proof     a sealing's proof, at the checkpoint that first covered it
//! ```
//!
//! The entries are the truth: the store's trees `anchors` and `log_heads` are what was read and signed last, and tiles that are damaged are
//! made again from the entries. Other texts that the key signs (the beacon) do not begin with the log's name, so none of them is a checkpoint.
//!
//! | file | owns |
//! |---|---|
//! | `note` | the log's key, and signed texts |
//! | `checkpoint` | what a checkpoint says |
//! | `entry` | what stands in the log |
//! | `tiles` | the tree, its tiles and their names |
//! | `log` | reading it; needs no state |
//! | `proof` | proofs of one sealing, and that the log only grew |
//! | `run` | the stage: sealings that are not in the log yet |

#[cfg(feature = "node")]
pub mod actor;
mod checkpoint;
mod entry;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod note;
mod proof;
#[cfg(feature = "node")]
mod run;
mod tiles;

pub use checkpoint::Head;
pub use entry::{ChunkEntry, Entry};
pub use error::AnchorError;
pub use log::{Book, Log, book, entry_of, head, proof_name};
pub use note::{LogKey, verify_note, with_signatures};
pub use proof::{Consistency, MAX_PROOF, Proof, Proved};
#[cfg(feature = "node")]
pub use run::{AnchorCounters, anchor, unanchored};
pub use tiles::TilePath;
