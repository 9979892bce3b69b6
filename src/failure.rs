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

/// The result of a command.
pub type Done = Result<(), Failure>;
