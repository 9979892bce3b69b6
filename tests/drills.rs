//! The drills of ops/runbook.md, with the real binary: what was lost comes back, by the commands that stand there.
//!
//! What they measure: the state goes back to the last backup (its RPO is `backup.every_hours`), and the night after asks vendors only for what
//! is missing; raw, curated and packs are as they were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::{Node, Ran, SEEDED_NIGHT, Sim, differences, stage, tree};

const SESSIONS: [&str; 3] = ["2025-06-26", "2025-06-27", "2025-06-30"];

/// A node with places for backups, for the second copy of the vault and for packs.
fn node(sim: &Sim) -> Node {
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], sim);
    for (name, setting) in [("backups", "BACKUP__URL"), ("replica", "VAULT__REPLICA__URL"), ("shipped", "SHIP__FOLDER")]
    {
        let at = n.root.path().join(name);
        std::fs::create_dir(&at).unwrap();
        n.set(&format!("DATANODE__{setting}"), at.to_str().unwrap());
    }
    n
}

/// The cycle of the i-th session.
fn night(n: &Node, i: usize) -> Value {
    let now = format!("2025-07-{:02}T23:00:00Z", i + 1);
    n.run(&["nightly", "--json", "--now", &now, "--as-of", SESSIONS[i.min(2)]]).exits(0).json()
}

fn backup(n: &Node, i: usize) {
    n.run(&["--now", &format!("2025-07-{:02}T23:30:00Z", i + 1), "backup", "create"]).exits(0);
}

/// A copy of the key on paper.
fn paper(n: &Node) -> PathBuf {
    let to = n.root.path().join("paper.key");
    std::fs::copy(n.data().join("keys/node.key"), &to).unwrap();
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
    to
}

fn text(p: &Path) -> &str {
    p.to_str().unwrap()
}

/// What a node that lost nothing has on the evening of the i-th session: files and rows of its pack, and verdicts.
fn untouched(sim: &Sim, i: usize) -> Value {
    let n = node(sim);
    let done = night(&n, i);
    content(&n, &done)
}

fn content(n: &Node, night: &Value) -> Value {
    let text = std::fs::read(n.pack(night).join("manifest.json")).unwrap();
    let m: Value = serde_json::from_slice(&text).unwrap();
    let files = m["files"].as_array().unwrap().iter().filter(|f| !f["path"].as_str().unwrap().contains("/qc/"));
    let files: Vec<Value> = files.map(|f| json!([f["path"], f["rows"], f["window"]])).collect();
    json!({"files": files, "green": m["qc"]["green"], "amber": m["qc"]["amber"], "red": m["qc"]["red"], "excluded": m["qc"]["excluded"]})
}

/// Everything is as it should be, by every check that there is, and the pack of this night is that of a node that lost nothing.
#[track_caller]
fn sound(n: &Node, night: &Value, untouched: &Value) {
    n.run(&["anchor", "checkpoint", "--verify"]).exits(0);
    n.run(&["anchor", "verify", text(&n.data().join("vault"))]).exits(0);
    n.run(&["vault", "check", "--read-data"]).exits(0);
    n.run(&["pack", "verify", text(&n.data())]).exits(0);
    n.run(&["--now", "2025-07-05T00:00:00Z", "audit", "--deep"]).exits(0);
    n.run(&["--now", "2025-07-05T00:00:00Z", "doctor"]).exits(0);
    assert_eq!(content(n, night), *untouched);
}

fn asked(summary: &Value) -> u64 {
    stage(summary, "ingest")["requests"].as_u64().unwrap() + stage(summary, "backfill")["requests"].as_u64().unwrap()
}

fn log_size(n: &Node) -> u64 {
    let text = std::fs::read_to_string(n.data().join("anchors/checkpoint")).unwrap();
    text.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn drill_state_lost_with_its_journal_left_rebuild_makes_it_again_and_nobody_is_asked_for_what_is_held() {
    let sim = Sim::seeded(2, 1, "");
    let n = node(&sim);
    let first = night(&n, 1);
    std::fs::remove_dir_all(n.data().join("state/sled")).unwrap();
    n.run(&["nightly"]).exits(3).says(&["datanode rebuild"]);
    n.run(&["rebuild"]).exits(0);
    let next = night(&n, 1);
    assert!(asked(&next) < asked(&first), "{} of {} requests", asked(&next), asked(&first));
    sound(&n, &next, &untouched(&sim, 1));
}

#[test]
fn drill_state_and_journal_lost_an_older_backup_onto_a_newer_vault_and_log_takes_nothing_back() {
    let sim = Sim::seeded(2, 1, "");
    let n = node(&sim);
    night(&n, 0);
    backup(&n, 0);
    let newer = night(&n, 1);
    let before = n.root.path().join("anchors-before");
    support::copy(&n.data().join("anchors"), &before);
    let (size, packs) = (log_size(&n), tree(&n.data().join("exports")));
    std::fs::remove_dir_all(n.data().join("state")).unwrap();
    // A node that starts now says so; nothing begins anew in silence.
    let doctor = n.run(&["doctor", "--offline"]).exits(1);
    assert!(doctor.out.contains("it was lost") && doctor.out.contains("backup restore"), "{}", doctor.out);
    let done = n.run(&["--json", "backup", "restore", "--to", text(&n.data()), "--fill"]).exits(0).json();
    let kept = done["kept"].to_string();
    assert!(kept.contains("its log has 2 entries, that of the backup 1"), "{kept}");
    assert_eq!(log_size(&n), size, "the log does not go back");
    let checkpoint = |d: &Path| std::fs::read(d.join("checkpoint")).unwrap();
    assert_eq!(checkpoint(&before), checkpoint(&n.data().join("anchors")));
    let next = night(&n, 2);
    assert!(log_size(&n) > size);
    // The log of before is a beginning of the one of now: every entry that was signed stands where it stood.
    for (name, (sum, _)) in tree(&before).iter().filter(|(name, _)| name.starts_with("proofs/")) {
        assert_eq!(tree(&n.data().join("anchors")).get(name).map(|(s, _)| s), Some(sum), "{name}");
    }
    for (name, (sum, _)) in &packs {
        assert_eq!(tree(&n.data().join("exports")).get(name).map(|(s, _)| s), Some(sum), "{name}: a pack changed");
    }
    assert_ne!(next["export_id"], newer["export_id"]);
    sound(&n, &next, &untouched(&sim, 2));
}

#[test]
fn drill_data_disk_lost_the_backup_the_replica_and_the_vendors_bring_everything_back() {
    let sim = Sim::seeded(2, 1, "");
    let n = node(&sim);
    let old = night(&n, 0)["export_id"].as_str().unwrap().to_owned();
    night(&n, 1);
    backup(&n, 1);
    let (key, size) = (paper(&n), log_size(&n));
    let pack = n.root.path().join("pack-before");
    support::copy(&n.data().join("exports/datanode").join(format!("export_{old}")), &pack);
    std::fs::remove_dir_all(n.data()).unwrap();
    let data = n.data();
    n.run(&["backup", "restore", "--to", text(&data)]).exits(2).says(&["nothing to open it with"]);
    n.run(&["backup", "restore", "--to", text(&data), "--key", text(&key)]).exits(0);
    n.run(&["vault", "repair"]).exits(0);
    n.run(&["vault", "check", "--read-data"]).exits(0);
    n.run(&["--now", "2025-07-02T23:40:00Z", "audit", "--deep"]).exits(3).says(&["Run `datanode nightly`"]);
    let next = night(&n, 2);
    assert!(asked(&next) > 0);
    assert!(log_size(&n) > size);
    sound(&n, &next, &untouched(&sim, 2));
    // What was sealed before the loss opens as what it was.
    let opened = n.root.path().join("opened");
    n.run(&["pack", "open", text(&data.join("vault")), "--id", &old, "--to", text(&opened)]).exits(0);
    assert!(differences(&pack, &opened).is_empty());
}

#[test]
fn drill_a_new_machine_with_only_the_key_opens_packs_and_takes_over() {
    let sim = Sim::seeded(2, 1, "");
    let old = node(&sim);
    let id = night(&old, 1)["export_id"].as_str().unwrap().to_owned();
    backup(&old, 1);
    let key = paper(&old);
    let at = |name: &str| old.root.path().join(name);
    let fresh = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    // Packs first: whoever trains on them waits for nothing else.
    let to = fresh.root.path().join("opened");
    fresh.run(&["pack", "open", text(&at("replica")), "--id", &id, "--key", text(&key), "--to", text(&to)]).exits(0);
    assert!(differences(&old.data().join("exports/datanode").join(format!("export_{id}")), &to).is_empty());
    let data = fresh.data();
    fresh
        .run(&["backup", "restore", "--from", text(&at("backups")), "--to", text(&data), "--key", text(&key)])
        .exits(0);
    fresh.run(&["vault", "repair", "--replica", text(&at("replica"))]).exits(0);
    fresh.run(&["--now", "2025-07-02T23:40:00Z", "audit", "--deep"]).exits(3);
    let next = night(&fresh, 2);
    sound(&fresh, &next, &untouched(&sim, 2));
    assert_eq!(log_size(&fresh), log_size(&old) + 1, "one log goes on");
}

#[test]
fn drill_corrupted_state_is_refused_set_aside_and_made_again() {
    let sim = Sim::seeded(2, 1, "");
    let n = node(&sim);
    night(&n, 1);
    backup(&n, 1);
    let spoil = |folder: &str| {
        for name in tree(&n.data().join(folder)).into_keys() {
            let path = n.data().join(folder).join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            for at in (0..bytes.len()).step_by(64) {
                bytes[at] ^= 0x55;
            }
            std::fs::write(&path, bytes).unwrap();
        }
    };
    spoil("state/sled");
    n.run(&["nightly"]).exits(3).says(&["datanode rebuild"]);
    n.run(&["rebuild"]).exits(0);
    let next = night(&n, 2);
    sound(&n, &next, &untouched(&sim, 2));
    // The journal too: then the backup.
    spoil("state");
    n.run(&["nightly"]).exits(3);
    n.run(&["rebuild"]).exits(3);
    std::fs::rename(n.data().join("state"), n.root.path().join("state.damaged")).unwrap();
    n.run(&["backup", "restore", "--to", text(&n.data()), "--fill"]).exits(0);
    let next = night(&n, 3);
    sound(&n, &next, &untouched(&sim, 2));
}

#[test]
fn drill_a_clock_that_is_years_ahead_or_behind_loses_nothing() {
    let sim = Sim::seeded(2, 1, "");
    let n = node(&sim);
    let good = night(&n, 1);
    let held: Vec<String> = tree(&n.data().join("exports/datanode")).into_keys().collect();
    n.run(&["--now", "2150-01-01T00:00:00Z", "nightly"]).exits(2).says(&["calendars do not know that year"]);
    let behind: Ran = n.run(&["nightly", "--json", "--now", "2019-07-04T23:00:00Z"]);
    assert!(behind.err.contains("set the clock") || behind.code != Some(0), "{}", behind.err);
    for name in &held {
        assert!(n.data().join("exports/datanode").join(name).exists(), "{name} went");
    }
    n.run(&["--now", "2019-07-04T23:30:00Z", "backup", "create"]).exits(0);
    backup(&n, 1);
    n.run(&["backup", "prune"]).exits(0);
    n.run(&["backup", "verify", "backup_20250702T233000Z"]).exits(0);
    let next = night(&n, 2);
    assert_ne!(next["export_id"], good["export_id"]);
    sound(&n, &next, &untouched(&sim, 2));
}
