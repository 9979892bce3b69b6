//! `keys`: the public halves of the keys that this node has, and who else may open what it seals.

use crate::admin::AdminContext;
use crate::admin::protocol::{AdminError, Code};
use datanode_actors::keyring::is_under_way;
use serde::Serialize;

/// A key's public half.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyRow {
    /// `node`, `retired`, `recipient`, `passphrase` or `anchor`.
    pub what: &'static str,
    /// Its name, where it was given one.
    pub name: String,
    /// What may be shown to anybody.
    pub public: String,
    /// The file, or the setting, that it comes from.
    pub place: String,
}

/// The answer of `keys`.
#[derive(Clone, Debug, Serialize)]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<KeyRow>,
    /// Whether a rotation was begun and not ended.
    pub rotation_under_way: bool,
}

pub(super) fn keys(ctx: &AdminContext) -> Result<KeyList, AdminError> {
    let publishing = &ctx.desk.node.publishing;
    let ring = publishing.keys.read().map_err(|e| AdminError::new(Code::Failed, e.to_string()))?;
    // A key that was made for this process alone has no file.
    let file = publishing.keys.file().ok().map(std::path::Path::to_owned);
    let row = |what, name: &str, public: String, place: String| KeyRow { what, name: name.to_owned(), public, place };
    let place = file.as_ref().map_or_else(|| "memory".to_owned(), |f| f.display().to_string());
    let mut keys = vec![row("node", "", ring.own().to_public().to_string(), place)];
    keys.extend(ring.retired().map(|(p, r)| row("retired", "", r.to_string(), p.display().to_string())));
    keys.extend(ring.configured().iter().map(|r| row("recipient", "", r.to_string(), "seal.recipients".to_owned())));
    keys.extend(ring.named().iter().map(|n| row("recipient", &n.name, n.recipient.to_string(), String::new())));
    keys.extend(ring.passphrases().iter().map(|p| row("passphrase", &p.name, p.recipient.clone(), String::new())));
    let anchor = &publishing.anchor.key;
    keys.push(row("anchor", anchor.name(), anchor.public().to_owned(), String::new()));
    Ok(KeyList { keys, rotation_under_way: file.is_some_and(|f| is_under_way(&f)) })
}
