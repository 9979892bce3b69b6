//! Making the pack.

use super::archive::{publish_archive, write_archive};
use super::base::{Base, divide};
use super::gather::gather;
use super::index::{adopt_orphans, content_of, enter};
use super::nightly::link_nightly;
use super::plan::{lay_out, plan_files, window_of};
use super::{
    CalendarOf, ExportError, MANIFEST_FILE, PackFile, PackManifest, Producer, SCHEMA_VERSION, SUMS_FILE, format_sums,
    io, read_text, remove,
};
use crate::node::{Node, RunContext};
use crate::publishing::ExportScope;
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{compact, day_number, rfc3339};
use datanode_schema::failpoint;
use datanode_schema::files::{sha256_of, sync_file_system, sync_folder};
use datanode_schema::trees::OFFLOADED;
use std::path::Path;

/// What exporting did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExportCounters {
    /// The pack of this run: new, or the one that still says it all.
    pub export_id: String,
    /// 1 where nothing changed since that pack.
    pub unchanged: u64,
    /// Data files in it.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that are hard links of curated ones, or of those of the pack before.
    pub linked: u64,
    /// Files written anew, without what is held out.
    pub rewritten: u64,
    /// Files of a delta that lie in earlier packs.
    #[serde(default)]
    pub held: u64,
    /// Bytes of the files in its own folder.
    #[serde(default)]
    pub own_bytes: u64,
    /// Partitions held out.
    pub excluded: u64,
}

/// Publishes the pack of a run, or confirms the last one where nothing has changed.
///
/// # Errors
/// [`ExportError`]: there is no new pack, and the last good one stays. The refusal is counted and logged.
pub fn export(node: &Node, run: &RunContext) -> Result<ExportCounters, ExportError> {
    let done = try_export(node, run);
    let counter = match &done {
        Ok(c) if c.unchanged == 0 => Some("export/made"),
        Ok(_) => None,
        Err(_) => Some("export/refused"),
    };
    if let Err(reason) = &done {
        tracing::error!(run = run.id, %reason, "no pack was made; the last good one stays");
    }
    if let Some(Err(e)) = counter.map(|name| node.count(name)) {
        tracing::error!(error = %e, "the export could not be counted");
    }
    done
}

fn try_export(node: &Node, run: &RunContext) -> Result<ExportCounters, ExportError> {
    // One value: the hash in the manifest is that of the registry by which the pack is made.
    let config = node.live.current();
    let rules = &node.publishing.export;
    let gathered = gather(node, run, &config.registry)?;
    let stamp = compact(run.started_at);
    adopt_orphans(node, &stamp)?;
    let standing = node.standing_packs()?;
    let base = Base::newest(node, &standing);
    let tmp = node.data.root().join("tmp");
    let building = tmp.join(format!("export-{}", std::process::id()));
    let packed = tmp.join(format!("export-{}.tar.zst", std::process::id()));
    remove(&building)?;
    let mut c = ExportCounters { excluded: gathered.qc.excluded.len() as u64, ..Default::default() };
    let mut planned = plan_files(node, &gathered, base.as_ref(), &building, &mut c)?;
    let calendar = config.registry.calendars.get(Calendar::Xnys).sha256();
    let origin = [&node.host_id, &node.source, &config.sha256, &calendar].map(String::as_str);
    let content = content_of(origin, run.as_of, planned.iter().map(|p| &p.file));
    // What would be in the pack is known before a link is made: a night without changes touches no folder.
    let last = standing.first().filter(|(_, p)| p.content == content && p.as_of == day_number(run.as_of));
    let stands = |b: &&Base| last.is_some() && b.is_whole(node, &planned);
    if let Some(same) = base.as_ref().filter(stands).map(|b| b.id.clone()) {
        remove(&building)?;
        let pack = node.data.pack(&node.source, &same);
        let archive = node.data.pack_archive(&node.source, &same);
        if rules.archive && !archive.is_file() && !is_elsewhere(node, &archive)? {
            let path = pack.join(MANIFEST_FILE);
            let text = read_text(&path).map_err(io(&path))?;
            std::fs::create_dir_all(&tmp).map_err(io(&tmp))?;
            write_archive(&pack, &PackManifest::parse(&text)?, &packed)?;
            publish_archive(&packed, &archive)?;
        }
        link_nightly(node, run.as_of, &pack)?;
        return Ok(ExportCounters { export_id: same, unchanged: 1, ..c });
    }
    let mut scope = rules.scope;
    if scope == ExportScope::Delta
        && let Err(why) = divide(node, &standing, base.as_ref(), &mut planned, &stamp, run.started_at.timestamp())
    {
        tracing::info!(reason = %why, "a full pack is made");
        scope = ExportScope::Full;
    }
    let id = format!("{stamp}_{}_{}", node.source, scope.name());
    let own = || planned.iter().filter(|p| p.file.held_by.is_none());
    (c.export_id, c.held) = (id.clone(), (planned.len() - own().count()) as u64);
    c.own_bytes = own().map(|p| p.file.bytes).sum();
    std::fs::create_dir_all(&building).map_err(io(&building))?;
    lay_out(&planned, &building)?;
    let files: Vec<PackFile> = planned.into_iter().map(|p| p.file).collect();
    let base_id = base.filter(|_| scope == ExportScope::Delta).map(|b| b.id);
    let manifest = describe(node, run, &config.sha256, id.clone(), files, gathered.qc, base_id);
    let manifest_sha256 = write_texts(&building, &manifest)?;
    if rules.archive {
        write_archive(&building, &manifest, &packed)?;
    }
    publish(node, &building, &id, &manifest_sha256)?;
    let pack = node.data.pack(&node.source, &id);
    if rules.archive {
        publish_archive(&packed, &node.data.pack_archive(&node.source, &id))?;
    }
    link_nightly(node, run.as_of, &pack)?;
    enter(node, &manifest, run.as_of, manifest_sha256, content)?;
    Ok(c)
}

/// Whether an archive was offloaded and then removed here: it is not made again.
fn is_elsewhere(node: &Node, archive: &Path) -> Result<bool, ExportError> {
    let below = archive.strip_prefix(node.data.root()).unwrap_or(archive).to_string_lossy();
    let record = node.store.load(&OFFLOADED, &below.into_owned())?;
    Ok(record.is_some_and(|r| r.removed_at != 0))
}

fn describe(
    node: &Node,
    run: &RunContext,
    config_sha256: &str,
    id: String,
    files: Vec<PackFile>,
    qc: super::QcSummary,
    base_export_id: Option<String>,
) -> PackManifest {
    let calendar = node.registry().calendars.get(Calendar::Xnys);
    PackManifest {
        schema_version: SCHEMA_VERSION,
        export_id: id,
        created_at_utc: rfc3339(run.started_at),
        source: node.source.clone(),
        time_window: window_of(files.iter()),
        producer: Producer {
            host_id: node.host_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_sha: None,
            image: None,
        },
        repo_head: None,
        calendar: CalendarOf {
            name: calendar.name().to_owned(),
            version: calendar.version().to_owned(),
            sha256: calendar.sha256(),
        },
        config_sha256: config_sha256.to_owned(),
        files,
        qc,
        base_export_id,
        notes: None,
    }
}

/// Writes manifest and sums, and gives the manifest's SHA-256. A manifest that its readers would refuse is not written.
fn write_texts(building: &Path, manifest: &PackManifest) -> Result<[u8; 32], ExportError> {
    let text = manifest.to_text();
    PackManifest::parse(text.as_bytes())?;
    let sum = sha256_of(text.as_bytes());
    let mut sums: Vec<(String, String)> = manifest.own_files().map(|f| (f.sha256.clone(), f.path.clone())).collect();
    sums.push((hex::encode(sum), MANIFEST_FILE.to_owned()));
    for (name, text) in [(MANIFEST_FILE, text), (SUMS_FILE, format_sums(sums))] {
        let path = building.join(name);
        std::fs::write(&path, text).map_err(io(&path))?;
    }
    Ok(sum)
}

/// The folder appears whole, under its name, or not at all.
fn publish(node: &Node, building: &Path, id: &str, manifest_sha256: &[u8; 32]) -> Result<(), ExportError> {
    let target = node.data.pack(&node.source, id);
    let parent = target.parent().unwrap_or(&target).to_owned();
    std::fs::create_dir_all(&parent).map_err(io(&parent))?;
    if target.exists() {
        // A crash came between the rename and the commit: the same pack is already there.
        let there = read_text(&target.join(MANIFEST_FILE)).map(|t| sha256_of(&t));
        if there.is_ok_and(|sum| sum == *manifest_sha256) {
            return remove(building);
        }
        return Err(ExportError::Exists { id: id.to_owned() });
    }
    failpoint::pass("export.before_sync");
    sync_file_system(building).map_err(io(building))?;
    std::fs::rename(building, &target).map_err(io(&target))?;
    failpoint::pass("export.renamed");
    sync_folder(&parent).map_err(io(&parent))
}
