//! A consumer that has nothing but the program: which pack it gets, what it fetches for it, and what its folder is meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::seal::{self, Identity, SealPlan};
use datanode_actors::vault::Vault;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::packs::{Pack, delta, files, full};
use support::s3::{KEY, S3, SECRET_KEY, beside_python};
use support::web::{Reply, Web};
use support::{DATANODE, Live, Node, Ran, SEEDED_NIGHT, Sim, differences, run, tree};

/// `datanode pack pull` on a machine that has nothing else.
fn pull(args: &[&str]) -> Command {
    let mut c = Command::new(DATANODE);
    c.env_clear().args(["pack", "pull", "--json"]).args(args).current_dir("/");
    c
}

fn pulled(args: &[&str]) -> Ran {
    run(&mut pull(args))
}

/// A bucket as a folder, and room for destinations.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }
    fn bucket(&self) -> PathBuf {
        self.root.path().join("bucket")
    }
    fn url(&self) -> String {
        self.bucket().display().to_string()
    }
    fn exports(&self) -> PathBuf {
        self.bucket().join("exports/home")
    }
    fn to(&self) -> PathBuf {
        self.root.path().join("here/pack")
    }
    fn dir(&self) -> String {
        std::fs::create_dir_all(self.to().parent().unwrap()).unwrap();
        self.to().display().to_string()
    }
    /// What lies beside the destination.
    fn beside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.to().parent().unwrap()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// coreutils find every file of a folder right, and the node's own verifier too.
#[track_caller]
fn verifies(dir: &Path) {
    run(Command::new("sha256sum").args(["-c", "--quiet", "--strict", "SHA256SUMS.stable.txt"]).current_dir(dir))
        .exits(0);
    let sums = std::fs::read_to_string(dir.join("SHA256SUMS.stable.txt")).unwrap();
    assert_eq!(sums.lines().count() + 1, tree(dir).len(), "every file but the sums is in the sums");
}

/// The same 100 files with one of them changed.
fn one_percent_later(before: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let mut later = before.to_vec();
    later[42].1 = files(99, 1, before[42].1.len()).remove(0).1;
    later
}

#[test]
fn the_newest_complete_pack_is_pulled_whatever_stands_unfinished_after_it() {
    let b = Bench::new();
    let pack = Pack::full(&full(2), files(1, 5, 3_000)).write(&b.exports());
    Pack::full(&full(1), files(2, 5, 3_000)).write(&b.exports());
    std::fs::remove_file(Pack::full(&full(3), files(3, 5, 3_000)).write(&b.exports()).join("manifest.json")).unwrap();
    for url in [
        b.url(),
        b.exports().display().to_string(),
        format!("file://{}", b.url()),
        b.bucket().join("exports").display().to_string(),
    ] {
        let ran = pulled(&[&url, "--latest", "--to", &b.dir()]).exits(0);
        assert_eq!(ran.json()["export_id"], full(2), "{url}");
        assert!(ran.err.contains(&full(3)) && ran.err.contains("not complete"), "{}", ran.err);
        assert_eq!(differences(&pack, &b.to()), Vec::<String>::new());
        assert_eq!(b.beside(), ["pack"]);
    }
    verifies(&b.to());
    pulled(&[&b.url(), "--id", &full(1), "--to", &b.dir()]).exits(0);
    assert_eq!(pulled(&[&b.url(), "--id", &full(3), "--to", &b.dir()]).exits(5).out, "");
    pulled(&[&b.url(), "--id", "latest", "--to", &b.dir()]).exits(2);
    pulled(&[&format!("{}/nothing", b.url()), "--latest", "--to", &b.dir()]).exits(5);
    pulled(&[&b.url(), "--latest", "--source", "away", "--to", &b.dir()]).exits(5);
    Pack::full("20260302T040000Z_away_full", files(4, 2, 10)).write(&b.bucket().join("exports/away"));
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(2).says(&["--source", "away, home"]);
    pulled(&[&b.url(), "--latest", "--source", "away", "--to", &b.dir()]).exits(0);
}

#[test]
fn a_change_of_one_percent_transfers_no_more_than_one_and_a_half_of_a_full_pack_and_of_a_delta() {
    let b = Bench::new();
    let before = files(1, 100, 100_000);
    Pack::full(&full(1), before.clone()).write(&b.exports());
    let web = Web::folder(&b.bucket());
    let base = format!("{}/exports/home", web.url);
    let sent = || web.sent.swap(0, Ordering::Relaxed);
    pulled(&[&base, "--id", &full(1), "--to", &b.dir()]).exits(0);
    let whole = sent();
    assert!(whole > 10_000_000);
    let later = one_percent_later(&before);
    let pack = Pack::full(&full(2), later.clone()).write(&b.exports());
    let ran = pulled(&[&base, "--id", &full(2), "--to", &b.dir()]).exits(0).json();
    let part = sent();
    assert!(part * 1000 <= whole * 15, "{part} of {whole} bytes");
    assert_eq!((ran["downloaded_bytes"].as_u64().unwrap(), ran["reused_files"].as_u64().unwrap()), (part, 99));
    assert_eq!(ran["verified_files"], 102);
    assert_eq!(differences(&pack, &b.to()), Vec::<String>::new());

    // The third state as a delta on the first two: 98 files lie in the first pack, one in the second, one in its own.
    let mut third = later.clone();
    third[7].1 = files(98, 1, 100_000).remove(0).1;
    let held = |(i, p): (usize, &String)| match i {
        7 => None,
        42 => Some((p.clone(), full(2))),
        _ => Some((p.clone(), full(1))),
    };
    let held_by = third.iter().map(|(p, _)| p).enumerate().filter_map(held).collect();
    let third = Pack { id: delta(3), files: third, held_by, base: Some(full(2)) };
    let shipped = third.write(&b.exports());
    pulled(&[&base, "--id", &delta(3), "--to", &b.dir()]).exits(0);
    let part = sent();
    assert!(part * 1000 <= whole * 15, "{part} of {whole} bytes");
    verifies(&b.to());
    assert_eq!(tree(&b.to())["manifest.json"].0, tree(&shipped)["manifest.json"].0);
    let of_all: BTreeMap<String, Vec<u8>> = third.files.into_iter().collect();
    for (path, body) in &of_all {
        assert!(std::fs::read(b.to().join(path)).unwrap() == *body, "{path}");
    }
    // Into a new folder all of it comes, each file from the pack that holds it.
    let fresh = b.root.path().join("here/fresh");
    pulled(&[&b.url(), "--latest", "--to", &fresh.display().to_string()]).exits(0);
    assert_eq!(differences(&fresh, &b.to()), Vec::<String>::new());
    // Once more, and only the papers come.
    sent();
    let again = pulled(&[&base, "--id", &delta(3), "--to", &b.dir()]).exits(0).json();
    assert!(again["unchanged"].as_bool().unwrap() && sent() < 100_000);
}

#[test]
fn an_altered_file_is_fetched_again_and_its_twin_in_the_bucket_is_not_touched() {
    let b = Bench::new();
    let pack = Pack::full(&full(1), files(1, 9, 5_000)).write(&b.exports());
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(0);
    let victim = b.to().join("data/equities_bars/year=2025/month=003/data.parquet");
    let mut body = std::fs::read(&victim).unwrap();
    body[17] ^= 1;
    std::fs::write(&victim, &body).unwrap();
    let ran = pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(0).json();
    assert_eq!((ran["unchanged"].as_bool(), ran["reused_files"].as_u64()), (Some(false), Some(8)));
    assert_eq!(differences(&pack, &b.to()), Vec::<String>::new());
    // With --trust-local a file of the right length is believed: that is what it says.
    Pack::full(&full(2), files(1, 9, 5_000)).write(&b.exports());
    body[18] ^= 1;
    std::fs::write(&victim, &body).unwrap();
    pulled(&[&b.url(), "--latest", "--trust-local", "--to", &b.dir()]).exits(0);
    assert!(std::fs::read(&victim).unwrap() == body);
}

#[test]
fn a_dry_run_says_what_would_come_and_writes_nothing() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 100, 1_000)).write(&b.exports());
    let ran = pulled(&[&b.url(), "--latest", "--dry-run", "--to", &b.dir()]).exits(0).json();
    assert_eq!((ran["downloaded_files"].as_u64(), ran["downloaded_bytes"].as_u64()), (Some(100), Some(100_000)));
    assert!(b.beside().is_empty());
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(0);
    Pack::full(&full(2), one_percent_later(&files(1, 100, 1_000))).write(&b.exports());
    let before = tree(&b.to());
    let ran = pulled(&[&b.url(), "--latest", "--dry-run", "--to", &b.dir()]).exits(0).json();
    assert_eq!((ran["downloaded_files"].as_u64(), ran["reused_files"].as_u64()), (Some(1), Some(99)));
    assert_eq!(tree(&b.to()), before);
}

#[test]
fn a_folder_that_holds_anything_but_a_pack_is_left_as_it_is() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 3, 100)).write(&b.exports());
    b.dir();
    std::fs::create_dir(b.to()).unwrap();
    std::fs::write(b.to().join("thesis.tex"), "years").unwrap();
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(2).says(&["holds no pack", "left as it is"]);
    std::fs::remove_file(b.to().join("thesis.tex")).unwrap();
    // Empty, it may be taken.
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(0);
    std::fs::write(b.to().join("data/notes.txt"), "mine").unwrap();
    let before = tree(&b.to());
    Pack::full(&full(2), files(2, 3, 100)).write(&b.exports());
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(2).says(&["notes.txt"]);
    assert_eq!(tree(&b.to()), before);
    let link = b.root.path().join("here/link");
    std::os::unix::fs::symlink(b.to(), &link).unwrap();
    pulled(&[&b.url(), "--latest", "--to", &link.display().to_string()]).exits(2).says(&["symlink"]);
    pulled(&[&b.url(), "--latest", "--to", &b.root.path().join("no/such/folder").display().to_string()]).exits(2);
    assert_eq!(b.beside(), ["link", "pack"]);
}

#[test]
fn another_manifest_under_the_same_id_is_refused() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 3, 100)).write(&b.exports());
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(0);
    let before = tree(&b.to());
    std::fs::remove_dir_all(b.exports()).unwrap();
    Pack::full(&full(1), files(2, 3, 100)).write(&b.exports());
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(3).says(&["another manifest", "never changed"]);
    assert_eq!(tree(&b.to()), before);
}

#[test]
fn a_pull_that_was_killed_goes_on_where_it_was_and_meanwhile_nobody_else_may() {
    let b = Bench::new();
    Pack::full(&full(1), files(9, 3, 50_000)).write(&b.exports());
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(0);
    let before = tree(&b.to());
    Pack::full(&full(2), files(1, 10, 50_000)).write(&b.exports());
    let stalls = Arc::new(AtomicBool::new(true));
    let (s, end) = (stalls.clone(), "month=006/data.parquet");
    let web = Web::new(&b.bucket(), move |a| match s.load(Ordering::Acquire) && a.path.ends_with(end) {
        true => Reply::Stall(20_000),
        false => Reply::Folder,
    });
    let url = format!("{}/exports/home", web.url);
    let args = [url.as_str(), "--id", &full(2), "--parallel", "1", "--to", &b.dir()];
    let live = Live::of(pull(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    while web.count(end) == 0 {
        std::thread::yield_now();
    }
    pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(6).says(&["another pull"]);
    live.signal(Signal::SIGKILL);
    live.wait();
    assert_eq!(tree(&b.to()), before, "the destination is as it was");
    let partial = format!("pack.{}.partial", full(2));
    assert_eq!(b.beside(), ["pack".to_owned(), partial, "pack.pull.lock".to_owned()]);
    stalls.store(false, Ordering::Release);
    let ran = pulled(&args).exits(0).json();
    assert_eq!((ran["reused_files"].as_u64(), ran["downloaded_files"].as_u64()), (Some(6), Some(4 + 2)));
    assert_eq!(b.beside(), ["pack"]);
    verifies(&b.to());
}

#[test]
fn a_pull_of_another_pack_uses_what_a_killed_one_left() {
    let b = Bench::new();
    let pack = Pack::full(&full(2), files(1, 10, 5_000)).write(&b.exports());
    b.dir();
    let left = b.root.path().join(format!("here/pack.{}.partial", full(1)));
    let older = Pack::full(&full(1), files(1, 10, 5_000)).write(&b.exports());
    support::copy(&older, &left);
    let ran = pulled(&[&b.url(), "--latest", "--to", &b.dir()]).exits(0).json();
    assert_eq!(ran["reused_files"], 10);
    assert_eq!(b.beside(), ["pack"]);
    assert_eq!(differences(&pack, &b.to()), Vec::<String>::new());
}

#[test]
fn a_pointer_leads_to_the_pack_that_it_names_and_to_nothing_else() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 3, 100)).write(&b.exports());
    Pack::full(&full(2), files(2, 3, 100)).write(&b.exports());
    b.dir();
    let pointer = b.root.path().join("pinned.pointer");
    let text = |bucket: &str, prefix: &str, id: &str| {
        let t = format!(
            "# pinned\nrepo=r\nworkflow=w\nrun_id=1\nexport_bucket={bucket}\nexport_prefix={prefix}\nexport_id={id}\nartifact_hint=\n"
        );
        std::fs::write(&pointer, t).unwrap();
        pointer.display().to_string()
    };
    let p = text(&b.url(), "exports/home", &full(1));
    assert_eq!(pulled(&["--pointer", &p, "--to", &b.dir()]).exits(0).json()["export_id"], full(1));
    // The bucket moved: its new URL goes before the pointer's.
    let p = text("s3://gone", "exports/home", &full(2));
    assert_eq!(pulled(&[&b.url(), "--pointer", &p, "--to", &b.dir()]).exits(0).json()["export_id"], full(2));
    let before = tree(&b.to());
    pulled(&["--pointer", &text(&b.url(), "exports/home", &full(9)), "--to", &b.dir()])
        .exits(5)
        .says(&["no complete pack"]);
    pulled(&["--pointer", &text(&b.url(), "exports/away", &full(1)), "--to", &b.dir()]).exits(5);
    pulled(&["--pointer", &text("", "", &full(1)), "--to", &b.dir()]).exits(2).says(&["export_bucket"]);
    pulled(&["--pointer", &text(&b.url(), "", "../../etc"), "--to", &b.dir()]).exits(4).says(&["export_id"]);
    std::fs::write(&pointer, vec![b'x'; 1 << 20]).unwrap();
    pulled(&["--pointer", &pointer.display().to_string(), "--to", &b.dir()]).exits(4);
    pulled(&["--pointer", "/no/such/file", "--to", &b.dir()]).exits(2);
    assert_eq!(tree(&b.to()), before);
}

#[test]
fn a_pack_comes_out_of_an_s3_bucket_with_credentials_and_not_without() {
    let Some(s3) = S3::honest("packs") else { return };
    let Some(aws) = beside_python("aws") else { return };
    let b = Bench::new();
    let pack = Pack::full(&full(1), files(1, 12, 70_000)).write(&b.exports());
    let mut up = Command::new(aws);
    up.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY).env("AWS_DEFAULT_REGION", "us-east-1");
    run(up.args(["--endpoint-url", &s3.endpoint, "s3", "cp", "--recursive", "--quiet", &b.url(), "s3://packs/market"]))
        .exits(0);
    let at = |url: &str, secret: &str, more: &[&str]| {
        let mut c = pull(&[&[url, "--endpoint", &s3.endpoint, "--to", &b.dir()], more].concat());
        if !secret.is_empty() {
            c.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", secret);
        }
        run(&mut c)
    };
    at("s3://packs/market", SECRET_KEY, &["--latest"]).exits(0);
    assert_eq!(differences(&pack, &b.to()), Vec::<String>::new());
    let before = tree(&b.to());
    at("s3://packs/market/exports/home", SECRET_KEY, &["--id", &full(1)]).exits(0);
    at("s3://packs/market", SECRET_KEY, &["--id", &full(9)]).exits(5);
    at("s3://nobucket/market", SECRET_KEY, &["--latest"]).exits(5).says(&["check the URL"]);
    at("s3://packs/elsewhere", SECRET_KEY, &["--latest"]).exits(5);
    at("s3://packs/market", "wrong", &["--latest"]).exits(1).says(&["credentials"]);
    at("s3://packs/market", "", &["--latest"]).exits(1).says(&["credentials"]);
    at("s3://packs/market", SECRET_KEY, &["--latest", "--key", "AKIALITERAL"]).exits(2).says(&["by reference"]);
    assert_eq!(tree(&b.to()), before);
}

#[test]
fn a_sealed_pack_comes_out_of_the_bucket_as_the_plain_one_with_what_it_builds_on() {
    let sim = Sim::seeded(3, 1, "");
    let mut node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "massive"], &sim);
    let shipped = node.root.path().join("shipped");
    std::fs::create_dir(&shipped).unwrap();
    node.set("DATANODE__SHIP__FOLDER", &shipped.display().to_string());
    let first = node.nightly(&[]).exits(0).json();
    let second =
        node.run(&["nightly", "--json", "--now", "2025-07-03T23:00:00Z", "--as-of", "2025-06-30"]).exits(0).json();
    assert_ne!(second["export_id"], first["export_id"]);
    let to = node.root.path().join("opened");
    let (url, key) = (shipped.display().to_string(), node.data().join("keys/node.key").display().to_string());
    let sealed = |more: &[&str]| {
        pulled(&[&[url.as_str(), "--sealed", "--identity", &key, "--to", &to.display().to_string()], more].concat())
    };
    let id = |s: &serde_json::Value| s["export_id"].as_str().unwrap().to_owned();
    let ran = sealed(&["--latest"]).exits(0).json();
    assert_eq!(ran["export_id"], id(&second));
    assert_eq!(differences(&node.pack(&second), &to), Vec::<String>::new());
    verifies(&to);
    sealed(&["--id", &id(&first)]).exits(0);
    assert_eq!(differences(&node.pack(&first), &to), Vec::<String>::new());
    let uid = ran["pack_uid"].as_str().unwrap().to_owned();
    sealed(&["--id", &uid]).exits(0);
    let before = tree(&to);
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 3);
    sealed(&["--id", &"0".repeat(32)]).exits(5);
    sealed(&["--id", &full(1)]).exits(5);
    let other = node.root.path().join("other.key");
    node.run(&["key", "new", "--out", &other.display().to_string()]).exits(0);
    let args =
        [url.as_str(), "--sealed", "--identity", &other.display().to_string(), "--to", &to.display().to_string()];
    pulled(&[&args[..], &["--id", &uid]].concat()).exits(3).says(&["unwrap"]);
    // What a pull began that cannot end well goes with it.
    let left = node.root.path().join("opened.vault.partial");
    assert!(!left.exists());
    // One bit of one object of its own.
    let of = shipped.join("sealed/datanode").join(&uid);
    let descriptor = std::fs::read(of.join(format!("descriptors/{uid}.json"))).unwrap();
    let descriptor: serde_json::Value = serde_json::from_slice(&descriptor).unwrap();
    let name = descriptor["manifest_objects"][0]["object_blake3"].as_str().unwrap();
    let object = format!("chunks/{}/{name}", &name[..2]);
    let mut bytes = std::fs::read(of.join(&object)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::remove_file(of.join(&object)).unwrap();
    std::fs::write(of.join(&object), bytes).unwrap();
    sealed(&["--id", &uid]).exits(3);
    std::fs::remove_file(of.join(&object)).unwrap();
    sealed(&["--id", &uid]).exits(3);
    // A key that does not open it is told before any object is asked for: they are all away.
    std::fs::remove_dir_all(of.join("chunks")).unwrap();
    pulled(&[&args[..], &["--id", &uid]].concat()).exits(3).says(&["unwrap"]);
    assert_eq!(tree(&to), before);
    assert!(!left.exists());
}

/// Seals a pack folder into a vault of its own below the bucket, as it is shipped.
fn seal_into(bucket: &Path, pack: &Path, uid: [u8; 16], identity: &Identity) {
    let vault = Vault::open(&bucket.join("sealed/home").join(hex::encode(uid))).unwrap();
    let key = seal::prepare(&vault, uid, &[identity.to_public()], identity).unwrap();
    let plan = SealPlan { pack_dir: pack, pack_uid: uid, generation: 0, chunk_size: 64 << 10, threads: 1, base: None };
    seal::seal(&vault, &key, &plan).unwrap();
}

#[test]
fn a_sealed_delta_becomes_whole_from_the_sealings_of_the_packs_that_hold_its_files() {
    let b = Bench::new();
    let identity = Identity::generate();
    let key = b.root.path().join("box.key");
    identity.write_new(&key).unwrap();
    let key = key.display().to_string();
    let first = Pack::full(&full(1), files(1, 4, 90_000));
    let mut later = first.files.clone();
    later[2].1 = files(2, 1, 90_000).remove(0).1;
    let held_by = later.iter().enumerate().filter(|(i, _)| *i != 2).map(|(_, (p, _))| (p.clone(), full(1))).collect();
    let second = Pack { id: delta(2), files: later.clone(), held_by, base: Some(full(1)) };
    seal_into(&b.bucket(), &first.write(&b.exports()), [1; 16], &identity);
    seal_into(&b.bucket(), &second.write(&b.exports()), [2; 16], &identity);
    let from = |url: &str, more: &[&str]| pulled(&[&[url, "--identity", &key, "--to", &b.dir()], more].concat());
    let direct = b.bucket().join("sealed/home").display().to_string();
    // The URL alone says that it is sealed.
    assert_eq!(from(&direct, &["--latest"]).exits(0).json()["export_id"], delta(2));
    verifies(&b.to());
    for (path, body) in &later {
        assert!(std::fs::read(b.to().join(path)).unwrap() == *body, "{path}");
    }
    let before = tree(&b.to());
    let plain = b.root.path().join("here/plain").display().to_string();
    pulled(&[&b.url(), "--latest", "--to", &plain]).exits(0);
    assert_eq!(differences(Path::new(&plain), &b.to()), Vec::<String>::new());
    from(&b.url(), &["--sealed", "--id", &hex::encode([2; 16])]).exits(0);
    assert_eq!(tree(&b.to()).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let before = tree(&b.to());
    std::fs::remove_dir_all(b.bucket().join("sealed/home").join(hex::encode([1; 16]))).unwrap();
    from(&b.url(), &["--sealed", "--latest"]).exits(3).says(&["builds on", &full(1)]);
    // A sealing without its descriptor has not arrived.
    let descriptor = format!("sealed/home/{0}/descriptors/{0}.json", hex::encode([2; 16]));
    std::fs::remove_file(b.bucket().join(descriptor)).unwrap();
    from(&b.url(), &["--sealed", "--latest"]).exits(5).says(&["not complete"]);
    pulled(&[&b.url(), "--sealed", "--latest", "--to", &b.dir()]).exits(2);
    pulled(&[&direct, "--latest", "--to", &b.dir()]).exits(2).says(&["--identity"]);
    assert_eq!(tree(&b.to()), before);
}
