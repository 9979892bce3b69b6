//! What neighbours of the node's own HTTP, and of its offload, can do, and what must be true all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::s3::beside_python;
use support::{DATANODE, Live, Node, Ran, SEEDED_NIGHT, Sim, market, run};

/// A node that serves.
struct Serving {
    address: String,
    _live: Live,
    _node: Node,
}

impl Serving {
    fn new() -> Self {
        let sim = Sim::seeded(1, 1, "");
        let mut node = Node::new(&sim.universe, SEEDED_NIGHT);
        node.set("DATANODE__SERVE__LISTEN", "127.0.0.1:0");
        node.set("DATANODE__LOG__LEVEL", "info");
        let mut c = node.command(&["run", "--now", SEEDED_NIGHT[1]]);
        let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(live.child().stderr.take().unwrap()).lines();
        let said = lines.by_ref().map_while(Result::ok).find(|l| l.contains("serving packs")).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let address = said.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        let address = address.chars().filter(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        Self { address, _live: live, _node: node }
    }
    fn status(&self, path: &str, more: &[&str]) -> Ran {
        let url = format!("http://{}{path}", self.address);
        run(Command::new("curl").args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]).args(more).arg(url))
    }
}

#[test]
fn what_came_through_a_proxy_of_this_machine_is_not_taken_for_this_machine() {
    let s = Serving::new();
    assert_eq!(s.status("/metrics", &[]).out, "200");
    for header in [
        "X-Forwarded-For: 203.0.113.7",
        "Forwarded: for=203.0.113.7",
        "X-Real-IP: 203.0.113.7",
        "Via: 1.1 x",
        "Host: node.example",
    ] {
        assert_eq!(s.status("/metrics", &["-H", header]).out, "401", "{header}");
    }
}

#[test]
fn who_has_no_token_does_not_keep_out_who_has_one() {
    let s = Serving::new();
    let ask = |c: &mut TcpStream| c.write_all(b"GET /v1/packs HTTP/1.1\r\nHost: x\r\n\r\n").is_ok();
    let address = s.address.clone();
    let (tell, told) = std::sync::mpsc::channel();
    let attackers = std::thread::spawn(move || {
        let mut all: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(&address).unwrap()).collect();
        all.iter_mut().for_each(|c| assert!(ask(c)));
        tell.send(()).unwrap();
        // Another refused request on each, more often than the server's patience ends.
        for _ in 0..6 {
            std::thread::park_timeout(Duration::from_secs(8));
            for c in &mut all {
                c.set_nonblocking(true).unwrap();
                drop(c.read(&mut [0; 4096]));
                let _ = ask(c);
            }
        }
    });
    told.recv().unwrap();
    let began = Instant::now();
    let ran = s.status("/healthz", &["--max-time", "40"]);
    drop(attackers);
    assert_eq!((ran.out.as_str(), ran.code), ("200", Some(0)), "after {:?}: {}", began.elapsed(), ran.err);
}

#[test]
fn those_who_have_tokens_leave_a_place_for_health_and_are_told_when_there_is_none_for_them() {
    let s = Serving::new();
    let tokens = ["box", "ci", "desk"].map(|name| s._node.run(&["token", "new", name]).exits(0).out);
    let ask_as = |token: &str, host: &str| {
        let mut c = TcpStream::connect(&s.address).unwrap();
        let bearer = format!("Authorization: Bearer {}", token.trim());
        write!(c, "GET /v1/packs/latest.pointer HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        c.read_exact(&mut answer).unwrap();
        (c, String::from_utf8_lossy(&answer[9..]).into_owned())
    };
    let ask = |host: &str| ask_as(&tokens[0], host);
    // A name that would be somebody else's line or address in a pointer is none.
    for host in ["h/x?", "u@h", "h:x", "{}"] {
        assert_eq!(ask(host).1, "400", "{host}");
    }
    // One token has its share of the places, and the next one still finds some.
    let mut kept: Vec<_> = (0..32).map(|_| ask("h:80")).collect();
    assert!(kept[..20].iter().all(|(_, s)| s == "404") && kept[31].1 == "503", "{:?}", kept.last());
    kept.extend((0..20).map(|_| ask_as(&tokens[1], "h:80")));
    assert!(kept[32..].iter().all(|(_, s)| s == "404"), "{:?}", kept.last());
    kept.extend((0..24).map(|_| ask_as(&tokens[2], "h:80")));
    assert_eq!(kept.last().unwrap().1, "503");
    assert_eq!(s.status("/healthz", &["--max-time", "5"]).out, "200");
    drop(kept);
}

#[test]
fn a_token_that_root_makes_is_read_by_the_node_whose_folder_it_is() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    std::fs::create_dir(&data).unwrap();
    if std::os::unix::fs::chown(&data, Some(65_534), Some(65_534)).is_err() {
        eprintln!("skipped: not root");
        return;
    }
    run(Command::new(DATANODE).arg("--data-dir").arg(&data).args(["token", "new", "box"])).exits(0);
    for name in ["keys", "keys/tokens.json", "keys/.tokens.lock"] {
        assert_eq!(std::fs::metadata(data.join(name)).unwrap().uid(), 65_534, "{name} is root's");
    }
}

#[test]
fn a_mistyped_data_folder_is_not_made_by_a_token() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("no/such/folder");
    let ran = run(Command::new(DATANODE).arg("--data-dir").arg(&data).args(["token", "new", "box"]));
    assert!(ran.code != Some(0) && !data.exists(), "a token was made that no node knows: {}", ran.out);
}

// Offload.

const TEN: &str = "2025-07-01T10:30:00Z";
const LATER: &str = "2025-07-04T10:30:00Z";
const RAW: &str = "data_layer/raw/polymarket/prediction_books/date=2025-07-01/10.jsonl.gz";

struct World {
    n: Node,
    there: PathBuf,
    _sim: Sim,
}

impl World {
    fn new() -> Option<Self> {
        let rclone = beside_python("rclone")?;
        let sim = Sim::at(market(1, 1), "", Some(TEN));
        let mut n = Node::new("universe: {}\n", SEEDED_NIGHT);
        for (k, v) in [
            ("ENABLED", "true"),
            ("BASE_URL", &sim.url),
            ("CLOB_BASE_URL", &sim.url),
            ("PER_SECOND", "0"),
            ("PER_MINUTE", "0"),
        ] {
            n.set(&format!("DATANODE__VENDORS__POLYMARKET__{k}"), v);
        }
        n.set("DATANODE__BOOKS__TOP", "3");
        n.set("DATANODE__BOOKS__CADENCE_SECONDS", "1");
        n.run(&["collect-books", "--now", TEN, "--snapshots", "1"]).exits(0);
        let there = n.root.path().join("there");
        std::fs::create_dir(&there).unwrap();
        let mut w = Self { n, there, _sim: sim };
        w.set("PROGRAM", rclone.to_str().unwrap());
        w.set("REMOTE", w.there.clone().to_str().unwrap());
        w.set("KEEP_DAYS", "2");
        Some(w)
    }
    fn set(&mut self, k: &str, v: &str) {
        self.n.set(&format!("DATANODE__OFFLOAD__{k}"), v);
    }
    /// A program in the place of rclone that says that it runs, and then hangs as a child of a shell does.
    fn hanging(&mut self) -> PathBuf {
        let (path, marker) = (self.n.root.path().join("hangs"), self.n.root.path().join("runs"));
        let script = format!("#!/bin/bash\necho $$ > {0}.new; mv {0}.new {0}\nsleep 60\ntrue\n", marker.display());
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.set("PROGRAM", path.to_str().unwrap());
        marker
    }
}

fn until(there: impl Fn() -> bool) {
    let began = Instant::now();
    while !there() && began.elapsed() < Duration::from_secs(30) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_remote_whose_hash_is_only_remembered_does_not_let_a_file_go() {
    let Some(mut w) = World::new() else { return };
    let config = w.n.root.path().join("rclone.conf");
    let text = format!("[h]\ntype = hasher\nremote = {}\nhashes = sha256,md5\nmax_age = off\n", w.there.display());
    std::fs::write(&config, text).unwrap();
    let cache = w.n.root.path().join("rclone-cache").display().to_string();
    w.n.set("RCLONE_CACHE_DIR", &cache);
    w.set("CONFIG", config.to_str().unwrap());
    w.set("REMOTE", "h:");
    w.set("KEEP_DAYS", "9");
    w.n.run(&["offload", "--now", LATER]).exits(0);
    let copy = w.there.join(RAW);
    let time = std::fs::metadata(&copy).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(&copy).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    std::fs::File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
    w.set("KEEP_DAYS", "2");
    let ran = w.n.run(&["offload", "--now", LATER]);
    assert!(w.n.data().join(RAW).exists(), "the only good copy is gone: {:?} {}{}", ran.code, ran.out, ran.err);
}

#[test]
fn a_night_that_is_to_stop_does_not_wait_for_a_program_that_hangs() {
    let Some(mut w) = World::new() else { return };
    let marker = w.hanging();
    let mut c = w.n.command(&["nightly", "--now", LATER, "--as-of", "2025-06-30", "--stages", "retention"]);
    let live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    until(|| marker.exists());
    live.signal(Signal::SIGTERM);
    assert!(live.wait_at_most(Duration::from_secs(20)).is_some(), "it waits for the child of the child");
}

#[test]
fn an_offload_that_is_ended_takes_its_program_with_it() {
    let Some(mut w) = World::new() else { return };
    let marker = w.hanging();
    let mut c = w.n.command(&["offload", "--now", LATER]);
    let live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until(|| marker.exists());
    live.signal(Signal::SIGTERM);
    live.wait_at_most(Duration::from_secs(20)).unwrap();
    let pid = std::fs::read_to_string(&marker).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the copy goes on without anybody who verifies it");
}
