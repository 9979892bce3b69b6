//! The registry is read again under a running node, whole or not at all; and a run keeps to its caps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{ADMIN, Live, Node, SEEDED_NIGHT, Sim, run, stage};

const PATIENCE: Duration = Duration::from_secs(60);

fn ask(n: &Node, args: &[&str]) -> Value {
    run(&mut n.program(ADMIN, &[&["--json"], args].concat())).exits(0).json()
}

/// The node's configuration once so many reloads were asked for.
#[track_caller]
fn after(n: &Node, reloads: u64) -> Value {
    let began = Instant::now();
    loop {
        let c = ask(n, &["config"]);
        let r = &c["reloads"];
        if r["taken"].as_u64().unwrap() + r["refused"].as_u64().unwrap() >= reloads {
            return c;
        }
        assert!(began.elapsed() < PATIENCE, "{reloads} reloads did not come: {c}");
    }
}

fn started(n: &Node) -> Live {
    let mut c = n.command(&["run"]);
    let live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let began = Instant::now();
    while run(&mut n.program(ADMIN, &["config"])).code != Some(0) {
        assert!(began.elapsed() < PATIENCE, "the node did not start");
    }
    live
}

#[test]
fn sighup_reads_the_registry_again_and_a_wrong_file_changes_nothing() {
    let sim = Sim::seeded(2, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let universe = n.root.path().join("universe.yaml");
    let capabilities = n.root.path().join("capabilities.yaml");
    let caps = include_str!("../ops/config/vendor_capabilities.yaml");
    std::fs::write(&capabilities, caps).unwrap();
    n.set("DATANODE__CAPABILITIES", capabilities.to_str().unwrap());
    n.set("DATANODE__LOG__LEVEL", "info");
    let live = started(&n);
    let first = ask(&n, &["config"]);

    std::fs::write(&universe, "universe:\n  equities_bars:\n    AAAA: [{form: 2025-06-02}]\n").unwrap();
    live.signal(Signal::SIGHUP);
    let refused = after(&n, 1);
    let error = refused["reloads"]["last_error"].as_str().unwrap();
    assert!(error.contains("universe.yaml:3: ") && error.contains("did you mean `from`"), "{error}");
    assert_eq!(refused["sha256"], first["sha256"]);

    std::fs::write(&universe, "universe:\n  equities_bars:\n    AAAA: [{from: 2025-06-02}]\n").unwrap();
    let line = "limits: {per_second: 10, per_minute: 200, per_day: 0, concurrency: 4}";
    assert!(caps.contains(line), "the generated file has changed");
    let tighter = "limits: {per_second: 3, per_minute: 100, per_day: 7, concurrency: 2}";
    std::fs::write(&capabilities, caps.replace(line, tighter)).unwrap();
    live.signal(Signal::SIGHUP);
    let taken = after(&n, 2);
    assert_eq!((&taken["reloads"]["last_by"], &taken["reloads"]["last_error"]), (&"SIGHUP".into(), &Value::Null));
    assert_ne!(taken["sha256"], first["sha256"]);
    assert_eq!(ask(&n, &["vendors", "show", "alpaca"])["limits"]["per_day"], 7);

    // The same over the socket; what only a start can change is named.
    std::fs::write(&capabilities, caps).unwrap();
    let told = ask(&n, &["reload"]);
    assert_eq!(told["needs_restart"][0], "vendors.alpaca.limits.concurrency = 4", "{told}");
    std::fs::remove_file(&universe).unwrap();
    run(&mut n.program(ADMIN, &["reload"])).exits(2).says(&["universe.yaml", "cannot be read"]);

    live.signal(Signal::SIGTERM);
    let ended = live.wait_at_most(PATIENCE).expect("it ends").exits(0);
    let log = format!("{}{}", ended.out, ended.err);
    let (old, new) = (first["sha256"].as_str().unwrap(), taken["sha256"].as_str().unwrap());
    let event = log.lines().find(|l| l.contains("the registry was reloaded")).expect("an event line");
    assert!(event.contains(old) && event.contains(new) && event.contains("SIGHUP"), "{event}");
    assert!(log.contains("the registry was not reloaded: the old one stays"), "{log}");
    assert!(log.contains("a person changed the node"), "{log}");
}

#[test]
fn a_run_keeps_to_its_caps_and_the_next_one_takes_up_the_rest() {
    let sim = Sim::seeded(6, 1, "");
    let mut n = Node::new(&sim.daily(), SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    let caps = include_str!("../ops/config/vendor_capabilities.yaml").replace("max_symbols: 50", "max_symbols: 1");
    let file = n.root.path().join("capabilities.yaml");
    std::fs::write(&file, caps).unwrap();
    n.set("DATANODE__CAPABILITIES", file.to_str().unwrap());
    const BEFORE_THE_PACK: [&str; 2] = ["--stages", "ingest,audit,backfill"];

    n.nightly(&[&BEFORE_THE_PACK[..], &["--max-requests", "2"]].concat()).exits(0);
    assert_eq!(sim.stats.requests(), 2, "two requests, and the rest stays in the queue");
    n.set("DATANODE__QUEUE__MAX_RUN_REQUESTS", "1");
    n.nightly(&[&BEFORE_THE_PACK[..], &["--max-lookback-days", "3650"]].concat()).exits(0);
    assert_eq!(sim.stats.requests(), 3, "the setting holds where no flag is given");
    let done = n.nightly(&["--max-requests", "0"]).exits(0).json();
    assert_eq!(stage(&done, "backfill")["missing"], 0, "{done}");
}
