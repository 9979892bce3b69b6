//! Holds, releases and incidents as the owner gives them, and those that the node reports by itself: what ships, and what does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::quarantine::{Acts, Quarantine, Span, seen};
use datanode_schema::acts::{self, Line};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::keys::{Month, PageKey};
use datanode_schema::names::{Act, Dataset, Reason, Verdict};
use datanode_schema::paths::DataDir;
use datanode_schema::records::{LedgerDay, LedgerPage, Print};
use datanode_schema::store::{Batch, Store, StoreOptions};
use datanode_schema::trees::{self, COUNTERS, LEDGER};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{ADMIN, Live, Node, Ran, SEEDED_NIGHT, Sim, counts, market, stage};

const HELD: &str = "equities_bars/AAAA/2025-06-10";
const TEN: &str = "2025-07-01T10:30:00Z";

fn node(sim: &Sim) -> Node {
    Node::new(&sim.daily(), SEEDED_NIGHT).vendors(&["alpaca"], sim)
}

/// A later evening, as of the same session: a pack of its own.
fn evening(n: &Node, date: &str) -> Ran {
    n.run(&["nightly", "--json", "--now", &format!("{date}T23:00:00Z"), "--as-of", "2025-06-30"])
}

/// Runs commands against the appliance, which is started for them and stopped again.
struct Desk<'a> {
    node: &'a Node,
    live: Option<Live>,
}

impl<'a> Desk<'a> {
    fn of(node: &'a Node) -> Self {
        let mut c = node.command(&["run", "--now", "2025-07-02T12:00:00Z"]);
        let child = c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let desk = Self { node, live: Some(Live::of(child)) };
        let began = Instant::now();
        while desk.say(&["config"]).code != Some(0) {
            assert!(began.elapsed() < Duration::from_secs(60), "the node does not answer");
        }
        desk
    }
    fn say(&self, words: &[&str]) -> Ran {
        support::run(&mut self.node.program(ADMIN, &[&["--json"], words].concat()))
    }
    #[track_caller]
    fn done(&self, words: &[&str]) -> Value {
        self.say(words).exits(0).json()
    }
    /// Verdict and reasons of a partition.
    #[track_caller]
    fn verdict(&self, partition: &str) -> (String, Vec<String>) {
        let words: Vec<&str> = partition.split('/').collect();
        let r = &self.done(&[&["qc", "show"], &words[..]].concat())["rows"][0];
        let reasons = r["reasons"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned());
        (r["verdict"].as_str().unwrap().to_owned(), reasons.collect())
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            live.signal(Signal::SIGTERM);
            let ended = live.wait();
            assert_eq!(ended.code, Some(0), "{}", ended.err);
        }
    }
}

fn events(n: &Node) -> Vec<Line> {
    acts::read_all(&DataDir::new(n.data())).unwrap()
}

/// Kind, artifact, label and whether it is open, of every incident.
fn incidents(n: &Node) -> Vec<(String, String, String, bool)> {
    let all = events(n);
    let closed = |id: u64| all.iter().any(|l| l.act == Act::IncidentClose && l.incident == Some(id));
    let opened = all.iter().filter(|l| l.act == Act::IncidentOpen);
    opened
        .map(|l| {
            (l.kind.unwrap().to_string(), l.artifact.clone().unwrap(), l.label.unwrap().to_string(), !closed(l.id))
        })
        .collect()
}

fn one(kind: &str, artifact: &str, label: &str, open: bool) -> (String, String, String, bool) {
    (kind.to_owned(), artifact.to_owned(), label.to_owned(), open)
}

#[test]
fn a_hold_takes_partitions_out_of_the_next_pack_and_a_release_brings_them_back() {
    let sim = Sim::seeded(2, 1, "");
    let n = node(&sim);
    let first = n.nightly(&[]).exits(0).json();
    assert!(n.excluded(&first, HELD).is_none());
    {
        let desk = Desk::of(&n);
        let said = desk.done(&["qc", "hold", "equities_bars", "AAAA", "2025-06-10", "--why", "two days mixed up"]);
        assert_eq!((&said["act"], &said["pages"]), (&1.into(), &1.into()), "{said}");
        assert_eq!(desk.verdict(HELD), ("RED".into(), vec!["held".into()]), "at once, without a night");
        let e = desk.done(&["qc", "explain", "equities_bars", "AAAA", "2025-06-10"]);
        assert_eq!(e["holds"][0]["why"], "two days mixed up");
        assert!(e["holds"][0]["by"].as_str().unwrap().starts_with("uid "), "{e}");
        assert!(!e["requests"].as_array().unwrap().is_empty(), "{e}");
    }
    let second = evening(&n, "2025-07-03").exits(0).json();
    let out = n.excluded(&second, HELD).expect("it is left out and listed");
    assert_eq!((out["status"].as_str(), out["reasons"][0].as_str()), (Some("RED"), Some("held")));
    counts(&second, "export", &[("excluded", 1), ("unchanged", 0)]);
    n.run(&["pack", "verify", n.data().to_str().unwrap()]).exits(0);

    // A night that judges the file again keeps what was said: the sum of a curated file changes with its rows.
    let curated = support::tree(&n.data().join("data_layer/curated/equities_bars")).into_keys().next().unwrap();
    std::fs::remove_file(n.data().join("data_layer/curated/equities_bars").join(curated)).unwrap();
    let third = evening(&n, "2025-07-04").exits(0).json();
    assert!(stage(&third, "qc")["judged"].as_u64().unwrap() > 0, "{third}");
    assert!(n.excluded(&third, HELD).is_some(), "a hold outlives a judgement");
    {
        let desk = Desk::of(&n);
        desk.done(&["qc", "release", "equities_bars", "AAAA", "--why", "looked at"]);
        assert_eq!(desk.verdict(HELD), ("GREEN".into(), vec![]));
        let refused = desk.say(&["qc", "release", "equities_bars", "AAAA", "--why", "again"]).exits(2);
        assert!(refused.out.contains("nothing of equities_bars AAAA is held back"), "{}", refused.out);
    }
    let fourth = evening(&n, "2025-07-05").exits(0).json();
    assert!(n.excluded(&fourth, HELD).is_none());
    let said: Vec<(u64, Act, String)> = events(&n).into_iter().map(|l| (l.id, l.act, l.why)).collect();
    let want = [(1, Act::Hold, "two days mixed up".into()), (2, Act::Release, "looked at".into())];
    assert_eq!(said, want, "both are in the files");
}

#[test]
fn a_hold_of_days_to_come_applies_when_their_rows_come() {
    let sim = Sim::seeded(1, 1, "");
    let n = node(&sim);
    {
        let desk = Desk::of(&n);
        desk.done(&["qc", "hold", "equities_bars", "AAAA", "--from", "2025-06-10", "--to", "2025-06-11", "--why", "x"]);
    }
    let s = n.nightly(&[]).exits(0).json();
    assert!(n.excluded(&s, HELD).is_some() && n.excluded(&s, "equities_bars/AAAA/2025-06-11").is_some());
    counts(&s, "export", &[("excluded", 2)]);
}

#[test]
fn a_red_that_a_check_gave_is_never_released() {
    let bad = "alpaca: {rules: [{match: {dataset: equities_bars}, action: {bad_bar: high_below_low}}]}";
    let sim = Sim::seeded(1, 1, bad);
    let n = node(&sim);
    let s = n.nightly(&[]).exits(0).json();
    let text = std::fs::read_to_string(n.pack(&s).join("manifest.json")).unwrap();
    let m: Value = serde_json::from_str(&text).unwrap();
    let red = m["qc"]["excluded"][0]["partition"].as_str().unwrap().to_owned();
    let words: Vec<&str> = red.split('/').collect();
    let desk = Desk::of(&n);
    let before = desk.verdict(&red);
    let refused = desk.say(&[&["qc", "release"], &words[..], &["--why", "I like it"]].concat()).exits(2);
    assert!(refused.out.contains("RED never ships: mend the data"), "{}", refused.out);
    desk.done(&[&["qc", "hold"], &words[..], &["--why", "x"]].concat());
    let ended = desk.done(&[&["qc", "release"], &words[..], &["--why", "only the hold"]].concat());
    assert_eq!(ended["still_red"], 1, "{ended}");
    assert_eq!(desk.verdict(&red), before);
}

#[test]
fn amber_that_its_dataset_holds_back_ships_when_it_is_released() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = node(&sim);
    let rules = include_str!("../ops/config/datasets.yaml").replacen("amber: ship", "amber: hold", 1);
    let file = n.root.path().join("datasets.yaml");
    std::fs::write(&file, rules).unwrap();
    n.set("DATANODE__DATASETS", file.to_str().unwrap());
    n.nightly(&[]).exits(0);
    let label = ["--label", "deprecated", "--kind", "other", "--note", "a better feed exists"];
    {
        let desk = Desk::of(&n);
        desk.done(&[&["incident", "open", HELD], &label[..]].concat());
        assert_eq!(desk.verdict(HELD), ("AMBER".into(), vec!["incident_deprecated".into()]));
    }
    let held = evening(&n, "2025-07-03").exits(0).json();
    assert_eq!(n.excluded(&held, HELD).expect("AMBER is held back here")["status"], "AMBER");
    {
        let desk = Desk::of(&n);
        let said = desk.done(&["qc", "release", "equities_bars", "AAAA", "2025-06-10", "--why", "good enough"]);
        assert_eq!(said["released"], 1, "{said}");
        let (colour, reasons) = desk.verdict(HELD);
        assert_eq!((colour.as_str(), reasons.join(",")), ("AMBER", "released,incident_deprecated".into()));
    }
    let shipped = evening(&n, "2025-07-04").exits(0).json();
    assert!(n.excluded(&shipped, HELD).is_none(), "a person let it pass");
}

#[test]
fn an_incident_on_partitions_holds_them_back_until_it_is_closed() {
    let sim = Sim::seeded(2, 1, "");
    let n = node(&sim);
    n.nightly(&[]).exits(0);
    let said = ["--label", "invalid", "--kind", "wrong_mapping", "--note", "it is another company"];
    {
        let desk = Desk::of(&n);
        let artifact = "equities_bars/AAAA/2025-06-10..2025-06-12";
        let i = desk.done(&[&["incident", "open", artifact], &said[..], &["--replacement", "AAAB"]].concat());
        assert_eq!((&i["id"], &i["on_partitions"], &i["pages"]), (&1.into(), &true.into(), &1.into()), "{i}");
        assert_eq!(desk.verdict(HELD), ("RED".into(), vec!["incident_invalid".into()]));
        let refused = desk.say(&["qc", "release", "equities_bars", "AAAA", "2025-06-10", "--why", "x"]).exits(2);
        assert!(refused.out.contains("close the incident"), "{}", refused.out);
        let twice = desk.say(&[&["incident", "open", artifact], &said[..]].concat()).exits(2);
        assert!(twice.out.contains("incident 1 says so already"), "{}", twice.out);
    }
    let without = evening(&n, "2025-07-03").exits(0).json();
    counts(&without, "export", &[("excluded", 3)]);
    assert_eq!(n.excluded(&without, HELD).unwrap()["reasons"][0], "incident_invalid");
    {
        let desk = Desk::of(&n);
        desk.done(&["incident", "close", "1", "--why", "it was the same company"]);
        assert_eq!(desk.verdict(HELD), ("GREEN".into(), vec![]));
        assert_eq!(desk.done(&["incident", "list", "--open"])["total"], 0);
        assert_eq!(desk.done(&["incident", "1"])["closed_why"], "it was the same company");
        desk.say(&["incident", "close", "1", "--why", "x"]).exits(2);
        desk.say(&["incident", "close", "9", "--why", "x"]).exits(5);
    }
    let back = evening(&n, "2025-07-04").exits(0).json();
    counts(&back, "export", &[("excluded", 0)]);
}

#[test]
fn an_incident_on_a_pack_is_shown_wherever_packs_are_listed() {
    let sim = Sim::seeded(1, 1, "");
    let n = node(&sim);
    let s = n.nightly(&[]).exits(0).json();
    let id = s["export_id"].as_str().unwrap();
    {
        let desk = Desk::of(&n);
        let said = ["--label", "invalid", "--kind", "other", "--note", "the wrong universe"];
        let i = desk.done(&[&["incident", "open", id], &said[..], &["--replacement", "the next one"]].concat());
        assert_eq!(i["on_partitions"], false);
        assert_eq!(desk.done(&["packs"])["rows"][0]["labels"][0], "invalid");
        assert_eq!(desk.done(&["packs", "last"])["incidents"][0]["replacement"], "the next one");
        desk.say(&[&["incident", "open", "20200101T000000Z_datanode_full"], &said[..]].concat()).exits(5);
    }
    let listed = n.run(&["pack", "list"]).exits(0).out;
    assert!(listed.contains("invalid: the wrong universe (use the next one)"), "{listed}");
    let listed = n.run(&["pack", "list", "--json"]).exits(0).json();
    assert_eq!(listed["incidents"][0]["label"], "invalid");
}

#[test]
fn what_is_hostile_is_refused_and_nothing_is_written() {
    let sim = Sim::seeded(1, 1, "");
    let n = node(&sim);
    n.nightly(&[]).exits(0);
    let outside = n.root.path().join("universe.yaml");
    std::os::unix::fs::symlink(&outside, n.data().join("data_layer/raw/link")).unwrap();
    let desk = Desk::of(&n);
    let long = "x".repeat(60_000);
    let hold = ["qc", "hold", "equities_bars"];
    let open = ["incident", "open"];
    let said = ["--label", "invalid", "--kind", "other", "--note", "x"];
    for words in [
        [&hold[..], &["AAAA", "2025-06-10"]].concat(),
        [&hold[..], &["AAAA", "2025-06-10", "--why", ""]].concat(),
        [&hold[..], &["AAAA", "2025-06-10", "--why", "a\nb"]].concat(),
        [&hold[..], &["AAAA", "2025-06-10", "--why", &long]].concat(),
        [&hold[..], &["AAAA", "2025-06-10", "--from", "2025-06-10", "--why", "x"]].concat(),
        [&hold[..], &["AAAA", "--from", "2025-06-10", "--to", "2025-06-01", "--why", "x"]].concat(),
        [&hold[..], &["NOPE", "--why", "x"]].concat(),
        [&open[..], &["raw/../../universe.yaml"], &said[..]].concat(),
        [&open[..], &["raw/link"], &said[..]].concat(),
        [&open[..], &["raw/nothing.parquet"], &said[..]].concat(),
        [&open[..], &["equities_bars/NOPE"], &said[..]].concat(),
        [&open[..], &["a b"], &said[..]].concat(),
        [&open[..], &[&long], &said[..]].concat(),
        [&open[..], &["equities_bars/AAAA", "--label", "bad", "--kind", "other", "--note", "x"]].concat(),
        [&open[..], &["equities_bars/AAAA", "--label", "invalid", "--kind", "other", "--note", "a\u{1b}[31m"]].concat(),
    ] {
        let ran = desk.say(&words);
        assert!(matches!(ran.code, Some(2 | 5)), "{words:?}: {:?} {}", ran.code, ran.out);
    }
    assert!(events(&n).is_empty());
    assert_eq!(desk.verdict(HELD).0, "GREEN");
}

#[test]
fn a_crash_at_any_point_of_an_act_leaves_it_done_or_never_begun() {
    let sim = Sim::seeded(1, 1, "");
    for (at, done) in [
        ("files.before_lines:1", false),
        ("files.published:1", true),
        ("acts.written:1", true),
        ("acts.entered:1", true),
    ] {
        let n = node(&sim);
        n.nightly(&[]).exits(0);
        {
            let mut c = n.command(&["run", "--now", "2025-07-02T12:00:00Z"]);
            c.env("DATANODE_KILL_AT", at).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let live = Live::of(c.spawn().unwrap());
            let desk = Desk { node: &n, live: None };
            while desk.say(&["config"]).code != Some(0) {}
            desk.say(&["qc", "hold", "equities_bars", "AAAA", "2025-06-10", "--why", "x"]).exits(1);
            assert_eq!(live.wait().code, None, "{at}");
        }
        // What was half written when the power went.
        let file = n.data().join("data_layer/events/events-2025-07.jsonl");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, text + "{\"v\":1,\"id\":2,\"a").unwrap();
        let s = evening(&n, "2025-07-03").exits(0).json();
        assert_eq!(n.excluded(&s, HELD).is_some(), done, "{at}");
        assert_eq!(events(&n).len(), usize::from(done), "{at}");
        // The next act goes on behind it.
        let desk = Desk::of(&n);
        desk.done(&["qc", "hold", "equities_bars", "AAAA", "2025-06-11", "--why", "y"]);
        assert_eq!(events(&n).len(), usize::from(done) + 1, "{at}");
    }
}

#[test]
fn no_pack_while_an_event_file_is_damaged_and_the_acts_come_back_from_files_alone() {
    let sim = Sim::seeded(1, 1, "");
    let n = node(&sim);
    n.nightly(&[]).exits(0);
    {
        let desk = Desk::of(&n);
        desk.done(&["qc", "hold", "equities_bars", "AAAA", "2025-06-10", "--why", "x"]);
        let said = ["--label", "invalid", "--kind", "other", "--note", "n"];
        desk.done(&[&["incident", "open", "equities_bars/AAAA/2025-06-11"], &said[..]].concat());
        desk.done(&[&["incident", "open", "equities_bars/AAAA/2025-06-12"], &said[..]].concat());
        desk.done(&["incident", "close", "3", "--why", "w"]);
    }
    let file = n.data().join("data_layer/events/events-2025-07.jsonl");
    let good = std::fs::read_to_string(&file).unwrap();
    let packs = || support::tree(&n.data().join("exports")).len();
    let before = packs();
    for bad in [good.replace("\"why\":\"x\"", "\"why\":x"), good.replace("\"id\":2", "\"id\":7"), String::new()] {
        std::fs::write(&file, bad).unwrap();
        evening(&n, "2025-07-03").exits(3).says(&["no pack", "data_layer/events", "restore"]);
        assert_eq!(packs(), before, "the last pack stays");
        let desk = Desk::of(&n);
        desk.say(&["qc", "hold", "equities_bars", "AAAA", "2025-06-13", "--why", "y"]).exits(1);
    }
    std::fs::write(&file, &good).unwrap();
    let s = evening(&n, "2025-07-03").exits(0).json();
    counts(&s, "export", &[("excluded", 2)]);

    // A node that has the files and nothing of the old state.
    std::fs::remove_dir_all(n.data().join("state")).unwrap();
    let fresh = evening(&n, "2025-07-04");
    let fresh = fresh.exits(0).json();
    assert_eq!(n.excluded(&fresh, HELD).unwrap()["reasons"][0], "held");
    assert_eq!(n.excluded(&fresh, "equities_bars/AAAA/2025-06-11").unwrap()["reasons"][0], "incident_invalid");
    counts(&fresh, "export", &[("excluded", 2)]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), good, "nothing is said twice");
    let desk = Desk::of(&n);
    let all = desk.done(&["incident", "list"]);
    assert_eq!(
        (&all["total"], &all["rows"][0]["state"], &all["rows"][1]["state"]),
        (&2.into(), &"closed".into(), &"open".into())
    );
}

// --- what the node reports by itself ---

#[test]
fn an_answer_in_another_form_is_reported_once() {
    let html = "alpaca: {rules: [{match: {dataset: equities_bars}, action: html}]}";
    let sim = Sim::seeded(2, 1, html);
    let n = node(&sim);
    let asking = ["--stages", "ingest,audit,backfill"];
    n.nightly(&asking).exits(0);
    let want = one("unexpected_schema", "answers/alpaca/equities_bars", "deprecated", true);
    assert_eq!(incidents(&n), std::slice::from_ref(&want));
    let line = &events(&n)[0];
    assert_eq!(line.by, "node");
    let kept = line.evidence.clone().expect("where its body lies");
    assert!(n.data().join(&kept).is_file(), "{kept}");
    let before = n.lines().len();
    let next = ["nightly", "--json", "--now", "2025-07-03T23:00:00Z", "--as-of", "2025-06-30"];
    n.run(&[&next[..], &asking[..]].concat()).exits(0);
    assert!(n.lines().len() > before, "it was asked again, and answered in that form again");
    assert_eq!(incidents(&n), [want], "and is not reported again");
}

#[test]
fn a_file_that_is_not_its_table_is_reported() {
    let sim = Sim::seeded(1, 1, "");
    let n = node(&sim);
    n.nightly(&[]).exits(0);
    let raw = n.data().join("data_layer/raw/alpaca/equities_bars/year=2025/symbol=AAAA/data.parquet");
    std::fs::write(&raw, b"no table").unwrap();
    std::fs::remove_dir_all(n.data().join("data_layer/curated/equities_bars")).unwrap();
    n.nightly(&[]).exits(3);
    let aside = "raw/alpaca/equities_bars/year=2025/symbol=AAAA/data.damaged.parquet";
    assert_eq!(incidents(&n), [one("unexpected_schema", aside, "deprecated", true)]);
    assert!(n.data().join("data_layer").join(aside).is_file(), "raw is kept");
    evening(&n, "2025-07-03").exits(0);
}

#[test]
fn gaps_after_a_night_of_rate_limits_are_reported_until_they_are_filled() {
    // Each answer is a 429 with a reset that is too far away to wait for.
    let full = "alpaca: {rules: [{action: {status: {code: 429, retry_after: 900}}}]}";
    let sim = Sim::seeded(2, 1, full);
    let n = node(&sim);
    n.nightly(&["--stages", "ingest,audit,backfill"]).exits(0);
    assert_eq!(incidents(&n), [one("rate_limit_gaps", "gaps/equities_bars", "deprecated", true)]);
    assert!(events(&n)[0].evidence.as_deref().unwrap().contains("alpaca"), "{:?}", events(&n)[0]);
    let good = Sim::seeded(2, 1, "");
    let n = n.vendors(&["alpaca"], &good);
    // The budget stays closed until the reset that the vendor named: the days come from another one.
    let n = n.vendors(&["massive"], &good);
    evening(&n, "2025-07-03").exits(0);
    assert_eq!(incidents(&n), [one("rate_limit_gaps", "gaps/equities_bars", "deprecated", false)]);
}

#[test]
fn an_upload_that_differs_is_reported_and_closed_once_it_has_arrived() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = node(&sim);
    let to = n.root.path().join("nas");
    n.set("DATANODE__SHIP__FOLDER", to.to_str().unwrap());
    n.set("DATANODE__SHIP__MODE", "plain");
    let id = "20250702T230000Z_datanode_full";
    let there = to.join("exports/datanode").join(format!("export_{id}"));
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("SHA256SUMS.stable.txt"), "half of it").unwrap();
    n.nightly(&[]).exits(3).says(&["SHA256SUMS.stable.txt", "nothing there is overwritten"]);
    assert_eq!(incidents(&n), [one("checksum_mismatch", id, "deprecated", true)]);
    std::fs::remove_file(there.join("SHA256SUMS.stable.txt")).unwrap();
    let s = n.nightly(&[]).exits(0).json();
    assert_eq!(s["export_id"], id);
    assert_eq!(incidents(&n), [one("checksum_mismatch", id, "deprecated", false)]);
    assert!(support::differences(&n.pack(&s), &there).is_empty(), "and it was sent");
}

/// A node that collects the three heaviest markets each second.
fn collector(sim: &Sim) -> Node {
    let mut n = Node::new("universe: {}\n", SEEDED_NIGHT);
    point(&mut n, sim);
    n.set("DATANODE__BOOKS__TOP", "3");
    n.set("DATANODE__BOOKS__CADENCE_SECONDS", "1");
    n
}

fn point(n: &mut Node, sim: &Sim) {
    for (k, v) in [("ENABLED", "true"), ("BASE_URL", &sim.url), ("CLOB_BASE_URL", &sim.url), ("PER_SECOND", "0")] {
        n.set(&format!("DATANODE__VENDORS__POLYMARKET__{k}"), v);
    }
    n.set("DATANODE__VENDORS__POLYMARKET__PER_MINUTE", "0");
}

fn collect(n: &Node, ticks: &str) {
    n.run(&["collect-books", "--json", "--now", TEN, "--snapshots", ticks]).exits(0);
}

#[test]
fn a_book_of_another_token_is_reported() {
    let other = "polymarket: {rules: [{match: {path_contains: /books}, first: 1, action: {bad_bar: hostile_symbol}}]}";
    let sim = Sim::at(market(1, 1), other, Some(TEN));
    let n = collector(&sim);
    collect(&n, "2");
    assert_eq!(incidents(&n), [one("wrong_mapping", "answers/polymarket/prediction_books", "deprecated", true)]);
}

#[test]
fn tokens_that_change_places_under_their_outcomes_are_reported_across_a_restart() {
    let sim = Sim::at(market(1, 1), "", Some(TEN));
    let mut n = collector(&sim);
    collect(&n, "1");
    collect(&n, "1");
    assert!(incidents(&n).is_empty(), "the same description is no incident");
    let swapped = "polymarket: {rules: [{match: {path_contains: /markets}, action: {bad_bar: high_below_low}}]}";
    let swapped = Sim::at(market(1, 1), swapped, Some(TEN));
    point(&mut n, &swapped);
    collect(&n, "1");
    let all = incidents(&n);
    assert_eq!(all.len(), 3, "each of the three markets: {all:?}");
    for (kind, artifact, label, open) in all {
        assert_eq!((kind.as_str(), label.as_str(), open), ("wrong_mapping", "invalid", true));
        let right = artifact.starts_with("prediction_books/0x") && artifact.ends_with("/2025-07-01..");
        assert!(right, "{artifact}");
    }
}

#[test]
fn a_gzip_file_that_was_not_closed_is_reported() {
    let sim = Sim::at(market(1, 1), "", Some(TEN));
    let n = collector(&sim);
    let mut c = n.command(&["collect-books", "--now", TEN, "--snapshots", "2"]);
    assert_eq!(support::run(c.env("DATANODE_KILL_AT", "books.closing:1")).code, None);
    let file = "polymarket/prediction_books/date=2025-07-01/10.jsonl.gz";
    let open = n.data().join("data_layer/raw").join(format!("{file}.open"));
    let length = std::fs::metadata(&open).unwrap().len();
    std::fs::File::options().write(true).open(&open).unwrap().set_len(length * 7 / 10).unwrap();
    collect(&n, "1");
    assert_eq!(incidents(&n), [one("gzip_not_closed", &format!("raw/{file}"), "deprecated", true)]);
}

// --- over a store of our own: what no command reaches ---

struct Own {
    dir: tempfile::TempDir,
    store: Store,
    acts: Acts,
}

fn number(date: &str) -> i32 {
    day_number(date.parse().unwrap())
}

fn january() -> PageKey {
    let month = Month::of("2024-01-01".parse().unwrap());
    PageKey { dataset: Dataset::EquitiesBarsMinute, symbol: "AAPL".into(), month }
}

impl Own {
    /// Sessions of January 2024 as a stage judged them.
    fn new(days: &[(&str, u64)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_bytes: 4 << 20, free_space_floor: 0, ..StoreOptions::default() };
        let store = Store::open(&dir.path().join("state"), &trees::all(), &options).unwrap();
        let clock = Clock::frozen("2024-02-01T06:00:00Z".parse().unwrap());
        let own = Self { acts: Acts::new(store.clone(), DataDir::new(dir.path()), clock), store, dir };
        own.judged(days);
        own
    }
    fn judged(&self, days: &[(&str, u64)]) {
        let day = |(d, reasons): &(&str, u64)| LedgerDay {
            day: number(d),
            verdict: Reason::worst(*reasons).number(),
            reasons: *reasons,
            expected: 390,
            rows: 390,
            vendor: 2,
            context: 7,
            first_seen: 1,
            updated_at: 1,
            print: Print::default(),
        };
        let days: Vec<LedgerDay> = days.iter().map(day).collect();
        let mut b = Batch::new();
        b.put(&LEDGER, &january(), &LedgerPage::pack(january().month.first_day(), &days)).unwrap();
        self.store.commit(b).unwrap();
    }
    fn reasons(&self) -> Vec<Vec<&'static str>> {
        let page = self.store.load(&LEDGER, &january()).unwrap().unwrap();
        let days = page.days(january().month.first_day());
        assert!(days.iter().all(|d| Verdict::from_number(d.verdict) == Some(Reason::worst(d.reasons))));
        days.iter().map(|d| Reason::names(d.reasons)).collect()
    }
    fn incidents(&self) -> Vec<(String, bool)> {
        let all = self.store.load_all(&trees::INCIDENTS, &[]).unwrap();
        all.into_iter().map(|(_, i)| (i.artifact.clone(), i.is_open())).collect()
    }
}

#[test]
fn misread_sessions_are_one_incident_a_run_and_mended_when_they_are_judged_well() {
    let misread = Reason::MISREAD_TIMESTAMPS.bit;
    // Friday and Tuesday follow one another: Monday was a holiday.
    let days = ["2024-01-11", "2024-01-12", "2024-01-16"];
    let own = Own::new(&[(days[0], 0), (days[1], misread), (days[2], misread)]);
    let both = [("AAPL".to_owned(), number(days[1])), ("AAPL".to_owned(), number(days[2]))];
    let dataset = Dataset::EquitiesBarsMinute;
    seen::misread(&own.acts, dataset, Calendar::Xnys, &both, &[]);
    seen::misread(&own.acts, dataset, Calendar::Xnys, &both, &[]);
    let artifact = "equities_bars_minute/AAPL/2024-01-12..2024-01-16".to_owned();
    assert_eq!(own.incidents(), [(artifact.clone(), true)], "one, and once");
    let labelled = vec!["misread_timestamps", "incident_invalid"];
    assert_eq!(own.reasons(), [vec![], labelled.clone(), labelled]);
    // The days were asked for again, and are judged well.
    own.judged(&[(days[0], 0), (days[1], 0), (days[2], 0)]);
    seen::misread(&own.acts, dataset, Calendar::Xnys, &[], &both);
    own.acts.settle_all().unwrap();
    assert_eq!(own.incidents(), [(artifact, false)]);
    assert_eq!(own.reasons(), [vec![], vec![], Vec::<&str>::new()]);
    assert!(own.dir.path().join("data_layer/events/events-2024-02.jsonl").is_file());
}

#[test]
fn a_stage_that_writes_over_what_was_said_is_set_right_before_the_next_pack() {
    let days = [("2024-01-11", 0), ("2024-01-12", Reason::THIN_SESSION.bit)];
    let own = Own::new(&days);
    let span = |from: &str| Span {
        dataset: Dataset::EquitiesBarsMinute,
        symbol: "AAPL".into(),
        from: number(from),
        to: i32::MAX,
    };
    let done = own.acts.hold(&span("2024-01-12"), "uid 7", "x").unwrap();
    assert_eq!((done.act, done.pages), (1, 1));
    assert_eq!(own.reasons(), [vec![], vec!["thin_session", "held"]]);
    assert_eq!(own.store.load(&COUNTERS, &"status_dirty".to_owned()).unwrap(), Some(1));
    // It had read the page before the hold.
    own.judged(&days);
    assert_eq!(own.acts.settle_all().unwrap(), 1);
    assert_eq!(own.reasons(), [vec![], vec!["thin_session", "held"]]);
    assert_eq!(own.acts.settle_all().unwrap(), 0, "and nothing is written twice");
    // A stage that asks first has nothing set right afterwards.
    let q = Quarantine::load(&own.store).unwrap();
    let manual = q.of(Dataset::EquitiesBarsMinute, "AAPL");
    own.judged(&days.map(|(d, r)| (d, manual.apply(number(d), r))));
    assert_eq!(own.acts.settle_all().unwrap(), 0);
}

#[test]
fn two_people_and_a_stage_at_once_lose_nothing() {
    let own = Own::new(&[("2024-01-11", 0), ("2024-01-12", 0)]);
    let hold = |d: &str, by: &str| {
        let span = Span { dataset: Dataset::EquitiesBarsMinute, symbol: "AAPL".into(), from: number(d), to: number(d) };
        for _ in 0..20 {
            own.acts.hold(&span, by, "x").unwrap();
        }
    };
    std::thread::scope(|s| {
        s.spawn(|| hold("2024-01-11", "uid 1"));
        s.spawn(|| hold("2024-01-12", "uid 2"));
        s.spawn(|| (0..20).for_each(|_| own.judged(&[("2024-01-11", 0), ("2024-01-12", Reason::OUTLIER.bit)])));
    });
    own.acts.settle_all().unwrap();
    assert_eq!(own.reasons(), [vec!["held"], vec!["outlier", "held"]], "the stage's verdict and both holds");
    let lines = acts::read_all(&DataDir::new(own.dir.path())).unwrap();
    assert_eq!(lines.len(), 40);
}
