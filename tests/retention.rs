//! Which packs stay and how the others go: here, in real buckets, through kills.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::clock::day_number;
use datanode_schema::files::{sha256_hex, sha256_of};
use datanode_schema::records::{Incident, PackRecord, Shipment};
use datanode_schema::store::{Batch, Store};
use datanode_schema::trees::{COUNTERS, INCIDENTS, PACKS, PINS, SHIPMENTS};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::s3::{KEY, S3, SECRET_KEY};
use support::{ADMIN, Live, Node, Ran, SEEDED_NIGHT, Sim, run, tree};

const NOW: &str = "2026-03-10T12:00:00Z";

fn node() -> Node {
    Node::new("universe: {}\n", SEEDED_NIGHT)
}

/// A pack of 2026-03-DD, as the exporter leaves it: `held` names the packs that a delta's other files lie in.
fn pack(n: &Node, day: u32, held: &[&str]) -> String {
    let scope = if held.is_empty() { "full" } else { "delta" };
    let id = format!("202603{day:02}T060000Z_datanode_{scope}");
    let (folder, date) = (n.data().join(format!("exports/datanode/export_{id}")), format!("2026-03-{day:02}"));
    let window = json!({"start": date, "end": date});
    let file = |path: &str, bytes: &[u8], held_by: Option<&str>| {
        let mut f = json!({"path": path, "sha256": sha256_hex(bytes), "bytes": bytes.len(), "rows": 1, "dataset": "equities_bars", "window": window});
        if let Some(h) = held_by {
            f["held_by"] = h.into();
        }
        f
    };
    let own = format!("the bytes of {date}").into_bytes();
    let own_path = format!("data/equities_bars/date={date}/data.parquet");
    let mut files = vec![file(&own_path, &own, None)];
    for h in held {
        let date = format!("2026-03-{}", &h[6..8]);
        let bytes = format!("the bytes of {date}").into_bytes();
        files.push(file(&format!("data/equities_bars/date={date}/data.parquet"), &bytes, Some(h)));
    }
    files.sort_by_key(|f| f["path"].as_str().unwrap().to_owned());
    let base = held.iter().max();
    let manifest = json!({"schema_version": 1, "export_id": id, "created_at_utc": format!("{date}T06:00:00Z"), "source": "datanode",
        "time_window": window, "producer": {"host_id": "e2e", "version": "0.1.0", "git_sha": null, "image": null}, "repo_head": null,
        "calendar": {"name": "XNYS", "version": "1", "sha256": "0".repeat(64)}, "config_sha256": "0".repeat(64), "files": files,
        "qc": {"green": 1, "amber": 0, "red": 0, "pending": 0, "excluded": []}, "base_export_id": base, "notes": null});
    let text = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
    std::fs::create_dir_all(folder.join(&own_path).parent().unwrap()).unwrap();
    std::fs::write(folder.join(&own_path), &own).unwrap();
    std::fs::write(folder.join("manifest.json"), &text).unwrap();
    let sums = format!("{}  {own_path}\n{}  manifest.json\n", sha256_hex(&own), sha256_hex(text.as_bytes()));
    std::fs::write(folder.join("SHA256SUMS.stable.txt"), sums).unwrap();
    std::fs::write(n.data().join(format!("exports/datanode/export_{id}.tar.zst")), "an archive").unwrap();
    let nightly = n.data().join("exports/nightly").join(&date);
    std::fs::create_dir_all(&nightly).unwrap();
    std::fs::hard_link(folder.join("manifest.json"), nightly.join("manifest.json")).unwrap();
    let record = PackRecord {
        as_of: day_number(date.parse().unwrap()),
        created_at: format!("{date}T06:00:00Z").parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp(),
        manifest_sha256: sha256_of(text.as_bytes()),
        content: [0; 32],
        files: 3,
        bytes: own.len() as u64,
        rows: 1,
        pack_uid: String::new(),
        root: [0; 32],
        removed_at: 0,
    };
    n.with_store(|s| put(s, |b| b.put(&PACKS, &id, &record).map(|_| ()).unwrap()));
    id
}

fn put(s: &Store, f: impl FnOnce(&mut Batch)) {
    let mut b = Batch::new();
    f(&mut b);
    s.commit(b).unwrap();
}

/// Notes that packs were brought to a destination.
fn shipped(n: &Node, destination: &str, form: &str, ids: &[&String]) {
    n.with_store(|s| {
        for id in ids {
            let receipt = Shipment { files: 3, bytes: 1, finished_at: 1 };
            put(s, |b| b.put(&SHIPMENTS, &format!("{destination}/{form}/{id}"), &receipt).map(|_| ()).unwrap());
        }
    });
}

fn shipments(n: &Node) -> Vec<String> {
    n.with_store(|s| s.load_all(&SHIPMENTS, &[]).unwrap().into_iter().map(|(k, _)| k).collect())
}

fn retention(n: &Node, args: &[&str]) -> Ran {
    n.run(&[&["retention"], args, &["--now", NOW]].concat())
}

fn plan(n: &Node) -> Value {
    retention(n, &["plan", "--json"]).exits(0).json()
}

/// The ids that go from a place, sorted.
fn gone(plan: &Value, place: &str, form: &str) -> Vec<String> {
    let rows = plan["rows"].as_array().unwrap().iter();
    let at = rows.filter(|r| r["where"] == place && r["form"] == form && r["keep"] == false);
    let mut out: Vec<String> = at.map(|r| r["export_id"].as_str().unwrap().to_owned()).collect();
    out.sort();
    out
}

fn why(plan: &Value, place: &str, id: &str) -> String {
    let row = plan["rows"].as_array().unwrap().iter().find(|r| r["where"] == place && r["export_id"] == *id).unwrap();
    row["why"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

/// The packs in exports/, by their folders; each of them verifies.
#[track_caller]
fn standing(n: &Node) -> Vec<String> {
    let folder = n.data().join("exports/datanode");
    let names = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut out: Vec<String> = names.filter(|f| !f.ends_with(".tar.zst")).collect();
    out.sort();
    for f in out.iter().filter(|f| f.ends_with("_full")) {
        n.run(&["pack", "verify", folder.join(f).to_str().unwrap()]).exits(0);
    }
    out.iter().map(|f| f.strip_prefix("export_").unwrap().to_owned()).collect()
}

#[test]
fn what_the_plan_shows_is_what_apply_does_and_pins_hold() {
    let mut n = node();
    n.set("DATANODE__RETENTION__KEEP_PACKS", "2");
    let ids: Vec<String> = (1..=6).map(|d| pack(&n, d, &[])).collect();
    retention(&n, &["pin", &ids[0], "--note", "the paper of March"]).exits(0);
    retention(&n, &["pin", "20200101T000000Z_datanode_full", "--note", "x"]).exits(5).says(&["there is no pack"]);
    retention(&n, &["pin", &ids[0], "--note", " "]).exits(2);
    let before = tree(&n.data().join("exports"));
    let shown = plan(&n);
    assert_eq!(gone(&shown, "here", "pack"), ids[1..4]);
    assert_eq!(why(&shown, "here", &ids[0]), "pinned: the paper of March");
    assert_eq!(why(&shown, "here", &ids[5]), "the newest; one of the last 2");
    let table = retention(&n, &["plan"]).exits(0).out;
    assert!(table.contains("no rule keeps it") && table.contains("3 of 6 would go"), "{table}");
    retention(&n, &["apply", "--expect", "0123"]).exits(1).says(&["nothing was removed"]);
    assert_eq!(tree(&n.data().join("exports")), before, "another digest removes nothing");

    retention(&n, &["apply", "--expect", shown["digest"].as_str().unwrap()]).exits(0);
    assert_eq!(standing(&n), [&ids[..1], &ids[4..]].concat());
    let names: Vec<String> = tree(&n.data().join("exports")).into_keys().collect();
    for id in &ids[1..4] {
        let date = format!("2026-03-{}", &id[6..8]);
        assert!(
            !names.iter().any(|f| f.contains(id.as_str()) || f.contains(&date)),
            "of {id} something is left: {names:?}"
        );
    }
    assert!(names.contains(&"nightly/2026-03-01/manifest.json".to_owned()), "the date of a pinned pack stays");
    assert_eq!(std::fs::read_dir(n.data().join("tmp")).unwrap().count(), 0, "nothing is left in tmp/");
    let again = retention(&n, &["apply", "--json"]).exits(0).json();
    assert_eq!((&again["done"]["removed"], again["removals"].as_array().unwrap().len()), (&0.into(), 0));

    let events: String = std::fs::read_dir(n.data().join("data_layer/events"))
        .unwrap()
        .map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap())
        .collect();
    assert!(
        events.contains("\"act\":\"pin\"") && events.contains("the paper of March") && events.contains("uid "),
        "{events}"
    );
    n.run(&["rebuild"]).exits(0);
    assert_eq!(n.with_store(|s| s.load(&PINS, &ids[0]).unwrap().unwrap().note), "the paper of March");
    retention(&n, &["unpin", &ids[0]]).exits(0);
    retention(&n, &["unpin", &ids[0]]).exits(5).says(&["is not pinned"]);
    assert_eq!(gone(&plan(&n), "here", "pack"), ids[..1]);
}

#[test]
fn a_clock_that_is_behind_removes_nothing_and_says_so() {
    let mut n = node();
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    let ids: Vec<String> = (1..=3).map(|d| pack(&n, d, &[])).collect();
    let early = n.run(&["retention", "apply", "--now", "2026-03-03T05:59:59Z"]).exits(0);
    assert!(early.out.contains("set the clock"), "{}", early.out);
    assert_eq!(standing(&n), ids);
    n.run(&["retention", "apply", "--now", "2026-03-03T06:00:00Z"]).exits(0);
    assert_eq!(standing(&n), ids[2..]);
}

#[test]
fn rules_of_days_and_months_and_an_open_incident_keep_packs() {
    let mut n = node();
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    n.set("DATANODE__RETENTION__KEEP_DAYS", "6");
    let ids: Vec<String> = (1..=6).map(|d| pack(&n, d, &[])).collect();
    let p = plan(&n);
    assert_eq!(gone(&p, "here", "pack"), ids[..4]);
    assert_eq!(why(&p, "here", &ids[4]), "younger than 6 days");
    n.set("DATANODE__RETENTION__KEEP_DAYS", "0");
    n.set("DATANODE__RETENTION__KEEP_MONTHLY", "2");
    assert_eq!(gone(&plan(&n), "here", "pack"), ids[..5]);
    let incident = |closed_at: i64| Incident {
        kind: 6,
        label: 2,
        artifact: ids[1].clone(),
        note: "n".into(),
        replacement: ids[5].clone(),
        evidence: String::new(),
        opened_at: 1,
        opened_by: "node".into(),
        closed_at,
        closed_by: String::new(),
        closed_why: String::new(),
    };
    n.with_store(|s| put(s, |b| b.put(&INCIDENTS, &7, &incident(0)).map(|_| ()).unwrap()));
    assert_eq!(why(&plan(&n), "here", &ids[1]), "incident 7 is open");
    n.with_store(|s| put(s, |b| b.put(&INCIDENTS, &7, &incident(2)).map(|_| ()).unwrap()));
    assert_eq!(gone(&plan(&n), "here", "pack"), ids[..5]);
}

/// A bucket of s3s-fs as a destination named `one`, with the objects of packs; what a node ships lies there the same.
fn destination(n: &mut Node, s3: &S3, ids: &[&String]) -> PathBuf {
    at(n, "one", &s3.endpoint, "s3://packs");
    let root = s3.root.path().join("packs");
    let exports = n.data().join("exports/datanode");
    for id in ids {
        support::copy(&exports.join(format!("export_{id}")), &root.join(format!("exports/datanode/export_{id}")));
        pointer(&root.join(format!("exports/datanode/export_{id}.pointer")), id);
        pointer(&root.join("exports/datanode/latest.pointer"), id);
    }
    shipped(n, "one", "plain", ids);
    root
}

fn pointer(path: &Path, id: &str) {
    let text = format!(
        "repo=\nworkflow=\nrun_id=\nexport_bucket=s3://packs\nexport_prefix=exports/datanode\nexport_id={id}\nartifact_hint=\n"
    );
    std::fs::write(path, text).unwrap();
}

fn at(n: &mut Node, name: &str, endpoint: &str, url: &str) {
    n.set("E2E_S3_KEY", KEY);
    n.set("E2E_S3_SECRET", SECRET_KEY);
    let mut set = |k: &str, v: &str| n.set(&format!("DATANODE__SHIP__DESTINATIONS__{}__{k}", name.to_uppercase()), v);
    set("URL", url);
    set("ENDPOINT", endpoint);
    set("KEY", "env:E2E_S3_KEY");
    set("SECRET", "env:E2E_S3_SECRET");
    set("MODE", "plain");
}

#[test]
fn a_bucket_keeps_what_its_deltas_need_and_loses_the_rest_and_nothing_else() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut n = node();
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    let full = pack(&n, 1, &[]);
    let d2 = pack(&n, 2, &[&full]);
    let d3 = pack(&n, 3, &[&full, &d2]);
    let full4 = pack(&n, 4, &[]);
    let d5 = pack(&n, 5, &[&full4]);
    let root = destination(&mut n, &s3, &[&full, &d2, &d3, &full4, &d5]);
    // Not ours, or not known to have been brought by us.
    let others = [
        "exports/other/export_20260301T060000Z_other_full/manifest.json",
        "exports/datanode/export_20260301T060000Z_datanode_full2/manifest.json",
        "exports/datanode/export_20260101T060000Z_datanode_full/manifest.json",
        "notes.txt",
    ];
    for o in others {
        std::fs::create_dir_all(root.join(o).parent().unwrap()).unwrap();
        std::fs::write(root.join(o), "not yours").unwrap();
    }
    let before = tree(&root);

    let p = plan(&n);
    assert_eq!(gone(&p, "here", "pack"), [full.clone(), d2.clone(), d3.clone()]);
    assert!(gone(&p, "one", "plain").is_empty() && why(&p, "one", &d3) == "no rule: everything stays there", "{p}");
    assert_eq!(why(&p, "here", &full4), format!("needed by {d5}"));
    retention(&n, &["apply"]).exits(0);
    assert_eq!(standing(&n), [full4.clone(), d5.clone()]);
    assert_eq!(tree(&root), before);

    // What the packs that are gone from here build on is remembered.
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "3");
    let p = plan(&n);
    assert!(gone(&p, "one", "plain").is_empty(), "{p}");
    assert_eq!(
        (why(&p, "one", &d2), why(&p, "one", &full)),
        (format!("needed by {d3}"), format!("needed by {d2}; needed by {d3}"))
    );
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "1");
    let p = plan(&n);
    assert_eq!(gone(&p, "one", "plain"), [full.clone(), d2.clone(), d3.clone()]);
    let done = retention(&n, &["apply", "--json"]).exits(0).json();
    assert_eq!((&done["done"]["removed_there"], &done["done"]["refused"]), (&3.into(), &0.into()), "{done}");
    let left: Vec<String> = tree(&root).into_keys().collect();
    let want: Vec<String> = before
        .keys()
        .filter(|k| {
            ![&full, &d2, &d3]
                .iter()
                .any(|id| k.contains(&format!("export_{id}/")) || k.ends_with(&format!("export_{id}.pointer")))
        })
        .cloned()
        .collect();
    assert_eq!(left, want);
    assert_eq!(shipments(&n), [format!("one/plain/{full4}"), format!("one/plain/{d5}")]);
    assert!(plan(&n)["removals"] == 0);
}

#[test]
fn what_is_not_yet_at_a_destination_stays_here() {
    let mut n = node();
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    let ids: Vec<String> = (1..=5).map(|d| pack(&n, d, &[])).collect();
    // Nothing listens there: the receipts say enough for the plan, and not for removing what may be the last copy.
    at(&mut n, "one", "http://127.0.0.1:9", "s3://packs");
    shipped(&n, "one", "plain", &[&ids[1], &ids[2]]);
    // It stood here before the first pack went there.
    n.with_store(|s| {
        let key = datanode_actors::retention::brought_key("one", "plain", &ids[0]);
        put(s, |b| b.put(&COUNTERS, &key, &1).map(|_| ()).unwrap());
    });
    let p = plan(&n);
    assert_eq!(gone(&p, "here", "pack"), ids[..3]);
    assert_eq!(why(&p, "here", &ids[3]), "not yet at one");
    retention(&n, &["apply"]).exits(1).says(&["cannot be seen there"]);
    assert_eq!(standing(&n), ids[1..]);
    let there = n.root.path().join("bucket");
    at(&mut n, "one", "", &there.display().to_string());
    for id in &ids[1..3] {
        let to = there.join(format!("exports/datanode/export_{id}"));
        std::fs::create_dir_all(&to).unwrap();
        std::fs::copy(n.data().join(format!("exports/datanode/export_{id}/manifest.json")), to.join("manifest.json"))
            .unwrap();
    }
    retention(&n, &["apply"]).exits(0);
    assert_eq!(standing(&n), ids[3..]);
}

#[test]
fn a_sealing_stays_in_the_bucket_while_a_kept_one_names_its_chunks() {
    let Some(s3) = S3::honest("packs") else { return };
    // Minute bars of a session are a file of their own, which the next pack holds again.
    let sim = Sim::seeded(1, 20, "");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    n.set("DATANODE__NODE__SOURCE", "datanode");
    let mut ids = Vec::new();
    for day in ["24", "25", "26", "27"] {
        let date = format!("2025-06-{day}");
        let night = n
            .run(&["nightly", "--json", "--now", &format!("2025-07-{day}T23:00:00Z"), "--as-of", &date])
            .exits(0)
            .json();
        ids.push(night["export_id"].as_str().unwrap().to_owned());
    }
    at(&mut n, "one", &s3.endpoint, "s3://packs");
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__MODE", "sealed");
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "1");
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    // Each sealing's own objects in its own folder, as they are shipped.
    let (root, vault) = (s3.root.path().join("packs"), n.data().join("vault"));
    let uids: Vec<String> =
        n.with_store(|s| ids.iter().map(|id| s.load(&PACKS, id).unwrap().unwrap().pack_uid).collect());
    let mut requires = Vec::new();
    for uid in &uids {
        let text = std::fs::read(vault.join(format!("descriptors/{uid}.json"))).unwrap();
        let d: Value = serde_json::from_slice(&text).unwrap();
        requires
            .push(d["requires"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned()).collect::<Vec<_>>());
        let lists = [&d["data_objects"], &d["manifest_objects"], &d["parity"]["objects"]];
        let objects = lists.into_iter().flat_map(|list| list.as_array().unwrap());
        let chunks = objects.map(|o| o["object_blake3"].as_str().unwrap()).map(|h| format!("chunks/{}/{h}", &h[..2]));
        for path in chunks.chain([
            format!("stanzas/{uid}.age"),
            format!("stanzas/{uid}.age.sha256"),
            format!("descriptors/{uid}.json"),
        ]) {
            let to = root.join(format!("sealed/datanode/{uid}")).join(&path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(vault.join(&path), to).unwrap();
        }
    }
    shipped(&n, "one", "sealed", &ids.iter().collect::<Vec<_>>());
    let needed: Vec<&String> = uids.iter().filter(|u| requires[3].contains(u)).collect();
    assert!(!needed.is_empty(), "the last sealing borrows: {requires:?}");
    let later = ["--now", "2025-07-28T12:00:00Z"];
    n.run(&[&["retention", "apply"], &later[..]].concat()).exits(0);
    // s3s-fs leaves the folders of what was deleted.
    let there: BTreeSet<String> =
        tree(&root.join("sealed/datanode")).into_keys().map(|k| k.split('/').next().unwrap().to_owned()).collect();
    for (i, uid) in uids.iter().enumerate() {
        assert_eq!(there.contains(uid), i == 3 || needed.contains(&uid), "{uid} of {there:?}, requires {requires:?}");
    }
    // The union of the folders is a vault in which the kept sealing verifies.
    let union = n.root.path().join("union");
    for uid in &there {
        support::copy(&root.join("sealed/datanode").join(uid), &union);
    }
    n.run(&["pack", "verify", union.to_str().unwrap()]).exits(0);
    let key = n.data().join("keys/node.key");
    let to = n.root.path().join("opened");
    n.run(&[
        "pack",
        "open",
        union.to_str().unwrap(),
        "--id",
        &uids[3],
        "--key",
        key.to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ])
    .exits(0);
    assert_eq!(
        support::differences(&to, &n.data().join(format!("exports/datanode/export_{}", ids[3]))),
        Vec::<String>::new()
    );
    let again = n.run(&[&["retention", "apply", "--json"], &later[..]].concat()).exits(0).json();
    assert_eq!((&again["done"]["removed"], &again["done"]["removed_there"]), (&0.into(), &0.into()));
}

/// Python with boto3 against a server; None where it is not there.
fn boto(s3: &S3, script: &str) -> Option<Ran> {
    let python = std::env::var_os("DATANODE_PYTHON")?;
    let head =
        "import boto3, json, os, sys\ns3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1')\n";
    let mut c = Command::new(python);
    c.args(["-c", &format!("{head}{script}"), &s3.endpoint]);
    c.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    Some(run(&mut c).exits(0))
}

#[test]
fn where_versions_are_kept_every_one_survives_and_a_pack_can_be_brought_back() {
    let Some(s3) = S3::moto() else { return };
    for lock in [false, true] {
        let mut n = node();
        n.set("DATANODE__RETENTION__KEEP_PACKS", "5");
        let ids: Vec<String> = (1..=3).map(|d| pack(&n, d, &[])).collect();
        let bucket = if lock { "locked" } else { "versioned" };
        at(&mut n, "one", &s3.endpoint, &format!("s3://{bucket}"));
        n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "1");
        let exports = n.data().join("exports/datanode");
        let make = if lock {
            "s3.create_bucket(Bucket='locked', ObjectLockEnabledForBucket=True)\ns3.put_object_lock_configuration(Bucket='locked', ObjectLockConfiguration={'ObjectLockEnabled': 'Enabled', 'Rule': {'DefaultRetention': {'Mode': 'COMPLIANCE', 'Days': 30}}})\n"
        } else {
            "s3.create_bucket(Bucket='versioned')\ns3.put_bucket_versioning(Bucket='versioned', VersioningConfiguration={'Status': 'Enabled'})\n"
        };
        let up = format!(
            "{make}root='{}'\nfor d, _, fs in os.walk(root):\n  for f in fs:\n    if not f.endswith('.zst'):\n      p = os.path.join(d, f); s3.upload_file(p, '{bucket}', 'exports/datanode/' + os.path.relpath(p, root))\n",
            exports.display()
        );
        boto(&s3, &up).unwrap();
        shipped(&n, "one", "plain", &ids.iter().collect::<Vec<_>>());
        let done = retention(&n, &["apply", "--json"]).exits(0).json();
        assert_eq!(done["done"]["removed_there"], 2, "{done}");
        let look = format!(
            "v = s3.list_object_versions(Bucket='{bucket}')\nlive = [o['Key'] for o in s3.list_objects_v2(Bucket='{bucket}').get('Contents', [])]\nprint(json.dumps({{'live': live, 'versions': [x['Key'] for x in v['Versions']], 'markers': [x['Key'] for x in v.get('DeleteMarkers', [])]}}))"
        );
        let seen = boto(&s3, &look).unwrap().json();
        let of =
            |k: &str| seen[k].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert!(of("live").iter().all(|k| k.contains(&ids[2])) && of("live").len() == 3, "{seen}");
        assert_eq!((of("versions").len(), of("markers").len()), (9, 6), "{seen}");
        let back = format!(
            "for m in s3.list_object_versions(Bucket='{bucket}')['DeleteMarkers']:\n  s3.delete_object(Bucket='{bucket}', Key=m['Key'], VersionId=m['VersionId'])\nfor o in s3.list_objects_v2(Bucket='{bucket}')['Contents']:\n  p = os.path.join('{to}', o['Key']); os.makedirs(os.path.dirname(p), exist_ok=True); s3.download_file('{bucket}', o['Key'], p)\n",
            to = n.root.path().display()
        );
        boto(&s3, &back).unwrap();
        for id in &ids {
            n.run(&["pack", "verify", n.root.path().join(format!("exports/datanode/export_{id}")).to_str().unwrap()])
                .exits(0);
        }
    }
}

/// Passes requests on, but answers deletions with 403 while it is told to.
struct Refusing {
    endpoint: String,
    refuses: Arc<AtomicBool>,
}

impl Refusing {
    fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let refuses = Arc::new(AtomicBool::new(true));
        let (to, flag) = (server.trim_start_matches("http://").to_owned(), refuses.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (to, flag) = (to.clone(), flag.clone());
                std::thread::spawn(move || drop(Self::pass(client, &to, &flag)));
            }
        });
        Self { endpoint, refuses }
    }

    /// One request a connection.
    fn pass(client: TcpStream, to: &str, refuses: &AtomicBool) -> std::io::Result<()> {
        let mut from = BufReader::new(client.try_clone()?);
        let (mut head, mut length) = (String::new(), 0u64);
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = Vec::new();
        from.take(length).read_to_end(&mut body)?;
        let mut client = client;
        if refuses.load(Ordering::Acquire)
            && (head.starts_with("DELETE") || (head.starts_with("POST") && head.contains("?delete")))
        {
            let text = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>";
            return write!(
                client,
                "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            );
        }
        let mut server = TcpStream::connect(to)?;
        write!(server, "{head}connection: close\r\n\r\n")?;
        server.write_all(&body)?;
        std::io::copy(&mut server, &mut client).map(|_| ())
    }
}

#[test]
fn a_removal_that_the_bucket_refuses_leaves_the_pack_complete_and_is_told() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut n = node();
    let ids: Vec<String> = (1..=3).map(|d| pack(&n, d, &[])).collect();
    let root = destination(&mut n, &s3, &ids.iter().collect::<Vec<_>>());
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "1");
    let proxy = Refusing::before(&s3.endpoint);
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__ENDPOINT", &proxy.endpoint);
    let (before, receipts) = (tree(&root), shipments(&n));
    let refused = retention(&n, &["apply"]).exits(1).says(&["one", &ids[0], "manifest.json", "refused or expired"]);
    assert!(!refused.err.contains(SECRET_KEY) && !refused.out.contains(SECRET_KEY));
    assert_eq!((tree(&root), shipments(&n)), (before, receipts));
    assert_eq!(gone(&plan(&n), "one", "plain"), ids[..2], "it is tried again");
    proxy.refuses.store(false, Ordering::Release);
    retention(&n, &["apply"]).exits(0);
    assert!(tree(&root).keys().all(|k| k.contains(&ids[2]) || k.ends_with("latest.pointer")));
    // A pointer that does not say what it points to: nothing beside it is removed.
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__ENDPOINT", &s3.endpoint);
    let more = pack(&n, 4, &[]);
    let root = destination(&mut n, &s3, &[&more]);
    std::fs::write(root.join("exports/datanode/latest.pointer"), "who knows\n").unwrap();
    retention(&n, &["apply"]).exits(1).says(&["latest.pointer", "nothing is removed"]);
    pointer(&root.join("exports/datanode/latest.pointer"), &ids[2]);
    retention(&n, &["apply"]).exits(1).says(&["latest.pointer names"]);
    assert!(root.join(format!("exports/datanode/export_{}/manifest.json", ids[2])).is_file());
    pointer(&root.join("exports/datanode/latest.pointer"), &more);
    retention(&n, &["apply"]).exits(0);
    assert!(!root.join(format!("exports/datanode/export_{}/manifest.json", ids[2])).exists());
    drop(s3);
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "1");
    assert_eq!(plan(&n)["removals"], 0, "a plan asks no bucket");
}

#[test]
fn a_kill_at_any_place_leaves_whole_packs_and_the_next_run_ends_it() {
    let Some(s3) = S3::honest("packs") else { return };
    let places = [
        "retention.recorded:1",
        "retention.recorded:2",
        "retention.retired:1",
        "retention.retired:4",
        "retention.swept:1",
        "retention.begun:1",
        "retention.begun:2",
        "retention.uncommitted:1",
        "retention.deleted:1",
        "retention.deleted:2",
    ];
    let mut n = node();
    let mut day = 1;
    let mut killed = 0;
    for at in places {
        n.set("DATANODE__RETENTION__KEEP_PACKS", "30");
        let ids: Vec<String> = (0..3).map(|i| pack(&n, day + i % 3, &[])).collect();
        let root = destination(&mut n, &s3, &ids.iter().collect::<Vec<_>>());
        n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
        n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "1");
        let mut c = n.command(&["retention", "apply", "--now", "2026-03-30T00:00:00Z"]);
        killed += u32::from(run(c.env("DATANODE_KILL_AT", at)).code.is_none());
        standing(&n);
        for f in tree(&root).keys().filter(|f| f.ends_with("/manifest.json")) {
            n.run(&["pack", "verify", root.join(f).parent().unwrap().to_str().unwrap()]).exits(0);
        }
        n.run(&["retention", "apply", "--now", "2026-03-30T00:00:00Z"]).exits(0);
        assert_eq!(standing(&n), ids[2..], "{at}");
        assert!(
            tree(&root).keys().all(|k| k.contains(&ids[2]) || k.ends_with("latest.pointer")),
            "{at}: {:?}",
            tree(&root).keys()
        );
        assert_eq!(shipments(&n), [format!("one/plain/{}", ids[2])], "{at}");
        assert_eq!(std::fs::read_dir(n.data().join("tmp")).unwrap().count(), 0, "{at}");
        // The next round's packs are newer.
        day += 3;
        if day > 27 {
            n = node();
            day = 1;
            std::fs::remove_dir_all(&root).unwrap();
            std::fs::create_dir(&root).unwrap();
        }
    }
    assert_eq!(killed, u32::try_from(places.len()).unwrap());
}

#[test]
fn while_the_node_runs_it_is_asked_over_its_socket() {
    let mut n = node();
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    let ids: Vec<String> = (1..=3).map(|d| pack(&n, d, &[])).collect();
    n.set("DATANODE__LOG__LEVEL", "info");
    let mut c = n.command(&["run", "--now", NOW]);
    let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut err = BufReader::new(live.child().stderr.take().unwrap());
    while !n.data().join("admin.sock").exists() {
        assert!(err.read_line(&mut String::new()).unwrap() > 0, "it ended");
    }
    std::thread::spawn(move || std::io::copy(&mut err, &mut std::io::sink()));
    let admin = |args: &[&str]| run(&mut n.program(ADMIN, args));
    retention(&n, &["plan"]).exits(6).says(&["datanode-admin retention plan"]);
    retention(&n, &["apply"]).exits(6).says(&["next nightly cycle"]);
    retention(&n, &["pin", &ids[0], "--note", "x"]).exits(6).says(&["datanode-admin retention pin"]);
    let pinned = admin(&["retention", "pin", &ids[0], "--note", "cited"]).exits(0).out;
    assert!(pinned.contains("stays until it is unpinned"), "{pinned}");
    let shown = admin(&["retention", "plan"]).exits(0).out;
    assert!(shown.contains("pinned: cited") && shown.contains("no rule keeps it"), "{shown}");
    let p: Value = admin(&["--json", "retention"]).exits(0).json();
    assert_eq!(
        (&p["removals"], &p["rows"][0]["export_id"], &p["rows"][0]["what"]),
        (&1.into(), &ids[1].as_str().into(), &"remove".into()),
        "{p}"
    );
    admin(&["retention", "unpin", &ids[0]]).exits(0);
    admin(&["retention", "unpin", &ids[0]]).exits(5);
    live.signal(nix::sys::signal::Signal::SIGTERM);
    live.wait().exits(0);
    assert_eq!(gone(&plan(&n), "here", "pack"), ids[..2]);
}
