//! Reading YAML so that an error can say where.

use super::RegistryError;
use serde::de::DeserializeOwned;

/// Parses `text`; duplicate keys, unknown keys and wrong types are errors with their line.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, RegistryError> {
    // The untyped pass refuses duplicate keys, which a typed map would silently let win.
    serde_norway::from_str::<serde_norway::Value>(text)
        .and_then(|_| serde_norway::from_str::<T>(text))
        .map_err(|e| invalid_yaml(file, &e))
}

fn invalid_yaml(file: &str, e: &serde_norway::Error) -> RegistryError {
    let message = e.to_string();
    let (field, rest) = match message.split_once(": ") {
        Some((f, r)) if !f.contains(' ') => (f.to_owned(), r.to_owned()),
        _ => ("(file)".to_owned(), message),
    };
    RegistryError::Invalid {
        file: file.to_owned(),
        line: e.location().map_or(1, |l| l.line()),
        field,
        problem: with_nearest(&rest),
    }
}

/// Adds the nearest known name to serde's "unknown field/variant `x`, expected one of `a`, `b`".
fn with_nearest(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((wrong, known)) = names.split_first() else { return message.to_owned() };
    if !message.contains("unknown") {
        return message.to_owned();
    }
    let nearest = known.iter().min_by_key(|k| strsim::levenshtein(k, wrong));
    match nearest {
        Some(n) => format!("{message}; did you mean `{n}`?"),
        None => message.to_owned(),
    }
}

/// The line of a dotted path in a YAML text in block style; the nearest parent's line where it is not found.
pub(super) fn line_of(text: &str, path: &[&str]) -> usize {
    let mut found = 1;
    let mut depth = 0usize;
    let mut parent_indent: Option<usize> = None;
    for (i, line) in text.lines().enumerate() {
        let Some(want) = path.get(depth) else { break };
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let indent = line.len() - trimmed.len();
        if parent_indent.is_some_and(|p| indent <= p) {
            break;
        }
        let key = trimmed.split(':').next().unwrap_or("").trim_matches(['"', '\'', ' ']);
        if key == *want {
            found = i + 1;
            parent_indent = Some(indent);
            depth += 1;
        }
    }
    found
}

/// An error at a dotted path.
pub(super) fn at(file: &str, text: &str, path: &[&str], problem: impl Into<String>) -> RegistryError {
    RegistryError::Invalid {
        file: file.to_owned(),
        line: line_of(text, path),
        field: path.join("."),
        problem: problem.into(),
    }
}
