//! What a pack's manifest says. A manifest of thousands of files is read once, and its figures are kept: a published pack never changes.

use super::ask::{bytes, thousands};
use super::link::part;
use super::shell::{figure, table};
use super::{Refusal, Site};
use datanode_actors::beneath::Beneath;
use datanode_actors::export::{MANIFEST_FILE, PackManifest};
use datanode_schema::files::sha256_of;
use datanode_schema::trees::PACKS;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest manifest that is read for a page, bytes.
const LONGEST: u64 = 16 << 20;
/// Manifests that are kept.
const KEPT: usize = 2;
/// Files of a page.
const FILES: usize = 200;
/// Partitions that were held out, of those the first.
const EXCLUDED: usize = 100;

/// The manifests that were read last.
#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<(String, Arc<PackManifest>)>>);

#[derive(Default)]
struct Sum {
    files: u64,
    elsewhere: u64,
    bytes: u64,
    rows: u64,
    window: Option<(chrono::NaiveDate, chrono::NaiveDate)>,
}

/// The manifest, or why it cannot be shown.
fn read(site: &Site, id: &str) -> Result<Result<Arc<PackManifest>, String>, Refusal> {
    let node = &site.ctx.desk.node;
    let Some(record) = site.ctx.store.load(&PACKS, &id.to_owned())?.filter(|r| r.removed_at == 0) else {
        return Ok(Err("Its files are not here.".to_owned()));
    };
    let find = |all: &[(String, Arc<PackManifest>)]| all.iter().find(|(k, _)| k == id).map(|(_, m)| m.clone());
    if let Some(m) = find(&site.manifests.0.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(Ok(m));
    }
    let opened = File::open(node.data.pack(&node.source, id)).map(Beneath::new);
    let file = match opened.and_then(|mut folder| folder.open(MANIFEST_FILE).map_err(Into::into)) {
        Ok(f) => f,
        Err(e) => return Ok(Err(format!("It cannot be opened: {e}."))),
    };
    let mut text = Vec::new();
    if let Err(e) = file.take(LONGEST + 1).read_to_end(&mut text) {
        return Ok(Err(format!("It cannot be read: {e}.")));
    }
    if text.len() as u64 > LONGEST {
        return Ok(Err(format!("It is longer than {} and not shown here.", bytes(LONGEST))));
    }
    if sha256_of(&text) != record.manifest_sha256 {
        return Ok(Err("It is not the one that was published: see `datanode pack verify`.".to_owned()));
    }
    let m = match PackManifest::parse(&text) {
        Ok(m) => Arc::new(m),
        Err(e) => return Ok(Err(e.to_string())),
    };
    let mut kept = site.manifests.0.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= KEPT {
        kept.remove(0);
    }
    kept.push((id.to_owned(), m.clone()));
    Ok(Ok(m))
}

/// The manifest's figures, what was held out, and the files from the path `from` on.
pub(super) fn section(site: &Site, id: &str, from: &str) -> Result<Markup, Refusal> {
    let m = match read(site, id)? {
        Ok(m) => m,
        Err(why) => return Ok(html! { p { (why) } }),
    };
    let q = &m.qc;
    Ok(html! {
        dl.figures {
            (figure("Sessions", &m.time_window.start.to_string(), &format!("to {}", m.time_window.end)))
            (figure("Made by", &m.producer.host_id, &format!("datanode {}", m.producer.version)))
            (figure("Calendar", &m.calendar.name, &m.calendar.version))
            (figure("Builds on", m.base_export_id.as_deref().unwrap_or("nothing: it is whole"), ""))
            (figure("GREEN", &thousands(q.green), "partitions")) (figure("AMBER", &thousands(q.amber), "")) (figure("RED", &thousands(q.red), "left out")) (figure("PENDING", &thousands(q.pending), ""))
            (figure("SHA-256 of the configuration", &m.config_sha256, ""))
        }
        @if let Some(notes) = &m.notes { p { (notes) } }
        (table("Data files by dataset", &["Dataset", "Files", "In an earlier pack", "Rows", "Bytes", "Sessions"], &by_dataset(&m)))
        (excluded(&m))
        (files(id, &m, from))
    })
}

fn by_dataset(m: &PackManifest) -> Markup {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for f in &m.files {
        let s = sums.entry(&f.dataset).or_default();
        s.files += 1;
        s.elsewhere += u64::from(f.held_by.is_some());
        s.bytes = s.bytes.saturating_add(f.bytes);
        s.rows = s.rows.saturating_add(f.rows);
        let (start, end) = s.window.unwrap_or((f.window.start, f.window.end));
        s.window = Some((start.min(f.window.start), end.max(f.window.end)));
    }
    html! {
        @for (d, s) in &sums {
            tr {
                th scope="row" { (d) } td.n { (thousands(s.files)) } td.n { (thousands(s.elsewhere)) } td.n { (thousands(s.rows)) } td.n { (bytes(s.bytes)) }
                td { @if let Some((start, end)) = s.window { (start) " to " (end) } }
            }
        }
    }
}

fn excluded(m: &PackManifest) -> Markup {
    let all = &m.qc.excluded;
    let rows = html! {
        @for e in all.iter().take(EXCLUDED) {
            tr { th scope="row" { a href={ "/cell/" (e.partition.split('/').map(part).collect::<Vec<_>>().join("/")) } { (e.partition) } } td { (e.status.name()) } td.wide { (e.reasons.join(", ")) } }
        }
    };
    html! {
        @if !all.is_empty() {
            details {
                summary { (thousands(all.len() as u64)) " partitions were held out" }
                @if all.len() > EXCLUDED { p { "The first " (EXCLUDED) "; manifest.json has all." } }
                (table("Held out", &["Partition", "Verdict", "Reasons"], &rows))
            }
        }
    }
}

fn files(id: &str, m: &PackManifest, from: &str) -> Markup {
    let start = m.files.partition_point(|f| f.path.as_str() < from);
    let page = m.files.iter().skip(start).take(FILES);
    let next = m.files.get(start.saturating_add(FILES));
    let rows = html! {
        @for f in page {
            tr { th scope="row" { (f.path) } td.n { (thousands(f.rows)) } td.n { (bytes(f.bytes)) } td { code { (f.sha256.get(..16).unwrap_or_default()) "…" } } td { (f.held_by.as_deref().unwrap_or("")) } }
        }
    };
    html! {
        details open[!from.is_empty()] {
            summary { "Files " (start + 1) "–" (start.saturating_add(FILES).min(m.files.len())) " of " (thousands(m.files.len() as u64)) }
            (table("Files", &["Path", "Rows", "Bytes", "SHA-256", "Held by"], &rows))
            @if let Some(f) = next { p.pages { a href={ "/packs/" (part(id)) "?from=" (part(&f.path)) } rel="next" { "Next files" } } }
        }
    }
}
