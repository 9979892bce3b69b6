//! The wire: one JSON object a line each way.
//!
//! ```text
//! -> {"id":1,"cmd":"queue.list","args":{"dataset":"equities_bars"}}
//! <- {"id":1,"ok":true,"result":{…}}
//! <- {"id":1,"ok":false,"error":{"code":"unknown_command","message":"…"}}
//! ```
//!
//! `id` is a number, a string or absent; it comes back as it was. `args` may be absent. Every line gets one answer,
//! the broken ones too.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The longest line that is read, in bytes, without its newline.
pub const MAX_LINE: usize = 64 * 1024;

/// What kind of refusal an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The line is not a request.
    BadRequest,
    /// The line is longer than [`MAX_LINE`].
    TooLong,
    /// There is no such command.
    UnknownCommand,
    /// The command does not take these arguments.
    BadArgs,
    /// The files of the registry are wrong; nothing was changed.
    BadConfig,
    /// What was asked for does not exist.
    NotFound,
    /// The node could not read its own state.
    Failed,
    /// The peer is another user.
    Forbidden,
    /// Too many clients.
    Busy,
    /// No node answers. The client says this, never the node.
    NoNode,
}

impl Code {
    /// The exit code of a one-shot command: 1 failed, 2 usage, 5 not found.
    pub fn exit(self) -> u8 {
        match self {
            Self::UnknownCommand | Self::BadArgs | Self::BadConfig => 2,
            Self::NotFound => 5,
            Self::BadRequest | Self::TooLong | Self::Failed | Self::Forbidden | Self::Busy | Self::NoNode => 1,
        }
    }
}

/// A refusal: its kind, and what to do now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// Its kind.
    pub code: Code,
    /// In words.
    pub message: String,
}

impl AdminError {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<datanode_schema::store::StoreError> for AdminError {
    fn from(e: datanode_schema::store::StoreError) -> Self {
        Self::new(Code::Failed, e.to_string())
    }
}

/// A request.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Comes back in the answer: a number, a string or null.
    pub id: Value,
    /// Name of the command.
    pub cmd: String,
    /// Its arguments, not yet checked.
    pub args: Map<String, Value>,
}

impl Request {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// What is wrong with it, beside the id where that could be read.
    pub fn parse(line: &[u8]) -> Result<Self, (Value, AdminError)> {
        let bad = |m: String| AdminError::new(Code::BadRequest, m);
        let text = std::str::from_utf8(line)
            .map_err(|e| (Value::Null, bad(format!("the line is not UTF-8 from byte {} on", e.valid_up_to()))))?;
        if text.trim().is_empty() {
            return Err((Value::Null, bad(format!("the line is empty; send {EXAMPLE}"))));
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|e| (Value::Null, bad(format!("the line is not JSON ({e}); send {EXAMPLE}"))))?;
        let Value::Object(mut fields) = value else {
            return Err((Value::Null, bad(format!("the line is {}, not an object; send {EXAMPLE}", kind(&value)))));
        };
        let id = match fields.remove("id").unwrap_or(Value::Null) {
            id @ (Value::Null | Value::Number(_) | Value::String(_)) => id,
            other => return Err((Value::Null, bad(format!("`id` is {}: give a number or a string", kind(&other))))),
        };
        match command(&mut fields) {
            Ok((cmd, args)) => Ok(Self { id, cmd, args }),
            Err(message) => Err((id, bad(message))),
        }
    }

    /// The line, newline included.
    pub fn to_line(&self) -> String {
        format!("{}\n", json!({"id": self.id, "cmd": self.cmd, "args": self.args}))
    }
}

const EXAMPLE: &str = r#"{"id":1,"cmd":"status","args":{}}"#;

fn command(fields: &mut Map<String, Value>) -> Result<(String, Map<String, Value>), String> {
    let cmd = match fields.remove("cmd") {
        Some(Value::String(s)) => s,
        Some(other) => {
            return Err(format!("`cmd` is {}: give the name of a command, such as \"status\"", kind(&other)));
        }
        None => return Err(format!("`cmd` is absent; send {EXAMPLE}")),
    };
    let args = match fields.remove("args").unwrap_or(Value::Null) {
        Value::Null => Map::new(),
        Value::Object(m) => m,
        other => return Err(format!("`args` is {}: give an object, such as {{\"limit\":10}}", kind(&other))),
    };
    match fields.keys().next() {
        Some(name) => Err(format!("`{name}` is no field of a request: it has `id`, `cmd` and `args`")),
        None => Ok((cmd, args)),
    }
}

/// What a JSON value is, in words.
pub fn kind(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The request's.
    pub id: Value,
    /// The result, or why there is none.
    pub result: Result<Value, AdminError>,
}

impl Answer {
    /// The line, newline included.
    pub fn to_line(&self) -> String {
        let v = match &self.result {
            Ok(result) => json!({"id": self.id, "ok": true, "result": result}),
            Err(e) => json!({"id": self.id, "ok": false, "error": e}),
        };
        format!("{v}\n")
    }

    /// Reads a line.
    ///
    /// # Errors
    /// In words, where it is not an answer.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let mut v: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        let mut take = |name: &str| v.get_mut(name).map(Value::take);
        let id = take("id").unwrap_or(Value::Null);
        match take("ok") {
            Some(Value::Bool(true)) => Ok(Self { id, result: Ok(take("result").unwrap_or(Value::Null)) }),
            Some(Value::Bool(false)) => {
                let e = serde_json::from_value(take("error").unwrap_or(Value::Null)).map_err(|e| e.to_string())?;
                Ok(Self { id, result: Err(e) })
            }
            _ => Err("it has no `ok`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &[u8]) -> String {
        let (id, e) = Request::parse(line).unwrap_err();
        assert_eq!(e.code, Code::BadRequest);
        format!("{id} {}", e.message)
    }

    #[test]
    fn a_request_comes_back_from_its_line() {
        let r = Request { id: json!("a"), cmd: "status".into(), args: Map::new() };
        assert_eq!(Request::parse(r.to_line().trim().as_bytes()).unwrap(), r);
        assert_eq!(Request::parse(br#"{"cmd":"status"}"#).unwrap().id, Value::Null);
    }

    #[test]
    fn a_broken_line_is_refused_with_its_problem_and_its_id() {
        for (line, says) in [
            (&b"\xff\xfe"[..], "null the line is not UTF-8 from byte 0 on"),
            (b"  ", "null the line is empty"),
            (b"hello", "null the line is not JSON"),
            (b"[1]", "null the line is a list"),
            (br#"{"id":[],"cmd":"status"}"#, "null `id` is a list"),
            (br#"{"id":7}"#, "7 `cmd` is absent"),
            (br#"{"id":7,"cmd":8}"#, "7 `cmd` is a number"),
            (br#"{"id":7,"cmd":"status","args":[]}"#, "7 `args` is a list"),
            (br#"{"id":7,"cmd":"status","arg":{}}"#, "7 `arg` is no field"),
        ] {
            let got = refusal(line);
            assert!(got.starts_with(says), "{got}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_request_or_a_refusal(line in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Request::parse(&line);
            let _ = Answer::parse(&line);
        }
    }

    #[test]
    fn a_line_nested_without_end_is_refused() {
        assert!(refusal("[".repeat(60_000).as_bytes()).contains("not JSON"));
    }

    #[test]
    fn an_answer_comes_back_from_its_line() {
        for result in [Ok(json!({"a": 1})), Err(AdminError::new(Code::UnknownCommand, "no"))] {
            let a = Answer { id: json!(1), result };
            assert_eq!(Answer::parse(a.to_line().as_bytes()).unwrap(), a);
        }
        let e = Answer { id: json!(1), result: Err(AdminError::new(Code::UnknownCommand, "no")) }.to_line();
        assert!(e.contains(r#""code":"unknown_command""#), "{e}");
    }
}
