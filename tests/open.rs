//! A sealed pack opened in part: one dataset, one session, one file, from a vault and from a bucket, without reading the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::publishing::ShipMode;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::home::{Files, Home, noise};
use support::proxy::Proxy;
use support::s3::{KEY, S3, SECRET_KEY};
use support::{DATANODE, Ran, run, tree};

const MINUTE: &str = "equities_bars_minute/date=2026-03-03/data.parquet";

/// Two datasets over three sessions, in chunks of 1 MiB; no compression makes them smaller.
fn market() -> Files {
    let mut files = Files::new();
    for (n, day) in ["2026-03-02", "2026-03-03", "2026-03-04"].into_iter().enumerate() {
        files.insert(format!("equities_bars_minute/date={day}/data.parquet"), noise(2_500_000, n as u64));
    }
    files.insert("equities_bars/year=2026/month=03/data.parquet".into(), noise(1_800_000, 9));
    files
}

fn small_chunks(mut home: Home) -> Home {
    home.settings.seal.chunk_mib = 1;
    home
}

struct Opener {
    home: PathBuf,
    root: tempfile::TempDir,
    endpoint: String,
}

impl Opener {
    /// A machine that has the key and nothing else of the node.
    fn new(home: &Home, endpoint: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::copy(home.data().join("keys/node.key"), root.path().join("node.key")).unwrap();
        Self { home: home.data(), root, endpoint: endpoint.to_owned() }
    }
    fn vault(&self) -> String {
        self.home.join("vault").display().to_string()
    }
    fn to(&self) -> PathBuf {
        self.root.path().join("opened")
    }
    fn open(&self, args: &[&str]) -> Ran {
        if self.to().exists() {
            std::fs::remove_dir_all(self.to()).unwrap();
        }
        self.open_again(args)
    }
    fn open_again(&self, args: &[&str]) -> Ran {
        let mut c = Command::new(DATANODE);
        c.env_clear().current_dir(self.root.path());
        c.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        c.args(["--json", "pack", "open"]).args(args).args(["--to", "opened", "--key", "node.key"]);
        if !self.endpoint.is_empty() {
            c.args(["--endpoint", &self.endpoint]);
        }
        run(&mut c)
    }
    fn files(&self) -> BTreeSet<String> {
        tree(&self.to()).into_keys().collect()
    }
}

fn with_manifest(paths: &[&str]) -> BTreeSet<String> {
    let own = paths.iter().map(|p| format!("data/{p}"));
    own.chain(["manifest.json".to_owned(), "SHA256SUMS.stable.txt".to_owned()]).collect()
}

fn same(opened: &Path, pack: &Path, path: &str) {
    let of = |root: &Path| std::fs::read(root.join("data").join(path)).unwrap();
    assert!(of(opened) == of(pack), "{path} is another file");
}

#[test]
fn one_session_of_one_dataset_opens_though_every_other_chunk_is_gone() {
    let mut h = small_chunks(Home::new());
    let id = h.full(2, &market());
    let uid = h.seal(&id);
    h.close();
    let o = Opener::new(&h, "");
    let meant = ["--dataset", "equities_bars_minute", "--date", "2026-03-03"];
    let ran = o.open(&[&[o.vault().as_str()][..], &meant].concat()).exits(0).json();
    assert_eq!(ran["objects"], 3, "2.5 MB within chunks of 1 MiB: {ran}");
    assert_eq!(o.files(), with_manifest(&[MINUTE]));
    same(&o.to(), &h.pack_folder(&id), MINUTE);
    let sums = Command::new("sha256sum")
        .args(["-c", "--quiet", "--ignore-missing", "SHA256SUMS.stable.txt"])
        .current_dir(o.to())
        .status();
    assert!(sums.unwrap().success());

    let text = std::fs::read(h.data().join(format!("vault/descriptors/{uid}.json"))).unwrap();
    let descriptor: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let names: Vec<String> = descriptor["data_objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["object_blake3"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.len() >= 9);
    let mut needed = 0;
    for name in &names {
        let at = h.data().join("vault/chunks").join(&name[..2]).join(name);
        let aside = o.root.path().join("aside");
        std::fs::rename(&at, &aside).unwrap();
        let ran = o.open(&[&[o.vault().as_str()][..], &meant].concat());
        match ran.code {
            Some(0) => same(&o.to(), &h.pack_folder(&id), MINUTE),
            _ => {
                needed += 1;
                ran.exits(3).says(&["missing", name.as_str()]);
                assert!(!o.to().exists(), "nothing is left of what could not be opened");
            }
        }
        std::fs::rename(&aside, &at).unwrap();
    }
    assert_eq!(needed, 3);
}

#[test]
fn a_dataset_a_file_or_an_export_id_can_be_named_and_what_is_not_there_is_said() {
    let mut h = small_chunks(Home::new());
    let first = h.full(2, &market());
    h.seal(&first);
    let mut more = market();
    more.insert("equities_bars_minute/date=2026-03-05/data.parquet".into(), noise(300_000, 77));
    let second = h.full(3, &more);
    h.seal(&second);
    h.close();
    let o = Opener::new(&h, "");
    let v = o.vault();
    o.open(&[&v, "--id", &first, "--dataset", "equities_bars"]).exits(0);
    assert_eq!(o.files(), with_manifest(&["equities_bars/year=2026/month=03/data.parquet"]));
    o.open(&[&v, "--latest", "--file", "data/equities_bars_minute/date=2026-03-05/data.parquet"]).exits(0);
    assert_eq!(o.files(), with_manifest(&["equities_bars_minute/date=2026-03-05/data.parquet"]));
    // It lies in the first pack's chunks, and the second knows their secrets.
    o.open(&[&v, "--latest", "--date", "2026-03-03"]).exits(0);
    same(&o.to(), &h.pack_folder(&second), MINUTE);
    o.open_again(&[&v, "--latest"]).exits(4).says(&["exists already"]);
    o.open(&[&v, "--id", &second]).exits(0);
    assert_eq!(support::differences(&h.pack_folder(&second), &o.to()), Vec::<String>::new());
    o.open(&[&v]).exits(2).says(&["several sealings", "--latest"]);
    o.open(&[&v, "--latest", "--dataset", "options_bars"])
        .exits(5)
        .says(&["equities_bars, equities_bars_minute", "from 2026-03-02"]);
    o.open(&[&v, "--latest", "--date", "2020-01-02"]).exits(5);
    o.open(&[&v, "--latest", "--date", "2020-13-02"]).exits(2);
    o.open(&[&v, "--id", "20200101T000000Z_datanode_full"]).exits(5);
    assert!(!o.to().exists());
}

#[test]
fn out_of_a_bucket_comes_what_is_meant_and_only_the_chunks_that_hold_it_are_fetched() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = small_chunks(Home::new().bucket("offsite", &s3.endpoint, ShipMode::Sealed));
    let first = h.full(2, &market());
    h.seal(&first);
    h.ship(&first).unwrap();
    let mut more = market();
    more.insert("equities_bars_minute/date=2026-03-05/data.parquet".into(), noise(300_000, 77));
    let second = h.full(3, &more);
    let uid = h.seal(&second);
    h.ship(&second).unwrap();
    h.close();
    let o = Opener::new(&h, &proxy.endpoint);
    let meant = ["--dataset", "equities_bars_minute", "--date", "2026-03-03"];
    let chunks = |proxy: &Proxy| -> BTreeSet<String> {
        let got = proxy.taken().into_iter().filter(|a| a.method == "GET" && a.path.contains("/chunks/"));
        got.map(|a| a.path).collect()
    };
    let ran = o.open(&[&["s3://packs/home/sealed/datanode", "--id", &uid][..], &meant].concat()).exits(0).json();
    assert_eq!(o.files(), with_manifest(&[MINUTE]));
    same(&o.to(), &h.pack_folder(&second), MINUTE);
    assert_eq!(ran["objects"], 3);
    let got = chunks(&proxy);
    assert_eq!(got.len(), 4, "three chunks of the first sealing and a sealed manifest: {got:?}");
    assert!(ran["downloaded_bytes"].as_u64().unwrap() < 4 * 1_100_000 + 200_000, "{ran}");
    let left: Vec<_> = std::fs::read_dir(o.root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the key and what was opened: {left:?}");

    o.open(&["s3://packs/home", "--latest"]).exits(0);
    assert_eq!(support::differences(&h.pack_folder(&second), &o.to()), Vec::<String>::new());
    o.open(&["s3://packs/home"]).exits(2).says(&["--latest"]);
    o.open(&["s3://packs/home", "--latest", "--dataset", "options_bars"]).exits(5);
    o.open(&["s3://packs/home", "--id", &"0".repeat(32)]).exits(5);
    let other = Command::new(DATANODE).args(["key", "new", "--out", "other.key"]).current_dir(o.root.path()).output();
    assert!(other.unwrap().status.success());
    std::fs::rename(o.root.path().join("other.key"), o.root.path().join("node.key")).unwrap();
    o.open(&["s3://packs/home", "--id", &uid]).exits(3).says(&["unwrap"]);
    assert!(!o.to().exists());
}

#[test]
fn what_lies_in_an_earlier_pack_is_named() {
    let mut h = small_chunks(Home::new());
    let first = h.full(2, &market());
    h.seal(&first);
    let mut more = market();
    more.insert("equities_bars_minute/date=2026-03-05/data.parquet".into(), noise(300_000, 77));
    let held: BTreeMap<String, String> = market().into_keys().map(|p| (p, first.clone())).collect();
    let second = h.delta(3, &first, &more, &held);
    h.seal(&second);
    h.close();
    let o = Opener::new(&h, "");
    let ran = o.open(&[&o.vault(), "--latest", "--dataset", "equities_bars_minute"]).exits(0);
    assert!(ran.err.contains(&first), "{}", ran.err);
    assert_eq!(o.files(), with_manifest(&["equities_bars_minute/date=2026-03-05/data.parquet"]));
    o.open(&[&o.vault(), "--latest", "--dataset", "equities_bars"]).exits(5).says(&[&first, "--id"]);
}
