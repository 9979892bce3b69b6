//! Who is told what, how often, and what a receiver that misbehaves costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use support::running::{Running, until};
use support::web::{Reply, Web};
use support::{ADMIN, Node, Ran, SEEDED_NIGHT, Sim, run};

/// A receiver at `/hook`, a topic at `/topic` and a switch at `/switch`; `status` is what they answer, 0 that they hang.
struct Desk {
    web: Web,
    status: Arc<AtomicU16>,
}

impl Desk {
    fn new() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let answer = status.clone();
        let web = Web::new(Path::new("/nonexistent"), move |_| match answer.load(Ordering::Acquire) {
            0 => Reply::Silence,
            s => Reply::Text(s, Vec::new(), b"{}".to_vec()),
        });
        Self { web, status }
    }
    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::Release);
    }
    /// The bodies that came to the webhook.
    fn hooks(&self) -> Vec<Value> {
        let asked = self.web.asked.lock().unwrap();
        asked.iter().filter(|a| a.path == "/hook").map(|a| serde_json::from_slice(&a.body).unwrap()).collect()
    }
    fn kinds(&self) -> Vec<(String, String)> {
        let of = |v: &Value, k: &str| v[k].as_str().unwrap().to_owned();
        self.hooks().iter().map(|v| (of(v, "kind"), of(v, "severity"))).collect()
    }
    fn switched(&self) -> usize {
        self.web.count("/switch")
    }
    fn told_by(&self, n: &mut Node, what: &[&str]) {
        for (name, path) in [("WEBHOOK", "hook"), ("NTFY", "topic"), ("DEAD_MAN", "switch")] {
            if what.contains(&path) {
                n.set(&format!("E2E_{name}"), &format!("{}/{path}", self.web.url));
                n.set(&format!("DATANODE__ALERTS__{name}"), &format!("env:E2E_{name}"));
            }
        }
    }
}

/// A night whose clock is not that of the simulator's answers: the skew is what there is to tell.
fn night(n: &Node, now: &str) -> Ran {
    n.run(&["nightly", "--json", "--now", now, "--as-of", "2025-06-30"])
}

fn pair(kind: &str, severity: &str) -> (String, String) {
    (kind.to_owned(), severity.to_owned())
}

#[test]
fn what_is_wrong_is_told_with_what_to_type_and_good_nights_reach_the_switch() {
    let (sim, desk) = (Sim::seeded(1, 1, ""), Desk::new());
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    desk.told_by(&mut n, &["hook", "topic", "switch"]);
    night(&n, "2025-07-02T23:00:00Z").exits(0);
    assert_eq!(desk.kinds(), [pair("clock_skew", "critical")]);
    let said = &desk.hooks()[0];
    assert!(said["summary"].as_str().unwrap().contains("seconds behind"), "{said}");
    assert_eq!((&said["node"], &said["next_command"]), (&"e2e".into(), &"timedatectl status".into()));
    assert_eq!(desk.switched(), 1);
    {
        let asked = desk.web.asked.lock().unwrap();
        let topic = asked.iter().find(|a| a.path == "/topic").unwrap();
        assert_eq!((&*topic.method, &*topic.headers["priority"]), ("POST", "5"));
        assert_eq!(topic.headers["title"], "datanode e2e: clock_skew (critical)");
        assert!(String::from_utf8(topic.body.clone()).unwrap().contains("timedatectl"));
    }
    // Each good night is told, a part of one is not.
    night(&n, "2025-07-03T23:00:00Z").exits(0);
    assert_eq!(desk.switched(), 2);
    n.run(&["nightly", "--now", "2025-07-04T00:00:00Z", "--as-of", "2025-06-30", "--stages", "audit"]).exits(0);
    assert_eq!(desk.switched(), 2);
}

#[test]
fn what_goes_on_being_wrong_is_told_once_over_restarts_again_after_a_while_and_its_end_once() {
    let (sim, desk) = (Sim::seeded(1, 1, ""), Desk::new());
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    let file = n.root.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    n.set("DATANODE__SHIP__FOLDER", file.join("shipped").to_str().unwrap());
    desk.told_by(&mut n, &["hook", "switch"]);
    let told = || desk.kinds().into_iter().filter(|k| k.0 == "cycle_failed").map(|k| k.1).collect::<Vec<_>>();
    // Each night is a process of its own.
    night(&n, "2025-07-02T23:00:00Z").exits(1);
    assert_eq!(told(), ["critical"]);
    night(&n, "2025-07-03T10:59:00Z").exits(1);
    assert_eq!(told(), ["critical"], "less than alerts.repeat_minutes ago");
    night(&n, "2025-07-03T11:00:00Z").exits(1);
    assert_eq!(told(), ["critical", "critical"]);
    assert_eq!(desk.switched(), 0, "the switch hears nothing of nights that failed");
    n.unset("DATANODE__SHIP__FOLDER");
    for minute in ["01", "02"] {
        night(&n, &format!("2025-07-03T11:{minute}:00Z")).exits(0);
        assert_eq!(told(), ["critical", "critical", "resolved"]);
    }
    assert_eq!(desk.switched(), 2);
}

#[test]
fn a_receiver_that_fails_is_told_the_next_time_and_one_that_hangs_takes_no_part_in_the_night() {
    let (sim, desk) = (Sim::seeded(1, 1, ""), Desk::new());
    let of = |told: bool| {
        let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
        if told {
            desk.told_by(&mut n, &["hook", "switch"]);
        }
        sim.stats.reset();
        let done = night(&n, "2025-07-02T23:00:00Z").exits(0);
        (n, sim.stats.requests(), done)
    };
    let (_, quiet, _) = of(false);
    desk.answers(0);
    let (n, hanging, done) = of(true);
    assert_eq!(quiet, hanging, "the same requests");
    assert!(done.json()["export_id"].as_str().is_some_and(|id| !id.is_empty()));
    desk.answers(500);
    night(&n, "2025-07-02T23:00:00Z").exits(0).says(&["refused with status 500"]);
    desk.answers(200);
    let before = desk.hooks().len();
    night(&n, "2025-07-03T23:00:00Z").exits(0);
    assert_eq!(desk.kinds()[before..], [pair("clock_skew", "critical")], "told once it is taken");
    assert!(desk.switched() > 0);
}

#[test]
fn an_incident_of_a_running_node_is_told_once_and_its_end_too_and_a_receiver_that_hangs_keeps_no_stop_waiting() {
    let (sim, desk) = (Sim::seeded(1, 1, ""), Desk::new());
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    night(&n, "2025-07-02T23:00:00Z").exits(0);
    desk.told_by(&mut n, &["hook"]);
    n.set("DATANODE__LOG__LEVEL", "info");
    let running = Running::start(&mut n, &["--now", "2025-07-03T01:00:00Z"]);
    let admin = |args: &[&str]| run(&mut n.program(ADMIN, args)).exits(0);
    let id = n.data().join("exports/datanode");
    let id = std::fs::read_dir(id).unwrap().find_map(|e| e.unwrap().file_name().into_string().ok());
    let id = id.unwrap().trim_start_matches("export_").to_owned();
    admin(&["incident", "open", &id, "--label", "deprecated", "--kind", "other", "--note", "a trial"]);
    let told = until("the incident", || desk.hooks().into_iter().find(|v| v["kind"] == "incident"));
    assert_eq!(
        told["next_command"],
        format!("datanode-admin incident show {}", told["key"].as_str().unwrap()[9..].to_owned())
    );
    let number = told["key"].as_str().unwrap()[9..].to_owned();
    admin(&["incident", "close", &number, "--why", "over"]);
    until("its end", || desk.kinds().contains(&pair("incident", "resolved")).then_some(()));
    assert_eq!(desk.kinds(), [pair("incident", "warning"), pair("incident", "resolved")]);
    desk.answers(0);
    admin(&["incident", "open", &id, "--label", "deprecated", "--kind", "other", "--note", "another"]);
    until("the attempt", || (desk.hooks().len() == 3).then_some(()));
    admin(&["status"]);
    let asked = Instant::now();
    assert_eq!(running.end(Signal::SIGTERM).0, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
}

#[test]
fn a_test_message_says_what_came_back_and_repeats_no_address() {
    let desk = Desk::new();
    let mut n = Node::new("universe: {}\n", SEEDED_NIGHT);
    n.run(&["alert", "test"]).exits(2).says(&["alerts.webhook"]);
    n.set("DATANODE__ALERTS__WEBHOOK", "https://hooks.example/T0P-S3CRET");
    let literal = n.run(&["alert", "test"]).exits(2).says(&["env:NAME"]);
    assert!(!literal.err.contains("S3CRET"), "{}", literal.err);
    desk.told_by(&mut n, &["hook", "topic", "switch"]);
    let good = n.run(&["alert", "test"]).exits(0);
    assert!(good.out.contains("webhook   taken (200)") && good.out.contains("ntfy      taken (200)"), "{}", good.out);
    assert_eq!((desk.switched(), desk.kinds()), (0, vec![pair("test", "info")]));
    desk.answers(500);
    n.run(&["alert", "test"]).exits(1).says(&["2 receivers"]);
    n.set("E2E_WEBHOOK", "http://127.0.0.1:1/T0P-S3CRET");
    n.set("E2E_NTFY", "ftp://T0P-S3CRET");
    let no = n.run(&["alert", "test"]).exits(2).says(&["alerts.ntfy"]);
    n.unset("DATANODE__ALERTS__NTFY");
    let nobody = n.run(&["alert", "test", "--json"]).exits(1);
    assert_eq!(
        nobody.out.lines().next().map(|l| serde_json::from_str::<Value>(l).unwrap()["message"].clone()),
        Some("no connection".into())
    );
    for ran in [no, nobody] {
        assert!(!format!("{}{}", ran.out, ran.err).contains("S3CRET"));
    }
}
