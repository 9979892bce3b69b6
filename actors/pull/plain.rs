//! A plain pack.

use super::fetch::{Counted, Object, to_file};
use super::find::{Found, find};
use super::paper::Paper;
use super::place::{Place, files, read_manifest, read_paper, remove};
use super::reuse::{self, Earlier};
use super::{PullError, PullPlan, Pulled, Wanted};
use crate::beneath::Beneath;
use crate::export::{ExportId, MANIFEST_FILE, PackFile, SUMS_FILE};
use datanode_schema::files::sha256_hex;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Pulls a plain pack.
///
/// # Errors
/// [`PullError`]; the destination is as it was.
pub fn pull(plan: &PullPlan, runtime: &Runtime, say: &(dyn Fn(&str) + Sync)) -> Result<Pulled, PullError> {
    let counted = Counted::default();
    // First of all: it brings back what a killed swap moved away, whether or not the bucket answers.
    let place = Place::take(&plan.to)?;
    let found = runtime.block_on(find(plan, &counted, say))?;
    let id = found.paper.manifest.export_id.clone();
    not_back(&place, plan, &id)?;
    let standing = standing(&place, &found.paper)?;
    let wanted = &found.paper.manifest.files;
    let earlier = Earlier::of([vec![place.to().to_owned()], place.other_partials(&id)].concat());
    let (all_files, all_bytes) = found.paper.amount();
    let mut done = Pulled { export_id: id.clone(), files: all_files, bytes: all_bytes, ..Pulled::default() };
    if plan.dry_run {
        let (here, lacking): (Vec<&PackFile>, Vec<&PackFile>) = wanted.iter().partition(|f| earlier.claims(f));
        let bytes = |of: &[&PackFile]| of.iter().map(|f| f.bytes).sum::<u64>();
        (done.reused_files, done.reused_bytes) = (here.len() as u64, bytes(&here));
        (done.downloaded_files, done.downloaded_bytes) = (lacking.len() as u64, bytes(&lacking));
        return Ok(Pulled { dry_run: true, unchanged: standing, ..done });
    }
    if standing && reuse::wrong_in(place.to(), wanted) == 0 {
        for left in place.other_partials("").iter() {
            remove(left).map_err(|e| PullError::io("remove", left, e))?;
        }
        (done.reused_files, done.reused_bytes) = (all_files, all_bytes);
        return Ok(Pulled { unchanged: true, verified_files: all_files, downloaded_bytes: counted.bytes(), ..done });
    }
    let (path, mut partial) = place.open_partial(&id)?;
    if files(&path).is_err() {
        // Something that no pull makes: begin again.
        remove(&path).map_err(|e| PullError::io("remove", &path, e))?;
        partial = place.open_partial(&id)?.1;
    }
    // The manifest first: by it a later pull of another pack finds what is here.
    write(&mut partial, &path, MANIFEST_FILE, &found.paper.manifest_text)?;
    write(&mut partial, &path, SUMS_FILE, found.paper.sums_text.as_bytes())?;
    let taken = reuse::take(&path, &earlier, wanted, plan.trust_local)?;
    let lacking: Vec<&PackFile> = wanted.iter().filter(|f| !taken.contains(&f.path)).collect();
    room(&path, lacking.iter().fold(0, |n, f| n.saturating_add(f.bytes)))?;
    say(&format!("{id}: {} files to fetch, {} are here", lacking.len(), taken.len()));
    runtime.block_on(download(plan, &found, &lacking, (&path, &mut partial), &counted, say))?;
    whole(&path, wanted)?;
    place.swap(&path)?;
    for left in place.other_partials(&id) {
        remove(&left).map_err(|e| PullError::io("remove", &left, e))?;
    }
    done.reused_files = taken.len() as u64;
    done.reused_bytes = wanted.iter().filter(|f| taken.contains(&f.path)).map(|f| f.bytes).sum();
    done.downloaded_files = (lacking.len() as u64).saturating_add(2);
    done.downloaded_bytes = counted.bytes();
    done.verified_files = if plan.trust_local { done.downloaded_files } else { all_files };
    Ok(done)
}

/// Whether the destination says that it is this very pack.
///
/// # Errors
/// 3: it is a pack of this id with another manifest, and its own sums vouch for that.
pub fn standing(place: &Place, paper: &Paper) -> Result<bool, PullError> {
    let Some(text) = read_paper(place.to(), MANIFEST_FILE) else { return Ok(false) };
    let Ok(m) = super::paper::manifest_of(&text, &paper.manifest.export_id) else { return Ok(false) };
    let sums = read_paper(place.to(), SUMS_FILE).unwrap_or_default();
    if text == paper.manifest_text {
        return Ok(sums == paper.sums_text.as_bytes());
    }
    let vouched = format!("{}  {MANIFEST_FILE}", sha256_hex(&text));
    if String::from_utf8_lossy(&sums).lines().any(|l| l == vouched) {
        return Err(PullError::integrity(format!(
            "{}: there it has another manifest than in {}; packs are never changed: find out which is right, and remove the other",
            m.export_id,
            place.to().display()
        )));
    }
    Ok(false)
}

/// The newest pack is never one before the pack that is here: a pointer that is played again, or a bucket that lost its newest.
///
/// # Errors
/// 3: it would be.
pub fn not_back(place: &Place, plan: &PullPlan, id: &str) -> Result<(), PullError> {
    let here = read_manifest(place.to()).and_then(|m| ExportId::parse(&m.export_id));
    let (Wanted::Latest, Some(here), Some(found)) = (&plan.wanted, here, ExportId::parse(id)) else { return Ok(()) };
    if here.source == found.source && found.created < here.created {
        return Err(PullError::integrity(format!(
            "{}: the newest pack there is {id}, older than {here} in {}: find out why the bucket went back; --id {id} takes it all the same",
            plan.bucket.url,
            place.to().display()
        )));
    }
    Ok(())
}

/// Writes a small file anew.
///
/// # Errors
/// The disk's.
pub fn write(folder: &mut Beneath, at: &Path, name: &str, text: &[u8]) -> Result<(), PullError> {
    let full = at.join(name);
    folder.unlink(name).map_err(|e| PullError::io("remove", &full, e))?;
    let mut file = folder.create(name).map_err(|e| PullError::io("create", &full, e))?;
    file.write_all(text).map_err(|e| PullError::io("write", &full, e))
}

/// Refuses before the first byte what the disk has no room for.
///
/// # Errors
/// 1: fewer bytes are free than are to come.
pub fn room(path: &Path, needed: u64) -> Result<(), PullError> {
    let Ok(disk) = nix::sys::statvfs::statvfs(path) else { return Ok(()) };
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if needed > free {
        return Err(PullError::failed(format!(
            "{}: {needed} bytes are to come and {free} are free; make room, or pull to another disk",
            path.display()
        )));
    }
    Ok(())
}

async fn download(
    plan: &PullPlan,
    found: &Found,
    lacking: &[&PackFile],
    (at, partial): (&Path, &mut Beneath),
    counted: &Counted,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), PullError> {
    let total = lacking.iter().fold(0u64, |n, f| n.saturating_add(f.bytes));
    let mut tasks: JoinSet<Result<u64, PullError>> = JoinSet::new();
    let (mut arrived, mut said) = (0u64, 0u64);
    let mut left = lacking.iter();
    loop {
        while tasks.len() < plan.parallel.max(1) {
            let Some(f) = left.next() else { break };
            let full = at.join(&f.path);
            partial.unlink(&f.path).map_err(|e| PullError::io("remove", &full, e))?;
            let file = partial.create(&f.path).map_err(|e| PullError::io("create", &full, e))?;
            let id = f.held_by.as_ref().unwrap_or(&found.paper.manifest.export_id);
            let name = format!("{}/{}", found.folder(id), f.path);
            let object = Object { name, bytes: f.bytes, sha256: Some(f.sha256.clone()) };
            let (bucket, counted) = (plan.bucket.clone(), counted.clone());
            tasks.spawn(async move {
                to_file(&bucket, &object, file, &full, &counted).await?;
                Ok(object.bytes)
            });
        }
        // The first failure ends it: what is under way is given up with the set.
        let Some(ended) = tasks.join_next().await else { return Ok(()) };
        let bytes = ended.map_err(|e| PullError::failed(format!("a download ended: {e}")))??;
        arrived = arrived.saturating_add(bytes);
        let tenth = arrived.saturating_mul(10).checked_div(total).unwrap_or(0);
        if tenth > said {
            said = tenth;
            say(&format!("{arrived} of {total} bytes"));
        }
    }
}

/// Every file is there and no other: each was compared with its sum on its way in.
///
/// # Errors
/// 3: somebody else wrote into the folder meanwhile.
pub fn whole(path: &Path, wanted: &[PackFile]) -> Result<(), PullError> {
    let present = files(path).map_err(PullError::integrity)?;
    let names: BTreeSet<&str> = wanted.iter().map(|f| f.path.as_str()).chain([MANIFEST_FILE, SUMS_FILE]).collect();
    if present.iter().map(String::as_str).eq(names) {
        return Ok(());
    }
    Err(PullError::integrity(format!("{}: somebody else wrote into it meanwhile; pull again", path.display())))
}
