//! The pack as consumers get it: deltas, the published schema, one file, the same bytes everywhere, what changed between two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::export::{MANIFEST_SCHEMA, PackManifest, archive_path};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Node, Ran, SEEDED_NIGHT, Sim, copy, differences, python, run, stage, tree};

/// All stages before the pack.
const BEFORE: [&str; 2] = ["--stages", "ingest,audit,backfill,curate,qc"];

/// A node with a market of three symbols and twelve sessions of minutes.
fn node(sim: &Sim) -> Node {
    Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], sim)
}

fn market() -> Sim {
    Sim::seeded(3, 12, "")
}

/// A cycle whose last session is that day of June 2025, on the evening of a July day that is as many days on.
fn night(n: &Node, day: u32, more: &[&str]) -> Ran {
    let (now, as_of) = (format!("2025-07-{:02}T23:00:00Z", day - 20), format!("2025-06-{day}"));
    n.run(&[&["nightly", "--json", "--now", &now, "--as-of", &as_of], more].concat())
}

fn manifest(pack: &Path) -> PackManifest {
    PackManifest::parse(&std::fs::read(pack.join("manifest.json")).unwrap()).unwrap()
}

/// Paths that each holder has; "" is the pack itself.
fn held(m: &PackManifest) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for f in &m.files {
        out.entry(f.held_by.clone().unwrap_or_default()).or_default().insert(f.path.clone());
    }
    out
}

#[track_caller]
fn sha256sum(folder: &Path) {
    let ran = run(Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS.stable.txt"]).current_dir(folder));
    ran.exits(0);
}

#[track_caller]
fn verifies(n: &Node, what: &Path) -> Ran {
    n.run(&["pack", "verify", what.to_str().unwrap()]).exits(0)
}

/// A delta with every file beside it, as a consumer makes it.
fn materialise(n: &Node, pack: &Path, to: &Path) {
    copy(pack, to);
    let m = manifest(pack);
    let mut sums: Vec<(String, String)> = vec![];
    for f in &m.files {
        if let Some(holder) = &f.held_by {
            let target = to.join(&f.path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            let from = n.data().join("exports/datanode").join(format!("export_{holder}")).join(&f.path);
            std::fs::copy(from, target).unwrap();
        }
        sums.push((f.path.clone(), f.sha256.clone()));
    }
    let own = datanode_schema::files::sha256_file(&pack.join("manifest.json")).unwrap().0;
    sums.push(("manifest.json".into(), hex(&own)));
    sums.sort();
    let text: String = sums.iter().map(|(p, s)| format!("{s}  {p}\n")).collect();
    std::fs::write(to.join("SHA256SUMS.stable.txt"), text).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_delta_holds_what_is_new_and_names_who_holds_the_rest() {
    let sim = market();
    let mut n = node(&sim);
    n.set("DATANODE__EXPORT__SCOPE", "delta");
    n.set("DATANODE__EXPORT__ARCHIVE", "true");
    let full = night(&n, 24, &[]).exits(0).json();
    let (one, first) = (n.pack(&full), full["export_id"].as_str().unwrap().to_owned());
    assert!(first.ends_with("_full"), "without a pack there is nothing to build on: {first}");
    let second = night(&n, 25, &[]).exits(0).json();
    let two = n.pack(&second);
    let third = night(&n, 26, &[]).exits(0).json();
    let three = n.pack(&third);
    let (m2, m3) = (manifest(&two), manifest(&three));
    assert!(m2.export_id.ends_with("_delta") && m2.base_export_id.as_ref() == Some(&first));
    assert_eq!(m3.base_export_id.as_ref(), Some(&m2.export_id), "the pack before it, not the first");
    let holders: Vec<String> = held(&m3).into_keys().collect();
    assert_eq!(holders, ["".to_owned(), first.clone(), m2.export_id.clone()]);
    assert!(held(&m3)[&m2.export_id].iter().any(|p| p.contains("date=2025-06-25")), "{:?}", held(&m3));
    let own: BTreeSet<String> = tree(&three).into_keys().filter(|f| f.starts_with("data/")).collect();
    assert_eq!(own, held(&m3)[""], "its folder holds its own files and no other");
    assert!(own.iter().any(|p| p.contains("date=2025-06-26")) && own.len() < m3.files.len() / 2, "{own:?}");
    let c = stage(&third, "export");
    assert_eq!((c["held"].as_u64(), c["files"].as_u64()), (Some((m3.files.len() - own.len()) as u64), Some(m3.files.len() as u64)));

    for (pack, day) in [(&one, 24), (&two, 25), (&three, 26)] {
        sha256sum(pack);
        verifies(&n, pack);
        let nightly = n.data().join(format!("exports/nightly/2025-06-{day}"));
        assert_eq!(differences(pack, &nightly), Vec::<String>::new(), "the dated folder holds the same files");
        sha256sum(&nightly);
    }
    verifies(&n, &n.data());
    let listed = n.run(&["pack", "list", "--json"]).exits(0).out.lines().count();
    assert_eq!(listed, 3);

    // The same state as one full pack says the same.
    let mut whole = node(&sim);
    night(&whole, 24, &[]).exits(0);
    night(&whole, 25, &[]).exits(0);
    let full = night(&whole, 26, &[]).exits(0).json();
    let other = whole.pack(&full);
    let d = n.run(&["pack", "diff", three.to_str().unwrap(), other.to_str().unwrap()]).exits(0);
    assert!(d.out.starts_with("same "), "{}", d.out);
    whole.set("UNUSED", "");

    // With the others' files beside it, it is a pack that needs no other; with some of them it is none.
    let to = n.root.path().join("whole");
    materialise(&n, &three, &to);
    sha256sum(&to);
    verifies(&n, &to);
    let d = n.run(&["pack", "diff", "--json", three.to_str().unwrap(), to.to_str().unwrap()]).exits(0).json();
    assert_eq!(d["same"], true);
    let sums = std::fs::read_to_string(to.join("SHA256SUMS.stable.txt")).unwrap();
    let gone = held(&m3)[&first].iter().next().unwrap().clone();
    let fewer: String = sums.lines().filter(|l| !l.ends_with(&gone)).map(|l| format!("{l}\n")).collect();
    std::fs::write(to.join("SHA256SUMS.stable.txt"), fewer).unwrap();
    std::fs::remove_file(to.join(&gone)).unwrap();
    n.run(&["pack", "verify", to.to_str().unwrap()]).exits(3).says(&["all, or none"]);

    // Sealed and opened again it is the delta that was sealed.
    let (vault, key, opened) = (n.data().join("vault"), n.data().join("keys/node.key"), n.root.path().join("opened"));
    let uid = stage(&third, "seal")["pack_uid"].as_str().unwrap();
    n.run(&["pack", "open", vault.to_str().unwrap(), "--to", opened.to_str().unwrap(), "--id", uid, "--key", key.to_str().unwrap()])
        .exits(0);
    assert_eq!(differences(&three, &opened), Vec::<String>::new());

    // Nothing new: no new pack.
    let again = n.run(&["nightly", "--json", "--now", "2025-07-08T23:00:00Z", "--as-of", "2025-06-26"]).exits(0).json();
    assert_eq!((&again["export_id"], stage(&again, "export")["unchanged"].as_u64()), (&third["export_id"], Some(1)));
}

#[test]
fn a_full_pack_is_made_where_a_delta_cannot_be_built() {
    let sim = market();
    let mut n = node(&sim);
    n.set("DATANODE__EXPORT__SCOPE", "delta");
    let first = night(&n, 24, &[]).exits(0).json();
    night(&n, 25, &[]).exits(0);
    night(&n, 26, &BEFORE).exits(0);
    let ready = n.data();
    let export = |what: &str, change: &dyn Fn(&Path), now: &str, more: &[(&str, &str)]| {
        let dir = n.root.path().join("case");
        copy(&ready, &dir);
        change(&dir.join("exports/datanode"));
        let args = ["--data-dir", dir.to_str().unwrap(), "nightly", "--json", "--now", now, "--as-of", "2025-06-26", "--stages", "export"];
        let ran = run(n.command(&args).envs(more.iter().copied()).env("DATANODE__LOG__LEVEL", "info")).exits(0);
        let id = ran.json()["export_id"].as_str().unwrap().to_owned();
        let pack = dir.join("exports/datanode").join(format!("export_{id}"));
        verifies(&n, &pack);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(id.ends_with("_delta") || ran.err.contains("a full pack is made"), "{what}: {}", ran.err);
        id
    };
    let now = "2025-07-06T23:00:00Z";
    let folder = format!("export_{}", first["export_id"].as_str().unwrap());
    let data = |exports: &Path| exports.join(&folder).join("data");
    let minutes = |exports: &Path| {
        let all = tree(&data(exports)).into_keys().find(|f| f.contains("minute")).unwrap();
        data(exports).join(all)
    };
    assert!(export("as it stands", &|_| {}, now, &[]).ends_with("_delta"));
    let cases: [(&str, &dyn Fn(&Path)); 5] = [
        ("a holder's folder is gone", &|e| std::fs::remove_dir_all(e.join(&folder)).unwrap()),
        ("a holder's manifest is gone", &|e| std::fs::remove_file(e.join(&folder).join("manifest.json")).unwrap()),
        ("a holder's manifest is altered", &|e| {
            let file = e.join(&folder).join("manifest.json");
            let text = std::fs::read_to_string(&file).unwrap().replacen("e2e", "e3e", 1);
            std::fs::write(file, text).unwrap();
        }),
        ("a holder's file is gone", &|e| std::fs::remove_file(minutes(e)).unwrap()),
        ("a holder's file is altered", &|e| {
            let file = minutes(e);
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[100] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }),
    ];
    for (what, change) in cases {
        assert!(export(what, change, now, &[]).ends_with("_full"), "{what}");
    }
    assert!(export("a week after the last full one", &|_| {}, "2025-07-11T23:00:00Z", &[]).ends_with("_full"));
    let longer = [("DATANODE__EXPORT__FULL_EVERY_DAYS", "30")];
    assert!(export("within the month that is set", &|_| {}, "2025-07-11T23:00:00Z", &longer).ends_with("_delta"));
    assert!(export("the clock went back", &|_| {}, "2025-07-05T22:00:00Z", &[]).ends_with("_full"));
}

#[test]
fn more_than_half_new_is_a_full_pack() {
    let sim = Sim::seeded(3, 2, "");
    let mut n = node(&sim);
    n.set("DATANODE__EXPORT__SCOPE", "delta");
    night(&n, 25, &[]).exits(0);
    let id = night(&n, 30, &[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
    assert!(id.ends_with("_full"), "both sessions of minutes are new: {id}");
}

#[test]
fn the_archive_is_the_pack_in_one_file_that_tar_and_sha256sum_agree_with() {
    let sim = Sim::seeded(2, 3, "");
    let mut n = node(&sim);
    n.set("DATANODE__EXPORT__ARCHIVE", "true");
    let s = night(&n, 30, &[]).exits(0).json();
    let pack = n.pack(&s);
    let file = archive_path(&pack);
    assert!(file.is_file() && file.file_name().unwrap().to_str().unwrap().ends_with("_full.tar.zst"));
    let to = n.root.path().join("untarred");
    std::fs::create_dir(&to).unwrap();
    run(Command::new("tar").args(["--zstd", "-x", "-f"]).arg(&file).arg("-C").arg(&to)).exits(0);
    let inside = to.join(pack.file_name().unwrap());
    sha256sum(&inside);
    assert_eq!(differences(&pack, &inside), Vec::<String>::new());
    let listed = run(Command::new("tar").args(["--zstd", "--numeric-owner", "--utc", "-tv", "-f"]).arg(&file)).exits(0).out;
    for line in listed.lines() {
        assert!(line.starts_with("-rw-r--r-- 0/0") && line.contains("2025-07-10 23:00"), "{line}");
    }
    let names: Vec<&str> = listed.lines().map(|l| l.rsplit(' ').next().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    // Where it is gone, a night without changes makes it again: the same bytes.
    let before = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let again = n.run(&["nightly", "--json", "--now", "2025-07-12T23:00:00Z", "--as-of", "2025-06-30"]).exits(0).json();
    assert_eq!(again["export_id"], s["export_id"]);
    assert!(std::fs::read(&file).unwrap() == before, "the same pack gives the same archive");
}

#[test]
fn the_same_state_and_id_give_the_same_bytes_in_every_process_zone_folder_and_after_rebuild() {
    let sim = market();
    let mut n = node(&sim);
    n.set("DATANODE__EXPORT__ARCHIVE", "true");
    n.set("DATANODE__EXPORT__SCOPE", "delta");
    n.set("DATANODE__NODE__THREADS", "2");
    night(&n, 25, &BEFORE).exits(0);
    // Twice: the full pack, and the delta over it.
    for (day, scope) in [(25, "_full"), (26, "_delta")] {
        if day == 26 {
            night(&n, 25, &["--stages", "export"]).exits(0);
            night(&n, 26, &BEFORE).exits(0);
        }
        let (now, as_of) = (format!("2025-07-{:02}T23:30:00Z", day - 20), format!("2025-06-{day}"));
        let places: [(&str, &[(&str, &str)], bool); 3] = [
            ("utc", &[("TZ", "UTC"), ("LC_ALL", "C")], false),
            ("deeper/in/another/folder", &[("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8"), ("DATANODE__NODE__THREADS", "1")], false),
            ("rebuilt", &[("TZ", "America/New_York")], true),
        ];
        let mut made: Vec<PathBuf> = Vec::new();
        for (name, env, rebuilt) in places {
            let dir = n.root.path().join(format!("{day}")).join(name);
            copy(&n.data(), &dir);
            let at = |args: &[&str]| run(n.command(&[&["--data-dir", dir.to_str().unwrap()], args].concat()).envs(env.iter().copied()));
            if rebuilt {
                at(&["rebuild"]).exits(0);
            }
            let s = at(&["nightly", "--json", "--now", &now, "--as-of", &as_of, "--stages", "export"]).exits(0).json();
            let id = s["export_id"].as_str().unwrap();
            assert!(id.ends_with(scope) && id.starts_with("202507") && id.contains("T233000Z"), "{name}: {id}");
            made.push(dir.join("exports"));
        }
        assert!(tree(&made[0]).keys().any(|f| f.ends_with("_full.tar.zst") || f.ends_with("_delta.tar.zst")));
        for other in &made[1..] {
            assert_eq!(differences(&made[0], other), Vec::<String>::new(), "{}", other.display());
        }
    }
}

#[test]
fn files_written_anew_are_written_once_and_linked_from_then_on() {
    let sim = Sim::seeded(3, 4, "alpaca: {rules: [{match: {symbols: [AAAA]}, action: {corrupt: ohlc}}]}");
    let _ = sim;
}

#[test]
fn a_pack_whose_run_never_came_back_is_entered_by_the_next_export_or_removed() {
    let sim = market();
    for sound in [true, false] {
        let n = node(&sim);
        night(&n, 24, &[]).exits(0);
        night(&n, 25, &BEFORE).exits(0);
        let mut c = n.command(&["nightly", "--now", "2025-07-05T23:00:00Z", "--as-of", "2025-06-25", "--stages", "export"]);
        let killed = run(c.env("DATANODE_FAILPOINT", "export.renamed"));
        assert_eq!(killed.code, None, "killed by itself: {}", killed.err);
        let orphan = n.data().join("exports/datanode/export_20250705T230000Z_datanode_full");
        assert!(orphan.join("manifest.json").is_file());
        if !sound {
            let victim = tree(&orphan).into_keys().find(|f| f.starts_with("data/")).unwrap();
            std::fs::remove_file(orphan.join(victim)).unwrap();
        }
        let before = tree(&orphan);
        let s = night(&n, 26, &[]).exits(0).json();
        assert!(s["export_id"].as_str().unwrap().starts_with("20250706T"), "{s}");
        let store = support::verdicts::state(&n);
        let entered = store.load(&datanode_schema::trees::PACKS, &"20250705T230000Z_datanode_full".to_owned()).unwrap();
        store.close().unwrap();
        if sound {
            let record = entered.expect("it is in the index");
            assert_eq!(datanode_schema::clock::date_of(record.as_of).to_string(), "2025-06-25");
            assert_eq!(tree(&orphan), before, "and was not touched");
        } else {
            assert!(entered.is_none() && !orphan.exists(), "a pack with a file missing is nobody's pack");
        }
        verifies(&n, &n.data());
    }
}
