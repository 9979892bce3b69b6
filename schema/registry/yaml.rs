//! Reading YAML so that an error can say where.

use super::RegistryError;
use serde::de::DeserializeOwned;

/// Parses `text`; duplicate keys, unknown keys and wrong types are errors with their line.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, RegistryError> {
    // The untyped pass refuses duplicate keys, which a typed map would silently let win.
    serde_norway::from_str::<serde_norway::Value>(text)
        .and_then(|_| serde_norway::from_str::<T>(text))
        .map_err(|e| invalid_yaml(file, text, &e))
}

fn invalid_yaml(file: &str, text: &str, e: &serde_norway::Error) -> RegistryError {
    let last = text.lines().count().max(1);
    let line = e.location().map_or(1, |l| l.line()).clamp(1, last);
    let message = e.to_string();
    let message = message.split_once(" at line ").map_or(message.as_str(), |(m, _)| m);
    let (field, rest) = match message.split_once(": ") {
        Some((f, r)) if !f.is_empty() && !f.contains(' ') => (f.to_owned(), r),
        _ => (field_at(text, line), message),
    };
    RegistryError::Invalid { file: file.to_owned(), line, field, problem: advice(rest) }
}

/// Adds what to write to serde's words.
fn advice(message: &str) -> String {
    if message.contains("missing field") {
        return format!("{message}; add it");
    }
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match names.split_first() {
        // "unknown field/variant `x`, expected one of `a`, `b`"
        Some((wrong, known)) if message.contains("unknown") => {
            match known.iter().min_by_key(|k| strsim::levenshtein(k, wrong)) {
                Some(n) => format!("{message}; did you mean `{n}`?"),
                None => format!("{message}; remove it"),
            }
        }
        _ if message.contains("expected") => format!("{message}; write that instead"),
        _ => format!("{message}; see the head of the file for what may stand here"),
    }
}

/// The key that a line begins with, if it has one.
fn key_of(trimmed: &str) -> Option<&str> {
    let (key, _) = trimmed.trim_start_matches("- ").trim_start_matches('{').split_once(':')?;
    let key = key.trim_matches(['"', '\'', ' ']);
    (!key.is_empty()).then_some(key)
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The dotted path of the keys that stand above a line, its own included: what an error is about where the parser does
/// not say.
fn field_at(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let mut path: Vec<&str> = Vec::new();
    let mut indent = usize::MAX;
    for l in lines.iter().rev() {
        let trimmed = l.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') || indent_of(l) >= indent {
            continue;
        }
        if let Some(key) = key_of(trimmed) {
            indent = indent_of(l);
            path.push(key);
        }
    }
    path.reverse();
    if path.is_empty() { "(file)".to_owned() } else { path.join(".") }
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
        if parent_indent.is_some_and(|p| indent_of(line) <= p) {
            break;
        }
        if key_of(trimmed) == Some(want) {
            found = i + 1;
            parent_indent = Some(indent_of(line));
            depth += 1;
        }
    }
    found
}

/// The line of the list item `{name: …}` below a path; the path's own line where it is not found.
pub(super) fn line_of_item(text: &str, path: &[&str], name: &str) -> usize {
    let start = line_of(text, path);
    let below = text.lines().enumerate().skip(start).take_while(|(_, l)| {
        let t = l.trim_start();
        t.is_empty() || t.starts_with('#') || t.starts_with('-')
    });
    let named = |l: &str| {
        let after = l.split_once("name:").map(|(_, rest)| rest.trim_start().trim_start_matches(['"', '\'']));
        after
            .and_then(|r| r.strip_prefix(name))
            .is_some_and(|r| !r.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    below.filter(|(_, l)| named(l)).map(|(i, _)| i + 1).next().unwrap_or(start)
}

/// An error at a dotted path.
pub(super) fn at(file: &str, text: &str, path: &[&str], problem: impl Into<String>) -> RegistryError {
    let said: Vec<&str> = path.iter().copied().filter(|p| !p.is_empty()).collect();
    RegistryError::Invalid {
        file: file.to_owned(),
        line: line_of(text, path),
        field: said.join("."),
        problem: problem.into(),
    }
}

/// Refuses a number outside `least..=most`.
pub(super) fn within(value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{value} is out of range; write a number from {least} to {most}"))
    }
}
