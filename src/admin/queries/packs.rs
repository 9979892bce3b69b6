//! `packs`: what was published, and where it arrived.

use super::quarantine::{IncidentRow, of_packs};
use super::{Page, day, not_found, text, time};
use crate::admin::AdminContext;
use crate::admin::commands::{Args, nearest};
use crate::admin::protocol::AdminError;
use datanode_schema::records::PackRecord;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::{PACKS, SHIPMENTS};
use serde::Serialize;

/// A pack, in a line.
#[derive(Clone, Debug, Serialize)]
pub struct PackRow {
    /// Its id.
    pub export_id: String,
    /// The last session considered.
    pub as_of: String,
    /// The recorded time of its run.
    pub created_at: Option<String>,
    /// Files, manifest and sums included.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Rows of the data files.
    pub rows: u64,
    /// Whether it is sealed.
    pub sealed: bool,
    /// When retention removed the local files.
    pub removed_at: Option<String>,
    /// What open incidents say of it, the worst label first.
    pub labels: Vec<&'static str>,
}

/// An arrival.
#[derive(Clone, Debug, Serialize)]
pub struct ShipmentRow {
    /// Where.
    pub destination: String,
    /// Files that the destination holds and that were compared.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// When.
    pub finished_at: Option<String>,
}

/// A pack with its sums.
#[derive(Clone, Debug, Serialize)]
pub struct PackDetails {
    /// The line.
    #[serde(flatten)]
    pub pack: PackRow,
    /// SHA-256 of manifest.json.
    pub manifest_sha256: String,
    /// BLAKE3 over what it holds, without its id and times: equal for packs that hold the same.
    pub content: String,
    /// Id of the sealing.
    pub pack_uid: Option<String>,
    /// Merkle root of the sealing.
    pub merkle_root: Option<String>,
    /// Where it arrived.
    pub shipments: Vec<ShipmentRow>,
    /// Open incidents on it.
    pub incidents: Vec<IncidentRow>,
}

impl PackRow {
    pub(super) fn of(id: &str, p: &PackRecord) -> Self {
        Self {
            export_id: id.to_owned(),
            as_of: day(p.as_of),
            created_at: time(p.created_at),
            files: p.files,
            bytes: p.bytes,
            rows: p.rows,
            sealed: !p.pack_uid.is_empty(),
            removed_at: time(p.removed_at),
            labels: Vec::new(),
        }
    }

    fn labelled(mut self, incidents: &[IncidentRow]) -> Self {
        self.labels = incidents.iter().map(|i| i.label).collect();
        self.labels.sort_unstable_by(|a, b| b.cmp(a));
        self.labels.dedup();
        self
    }
}

/// Newest first.
fn all(store: &Store) -> Result<Vec<(String, PackRecord)>, StoreError> {
    let mut packs = store.load_all(&PACKS, &[])?;
    packs.sort_by(|a, b| (b.1.created_at, &b.0).cmp(&(a.1.created_at, &a.0)));
    Ok(packs)
}

pub(super) fn newest_pack(store: &Store) -> Result<Option<(String, PackRecord)>, StoreError> {
    Ok(all(store)?.into_iter().find(|(_, p)| p.removed_at == 0))
}

pub(super) fn list(ctx: &AdminContext, a: &Args) -> Result<Page<PackRow>, AdminError> {
    let incidents = of_packs(&ctx.store)?;
    let mut page = Page::new(a);
    for (id, p) in all(&ctx.store)? {
        let of = incidents.get(&id).map_or(&[][..], Vec::as_slice);
        page.offer(|| PackRow::of(&id, &p).labelled(of));
    }
    Ok(page)
}

pub(super) fn show(ctx: &AdminContext, a: &Args) -> Result<PackDetails, AdminError> {
    let wanted = a.text("export_id").unwrap_or("last");
    let packs = all(&ctx.store)?;
    let found = match wanted {
        "last" => packs.iter().find(|(_, p)| p.removed_at == 0),
        id => packs.iter().find(|(i, _)| i == id),
    };
    let Some((id, p)) = found else {
        return Err(not_found(match nearest(wanted, packs.iter().map(|(id, _)| id.as_str())) {
            Some(near) if wanted != "last" => {
                format!("there is no pack {wanted:?}; did you mean `{near}`? `packs` lists them")
            }
            _ => "there is no pack yet: the next nightly cycle publishes one".to_owned(),
        }));
    };
    let sealed = !p.pack_uid.is_empty();
    let incidents = of_packs(&ctx.store)?.remove(id).unwrap_or_default();
    Ok(PackDetails {
        pack: PackRow::of(id, p).labelled(&incidents),
        incidents,
        manifest_sha256: hex(&p.manifest_sha256),
        content: hex(&p.content),
        pack_uid: text(&p.pack_uid),
        merkle_root: sealed.then(|| hex(&p.root)),
        shipments: shipments(&ctx.store, id)?,
    })
}

fn shipments(store: &Store, export_id: &str) -> Result<Vec<ShipmentRow>, StoreError> {
    let mut out = Vec::new();
    for (key, s) in store.load_all(&SHIPMENTS, &[])? {
        if let Some((destination, id)) = key.rsplit_once('/')
            && id == export_id
        {
            let finished_at = time(s.finished_at);
            out.push(ShipmentRow { destination: destination.to_owned(), files: s.files, bytes: s.bytes, finished_at });
        }
    }
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}
