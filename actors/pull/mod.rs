//! Pulling: a pack from a bucket, a server or a folder becomes a folder of a machine that has nothing but this program.
//!
//! ```text
//! find which pack ─▶ manifest + sums ─▶ check ─▶ DIR.<id>.partial ◀─ links of what DIR and earlier attempts have, verified
//!                                                     ◀─ downloads, SHA-256 on the way ─▶ sync ─▶ swap with DIR
//! ```
//!
//! No state is opened, and nothing is believed: whatever a bucket says is checked before a file of it has a name in DIR. On any failure DIR
//! is as it was; what arrived stays in the partial folder and is used by the next attempt.
//!
//! | file | owns |
//! |---|---|
//! | `find` | which packs are where, and which one is meant |
//! | `paper` | manifest and sums: read, checked, and as they are written down here |
//! | `fetch` | one object, streaming, never longer than it may be |
//! | `place` | DIR: who may fill it, its partial folder, the swap |
//! | `reuse` | what earlier pulls left that is still right |
//! | `plain`, `sealed`, `sealings` | the two ways of a pack; where sealings are |
//! | `some` | a sealed pack opened, or a part of it, without the rest |

mod error;
mod fetch;
mod find;
mod paper;
mod place;
mod plain;
mod reuse;
mod sealed;
mod sealings;
mod some;

pub use error::{PullError, PullFault};
pub use some::{OpenedThere, open_there};

use crate::objects::Bucket;
use crate::seal::Unwraps;
use std::path::PathBuf;

/// Which pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest complete one.
    Latest,
    /// This one: an export id, or for sealed packs also the hex of a pack uid.
    Id(String),
}

/// What to pull, from where, to where.
pub struct PullPlan {
    /// From where.
    pub bucket: Bucket,
    /// Which pack.
    pub wanted: Wanted,
    /// Of which source, where the bucket has several.
    pub source: Option<String>,
    /// Where to.
    pub to: PathBuf,
    /// Downloads at once.
    pub parallel: usize,
    /// Take local files of the right length without hashing them.
    pub trust_local: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What opens sealed packs; None: the plain one is pulled.
    pub identity: Option<Box<dyn Unwraps>>,
    /// The public key of the log that sealings must be anchored in; None: it is not asked.
    pub log_key: Option<String>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pulled {
    /// The pack.
    pub export_id: String,
    /// Its sealing, where it was sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack_uid: Option<String>,
    /// Files of the pack, manifest and sums included.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that came over the wire.
    pub downloaded_files: u64,
    /// Bytes that came over the wire, manifests, sums and repeated parts included.
    pub downloaded_bytes: u64,
    /// Files that were here already.
    pub reused_files: u64,
    /// Bytes of them.
    pub reused_bytes: u64,
    /// Files whose SHA-256 was computed and is right.
    pub verified_files: u64,
    /// Whether the folder held this very pack before.
    pub unchanged: bool,
    /// Whether nothing was done but looking.
    pub dry_run: bool,
}

/// Pulls a pack. `say` hears progress, a line at a time.
///
/// # Errors
/// [`PullError`]; the destination is as it was.
pub fn pull(plan: &PullPlan, say: &(dyn Fn(&str) + Sync)) -> Result<Pulled, PullError> {
    let runtime = runtime()?;
    match &plan.identity {
        Some(identity) => sealed::pull(plan, identity.as_ref(), &runtime, say),
        None => plain::pull(plan, &runtime, say),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, PullError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| PullError::failed(format!("no runtime: {e}")))
}
