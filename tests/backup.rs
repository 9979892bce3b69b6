//! Backups by the real binary: made, read, restored, damaged, killed, pruned; opened by other programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::s3::{KEY, S3, SECRET_KEY};
use support::{Live, Node, Ran, SEEDED_NIGHT, Sim, differences, tree};

/// A node after its first night, and a folder for its backups.
fn kept() -> (Node, PathBuf) {
    let sim = Sim::seeded(2, 1, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    n.nightly(&[]).exits(0);
    let place = n.root.path().join("place");
    std::fs::create_dir(&place).unwrap();
    n.set("DATANODE__BACKUP__URL", place.to_str().unwrap());
    (n, place)
}

fn make(n: &Node, now: &str) -> Value {
    n.run(&["--json", "--now", now, "backup", "create"]).exits(0).json()
}

fn restore(n: &Node, to: &Path, more: &[&str]) -> Ran {
    n.run(&[&["--json", "backup", "restore", "--to", to.to_str().unwrap()], more].concat())
}

/// What a state is, as its own check says.
fn root_of(data: &Path) -> (u64, u64, u128) {
    use datanode_schema::store::{Store, StoreOptions};
    let store = Store::open(&data.join("state"), &datanode_schema::trees::all(), &StoreOptions::default()).unwrap();
    let r = store.check().unwrap();
    assert!(r.problems.is_empty(), "{:?}", r.problems);
    store.close().unwrap();
    (r.root.commit, r.root.count, r.root.sum)
}

const NOW: &str = "2025-07-03T01:00:00Z";
const GENERATION: &str = "backup_20250703T010000Z";

#[test]
fn a_backup_comes_back_as_the_same_state_events_log_keys_and_configuration() {
    let (n, _) = kept();
    let made = make(&n, NOW);
    assert_eq!(made["generation"], GENERATION);
    n.run(&["--json", "backup", "verify"]).exits(0).says(&[]);
    let to = n.root.path().join("new");
    let done = restore(&n, &to, &[]).exits(0).json();
    assert_eq!(done["commit"], made["commit"]);
    assert_eq!(root_of(&to), root_of(&n.data()));
    for folder in ["anchors", "keys", "data_layer/events"] {
        let differ: Vec<String> =
            differences(&n.data().join(folder), &to.join(folder)).into_iter().filter(|d| !d.starts_with(".")).collect();
        assert!(differ.is_empty(), "{folder}: {differ:?}");
    }
    let universe = std::fs::read(to.join("restored-config/universe.yaml")).unwrap();
    assert_eq!(universe, std::fs::read(n.root.path().join("universe.yaml")).unwrap());
    let effective: Value =
        serde_json::from_slice(&std::fs::read(to.join("restored-config/effective.json")).unwrap()).unwrap();
    assert_eq!(effective["vendors"]["alpaca"]["key"], "env:E2E_SECRET", "references, never what they lead to");
    assert!(!to.join(".restoring").exists());
    restore(&n, &to, &[]).exits(2).says(&["there is a state"]);
}

#[test]
fn age_and_zstd_and_tar_open_a_backup_and_no_key_is_in_the_clear() {
    let (n, place) = kept();
    make(&n, NOW);
    for (name, bytes) in tree(&place).into_keys().map(|f| (f.clone(), std::fs::read(place.join(f)).unwrap())) {
        for word in ["AGE-SECRET-KEY", "PRIVATE+KEY", support::SECRET] {
            assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{name} holds {word}");
        }
    }
    if Command::new("age").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: no age");
    }
    let script = "age -d -i \"$1\" \"$2\" | zstd -dc | tar -xOf - \"$3\"";
    let own = n.data().join("keys/node.key");
    let read = |part: &str, name: &str| {
        let part = place.join(GENERATION).join(part);
        let out = Command::new("bash").args(["-c", script, "x"]).arg(&own).arg(part).arg(name).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    assert_eq!(read("keys.tar.zst.age", "keys/node.key"), std::fs::read(&own).unwrap());
    let checkpoint = std::fs::read(n.data().join("anchors/checkpoint")).unwrap();
    assert_eq!(read("files.tar.zst.age", "anchors/checkpoint"), checkpoint);
}

#[test]
fn a_backup_that_the_nodes_own_key_alone_opens_says_so_until_somebody_else_can() {
    let (n, _) = kept();
    let alone = "ONLY THE NODE'S OWN KEY OPENS THIS BACKUP";
    n.run(&["--now", NOW, "backup", "create"]).exits(0).says(&[alone, "key add-recipient"]);
    let words = n.root.path().join("words");
    std::fs::write(&words, "six words that dice have drawn\n").unwrap();
    let w = words.to_str().unwrap();
    n.run(&["key", "add-recipient", "--passphrase-file", w, "--name", "desk"]).exits(0);
    let made = n.run(&["--json", "--now", "2025-07-03T02:00:00Z", "backup", "create"]).exits(0);
    assert!(!made.err.contains(alone), "{}", made.err);
    assert_eq!(made.json()["others"], 1);
    // The machine is lost, and the key with it.
    let lost = root_of(&n.data());
    std::fs::remove_dir_all(n.data()).unwrap();
    let to = n.root.path().join("new");
    restore(&n, &to, &[]).exits(2).says(&["nothing to open it with"]);
    std::fs::write(n.root.path().join("wrong"), "six words that nobody has drawn\n").unwrap();
    let wrong = n.root.path().join("wrong");
    restore(&n, &to, &["--passphrase-file", wrong.to_str().unwrap()]).exits(2).says(&["none of the passphrases"]);
    restore(&n, &to, &["--passphrase-file", w]).exits(0);
    assert_eq!(root_of(&to), lost);
    assert!(to.join("keys/node.key").is_file());
}

#[test]
fn a_damaged_part_a_wrong_key_a_missing_and_a_newer_backup_are_told_apart_and_leave_no_state() {
    let (n, place) = kept();
    make(&n, NOW);
    let to = n.root.path().join("new");
    for part in ["state.tar.zst.age", "files.tar.zst.age", "keys.tar.zst.age"] {
        let path = place.join(GENERATION).join(part);
        let whole = std::fs::read(&path).unwrap();
        for (what, bytes) in [
            ("a bit", {
                let mut b = whole.clone();
                let at = b.len() - 40;
                b[at] ^= 1;
                b
            }),
            ("the end", whole[..whole.len() - 1].to_vec()),
            ("the header", {
                let mut b = whole.clone();
                b[30] ^= 1;
                b
            }),
        ] {
            std::fs::write(&path, bytes).unwrap();
            n.run(&["backup", "verify"]).exits(3).says(&[part]);
            let without = n.root.path().join("nowhere");
            n.run(&["--data-dir", without.to_str().unwrap(), "backup", "verify"]).exits(3).says(&[part]);
            restore(&n, &to, &[]).exits(3);
            assert!(!to.join("state").exists(), "{part}, {what}");
            assert!(tree(&to).is_empty(), "{part}, {what}: {:?}", tree(&to));
        }
        std::fs::write(&path, whole).unwrap();
    }
    let other = n.root.path().join("other.key");
    n.run(&["key", "new", "--out", other.to_str().unwrap()]).exits(0);
    restore(&n, &to, &["--key", other.to_str().unwrap()]).exits(3);
    assert!(tree(&to).is_empty());
    restore(&n, &to, &["--generation", "backup_20250101T000000Z"]).exits(5);
    let manifest = place.join(GENERATION).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"format\":1", "\"format\":2")).unwrap();
    restore(&n, &to, &[]).exits(4).says(&["use the build that made it"]);
    std::fs::write(&manifest, text.replace("\"records\":", "\"records\":1")).unwrap();
    restore(&n, &to, &[]).exits(3).says(&["names another state"]);
    std::fs::write(&manifest, &text).unwrap();
    std::fs::create_dir_all(&to).unwrap();
    std::fs::write(to.join("mine"), "x").unwrap();
    restore(&n, &to, &[]).exits(2).says(&["not empty"]);
    std::fs::remove_file(to.join("mine")).unwrap();
    restore(&n, &to, &[]).exits(0);
}

#[test]
fn a_kill_anywhere_leaves_no_half_backup_and_no_half_restore() {
    let (mut n, place) = kept();
    for (hour, at) in [(2, "backup.state:1"), (3, "backup.before_manifest:1")] {
        n.set("DATANODE_KILL_AT", at);
        let now = format!("2025-07-03T0{hour}:00:00Z");
        assert_eq!(n.run(&["--now", &now, "backup", "create"]).code, None, "{at}");
        n.unset("DATANODE_KILL_AT");
        n.run(&["backup", "verify"]).exits(5);
    }
    let made = make(&n, "2025-07-03T04:00:00Z");
    n.set("DATANODE__BACKUP__KEEP_HOURLY", "24");
    let gone = n.run(&["--json", "backup", "prune"]).exits(0).json();
    assert_eq!(gone["removed"].as_array().unwrap().len(), 2, "what was never finished goes: {gone}");
    let left: Vec<_> =
        std::fs::read_dir(&place).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, [made["generation"].as_str().unwrap()]);
    let want = root_of(&n.data());
    for at in ["restore.fetched:1", "restore.placed:1"] {
        let to = n.root.path().join(at);
        n.set("DATANODE_KILL_AT", at);
        assert_eq!(restore(&n, &to, &[]).code, None, "{at}");
        n.unset("DATANODE_KILL_AT");
        assert!(!to.join("state").exists(), "{at}");
        restore(&n, &to, &[]).exits(0);
        assert_eq!(root_of(&to), want, "{at}");
    }
}

#[test]
fn the_rule_says_which_stay_and_the_manifest_goes_first() {
    let (mut n, place) = kept();
    for (k, v) in [("HOURLY", "2"), ("DAILY", "2"), ("WEEKLY", "1")] {
        n.set(&format!("DATANODE__BACKUP__KEEP_{k}"), v);
    }
    for now in [
        "2025-07-01T08:00:00Z",
        "2025-07-02T08:00:00Z",
        "2025-07-03T08:00:00Z",
        "2025-07-03T09:00:00Z",
        "2025-07-03T09:30:00Z",
    ] {
        make(&n, now);
    }
    let would = n.run(&["--json", "backup", "prune", "--dry-run"]).exits(0).json();
    assert_eq!(would["removed"], json!(["backup_20250701T080000Z", "backup_20250703T090000Z"]));
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 5);
    n.run(&["backup", "prune"]).exits(0);
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 3);
    n.run(&["backup", "verify", "backup_20250702T080000Z"]).exits(0);
    assert!(n.run(&["--json", "backup", "prune"]).exits(0).json()["removed"].as_array().unwrap().is_empty());
    // Another node's rules must not thin these out.
    n.set("DATANODE__NODE__SOURCE", "second");
    n.run(&["--now", NOW, "backup", "create"]).exits(2).says(&["it has backups of datanode"]);
}

#[test]
fn a_bucket_serves_as_well_and_a_place_within_the_data_folder_is_refused() {
    let (mut n, _) = kept();
    let inside = n.data().join("backups");
    std::fs::create_dir(&inside).unwrap();
    n.run(&["backup", "create", "--to", inside.to_str().unwrap()]).exits(2);
    n.set("DATANODE__BACKUP__URL", inside.to_str().unwrap());
    n.run(&["backup", "create"]).exits(2).says(&["within data_dir"]);
    let Some(s3) = S3::honest("kept") else { return };
    for (k, v) in
        [("URL", "s3://kept/home"), ("ENDPOINT", s3.endpoint.as_str()), ("KEY", "env:S3K"), ("SECRET", "env:S3S")]
    {
        n.set(&format!("DATANODE__BACKUP__{k}"), v);
    }
    n.set("S3K", KEY);
    n.set("S3S", SECRET_KEY);
    make(&n, NOW);
    make(&n, "2025-07-03T02:00:00Z");
    n.run(&["backup", "verify", GENERATION]).exits(0);
    for k in ["KEEP_HOURLY", "KEEP_DAILY", "KEEP_WEEKLY"] {
        n.set(&format!("DATANODE__BACKUP__{k}"), "1");
    }
    n.run(&["backup", "prune"]).exits(0);
    n.run(&["backup", "verify", GENERATION]).exits(5);
    let to = n.root.path().join("new");
    restore(&n, &to, &[]).exits(0);
    assert_eq!(root_of(&to), root_of(&n.data()));
}

#[test]
fn a_running_node_makes_one_by_itself_and_another_may_be_made_beside_it() {
    let (n, place) = kept();
    let mut c = n.command(&["run"]);
    let live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let found = (0..600).any(|_| {
        let there = tree(&place).into_keys().any(|f| f.ends_with("manifest.json"));
        if !there {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        there
    });
    assert!(found, "no backup was made");
    let beside = n.root.path().join("beside");
    std::fs::create_dir(&beside).unwrap();
    let b = beside.to_str().unwrap();
    n.run(&["--now", NOW, "backup", "create", "--to", b]).exits(0);
    n.run(&["backup", "verify", "--at", b]).exits(0);
    live.signal(nix::sys::signal::Signal::SIGTERM);
    live.wait().exits(0);
    let record = n.with_store(|s| s.load(&datanode_schema::trees::BACKUPS, &"last".to_owned()).unwrap()).unwrap();
    assert!(record.bytes > 0 && record.error.is_empty() && record.at > 0, "{record:?}");
    n.run(&["backup", "verify", &record.generation]).exits(0);
}
