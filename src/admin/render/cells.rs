//! Values as the text of a cell.

use serde_json::Value;

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// As it is; null as `-`, true and false as yes and no. May be cut where a table does not fit.
    Plain,
    /// The same for what is useless in parts: a name, a day, a time, an id.
    Name,
    /// A sentence: where it is the last column, it goes on below itself and is not cut.
    Prose,
    /// A number, aligned right.
    Number,
    /// A number where 0 means "no limit".
    Limit,
    /// A number of bytes.
    Bytes,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// `{"a":1}` as `a 1`; parts that are 0 stay away.
    Pairs,
    /// The same with its zeros.
    AllPairs,
    /// `[{"from":…,"to":…}]`.
    Windows,
    /// What vendors answered about a session.
    Answers,
    /// The same; where nobody did, that nobody was asked.
    Asked,
    /// `from..to` of a row, or the one day that both are.
    Days,
    /// The state of a row, and what explains it.
    State,
    /// A run in a line.
    Run,
    /// A pack in a line.
    Pack,
}

impl Show {
    /// Whether the column is aligned right.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Number | Self::Limit | Self::Bytes | Self::Millis | Self::Seconds)
    }

    /// Whether a cell of it may be cut.
    pub fn is_whole(self) -> bool {
        self.is_number() || matches!(self, Self::Name)
    }

    /// The text of a value.
    pub fn cell(self, v: &Value) -> String {
        if v.is_null() {
            return "-".to_owned();
        }
        match self {
            Self::Plain | Self::Name | Self::Prose | Self::Number => plain(v),
            Self::Limit => {
                if v.as_u64() == Some(0) {
                    "-".to_owned()
                } else {
                    plain(v)
                }
            }
            Self::Bytes => v.as_u64().map_or_else(|| plain(v), bytes),
            Self::Millis => v.as_u64().map_or_else(|| plain(v), millis),
            Self::Seconds => v.as_u64().map_or_else(|| plain(v), seconds),
            Self::Pairs => pairs(v, false),
            Self::AllPairs => pairs(v, true),
            Self::Windows => each(v, |w| format!("{}..{}", field(w, "from"), field(w, "to"))),
            Self::Answers => each(v, answer),
            Self::Asked => match v.as_array().map(Vec::len) {
                Some(0) => "never asked".to_owned(),
                _ => each(v, answer),
            },
            Self::Days if v.get("from") == v.get("to") => field(v, "from"),
            Self::Days => format!("{}..{}", field(v, "from"), field(v, "to")),
            Self::State => match v.get("why").and_then(Value::as_str) {
                Some(why) => format!("{}: {}", field(v, "state"), clean(why)),
                None => field(v, "state"),
            },
            Self::Run => run(v),
            Self::Pack => pack(v),
        }
    }
}

/// A text without control characters.
pub fn clean(s: &str) -> String {
    s.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn plain(v: &Value) -> String {
    match v {
        Value::Null => "-".to_owned(),
        Value::Bool(b) => (if *b { "yes" } else { "no" }).to_owned(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => clean(s),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(_) => pairs(v, true),
    }
}

fn field(v: &Value, name: &str) -> String {
    v.get(name).map_or_else(|| "-".to_owned(), plain)
}

fn each(v: &Value, one: impl Fn(&Value) -> String) -> String {
    match v.as_array() {
        Some(list) if !list.is_empty() => list.iter().map(one).collect::<Vec<_>>().join(", "),
        _ => "-".to_owned(),
    }
}

fn pairs(v: &Value, zeros: bool) -> String {
    let Some(map) = v.as_object() else { return plain(v) };
    let said = map.iter().filter(|(_, v)| zeros || !matches!(v.as_f64(), Some(0.0)));
    let parts: Vec<String> = said
        .map(|(k, v)| match v {
            Value::Object(_) => format!("{} ({})", clean(k), pairs(v, zeros)),
            v => format!("{} {}", clean(k), plain(v)),
        })
        .collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

fn answer(a: &Value) -> String {
    let mut out = format!("{} {}", field(a, "vendor"), field(a, "outcome"));
    let count = |name: &str| a.get(name).and_then(Value::as_u64).unwrap_or(0);
    if count("days") > 1 {
        out.push_str(&format!(" on {} days", count("days")));
    }
    if count("attempts") > 0 {
        out.push_str(&format!(" after {} failed", count("attempts")));
    }
    out
}

fn run(r: &Value) -> String {
    let mut out = format!("{} {}, as of {}", field(r, "run_id"), field(r, "state"), field(r, "as_of"));
    let took = r.get("millis").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), millis);
    let stages = r.get("stages").and_then(Value::as_u64).unwrap_or(0);
    out.push_str(&format!(", {stages} stage{} in {took}", if stages == 1 { "" } else { "s" }));
    if let Some(e) = r.get("error").and_then(Value::as_str) {
        out.push_str(&format!(": {}", clean(e)));
    }
    out
}

fn pack(p: &Value) -> String {
    let size = p.get("bytes").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), bytes);
    let sealed = if p.get("sealed") == Some(&Value::Bool(true)) { "sealed" } else { "not sealed" };
    format!("{}, {} files, {} rows, {size}, {sealed}", field(p, "export_id"), field(p, "files"), field(p, "rows"))
}

/// 1536 as `1.5 KiB`.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut size = n as f64 / 1024.0;
    let mut unit = "KiB";
    for u in UNITS {
        unit = u;
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
    }
    format!("{size:.1} {unit}")
}

fn millis(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} ms"),
        1_000..60_000 => format!("{}.{} s", n / 1000, n % 1000 / 100),
        _ => seconds(n / 1000),
    }
}

fn seconds(n: u64) -> String {
    let (d, h, m, s) = (n / 86_400, n / 3600 % 24, n / 60 % 60, n % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, m) => format!("{m}m {s}s"),
        (0, h, m) => format!("{h}h {m}m"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_written_for_people() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert!(bytes(u64::MAX).ends_with("PiB"));
        assert_eq!([millis(7), millis(1_250), millis(61_000)], ["7 ms", "1.2 s", "1m 1s"]);
        assert_eq!([seconds(59), seconds(3_660), seconds(90_000)], ["59s", "1h 1m", "1d 1h"]);
    }

    #[test]
    fn nothing_is_a_dash_and_zeros_of_counters_stay_away() {
        assert_eq!(Show::Plain.cell(&Value::Null), "-");
        assert_eq!(Show::Limit.cell(&json!(0)), "-");
        assert_eq!(Show::Pairs.cell(&json!({"a": 0, "b": 2, "c": "x"})), "b 2, c x");
        assert_eq!(Show::Windows.cell(&json!([{"from": "a", "to": "b"}])), "a..b");
    }
}
