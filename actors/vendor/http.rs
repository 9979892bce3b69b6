//! One GET, and what its status and headers come to. URLs are never put into errors: FRED's hold the key.

use super::words::{message, refusal_of};
use super::{Endpoint, Host, Refusal, Request, Scope};
use chrono::{DateTime, Utc};
use datanode_schema::names::{Outcome, Vendor};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap};
use std::time::Duration;

/// A body above this is refused.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// A body that was not taken is kept up to this length.
pub(super) const MAX_KEPT: usize = 8 * 1024 * 1024;

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made: {0}")]
pub struct HttpError(String);

/// A shared HTTP client: rustls, no redirects (a vendor's link must not lead to another host), own user agent.
#[derive(Clone)]
pub struct Http(reqwest::Client);

/// An answer with status 200 and a body of the right kind, or why it is none; `body` is what came in either case.
pub(super) struct Answered {
    pub(super) body: Vec<u8>,
    pub(super) refusal: Option<Refusal>,
    /// What the headers say of the vendor's own count, of good answers too.
    pub(super) limits: RateHeaders,
    /// The unix second that the vendor's clock showed, where it says so.
    pub(super) date: Option<i64>,
}

/// `X-RateLimit-Remaining` and `X-RateLimit-Reset` of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateHeaders {
    /// Requests that the vendor still takes in its window.
    pub limit_remaining: Option<u32>,
    /// Milliseconds until its window begins anew.
    pub reset_in_ms: Option<u64>,
}

impl Http {
    /// Makes the client; `timeout` is that of a whole request.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn new(timeout: Duration) -> Result<Self, HttpError> {
        // A second call finds the provider installed; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .user_agent(concat!("datanode/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(timeout)
            .build()
            .map(Self)
            .map_err(|e| HttpError(e.to_string()))
    }

    pub(super) async fn get(&self, endpoint: &Endpoint, request: &Request, now: DateTime<Utc>) -> Answered {
        match self.try_get(endpoint, request, now).await {
            Ok(a) => a,
            Err(refusal) => {
                Answered { body: Vec::new(), refusal: Some(refusal), limits: RateHeaders::default(), date: None }
            }
        }
    }

    async fn try_get(&self, endpoint: &Endpoint, request: &Request, now: DateTime<Utc>) -> Result<Answered, Refusal> {
        let base = endpoint.base(request.host);
        let mut url = reqwest::Url::parse(&format!("{base}{}", request.path)).map_err(|e| {
            let note =
                format!("{:?} of {} is no URL ({e}); check its base URLs in datanode.toml", base, endpoint.vendor);
            Refusal::new(Outcome::Error, note)
        })?;
        url.query_pairs_mut().extend_pairs(&request.query);
        let mut get = self.0.get(url.clone());
        match endpoint.vendor {
            Vendor::Alpaca => {
                get = get
                    .header("APCA-API-KEY-ID", endpoint.key.as_str())
                    .header("APCA-API-SECRET-KEY", endpoint.secret.as_str());
            }
            Vendor::Massive => get = get.bearer_auth(endpoint.key.as_str()),
            // The graph's host needs no key and gets none.
            Vendor::Fred if request.host == Host::Graph => {}
            Vendor::Tiingo => get = get.header(AUTHORIZATION, format!("Token {}", endpoint.key.as_str())),
            Vendor::Fred => {
                url.query_pairs_mut().append_pair("api_key", &endpoint.key);
                get = self.0.get(url);
            }
            Vendor::Files | Vendor::Polymarket => {}
        }
        let failed = |e: reqwest::Error| {
            let what = if e.is_timeout() {
                "timed out"
            } else if e.is_connect() {
                "no connection"
            } else {
                "broken off"
            };
            Refusal::new(Outcome::Error, format!("{what}: {}", chain(&e.without_url())))
        };
        let mut response = get.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(Refusal::unparsable(format!("a body above {MAX_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        // Gateways and error pages repeat URLs and headers: what we sent in secret is never kept.
        for secret in [&endpoint.key, &endpoint.secret] {
            redact(&mut body, secret.as_bytes());
        }
        let refusal = classify(request.host, status, &headers, &body, now);
        let date = headers.get(DATE).and_then(|v| DateTime::parse_from_rfc2822(v.to_str().ok()?).ok());
        Ok(Answered { body, refusal, limits: rate_headers(&headers, now), date: date.map(|d| d.timestamp()) })
    }
}

/// Overwrites every occurrence of `secret` with asterisks. Something shorter than a key could be is left alone: it would
/// stand in data by chance.
fn redact(body: &mut [u8], secret: &[u8]) {
    if secret.len() < 8 {
        return;
    }
    let found: Vec<usize> = memchr::memmem::find_iter(body, secret).collect();
    for at in found {
        if let Some(part) = body.get_mut(at..at + secret.len()) {
            part.fill(b'*');
        }
    }
}

fn chain(e: &dyn std::error::Error) -> String {
    let mut out = e.to_string();
    let mut next = e.source();
    while let Some(s) = next {
        out = format!("{out}: {s}");
        next = s.source();
    }
    out
}

/// What a status comes to; None where the body is to be read as a page.
fn classify(host: Host, status: u16, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Option<Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if status != 200 {
        let mut refusal = refusal_of(status, kind, body);
        if status == 429 || status >= 500 {
            refusal.retry_after_ms = retry_after(headers, now);
        }
        return Some(refusal);
    }
    // CSV is an answer on the graph's host and nowhere else; a page of HTML is one nowhere.
    let wanted = if host == Host::Graph { "csv" } else { "json" };
    if kind.contains(wanted) {
        return None;
    }
    let scope = if kind.contains("html") { Scope::Block } else { Scope::Unsaid };
    let note = format!("status 200 with {kind:?} where {} is expected: {}", wanted.to_uppercase(), message(body));
    Some(Refusal::unparsable(note).about(scope))
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The reset is epoch seconds. One that is over by our clock says that the clocks differ, not that the vendor is ready.
fn reset_in(headers: &HeaderMap, now: DateTime<Utc>) -> Option<i64> {
    number(headers, "x-ratelimit-reset").map(|t| t.saturating_sub(now.timestamp())).filter(|s| *s > 0)
}

fn milliseconds(seconds: i64) -> Option<u64> {
    u64::try_from(seconds.clamp(0, 86_400)).ok().map(|s| s * 1000)
}

fn rate_headers(headers: &HeaderMap, now: DateTime<Utc>) -> RateHeaders {
    RateHeaders {
        limit_remaining: number(headers, "x-ratelimit-remaining").map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX)),
        reset_in_ms: reset_in(headers, now).and_then(milliseconds),
    }
}

/// `Retry-After` in seconds, else the reset.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<u64> {
    number(headers, "retry-after").or_else(|| reset_in(headers, now)).and_then(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, kind: &str, body: &str) -> Option<Outcome> {
        let mut h = HeaderMap::new();
        h.insert(CONTENT_TYPE, kind.parse().unwrap());
        classify(Host::Data, status, &h, body.as_bytes(), DateTime::UNIX_EPOCH).map(|r| r.outcome)
    }

    #[test]
    fn a_key_that_an_answer_repeats_is_overwritten() {
        let mut body = b"<p>/fred?api_key=abcdefgh01 not found; abcdefgh01</p>".to_vec();
        redact(&mut body, b"abcdefgh01");
        assert_eq!(String::from_utf8(body).unwrap(), "<p>/fred?api_key=********** not found; **********</p>");
    }

    #[test]
    fn a_block_page_with_status_200_is_no_answer() {
        assert_eq!(of(200, "text/html", "<html>blocked</html>"), Some(Outcome::Unparsable));
        assert_eq!(of(200, "application/json; charset=utf-8", "{}"), None);
    }

    #[test]
    fn statuses_come_to_the_outcomes_of_the_table() {
        assert_eq!(
            of(403, "application/json", "{\"message\":\"subscription does not permit\"}"),
            Some(Outcome::NotEntitled)
        );
        assert_eq!(of(422, "application/json", "{\"code\":42210000,\"message\":\"x\"}"), Some(Outcome::NotEntitled));
        assert_eq!(of(429, "text/plain", "slow down"), Some(Outcome::RateLimited));
        assert_eq!(of(404, "text/plain", "no"), Some(Outcome::Refused));
        assert_eq!(of(503, "text/plain", "later"), Some(Outcome::Error));
    }

    #[test]
    fn the_reset_header_is_epoch_seconds_and_retry_after_wins() {
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        let mut h = HeaderMap::new();
        h.insert("x-ratelimit-reset", "1030".parse().unwrap());
        assert_eq!(retry_after(&h, now), Some(30_000));
        h.insert("retry-after", "7".parse().unwrap());
        assert_eq!(retry_after(&h, now), Some(7_000));
    }

    #[test]
    fn csv_is_an_answer_on_the_graph_host_alone() {
        let mut h = HeaderMap::new();
        h.insert(CONTENT_TYPE, "application/csv".parse().unwrap());
        let at = |host| classify(host, 200, &h, b"DATE,DGS10", DateTime::UNIX_EPOCH);
        assert_eq!(at(Host::Graph), None);
        assert_eq!(at(Host::Data).unwrap().outcome, Outcome::Unparsable);
        h.insert(CONTENT_TYPE, "text/html".parse().unwrap());
        let blocked = classify(Host::Graph, 200, &h, b"<html>", DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((blocked.outcome, blocked.scope), (Outcome::Unparsable, Scope::Block));
    }

    #[test]
    fn the_vendors_count_is_read_from_good_answers_too() {
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        let mut h = HeaderMap::new();
        h.insert("x-ratelimit-remaining", "17".parse().unwrap());
        h.insert("x-ratelimit-reset", "1042".parse().unwrap());
        assert_eq!(rate_headers(&h, now), RateHeaders { limit_remaining: Some(17), reset_in_ms: Some(42_000) });
        h.insert("x-ratelimit-reset", "999".parse().unwrap());
        h.insert("x-ratelimit-remaining", "-3".parse().unwrap());
        assert_eq!(rate_headers(&h, now), RateHeaders { limit_remaining: Some(0), reset_in_ms: None });
    }
}
