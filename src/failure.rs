//! How a command fails: an exit code and words that say what to do.

use std::fmt;

/// Exit codes. 0 is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// It failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Something is missing, extra or altered; a tag, proof or key does not match.
    Integrity = 3,
    /// A schema, path or version is not valid.
    Contract = 4,
    /// There is no such pack or object.
    NotFound = 5,
    /// Another process holds the data folder.
    Busy = 6,
}

/// A failed command.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What happened, to what, and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with a code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
    /// Exit 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Code::Failed, message.to_string())
    }
    /// Exit 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A text of several lines for a terminal: what came from a bucket or a server cannot move its cursor, colour it or turn its letters
/// round. Line breaks stay.
pub fn printable(text: &str) -> String {
    escaped(text, |c| c != '\n')
}

/// The same for a part of one line: line breaks are escaped too, so that no line can be forged.
pub fn printable_line(text: &str) -> String {
    escaped(text, |_| true)
}

fn escaped(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // The second kind turns the direction of what follows.
        let commands = c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if commands && also(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The result of a command.
pub type Done = Result<(), Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_spelt_out_and_words_stay_as_they_are() {
        assert_eq!(printable("a\u{1b}[2J\r\u{9b}1m\u{202e}b\n  ä → 東"), "a\\u{1b}[2J\\r\\u{9b}1m\\u{202e}b\n  ä → 東");
        assert_eq!(printable_line("a\nsame"), "a\\nsame");
    }
}
