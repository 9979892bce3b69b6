//! Sealing: a finished pack becomes ciphertext that can be proved without its keys, and plaintext again with them.
//!
//! ```text
//! pack folder ─▶ stream of new files ─▶ chunks ─▶ zstd? ─▶ encrypt ─▶ check from memory ─▶ vault    
//!                (SHA256SUMS order)      └ last: the sealed manifest        then: descriptor (the commit)
//! ```
//!
//! The pack's new files are one stream in the order of `SHA256SUMS.stable.txt`, cut into chunks of one size; the last
//! one is padded. The sealed manifest, in chunks of its own after the data, says where each file lies. A file that an
//! earlier pack holds is not sealed again: the manifest names that pack's chunks, each with its own secret, never a
//! pack key. The same pack, uid, key and base give the same bytes, so a sealing that was killed is simply run again.
//!
//! This folder is the only place that names a cipher. It must not know of actix, sled or the clock.
//!
//! | file | owns |
//! |---|---|
//! | `chunk`, `sealer` | the chunk object, byte for byte; making it |
//! | `aead` | the cipher and which implementation runs |
//! | `keys` | pack keys, age identities and stanzas |
//! | `letter` | a file of any length to some recipients: backups, secrets
//! | `passphrase` | identities that come out of a passphrase |
//! | `descriptor`, `manifest`, `canonical` | the public record, the secret record, their text form |
//! | `merkle` | the root |
//! | `paths`, `pack`, `beneath` | what a pack folder may look like; reading one; writing one |
//! | `run` | making many objects at once, in bounded memory |
//! | `pipeline`, `filehash` | reading many at once, in order, in bounded memory |
//! | `borrow` | files that an earlier sealing holds already |
//! | `judge` | what an intact object is |
//! | `parity` | what a lost chunk is made again from |
//! | `write`, `verify`, `open`, `remake` | the verbs |
//! | `stage`, `repack` | the night's: tonight's pack, what earlier nights left, new generations |

#[cfg(feature = "node")]
pub mod actor;
mod aead;
mod beneath;
mod borrow;
pub(crate) mod canonical;
pub mod chunk;
mod descriptor;
mod error;
mod filehash;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "node")]
mod judge;
mod keys;
pub mod letter;
mod manifest;
pub mod merkle;
mod open;
mod pack;
pub mod parity;
pub mod passphrase;
pub mod paths;
mod pipeline;
mod remake;
#[cfg(feature = "node")]
mod repack;
mod run;
mod sealer;
#[cfg(feature = "node")]
pub mod stage;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use borrow::{Base, Bases};
pub use descriptor::{Descriptor, MAX_DESCRIPTOR, ObjectRef, Parity};
pub use error::{Diagnosis, Kind, SealError};
#[cfg(feature = "node")]
pub(crate) use judge::{judge, judge_head};
pub use keys::{Identity, PackKey, Recipient, Unwraps, unwrap, wrap};
pub use manifest::{BorrowedChunk, BorrowedSealing, FileRef, SealedManifest};
pub use open::{OpenReport, open, read_manifest};
pub use parity::Shard;
pub use passphrase::{Passphrase, PassphraseRecord};
pub use remake::remake;
pub use verify::{Finding, VerifyReport, check, verify};
#[doc(hidden)]
pub use write::seal_by_reference;
pub use write::{SealPlan, Sealed, prepare, rewrap, seal, seal_upon, unwrap_key};

use crate::vault::Vault;

/// Names one sealing: 16 random bytes, public.
pub type PackUid = [u8; 16];

/// Chunk size where nothing else is configured, bytes.
pub const DEFAULT_CHUNK: usize = 8 << 20;

/// A new random uid from the operating system's generator.
pub fn new_uid() -> Result<PackUid, SealError> {
    use rand::TryRngCore;
    let mut uid = PackUid::default();
    rand::rngs::OsRng
        .try_fill_bytes(&mut uid)
        .map_err(|error| SealError::contract("random generator", format!("{error}; nothing was sealed")))?;
    Ok(uid)
}

/// One encryption in place as sealing does it, for measuring that pass alone. Gives the tag; nothing on failure.
#[doc(hidden)]
pub fn raw_encrypt(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], buffer: &mut [u8]) -> Option<[u8; 16]> {
    aead::Backend::chosen().seal(key, nonce, aad, buffer).ok()
}
