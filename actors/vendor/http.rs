//! One GET, and what its status and headers come to. URLs are never put into errors: FRED's hold the key.

use super::{Endpoint, Refusal, Request};
use chrono::{DateTime, Utc};
use datanode_schema::names::{Outcome, Vendor};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
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

/// An answer with status 200 and a JSON body, or why it is none; `body` is what came in either case.
pub(super) struct Answered {
    pub(super) body: Vec<u8>,
    pub(super) refusal: Option<Refusal>,
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
            Err(refusal) => Answered { body: Vec::new(), refusal: Some(refusal) },
        }
    }

    async fn try_get(&self, endpoint: &Endpoint, request: &Request, now: DateTime<Utc>) -> Result<Answered, Refusal> {
        let mut url = reqwest::Url::parse(&format!("{}{}", endpoint.base_url, request.path))
            .map_err(|e| Refusal::new(Outcome::Error, format!("base_url {:?} is no URL: {e}", endpoint.base_url)))?;
        url.query_pairs_mut().extend_pairs(&request.query);
        let mut get = self.0.get(url.clone());
        match endpoint.vendor {
            Vendor::Alpaca => {
                get = get
                    .header("APCA-API-KEY-ID", endpoint.key.as_str())
                    .header("APCA-API-SECRET-KEY", endpoint.secret.as_str());
            }
            Vendor::Massive => get = get.bearer_auth(endpoint.key.as_str()),
            Vendor::Fred => {
                url.query_pairs_mut().append_pair("api_key", &endpoint.key);
                get = self.0.get(url);
            }
            Vendor::Files | Vendor::Polymarket | Vendor::Tiingo => {}
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
        let refusal = classify(status, &headers, &body, now);
        Ok(Answered { body, refusal })
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
fn classify(status: u16, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Option<Refusal> {
    let words = || message(body);
    match status {
        200 => {
            let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
            if kind.contains("json") {
                None
            } else {
                Some(Refusal::unparsable(format!("status 200 with {kind:?} where JSON is expected: {}", words())))
            }
        }
        401 => Some(Refusal::new(Outcome::NotEntitled, format!("401, the key is not accepted: {}", words()))),
        403 => Some(Refusal::new(Outcome::NotEntitled, format!("403: {}", words()))),
        422 if words().contains("42210000") || words().contains("subscription") => {
            Some(Refusal::new(Outcome::NotEntitled, format!("422: {}", words())))
        }
        429 => {
            let mut r = Refusal::new(Outcome::RateLimited, format!("429: {}", words()));
            r.retry_after_ms = retry_after(headers, now);
            Some(r)
        }
        400..=499 => Some(Refusal::refused(format!("{status}: {}", words()))),
        _ => Some(Refusal::new(Outcome::Error, format!("status {status}: {}", words()))),
    }
}

/// `Retry-After` in seconds, else `X-RateLimit-Reset` as epoch seconds.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<u64> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    // A reset that is over by our clock says that the clocks differ, not that the vendor is ready.
    let reset = || number("x-ratelimit-reset").map(|t| t - now.timestamp()).filter(|s| *s > 0);
    let seconds = number("retry-after").or_else(reset)?;
    u64::try_from(seconds.clamp(0, 86_400)).ok().map(|s| s * 1000)
}

/// The vendor's words: the message of a JSON error, else the text.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(2000)).unwrap_or(body)).into_owned();
    let Ok(v) = serde_json::from_slice::<serde_json::Value>(body) else { return text };
    let field = |k: &str| v.get(k).and_then(|m| m.as_str().map(str::to_owned));
    let code = v.get("code").map(|c| format!(" (code {c})")).unwrap_or_default();
    match ["message", "error_message", "error"].iter().find_map(|k| field(k)) {
        Some(m) => format!("{m}{code}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, kind: &str, body: &str) -> Option<Outcome> {
        let mut h = HeaderMap::new();
        h.insert(CONTENT_TYPE, kind.parse().unwrap());
        classify(status, &h, body.as_bytes(), DateTime::UNIX_EPOCH).map(|r| r.outcome)
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
}
