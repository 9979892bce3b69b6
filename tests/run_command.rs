//! `datanode run` as systemd and its owner see it, and the commands around it: doctor, init, rebuild.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{ADMIN, DATANODE, Live, Node, Ran, SECRET, SEEDED_NIGHT, Sim, counts, run};

/// The longest that a stop may take.
const STOP: Duration = Duration::from_secs(10);

/// systemd's end of the notify protocol.
struct Notify(UnixDatagram);

impl Notify {
    fn new(n: &mut Node) -> Self {
        let path = n.root.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        n.set("NOTIFY_SOCKET", path.to_str().unwrap());
        Self(socket)
    }
    /// Waits for a message with that line.
    #[track_caller]
    fn says(&self, line: &str) {
        let mut bytes = [0u8; 4096];
        loop {
            let n = self.0.recv(&mut bytes).unwrap_or_else(|e| panic!("{line} did not come: {e}"));
            if String::from_utf8_lossy(&bytes[..n]).lines().any(|l| l == line) {
                return;
            }
        }
    }
}

fn start(n: &Node, args: &[&str]) -> Live {
    let mut c = n.command(args);
    Live::of(c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn admin(n: &Node, args: &[&str]) -> Ran {
    run(&mut n.program(ADMIN, args))
}

#[test]
fn run_is_ready_answers_holds_the_folder_and_stops_when_asked() {
    let sim = Sim::seeded(2, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let notify = Notify::new(&mut n);
    let live = start(&n, &["run"]);
    notify.says("READY=1");
    n.unset("NOTIFY_SOCKET");

    let socket = n.data().join("admin.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let status: Value = admin(&n, &["--json", "status"]).exits(0).json();
    assert_eq!(status["live"]["busy"], false, "{status}");
    assert_eq!(admin(&n, &["status", "--json"]).exits(0).json()["live"]["host_id"], "e2e");

    let pid = live.pid().to_string();
    n.nightly(&[]).exits(6).says(&["in use", &pid]);
    n.run(&["rebuild"]).exits(6).says(&[&pid]);
    n.run(&["pack", "verify", n.data().to_str().unwrap()]).exits(5);
    assert_eq!(admin(&n, &["--json", "status"]).exits(0).json()["live"]["busy"], false, "it still answers");

    let asked = Instant::now();
    live.signal(Signal::SIGTERM);
    notify.says("STOPPING=1");
    let ended = live.wait_at_most(STOP).expect("it ends within ten seconds of SIGTERM");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(asked.elapsed() < STOP && !socket.exists(), "the socket goes with it");
    admin(&n, &["status"]).exits(1);
    n.nightly(&[]).exits(0);
}

#[test]
fn two_appliances_do_not_share_a_folder() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    let notify = Notify::new(&mut n);
    let live = start(&n, &["run"]);
    notify.says("READY=1");
    n.run(&["run"]).exits(6).says(&[&live.pid().to_string()]);
    assert!(n.data().join("admin.sock").exists(), "the second one leaves the first one's socket alone");
    admin(&n, &["status"]).exits(0);
    live.signal(Signal::SIGINT);
    assert_eq!(live.wait_at_most(STOP).expect("SIGINT ends it too").code, Some(0));
}

#[test]
fn a_cycle_under_way_at_sigterm_is_taken_up_by_the_next_nightly() {
    // The vendor holds every request for longer than a stop may take.
    let slow = Sim::seeded(2, 1, "alpaca: {rules: [{action: {timeout: {seconds: 40}}}]}");
    // The nightly cycle is due a second after the start.
    let now = ["--now", "2025-07-02T23:00:00Z"];
    let mut n = Node::new(&slow.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &slow);
    n.set("DATANODE__SCHEDULE__NIGHTLY_AT", "23:01");
    n.set("DATANODE__LOG__LEVEL", "info");
    let notify = Notify::new(&mut n);
    let live = start(&n, &["run", "--now", "2025-07-02T23:00:59Z"]);
    notify.says("READY=1");
    let began = Instant::now();
    while admin(&n, &["--json", "status"]).exits(0).json()["live"]["busy"] != true {
        assert!(began.elapsed() < Duration::from_secs(60), "the nightly cycle did not begin");
    }
    live.signal(Signal::SIGTERM);
    let ended = live.wait_at_most(STOP).expect("it ends within ten seconds of SIGTERM, whatever a vendor holds");
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    let quick = Sim::seeded(2, 1, "");
    let mut n = n.vendors(&["alpaca", "fred"], &quick);
    n.unset("NOTIFY_SOCKET");
    let done = n.run(&[&["nightly", "--json"], &now[..]].concat()).exits(0).json();
    assert_eq!(done["resumed"], true, "the same run goes on: {done}");
    counts(&done, "export", &[("unchanged", 0)]);
    n.run(&["pack", "verify", n.data().to_str().unwrap()]).exits(0);
}

#[test]
fn sigterm_ends_a_nightly_and_the_next_one_goes_on() {
    let slow = Sim::seeded(2, 1, "alpaca: {rules: [{action: {timeout: {seconds: 2}}}]}");
    let n = Node::new(&slow.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &slow);
    let live = start(&n, &n.nightly_args(&[]));
    let began = Instant::now();
    // fred answers at once: with its answer the cycle is under way.
    while slow.stats.vendor(datanode_vendorsim::Vendor::Fred).requests == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing was asked");
        std::thread::yield_now();
    }
    live.signal(Signal::SIGTERM);
    let ended = live.wait_at_most(Duration::from_secs(30)).expect("it ends");
    assert_eq!(ended.code, Some(1), "it did not do what it was asked: {}", ended.err);
    assert!(ended.err.contains("goes on"), "{}", ended.err);
    let quick = Sim::seeded(2, 1, "");
    let n = n.vendors(&["alpaca", "fred"], &quick);
    let done = n.nightly(&[]).exits(0).json();
    assert_eq!(done["resumed"], true);
}

// --- doctor ---

fn checks(ran: &Ran) -> Vec<(String, bool, String)> {
    let line = |l: &str| {
        let v: Value = serde_json::from_str(l).unwrap();
        let text = |k: &str| v[k].as_str().unwrap().to_owned();
        (text("check"), v["ok"].as_bool().unwrap(), text("message"))
    };
    ran.out.lines().map(line).collect()
}

#[test]
fn doctor_is_content_with_a_good_folder_and_names_what_is_wrong_with_a_broken_one() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    n.nightly(&[]).exits(0);
    let good = n.run(&["doctor", "--json"]).exits(0);
    assert!(checks(&good).iter().all(|c| c.1), "{}", good.out);
    for name in ["registry", "vendors", "clock", "disk", "key", "state", "last pack"] {
        assert!(checks(&good).iter().any(|c| c.0 == name), "no check {name}: {}", good.out);
    }
    let failed = |n: &Node| {
        let ran = n.run(&["doctor", "--json"]).exits(1);
        let bad: Vec<_> = checks(&ran).into_iter().filter(|c| !c.1).collect();
        assert_eq!(bad.len(), 1, "one thing is broken: {}", ran.out);
        bad.into_iter().next().map(|(name, _, text)| (name, text)).unwrap()
    };

    n.set("DATANODE__VENDORS__FRED__KEY", "env:GONE");
    let (name, text) = failed(&n);
    assert!(name == "vendors" && text.contains("GONE"), "{name}: {text}");
    n.set("DATANODE__VENDORS__FRED__KEY", "env:E2E_SECRET");

    n.set("DATANODE__SEAL__KEY_FILE", n.root.path().join("absent.key").to_str().unwrap());
    let (name, text) = failed(&n);
    assert!(name == "key" && text.contains("datanode key new"), "{name}: {text}");
    n.unset("DATANODE__SEAL__KEY_FILE");

    n.set("DATANODE__STORE__FREE_SPACE_FLOOR_MIB", "999999999");
    let ran = n.run(&["doctor"]).exits(1);
    assert!(ran.out.contains("FAILED") && ran.out.contains("disk"), "{}", ran.out);
    n.unset("DATANODE__STORE__FREE_SPACE_FLOOR_MIB");

    let pack = n.data().join("exports/datanode/export_20250702T230000Z_datanode_full/manifest.json");
    let text = std::fs::read(&pack).unwrap();
    std::fs::write(&pack, [&text[..], b" "].concat()).unwrap();
    let (name, text_of) = failed(&n);
    assert!(name == "last pack" && text_of.contains("pack verify"), "{name}: {text_of}");
    std::fs::write(&pack, text).unwrap();

    spoil(&n);
    let (name, text) = failed(&n);
    assert!(name == "state" && text.contains("datanode rebuild"), "{name}: {text}");
}

// --- init ---

#[test]
fn a_vendor_that_is_only_enabled_has_its_defaults() {
    let mut n = Node::new("universe: {}\n", SEEDED_NIGHT);
    n.set("APCA_API_KEY_ID", "x");
    n.set("APCA_API_SECRET_KEY", "y");
    n.set("DATANODE__VENDORS__ALPACA__ENABLED", "true");
    n.nightly(&["--stages", "audit"]).exits(0);
    n.unset("DATANODE__VENDORS__ALPACA__ENABLED");
    let dir = n.root.path().join("home");
    n.run(&["init", dir.to_str().unwrap()]).exits(0);
    let config = dir.join("datanode.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("[vendors.alpaca]\n# enabled = false"), "the generated file has changed");
    std::fs::write(&config, text.replacen("# enabled = false", "enabled = true", 1)).unwrap();
    n.nightly(&["--stages", "audit", "--config", config.to_str().unwrap()]).exits(0);
}

#[test]
fn init_writes_what_a_first_night_needs_and_never_overwrites() {
    let sim = Sim::seeded(2, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let dir = n.root.path().join("home");
    n.unset("DATANODE__DATA_DIR");
    n.unset("DATANODE__UNIVERSE");
    // With the generated references, and only what a person would set.
    for v in ["ALPACA", "FRED"] {
        n.unset(&format!("DATANODE__VENDORS__{v}__KEY"));
        n.unset(&format!("DATANODE__VENDORS__{v}__SECRET"));
    }
    for name in ["APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "FRED_API_KEY"] {
        n.set(name, SECRET);
    }
    n.run(&["init", dir.to_str().unwrap()]).exits(0);
    for f in [
        "datanode.toml",
        "datasets.yaml",
        "vendor_capabilities.yaml",
        "universe.yaml",
        "datanode.service",
        "keys/node.key",
    ] {
        assert!(dir.join(f).is_file(), "{f}");
    }
    assert_eq!(std::fs::metadata(dir.join("keys/node.key")).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(dir.join("universe.yaml"), &sim.universe).unwrap();
    let key = std::fs::read(dir.join("keys/node.key")).unwrap();
    n.run(&["init", dir.to_str().unwrap()]).exits(0);
    assert_eq!(std::fs::read_to_string(dir.join("universe.yaml")).unwrap(), sim.universe, "an edited file is kept");
    assert_eq!(std::fs::read(dir.join("keys/node.key")).unwrap(), key, "the key is kept");

    let config = dir.join("datanode.toml");
    let done = n.nightly(&["--config", config.to_str().unwrap()]).exits(0).json();
    assert!(dir.join("data/exports/nightly/2025-06-30/manifest.json").is_file(), "{done}");
    let id = done["export_id"].as_str().unwrap();
    let list = n.run(&["pack", "list", "--config", config.to_str().unwrap()]).exits(0);
    assert!(list.out.contains(id), "{}", list.out);
    n.run(&["doctor", "--config", config.to_str().unwrap()]).exits(0);
    assert!(!dir.join("data/keys").exists(), "the configured keys are those that are used");
    assert!(dir.join("keys/anchor.key").is_file());
}

// --- rebuild ---

/// Damages a file of the state that every open reads first.
fn spoil(n: &Node) {
    flip(n, "sled/conf", 3);
}

/// Turns all bits of one byte of a file of the state.
fn flip(n: &Node, file: &str, at: usize) {
    let path = n.data().join("state").join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
}

/// A node after its first night, and all that must not change when its state is made again.
struct Night {
    sim: Sim,
    n: Node,
    id: String,
    asked: u64,
    aside: std::path::PathBuf,
}

impl Night {
    fn new() -> Self {
        let sim = Sim::seeded(3, 2, "alpaca: {holes: [{symbol: AAAB, from: 2025-06-09, to: 2025-06-13}]}");
        let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
        let id = n.nightly(&[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
        let (asked, aside) = (sim.stats.requests(), n.root.path().join("state"));
        support::copy(&n.data().join("state"), &aside);
        Self { sim, n, id, asked, aside }
    }
    /// The state as the first night left it.
    fn restore(&self) {
        std::fs::remove_dir_all(self.n.data().join("state")).unwrap();
        support::copy(&self.aside, &self.n.data().join("state"));
    }
    /// A night that finds all as it was: nothing is asked, no file changes.
    #[track_caller]
    fn finds_all(&self, before: &support::Tree, ran: &Ran, what: &str) {
        assert_eq!(ran.code, Some(0), "{what}: {}", ran.err);
        assert_eq!(ran.json()["export_id"], self.id.as_str(), "{what}: the same pack stands");
        assert_eq!(self.sim.stats.requests(), self.asked, "{what}: what was answered is not asked again");
        assert!(*before == support::tree(&self.n.data().join("data_layer")), "{what}: a file changed");
    }
    /// Refused with exit 3 and advice, rebuilt, and then as before.
    #[track_caller]
    fn is_refused_and_rebuilt(&self, what: &str) {
        let before = support::tree(&self.n.data().join("data_layer"));
        for _ in 0..2 {
            let refused = self.n.nightly(&[]);
            assert_eq!(refused.code, Some(3), "{what}: {}", refused.err);
            assert!(refused.err.contains("datanode rebuild"), "{what}: no advice: {}", refused.err);
        }
        assert_eq!(self.sim.stats.requests(), self.asked, "{what}: asked with a state that cannot be trusted");
        let rebuilt = self.n.run(&["rebuild", "--json"]).exits(0).json();
        let aside = std::path::Path::new(rebuilt["set_aside"].as_str().unwrap());
        assert!(aside.exists(), "{what}: the damaged one is set aside: {rebuilt}");
        self.finds_all(&before, &self.n.nightly(&[]), what);
        self.n.run(&["pack", "verify", self.n.data().to_str().unwrap()]).exits(0);
    }
}

#[test]
fn a_damaged_state_is_refused_rebuilt_and_asks_nothing_again() {
    let night = Night::new();
    spoil(&night.n);
    night.is_refused_and_rebuilt("sled/conf");
}

#[test]
fn a_damaged_journal_is_refused_rebuilt_and_asks_nothing_again() {
    let night = Night::new();
    let segment = support::tree(&night.aside.join("journal")).into_keys().next().unwrap();
    let length = std::fs::metadata(night.aside.join("journal").join(&segment)).unwrap().len();
    flip(&night.n, &format!("journal/{segment}"), usize::try_from(length / 2).unwrap());
    night.is_refused_and_rebuilt("the journal");
}

#[test]
fn one_turned_byte_anywhere_in_the_state_is_found_or_does_no_harm() {
    let night = Night::new();
    let before = support::tree(&night.n.data().join("data_layer"));
    let mut draw = support::Draw(77);
    let files = support::tree(&night.aside).into_keys().filter(|f| f != "lock");
    let mut refused = 0;
    for file in files.filter(|f| std::fs::metadata(night.aside.join(f)).is_ok_and(|m| m.len() > 0)) {
        for _ in 0..3 {
            night.restore();
            let length = std::fs::metadata(night.aside.join(&file)).unwrap().len();
            let at = draw.below(length);
            flip(&night.n, &file, usize::try_from(at).unwrap());
            let ran = night.n.nightly(&[]);
            let what = format!("{file}, byte {at} of {length}");
            if ran.code == Some(0) {
                night.finds_all(&before, &ran, &what);
                continue;
            }
            assert_eq!(ran.code, Some(3), "{what}: {}", ran.err);
            assert!(ran.err.contains("datanode rebuild"), "{what}: no advice: {}", ran.err);
            refused += 1;
            night.n.run(&["rebuild"]).exits(0);
            night.finds_all(&before, &night.n.nightly(&[]), &format!("{what}, rebuilt"));
        }
    }
    assert!(refused > 0, "no damage was found at all");
}

#[test]
fn the_binaries_say_what_they_are() {
    for program in [DATANODE, ADMIN] {
        let n = Node::new("universe: {}\n", SEEDED_NIGHT);
        let version = run(&mut n.program(program, &["--version"])).exits(0);
        assert!(version.out.contains(env!("CARGO_PKG_VERSION")), "{}", version.out);
        run(&mut n.program(program, &["--no-such-option"])).exits(2);
    }
}
