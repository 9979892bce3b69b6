//! What a pack may build on: the newest standing pack of the source and, in a delta, the packs that hold its files.

use super::plan::{From, Planned};
use super::{ExportId, MANIFEST_FILE, PackFile, PackManifest, read_text};
use crate::node::Node;
use datanode_schema::files::{same_file, sha256_of, sha256_plain};
use datanode_schema::records::PackRecord;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A delta whose files lie in more packs than this is not made: a consumer would gather it from everywhere.
const MAX_HOLDERS: usize = 64;

/// The newest standing pack, read.
pub struct Base {
    /// Its id.
    pub id: String,
    manifest: PackManifest,
}

impl Base {
    /// The newest of `standing` (the newest first), where its folder and manifest are what was published.
    pub fn newest(node: &Node, standing: &[(String, PackRecord)]) -> Option<Self> {
        let (id, record) = standing.first()?;
        match manifest_of(node, id, record) {
            Ok(manifest) => Some(Self { id: id.clone(), manifest }),
            Err(cause) => {
                tracing::warn!(export_id = id, cause, "the last pack cannot be built on; a full one is made");
                None
            }
        }
    }

    /// What it says of a file with the same path and bytes.
    fn same(&self, file: &PackFile) -> Option<&PackFile> {
        self.manifest.file(&file.path).filter(|f| f.sha256 == file.sha256 && f.bytes == file.bytes)
    }

    /// Where that file lies on this disk.
    pub fn place_of(&self, node: &Node, file: &PackFile) -> Option<PathBuf> {
        let there = self.same(file)?;
        Some(node.data.pack(&node.source, self.holder(there)).join(&file.path))
    }

    /// Whether each of these files still lies where the pack says, as a link of what was just read or with the same bytes.
    pub fn is_whole(&self, node: &Node, planned: &[Planned]) -> bool {
        let gone = planned.iter().find(|p| !self.place_of(node, &p.file).is_some_and(|place| is_there(p, &place)));
        if let Some(p) = gone {
            tracing::warn!(
                export_id = self.id,
                file = p.file.path,
                "gone from the last pack, or altered; a new pack is made"
            );
        }
        gone.is_none()
    }

    fn holder<'a>(&'a self, there: &'a PackFile) -> &'a str {
        there.held_by.as_deref().unwrap_or(&self.id)
    }
}

fn manifest_of(node: &Node, id: &str, record: &PackRecord) -> Result<PackManifest, String> {
    let path = node.data.pack(&node.source, id).join(MANIFEST_FILE);
    let text = read_text(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if sha256_of(&text) != record.manifest_sha256 {
        return Err(format!("{}: is not what was published", path.display()));
    }
    PackManifest::parse(&text).map_err(|e| e.to_string())
}

/// Why a full pack is made where a delta was wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Nothing stands that could be built on.
    NoBase,
    /// The last pack's id is not before this one's: the clock went back.
    Clock,
    /// The last full pack is older than the rule.
    Old,
    /// The files would lie in so many packs.
    Long(usize),
    /// More than half of the bytes are new.
    Half,
    /// A pack that holds files, and what is wrong with it.
    Holder(String, String),
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBase => f.write_str("no pack stands to build on"),
            Self::Clock => f.write_str("the last pack is not before this one; check the clock"),
            Self::Old => f.write_str("the last full pack is older than export.full_every_days"),
            Self::Long(n) => write!(f, "its files would lie in {n} packs"),
            Self::Half => f.write_str("more than half of the bytes are new"),
            Self::Holder(id, cause) => write!(f, "{id} cannot be built on: {cause}"),
        }
    }
}

/// Names the holders in `planned`, so that what remains is a delta over `base`. `stamp` begins the new id; `now` is the run's
/// recorded time in unix seconds.
///
/// # Errors
/// Why there is no delta; nothing was named then.
pub fn divide(
    node: &Node,
    standing: &[(String, PackRecord)],
    base: Option<&Base>,
    planned: &mut [Planned],
    stamp: &str,
    now: i64,
) -> Result<(), Whole> {
    let base = base.ok_or(Whole::NoBase)?;
    if base.id.get(..16).is_none_or(|b| b >= stamp) {
        return Err(Whole::Clock);
    }
    let full = |id: &str| ExportId::parse(id).is_some_and(|id| !id.is_delta);
    let last_full = standing.iter().find(|(id, _)| full(id)).ok_or(Whole::NoBase)?;
    if now - last_full.1.created_at >= i64::from(node.publishing.export.full_every_days) * 86_400 {
        return Err(Whole::Old);
    }
    let holders: Vec<Option<&str>> = planned.iter().map(|p| base.same(&p.file).map(|f| base.holder(f))).collect();
    let sizes = planned.iter().zip(&holders).map(|(p, h)| (p.file.bytes, h.is_some()));
    let (all, new) = sizes.fold((0u64, 0u64), |(all, new), (n, held)| (all + n, if held { new } else { new + n }));
    if new > all / 2 {
        return Err(Whole::Half);
    }
    let mut held: BTreeMap<&str, Vec<&Planned>> = BTreeMap::new();
    for (p, holder) in planned.iter().zip(&holders) {
        if let Some(h) = holder {
            held.entry(h).or_default().push(p);
        }
    }
    if held.len() > MAX_HOLDERS {
        return Err(Whole::Long(held.len()));
    }
    for (id, files) in held {
        stands(node, standing, id, &files).map_err(|cause| Whole::Holder(id.to_owned(), cause))?;
    }
    let named: Vec<Option<String>> = holders.into_iter().map(|h| h.map(str::to_owned)).collect();
    for (p, holder) in planned.iter_mut().zip(named) {
        p.file.held_by = holder;
    }
    Ok(())
}

/// Whether a file lies at a place; a link of what was just read needs no second reading.
fn is_there(p: &Planned, place: &Path) -> bool {
    let linked = matches!(&p.from, From::Link(source) if same_file(source, place));
    linked || sha256_plain(place).is_ok_and(|(sum, _)| hex::encode(sum) == p.file.sha256)
}

/// Whether a holder still is what was published: its manifest, and each of these files.
fn stands(node: &Node, standing: &[(String, PackRecord)], id: &str, files: &[&Planned]) -> Result<(), String> {
    let (_, record) = standing.iter().find(|(s, _)| s == id).ok_or("it was removed")?;
    let manifest = manifest_of(node, id, record)?;
    for p in files {
        let own = manifest.file(&p.file.path).is_some_and(|f| f.held_by.is_none() && f.sha256 == p.file.sha256);
        let place = node.data.pack(&node.source, id).join(&p.file.path);
        if !own || !is_there(p, &place) {
            return Err(format!("{} is gone or altered", place.display()));
        }
    }
    Ok(())
}
