//! Lines in, text and exit codes out.

use super::Connection;
use crate::admin::commands::{self, Said};
use crate::admin::protocol::{AdminError, Code};
use crate::admin::queries;
use crate::admin::render::{self, Style};
use serde_json::{Map, Value, json};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What came of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For stdout.
    pub out: String,
    /// For stderr.
    pub err: String,
    /// The exit code.
    pub code: u8,
    /// Whether the line asked for the end.
    pub quit: bool,
}

impl Outcome {
    /// Prints it. A reader that has gone away (`| head`) is no failure.
    pub fn print(&self, out: &mut impl Write, err: &mut impl Write) {
        let written = out.write_all(self.out.as_bytes()).and_then(|()| out.flush());
        if let Err(e) = written.and_then(|()| err.write_all(self.err.as_bytes()))
            && e.kind() != ErrorKind::BrokenPipe
        {
            let _ = writeln!(err, "error: the result could not be written: {e}");
        }
    }
}

/// Asks a person whether what a question says shall be done.
pub type Confirm = Box<dyn FnMut(&str) -> bool>;

/// A conversation with the node of one data folder.
pub struct Session {
    folder: PathBuf,
    json: bool,
    connection: Option<Connection>,
    confirm: Option<Confirm>,
}

impl Session {
    /// A conversation that has not begun.
    pub fn new(folder: &Path, json: bool) -> Self {
        Self { folder: folder.to_owned(), json, connection: None, confirm: None }
    }

    /// Asks before it changes something; without this, nobody is there to be asked.
    pub fn confirm_by(&mut self, confirm: Confirm) {
        self.confirm = Some(confirm);
    }

    /// Whether results are JSON whatever a line says.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Connects, where it is not connected.
    ///
    /// # Errors
    /// `no_node`.
    pub fn connect(&mut self) -> Result<(), AdminError> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.folder)?);
        }
        Ok(())
    }

    /// Asks. A connection that was lost since the last question is made anew, once. What changes something is said once,
    /// over a connection of its own: nobody could tell whether a lost one was heard.
    ///
    /// # Errors
    /// The node's, or why there is no answer.
    pub fn ask(&mut self, cmd: &str, args: Map<String, Value>) -> Result<Value, AdminError> {
        if commands::find(cmd).is_ok_and(|c| c.changes()) {
            self.connection = None;
        }
        let kept = self.connection.is_some();
        self.connect()?;
        let first = self.once(cmd, args.clone());
        match first {
            Err(e) if kept && e.kind() != ErrorKind::InvalidData && !is_timeout(&e) => {
                self.connect()?;
                self.once(cmd, args).unwrap_or_else(|e| Err(lost(&e)))
            }
            other => other.unwrap_or_else(|e| Err(lost(&e))),
        }
    }

    fn once(&mut self, cmd: &str, args: Map<String, Value>) -> std::io::Result<Result<Value, AdminError>> {
        let Some(c) = self.connection.as_mut() else { return Err(ErrorKind::NotConnected.into()) };
        let answer = c.ask(cmd, args);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    /// Takes a line of the REPL. Empty lines and lines that begin with `#` say nothing.
    pub fn line(&mut self, line: &str, style: &Style) -> Outcome {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Outcome::default();
        }
        if matches!(line, "quit" | "exit") {
            return Outcome { quit: true, ..Outcome::default() };
        }
        match commands::split(line) {
            Ok(words) => self.words(&words, style),
            Err(e) => failure(&e, self.json),
        }
    }

    /// Takes the words of one command.
    pub fn words(&mut self, words: &[String], style: &Style) -> Outcome {
        let json = self.json || words.iter().any(|w| w == "--json");
        let said = match commands::parse(words) {
            Ok(said) => said,
            Err(e) => return failure(&e, json),
        };
        if !self.agreed(&said, words) {
            let err = "nothing was changed\n".to_owned();
            return Outcome { err, code: 1, ..Outcome::default() };
        }
        match self.say(said, json, style) {
            Ok(out) => Outcome { out, ..Outcome::default() },
            Err(e) => failure(&e, json),
        }
    }

    /// Whether it changes nothing, or was agreed to: by `--yes`, by a person who was asked, or because nobody can be.
    fn agreed(&mut self, said: &Said, words: &[String]) -> bool {
        if said.yes || !said.command.changes() || said.command.lacks(&said.args).is_some() {
            return true;
        }
        let Some(ask) = self.confirm.as_mut() else { return true };
        let line: Vec<String> = words.iter().map(|w| render::clean(w)).collect();
        ask(&format!("`{}` {}. Do it? [y/N] ", line.join(" "), said.command.summary))
    }

    fn say(&mut self, said: Said, json: bool, style: &Style) -> Result<String, AdminError> {
        let name = said.command.name;
        let result = match name {
            // Help needs no node: it is what one reads before there is one.
            "help" => queries::help_alone(said.args.get("command").and_then(Value::as_str))?,
            _ => self.ask(name, said.args)?,
        };
        Ok(if json { format!("{result}\n") } else { render::text(name, &result, style) })
    }
}

fn is_timeout(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn lost(e: &std::io::Error) -> AdminError {
    let why = match e.kind() {
        _ if is_timeout(e) => "the node did not answer within two minutes; see its log".to_owned(),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            "the node ended the connection without an answer: it is stopping, or has stopped; see its log".to_owned()
        }
        _ => format!("the connection to the node failed: {e}"),
    };
    AdminError::new(Code::Failed, why)
}

pub(super) fn failure(e: &AdminError, json: bool) -> Outcome {
    let out = if json { format!("{}\n", json!({"error": e})) } else { String::new() };
    Outcome { out, err: format!("error: {e}\n"), code: e.code.exit(), quit: false }
}
