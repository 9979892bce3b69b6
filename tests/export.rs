//! The pack as consumers get it: deltas, the published schema, one file, the same bytes everywhere, what changed between two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::export::{MANIFEST_SCHEMA, PackManifest};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{ADMIN, Live, Node, Ran, SEEDED_NIGHT, Sim, copy, differences, python, run, stage, tree};

/// What is done to a folder of packs.
type Change<'a> = &'a dyn Fn(&Path);
/// Variables of a process.
type Env = &'static [(&'static str, &'static str)];

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
    assert_eq!(
        (c["held"].as_u64(), c["files"].as_u64()),
        (Some((m3.files.len() - own.len()) as u64), Some(m3.files.len() as u64))
    );

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
    let whole = node(&sim);
    night(&whole, 24, &[]).exits(0);
    night(&whole, 25, &[]).exits(0);
    let full = night(&whole, 26, &[]).exits(0).json();
    let other = whole.pack(&full);
    let d = n.run(&["pack", "diff", three.to_str().unwrap(), other.to_str().unwrap()]).exits(0);
    assert!(d.out.starts_with("same "), "{}", d.out);

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
    n.run(&[
        "pack",
        "open",
        vault.to_str().unwrap(),
        "--to",
        opened.to_str().unwrap(),
        "--id",
        uid,
        "--key",
        key.to_str().unwrap(),
    ])
    .exits(0);
    assert_eq!(differences(&three, &opened), Vec::<String>::new());

    // A pack alone is good without the others; a data folder is not.
    let (holder, aside) =
        (n.data().join("exports/datanode").join(format!("export_{first}")), n.root.path().join("aside"));
    std::fs::rename(&holder, &aside).unwrap();
    n.run(&["pack", "verify", n.data().to_str().unwrap()])
        .exits(3)
        .says(&[&format!("held by {first}, where it is not")]);
    verifies(&n, &three);
    std::fs::rename(&aside, &holder).unwrap();

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
        let args = [
            "--data-dir",
            dir.to_str().unwrap(),
            "nightly",
            "--json",
            "--now",
            now,
            "--as-of",
            "2025-06-26",
            "--stages",
            "export",
        ];
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
    let cases: [(&str, Change<'_>); 5] = [
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
    let file = pack.with_extension("tar.zst");
    assert!(file.is_file() && file.file_name().unwrap().to_str().unwrap().ends_with("_full.tar.zst"));
    let to = n.root.path().join("untarred");
    std::fs::create_dir(&to).unwrap();
    run(Command::new("tar").args(["--zstd", "-x", "-f"]).arg(&file).arg("-C").arg(&to)).exits(0);
    let inside = to.join(pack.file_name().unwrap());
    sha256sum(&inside);
    assert_eq!(differences(&pack, &inside), Vec::<String>::new());
    let listed =
        run(Command::new("tar").args(["--zstd", "--numeric-owner", "--utc", "-tv", "-f"]).arg(&file)).exits(0).out;
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
        let places: [(&str, Env, bool); 3] = [
            ("utc", &[("TZ", "UTC"), ("LC_ALL", "C")], false),
            (
                "deeper/in/another/folder",
                &[("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8"), ("DATANODE__NODE__THREADS", "1")],
                false,
            ),
            ("rebuilt", &[("TZ", "America/New_York")], true),
        ];
        let mut made: Vec<PathBuf> = Vec::new();
        for (name, env, rebuilt) in places {
            let dir = n.root.path().join(format!("{day}")).join(name);
            copy(&n.data(), &dir);
            let at = |args: &[&str]| {
                run(n.command(&[&["--data-dir", dir.to_str().unwrap()], args].concat()).envs(env.iter().copied()))
            };
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
fn what_is_written_anew_without_red_rows_is_written_once_and_linked_from_then_on() {
    let sim = Sim::seeded(3, 12, "alpaca: {rules: [{action: {bad_bar: high_below_low}}]}");
    let n = node(&sim);
    let first = night(&n, 25, &[]).exits(0).json();
    let second = night(&n, 26, &[]).exits(0).json();
    let (one, two) = (n.pack(&first), n.pack(&second));
    let curated = |path: &str| n.data().join("data_layer/curated").join(path.strip_prefix("data/").unwrap());
    let sum = |p: &Path| datanode_schema::files::sha256_file(p).unwrap().0;
    let files = manifest(&two).files;
    let anew: Vec<&String> = files
        .iter()
        .filter(|f| f.dataset != "qc")
        .map(|f| &f.path)
        .filter(|p| sum(&curated(p)) != sum(&two.join(p)))
        .collect();
    let (known, fresh): (Vec<&String>, Vec<&String>) =
        anew.iter().copied().partition(|p| one.join(p).is_file() && sum(&one.join(p)) == sum(&two.join(p)));
    assert!(!known.is_empty(), "a session with RED rows is in both packs: {anew:?}");
    let ino = |p: PathBuf| std::fs::metadata(p).unwrap().ino();
    for p in &known {
        assert_eq!(ino(one.join(p)), ino(two.join(p)), "{p} is written once");
    }
    assert_eq!(stage(&second, "export")["rewritten"], fresh.len() as u64);
    for p in files.iter().filter(|f| f.dataset != "qc").map(|f| &f.path).filter(|p| !anew.contains(p)) {
        assert_eq!(ino(curated(p)), ino(two.join(p)), "{p} is a link of the curated file");
    }
}

#[test]
fn a_pack_whose_run_never_came_back_is_entered_by_the_next_export_or_left_alone() {
    let sim = market();
    for sound in [true, false] {
        let n = node(&sim);
        night(&n, 24, &[]).exits(0);
        night(&n, 25, &BEFORE).exits(0);
        let mut c =
            n.command(&["nightly", "--now", "2025-07-05T23:00:00Z", "--as-of", "2025-06-25", "--stages", "export"]);
        let killed = run(c.env("DATANODE_KILL_AT", "export.renamed:1"));
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
            verifies(&n, &n.data());
        } else {
            assert_eq!(entered, None, "a pack with a file missing is in no index");
        }
        assert_eq!(tree(&orphan), before, "and was not touched");
    }
}

/// A manifest that breaks one rule of the schema, by the rule's name.
fn mutations(full: &Value, delta: &Value) -> Vec<(&'static str, Value)> {
    let mut out: Vec<(&'static str, Value)> = Vec::new();
    let mut of = |base: &Value, name: &'static str, change: &dyn Fn(&mut Value)| {
        let mut m = base.clone();
        change(&mut m);
        assert_ne!(m, *base, "{name} changes nothing");
        out.push((name, m));
    };
    fn set(pointer: &'static str, to: Value) -> impl Fn(&mut Value) {
        move |m| *m.pointer_mut(pointer).unwrap() = to.clone()
    }
    fn without(pointer: &'static str, key: &'static str) -> impl Fn(&mut Value) {
        move |m| drop(m.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key))
    }
    of(full, "another version", &set("/schema_version", json!(2)));
    of(full, "a version in words", &set("/schema_version", json!("1")));
    of(full, "a field that is not known", &|m| m["surprise"] = json!(true));
    of(full, "a field of a file that is not known", &|m| m["files"][0]["mode"] = json!(7));
    for key in [
        "schema_version",
        "export_id",
        "created_at_utc",
        "source",
        "time_window",
        "producer",
        "repo_head",
        "calendar",
        "config_sha256",
        "files",
        "qc",
        "base_export_id",
        "notes",
    ] {
        of(full, "a field is missing", &without("", key));
    }
    for key in ["path", "sha256", "bytes", "rows", "dataset", "window"] {
        of(full, "a field of a file is missing", &without("/files/0", key));
    }
    of(full, "a field of the producer is missing", &without("/producer", "git_sha"));
    for id in [
        "x",
        "20250732T230000Z_datanode_full",
        "20250702T230000Z_Datanode_full",
        "20250702T230000Z_datanode_all",
        "2025-07-02_datanode_full",
    ] {
        of(full, "an id of another form", &set("/export_id", json!(id)));
    }
    for t in ["2025-07-02", "2025-07-02T23:00:00+00:00", "2025-07-02T24:00:00Z", "2025-07-02 23:00:00Z"] {
        of(full, "a time of another form", &set("/created_at_utc", json!(t)));
    }
    for p in [
        "",
        "/etc/passwd",
        "data/../x",
        "data//x",
        "data/./x",
        "data/x/..",
        "exports/x",
        "data",
        "data/a\u{0}b",
        "data/a\\b",
        "data/ä",
        "data/a b",
    ] {
        of(full, "a path that is none", &set("/files/0/path", json!(p)));
    }
    of(full, "a path of ten thousand bytes", &set("/files/0/path", json!(format!("data/{}", "a/".repeat(4997)) + "x")));
    of(full, "a component of 256 bytes", &set("/files/0/path", json!(format!("data/{}", "a".repeat(256)))));
    for h in ["", "00", &"G".repeat(64), &"A".repeat(64), &"0".repeat(65)] {
        of(full, "a hash that is none", &set("/files/0/sha256", json!(h)));
    }
    for n in [json!(-1), json!(1.5), json!("1"), json!(null), json!(1u64 << 53), json!(1e300)] {
        of(full, "bytes out of range", &set("/files/0/bytes", n.clone()));
        of(full, "rows out of range", &set("/files/0/rows", n.clone()));
        of(full, "a count out of range", &set("/qc/green", n));
    }
    for d in ["2025-6-2", "2025-06-32", "+025-06-02", "2025-06-02T00:00:00Z"] {
        of(full, "a date of another form", &set("/files/0/window/start", json!(d)));
    }
    of(full, "no dataset", &set("/files/0/dataset", json!("Équities")));
    of(full, "a configuration that is no hash", &set("/config_sha256", json!("x")));
    of(full, "a calendar that is no hash", &set("/calendar/sha256", json!("x")));
    of(full, "a commit that is none", &set("/producer/git_sha", json!("main")));
    of(full, "a head that is none", &set("/repo_head", json!("HEAD")));
    of(full, "no producer", &set("/producer/host_id", json!("")));
    of(full, "a producer of a kilobyte", &set("/producer/host_id", json!("x".repeat(1024))));
    of(full, "notes of a megabyte", &set("/notes", json!("x".repeat(1 << 20))));
    of(full, "files that are no list", &set("/files", json!({})));
    of(full, "GREEN is not held out", &set("/qc/excluded/0/status", json!("GREEN")));
    of(full, "held out for no reason", &set("/qc/excluded/0/reasons", json!([])));
    of(full, "a reason that is none", &set("/qc/excluded/0/reasons/0", json!("Because")));
    for p in ["x", "a/b", "a/b/c", "a/b/2025-06-02/d", "a//2025-06-02", "a/b/2025-6-02"] {
        of(full, "a partition that is none", &set("/qc/excluded/0/partition", json!(p)));
    }
    of(full, "a full pack with a base", &set("/base_export_id", json!("20250101T000000Z_datanode_full")));
    of(full, "a full pack with a file elsewhere", &|m| {
        m["files"][0]["held_by"] = json!("20250101T000000Z_datanode_full")
    });
    of(full, "a holder that is null", &|m| m["files"][0]["held_by"] = json!(null));
    of(delta, "a delta without a base", &set("/base_export_id", json!(null)));
    of(delta, "a delta with a base of another form", &set("/base_export_id", json!("latest")));
    of(delta, "a holder of another form", &|m| {
        let files = m["files"].as_array_mut().unwrap();
        *files.iter_mut().find_map(|f| f.get_mut("held_by")).unwrap() = json!("../x");
    });
    out
}

#[test]
fn real_manifests_are_valid_by_the_published_schema_and_what_it_refuses_we_refuse() {
    let sim = Sim::seeded(3, 12, "alpaca: {rules: [{action: {bad_bar: high_below_low}}]}");
    let mut n = node(&sim);
    let full = n.pack(&night(&n, 25, &[]).exits(0).json());
    n.set("DATANODE__EXPORT__SCOPE", "delta");
    let delta = n.pack(&night(&n, 26, &[]).exits(0).json());
    let dir = n.root.path().join("mutations");
    std::fs::create_dir(&dir).unwrap();
    let printed = n.run(&["pack", "schema"]).exits(0).out;
    assert_eq!(printed, MANIFEST_SCHEMA, "the schema that is printed is the one that is published");
    let schema = dir.join("schema.json");
    std::fs::write(&schema, printed).unwrap();
    let value =
        |pack: &Path| -> Value { serde_json::from_slice(&std::fs::read(pack.join("manifest.json")).unwrap()).unwrap() };
    let (f, d) = (value(&full), value(&delta));
    assert!(
        !f["qc"]["excluded"].as_array().unwrap().is_empty() && d["export_id"].as_str().unwrap().ends_with("_delta")
    );
    let mut names = BTreeMap::new();
    let mut good = f.clone();
    good["notes"] = json!("for people");
    good["producer"]["git_sha"] = json!("cb5d3cb");
    good["repo_head"] = json!("0".repeat(40));
    for (i, m) in [f.clone(), d.clone(), good].into_iter().enumerate() {
        names.insert(dir.join(format!("good-{i}.json")), ("good", m));
    }
    for (i, (name, m)) in mutations(&f, &d).into_iter().enumerate() {
        names.insert(dir.join(format!("bad-{i:03}.json")), (name, m));
    }
    let (mut ours, mut bad) = (BTreeMap::new(), 0);
    for (path, (name, m)) in &names {
        let text = serde_json::to_vec(m).unwrap();
        std::fs::write(path, &text).unwrap();
        let parsed = PackManifest::parse(&text);
        assert_eq!(
            parsed.is_ok(),
            *name == "good",
            "{name}: {parsed:?}\n{}",
            m.to_string().chars().take(300).collect::<String>()
        );
        bad += usize::from(*name != "good");
        ours.insert(path.clone(), parsed.is_ok());
    }
    assert!(bad > 80, "{bad} mutations");
    let paths: Vec<&Path> = std::iter::once(schema.as_path()).chain(names.keys().map(PathBuf::as_path)).collect();
    let Some(ran) = python("check_schema.py", &paths) else { return };
    let theirs = ran.exits(0).json();
    for (path, ok) in &ours {
        let said = &theirs[path.to_str().unwrap()];
        assert_eq!(said.is_null(), *ok, "{}: the schema says {said}", names[path].0);
    }
}

#[test]
fn diff_tells_files_rows_verdicts_window_and_configuration_and_refuses_what_is_no_pack() {
    let sim = Sim::seeded(3, 6, "alpaca: {rules: [{action: {bad_bar: high_below_low}}]}");
    let mut n = node(&sim);
    let one = n.pack(&night(&n, 25, &[]).exits(0).json());
    n.set("DATANODE__NODE__HOST_ID", "other");
    let two = n.pack(&night(&n, 26, &[]).exits(0).json());
    let (a, b) = (one.to_str().unwrap(), two.to_str().unwrap());
    let d = n.run(&["pack", "diff", a, b, "--json"]).exits(0).json();
    assert_eq!(d["same"], false);
    let files = d["files"].as_array().unwrap();
    let new = files.iter().find(|f| f["path"].as_str().unwrap().contains("date=2025-06-26")).unwrap();
    assert_eq!((&new["change"], &new["rows"][0]), (&json!("added"), &json!(null)));
    assert!(new["rows"][1].as_u64().unwrap() > 0 && new["bytes"][1].as_u64().unwrap() > 0);
    let month = files.iter().find(|f| f["path"].as_str().unwrap().contains("equities_bars/")).unwrap();
    assert!(month["change"] == "changed" && month["bytes"][1] != month["bytes"][0], "{month}");
    assert!(
        d["excluded"]
            .as_array()
            .unwrap()
            .iter()
            .any(|e| e["before"].is_null() && e["after"].as_str().unwrap().starts_with("RED ")),
        "{d}"
    );
    let said: Vec<&str> = d["said"].as_array().unwrap().iter().map(|s| s[0].as_str().unwrap()).collect();
    assert_eq!(said, ["window", "verdicts", "producer"]);
    let back = n.run(&["pack", "diff", b, a]).exits(0).out;
    assert!(
        back.contains("removed  data/equities_bars_minute/date=2025-06-26") && back.contains("window   2025"),
        "{back}"
    );
    assert!(n.run(&["pack", "diff", a, a]).exits(0).out.starts_with("same "));

    n.run(&["pack", "diff", a, n.root.path().to_str().unwrap()]).exits(5).says(&["no pack"]);
    let broken = n.root.path().join("broken");
    copy(&one, &broken);
    let victim = tree(&broken).into_keys().find(|f| f.starts_with("data/")).unwrap();
    std::fs::write(broken.join(&victim), "x").unwrap();
    n.run(&["pack", "diff", broken.to_str().unwrap(), b]).exits(3).says(&[&victim]);
    std::fs::write(broken.join("SHA256SUMS.stable.txt"), format!("{}  ../x\n", "0".repeat(64))).unwrap();
    n.run(&["pack", "diff", a, broken.to_str().unwrap()]).exits(4).says(&["../x"]);
}

#[test]
fn a_second_pack_of_a_session_replaces_its_dated_folder_whole() {
    let sim = Sim::seeded(2, 3, "");
    let mut n = node(&sim);
    let first = n.pack(&night(&n, 26, &[]).exits(0).json());
    let dated = n.data().join("exports/nightly/2025-06-26");
    assert_eq!(differences(&first, &dated), Vec::<String>::new());
    std::fs::write(dated.join("left by somebody"), "x").unwrap();
    n.set("DATANODE__NODE__HOST_ID", "another");
    let s = n.run(&["nightly", "--json", "--now", "2025-07-06T23:00:01Z", "--as-of", "2025-06-26"]).exits(0).json();
    let second = n.pack(&s);
    assert_ne!(first, second, "a second later it has an id of its own");
    assert_eq!(differences(&second, &dated), Vec::<String>::new(), "and nothing is left of the first");
    verifies(&n, &first);
}

#[test]
fn run_makes_whole_cycles_by_the_hour_where_it_is_told_to() {
    let sim = Sim::seeded(2, 2, "");
    for (cadence, expected) in [("hourly", 1), ("nightly", 0)] {
        let mut n = node(&sim);
        n.set("DATANODE__EXPORT__CADENCE", cadence);
        n.set("DATANODE__SCHEDULE__NIGHTLY_AT", "04:17");
        n.set("DATANODE__SCHEDULE__INGEST_EVERY_MINUTES", "0");
        // A second before a minute that is of the hour, and not of the night.
        let mut c = n.command(&["run", "--now", "2025-07-02T22:16:59Z"]);
        let live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let status = || run(&mut n.program(ADMIN, &["--json", "status"]));
        let (began, limit) = (Instant::now(), Duration::from_secs(if expected == 1 { 60 } else { 4 }));
        let mut last = Value::Null;
        while began.elapsed() < limit {
            let ran = status();
            if ran.code == Some(0) {
                last = ran.json();
                if last["last_run"]["finished_at"].is_string() && last["live"]["busy"] == false {
                    break;
                }
            }
        }
        let next = last["live"]["next_nightly"].as_str().unwrap();
        assert_eq!(next, if expected == 1 { "2025-07-02T22:17:00Z" } else { "2025-07-03T04:17:00Z" }, "{last}");
        live.signal(nix::sys::signal::Signal::SIGTERM);
        live.wait().exits(0);
        let packs = n.run(&["pack", "list", "--json"]).exits(0).out;
        assert_eq!(packs.lines().count(), expected, "{cadence}: {last}");
        assert!(expected == 0 || packs.contains("20250702T221659Z_datanode_full"), "{packs}");
    }
}
