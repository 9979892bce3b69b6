//! `datanode config`, secrets by `op` and by an age file, and what `doctor` tells apart: by the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use support::{Node, Ran, SECRET, SEEDED_NIGHT, Sim, tree};

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// A program called `op` on the node's PATH.
fn op(n: &Node, script: &str) -> String {
    let dir = n.root.path().join("bin");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("op");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

#[test]
fn every_setting_says_where_it_comes_from_and_nothing_that_a_reference_leads_to() {
    let mut n = Node::new("universe: {}\n", SEEDED_NIGHT);
    let file = n.root.path().join("datanode.toml");
    std::fs::write(&file, "[log]\nlevel = \"info\"\nformat = \"json\"\n[vendors.fred]\nkey = \"env:E2E_SECRET\"\n")
        .unwrap();
    n.set("DATANODE__STORE__CACHE_MIB", "16");
    let ran = n.run(&["--json", "config", "show", "--origin"]).exits(0);
    let all = lines(&ran);
    let of = |name: &str| all.iter().find(|s| s["setting"] == name).unwrap_or_else(|| panic!("no {name}")).clone();
    assert_eq!(of("store.cache_mib")["origin"], "DATANODE__STORE__CACHE_MIB");
    assert_eq!(of("log.level")["origin"], "DATANODE__LOG__LEVEL", "the environment wins over the file");
    assert_eq!(of("log.format")["origin"], "datanode.toml:3");
    assert_eq!(of("vendors.fred.key")["value"], "env:E2E_SECRET");
    assert_eq!(of("seal.chunk_mib")["origin"], "default");
    assert_eq!(
        (of("backup.url")["takes_effect"].clone(), of("node.threads")["takes_effect"].clone()),
        ("reload".into(), "restart".into())
    );
    assert!(!ran.out.contains(SECRET));
    let flag = n.run(&["--json", "--data-dir", "/elsewhere", "config", "show"]).exits(0);
    assert_eq!(lines(&flag).into_iter().find(|s| s["setting"] == "data_dir").unwrap()["origin"], "--data-dir");
    n.set("DATANODE__VENDORS__FRED__ENABLED", "true");
    n.run(&["config", "check"]).exits(0);
    n.set("DATANODE__VENDORS__FRED__KEY", "PKLITERAL");
    let refused = n.run(&["config", "check"]).exits(2);
    let shown = n.run(&["config", "show", "--origin"]).exits(0);
    assert!(!format!("{}{}{}", refused.err, shown.out, shown.err).contains("PKLITERAL"));
}

#[test]
fn a_night_with_secrets_of_op_and_of_an_age_file_leaves_them_nowhere() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let path = op(&n, &format!("[ \"$1 $2 $3\" = 'read --no-newline op://v/alpaca/key' ] || exit 1\nprintf {SECRET}"));
    n.set("PATH", &path);
    n.unset("E2E_SECRET");
    n.run(&["key", "new"]).exits(0);
    let public = n.run(&["--json", "key", "list"]).exits(0).json()["public"].as_str().unwrap().to_owned();
    let plain = n.root.path().join("plain");
    let file = n.root.path().join("secrets.age");
    std::fs::write(&plain, format!("ALPACA_SECRET={SECRET}\nFRED={SECRET}\n")).unwrap();
    let made = Command::new("age").args(["-r", &public, "-o"]).arg(&file).arg(&plain).status();
    if !made.is_ok_and(|s| s.success()) {
        return eprintln!("SKIPPED: no age");
    }
    std::fs::remove_file(&plain).unwrap();
    n.set("DATANODE__VENDORS__ALPACA__KEY", "op://v/alpaca/key");
    n.set("DATANODE__VENDORS__ALPACA__SECRET", &format!("age:{}#ALPACA_SECRET", file.display()));
    n.set("DATANODE__VENDORS__FRED__KEY", &format!("age:{}#FRED", file.display()));
    n.set("DATANODE__VENDORS__FRED__SECRET", "");
    n.set("DATANODE__LOG__LEVEL", "trace");
    let ran = n.nightly(&[]).exits(0);
    assert!(!ran.err.contains(SECRET) && !ran.out.contains(SECRET), "the log has it");
    for f in tree(&n.data()).into_keys() {
        let bytes = std::fs::read(n.data().join(&f)).unwrap();
        assert!(!bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()), "{f} has it");
    }
    // One that fails, prints rubbish, or waits for ever ends the start with its name, and without what it said.
    for (script, says) in [
        ("echo hush-hush >&2; exit 1", "did not give it"),
        ("printf 'hush-hush\\nhush-hush'", "no secret"),
        ("sleep 600", "did not answer within"),
    ] {
        n.set("PATH", &op(&n, script));
        let refused = n.nightly(&["--stages", "audit"]).exits(2).says(&["vendors.alpaca.key", says]);
        assert!(!refused.err.contains("hush-hush"), "{}", refused.err);
    }
}

#[test]
fn doctor_tells_warnings_from_failures() {
    let sim = Sim::seeded(1, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    n.nightly(&[]).exits(0);
    let at = "2025-07-03T00:00:00Z";
    let level = |n: &Node, code: i32, name: &str| {
        let all = lines(&n.run(&["doctor", "--json", "--now", at]).exits(code));
        let of = all.iter().find(|c| c["check"] == name).unwrap_or_else(|| panic!("no {name}")).clone();
        assert_eq!(of["ok"] == true, of["level"] != "failed");
        of["level"].as_str().unwrap().to_owned()
    };
    assert_eq!(level(&n, 0, "key backed up"), "warning");
    assert_eq!(level(&n, 0, "last backup"), "warning", "no place is named");
    let other = n.root.path().join("other.key");
    n.run(&["key", "new", "--out", other.to_str().unwrap()]).exits(0);
    let public = std::fs::read_to_string(&other).unwrap();
    let public = public.lines().find_map(|l| l.strip_prefix("# public key: ")).unwrap().to_owned();
    n.run(&["key", "add-recipient", &public, "--name", "desk"]).exits(0);
    assert_eq!(level(&n, 0, "key backed up"), "ok");
    let place = n.root.path().join("place");
    n.set("DATANODE__BACKUP__URL", place.to_str().unwrap());
    assert_eq!(level(&n, 1, "last backup"), "failed", "the disk is not mounted");
    std::fs::create_dir(&place).unwrap();
    assert_eq!(level(&n, 0, "last backup"), "warning");
    n.run(&["--now", "2025-07-02T23:30:00Z", "backup", "create"]).exits(0);
    assert_eq!(level(&n, 0, "last backup"), "ok");
    let socket = n.data().join("admin.sock");
    std::fs::write(&socket, "x").unwrap();
    assert_eq!(level(&n, 1, "socket"), "failed");
    std::fs::remove_file(&socket).unwrap();
    assert!(Path::new(&place).exists());
}
