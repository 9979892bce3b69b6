//! Backups: what could not be collected again, wrapped, at another place.
//!
//! ```text
//! <place>/backup_20260302T230000Z/state.tar.zst.age     the journal of the state, up to a commit
//!                                 files.tar.zst.age     configuration, registries, events, the anchor log
//!                                 keys.tar.zst.age      the node's keys and lists, and hashes of tokens
//!                                 manifest.json         sizes, sums, commit and root, who can open it; last, and so the commit
//! ```
//!
//! Each part is a tar, compressed and then encrypted to everybody whom `datanode key list` names (or `backup.recipients`), so that
//! `age -d | zstd -d | tar x` opens it without this software. Nothing is ever overwritten. What is not in it: raw, curated and packs, which are
//! at vendors and destinations, and the vault, which has a replica.
//!
//! | file | owns |
//! |---|---|
//! | `manifest` | the public record of a generation |
//! | `place` | a folder or bucket, used from a thread that may wait |
//! | `parts`, `create` | what belongs in, in which order; making a generation |
//! | `read`, `unpack` | reading a part: sum, key, paths |
//! | `restore`, `verify` | the verbs |
//! | `keep`, `prune` | which generations stay |
//!
//! Knows nothing of settings and of `node`; the clock's time is given.

mod create;
mod error;
mod keep;
mod manifest;
mod parts;
mod place;
mod prune;
mod read;
mod restore;
mod unpack;

pub use create::{Made, Plan, create, fingerprint};
pub use error::BackupError;
pub use keep::{KeepGenerations, kept};
pub use manifest::{Manifest, Part, stamp_of};
pub use parts::Source;
pub use place::Place;
pub use prune::{Generation, generations, prune};
pub use read::{Opener, Verified, verify};
pub use restore::{Restored, restore};

/// What generations are called.
const PREFIX: &str = "backup_";
/// The name that is written last.
const MANIFEST: &str = "manifest.json";
/// The journal of the state.
const STATE: &str = "state.tar.zst.age";
/// Everything else that is no key.
const FILES: &str = "files.tar.zst.age";
/// The keys.
const KEYS: &str = "keys.tar.zst.age";
