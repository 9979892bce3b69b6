//! `/packs` and `/packs/<id>`: what was published, where it is, what proves it.

use super::ask::{ask, bytes, list, minute, number, text, thousands};
use super::link::{Query, part};
use super::proof::section;
use super::shell::{figure, mark, pages, table};
use super::{Page, Refusal, Site};
use datanode_schema::records::AnchorRecord;
use datanode_schema::store::StoreError;
use datanode_schema::trees::{ANCHORS, PACKS, SHIPMENTS};
use maud::{Markup, html};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Packs of a page.
const LISTED: u64 = 50;

/// Sealed, anchored, shipped: marks with words.
fn marks(sealed: bool, anchored: Option<&AnchorRecord>, shipped: u64) -> Markup {
    html! {
        (if sealed { mark("good", "sealed") } else { mark("off", "not sealed") }) " "
        (match anchored {
            Some(a) => mark("good", &format!("anchored as {}", a.index)),
            None if sealed => mark("warn", "not anchored"),
            None => html! {},
        }) " "
        (match shipped {
            0 => mark("off", "not shipped"),
            n => mark("good", &format!("shipped {n}×")),
        })
    }
}

/// The state of one pack's proof, for `/`.
pub(super) fn state(site: &Site, id: &str) -> Result<Markup, Refusal> {
    let store = &site.ctx.store;
    let uid = store.load(&PACKS, &id.to_owned())?.map(|p| p.pack_uid).unwrap_or_default();
    let anchored = store.load(&ANCHORS, &uid)?;
    Ok(marks(!uid.is_empty(), anchored.as_ref(), arrivals(site)?.get(id).copied().unwrap_or(0)))
}

/// Arrivals by pack.
fn arrivals(site: &Site) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut out = BTreeMap::new();
    site.ctx.store.scan(&SHIPMENTS, &[], |key, _| {
        if let Some((_, id)) = key.rsplit_once('/') {
            *out.entry(id.to_owned()).or_default() += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

fn row(site: &Site, p: &Value, arrived: &BTreeMap<String, u64>) -> Result<Markup, StoreError> {
    let id = text(p, "export_id");
    let uid = site.ctx.store.load(&PACKS, &id.to_owned())?.map(|p| p.pack_uid).unwrap_or_default();
    let anchored = site.ctx.store.load(&ANCHORS, &uid)?;
    let labels: Vec<&str> = list(p, "labels").iter().filter_map(Value::as_str).collect();
    Ok(html! {
        tr {
            th scope="row" { a href={ "/packs/" (part(id)) } { (id) } }
            td { (text(p, "as_of")) } td.n { (thousands(number(p, "files"))) } td.n { (thousands(number(p, "rows"))) } td.n { (bytes(number(p, "bytes"))) }
            td { (marks(!uid.is_empty(), anchored.as_ref(), arrived.get(id).copied().unwrap_or(0)))
                @for l in labels { " " (mark("bad", l)) }
                @if !text(p, "removed_at").is_empty() { " " (mark("off", "local files removed")) } }
        }
    })
}

fn listed(site: &Site, offset: u64) -> Result<(Markup, u64), Refusal> {
    let all = ask(&site.ctx, "packs", json!({"offset": offset, "limit": LISTED}))?;
    let arrived = arrivals(site)?;
    let rows = list(&all, "rows").iter().map(|p| row(site, p, &arrived)).collect::<Result<Vec<_>, _>>()?;
    let rows = html! { @for r in &rows { (r) } };
    let heads = ["Pack", "As of", "Files", "Rows", "Bytes", "Proof"];
    Ok((table("Packs, the newest first", &heads, &rows), number(&all, "total")))
}

pub(super) fn every(site: &Site, query: &Query) -> Page {
    let offset = query.number("offset");
    let (packs, total) = listed(site, offset)?;
    let content = html! {
        h1 { "Packs" }
        @if total == 0 { p { "There is no pack here: the next nightly cycle publishes one." } } @else { (packs) (pages("/packs", offset, LISTED, total)) }
    };
    Ok(("Packs".to_owned(), content))
}

pub(super) fn one(site: &Site, id: &str, query: &Query) -> Page {
    if id == "last" {
        // A word of the REPL's: here each page has one name.
        return Err(Refusal::Nothing("there is no pack \"last\"; /packs lists them".to_owned()));
    }
    let p = ask(&site.ctx, "packs.show", json!({"export_id": id}))?;
    let uid = text(&p, "pack_uid");
    let anchored = site.ctx.store.load(&ANCHORS, &uid.to_owned())?;
    let shipments = list(&p, "shipments");
    let incidents = list(&p, "incidents");
    let content = html! {
        p.pages { a href="/packs" { "All packs" } }
        h1 { "Pack " (id) }
        p { (marks(!uid.is_empty(), anchored.as_ref(), shipments.len() as u64)) }
        @for i in incidents { p.bad { "Incident " (number(i, "id")) ", " (text(i, "label")) ": " (text(i, "note")) } }
        dl.figures {
            (figure("As of", text(&p, "as_of"), ""))
            (figure("Made", &minute(text(&p, "created_at")), ""))
            (figure("Files", &thousands(number(&p, "files")), &bytes(number(&p, "bytes"))))
            (figure("Rows", &thousands(number(&p, "rows")), ""))
            (figure("SHA-256 of the manifest", text(&p, "manifest_sha256"), ""))
            @if !uid.is_empty() { (figure("Sealing", uid, "")) (figure("Merkle root", text(&p, "merkle_root"), "BLAKE3")) }
        }
        @if !text(&p, "removed_at").is_empty() { p { "Retention removed its files here on " (minute(text(&p, "removed_at"))) "." } }
        (section(site, uid, text(&p, "merkle_root"), anchored.as_ref()))
        h2 { "Where it arrived" }
        @if shipments.is_empty() { p { "Nowhere yet." } } @else { (table("Arrivals", &["Destination", "Files", "Bytes", "When"], &arrived(shipments))) }
        h2 { "Manifest" }
        (super::manifest::section(site, id, query.text("from"))?)
    };
    Ok((format!("Pack {id}"), content))
}

fn arrived(all: &[Value]) -> Markup {
    html! {
        @for s in all {
            tr { th scope="row" { (text(s, "destination")) } td.n { (thousands(number(s, "files"))) } td.n { (bytes(number(s, "bytes"))) } td { (minute(text(s, "finished_at"))) } }
        }
    }
}
