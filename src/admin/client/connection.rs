//! One connection to a node.

use crate::admin::protocol::{AdminError, Answer, Code, Request};
use serde_json::{Map, Value};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection.
pub struct Connection {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
    asked: u64,
}

impl Connection {
    /// Connects to the node whose data folder is `folder`.
    ///
    /// # Errors
    /// `no_node`, with how to start one.
    pub fn open(folder: &Path) -> Result<Self, AdminError> {
        let socket = folder.join("admin.sock");
        let stream =
            UnixStream::connect(&socket).map_err(|e| AdminError::new(Code::NoNode, advice(folder, &socket, &e)))?;
        let broken = |e: io::Error| AdminError::new(Code::NoNode, format!("{}: {e}", socket.display()));
        stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
        Ok(Self { stream: BufReader::new(stream), socket, asked: 0 })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The outer one: the connection is of no more use. The inner one is the node's.
    pub fn ask(&mut self, cmd: &str, args: Map<String, Value>) -> io::Result<Result<Value, AdminError>> {
        self.asked += 1;
        let id = Value::from(self.asked);
        let request = Request { id: id.clone(), cmd: cmd.to_owned(), args };
        // A node that refuses the peer answers and closes: its words are worth more than our broken pipe.
        let sent = self.stream.get_mut().write_all(request.to_line().as_bytes());
        let mut line = Vec::new();
        let read = (&mut self.stream).take(MAX_ANSWER).read_until(b'\n', &mut line);
        if line.last() != Some(&b'\n') {
            sent?;
            read?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let foreign =
            |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", self.socket.display()));
        let answer = Answer::parse(&line).map_err(|e| foreign(format!("what came is no answer: {e}")))?;
        if answer.id != id && !(answer.id.is_null() && answer.result.is_err()) {
            return Err(foreign(format!("question {id} was given the answer of {}", answer.id)));
        }
        Ok(answer.result)
    }
}

fn advice(folder: &Path, socket: &Path, e: &io::Error) -> String {
    let (folder, path) = (folder.display(), socket.display());
    let other = "or name the folder of a running node with --data-dir";
    match e.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{path} belongs to another user: run this as root or as the user of the node")
        }
        io::ErrorKind::InvalidInput => {
            format!("{path} is too long for a socket: go into {folder} and give `--data-dir .`")
        }
        _ if !socket.parent().is_some_and(Path::is_dir) => {
            format!("there is no folder {folder}: start a node with `datanode run --data-dir {folder}`, {other}")
        }
        _ => format!("no node runs on {folder}: start one with `datanode run --data-dir {folder}`, {other}"),
    }
}
