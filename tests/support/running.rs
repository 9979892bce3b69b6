//! `datanode run` with its HTTP, and all that it says on stderr.

use super::{Live, Node, run};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A node that runs; dropping it kills it.
pub struct Running {
    pub live: Live,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    said: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts it on a port of its own, and waits until it serves.
    pub fn start(node: &mut Node, args: &[&str]) -> Self {
        node.set("DATANODE__SERVE__LISTEN", "127.0.0.1:0");
        let mut c = node.command(&[&["run"], args].concat());
        let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(live.child().stderr.take().unwrap()).lines().map_while(Result::ok);
        let said = Arc::new(Mutex::new(String::new()));
        let mut before = String::new();
        let line = lines.by_ref().find(|l| {
            before.push_str(&format!("{l}\n"));
            l.contains("serving packs")
        });
        let line = line.unwrap_or_else(|| panic!("it does not serve:\n{before}"));
        said.lock().unwrap().push_str(&before);
        let (all, at) = (said.clone(), line.find("127.0.0.1:").unwrap());
        let port: String = line[at + 10..].chars().take_while(char::is_ascii_digit).collect();
        let reader = std::thread::spawn(move || lines.for_each(|l| all.lock().unwrap().push_str(&format!("{l}\n"))));
        Self { live, url: format!("http://127.0.0.1:{port}"), said, reader: Some(reader) }
    }

    /// Status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut c = Command::new("curl");
        let out = run(c.args(["-sS", "-w", "\n%{http_code}", &format!("{}{path}", self.url)])).exits(0).out;
        let (body, status) = out.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Sends a signal, waits for the end, and gives the exit code and all that it said.
    pub fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        self.live.signal(signal);
        let code = self.live.child().wait().unwrap().code();
        self.reader.take().unwrap().join().unwrap();
        let said = self.said.lock().unwrap().clone();
        (code, said)
    }
}

/// Asks until there is an answer, at most a minute.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if let Some(t) = ask() {
            return t;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("{what} did not come");
}
