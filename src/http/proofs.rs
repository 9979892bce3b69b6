//! What is public of sealings and packs, and the log that they are anchored in: read-only, described by `openapi.json`.
//!
//! ```text
//! /v1/sealings?limit&before&export_id&since     the sealings that stand, the newest first
//! /v1/sealings/<uid>/descriptor | proof         what they are proved by
//! /v1/manifests?limit&before  /v1/manifests/<id>  what is public of a pack: counts and sums, no symbols
//! /v1/anchors/checkpoint | tile/… | consistency?old=N | beacon
//! /v1/openapi.json
//! ```

use super::problem::{nothing, problem, wrong};
use super::routes::{Answer, Context, Shared, answer};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{Method, StatusCode};
use axum::routing::{MethodRouter, get};
use chrono::{DateTime, Utc};
use datanode_actors::anchor::{AnchorError, Consistency, Head, Log};
use datanode_actors::seal::{PackUid, SealError};
use datanode_actors::vault::{Vault, beacon};
use datanode_schema::clock::rfc3339_of;
use datanode_schema::files::sha256_hex;
use datanode_schema::records::{AnchorRecord, PackRecord, SealingRecord};
use datanode_schema::trees::{ANCHORS, PACKS, SEALINGS};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// The document that describes all of it.
const DOCUMENT: &str = include_str!("openapi.json");
/// Most rows of a page; each costs the reading of a descriptor.
const MOST: usize = 500;
/// What never changes.
const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// What is to be asked for again.
const EACH_TIME: &str = "private, no-cache";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// Whether a path is one of this API's, there or not.
pub fn is_ours(path: &str) -> bool {
    ["/v1/sealings", "/v1/manifests", "/v1/anchors", "/v1/openapi.json"]
        .iter()
        .any(|p| path.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Every route, as the document spells it but for the star before what may have slashes.
fn routes() -> [(&'static str, MethodRouter<Arc<Context>>); 10] {
    [
        ("/v1/sealings", get(sealings)),
        ("/v1/sealings/{pack_uid}/descriptor", get(descriptor)),
        ("/v1/sealings/{pack_uid}/proof", get(proof)),
        ("/v1/manifests", get(manifests)),
        ("/v1/manifests/{export_id}", get(manifest)),
        ("/v1/anchors/checkpoint", get(checkpoint)),
        ("/v1/anchors/tile/{*path}", get(tile)),
        ("/v1/anchors/consistency", get(consistency)),
        ("/v1/anchors/beacon", get(beacon)),
        ("/v1/openapi.json", get(document)),
    ]
}

/// All of it.
pub fn router() -> Router<Arc<Context>> {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler))
        .method_not_allowed_fallback(|method: Method| async move {
            let mut answer =
                problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing here changes anything");
            if method == Method::HEAD {
                *answer.body_mut() = Body::empty();
            }
            answer
        })
}

/// What a request found.
enum Found {
    /// Bytes, their kind, and how long they may be kept.
    Is(Vec<u8>, &'static str, &'static str),
    /// Nothing.
    Nothing,
    /// Nothing that was asked for in the right way.
    Wrong(&'static str),
}

impl Found {
    fn json(value: &Value, cache: &'static str) -> Self {
        Self::Is(value.to_string().into_bytes(), JSON, cache)
    }

    fn text(bytes: Option<Vec<u8>>, kind: &'static str, cache: &'static str) -> Self {
        bytes.map_or(Self::Nothing, |b| Self::Is(b, kind, cache))
    }
}

/// Works off the connections' thread, and answers with an ETag.
async fn found(
    c: Arc<Context>,
    headers: HeaderMap,
    work: impl FnOnce(&Context) -> Result<Found, String> + Send + 'static,
) -> Answer {
    match tokio::task::spawn_blocking(move || work(&c)).await {
        Ok(Ok(Found::Is(bytes, kind, cache))) => {
            let tag = format!("\"{}\"", sha256_hex(&bytes));
            let said = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
            let same = |v: &str| v.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag);
            let mut all = vec![(header::ETAG, tag.clone()), (header::CACHE_CONTROL, cache.to_owned())];
            if said.is_some_and(same) {
                return answer(StatusCode::NOT_MODIFIED, &all, Body::empty());
            }
            all.push((header::CONTENT_TYPE, kind.to_owned()));
            all.push((header::CONTENT_LENGTH, bytes.len().to_string()));
            answer(StatusCode::OK, &all, Body::from(bytes))
        }
        Ok(Ok(Found::Nothing)) => nothing(),
        Ok(Ok(Found::Wrong(why))) => wrong(why),
        Ok(Err(why)) => {
            tracing::error!("{why}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read; the node's log says why")
        }
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping"),
    }
}

type Asked<T> = Result<Query<T>, QueryRejection>;
type Named = Result<Path<String>, PathRejection>;

/// A query that must be empty.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealings {
    limit: Option<usize>,
    before: Option<String>,
    export_id: Option<String>,
    since: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifests {
    limit: Option<usize>,
    before: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Old {
    old: u64,
}

const QUERY: &str =
    "a parameter is unknown, given twice, lacking, or not in its form; /v1/openapi.json tells the parameters";

fn limit(asked: Option<usize>) -> Option<usize> {
    Some(asked.unwrap_or(100)).filter(|n| (1..=MOST).contains(n))
}

async fn sealings(State(c): Shared, headers: HeaderMap, q: Asked<Sealings>) -> Answer {
    let Ok(Query(q)) = q else { return wrong(QUERY) };
    let Some(limit) = limit(q.limit) else { return wrong("limit is 1 to 500") };
    found(c, headers, move |c| listed(c, &q, limit).map(|v| Found::json(&v, EACH_TIME))).await
}

/// A page of sealings; the cursor is the place in the order, so that a sealing that went in between does not end it.
fn listed(c: &Context, q: &Sealings, limit: usize) -> Result<Value, String> {
    let store = &c.node().store;
    let Some(vault) = vault(c)? else { return Ok(json!({"sealings": [], "next_before": null})) };
    let standing = vault.descriptors().map_err(|e| e.to_string())?;
    let records: BTreeMap<String, SealingRecord> =
        store.load_all(&SEALINGS, &[]).map_err(|e| e.to_string())?.into_iter().collect();
    let packs: BTreeMap<String, PackRecord> =
        store.load_all(&PACKS, &[]).map_err(|e| e.to_string())?.into_iter().collect();
    let anchored: BTreeMap<String, AnchorRecord> =
        store.load_all(&ANCHORS, &[]).map_err(|e| e.to_string())?.into_iter().collect();
    let mut all = Vec::new();
    for uid in standing {
        let name = hex::encode(uid);
        let export_id = records.get(&name).map(|r| r.export_id.clone()).unwrap_or_default();
        let made = packs.get(&export_id).map(|p| p.created_at);
        let wanted = q.export_id.as_ref().is_none_or(|id| *id == export_id)
            && q.since.is_none_or(|t| made.is_some_and(|m| m >= t.timestamp()));
        if wanted {
            all.push((format!("{export_id}~{name}"), uid, export_id, made));
        }
    }
    all.sort_by(|a, b| b.0.cmp(&a.0));
    let mut left = all.into_iter().filter(|(place, ..)| q.before.as_ref().is_none_or(|b| place < b));
    let page: Vec<_> = left.by_ref().take(limit).collect();
    let next = left.next().and(page.last()).map(|(place, ..)| place.clone());
    let row = |(_, uid, export_id, made): &(String, PackUid, String, Option<i64>)| {
        // One that cannot be read is listed; the vault's check tells what is wrong with it.
        let d = vault.descriptor(uid).ok();
        let at = anchored.get(&hex::encode(uid));
        let bytes = d.as_ref().map(|d| d.leaves().map(|o| o.object_len).fold(0, u64::saturating_add));
        let id = Some(export_id).filter(|id| !id.is_empty());
        json!({"pack_uid": hex::encode(uid), "export_id": id, "created_at_utc": made.map(rfc3339_of),
            "generation": d.as_ref().map(|d| d.generation), "objects": d.as_ref().map(|d| d.leaf_count), "bytes": bytes,
            "root": d.as_ref().map(|d| hex::encode(d.merkle_root)), "anchored_index": at.map(|a| a.index),
            "anchored_at": at.map(|a| rfc3339_of(a.at))})
    };
    Ok(json!({"sealings": page.iter().map(row).collect::<Vec<_>>(), "next_before": next}))
}

async fn descriptor(State(c): Shared, headers: HeaderMap, name: Named, q: Asked<Empty>) -> Answer {
    of_sealing(c, headers, name, q, |c, uid| {
        let Some(vault) = vault(c)? else { return Ok(Found::Nothing) };
        let text = match vault.descriptor(&uid) {
            Ok(d) => d.encode().map_err(|e| e.to_string())?,
            Err(SealError::NotFound { .. }) => return Ok(Found::Nothing),
            Err(e) => return Err(e.to_string()),
        };
        Ok(Found::Is(text, JSON, FOR_EVER))
    })
    .await
}

async fn proof(State(c): Shared, headers: HeaderMap, name: Named, q: Asked<Empty>) -> Answer {
    of_sealing(c, headers, name, q, |c, uid| {
        let path = log(c).proof_path(&uid);
        Ok(Found::text(read(&path, datanode_actors::anchor::MAX_PROOF)?, TEXT, FOR_EVER))
    })
    .await
}

async fn of_sealing(
    c: Arc<Context>,
    headers: HeaderMap,
    name: Named,
    q: Asked<Empty>,
    work: impl FnOnce(&Context, PackUid) -> Result<Found, String> + Send + 'static,
) -> Answer {
    if q.is_err() {
        return wrong(QUERY);
    }
    let mut uid = PackUid::default();
    match name {
        Ok(Path(name)) if hex::decode_to_slice(&name, &mut uid).is_ok() && hex::encode(uid) == name => {
            found(c, headers, move |c| work(c, uid)).await
        }
        _ => wrong("pack_uid is 32 digits of 0-9 and a-f"),
    }
}

async fn manifests(State(c): Shared, headers: HeaderMap, q: Asked<Manifests>) -> Answer {
    let Ok(Query(q)) = q else { return wrong(QUERY) };
    let Some(limit) = limit(q.limit) else { return wrong("limit is 1 to 500") };
    let page = move |c: &Context| {
        let all = c.packs().standing()?;
        let mut left = all.into_iter().filter(|(id, _)| q.before.as_ref().is_none_or(|b| id < b));
        let page: Vec<_> = left.by_ref().take(limit).collect();
        let next = left.next().and(page.last()).map(|(id, _)| id.clone());
        let rows: Vec<_> = page.iter().map(|(id, r)| public(c, id, r)).collect();
        Ok(Found::json(&json!({"manifests": rows, "next_before": next}), EACH_TIME))
    };
    found(c, headers, page).await
}

async fn manifest(State(c): Shared, headers: HeaderMap, id: Named, q: Asked<Empty>) -> Answer {
    let (Ok(Path(id)), Ok(_)) = (id, q) else { return wrong(QUERY) };
    let one = move |c: &Context| {
        let found = c.packs().standing()?.into_iter().find(|(name, _)| *name == id);
        Ok(found.map_or(Found::Nothing, |(id, r)| Found::json(&public(c, &id, &r), EACH_TIME)))
    };
    found(c, headers, one).await
}

/// What of a pack may be told to who may not read it: market data is guessable, so no length and no hash of plaintext.
fn public(c: &Context, id: &str, r: &PackRecord) -> Value {
    let uid = Some(&r.pack_uid).filter(|u| !u.is_empty());
    json!({"export_id": id, "source": c.packs().source(), "created_at_utc": rfc3339_of(r.created_at), "files": r.files,
        "pack_uid": uid})
}

async fn checkpoint(State(c): Shared, headers: HeaderMap, q: Asked<Empty>) -> Answer {
    if q.is_err() {
        return wrong(QUERY);
    }
    found(c, headers, |c| Ok(Found::text(log(c).checkpoint().map_err(|e| e.to_string())?, TEXT, EACH_TIME))).await
}

async fn tile(State(c): Shared, headers: HeaderMap, name: Named, q: Asked<Empty>) -> Answer {
    let (Ok(Path(name)), Ok(_)) = (name, q) else { return wrong(QUERY) };
    let file = move |c: &Context| {
        let Some(head) = head(c)? else { return Ok(Found::Nothing) };
        let bytes = log(c).file(&format!("tile/{name}"), head.size).map_err(|e| e.to_string())?;
        Ok(Found::text(bytes, BYTES, FOR_EVER))
    };
    found(c, headers, file).await
}

async fn consistency(State(c): Shared, headers: HeaderMap, q: Asked<Old>) -> Answer {
    let Ok(Query(q)) = q else { return wrong(QUERY) };
    let made = move |c: &Context| {
        if q.old == 0 {
            return Ok(Found::Wrong("old is the size of an older log, 1 or more"));
        }
        let Some(note) = log(c).checkpoint().map_err(|e| e.to_string())? else { return Ok(Found::Nothing) };
        let public = c.node().publishing.anchor.key.public();
        let head = Head::verify("the newest checkpoint", &note, public).map_err(|e| e.to_string())?;
        let proof = match Consistency::make(&log(c), head, q.old) {
            Ok(p) => p,
            Err(AnchorError::NotFound { .. }) => return Ok(Found::Nothing),
            Err(e) => return Err(e.to_string()),
        };
        let hashes: Vec<_> = proof.hashes.iter().map(hex::encode).collect();
        let checkpoint = String::from_utf8_lossy(&note);
        let all = json!({"old": proof.old, "new": proof.new, "hashes": hashes, "checkpoint": checkpoint});
        Ok(Found::json(&all, EACH_TIME))
    };
    found(c, headers, made).await
}

async fn beacon(State(c): Shared, headers: HeaderMap, q: Asked<Empty>) -> Answer {
    if q.is_err() {
        return wrong(QUERY);
    }
    found(c, headers, |c| Ok(Found::text(read(&beacon::path(log(c).dir()), beacon::MAX_NOTE)?, TEXT, EACH_TIME))).await
}

async fn document(State(c): Shared, headers: HeaderMap, q: Asked<Empty>) -> Answer {
    if q.is_err() {
        return wrong(QUERY);
    }
    found(c, headers, |_| Ok(Found::Is(DOCUMENT.as_bytes().to_vec(), JSON, EACH_TIME))).await
}

fn log(c: &Context) -> Log {
    Log::at(c.node().data.anchors())
}

fn head(c: &Context) -> Result<Option<Head>, String> {
    log(c).head(c.node().publishing.anchor.key.public()).map_err(|e| e.to_string())
}

/// None before anything was sealed: reading makes no folders.
fn vault(c: &Context) -> Result<Option<Vault>, String> {
    let folder = c.node().data.vault();
    let there = folder.join("descriptors").is_dir();
    there.then(|| Vault::open(&folder)).transpose().map_err(|e| e.to_string())
}

fn read(path: &std::path::Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let bad = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(f) => f,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(bad(e)),
    };
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(bad)?;
    if bytes.len() as u64 > most {
        return Err(format!("{}: is longer than {most} bytes", path.display()));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_describes_the_routes_that_are_there_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        let there: BTreeSet<String> = routes().iter().map(|(path, _)| path.replace("{*", "{")).collect();
        assert_eq!(described, there);
        for (path, operations) in document["paths"].as_object().unwrap() {
            let methods: Vec<_> = operations.as_object().unwrap().keys().filter(|k| *k != "parameters").collect();
            assert_eq!(methods, ["get", "head"], "{path}");
            assert!(is_ours(path), "{path}");
        }
        assert!(!is_ours("/v1/sealingsx") && !is_ours("/v1/packs") && is_ours("/v1/anchors/nothing"));
    }
}
