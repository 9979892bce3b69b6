//! What is where, and how it is answered.
//!
//! ```text
//! /  /coverage  /packs …                             the status page, see `status_page`           from this machine
//! /healthz  /readyz  /metrics                        from this machine without a token
//! /v1/packs?limit=N&before=ID                        the packs that stand, the newest first       packs:read
//! /v1/packs/latest.pointer                           which is the newest                          packs:read
//! /v1/packs/exports/<source>/…                       as in a bucket                               packs:read
//! /v1/sealings … /v1/manifests … /v1/anchors …       see `proofs`                                 proofs:read
//! ```

use super::limit::Limit;
use super::listen::Peer;
use super::metrics;
use super::origin::{host, near};
use super::packs::{Packs, Served};
use super::problem::{nothing, problem};
use super::proofs;
use super::range::{Part, part};
use super::status_page::{self, StatusPage};
use super::tokens::{METRICS_READ, PACKS_READ, PROOFS_READ, Said, Tokens};
use crate::admin::AdminContext;
use crate::config::Settings;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::{Response, StatusCode};
use axum::middleware::{self, Next};
use axum::routing::get;
use datanode_actors::node::Node;
use datanode_actors::objects::pieces;
use datanode_schema::clock::{Clock, rfc3339_of};
use serde::Deserialize;
use std::fs::File;
use std::sync::Arc;

/// The longest list of packs in one answer.
const MOST: usize = 1000;

/// What the routes share.
pub struct Context {
    admin: Arc<AdminContext>,
    node: Arc<Node>,
    packs: Packs,
    tokens: Tokens,
    clock: Clock,
    limit: Limit,
    page: Option<StatusPage>,
    busy: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Context {
    /// Of a running node.
    pub fn new(
        settings: &Settings,
        admin: &Arc<AdminContext>,
        busy: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let node = &admin.desk.node;
        Self {
            admin: admin.clone(),
            node: node.clone(),
            packs: Packs::new(node.clone()),
            tokens: Tokens::new(&settings.data_dir),
            clock: node.clock.clone(),
            limit: Limit::new(settings.serve.requests_per_minute),
            page: settings.serve.page.then(|| StatusPage::new(admin, settings)),
            busy: Box::new(busy),
        }
    }
}

impl Context {
    /// What the admin socket answers from: the same numbers are shown wherever they are shown.
    pub(super) fn admin(&self) -> &Arc<AdminContext> {
        &self.admin
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn packs(&self) -> &Packs {
        &self.packs
    }
}

pub(super) type Shared = State<Arc<Context>>;
pub(super) type Answer = Response<Body>;

/// All of it.
pub fn router(context: Context) -> Router {
    let context = Arc::new(context);
    Router::new()
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(ready))
        .route("/metrics", get(page))
        .route("/v1/packs", get(list))
        .route("/v1/packs/latest.pointer", get(newest))
        .route("/v1/packs/exports/{source}/{*path}", get(file))
        .merge(proofs::router())
        .fallback(|request: Request| async move {
            if proofs::is_ours(request.uri().path()) {
                return nothing();
            }
            text(StatusCode::NOT_FOUND, "there is nothing here\n")
        })
        .layer(middleware::from_fn_with_state(context.clone(), gate))
        .with_state(context)
}

/// Who may. It stands before every route, also those that are not there.
async fn gate(State(c): Shared, ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Answer {
    let path = request.uri().path();
    let near = peer.address.ip().to_canonical().is_loopback() && near(request.headers());
    if let Some(page) = c.page.as_ref().filter(|_| status_page::is_ours(path)) {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        return last(page.answer(near, &method, &uri).await);
    }
    let scope = match path {
        "/healthz" | "/readyz" | "/metrics" if near => return last(next.run(request).await),
        "/healthz" | "/readyz" => None,
        "/metrics" => Some(METRICS_READ),
        path if proofs::is_ours(path) => Some(PROOFS_READ),
        _ => Some(PACKS_READ),
    };
    // These have one form of errors.
    let say = |status: StatusCode, why: &str| match scope {
        Some(PROOFS_READ) => problem(status, why),
        _ => text(status, &format!("{why}\n")),
    };
    let presented = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let presented = presented.and_then(|v| v.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let token = presented.map(|(_, t)| t.trim().to_owned()).unwrap_or_default();
    let (tokens, now) = (c.tokens.clone(), c.clock.now());
    let said = tokio::task::spawn_blocking(move || tokens.ask(&token, scope, now)).await.unwrap_or(Said::Unknown);
    match said {
        Said::Granted(name) => {
            let limited = scope == Some(PROOFS_READ);
            let taken = if limited { c.limit.take(&name, tokio::time::Instant::now()) } else { Ok(()) };
            match taken {
                // Who has had its share holds no place with it.
                Err(wait) => {
                    let mut answer =
                        say(StatusCode::TOO_MANY_REQUESTS, "the token has made its requests of this minute");
                    let seconds = header::HeaderValue::from(wait.as_secs().saturating_add(1));
                    answer.headers_mut().insert(header::RETRY_AFTER, seconds);
                    last(answer)
                }
                Ok(()) if !peer.granted(&name) => {
                    last(say(StatusCode::SERVICE_UNAVAILABLE, "too many are served; ask again later"))
                }
                Ok(()) => next.run(request).await,
            }
        }
        Said::OtherScope => last(say(StatusCode::FORBIDDEN, "the token has another scope")),
        Said::Unknown => {
            let mut answer = say(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer …");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            last(answer)
        }
    }
}

/// The last answer on its connection: only who has a token may keep one.
fn last(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    answer
}

async fn ready(State(c): Shared) -> Answer {
    match c.node.store.stopped() {
        None if (c.busy)() => text(StatusCode::OK, "ready, a cycle is under way\n"),
        None => text(StatusCode::OK, "ready\n"),
        Some(cause) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("the state takes no more commits: {cause}\n")),
    }
}

async fn page(State(c): Shared) -> Answer {
    blocking(
        move || metrics::page(c.admin()),
        |page| {
            answer(StatusCode::OK, &[(header::CONTENT_TYPE, "text/plain; version=0.0.4".to_owned())], Body::from(page))
        },
    )
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pages {
    limit: Option<usize>,
    before: Option<String>,
}

async fn list(State(c): Shared, Query(q): Query<Pages>) -> Answer {
    let limit = q.limit.unwrap_or(100).clamp(1, MOST);
    let found = move || {
        let all = c.packs.standing()?;
        let mut left = all.into_iter().filter(|(id, _)| q.before.as_ref().is_none_or(|b| id < b));
        let page: Vec<_> = left.by_ref().take(limit).collect();
        let next = left.next().and(page.last()).map(|(id, _)| id.clone());
        let packs: Vec<_> = page
            .iter()
            .map(|(id, r)| {
                serde_json::json!({"export_id": id, "source": c.packs.source(), "created_at_utc": rfc3339_of(r.created_at),
                    "files": r.files, "bytes": r.bytes, "rows": r.rows, "manifest_sha256": hex::encode(r.manifest_sha256),
                    "path": format!("exports/{}/export_{id}/", c.packs.source())})
            })
            .collect();
        Ok(serde_json::json!({"packs": packs, "next_before": next}).to_string())
    };
    blocking(found, |json| {
        answer(StatusCode::OK, &[(header::CONTENT_TYPE, "application/json".to_owned())], Body::from(json))
    })
    .await
}

async fn newest(State(c): Shared, headers: HeaderMap) -> Answer {
    serve(c, "latest.pointer".to_owned(), headers).await
}

async fn file(State(c): Shared, Path((source, path)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    if source != c.packs.source() {
        return text(StatusCode::NOT_FOUND, "there is nothing here\n");
    }
    serve(c, path, headers).await
}

async fn serve(c: Arc<Context>, path: String, headers: HeaderMap) -> Answer {
    let Some(host) = host(&headers).map(|(name, port)| format!("{name}{port}")) else {
        return text(StatusCode::BAD_REQUEST, "the Host header is not HOST or HOST:PORT\n");
    };
    let found = move || c.packs.find(&path, &host);
    blocking(found, |found| match found {
        None => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
        Some(Served::Text(bytes, tag)) => {
            let len = bytes.len() as u64;
            respond(&headers, len, &tag, "no-cache", |from, n| {
                let (from, n) = (usize::try_from(from).unwrap_or(0), usize::try_from(n).unwrap_or(0));
                Body::from(bytes.into_iter().skip(from).take(n).collect::<Vec<u8>>())
            })
        }
        Some(Served::File(file, len, tag)) => {
            respond(&headers, len, &tag, "private, max-age=31536000, immutable", |from, n| streamed(file, from, n))
        }
    })
    .await
}

/// Conditions and ranges (RFC 9110), and then the body.
fn respond(headers: &HeaderMap, len: u64, tag: &str, cache: &str, body: impl FnOnce(u64, u64) -> Body) -> Answer {
    let tag = format!("\"{tag}\"");
    let said = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let lists = |value: &str| value.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag);
    let always = |more: &[(HeaderName, String)]| {
        let mut all = vec![
            (header::ETAG, tag.clone()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            (header::CACHE_CONTROL, cache.to_owned()),
        ];
        all.extend_from_slice(more);
        all
    };
    if said(header::IF_MATCH).is_some_and(|v| !lists(v)) {
        return text(StatusCode::PRECONDITION_FAILED, "it is another object now\n");
    }
    if said(header::IF_NONE_MATCH).is_some_and(lists) {
        return answer(StatusCode::NOT_MODIFIED, &always(&[]), Body::empty());
    }
    let range = said(header::RANGE).filter(|_| said(header::IF_RANGE).is_none_or(|v| v == tag));
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    match part(range, len) {
        Part::Nothing => answer(
            StatusCode::RANGE_NOT_SATISFIABLE,
            &always(&[(header::CONTENT_RANGE, format!("bytes */{len}"))]),
            Body::empty(),
        ),
        Part::Whole => {
            answer(StatusCode::OK, &always(&[kind, (header::CONTENT_LENGTH, len.to_string())]), body(0, len))
        }
        Part::Of(from, n) => {
            let of = format!("bytes {from}-{}/{len}", (from + n).saturating_sub(1));
            let more = [kind, (header::CONTENT_LENGTH, n.to_string()), (header::CONTENT_RANGE, of)];
            answer(StatusCode::PARTIAL_CONTENT, &always(&more), body(from, n))
        }
    }
}

fn streamed(file: File, from: u64, bytes: u64) -> Body {
    Body::from_stream(pieces::of_file(file, from, bytes))
}

/// Reads of store and disk do not hold the other connections.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
    then: impl FnOnce(T) -> Answer,
) -> Answer {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(found)) => then(found),
        Ok(Err(why)) => {
            tracing::error!("{why}");
            text(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read; the node's log says why\n")
        }
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Answer {
    answer(status, &[(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned())], Body::from(body.to_owned()))
}

pub(super) fn answer(status: StatusCode, headers: &[(HeaderName, String)], body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = header::HeaderValue::from_str(value) {
            answer.headers_mut().insert(name.clone(), value);
        }
    }
    answer
}
