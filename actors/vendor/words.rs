//! What a refusal means, read from the vendor's words: a status alone does not tell a bad key from a plan without the data,
//! or a block by something before the vendor. The words are those of recorded answers and public issue threads.

use super::{Refusal, Scope};
use datanode_schema::names::Outcome;

/// What an answer with a status other than 200 comes to.
pub(super) fn refusal_of(status: u16, kind: &str, body: &[u8]) -> Refusal {
    let words = message(body);
    let low = words.to_lowercase();
    let note = format!("{status}: {words}");
    if matches!(status, 401 | 403 | 429 | 503) && is_block(kind, &low) {
        return Refusal::new(Outcome::Error, format!("{status}, blocked before the vendor: {words}"))
            .about(Scope::Block);
    }
    match status {
        401 => Refusal::new(Outcome::NotEntitled, format!("401, the key is not accepted: {words}")).about(Scope::Key),
        403 => Refusal::new(Outcome::NotEntitled, note).about(denied(&low)),
        422 if low.contains("42210000") || low.contains("subscription") => {
            Refusal::new(Outcome::NotEntitled, note).about(Scope::Window)
        }
        429 => Refusal::new(Outcome::RateLimited, note),
        408 => Refusal::new(Outcome::Error, note),
        400 if low.contains("api_key") => Refusal::new(Outcome::NotEntitled, note).about(Scope::Key),
        400..=499 => {
            let unknown = low.contains("not found") || low.contains("does not exist") || low.contains("invalid symbol");
            Refusal::refused(note).about(if unknown { Scope::Symbol } else { Scope::Unsaid })
        }
        _ => Refusal::new(Outcome::Error, format!("status {note}")),
    }
}

/// Cloudflare answers with a page, or with `error code: 1010` and the like as text.
fn is_block(kind: &str, words: &str) -> bool {
    kind.contains("html")
        || words.starts_with("<!doctype")
        || words.starts_with("<html")
        || words.contains("error code: 1")
}

/// What a 403 is about.
fn denied(words: &str) -> Scope {
    let says = |all: &[&str]| all.iter().any(|t| words.contains(t));
    if says(&["subscription does not permit", "timeframe", "42210000", "recent sip", "future"]) {
        Scope::Window
    } else if says(&["forbidden", "api key", "invalid token", "credential", "unauthorized."]) {
        Scope::Key
    } else if says(&["ticker", "symbol", "series"]) {
        Scope::Symbol
    } else {
        Scope::Unsaid
    }
}

/// The vendor's words: the message of a JSON error, else the text.
pub(super) fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(2000)).unwrap_or(body)).into_owned();
    let Ok(v) = serde_json::from_slice::<serde_json::Value>(body) else { return text };
    let field = |k: &str| v.get(k).and_then(|m| m.as_str().map(str::to_owned));
    let code = v.get("code").map(|c| format!(" (code {c})")).unwrap_or_default();
    match ["message", "error_message", "error", "detail"].iter().find_map(|k| field(k)) {
        Some(m) => format!("{m}{code}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_403_is_read_by_its_words() {
        let json = "application/json";
        let recent = "{\"message\":\"subscription does not permit querying recent SIP data\"}";
        let frame = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"Your plan doesn't include this data timeframe.\"}";
        let entitled = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"You are not entitled to this data.\"}";
        let forbidden = "{\"message\":\"forbidden.\"}";
        for (status, kind, body, outcome, scope) in [
            (403, json, recent, Outcome::NotEntitled, Scope::Window),
            (403, json, frame, Outcome::NotEntitled, Scope::Window),
            (403, json, entitled, Outcome::NotEntitled, Scope::Unsaid),
            (403, json, forbidden, Outcome::NotEntitled, Scope::Key),
            (403, "text/plain", "error code: 1010", Outcome::Error, Scope::Block),
            (403, "text/html", "<!DOCTYPE html><title>Attention Required!</title>", Outcome::Error, Scope::Block),
            (401, json, "{\"error\":\"Unknown API Key\"}", Outcome::NotEntitled, Scope::Key),
            (422, json, "{\"code\":42210000,\"message\":\"x\"}", Outcome::NotEntitled, Scope::Window),
            (404, json, "{\"detail\":\"Error: Ticker 'X' not found\"}", Outcome::Refused, Scope::Symbol),
            (
                400,
                json,
                "{\"error_message\":\"Bad Request.  The value for variable api_key is not registered.\"}",
                Outcome::NotEntitled,
                Scope::Key,
            ),
            (
                400,
                json,
                "{\"error_message\":\"Bad Request.  The series does not exist.\"}",
                Outcome::Refused,
                Scope::Symbol,
            ),
            (503, json, "{}", Outcome::Error, Scope::Unsaid),
        ] {
            let r = refusal_of(status, kind, body.as_bytes());
            assert_eq!((r.outcome, r.scope), (outcome, scope), "{status} {body}");
        }
    }
}
