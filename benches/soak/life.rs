//! One life of the node: from its start to the end that somebody or something brings it.

use crate::child::{command, cpu_of};
use serde_json::Value;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one look saw.
pub struct Sample {
    /// Since the soak began.
    pub hours: f64,
    /// Resident memory, MB.
    pub rss: f64,
    /// Open file descriptors.
    pub files: f64,
    /// Bytes of the state, MB.
    pub state: f64,
    /// Bytes of the data folder, MB; hard links count once each.
    pub data: f64,
    /// CPU over this life, percent of a core.
    pub cpu: f64,
}

/// Snapshots of order books, since this life began.
#[derive(Clone, Copy, Default)]
pub struct Counted {
    /// That were due.
    pub expected: f64,
    /// That came.
    pub got: f64,
}

/// A node that runs.
pub struct Life {
    child: Child,
    data: PathBuf,
    log: PathBuf,
    begun: Instant,
    /// Milliseconds from its start to its first answer.
    pub ready_ms: f64,
    counted: Counted,
}

impl Life {
    /// Starts it and waits for its first answer.
    pub fn start(datanode: &Path, env: &[(String, String)], work: &Path) -> Fallible<Self> {
        let (data, log) = (work.join("data"), work.join("log"));
        let begun = Instant::now();
        let mut child = command(datanode);
        child.args(["run", "--data-dir"]).arg(&data).envs(env.iter().map(|(k, v)| (k, v)));
        let child = child.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        let mut life = Self { child, data, log, begun, ready_ms: 0.0, counted: Counted::default() };
        while life.ask("status").is_none() {
            if life.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err(format!("the node did not start: {}", life.last_words()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        life.ready_ms = begun.elapsed().as_secs_f64() * 1000.0;
        Ok(life)
    }

    /// A look at it; None where it has ended.
    pub fn sample(&mut self, soak: Instant) -> Option<Sample> {
        if self.child.try_wait().ok()?.is_some() {
            return None;
        }
        let pid = self.child.id();
        if let Some(books) = self.ask("books") {
            let of = |name: &str| books.pointer(&format!("/counters/{name}")).and_then(Value::as_f64).unwrap_or(0.0);
            self.counted = Counted { expected: of("ticks"), got: of("ticks") - of("missed_ticks") };
        }
        let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let resident = pages.split_whitespace().nth(1)?.parse::<f64>().ok()?;
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
        Some(Sample {
            hours: soak.elapsed().as_secs_f64() / 3600.0,
            rss: resident * page as f64 / 1e6,
            files: std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0.0, |d| d.count() as f64),
            state: bytes_below(&self.data.join("state")) / 1e6,
            data: bytes_below(&self.data) / 1e6,
            cpu: cpu_of(pid)? / self.begun.elapsed().as_secs_f64().max(0.001) * 100.0,
        })
    }

    /// What the collector of order books had counted at the last look.
    pub fn counted(&self) -> Counted {
        self.counted
    }

    /// Cycles that are on record, and packs that stand.
    pub fn runs(&self) -> (f64, f64) {
        let count = |cmd: &str| {
            let answer = self.ask(cmd).unwrap_or_default();
            answer.get("total").and_then(Value::as_f64).unwrap_or(f64::NAN)
        };
        (count("runs"), count("packs"))
    }

    /// Ends it as a power cut would, as far as a process can tell.
    pub fn kill(&mut self) -> Fallible<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop; milliseconds until it has.
    pub fn stop(&mut self) -> Fallible<f64> {
        let begun = Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" · ")
    }

    fn ask(&self, cmd: &str) -> Option<Value> {
        let mut socket = UnixStream::connect(self.data.join("admin.sock")).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        socket.write_all(format!("{{\"id\":1,\"cmd\":\"{cmd}\",\"args\":{{}}}}\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).ok()?;
        serde_json::from_str::<Value>(&line).ok()?.get("result").cloned()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes_below(folder: &Path) -> f64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => bytes_below(&e.path()),
            Ok(m) => m.len() as f64,
            // It went meanwhile.
            Err(_) => 0.0,
        })
        .sum()
}
