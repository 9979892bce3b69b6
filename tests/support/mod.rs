//! What the end-to-end tests share: the simulator in this process, the real binaries in others, and folders compared.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod home;
pub mod packs;
pub mod proxy;
pub mod running;
pub mod s3;
pub mod verdicts;
pub mod web;

use datanode_schema::manifest::{self, Line};
use datanode_schema::store::{Store, StoreError, StoreOptions};
use datanode_schema::trees;
use datanode_vendorsim::{Faults, Seeded, SimOptions, Source, Stats, serve};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The binaries under test.
pub const DATANODE: &str = env!("CARGO_BIN_EXE_datanode");
pub const ADMIN: &str = env!("CARGO_BIN_EXE_datanode-admin");
/// FRED's keys are 32 lower-case alphanumerics; the other vendors take any.
pub const SECRET: &str = "abcdefghijklmnopqrstuvwxyz012345";
/// The evening on which the tests on real data run, and the last session that they consider.
pub const REAL_NIGHT: [&str; 4] = ["--now", "2026-03-01T23:00:00Z", "--as-of", "2026-02-27"];
/// The same for the generated market, which ends on 2025-06-30.
pub const SEEDED_NIGHT: [&str; 4] = ["--now", "2025-07-02T23:00:00Z", "--as-of", "2025-06-30"];
/// No program of a test runs longer.
const LONGEST: Duration = Duration::from_secs(150);

/// The shared real data, or None after saying that the test is skipped.
pub fn real_data() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/real");
    match path.canonicalize() {
        Ok(p) => Some(p),
        Err(e) => {
            eprintln!("SKIPPED: the real data is not at {} ({e})", path.display());
            None
        }
    }
}

/// Runs a check in Python, as `DATANODE_PYTHON` names it; None after saying that the check is skipped.
pub fn python(script: &str, args: &[&Path]) -> Option<Ran> {
    let Some(python) = std::env::var_os("DATANODE_PYTHON") else {
        eprintln!(
            "SKIPPED: fixtures/{script}: DATANODE_PYTHON names no Python with fixtures/requirements.txt installed"
        );
        return None;
    };
    let mut c = Command::new(python);
    c.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(script)).args(args);
    Some(run(&mut c))
}

/// A program that ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The program, after asserting how it ended.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
    /// The program, after asserting that stderr holds each text.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for t in texts {
            assert!(self.err.contains(t), "stderr lacks {t:?}:\n{}", self.err);
        }
        self
    }
    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("stdout is no JSON ({e}):\n{}", self.out))
    }
}

/// Runs a program to its end, and kills it when it takes far too long.
pub fn run(command: &mut Command) -> Ran {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Live::of(child).wait()
}

/// A program that runs; dropping it kills it.
pub struct Live {
    child: Option<Child>,
}

impl Live {
    pub fn of(child: Child) -> Self {
        Self { child: Some(child) }
    }
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }
    pub fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }
    /// Waits for the end, within the limit that every program of a test has.
    pub fn wait(self) -> Ran {
        let pid = self.pid();
        self.wait_at_most(LONGEST).unwrap_or_else(|| panic!("process {pid} did not end within {LONGEST:?}"))
    }
    /// Waits for the end; None (and a killed process) where it does not come in time.
    pub fn wait_at_most(mut self, limit: Duration) -> Option<Ran> {
        let mut child = self.child.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let (ended, end) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let status = child.wait().unwrap();
            // Nobody listens where the limit was over first.
            let _ = ended.send(());
            status
        });
        let in_time = end.recv_timeout(limit) != Err(RecvTimeoutError::Timeout);
        if !in_time {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        let code = waiter.join().unwrap().code();
        let ran = Ran { code, out: out.join().unwrap(), err: err.join().unwrap() };
        in_time.then_some(ran)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(c) = &mut self.child {
            // It may have ended by itself.
            drop(c.kill());
            drop(c.wait());
        }
    }
}

fn drain(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut f) = from {
            f.read_to_end(&mut bytes).unwrap();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The simulated vendors, in this process.
pub struct Sim {
    pub url: String,
    pub stats: Arc<Stats>,
    pub universe: String,
    _runtime: tokio::runtime::Runtime,
}

impl Sim {
    pub fn new(source: Source, faults: &str) -> Self {
        Self::at(source, faults, None)
    }
    /// With the vendors' clock at `now`; None is the evening after the data.
    pub fn at(source: Source, faults: &str, now: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let faults = (!faults.is_empty()).then(|| Faults::from_yaml(faults).unwrap());
        let now = now.map(|t| t.parse().unwrap());
        let options = SimOptions { faults, now, ..SimOptions::new(source) };
        let universe = options.universe().unwrap();
        let running = runtime.block_on(serve(options)).unwrap();
        Self { url: running.url(), stats: running.stats.clone(), universe, _runtime: runtime }
    }
    /// Over the real data.
    pub fn real(folder: &Path) -> Self {
        Self::new(Source::Data(folder.to_owned()), "")
    }
    /// A generated market of the 20 sessions up to 2025-06-30.
    pub fn seeded(symbols: usize, minute_sessions: usize, faults: &str) -> Self {
        Self::new(market(symbols, minute_sessions), faults)
    }
    /// The part of the universe that is daily bars.
    pub fn daily(&self) -> String {
        let end = self.universe.find("  equities_bars_minute:").unwrap_or(self.universe.len());
        self.universe[..end].to_owned()
    }
}

/// The generated market of [`Sim::seeded`].
pub fn market(symbols: usize, minute_sessions: usize) -> Source {
    let mut s = Seeded::new(11);
    s.symbols = Seeded::names(symbols);
    s.from = "2025-06-02".parse().unwrap();
    s.minute_sessions = minute_sessions;
    Source::Seeded(s)
}

/// A data folder with the environment of its node.
pub struct Node {
    pub root: tempfile::TempDir,
    env: BTreeMap<String, String>,
    night: [&'static str; 4],
}

impl Node {
    /// A node that holds `universe`, without vendors; everything of it lies in a temporary folder.
    pub fn new(universe: &str, night: [&'static str; 4]) -> Self {
        let root = tempfile::Builder::new().prefix("datanode-e2e-").tempdir().unwrap();
        std::fs::write(root.path().join("universe.yaml"), universe).unwrap();
        let mut node = Self { root, env: BTreeMap::new(), night };
        let at = |name: &str| node.root.path().join(name).display().to_string();
        let (data, universe) = (at("data"), at("universe.yaml"));
        node.set("DATANODE__DATA_DIR", &data);
        node.set("DATANODE__UNIVERSE", &universe);
        node.set("DATANODE__NODE__HOST_ID", "e2e");
        node.set("DATANODE__LOG__LEVEL", "warn");
        node.set("E2E_SECRET", SECRET);
        node
    }
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }
    pub fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }
    /// Enables a vendor without limits of its own.
    pub fn vendor(mut self, name: &str, url: &str) -> Self {
        let key = |k: &str| format!("DATANODE__VENDORS__{}__{k}", name.to_uppercase());
        self.set(&key("ENABLED"), "true");
        self.set(&key("BASE_URL"), url);
        self.set(&key("PER_SECOND"), "0");
        self.set(&key("PER_MINUTE"), "0");
        if name != "files" {
            self.set(&key("KEY"), "env:E2E_SECRET");
            self.set(&key("SECRET"), "env:E2E_SECRET");
        }
        self
    }
    pub fn vendors(self, names: &[&str], sim: &Sim) -> Self {
        names.iter().fold(self, |n, v| n.vendor(v, &sim.url))
    }
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }
    /// A program with the node's environment and nothing of the caller's.
    pub fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut c = Command::new(program);
        c.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        c.envs(&self.env).args(args).current_dir(self.root.path());
        c
    }
    pub fn command(&self, args: &[&str]) -> Command {
        self.program(DATANODE, args)
    }
    pub fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }
    /// The arguments of a nightly cycle on the node's evening.
    pub fn nightly_args<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        [&["nightly", "--json"], &self.night[..], more].concat()
    }
    pub fn nightly(&self, more: &[&str]) -> Ran {
        self.run(&self.nightly_args(more))
    }
    /// Opens the node's store while no process has it.
    pub fn with_store<T>(&self, f: impl FnOnce(&Store) -> T) -> T {
        // A program that another test starts holds a copy of this one's lock until it is itself.
        let open = || Store::open(&self.data().join("state"), &trees::all(), &StoreOptions::default());
        let store = (0..100_000).map(|_| open()).find(|s| !matches!(s, Err(StoreError::Busy { .. }))).unwrap().unwrap();
        let out = f(&store);
        store.close().unwrap();
        out
    }
    /// Every manifest line, in the order of the files' names.
    pub fn lines(&self) -> Vec<Line> {
        let root = self.data().join("data_layer/manifests");
        let files = tree(&root).into_keys();
        files.flat_map(|f| manifest::read(&root.join(f)).unwrap()).collect()
    }
    /// The folder of the pack that a cycle's summary names.
    pub fn pack(&self, summary: &Value) -> PathBuf {
        let id = summary["export_id"].as_str().unwrap();
        self.data().join("exports/datanode").join(format!("export_{id}"))
    }
    /// What the pack's manifest says of a partition that was held out; None where it was not.
    pub fn excluded(&self, summary: &Value, partition: &str) -> Option<Value> {
        let text = std::fs::read(self.pack(summary).join("manifest.json")).unwrap();
        let m: Value = serde_json::from_slice(&text).unwrap();
        m["qc"]["excluded"].as_array().unwrap().iter().find(|e| e["partition"] == partition).cloned()
    }
}

/// The counters of a stage in a cycle's summary.
#[track_caller]
pub fn stage<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let all = summary["stages"].as_array().unwrap();
    &all.iter().find(|s| s["stage"] == name).unwrap_or_else(|| panic!("no stage {name} in {summary}"))["counters"]
}

/// Asserts counters of a stage.
#[track_caller]
pub fn counts(summary: &Value, name: &str, want: &[(&str, u64)]) {
    let c = stage(summary, name);
    for (k, n) in want {
        assert_eq!(c[k], *n, "{name}.{k} of {c}");
    }
}

/// What [`tree`] gives.
pub type Tree = BTreeMap<String, (String, std::time::SystemTime)>;

/// Relative path to (SHA-256, modification time) of every file below `root`; nothing where there is no such folder.
pub fn tree(root: &Path) -> Tree {
    let mut out = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for e in entries {
            let (path, kind) = e.map(|e| (e.path(), e.file_type().unwrap())).unwrap();
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let sum = datanode_schema::files::sha256_file(&path).map(|(s, _)| hex::encode(s)).unwrap_or_default();
            out.insert(name, (sum, modified(&path)));
        }
    }
    out
}

fn modified(path: &Path) -> std::time::SystemTime {
    std::fs::symlink_metadata(path).unwrap().modified().unwrap()
}

/// What differs between two folders in names or bytes, one line each; empty where they are the same.
pub fn differences(a: &Path, b: &Path) -> Vec<String> {
    let (a, b) = (tree(a), tree(b));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let mut out = Vec::new();
    for n in names {
        match (a.get(n), b.get(n)) {
            (Some((x, _)), Some((y, _))) if x != y => out.push(format!("{n}: other bytes")),
            (Some(_), None) => out.push(format!("{n}: only in the first")),
            (None, Some(_)) => out.push(format!("{n}: only in the second")),
            _ => {}
        }
    }
    out
}

/// Copies a folder; files that are links of one another become files of their own.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for e in std::fs::read_dir(from).unwrap() {
        let e = e.unwrap();
        let target = to.join(e.file_name());
        if e.file_type().unwrap().is_dir() {
            copy(&e.path(), &target);
        } else {
            std::fs::copy(e.path(), &target).unwrap();
        }
    }
}

/// Numbers from a seed (splitmix64), so that a failure can be repeated.
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }
}
