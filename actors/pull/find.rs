//! Which packs are where, and which one is meant.

use super::fetch::Counted;
use super::paper::Paper;
use super::{PullError, PullFault, PullPlan, Wanted};
use crate::export::ExportId;
use crate::objects::pointer::{MAX_POINTER, Pointer};
use crate::objects::{Bucket, BucketKind, layout};

/// A pack that was found.
pub struct Found {
    /// What comes before `export_<id>` in the bucket: nothing, `<source>` or `exports/<source>`, with a slash at its end where it is not empty.
    pub base: String,
    /// Its papers.
    pub paper: Paper,
}

impl Found {
    /// The folder of a pack beside this one.
    pub fn folder(&self, id: &str) -> String {
        folder(&self.base, id)
    }
}

fn folder(base: &str, id: &str) -> String {
    format!("{base}export_{id}")
}

/// The ids of the pack folders among these, the newest last.
fn ids(folders: &[String]) -> Vec<String> {
    let named = folders.iter().filter_map(|f| f.strip_prefix("export_"));
    let mut out: Vec<String> = named.filter(|id| ExportId::parse(id).is_some()).map(str::to_owned).collect();
    out.sort_unstable();
    out
}

/// Finds the pack that is meant and reads its papers.
///
/// # Errors
/// 5: there is none; 2: which source is not said; 3 and 4: its papers.
pub async fn find(plan: &PullPlan, counted: &Counted, say: &(dyn Fn(&str) + Sync)) -> Result<Found, PullError> {
    match &plan.wanted {
        Wanted::Id(id) => by_id(&plan.bucket, id, counted).await,
        Wanted::Latest if plan.bucket.kind == BucketKind::Http => by_pointer(plan, counted).await,
        Wanted::Latest => latest(plan, counted, say).await,
    }
}

async fn by_id(bucket: &Bucket, id: &str, counted: &Counted) -> Result<Found, PullError> {
    let Some(parsed) = ExportId::parse(id) else {
        return Err(PullError::usage(format!("--id {id:?} is not YYYYMMDDTHHMMSSZ_<source>_full|delta")));
    };
    let bases = [String::new(), format!("{}/", layout::exports(&parsed.source)), format!("{}/", parsed.source)];
    for base in bases {
        if let Some(paper) = Paper::read(bucket, &folder(&base, id), id, counted).await? {
            return Ok(Found { base, paper });
        }
    }
    Err(PullError::not_found(format!(
        "{}: there is no complete pack {id}; retention may have removed it, or it is still on its way: pull --latest",
        bucket.url
    )))
}

/// Where nothing can be listed, a pointer says which pack is the newest.
async fn by_pointer(plan: &PullPlan, counted: &Counted) -> Result<Found, PullError> {
    let bucket = &plan.bucket;
    let names = match &plan.source {
        Some(s) => vec![layout::latest(s), "latest.pointer".to_owned()],
        None => vec!["latest.pointer".to_owned()],
    };
    for name in &names {
        let Some(text) = counted.small(bucket, name, MAX_POINTER).await? else { continue };
        let bad = |why: String| PullError::contract(format!("{}: {name}: {why}; check the URL", bucket.url));
        let text = std::str::from_utf8(&text).map_err(|_| bad("not text".to_owned()))?;
        let pointer = Pointer::parse(text).map_err(|e| bad(e.to_string()))?;
        if plan.source.as_ref().is_some_and(|s| ExportId::parse(&pointer.export_id).is_none_or(|id| id.source != *s)) {
            continue;
        }
        return by_id(bucket, &pointer.export_id, counted).await;
    }
    let advice = if plan.source.is_some() { "" } else { ", or name the source with --source" };
    Err(PullError::not_found(format!(
        "{}: no {} there; end the URL with exports/<source>{advice}",
        bucket.url,
        names.join(" and no ")
    )))
}

async fn latest(plan: &PullPlan, counted: &Counted, say: &(dyn Fn(&str) + Sync)) -> Result<Found, PullError> {
    let (base, ids) = packs(&plan.bucket, plan.source.as_deref()).await?;
    let mut first_bad: Option<PullError> = None;
    for id in ids.iter().rev() {
        match Paper::read(&plan.bucket, &folder(&base, id), id, counted).await {
            Ok(Some(paper)) => return Ok(Found { base, paper }),
            Ok(None) => say(&format!("{id} is not complete (no manifest.json); looking at the one before it")),
            Err(e) if matches!(e.fault, PullFault::Contract | PullFault::Integrity) => {
                say(&format!("{e}; looking at the one before it"));
                first_bad.get_or_insert(e);
            }
            Err(e) => return Err(e),
        }
    }
    Err(first_bad.unwrap_or_else(|| {
        PullError::not_found(format!(
            "{}: there is no complete pack; check the URL, and what the node shipped",
            plan.bucket.url
        ))
    }))
}

/// Where the packs are, and their ids, the newest last.
async fn packs(bucket: &Bucket, source: Option<&str>) -> Result<(String, Vec<String>), PullError> {
    let top = bucket.folders("").await?;
    let here = ids(&top);
    if !here.is_empty() {
        let of = |id: &String| source.is_none_or(|s| ExportId::parse(id).is_some_and(|p| p.source == s));
        return Ok((String::new(), here.into_iter().filter(of).collect()));
    }
    let (above, sources) = match top.iter().any(|f| f == "exports") {
        true => ("exports/", bucket.folders("exports").await?),
        // A node's own exports/ folder, or one that holds several.
        false => ("", top.into_iter().take(64).collect()),
    };
    let mut with_packs = Vec::new();
    for s in sources.into_iter().filter(|s| source.is_none_or(|w| w == s)) {
        let base = format!("{above}{s}/");
        let ids = ids(&bucket.folders(&base).await?);
        if !ids.is_empty() {
            with_packs.push((s, base, ids));
        }
    }
    match with_packs.len() {
        0 => {
            let of = source.map(|s| format!(" of source {s:?}")).unwrap_or_default();
            Err(PullError::not_found(format!(
                "{}: there is no pack{of}; check the URL, and what the node shipped",
                bucket.url
            )))
        }
        1 => Ok(with_packs.into_iter().map(|(_, base, ids)| (base, ids)).next().unwrap_or_default()),
        _ => {
            let names: Vec<String> = with_packs.into_iter().map(|(s, ..)| s).collect();
            Err(PullError::usage(format!(
                "{}: several sources; choose with --source: {}",
                bucket.url,
                names.join(", ").escape_debug()
            )))
        }
    }
}
