//! The collector of prediction markets: the real binary, the simulator over real sockets, real kills.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_vendorsim::Vendor;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::{ADMIN, Draw, Live, Node, SEEDED_NIGHT, Sim, market, python, tree};

const TEN: &str = "2025-07-01T10:30:00Z";
const ELEVEN: &str = "2025-07-01T11:00:00Z";
const RAW: &str = "data_layer/raw/polymarket/prediction_books/date=2025-07-01";

fn sim(faults: &str) -> Sim {
    Sim::at(market(1, 1), faults, Some(TEN))
}

/// A node that collects the three heaviest markets (six tokens) each second.
fn node(sim: &Sim) -> Node {
    let mut n = Node::new("universe: {}\n", SEEDED_NIGHT);
    let key = |k: &str| format!("DATANODE__VENDORS__POLYMARKET__{k}");
    n.set(&key("ENABLED"), "true");
    n.set(&key("BASE_URL"), &sim.url);
    n.set(&key("CLOB_BASE_URL"), &sim.url);
    n.set(&key("PER_SECOND"), "0");
    n.set(&key("PER_MINUTE"), "0");
    n.set("DATANODE__BOOKS__TOP", "3");
    n.set("DATANODE__BOOKS__CADENCE_SECONDS", "1");
    n
}

fn collect(n: &Node, now: &str, ticks: &str) -> Value {
    n.run(&["collect-books", "--json", "--now", now, "--snapshots", ticks]).exits(0).json()
}

/// The lines of each file, as zcat gives them; a file that zcat finds fault with only where `torn`.
fn zcat(n: &Node, torn: bool) -> BTreeMap<String, Vec<String>> {
    let folder = n.data().join(RAW);
    let files = tree(&folder).into_keys().filter(|f| f.contains(".jsonl.gz"));
    files
        .map(|f| {
            let file = std::fs::File::open(folder.join(&f)).unwrap();
            let out = Command::new("zcat").stdin(file).output().unwrap();
            assert!(torn || out.status.success(), "{f}: {}", String::from_utf8_lossy(&out.stderr));
            let text = String::from_utf8(out.stdout).unwrap();
            let whole = text.rfind('\n').map_or("", |i| &text[..=i]);
            (f, whole.lines().map(str::to_owned).collect())
        })
        .collect()
}

/// One manifest line for each closed file, with its sum and its rows; every book has the line's request id.
#[track_caller]
fn assert_manifest(n: &Node) {
    let files = zcat(n, false);
    let on_disk = tree(&n.data().join(RAW));
    let lines = n.lines();
    assert_eq!(lines.len(), files.len(), "one line a file: {lines:?}");
    for l in lines {
        let path = l.files[0].path.rsplit('/').next().unwrap().to_owned();
        assert_eq!(l.files[0].sha256, on_disk[&path].0, "{path}");
        assert_eq!(l.rows as usize, files[&path].len(), "{path}");
        assert!(files[&path].iter().all(|b| b.contains(&l.request_id)), "{path}: another request id");
    }
}

#[test]
fn each_hour_is_a_closed_file_and_a_restart_never_touches_one() {
    let sim = sim("");
    let n = node(&sim);
    let s = collect(&n, TEN, "2");
    assert_eq!(
        (&s["books"], &s["tokens"], &s["gaps"], &s["missed_ticks"]),
        (&12.into(), &6.into(), &0.into(), &0.into())
    );
    let first = tree(&n.data().join(RAW));
    assert_eq!(first.keys().collect::<Vec<_>>(), ["10.jsonl.gz"]);
    collect(&n, TEN, "1");
    collect(&n, ELEVEN, "1");
    let all = tree(&n.data().join(RAW));
    assert_eq!(all.keys().collect::<Vec<_>>(), ["10-1.jsonl.gz", "10.jsonl.gz", "11.jsonl.gz"]);
    assert_eq!(all["10.jsonl.gz"], first["10.jsonl.gz"], "bytes and time of a closed file");
    assert_manifest(&n);
    let book: Value = serde_json::from_str(&zcat(&n, false)["10.jsonl.gz"][0]).unwrap();
    let fields: BTreeSet<&str> = book.as_object().unwrap().keys().map(String::as_str).collect();
    let want = ["asks", "asset_id", "bids", "hash", "market", "received_at", "request_id", "timestamp"];
    assert_eq!(fields, BTreeSet::from(want));
    assert!(book["bids"][0]["price"].is_string() && book["timestamp"].is_string(), "as it came: {book}");

    let curate = ["--stages", "curate"];
    n.nightly(&curate).exits(0);
    let curated = n.data().join("data_layer/curated/prediction_books");
    let built = tree(&curated);
    assert_eq!(built.keys().collect::<Vec<_>>(), ["date=2025-07-01/data.parquet"]);
    n.nightly(&curate).exits(0);
    assert_eq!(tree(&curated), built, "nothing came: not written again");
    if let Some(p) = python("check_books.py", &[&n.data()]) {
        println!("{}", p.exits(0).out);
    }
    std::fs::remove_dir_all(&curated).unwrap();
    n.nightly(&curate).exits(0);
    let sums = |t: &support::Tree| t.iter().map(|(k, (s, _))| (k.clone(), s.clone())).collect::<Vec<_>>();
    assert_eq!(sums(&tree(&curated)), sums(&built), "the same files give the same bytes");
}

/// After a kill: every whole book that was on the disk is in a closed file, closed files are as they were.
#[track_caller]
fn assert_recovers(n: &Node, when: &str) {
    let before = tree(&n.data().join(RAW));
    let had: Vec<String> = zcat(n, true).into_values().flatten().collect();
    let s = collect(n, TEN, "1");
    let after = tree(&n.data().join(RAW));
    for (name, was) in before.iter().filter(|(n, _)| n.ends_with(".gz")) {
        assert_eq!(&after[name], was, "{when}: {name} was touched");
    }
    assert!(after.keys().all(|k| k.ends_with(".jsonl.gz")), "{when}: left over: {:?}", after.keys());
    let mut have: Vec<String> = zcat(n, false).into_values().flatten().collect();
    assert_eq!(have.len(), had.len() + s["books"].as_u64().unwrap() as usize, "{when}: books lost or doubled");
    have.sort_unstable();
    for b in had {
        assert!(have.binary_search(&b).is_ok(), "{when}: lost {b}");
    }
    assert_manifest(n);
}

#[test]
fn a_kill_at_any_place_loses_no_book_that_was_kept_and_touches_no_closed_file() {
    let sim = sim("");
    let args = ["collect-books", "--json", "--now", TEN, "--snapshots", "2"];
    let count = node(&sim);
    let counted = count.root.path().join("places");
    let mut c = count.command(&args);
    support::run(c.env("DATANODE_KILL_COUNT", &counted)).exits(0);
    let places: u64 = std::fs::read_to_string(&counted).unwrap().parse().unwrap();
    assert!(places > 5, "{places} places");
    let seed = 20_251_121;
    let (mut draw, mut killed) = (Draw(seed), 0);
    let named = ["books.appended:1", "books.appended:2", "books.closing:1", "books.closed:1", "books.noted:1"];
    let drawn: Vec<String> = (0..4).map(|_| (1 + draw.below(places)).to_string()).collect();
    let n = node(&sim);
    for at in named.iter().map(|s| (*s).to_owned()).chain(drawn) {
        let mut c = n.command(&args);
        let ran = support::run(c.env("DATANODE_KILL_AT", &at));
        killed += u32::from(ran.code.is_none());
        assert_recovers(&n, &format!("killed at {at} (seed {seed})"));
    }
    assert!(killed >= 6, "only {killed} runs were killed");
}

#[test]
fn a_torn_file_is_cut_back_and_a_kill_while_it_is_recovered_costs_nothing() {
    let sim = sim("");
    let kill_at = |n: &Node, at: &str| {
        let mut c = n.command(&["collect-books", "--now", TEN, "--snapshots", "2"]);
        assert_eq!(support::run(c.env("DATANODE_KILL_AT", at)).code, None, "{at}");
    };
    for (share, again) in [(99, "books.recovered:1"), (70, "books.closing:1"), (40, "books.closed:1"), (1, ""), (0, "")]
    {
        let n = node(&sim);
        kill_at(&n, "books.closing:1");
        let open = n.data().join(RAW).join("10.jsonl.gz.open");
        let whole = zcat(&n, false).into_values().flatten().count();
        let length = std::fs::metadata(&open).unwrap().len();
        std::fs::File::options().write(true).open(&open).unwrap().set_len(length * share / 100).unwrap();
        let left = zcat(&n, true).into_values().flatten().count();
        assert!(whole == 12 && left < whole && (share < 40 || left > 0), "{left} of {whole} books at {share} %");
        if !again.is_empty() {
            kill_at(&n, again);
        }
        assert_recovers(&n, &format!("cut to {share} %, killed again at {again:?}"));
    }
}

/// Starts a node and waits until books were kept twice.
fn started(n: &mut Node, args: &[&str]) -> Live {
    n.set("DATANODE__LOG__LEVEL", "info,datanode_actors=debug");
    let mut c = n.command(args);
    let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut err = BufReader::new(live.child().stderr.take().unwrap());
    let (mut line, mut kept) = (String::new(), 0);
    while kept < 2 {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "it ended before it kept books");
        kept += u32::from(line.contains("books are kept"));
    }
    live.child().stderr = Some(err.into_inner());
    live
}

#[test]
fn the_running_node_shows_its_gaps_and_closes_its_file_on_sigterm() {
    let sim = sim("");
    let mut n = node(&sim);
    let live = started(&mut n, &["run", "--now", TEN]);
    let seen = support::run(&mut n.program(ADMIN, &["--json", "books", "--limit", "2"])).exits(0).out;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let seen = seen.get("result").unwrap_or(&seen);
    assert!(seen["counters"]["books"].as_u64().unwrap() >= 12 && seen["total"] == 6, "{seen}");
    assert_eq!((seen["rows"].as_array().unwrap().len(), &seen["rows"][0]["gaps"]), (2, &0.into()));
    live.signal(nix::sys::signal::Signal::SIGTERM);
    live.wait().exits(0);
    assert_eq!(tree(&n.data().join(RAW)).keys().collect::<Vec<_>>(), ["10.jsonl.gz"]);
    assert_manifest(&n);
    let live = started(&mut n, &["collect-books", "--now", TEN]);
    live.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(live.wait().code, None);
    assert!(n.data().join(RAW).join("10.jsonl.gz.open").exists());
    assert_recovers(&n, "killed from outside");
}

#[test]
fn a_block_stops_every_request_and_a_restart_does_not_forget_it() {
    let blocked = "polymarket: {rules: [{match: {path_contains: /books}, first: 1, action: {status: {code: 403, body: 'error code: 1010'}}}]}";
    let sim = sim(blocked);
    let n = node(&sim);
    let s = collect(&n, TEN, "3");
    assert_eq!(
        (&s["blocked"], &s["books"], &s["missed_ticks"], &s["gaps"]),
        (&1.into(), &0.into(), &2.into(), &18.into())
    );
    let asked = sim.stats.vendor(Vendor::Polymarket).requests;
    let s = collect(&n, TEN, "2");
    assert_eq!((&s["requests"], &s["missed_ticks"]), (&0.into(), &2.into()), "{s}");
    assert!(s["budget_spent"].as_u64().unwrap() <= 2, "once a tick: {s}");
    assert_eq!(sim.stats.vendor(Vendor::Polymarket).requests, asked, "the vendor is left alone");
}

#[test]
fn limits_are_kept_by_the_servers_count_while_answers_fail() {
    let faults = "polymarket: {rate_limit: {per_second: 3}, rules: [{match: {path_contains: /books}, every: 4, action: {status: {code: 429}}}, {match: {path_contains: /books}, every: 5, action: html}, {match: {path_contains: /books}, every: 3, action: truncate}]}";
    let sim = sim(faults);
    let mut n = node(&sim);
    n.set("DATANODE__VENDORS__POLYMARKET__PER_SECOND", "2");
    n.set("DATANODE__BOOKS__TOP", "0");
    let s = collect(&n, TEN, "9");
    let stats = sim.stats.vendor(Vendor::Polymarket);
    assert_eq!(stats.rate_limit_violations, 0, "{stats:?}");
    assert_eq!(stats.requests, s["requests"].as_u64().unwrap(), "{s}");
    assert!(
        s["books"].as_u64().unwrap() > 0 && s["failed"].as_u64().unwrap() > 0 && s["gaps"].as_u64().unwrap() > 0,
        "{s}"
    );
    assert_eq!(s["ticks"], 9);
    assert_manifest(&n);
}

#[test]
fn hostile_books_are_kept_as_they_came_or_not_at_all() {
    let faults = "polymarket: {rules: [{match: {path_contains: /books}, first: 1, action: {bad_bar: high_below_low}}, {match: {path_contains: /books}, first: 2, action: {bad_bar: out_of_range_stamp}}, {match: {path_contains: /books}, first: 3, action: {bad_bar: hostile_symbol}}]}";
    let sim = sim(faults);
    let n = node(&sim);
    let s = collect(&n, TEN, "4");
    assert_eq!((&s["crossed"], &s["odd"]), (&6.into(), &6.into()), "{s}");
    assert_eq!(s["books_rejected"], 6, "{s}");
    assert_manifest(&n);
    n.nightly(&["--stages", "curate"]).exits(0);
    if let Some(p) = python("check_books.py", &[&n.data()]) {
        println!("{}", p.exits(0).out);
    }
}

#[test]
fn wrong_settings_say_what_to_do() {
    let sim = sim("");
    let mut n = node(&sim);
    n.set("DATANODE__BOOKS__MARKETS", "no such market!");
    n.run(&["collect-books", "--snapshots", "1"]).exits(1).says(&["books.markets", "event:SLUG"]);
    n.set("DATANODE__BOOKS__MARKETS", "will-outcome-0-happen,event:event-1");
    let s = collect(&n, TEN, "1");
    assert_eq!(s["tokens"], 8, "one market and the three of an event: {s}");
    n.set("DATANODE__VENDORS__POLYMARKET__ENABLED", "false");
    n.run(&["collect-books"]).exits(2).says(&["vendors.polymarket.enabled is false"]);
}
