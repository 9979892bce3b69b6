//! Which object is where: the bucket of DESIGN §9.
//!
//! ```text
//! exports/<source>/export_<export_id>/{data/…, SHA256SUMS.stable.txt, manifest.json}    manifest.json last: the commit
//! exports/<source>/export_<export_id>.pointer                                           which pack a consumer used, for ever
//! exports/<source>/latest.pointer                                                       the newest complete pack; the only object that changes
//! .datanode/<source>.id                                                                which place this is; written once
//! sealed/<source>/<pack_uid>/{objects, stanza, descriptor}                              the descriptor last: the commit
//! ```

/// What tells this place from another that has its name.
pub fn marker(source: &str) -> String {
    format!(".datanode/{source}.id")
}

/// `exports/<source>`.
pub fn exports(source: &str) -> String {
    format!("exports/{source}")
}

/// `exports/<source>/export_<export_id>`.
pub fn pack(source: &str, export_id: &str) -> String {
    format!("exports/{source}/export_{export_id}")
}

/// The pointer to one pack.
pub fn pointer(source: &str, export_id: &str) -> String {
    format!("exports/{source}/export_{export_id}.pointer")
}

/// The pointer to the newest pack.
pub fn latest(source: &str) -> String {
    format!("exports/{source}/latest.pointer")
}

/// `sealed/<source>/<pack_uid>`.
pub fn sealing(source: &str, pack_uid: &str) -> String {
    format!("sealed/{source}/{pack_uid}")
}
