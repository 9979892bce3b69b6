//! Asking the vendor, within its budget and before a deadline. Each request's token is durable before it goes out.

use super::BooksError;
use super::core::Trouble;
use super::parse::{self, Book, Market, NoBook, Rank};
use crate::queue::Purse;
use datanode_schema::clock::Clock;
use datanode_schema::names::Outcome;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A body above this is refused.
const MAX_BODY: usize = 32 << 20;
/// Markets of one page; the vendor gives no more.
const PAGE: &str = "100";
/// Pages of one discovery.
const MAX_PAGES: u32 = 1_000;

/// Where the vendor is.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) http: reqwest::Client,
    pub(super) gamma: String,
    pub(super) clob: String,
    pub(super) purse: Purse,
    pub(super) clock: Clock,
    pub(super) timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct No {
    pub(super) trouble: Trouble,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) note: String,
    /// Whether a request went out.
    pub(super) asked: bool,
    /// 404.
    pub(super) absent: bool,
}

impl No {
    fn new(trouble: Trouble, note: impl Into<String>) -> Self {
        Self { trouble, retry_after_ms: None, note: note.into(), asked: true, absent: false }
    }
}

/// A client with our own name: the vendor refuses those of libraries.
pub(super) fn client() -> Result<reqwest::Client, BooksError> {
    // A second call finds the provider installed; that is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("datanode/", env!("CARGO_PKG_VERSION"), " (order-book collector)"))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .build()
        .map_err(|e| BooksError::Client(e.to_string()))
}

impl Asker {
    /// One request, which ends before `until_ms`.
    async fn ask(&self, request: reqwest::RequestBuilder, until_ms: u64) -> Result<Vec<u8>, No> {
        let unasked = |note: String, trouble| No { asked: false, ..No::new(trouble, note) };
        let left = |now: u64| Duration::from_millis(until_ms.saturating_sub(now));
        let taken = self.purse.take(left(self.clock.since_boot_ms())).await;
        taken.map_err(|r| match r.outcome {
            Outcome::RateLimited => unasked(r.note, Trouble::Spent),
            _ => unasked(r.note, Trouble::Failed),
        })?;
        let limit = self.timeout.min(left(self.clock.since_boot_ms()));
        if limit < Duration::from_millis(20) {
            return Err(unasked("the tick is over".to_owned(), Trouble::Spent));
        }
        match tokio::time::timeout(limit, self.read(request)).await {
            Ok(answer) => answer,
            // What is above the vendor's limits waits in its queue: slowness is how it says so.
            Err(_) => Err(No::new(Trouble::Slowed, format!("no answer within {limit:?}"))),
        }
    }

    async fn read(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, No> {
        let failed = |e: reqwest::Error| No::new(Trouble::Failed, format!("broken off: {}", e.without_url()));
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (kind, after) = (header(CONTENT_TYPE).unwrap_or_default(), header(RETRY_AFTER));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(No::new(Trouble::Failed, format!("a body above {MAX_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        judge(status, &kind, after.as_deref(), body)
    }

    /// The books of up to a batch of tokens; those without one are absent from the answer.
    pub(super) async fn books(&self, tokens: &[String], until_ms: u64) -> Result<Vec<Value>, No> {
        let body: Vec<Value> = tokens.iter().map(|t| json!({ "token_id": t })).collect();
        let request = self.http.post(format!("{}/books", self.clob)).header(CONTENT_TYPE, "application/json");
        let body = self.ask(request.body(Value::Array(body).to_string()), until_ms).await?;
        serde_json::from_slice(&body).map_err(|e| No::new(Trouble::Failed, format!("no list of books: {e}")))
    }

    /// One token's book; None where the vendor says that there is none any more.
    pub(super) async fn book(&self, token: &str, until_ms: u64) -> Result<Option<Value>, No> {
        let request = self.http.get(self.url(&self.clob, "/book", &[("token_id", token)])?);
        match self.ask(request, until_ms).await {
            Ok(body) => {
                serde_json::from_slice(&body).map(Some).map_err(|e| No::new(Trouble::Failed, format!("no book: {e}")))
            }
            Err(no) if no.absent => Ok(None),
            Err(no) => Err(no),
        }
    }

    fn url(&self, base: &str, path: &str, query: &[(&str, &str)]) -> Result<reqwest::Url, No> {
        let bad = |e| No { asked: false, ..No::new(Trouble::Failed, format!("{base:?} is no URL: {e}")) };
        let mut url = reqwest::Url::parse(&format!("{base}{path}")).map_err(bad)?;
        url.query_pairs_mut().extend_pairs(query);
        Ok(url)
    }

    /// The next page of a discovery; true at its end.
    pub(super) async fn page(&self, d: &mut Discovery, until_ms: u64) -> Result<bool, No> {
        let Some(question) = d.questions.front() else { return Ok(true) };
        if d.pages >= MAX_PAGES {
            return Err(No { asked: false, ..No::new(Trouble::Failed, format!("more than {MAX_PAGES} pages")) });
        }
        let mut query = vec![("limit", PAGE), ("active", "true"), ("closed", "false"), ("archived", "false")];
        query.extend(question.filter.iter().map(|(k, v)| (*k, v.as_str())));
        query.extend(d.cursor.as_deref().map(|c| ("after_cursor", c)));
        let request = self.http.get(self.url(&self.gamma, question.path, &query)?);
        d.pages += 1;
        let body = self.ask(request, until_ms).await?;
        let page = parse::page(&body, d.rank).map_err(|e| No::new(Trouble::Failed, e))?;
        if page.rejected > 0 {
            tracing::warn!(
                rejected = page.rejected,
                first = page.first,
                "markets whose tokens are not their outcomes'"
            );
        }
        if page.rejected > 0 && d.first_rejected.is_empty() {
            d.first_rejected = page.first;
        }
        d.rejected += page.rejected;
        d.markets.extend(page.markets);
        match page.next {
            Some(cursor) if !d.seen.insert(cursor.clone()) => {
                return Err(No::new(Trouble::Failed, "the vendor gave the same cursor again"));
            }
            Some(cursor) => d.cursor = Some(cursor),
            None => {
                d.questions.pop_front();
                d.cursor = None;
                d.seen.clear();
            }
        }
        Ok(d.questions.is_empty())
    }
}

/// What a status comes to.
fn judge(status: u16, kind: &str, after: Option<&str>, body: Vec<u8>) -> Result<Vec<u8>, No> {
    let words = || parse::cut(&String::from_utf8_lossy(body.get(..body.len().min(400)).unwrap_or_default()));
    let mut no = match status {
        200 if kind.contains("json") => return Ok(body),
        200 => No::new(Trouble::Blocked, format!("status 200 with {kind:?} where JSON is expected: {}", words())),
        404 if parse::says_settled(&body) => No { absent: true, ..No::new(Trouble::Failed, "no order book any more") },
        403 | 451 => No::new(Trouble::Blocked, format!("{status}: {}", words())),
        429 => No::new(Trouble::Slowed, format!("429: {}", words())),
        _ => No::new(Trouble::Failed, format!("status {status}: {}", words())),
    };
    let seconds = after.and_then(|t| t.trim().parse::<u64>().ok());
    no.retry_after_ms = seconds.map(|s| s.min(86_400) * 1000);
    Err(no)
}

/// One way of asking for markets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    path: &'static str,
    filter: Option<(&'static str, String)>,
}

/// A discovery that is under way; it may go over several ticks.
pub(super) struct Discovery {
    questions: VecDeque<Question>,
    cursor: Option<String>,
    seen: BTreeSet<String>,
    pages: u32,
    rank: Rank,
    pub(super) markets: Vec<Market>,
    pub(super) rejected: u64,
    /// Why the first of those was rejected.
    pub(super) first_rejected: String,
}

impl Discovery {
    /// Of these questions.
    pub(super) fn new(questions: &[Question], rank: Rank) -> Self {
        Self {
            questions: questions.iter().cloned().collect(),
            cursor: None,
            seen: BTreeSet::new(),
            pages: 0,
            rank,
            markets: Vec::new(),
            rejected: 0,
            first_rejected: String::new(),
        }
    }
}

/// The questions for what was set: condition ids, slugs, `event:SLUG`; empty: every active market.
pub(super) fn questions(named: &str) -> Result<Vec<Question>, BooksError> {
    let named: BTreeSet<&str> = named.split(',').map(str::trim).filter(|n| !n.is_empty()).collect();
    if named.len() > 500 {
        return Err(BooksError::Setting(
            "books.markets names more than 500 markets; name events, or leave it empty".into(),
        ));
    }
    let slug =
        |s: &str| (1..=200).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let mut out = Vec::new();
    for n in named {
        let (path, key, value) = match n.strip_prefix("event:") {
            Some(event) => ("/events/keyset", "slug", event),
            None if parse::is_condition(n) => ("/markets/keyset", "condition_ids", n),
            None => ("/markets/keyset", "slug", n),
        };
        if !slug(value) {
            return Err(BooksError::Setting(format!("books.markets: {n:?} is no condition id, slug or event:SLUG")));
        }
        out.push(Question { path, filter: Some((key, value.to_owned())) });
    }
    if out.is_empty() {
        out.push(Question { path: "/markets/keyset", filter: None });
    }
    Ok(out)
}

/// The books of an answer.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Those that are to be kept.
    pub(super) books: Vec<Book>,
    /// How many are not.
    pub(super) rejected: u64,
    /// The first that was of another token or market.
    pub(super) mapping: Option<String>,
    /// The first that was not what the interface says.
    pub(super) form: Option<String>,
}

/// Parts the books of an answer into those that are to be kept and the others.
pub(super) fn sort(values: Vec<Value>, expected: &BTreeMap<String, String>) -> Sorted {
    let (mut out, mut seen) = (Sorted::default(), BTreeSet::new());
    for v in values {
        match parse::book(v, expected) {
            Ok(b) if seen.insert(b.asset_id.clone()) => {
                out.books.push(b);
                continue;
            }
            Ok(_) => {}
            Err(NoBook::Mapping(why)) => {
                out.mapping.get_or_insert(why);
            }
            Err(NoBook::Form(why)) => {
                out.form.get_or_insert(why);
            }
        }
        out.rejected += 1;
    }
    if let Some(why) = out.mapping.as_ref().or(out.form.as_ref()) {
        tracing::warn!(why, "a book is not taken");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_come_to_their_troubles() {
        let of =
            |status, kind, body: &str| judge(status, kind, Some("7"), body.into()).map_err(|n| (n.trouble, n.absent));
        assert!(of(200, "application/json", "[]").is_ok());
        assert_eq!(of(200, "text/html", "<html>").unwrap_err(), (Trouble::Blocked, false));
        assert_eq!(of(403, "text/plain", "error code: 1010").unwrap_err(), (Trouble::Blocked, false));
        assert_eq!(of(429, "application/json", "{}").unwrap_err(), (Trouble::Slowed, false));
        let gone = r#"{"error":"No orderbook exists for the requested token id"}"#;
        assert_eq!(of(404, "application/json", gone).unwrap_err(), (Trouble::Failed, true));
        assert_eq!(of(404, "text/plain", "404 page not found").unwrap_err(), (Trouble::Failed, false));
        assert_eq!(judge(429, "", Some("7"), Vec::new()).unwrap_err().retry_after_ms, Some(7_000));
    }

    #[test]
    fn names_become_questions() {
        let of = |s: &str| questions(s).map(|q| q.iter().map(|q| (q.path, q.filter.clone())).collect::<Vec<_>>());
        assert_eq!(of("").unwrap(), [("/markets/keyset", None)]);
        let got = of("0xab, event:e-1,m-1").unwrap();
        assert_eq!(got[0], ("/markets/keyset", Some(("condition_ids", "0xab".into()))));
        assert_eq!(got[1], ("/events/keyset", Some(("slug", "e-1".into()))));
        assert_eq!(got[2], ("/markets/keyset", Some(("slug", "m-1".into()))));
        assert!(of("a b").is_err());
    }
}
