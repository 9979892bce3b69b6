//! The vault of a node: read through, repaired, told of, collected, and kept twice. The real binary over real folders and buckets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::acts::read_all;
use datanode_schema::names::Act;
use datanode_schema::paths::DataDir;
use datanode_schema::trees::{CHUNKS, GENERATIONS, PACKS, SEALINGS};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::s3::{KEY, S3, SECRET_KEY};
use support::{Node, SEEDED_NIGHT, Sim, differences, stage, tree};

fn node(sim: &Sim) -> Node {
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], sim);
    n.set("DATANODE__SEAL__CHUNK_MIB", "1");
    n.set("DATANODE__VAULT__SCRUB_DAYS", "1");
    n.set("DATANODE__VAULT__SCRUB_KIB_PER_SECOND", "0");
    n
}

/// A cycle of a day of July over the sessions up to a day of June; its summary.
fn night(n: &Node, day: u32) -> Value {
    let (now, as_of) = (format!("2025-07-{day:02}T23:00:00Z"), format!("2025-06-{:02}", day.min(30)));
    n.run(&["nightly", "--json", "--now", &now, "--as-of", &as_of]).exits(0).json()
}

fn vault(n: &Node) -> PathBuf {
    n.data().join("vault")
}

/// The node's key, for checks that verify tags.
fn check(n: &Node, path: Option<&Path>) -> support::Ran {
    let key = n.data().join("keys/node.key");
    let mut args = vec!["vault", "check", "--read-data", "--json", "--key", key.to_str().unwrap()];
    args.extend(path.map(|p| p.to_str().unwrap()));
    n.run(&args)
}

fn descriptor(n: &Node, uid: &str) -> Value {
    serde_json::from_slice(&fs::read(vault(n).join(format!("descriptors/{uid}.json"))).unwrap()).unwrap()
}

/// Paths of a sealing's objects of a kind, below the vault.
fn objects(n: &Node, uid: &str, kind: &str) -> Vec<String> {
    let d = descriptor(n, uid);
    let all = if kind == "parity" { &d["parity"]["objects"] } else { &d[kind] };
    let hash = |o: &Value| o["object_blake3"].as_str().unwrap().to_owned();
    all.as_array().unwrap().iter().map(hash).map(|h| format!("chunks/{}/{h}", &h[..2])).collect()
}

/// (kind, artifact, whether it is open) of each incident.
fn incidents(n: &Node) -> Vec<(String, String, bool)> {
    let all = read_all(&DataDir::new(n.data())).unwrap();
    let closed = |id: u64| all.iter().any(|l| l.act == Act::IncidentClose && l.incident == Some(id));
    let opened = all.iter().filter(|l| l.act == Act::IncidentOpen);
    opened.map(|l| (l.kind.unwrap().to_string(), l.artifact.clone().unwrap(), !closed(l.id))).collect()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What a sound vault has that must come back, by name.
fn sound(n: &Node) -> support::Tree {
    let keep = |name: &String| ["chunks/", "stanzas/", "descriptors/"].iter().any(|p| name.starts_with(p));
    tree(&vault(n))
        .into_iter()
        .filter(|(name, _)| keep(name))
        .map(|(name, (sum, _))| (name, (sum, std::time::UNIX_EPOCH)))
        .collect()
}

#[test]
fn damage_is_found_at_night_repaired_from_the_replica_and_told_of() {
    let sim = Sim::seeded(6, 20, "");
    let mut n = node(&sim);
    let replica = n.root.path().join("disk2");
    fs::create_dir(&replica).unwrap();
    n.set("DATANODE__VAULT__REPLICA__URL", replica.to_str().unwrap());
    let s = night(&n, 24);
    let uid = stage(&s, "seal")["pack_uid"].as_str().unwrap().to_owned();
    let kept = &stage(&s, "seal")["vault"];
    assert!(kept["replicated"].as_u64().unwrap() > 3 && kept["replica_failed"] == 0, "{kept}");
    assert_eq!((&kept["bad"], &kept["scrub_failed"]), (&0.into(), &0.into()), "{kept}");
    check(&n, None).exits(0);
    check(&n, Some(&replica)).exits(0);
    assert_eq!(
        sound(&n).len(),
        fs::read_dir(replica.join("descriptors")).unwrap().count()
            + tree(&replica.join("chunks")).len()
            + tree(&replica.join("stanzas")).len()
    );
    let before = sound(&n);
    // More than parity could make up for, and records.
    flip(&vault(&n).join(&objects(&n, &uid, "data_objects")[0]));
    fs::remove_file(vault(&n).join(&objects(&n, &uid, "manifest_objects")[0])).unwrap();
    fs::write(vault(&n).join(&objects(&n, &uid, "parity")[0]), b"").unwrap();
    flip(&vault(&n).join(format!("stanzas/{uid}.age")));
    // While somebody holds the state.
    let found = n.with_store(|_| check(&n, None)).exits(3).json();
    let bad = found["findings"].as_array().unwrap();
    assert_eq!(bad.len(), 4, "{found}");
    assert!(bad.iter().all(|f| f["diagnosis"] == "storage_rot" && f["pack_uid"] == *uid), "{found}");
    // Presence, length and header alone show what is gone or empty.
    assert_eq!(n.run(&["vault", "check", "--json"]).exits(3).json()["findings"].as_array().unwrap().len(), 3);
    n.run(&["doctor"]).exits(1);
    let s = night(&n, 25);
    let kept = &stage(&s, "seal")["vault"];
    assert_eq!((&kept["bad"], &kept["repaired"], &kept["sealed_anew"]), (&4.into(), &4.into(), &0.into()), "{kept}");
    let after = sound(&n);
    assert!(before.iter().all(|(name, was)| after.get(name) == Some(was)));
    assert_eq!(incidents(&n), [("storage_rot".to_owned(), format!("vault/{uid}"), false)]);
    check(&n, None).exits(0);
    let log = fs::read_to_string(vault(&n).join("repair.log")).unwrap();
    assert!(log.lines().filter(|l| l.contains("\"repaired\"")).count() >= 4, "{log}");
    assert_eq!(fs::read_dir(vault(&n).join("quarantine")).unwrap().count(), 4 - 1 + 1, "all but what was gone: {log}");
}

#[test]
fn what_parity_cannot_bring_back_is_sealed_again_from_the_plain_pack() {
    let sim = Sim::seeded(6, 20, "");
    let n = node(&sim);
    let uid = stage(&night(&n, 24), "seal")["pack_uid"].as_str().unwrap().to_owned();
    let before = sound(&n);
    let data = [objects(&n, &uid, "data_objects").remove(0), objects(&n, &uid, "manifest_objects").remove(0)];
    let parity = objects(&n, &uid, "parity");
    // One alone, by parity; two with parity gone, from the pack; all of it by the command.
    for lost in [vec![&data[0]], vec![&parity[0]], vec![&data[0], &data[1]], vec![&data[0], &data[1], &parity[0]]] {
        for name in &lost {
            fs::remove_file(vault(&n).join(name)).unwrap();
        }
        let dry = n.run(&["vault", "repair", "--dry-run", "--json"]);
        assert!(dry.code == Some(0) || lost.len() == 3, "{}", dry.out);
        assert!(lost.iter().all(|name| !vault(&n).join(name).exists()), "a dry run does nothing");
        let done = n.run(&["vault", "repair", "--json"]).exits(0).json();
        assert_eq!(done["repaired"].as_array().unwrap().len(), lost.len(), "{done}");
        assert_eq!(sound(&n), before);
    }
    // Without the plain pack they are lost, and the command says what with.
    fs::rename(n.data().join("exports"), n.data().join("elsewhere")).unwrap();
    for name in [&data[0], &data[1]] {
        fs::remove_file(vault(&n).join(name)).unwrap();
    }
    let left = n.run(&["vault", "repair", "--json"]).exits(3).json();
    let all: Vec<&Value> = left["left"].as_array().unwrap().iter().collect();
    assert_eq!(all.len(), 2, "{left}");
    let files = |f: &Value| f["files"].as_array().unwrap().iter().any(|p| p.as_str().unwrap().starts_with(&uid));
    assert!(all.iter().any(|f| files(f)), "{left}");
    fs::rename(n.data().join("elsewhere"), n.data().join("exports")).unwrap();
    n.run(&["vault", "repair"]).exits(0);
    assert_eq!(sound(&n), before);
}

#[test]
fn a_key_that_is_lost_everywhere_makes_a_new_generation() {
    let sim = Sim::seeded(1, 3, "");
    let n = node(&sim);
    let first = night(&n, 24);
    let (uid, id) =
        (stage(&first, "seal")["pack_uid"].as_str().unwrap().to_owned(), first["export_id"].as_str().unwrap());
    for name in [format!("stanzas/{uid}.age"), format!("stanzas/{uid}.age.sha256")] {
        fs::remove_file(vault(&n).join(name)).unwrap();
    }
    let s = night(&n, 25);
    assert_eq!(stage(&s, "seal")["vault"]["sealed_anew"], 1, "{s}");
    let new = n.with_store(|s| {
        let new = s.load(&PACKS, &id.to_owned()).unwrap().unwrap().pack_uid;
        assert_eq!(s.load(&GENERATIONS, &new).unwrap().as_deref(), Some(uid.as_str()));
        new
    });
    assert_ne!(new, uid);
    assert_eq!(descriptor(&n, &new)["generation"], 1);
    assert_eq!(incidents(&n), [("storage_rot".to_owned(), format!("vault/{uid}"), false)]);
    // The old one is garbage, and what is wrong with it a note.
    let said = check(&n, None).exits(0).json();
    assert!(said["findings"].as_array().unwrap().iter().all(|f| f["diagnosis"].is_null()), "{said}");
    let to = n.root.path().join("opened");
    let key = n.data().join("keys/node.key");
    let args = ["--id", &new, "--to", to.to_str().unwrap(), "--key", key.to_str().unwrap()];
    n.run(&[&["pack", "open", vault(&n).to_str().unwrap()], &args[..]].concat()).exits(0);
    assert!(differences(&to, &n.pack(&first)).is_empty());
}

#[test]
fn what_retention_lets_go_waits_under_a_tombstone_and_goes_from_the_replica_after_it() {
    let sim = Sim::seeded(1, 3, "");
    let mut n = node(&sim);
    let replica = n.root.path().join("disk2");
    fs::create_dir(&replica).unwrap();
    n.set("DATANODE__VAULT__REPLICA__URL", replica.to_str().unwrap());
    n.set("DATANODE__RETENTION__TRASH_DAYS", "2");
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    let uid = |s: &Value| stage(s, "seal")["pack_uid"].as_str().unwrap().to_owned();
    let first = uid(&night(&n, 16));
    let here = |uid: &str| vault(&n).join(format!("descriptors/{uid}.json")).is_file();
    let there = |uid: &str| replica.join(format!("descriptors/{uid}.json")).is_file();
    // Later packs may borrow from the first; it goes once none of those that stay does.
    let mut days = Vec::new();
    for day in 17..=30 {
        let newest = uid(&night(&n, day));
        assert!(here(&newest) && there(&newest));
        days.push((day, here(&first), there(&first)));
        check(&n, None).exits(0);
        if !there(&first) {
            break;
        }
    }
    let gone_here = days.iter().find(|(_, h, _)| !h).unwrap_or_else(|| panic!("{days:?}")).0;
    let gone_there = days.iter().find(|(.., t)| !t).unwrap_or_else(|| panic!("{days:?}")).0;
    assert!(gone_there >= gone_here + 2, "{days:?}");
    assert!(gone_here >= 19, "two days under a tombstone: {days:?}");
    check(&n, Some(&replica)).exits(0);
    assert!(sound(&n).keys().all(|name| replica.join(name).is_file()));
}

#[test]
fn a_replica_that_is_away_or_another_is_told_of_and_its_damage_is_mended() {
    let sim = Sim::seeded(1, 3, "");
    let mut n = node(&sim);
    let replica = n.root.path().join("disk2");
    fs::create_dir(&replica).unwrap();
    n.set("DATANODE__VAULT__REPLICA__URL", replica.to_str().unwrap());
    let kept = |s: &Value| stage(s, "seal")["vault"].clone();
    let uid = stage(&night(&n, 16), "seal")["pack_uid"].as_str().unwrap().to_owned();
    flip(&replica.join(&objects(&n, &uid, "data_objects")[0]));
    fs::remove_file(replica.join(&objects(&n, &uid, "manifest_objects")[0])).unwrap();
    check(&n, Some(&replica)).exits(3);
    assert_eq!(kept(&night(&n, 17))["replica_repaired"], 2);
    check(&n, Some(&replica)).exits(0);
    // Its disk is not mounted: the folder is there, and empty.
    let away = n.root.path().join("away");
    fs::rename(&replica, &away).unwrap();
    fs::create_dir(&replica).unwrap();
    for day in [18, 19, 20] {
        assert_eq!(kept(&night(&n, day))["replica_failed"], 1);
    }
    assert!(incidents(&n).is_empty());
    assert!(tree(&replica).keys().all(|k| k.starts_with(".datanode-tmp")), "nothing is written beneath a mount point");
    fs::remove_dir(&replica).unwrap();
    assert_eq!(kept(&night(&n, 21))["replica_failed"], 1);
    assert_eq!(incidents(&n), [("replica_behind".to_owned(), "vault/replica".to_owned(), true)]);
    fs::rename(&away, &replica).unwrap();
    assert_eq!(kept(&night(&n, 22))["replica_failed"], 0);
    assert_eq!(incidents(&n), [("replica_behind".to_owned(), "vault/replica".to_owned(), false)]);
    assert!(sound(&n).keys().all(|name| replica.join(name).is_file()));
    // A place of its own.
    n.set("DATANODE__VAULT__REPLICA__URL", n.data().join("vault2").to_str().unwrap());
    n.nightly(&[]).exits(2).says(&["vault.replica.url", "data_dir"]);
}

#[test]
fn a_bucket_is_a_replica_too() {
    let Some(s3) = S3::honest("safe") else { return };
    let sim = Sim::seeded(1, 3, "");
    let mut n = node(&sim);
    for (k, v) in
        [("URL", "s3://safe/vault"), ("ENDPOINT", &s3.endpoint), ("KEY", "env:S3_KEY"), ("SECRET", "env:S3_SECRET")]
    {
        n.set(&format!("DATANODE__VAULT__REPLICA__{k}"), v);
    }
    n.set("S3_KEY", KEY);
    n.set("S3_SECRET", SECRET_KEY);
    let s = night(&n, 24);
    assert_eq!(stage(&s, "seal")["vault"]["replica_failed"], 0, "{s}");
    let uid = stage(&s, "seal")["pack_uid"].as_str().unwrap().to_owned();
    let before = sound(&n);
    fs::remove_file(vault(&n).join(format!("descriptors/{uid}.json"))).unwrap();
    fs::remove_file(vault(&n).join(format!("stanzas/{uid}.age"))).unwrap();
    check(&n, None).exits(3);
    n.run(&["vault", "repair"]).exits(0);
    assert_eq!(sound(&n), before);
    check(&n, None).exits(0);
    let again = stage(&night(&n, 25), "seal")["vault"].clone();
    assert_eq!(again["replica_repaired"], 0, "{again}");
}

#[test]
fn the_index_is_made_again_from_descriptors() {
    let sim = Sim::seeded(1, 3, "");
    let n = node(&sim);
    night(&n, 24);
    let all = |n: &Node| n.with_store(|s| (s.load_all(&CHUNKS, &[]).unwrap(), s.load_all(&SEALINGS, &[]).unwrap()));
    let before = all(&n);
    n.with_store(|s| {
        let mut batch = datanode_schema::store::Batch::new();
        for (k, _) in s.load_all(&CHUNKS, &[]).unwrap() {
            batch.delete(&CHUNKS, &k);
        }
        batch.put(&CHUNKS, &"ab".repeat(32), &before.0[0].1).unwrap();
        s.commit(batch).unwrap();
    });
    assert_ne!(all(&n).0, before.0);
    n.with_store(|_| n.run(&["vault", "check", "--rebuild-index"]).exits(6));
    n.run(&["vault", "check", "--rebuild-index"]).exits(0);
    assert_eq!(all(&n), before);
    let nowhere = n.root.path().join("nowhere");
    n.run(&["vault", "check", nowhere.to_str().unwrap()]).exits(5);
    assert!(!nowhere.exists());
}

#[test]
fn a_kill_anywhere_in_collecting_repairing_and_copying_loses_nothing() {
    let sim = Sim::seeded(1, 3, "");
    let places = [
        "repair.written:1",
        "repair.aside:1",
        "repair.placed:1",
        "replica.receipts:1",
        "replica.objects:1",
        "vault.scrubbed:1",
        "vault.marked:1",
        "vault.recorded:1",
        "vault.descriptor_gone:1",
        "vault.stanza_gone:1",
        "vault.object_gone:1",
        "vault.object_gone:2",
        "retention.swept:1",
    ];
    let (mut killed, mut missed) = (0, Vec::new());
    for at in places {
        let mut n = node(&sim);
        let replica = n.root.path().join("disk2");
        fs::create_dir(&replica).unwrap();
        n.set("DATANODE__VAULT__REPLICA__URL", replica.to_str().unwrap());
        n.set("DATANODE__RETENTION__TRASH_DAYS", "0");
        n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
        for day in [16, 17, 18] {
            night(&n, day);
        }
        let uid = stage(&night(&n, 19), "seal")["pack_uid"].as_str().unwrap().to_owned();
        flip(&vault(&n).join(&objects(&n, &uid, "manifest_objects")[0]));
        // What later packs borrow from goes only some nights on.
        n.set("DATANODE_KILL_AT", at);
        let mut last = 20;
        let mut ended = false;
        while !ended && last < 27 {
            let (now, as_of) = (format!("2025-07-{last}T23:00:00Z"), format!("2025-06-{last}"));
            ended = n.run(&["nightly", "--json", "--now", &now, "--as-of", &as_of]).code.is_none();
            last += 1;
        }
        n.unset("DATANODE_KILL_AT");
        if ended {
            killed += 1;
        } else {
            missed.push(at);
        }
        night(&n, last - 1);
        night(&n, last);
        let said = check(&n, None);
        assert_eq!(said.code, Some(0), "{at}: {}", said.out);
        let said = check(&n, Some(&replica));
        assert_eq!(said.code, Some(0), "{at}: at the replica: {}", said.out);
        n.run(&["pack", "verify", n.data().to_str().unwrap()]).exits(0);
        let key = n.data().join("keys/node.key");
        n.run(&["pack", "verify", vault(&n).to_str().unwrap(), "--key", key.to_str().unwrap()]).exits(0);
        assert!(incidents(&n).iter().all(|(.., open)| !open), "{at}: {:?}", incidents(&n));
        assert_eq!(fs::read_dir(n.data().join("tmp")).unwrap().count(), 0, "{at}");
    }
    assert!(killed >= places.len() - 2, "only {killed} were killed, not at {missed:?}");
}
