//! Closed files to another place with the real rclone, and from here only once they are safe there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::trees::OFFLOADED;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::s3::{KEY, S3, SECRET_KEY, beside_python};
use support::{Node, Ran, SEEDED_NIGHT, Sim, Tree, market, run, tree};

const TEN: &str = "2025-07-01T10:30:00Z";
const ELEVEN: &str = "2025-07-01T11:30:00Z";
/// Three days after: the files are one day too old to stay.
const LATER: &str = "2025-07-04T10:30:00Z";
const RAW: &str = "data_layer/raw/polymarket/prediction_books/date=2025-07-01";
const FILES: [&str; 2] = [
    "data_layer/raw/polymarket/prediction_books/date=2025-07-01/10.jsonl.gz",
    "data_layer/raw/polymarket/prediction_books/date=2025-07-01/11.jsonl.gz",
];

/// A node with two closed hours of books, which are curated, that offloads into a folder by rclone's `local` backend.
struct World {
    n: Node,
    there: PathBuf,
    _sim: Sim,
}

impl World {
    fn new() -> Option<Self> {
        let rclone = beside_python("rclone")?;
        let sim = Sim::at(market(1, 1), "", Some(TEN));
        let mut n = Node::new("universe: {}\n", SEEDED_NIGHT);
        let key = |k: &str| format!("DATANODE__VENDORS__POLYMARKET__{k}");
        for (k, v) in [
            ("ENABLED", "true"),
            ("BASE_URL", &sim.url),
            ("CLOB_BASE_URL", &sim.url),
            ("PER_SECOND", "0"),
            ("PER_MINUTE", "0"),
        ] {
            n.set(&key(k), v);
        }
        n.set("DATANODE__BOOKS__TOP", "3");
        n.set("DATANODE__BOOKS__CADENCE_SECONDS", "1");
        for now in [TEN, ELEVEN] {
            n.run(&["collect-books", "--now", now, "--snapshots", "1"]).exits(0);
        }
        n.nightly(&["--stages", "curate"]).exits(0);
        let there = n.root.path().join("there");
        std::fs::create_dir(&there).unwrap();
        let mut w = Self { n, there, _sim: sim };
        w.set("PROGRAM", rclone.to_str().unwrap());
        let config = w.config("[none]\ntype = local\n");
        w.set("CONFIG", config.to_str().unwrap());
        w.set("REMOTE", w.there.clone().to_str().unwrap());
        w.set("KEEP_DAYS", "2");
        Some(w)
    }

    fn set(&mut self, k: &str, v: &str) {
        self.n.set(&format!("DATANODE__OFFLOAD__{k}"), v);
    }

    fn config(&self, text: &str) -> PathBuf {
        let path = self.n.root.path().join("rclone.conf");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn offload(&self, now: &str, more: &[&str]) -> Ran {
        self.n.run(&[&["offload", "--now", now], more].concat())
    }

    fn raw(&self) -> Vec<String> {
        tree(&self.n.data().join(RAW)).into_keys().collect()
    }

    fn curated(&self) -> Tree {
        tree(&self.n.data().join("data_layer/curated/prediction_books"))
    }

    fn recorded(&self) -> Vec<(String, String, bool)> {
        let all = self.n.with_store(|s| s.load_all(&OFFLOADED, &[]).unwrap());
        all.into_iter().map(|(k, r)| (k, r.how, r.removed_at != 0)).collect()
    }

    fn how(&self) -> Vec<String> {
        self.recorded().into_iter().map(|(_, how, _)| how).collect()
    }

    /// A program that runs rclone and then something else, in its place.
    fn wrapped(&mut self, script: &str) {
        let rclone = beside_python("rclone").unwrap();
        let path = self.n.root.path().join("wrapped");
        std::fs::write(&path, format!("#!/bin/bash\nRCLONE={}\n{script}\n", rclone.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.set("PROGRAM", path.to_str().unwrap());
    }
}

/// After offload and removal: nothing is damaged, nothing is lost, and it is said where the files are.
#[track_caller]
fn assert_no_damage(w: &World, curated: &Tree) {
    w.n.run(&["nightly", "--now", LATER, "--as-of", "2025-06-30", "--stages", "curate"]).exits(0);
    let deep: Value = w.n.run(&["audit", "--deep", "--json", "--now", LATER]).exits(0).json();
    assert_eq!(
        (&deep["deep"]["offloaded"], deep["deep"]["findings"].as_array().unwrap().len()),
        (&2.into(), 0),
        "{deep}"
    );
    let words = w.n.run(&["audit", "--deep", "--now", LATER]).exits(0).out;
    assert!(words.contains("0 files of order books are here, 2 were offloaded"), "{words}");
    w.n.run(&["rebuild"]).exits(0);
    w.n.run(&["nightly", "--now", LATER, "--as-of", "2025-06-30", "--stages", "curate"]).exits(0);
    w.n.run(&["audit", "--deep", "--now", LATER]).exits(0);
    assert_eq!(&w.curated(), curated, "no curated byte changed");
}

#[test]
fn files_go_only_once_they_are_verified_there_and_old_and_nothing_is_lost_by_it() {
    let Some(mut w) = World::new() else { return };
    let (before, curated) = (tree(&w.n.data().join(RAW)), w.curated());
    std::fs::write(w.n.data().join(RAW).join("12.jsonl.gz.open"), "being written").unwrap();
    std::fs::write(w.n.data().join(RAW).join("13.jsonl.gz"), "not noted").unwrap();
    // In the hour of its books a file stays where it is.
    let early = w.offload(ELEVEN, &["--dry-run"]).exits(0).out;
    assert!(early.contains("10.jsonl.gz") && !early.contains("11.jsonl.gz"), "{early}");
    let dry = w.offload(LATER, &["--dry-run", "--json"]).exits(0).json();
    let names = |v: &Value, k: &str| {
        v[k].as_array().unwrap().iter().map(|i| i["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&dry, "copy"), names(&dry, "remove")),
        (FILES.map(String::from).to_vec(), FILES.map(String::from).to_vec())
    );
    assert!(tree(&w.there).is_empty() && w.recorded().is_empty() && w.raw().len() == 4, "a dry run changes nothing");

    // Young enough to stay.
    w.set("KEEP_DAYS", "3");
    let done = w.offload(LATER, &["--json"]).exits(0).json();
    assert_eq!((names(&done, "safe"), names(&done, "removed")), (FILES.map(String::from).to_vec(), vec![]));
    assert_eq!(w.raw().len(), 4);
    let there = tree(&w.there);
    let manifest = "data_layer/manifests/offload/manifest-offload-2025-07-04.jsonl";
    assert_eq!(there.keys().collect::<Vec<_>>(), [&manifest.to_owned(), &FILES[0].to_owned(), &FILES[1].to_owned()]);
    let lines = std::fs::read_to_string(w.there.join(manifest)).unwrap();
    for (line, file) in lines.lines().zip(["10.jsonl.gz", "11.jsonl.gz"]) {
        let l: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&l["sha256"], &l["how"], &l["verified_at"]),
            (&before[file].0.as_str().into(), &"sha256".into(), &LATER.into()),
            "{l}"
        );
        let sum = Command::new("sha256sum").arg(w.there.join(l["path"].as_str().unwrap())).output().unwrap().stdout;
        assert!(String::from_utf8(sum).unwrap().starts_with(l["sha256"].as_str().unwrap()));
    }
    assert!(w.offload(LATER, &[]).exits(0).out.is_empty(), "nothing is left to do");

    w.set("KEEP_DAYS", "2");
    let done = w.offload(LATER, &["--json"]).exits(0).json();
    assert_eq!((names(&done, "safe"), names(&done, "removed")), (vec![], FILES.map(String::from).to_vec()));
    assert_eq!(w.raw(), ["12.jsonl.gz.open", "13.jsonl.gz"]);
    std::fs::remove_file(w.n.data().join(RAW).join("12.jsonl.gz.open")).unwrap();
    std::fs::remove_file(w.n.data().join(RAW).join("13.jsonl.gz")).unwrap();
    assert_no_damage(&w, &curated);

    // Gone and curated gone too: said, not taken for damage; brought back, it is built again with the same bytes.
    std::fs::remove_dir_all(w.n.data().join("data_layer/curated/prediction_books")).unwrap();
    w.n.run(&["nightly", "--now", LATER, "--as-of", "2025-06-30", "--stages", "curate"])
        .exits(0)
        .says(&["rclone copy", "its curated file is gone"]);
    support::copy(&w.there.join(RAW), &w.n.data().join(RAW));
    w.n.run(&["nightly", "--now", LATER, "--as-of", "2025-06-30", "--stages", "curate"]).exits(0);
    let sums = |t: &Tree| t.iter().map(|(k, (s, _))| (k.clone(), s.clone())).collect::<Vec<_>>();
    assert_eq!(sums(&w.curated()), sums(&curated));
    // A file that is gone and was never offloaded is a loss.
    std::fs::remove_file(w.n.data().join(FILES[0])).unwrap();
    w.n.run(&["audit", "--deep", "--now", LATER]).exits(0);
    std::fs::write(w.n.data().join(FILES[1]), "other bytes").unwrap();
    w.n.run(&["audit", "--deep", "--now", LATER]).exits(3);
}

#[test]
fn a_nightly_cycle_offloads_after_its_retention() {
    let Some(w) = World::new() else { return };
    let curated = w.curated();
    let night =
        w.n.run(&["nightly", "--json", "--now", LATER, "--as-of", "2025-06-30", "--stages", "retention"])
            .exits(0)
            .json();
    support::counts(&night, "retention", &[("offloaded", 2), ("offloaded_removed", 2), ("offload_failed", 0)]);
    assert!(w.raw().is_empty());
    assert_no_damage(&w, &curated);
}

#[test]
fn a_remote_without_hashes_is_read_back_and_no_secret_is_told() {
    let Some(mut w) = World::new() else { return };
    let secret =
        run(Command::new(beside_python("rclone").unwrap()).args(["obscure", "the-crypt-password"])).exits(0).out;
    let config = w.config(&format!("[vault]\ntype = crypt\nremote = {}\npassword = {secret}\n", w.there.display()));
    w.set("CONFIG", config.to_str().unwrap());
    w.set("REMOTE", "vault:");
    w.set("KEEP_DAYS", "9");
    let done = w.offload(LATER, &[]).exits(0);
    assert_eq!(w.how(), ["download", "download"]);
    assert!(!tree(&w.there).keys().any(|k| k.contains("jsonl")), "the names are enciphered");
    // A bit of the ciphertext: it no longer reads back, and nothing is removed.
    let (name, _) =
        tree(&w.there).into_iter().max_by_key(|(k, _)| std::fs::metadata(w.there.join(k)).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(w.there.join(&name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(w.there.join(&name), bytes).unwrap();
    w.set("KEEP_DAYS", "2");
    let bad = w.offload(LATER, &[]).exits(3);
    assert_eq!(w.raw().len(), 1, "the altered one stays, the other goes: {}", bad.err);
    for text in [&done.out, &done.err, &bad.out, &bad.err] {
        assert!(!text.contains(secret.trim()) && !text.contains("the-crypt-password"), "{text}");
    }
}

#[test]
fn an_s3_remote_is_verified_by_the_hash_that_it_keeps() {
    let Some(mut w) = World::new() else { return };
    let Some(s3) = S3::honest("cold") else { return };
    let config = w.config(&format!(
        "[s3]\ntype = s3\nprovider = Other\naccess_key_id = {KEY}\nsecret_access_key = {SECRET_KEY}\nendpoint = {}\n",
        s3.endpoint
    ));
    w.set("CONFIG", config.to_str().unwrap());
    w.set("REMOTE", "s3:cold/node");
    let curated = w.curated();
    let done = w.offload(LATER, &[]).exits(0);
    assert!(w.raw().is_empty() && !done.err.contains(SECRET_KEY), "{}", done.err);
    assert_eq!(w.how(), ["md5", "md5"]);
    assert_no_damage(&w, &curated);
    drop(s3);
    w.set("REMOTE", "s3:cold/elsewhere");
    std::fs::write(w.n.data().join(FILES[0]), "x").unwrap();
    let dead = w.offload(LATER, &[]);
    assert!(!dead.err.contains(SECRET_KEY), "{}", dead.err);
}

#[test]
fn a_remote_that_alters_a_file_gets_nothing_removed() {
    let Some(mut w) = World::new() else { return };
    w.wrapped("\"$RCLONE\" \"$@\"; code=$?; [ \"$1\" = copy ] && printf x | dd of=\"$ALTER\" bs=1 seek=20 conv=notrunc 2>/dev/null; exit $code");
    w.n.set("ALTER", w.there.join(FILES[0]).to_str().unwrap());
    let before = w.raw();
    w.offload(LATER, &[]).exits(3).says(&["10.jsonl.gz", "the bytes there are others"]);
    assert_eq!(w.recorded().iter().map(|(p, ..)| p.as_str()).collect::<Vec<_>>(), [FILES[1]], "the other one is safe");
    assert_eq!(w.raw(), ["10.jsonl.gz"], "of {before:?}");
    // What was right when it was recorded and is not by now is found right before the removal.
    w.set("PROGRAM", beside_python("rclone").unwrap().to_str().unwrap());
    std::fs::remove_file(w.there.join(FILES[0])).unwrap();
    w.set("KEEP_DAYS", "9");
    w.offload(LATER, &[]).exits(0);
    std::fs::write(w.there.join(FILES[0]), "rotten").unwrap();
    w.set("KEEP_DAYS", "2");
    w.offload(LATER, &[]).exits(3).says(&["10.jsonl.gz"]);
    assert_eq!(w.raw(), ["10.jsonl.gz"]);
    std::fs::remove_file(w.there.join(FILES[0])).unwrap();
    w.offload(LATER, &[]).exits(3).says(&["it is not there"]);
    // And so is a local file that is no longer what was verified.
    std::fs::copy(w.n.data().join(FILES[0]), w.there.join(FILES[0])).unwrap();
    let good = std::fs::read(w.n.data().join(FILES[0])).unwrap();
    std::fs::write(w.n.data().join(FILES[0]), "altered here").unwrap();
    w.offload(LATER, &[]).exits(3).says(&["not what its manifest line says"]);
    assert_eq!(w.raw(), ["10.jsonl.gz"]);
    std::fs::write(w.n.data().join(FILES[0]), good).unwrap();
    w.offload(LATER, &[]).exits(0);
    assert!(w.raw().is_empty());
}

#[test]
fn what_rclone_cannot_do_is_said_and_nothing_is_removed() {
    let Some(mut w) = World::new() else { return };
    let rclone = beside_python("rclone").unwrap();
    let before = tree(&w.n.data().join(RAW));
    w.set("PROGRAM", "no-such-rclone");
    w.offload(LATER, &[]).exits(2).says(&["no-such-rclone", "offload.program"]);
    w.set("PROGRAM", rclone.to_str().unwrap());
    w.set("REMOTE", "nowhere:x");
    w.offload(LATER, &[]).exits(1).says(&["nowhere:x", "didn't find section", "offload.remote"]);
    for bad in ["--config=x", ":s3,secret_access_key=abc:x", "s3,secret_access_key=abc:x", "word"] {
        w.set("REMOTE", bad);
        let refused = w.offload(LATER, &[]).exits(2).says(&["offload.remote"]);
        assert!(!refused.err.contains("abc"), "{}", refused.err);
    }
    w.set("REMOTE", "");
    w.offload(LATER, &[]).exits(2).says(&["offload.remote is empty"]);
    // A full disk there: no file may be longer than a block.
    w.set("REMOTE", w.there.clone().to_str().unwrap());
    w.wrapped("[ \"$1\" = copy ] && { trap '' XFSZ; ulimit -f 1; }; exec \"$RCLONE\" \"$@\"");
    let full = w.offload(LATER, &[]);
    assert_eq!(full.code, Some(3), "{}", full.err);
    assert!(full.err.contains("too large") || full.err.contains("no space"), "{}", full.err);
    assert!(w.recorded().is_empty());
    assert_eq!(tree(&w.n.data().join(RAW)), before);
}

#[test]
fn a_kill_at_any_place_loses_no_file() {
    let Some(mut w) = World::new() else { return };
    let curated = w.curated();
    let original: Tree = tree(&w.n.data().join(RAW));
    let mut killed = 0;
    for at in [
        "offload.copied:1",
        "offload.verified:1",
        "offload.noted:1",
        "offload.recorded:1",
        "offload.removing:1",
        "offload.removed:1",
        "offload.removing:1",
    ] {
        let mut c = w.n.command(&["offload", "--now", LATER]);
        killed += u32::from(run(c.env("DATANODE_KILL_AT", at)).code.is_none());
        let (here, there) = (tree(&w.n.data().join(RAW)), tree(&w.there.join(RAW)));
        for (name, (sum, _)) in &original {
            let safe = |t: &Tree| t.get(name).is_some_and(|(s, _)| s == sum);
            assert!(safe(&here) || safe(&there), "{at}: {name} is lost");
            let recorded = w.recorded().iter().any(|(p, ..)| p.ends_with(name));
            assert!(safe(&here) || recorded, "{at}: {name} was removed without a record");
        }
    }
    assert_eq!(killed, 7);
    w.offload(LATER, &[]).exits(0);
    assert!(w.raw().is_empty());
    assert_no_damage(&w, &curated);
    let lines = std::fs::read_to_string(
        Path::new(&w.there).join("data_layer/manifests/offload/manifest-offload-2025-07-04.jsonl"),
    )
    .unwrap();
    assert!(lines.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()) && lines.ends_with('\n'));
    w.set("KEEP_DAYS", "2");
}
