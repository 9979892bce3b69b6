//! Who may see the status page: a browser of this machine that asked for a loopback name. It needs no token, since whoever is on this
//! machine's loopback and may ask there is let in by `/healthz` and `/metrics` too; and it can only read.

use super::routes::{Answer, answer};
use crate::admin::AdminContext;
use crate::checks;
use crate::config::Settings;
use crate::page::{self, Finding, HEADERS, Site};
use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{Method, StatusCode, Uri};
use std::sync::Arc;
use tokio::sync::Semaphore;

pub(super) use crate::page::is_ours;

/// Pages that are made at once; others wait.
const AT_ONCE: usize = 2;

/// The page of a node.
pub(super) struct StatusPage {
    site: Arc<Site>,
    turns: Arc<Semaphore>,
}

impl StatusPage {
    /// Of a running node.
    pub(super) fn new(admin: &Arc<AdminContext>, settings: &Settings) -> Self {
        let (of, clock) = (settings.clone(), admin.clock.clone());
        let checks = move || {
            let found = |c: checks::Check| Finding { name: c.name.to_owned(), level: level(c.level), text: c.text };
            checks::reading(&of, &clock).into_iter().map(found).collect()
        };
        let site = Site::new(admin.clone(), settings.alerts.pack_late_hours, Box::new(checks));
        Self { site: Arc::new(site), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The answer to a request for one of the page's paths. `near`: it came from this machine and asked for a loopback name.
    pub(super) async fn answer(&self, near: bool, method: &Method, uri: &Uri) -> Answer {
        let refused = |status: StatusCode, why: &str| {
            plain(status, "text/plain; charset=utf-8", format!("{why}\n").into_bytes(), *method == Method::HEAD)
        };
        if !near {
            return refused(
                StatusCode::FORBIDDEN,
                "the status page is for a browser of this machine, at 127.0.0.1 or localhost; from elsewhere: ssh -L 8480:127.0.0.1:8480 the-node",
            );
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer =
                refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing here changes anything");
            answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
        let (site, turns) = (self.site.clone(), self.turns.clone());
        let made = match turns.acquire_owned().await {
            Ok(turn) => {
                let make = move || {
                    let _turn = turn;
                    site.answer(&path, &query)
                };
                tokio::task::spawn_blocking(make).await.ok()
            }
            Err(_) => None,
        };
        let Some(page::Answer { status, kind, body }) = made else {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping");
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        plain(status, kind, body, *method == Method::HEAD)
    }
}

/// As the page names it.
fn level(l: checks::Level) -> &'static str {
    match l {
        checks::Level::Ok => "ok",
        checks::Level::Warning => "warning",
        checks::Level::Failed => "failed",
    }
}

fn plain(status: StatusCode, kind: &str, body: Vec<u8>, head: bool) -> Answer {
    let mut headers: Vec<(HeaderName, String)> =
        HEADERS.iter().map(|(name, value)| (HeaderName::from_static(name), (*value).to_owned())).collect();
    headers.push((header::CONTENT_TYPE, kind.to_owned()));
    headers.push((header::CONTENT_LENGTH, body.len().to_string()));
    answer(status, &headers, if head { Body::empty() } else { Body::from(body) })
}
