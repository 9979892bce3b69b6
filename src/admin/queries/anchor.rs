//! `anchor`: the log that sealings are anchored in.

use super::time;
use crate::admin::AdminContext;
use crate::admin::protocol::AdminError;
use datanode_actors::anchor::{Log, unanchored};
use datanode_schema::trees::LOG_HEADS;
use serde::Serialize;

/// The answer of `anchor`.
#[derive(Clone, Debug, Serialize)]
pub struct AnchorStatus {
    /// The log's name.
    pub name: String,
    /// What its proofs are verified with.
    pub public_key: String,
    /// Entries, as the newest checkpoint says; null: there is none, or it does not verify.
    pub size: Option<u64>,
    /// Root of its tree.
    pub root: Option<String>,
    /// When that checkpoint was signed, as the state remembers it.
    pub signed_at: Option<String>,
    /// Sealings that are not in it yet.
    pub waiting: u64,
    /// What is wrong with the checkpoint.
    pub error: Option<String>,
}

pub(super) fn anchor(ctx: &AdminContext) -> Result<AnchorStatus, AdminError> {
    let node = &ctx.desk.node;
    let key = &node.publishing.anchor.key;
    let (head, error) = match Log::at(node.data.anchors()).head(key.public()) {
        Ok(head) => (head, None),
        Err(e) => (None, Some(e.to_string())),
    };
    let signed = ctx.store.load(&LOG_HEADS, &key.public().to_owned())?;
    Ok(AnchorStatus {
        name: key.name().to_owned(),
        public_key: key.public().to_owned(),
        size: head.map(|h| h.size),
        root: head.map(|h| hex::encode(h.root)),
        signed_at: signed.filter(|s| head.is_some_and(|h| h.size == s.size)).and_then(|s| time(s.at)),
        waiting: unanchored(node)?,
        error,
    })
}
