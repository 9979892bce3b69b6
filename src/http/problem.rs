//! Errors of the proofs API: `application/problem+json` (RFC 9457).

use super::routes::{Answer, answer};
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header;

/// The answer that says what is wrong. `detail` repeats nothing that was sent.
pub fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    let kind = (header::CONTENT_TYPE, "application/problem+json".to_owned());
    answer(status, &[kind, (header::CACHE_CONTROL, "no-store".to_owned())], Body::from(body.to_string()))
}

/// It is not there.
pub fn nothing() -> Answer {
    problem(StatusCode::NOT_FOUND, "there is nothing here")
}

/// The request is not as the document says.
pub fn wrong(detail: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, detail)
}
