//! The trail: `data_layer/events/asked-YYYY-MM.jsonl`, two lines for each change that a person asked a running node for.
//!
//! The first line says who asked for what, and is durable before anything is changed; the second says what came of it. Where the
//! second is lacking, the process ended in between. What holds, releases, incidents and pins say of themselves stands in the event
//! files beside it ([`crate::acts`]), from which trees are made again; nothing is made from the trail, so a line of it that cannot be
//! read hides only itself.

use crate::clock::rfc3339_of;
use crate::paths::DataDir;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The version of the line format.
pub const VERSION: u32 = 1;
/// Bytes of one month that are read, from its end.
const MOST_BYTES: u64 = 8 << 20;
/// Bytes of what came of a change; what is longer is cut.
const LONGEST: usize = 2_000;

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was asked for.
    Begun,
    /// It was done.
    Done,
    /// It was refused or failed; `what` says why.
    Refused,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`VERSION`].
    pub v: u32,
    /// The byte of its file at which the first of the two lines begins: what makes them a pair.
    pub id: u64,
    /// RFC 3339.
    pub at: String,
    /// `uid 1000`.
    pub by: String,
    /// The command, by its name on the wire.
    pub cmd: String,
    /// Its arguments, on the first line.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// Which of the two lines it is.
    pub state: State,
    /// What came of it, on the second line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
}

/// The trail of a data folder; one a process.
#[derive(Debug)]
pub struct Trail {
    data: DataDir,
    turn: Mutex<()>,
}

/// A change whose end is still to be written.
#[derive(Debug)]
pub struct Begun {
    file: PathBuf,
    line: Line,
}

impl Trail {
    /// Of a data folder.
    pub fn of(data: &DataDir) -> Self {
        Self { data: data.clone(), turn: Mutex::default() }
    }

    /// Writes that a change was asked for at `at` (unix seconds); durable when this returns.
    ///
    /// # Errors
    /// It cannot be written; then nothing may be changed.
    pub fn begin(&self, at: i64, by: &str, cmd: &str, args: &Map<String, Value>) -> io::Result<Begun> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.data.events())?;
        let month = DateTime::from_timestamp(at, 0).unwrap_or_default().format("%Y-%m");
        let file = self.data.events().join(format!("asked-{month}.jsonl"));
        let new = !file.exists();
        let mut line = Line {
            v: VERSION,
            id: 0,
            at: rfc3339_of(at),
            by: by.to_owned(),
            cmd: cmd.to_owned(),
            args: args.clone(),
            state: State::Begun,
            what: String::new(),
        };
        append(&file, |at| {
            line.id = at;
            serde_json::to_vec(&line)
        })?;
        if new {
            crate::files::sync_folder(&self.data.events())?;
        }
        Ok(Begun { file, line })
    }

    /// Writes what came of it.
    ///
    /// # Errors
    /// It cannot be written; the change stays as it is.
    pub fn end(&self, begun: Begun, at: i64, state: State, what: &str) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Begun { file, mut line } = begun;
        (line.at, line.state, line.args) = (rfc3339_of(at), state, Map::new());
        line.what = what.chars().take(LONGEST).collect();
        append(&file, |_| serde_json::to_vec(&line))
    }
}

/// Appends a line, durably. One that a crash tore off is ended first, so that it spoils no other.
fn append(file: &PathBuf, make: impl FnOnce(u64) -> serde_json::Result<Vec<u8>>) -> io::Result<()> {
    let mut f = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let length = f.seek(SeekFrom::End(0))?;
    let mut bytes = Vec::new();
    if length > 0 {
        f.seek(SeekFrom::End(-1))?;
        let mut last = [0u8];
        f.read_exact(&mut last)?;
        if last != *b"\n" {
            bytes.push(b'\n');
        }
    }
    bytes.extend(make(length + bytes.len() as u64).map_err(io::Error::other)?);
    bytes.push(b'\n');
    f.write_all(&bytes)?;
    f.sync_data()
}

/// The months that have a trail, as `YYYY-MM`, the newest first.
///
/// # Errors
/// The folder cannot be read.
pub fn months(data: &DataDir) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(data.events()) {
        Ok(e) => e,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut out = Vec::new();
    for e in entries {
        let name = e?.file_name();
        let month = name.to_str().and_then(|n| n.strip_prefix("asked-")).and_then(|n| n.strip_suffix(".jsonl"));
        out.extend(month.map(str::to_owned));
    }
    out.sort_unstable_by(|a, b| b.cmp(a));
    Ok(out)
}

/// What was asked in a month, the oldest first: each first line with its second, where there is one. Of a file that is longer
/// than 8 MiB the end is read; lines that are none are passed over.
///
/// # Errors
/// The file cannot be read.
pub fn read(data: &DataDir, month: &str) -> io::Result<Vec<(Line, Option<Line>)>> {
    let mut f = match File::open(data.events().join(format!("asked-{month}.jsonl"))) {
        Ok(f) => f,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let skipped = f.metadata()?.len().saturating_sub(MOST_BYTES);
    f.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    f.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let mut out: Vec<(Line, Option<Line>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for line in bytes.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice::<Line>(l).ok()) {
        if line.v != VERSION {
            continue;
        }
        if line.state == State::Begun {
            places.insert(line.id, out.len());
            out.push((line, None));
        } else if let Some(pair) = places.get(&line.id).and_then(|i| out.get_mut(*i)) {
            pair.1 = Some(line);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(trail: &Trail, at: i64, cmd: &str) -> Begun {
        let args = serde_json::json!({"vendor": "al\npaca"}).as_object().unwrap().clone();
        trail.begin(at, "uid 7", cmd, &args).unwrap()
    }

    #[test]
    fn what_was_asked_is_read_back_with_what_came_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        assert!(months(&data).unwrap().is_empty() && read(&data, "2024-02").unwrap().is_empty());
        let trail = Trail::of(&data);
        let first = asked(&trail, 1_706_745_600, "queue.pause");
        let second = asked(&trail, 1_706_745_601, "queue.retry");
        // They may end in another order than they began, and in another month.
        trail.end(second, 1_709_251_200, State::Refused, "no such symbol").unwrap();
        trail.end(first, 1_706_745_602, State::Done, "paused").unwrap();
        let never_ended = asked(&trail, 1_706_745_603, "ship.now");
        drop(never_ended);
        assert_eq!(months(&data).unwrap(), ["2024-02"]);
        let all = read(&data, "2024-02").unwrap();
        let seen: Vec<_> =
            all.iter().map(|(a, z)| (a.cmd.as_str(), z.as_ref().map(|z| (z.state, z.what.as_str())))).collect();
        let done = Some((State::Done, "paused"));
        let refused = Some((State::Refused, "no such symbol"));
        assert_eq!(seen, [("queue.pause", done), ("queue.retry", refused), ("ship.now", None)]);
        assert_eq!((all[0].0.by.as_str(), &all[0].0.args["vendor"]), ("uid 7", &Value::from("al\npaca")));
    }

    #[test]
    fn a_line_that_a_crash_tore_off_hides_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        let trail = Trail::of(&data);
        let begun = asked(&trail, 1_706_745_600, "queue.pause");
        trail.end(begun, 1_706_745_600, State::Done, "x").unwrap();
        let file = data.events().join("asked-2024-02.jsonl");
        let mut f = OpenOptions::new().append(true).open(&file).unwrap();
        f.write_all(b"{\"v\":1,\"id\":").unwrap();
        let begun = asked(&trail, 1_706_745_601, "queue.resume");
        trail.end(begun, 1_706_745_601, State::Done, "y").unwrap();
        f.write_all(b"\xff\xfe\n{\"v\":2}\n").unwrap();
        let all = read(&data, "2024-02").unwrap();
        let seen: Vec<_> = all.iter().map(|(a, z)| (a.cmd.as_str(), z.is_some())).collect();
        assert_eq!(seen, [("queue.pause", true), ("queue.resume", true)]);
    }
}
