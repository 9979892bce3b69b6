//! The admin socket and its client, over a real socket and a real store.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "admin/node.rs"]
mod node;

use datanode::admin::client::{Session, script};
use datanode::admin::render::Style;
use node::{Filling, Node};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const WIDE: Style = Style { width: None, colour: false };

/// The lines of one connection, by hand.
struct Raw(BufReader<UnixStream>);

impl Raw {
    fn to(node: &Node) -> Self {
        let stream = UnixStream::connect(node.folder.join("admin.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(BufReader::new(stream))
    }
    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
    fn ask(&mut self, cmd: &str, args: Value) -> Value {
        self.send(format!("{}\n", json!({"id": cmd, "cmd": cmd, "args": args})).as_bytes());
        let answer = self.answer();
        assert_eq!(answer["id"], cmd);
        answer
    }
}

fn code(answer: &Value) -> &str {
    assert_eq!(answer["ok"], false, "{answer}");
    answer["error"]["code"].as_str().unwrap()
}

/// The commands of a script with what they print now.
fn transcript(text: &str) -> String {
    let head: Vec<&str> = text.lines().take_while(|l| l.starts_with('#')).collect();
    let setting = |name: &str| head.iter().find_map(|l| l.strip_prefix(&format!("# {name}: ")));
    let node = Node::start(if setting("node") == Some("empty") { Filling::Empty } else { Filling::Full });
    let style = Style { width: setting("width").map(|w| w.parse().unwrap()), colour: false };
    let mut session = Session::new(&node.folder, setting("output") == Some("json"));
    let mut out = head.join("\n") + "\n";
    for command in text.lines().filter_map(|l| l.strip_prefix("> ")) {
        let done = session.line(command, &style);
        out.push_str(&format!("> {command}\n{}{}", done.out, done.err));
        if done.code != 0 {
            out.push_str(&format!("(exit {})\n", done.code));
        }
    }
    let me = format!("uid {}", nix::unistd::geteuid());
    let out = out.replace(node.folder.to_str().unwrap(), "<data>").replace(&me, "uid <me>");
    // The hash of the built-in registry changes with its texts.
    let read: Vec<String> =
        out.lines().filter_map(|l| l.strip_prefix("new sha256")).map(|h| h.trim().to_owned()).collect();
    read.iter().fold(out, |out, hash| out.replace(hash, "<sha256>"))
}

#[test]
fn every_golden_script_prints_what_it_printed() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/repl"));
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts.iter().filter(|p| p.extension().is_some_and(|e| e == "txt")) {
        let expected = std::fs::read_to_string(path).unwrap();
        let got = transcript(&expected);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &got).unwrap();
        } else {
            assert!(got == expected, "{} differs (UPDATE_GOLDEN=1 writes it anew); now:\n{got}", path.display());
        }
    }
}

#[test]
fn a_reload_is_taken_whole_or_refused_with_file_line_and_field() {
    let node = Node::start(Filling::Full);
    let mut raw = Raw::to(&node);
    let file = node.folder.join("universe.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let before = raw.ask("config", json!({}));
    for (text, says) in [
        (good.replace("AAPL: [{from: 2024-01-02}]", "AAPL: [{form: 2024-01-02}]"), ":3: "),
        (good.replace("DGS10", "../DGS10"), "is no symbol"),
        ("universe: [".to_owned(), "universe.yaml:"),
        (String::new(), "universe.yaml:1: "),
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = raw.ask("config.reload", json!({}));
        assert_eq!(code(&refused), "bad_config");
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("universe.yaml:") && message.contains(says), "{message}");
        assert_eq!(raw.ask("config", json!({}))["result"]["sha256"], before["result"]["sha256"], "the old one stays");
        assert_eq!(raw.ask("gaps", json!({"symbol": "MSFT"}))["ok"], true);
    }
    std::fs::write(&file, good.replace("    MSFT: [{from: 2024-01-02}]\n", "    NVDA: [{from: 2024-01-02}]\n"))
        .unwrap();
    let taken = raw.ask("config.reload", json!({}));
    assert_eq!(taken["result"]["changed"], true, "{taken}");
    let after = raw.ask("config", json!({}));
    assert_eq!(after["result"]["sha256"], taken["result"]["new_sha256"]);
    assert_eq!((&after["result"]["reloads"]["taken"], &after["result"]["reloads"]["refused"]), (&json!(1), &json!(4)));
    assert_eq!(raw.ask("gaps", json!({"symbol": "NVDA"}))["ok"], true, "the new universe holds");
    assert_eq!(raw.ask("config.reload", json!({}))["result"]["changed"], false);
}

#[test]
fn a_pause_and_a_cancelled_task_survive_a_restart() {
    let node = Node::start(Filling::Full);
    let mut raw = Raw::to(&node);
    assert_eq!(raw.ask("queue.pause", json!({"vendor": "fred"}))["result"], json!({"vendor": "fred", "paused": true}));
    let cancelled = raw.ask("queue.cancel", json!({"dataset": "equities_bars", "symbol": "AAPL", "to": "2024-01-12"}));
    assert_eq!(cancelled["result"]["changed"], 2, "{cancelled}");
    // A symbol that is named without its dataset is meant in each, and no other symbol is.
    let of_symbol = raw.ask("queue.retry", json!({"symbol": "DGS10"}));
    assert_eq!(of_symbol["result"]["changed"], 1, "{of_symbol}");
    drop(raw);
    let node = node.restart();
    let mut raw = Raw::to(&node);
    let vendors = raw.ask("vendors", json!({}));
    let paused: Vec<&str> = vendors["result"]["vendors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["paused"] == true)
        .map(|v| v["vendor"].as_str().unwrap())
        .collect();
    assert_eq!(paused, ["fred"]);
    assert_eq!(raw.ask("queue.list", json!({"state": "cancelled"}))["result"]["total"], 2);
    assert_eq!(raw.ask("queue.retry", json!({"dataset": "equities_bars"}))["result"]["changed"], 2);
    assert_eq!(raw.ask("queue.list", json!({"state": "cancelled"}))["result"]["total"], 0);
}

#[test]
fn a_hostile_line_gets_an_answer_and_the_next_line_too() {
    let node = Node::start(Filling::Full);
    let mut raw = Raw::to(&node);
    let nested = "[".repeat(50_000) + "\n";
    for (line, expected) in [
        (&b"\xff\xfe\x00\n"[..], "bad_request"),
        (b"\n", "bad_request"),
        (b"GET / HTTP/1.1\r\n", "bad_request"),
        (b"{\"id\":1,\"cmd\":\n", "bad_request"),
        (b"null\n", "bad_request"),
        (b"{\"id\":{},\"cmd\":\"status\"}\n", "bad_request"),
        (b"{\"id\":1,\"cmd\":[\"status\"]}\n", "bad_request"),
        (b"{\"id\":1,\"cmd\":\"status\",\"args\":\"x\"}\n", "bad_request"),
        (nested.as_bytes(), "bad_request"),
        (b"{\"id\":1,\"cmd\":\"queue.lits\"}\n", "unknown_command"),
        (b"{\"id\":1,\"cmd\":\"queue.list\",\"args\":{\"symbol\":7}}\n", "bad_args"),
        (b"{\"id\":1,\"cmd\":\"queue.list\",\"args\":{\"offset\":1e99}}\n", "bad_args"),
        (b"{\"id\":1,\"cmd\":\"gaps\",\"args\":{\"symbol\":\"\\u0000\\u001b[2J\"}}\n", "not_found"),
    ] {
        raw.send(line);
        assert_eq!(code(&raw.answer()), expected, "{}", String::from_utf8_lossy(line));
    }
    assert_eq!(raw.ask("status", json!({}))["ok"], true);
    let unknown = raw.ask("queue.lits", json!({}));
    assert!(unknown["error"]["message"].as_str().unwrap().contains("did you mean `queue.list`?"), "{unknown}");
}

#[test]
fn a_line_may_have_64_kib_and_not_a_byte_more() {
    let node = Node::start(Filling::Full);
    let mut raw = Raw::to(&node);
    let line = |length: usize| {
        let mut l = br#"{"id":1,"cmd":"status"}"#.to_vec();
        l.resize(length, b' ');
        l.push(b'\n');
        l
    };
    raw.send(&line(65_536));
    assert_eq!(raw.answer()["ok"], true);
    raw.send(&line(65_537));
    assert_eq!(code(&raw.answer()), "too_long");
    raw.send(&line(1_000_000));
    assert_eq!(code(&raw.answer()), "too_long");
    assert_eq!(raw.ask("leases", json!({}))["ok"], true, "what follows the newline is read as ever");
}

#[test]
fn half_a_line_is_answered_when_the_client_ends() {
    let node = Node::start(Filling::Full);
    let mut raw = Raw::to(&node);
    raw.send(br#"{"id":1,"cmd":"sta"#);
    raw.0.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    let answer = raw.answer();
    assert_eq!(code(&answer), "bad_request");
    assert!(answer["error"]["message"].as_str().unwrap().contains("newline"));
    let mut rest = Vec::new();
    assert_eq!(raw.0.read_to_end(&mut rest).unwrap(), 0, "then the node closes");
}

#[test]
fn a_client_that_does_not_read_holds_up_no_other() {
    let node = Node::start(Filling::Full);
    let slow = UnixStream::connect(node.folder.join("admin.sock")).unwrap();
    slow.set_nonblocking(true).unwrap();
    let line = format!("{}\n", json!({"id": 1, "cmd": "queue.list", "args": {"limit": 1000}}));
    // Until the node has stopped reading from it, its answers standing unread.
    while (&slow).write_all(line.as_bytes()).is_ok() {}
    let mut quick = Raw::to(&node);
    let mut other = Raw::to(&node);
    for _ in 0..20 {
        assert_eq!(quick.ask("status", json!({}))["ok"], true);
        assert_eq!(other.ask("queue.list", json!({}))["ok"], true);
    }
}

#[test]
fn one_client_too_many_is_told_so_and_the_others_go_on() {
    let node = Node::start(Filling::Empty);
    let mut clients: Vec<Raw> = (0..datanode::admin::MAX_CLIENTS).map(|_| Raw::to(&node)).collect();
    let mut late = Raw::to(&node);
    assert_eq!(code(&late.answer()), "busy");
    for c in &mut clients {
        assert_eq!(c.ask("leases", json!({}))["ok"], true);
    }
}

#[test]
fn pages_put_together_are_the_whole_list() {
    let node = Node::start(Filling::Full);
    let mut raw = Raw::to(&node);
    for (cmd, args) in [
        ("queue.list", json!({})),
        ("queue.list", json!({"state": "missing"})),
        ("gaps", json!({"symbol": "AAPL"})),
        ("bookmarks", json!({})),
        ("qc.show", json!({"dataset": "equities_bars", "symbol": "AAPL"})),
        ("qc.red", json!({})),
        ("runs", json!({})),
        ("packs", json!({})),
        ("leases", json!({})),
    ] {
        let whole = raw.ask(cmd, args.clone())["result"].clone();
        let total = whole["total"].as_u64().unwrap();
        assert!(total > 1, "{cmd} has nothing to page over");
        let mut rows = Vec::new();
        for offset in 0..=total {
            let mut args = args.clone();
            args["limit"] = 1.into();
            args["offset"] = offset.into();
            let page = raw.ask(cmd, args)["result"].clone();
            assert_eq!((page["total"].as_u64(), page["offset"].as_u64()), (Some(total), Some(offset)));
            rows.extend(page["rows"].as_array().unwrap().clone());
        }
        assert_eq!(Value::Array(rows), whole["rows"], "{cmd}");
    }
}

#[test]
fn a_filter_keeps_what_it_names_and_counts_it() {
    let node = Node::start(Filling::Full);
    let mut raw = Raw::to(&node);
    let all = raw.ask("queue.list", json!({}))["result"].clone();
    for state in ["missing", "explained", "pending", "unobtainable", "short"] {
        let some = raw.ask("queue.list", json!({"state": state}))["result"].clone();
        assert!(some["rows"].as_array().unwrap().iter().all(|r| r["state"] == state));
        assert_eq!(some["total"], all["by_state"][state], "{state}");
    }
    let june = raw.ask("queue.list", json!({"from": "2024-01-10", "to": "2024-01-12"}))["result"].clone();
    assert!(
        june["rows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|r| ("2024-01-10"..="2024-01-12").contains(&r["day"].as_str().unwrap()))
    );
}

#[test]
fn a_script_goes_on_after_a_failure_and_ends_with_the_last_ones_code() {
    let node = Node::start(Filling::Full);
    let run = |text: &str| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = script(&mut Session::new(&node.folder, false), text.as_bytes(), &mut out, &mut err, &WIDE);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let (code, out, err) = run("nonsense\n# a remark\n\ngaps NOPE\nleases\nquit\nstatus\n");
    assert_eq!(code, 5);
    assert_eq!(err.lines().filter(|l| l.starts_with("error: ")).count(), 2, "{err}");
    assert!(out.contains("alpaca") && !out.contains("version") && !out.contains("datanode>"), "{out}");
    assert_eq!(run("leases").0, 0, "a last line without a newline is a line");
    assert_eq!(run("qeue\n").0, 2);
}

#[test]
fn a_session_outlives_a_restart_of_the_node() {
    let node = Node::start(Filling::Full);
    let mut session = Session::new(&node.folder, false);
    assert_eq!(session.line("leases", &WIDE).code, 0);
    let node = node.restart();
    assert_eq!(session.line("leases", &WIDE).code, 0);
    let folder = node.folder.clone();
    let _kept = node.stop();
    assert!(!folder.join("admin.sock").exists(), "a node that stops takes its socket with it");
    let done = session.line("leases", &WIDE);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("no node runs on") && done.err.contains("datanode run"), "{}", done.err);
}

#[test]
fn only_the_owner_can_reach_the_socket() {
    let node = Node::start(Filling::Empty);
    let mode = std::fs::metadata(node.folder.join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn admin(folder: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_datanode-admin"))
        .args(["--data-dir", folder.to_str().unwrap()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A one-shot command does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn the_program_answers_once_or_line_by_line_and_its_exit_code_says_how_it_went() {
    let node = Node::start(Filling::Full);
    let (code, out, err) = admin(&node.folder, &["--json", "queue", "--state", "short"], "");
    assert_eq!((code, err.as_str()), (0, ""));
    let result: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((out.lines().count(), result["rows"][0]["state"].as_str()), (1, Some("short")));
    assert_eq!(admin(&node.folder, &["queue", "--nonsense"], "").0, 2);
    assert_eq!(admin(&node.folder, &["--nonsense"], "").0, 2);
    assert_eq!(admin(&node.folder, &["runs", "NOPE"], "").0, 5);
    let (code, out, _) = admin(&node.folder, &["--json"], "status\ngaps NOPE\nleases\n");
    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((code, lines.len()), (5, 3));
    assert_eq!(lines[1]["error"]["code"], "not_found");
    let nowhere = node.folder.join("nowhere");
    let (code, out, err) = admin(&nowhere, &["status"], "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("error: there is no folder"), "{err}");
    assert_eq!(admin(&nowhere, &[], "status\n").0, 1);
    assert_eq!(admin(&nowhere, &["help", "gaps"], "").0, 0, "help needs no node");
}

/// `cargo test --release --test admin -- --ignored --nocapture` prints how long the map of many symbols takes.
#[test]
#[ignore = "a measurement: it fills a store with 300,000 ledger pages"]
fn the_map_of_a_quarter_of_five_thousand_symbols_over_twenty_years_is_there_at_once() {
    let node = Node::start(Filling::Ledger { symbols: 1_250, years: 20 });
    let mut raw = Raw::to(&node);
    for args in [
        json!({"dataset": "equities_bars"}),
        json!({"dataset": "equities_bars"}),
        json!({"dataset": "equities_bars", "symbol": "H0007", "by": "symbol"}),
        json!({"dataset": "equities_bars", "symbol": "H0007"}),
        json!({"dataset": "equities_bars", "from": "2023-01-01"}),
    ] {
        let began = std::time::Instant::now();
        let answer = raw.ask("coverage", args.clone());
        let took = began.elapsed();
        assert_eq!(answer["ok"], true, "{answer}");
        println!("{args}: {took:?} for {} symbols", answer["result"]["symbols"]);
    }
}
