//! The answers of the admin commands, and their fields: what the page shows is what the socket says.

use crate::admin::AdminContext;
use crate::admin::commands::find;
use crate::admin::protocol::{AdminError, Code};
use crate::admin::queries::answer;
use crate::admin::render::Show;
use serde_json::Value;

/// Asks a command that reads. One that changes something is refused here, whoever wrote its name.
pub(super) fn ask(ctx: &AdminContext, cmd: &str, args: Value) -> Result<Value, AdminError> {
    if find(cmd)?.changes() {
        return Err(AdminError::new(Code::Forbidden, format!("`{cmd}` changes something: the page only reads")));
    }
    let args = match args {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    answer(ctx, cmd, args, nix::unistd::geteuid().as_raw())
}

/// A text field; empty where it is null or not there.
pub(super) fn text<'a>(v: &'a Value, at: &str) -> &'a str {
    v.get(at).and_then(Value::as_str).unwrap_or_default()
}

/// A number field; 0 where it is null or not there.
pub(super) fn number(v: &Value, at: &str) -> u64 {
    v.get(at).and_then(Value::as_u64).unwrap_or(0)
}

/// A list field.
pub(super) fn list<'a>(v: &'a Value, at: &str) -> &'a [Value] {
    v.get(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A field as the REPL writes it.
pub(super) fn show(v: &Value, at: &str, how: Show) -> String {
    how.cell(v.get(at).unwrap_or(&Value::Null))
}

/// 1536 as `1.5 KiB`.
pub(super) fn bytes(n: u64) -> String {
    Show::Bytes.cell(&n.into())
}

/// 1250 as `1.2 s`.
pub(super) fn millis(n: u64) -> String {
    Show::Millis.cell(&n.into())
}

/// 3660 as `1h 1m`.
pub(super) fn seconds(n: u64) -> String {
    Show::Seconds.cell(&n.into())
}

/// 1234567 as `1 234 567`, with narrow spaces.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// `2026-03-01T23:00:00Z` as `2026-03-01 23:00`; a dash where there is none.
pub(super) fn minute(time: &str) -> String {
    match (time.get(..10), time.get(11..16)) {
        (Some(day), Some(at)) => format!("{day} {at}"),
        _ if time.is_empty() => "–".to_owned(),
        _ => time.to_owned(),
    }
}

/// How long ago an RFC 3339 time was; empty where it is none or lies ahead.
pub(super) fn ago(ctx: &AdminContext, time: &str) -> String {
    let Ok(at) = time.parse::<chrono::DateTime<chrono::Utc>>() else { return String::new() };
    u64::try_from((ctx.clock.now() - at).num_seconds())
        .map_or_else(|_| String::new(), |n| format!("{} ago", seconds(n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(thousands(123_456), "123\u{202f}456");
        assert_eq!([minute("2026-03-01T23:00:00Z"), minute(""), minute("soon")], ["2026-03-01 23:00", "–", "soon"]);
    }
}
