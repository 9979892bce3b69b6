//! What a bucket may say that is not so: each ends with its exit code and words that help, and the folder that is there stays as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::files::sha256_hex;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::packs::{Pack, files, full};
use support::web::{Asked, Reply, Web};
use support::{DATANODE, Ran, Tree, run, tree};

/// A consumer whose folder holds a good pack, and a bucket with a newer one.
struct Victim {
    root: tempfile::TempDir,
    before: Tree,
}

impl Victim {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("here")).unwrap();
        let good = root.path().join("good");
        Pack::full(&full(1), files(50, 3, 2_000)).write(&good);
        let victim = Self { root, before: Tree::new() };
        victim.pull(&good.display().to_string(), &["--latest"]).exits(0);
        let before = tree(&victim.to());
        assert_eq!(before.len(), 5);
        Self { before, ..victim }
    }
    fn to(&self) -> PathBuf {
        self.root.path().join("here/pack")
    }
    fn exports(&self) -> PathBuf {
        self.root.path().join("bucket/exports/home")
    }
    fn command(&self, url: &str, more: &[&str]) -> Command {
        let mut c = Command::new(DATANODE);
        c.env_clear()
            .args(["pack", "pull", "--json", url, "--to", &self.to().display().to_string()])
            .args(more)
            .current_dir("/");
        c
    }
    fn pull(&self, url: &str, more: &[&str]) -> Ran {
        run(&mut self.command(url, more))
    }
    /// Pulls pack 2 through a server that answers so.
    fn through(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Ran {
        let web = Web::new(&self.root.path().join("bucket"), answer);
        self.pull(&format!("{}/exports/home", web.url), &["--id", &full(2), "--timeout", "2", "--parallel", "1"])
    }

    /// Pulls the newest pack from a shell that sets limits first.
    fn pulls_within(&self, script: &str) -> Ran {
        let mut c = Command::new("sh");
        c.args(["-c", script, DATANODE, "pack", "pull", "--latest"]).arg(self.root.path().join("bucket"));
        run(c.arg("--to").arg(self.to()))
    }
    /// Nothing of what is there has changed, and nothing else was written below it.
    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(tree(&self.to()), self.before);
        assert!(!self.root.path().join("here/pack.pull.lock").exists());
    }
}

/// A pack of three files whose manifest was changed; its sums are right for that manifest.
fn written(v: &Victim, change: impl Fn(&mut Value)) {
    drop(std::fs::remove_dir_all(v.exports()));
    let pack = Pack::full(&full(2), files(2, 3, 1_000));
    let mut m = pack.manifest();
    change(&mut m);
    pack.write_with(&v.exports(), &m.to_string());
}

#[test]
fn a_manifest_with_paths_that_no_pack_has_is_refused_before_anything_is_fetched() {
    let v = Victim::new();
    let long = format!("data/{}", "a".repeat(10_000));
    let component = format!("data/{}", "a".repeat(300));
    let beneath = format!("{}/x", files(2, 1, 1)[0].0);
    let paths: [(&str, &str); 11] = [
        ("/etc/passwd", "absolute"),
        ("data/../../../outside", "leaves the pack"),
        ("data//x", "empty component"),
        ("data/./x", "leaves the pack"),
        ("data/a\0b", "NUL"),
        ("data/a\nb", "control character"),
        ("data/a\u{1b}[2Jb", "control character"),
        ("manifest.json", "below data/"),
        (&long, "1024 bytes"),
        (&component, "255 bytes"),
        (&beneath, "inside another file"),
    ];
    for (path, why) in paths {
        written(&v, |m| m["files"][1]["path"] = json!(path));
        let url = v.root.path().join("bucket").display().to_string();
        v.pull(&url, &["--latest"]).exits(4).says(&[why]);
        v.is_untouched();
    }
    written(&v, |m| m["files"][1] = m["files"][0].clone());
    v.through(|_| Reply::Folder).exits(4).says(&["named twice"]);
    assert!(!Path::new("/outside").exists() && !v.root.path().join("outside").exists());
    v.is_untouched();
}

#[test]
fn a_manifest_that_is_not_one_is_refused() {
    let v = Victim::new();
    for (change, why) in [
        (json!({"schema_version": 2}), "schema_version 2"),
        (json!({"surprise": 1}), "unknown field"),
        (json!({"export_id": full(3)}), "says that it is"),
        (json!({"files": []}), "disagree"),
        (json!({"base_export_id": full(1)}), "base_export_id"),
    ] {
        written(&v, |m| change.as_object().unwrap().iter().for_each(|(k, x)| m[k] = x.clone()));
        let code = if why == "disagree" { 3 } else { 4 };
        v.through(|_| Reply::Folder).exits(code).says(&[why]);
        v.is_untouched();
    }
    written(&v, |_| {});
    let page = |a: &Asked| match a.path.ends_with("manifest.json") {
        true => Reply::Text(
            200,
            vec![("Content-Type".into(), "text/html".into())],
            b"<!doctype html><title>Login</title>".to_vec(),
        ),
        false => Reply::Folder,
    };
    v.through(page).exits(4).says(&["a web page came"]);
    v.is_untouched();
}

#[test]
fn symlinks_that_were_planted_on_the_way_are_not_followed() {
    let v = Victim::new();
    written(&v, |_| {});
    let outside = v.root.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let partial = v.root.path().join(format!("here/pack.{}.partial", full(2)));
    std::fs::create_dir(&partial).unwrap();
    std::os::unix::fs::symlink(&outside, partial.join("data")).unwrap();
    v.through(|_| Reply::Folder).exits(0);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(std::fs::symlink_metadata(v.to().join("data")).unwrap().is_dir());
    // The partial folder's own name as a symlink.
    written(&v, |_| {});
    let third = Pack::full(&full(3), files(3, 3, 1_000));
    third.write(&v.exports());
    std::os::unix::fs::symlink(&outside, v.root.path().join(format!("here/pack.{}.partial", full(3)))).unwrap();
    let before = tree(&v.to());
    v.pull(&v.root.path().join("bucket").display().to_string(), &["--latest"]).exits(1);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(tree(&v.to()), before);
}

#[test]
fn sizes_that_lie_are_refused_in_both_directions() {
    let v = Victim::new();
    for bytes in [999u64, 1_001, 1 << 40] {
        written(&v, |m| m["files"][1]["bytes"] = json!(bytes));
        let code = if bytes == 1 << 40 { [1, 3] } else { [3, 3] };
        let ran = v.through(|_| Reply::Folder);
        assert!(code.contains(&ran.code.unwrap()), "{ran:?}");
        v.is_untouched();
    }
    // The server's own length lies: longer than the manifest says, and nothing of it is waited for.
    written(&v, |_| {});
    let longer = |a: &Asked| match a.path.ends_with("month=001/data.parquet") {
        true => Reply::Cut(1 << 40, vec![7; 100_000]),
        false => Reply::Folder,
    };
    v.through(longer).exits(3).says(&["1099511627776 bytes where the manifest says 1000"]);
    v.is_untouched();
}

#[test]
fn a_manifest_of_ten_million_files_is_refused_by_its_length() {
    let v = Victim::new();
    written(&v, |_| {});
    let web = Web::new(&v.root.path().join("bucket"), |a| match a.path.ends_with("manifest.json") {
        true => Reply::Cut(2_000_000_000, vec![b' '; 1 << 20]),
        false => Reply::Folder,
    });
    v.pull(&web.url, &["--id", &full(2)]).exits(4).says(&["2000000000 bytes"]);
    v.is_untouched();
}

#[test]
fn a_file_that_would_fill_the_memory_is_bytes_and_nothing_else() {
    let v = Victim::new();
    // A small gzip of 256 MiB of zeros in the place of a parquet file: whoever decodes it has it all in memory.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0u8; 1 << 20];
    (0..256).for_each(|_| std::io::Write::write_all(&mut gz, &zeros).unwrap());
    let bomb = [b"PAR1".to_vec(), gz.finish().unwrap(), b"PAR1".to_vec()].concat();
    let path = "data/equities_bars/year=2025/month=01/data.parquet".to_owned();
    let pack = Pack::full(&full(2), vec![(path.clone(), bomb.clone())]).write(&v.exports());
    let script = "ulimit -v 400000; exec \"$0\" \"$@\"";
    v.pulls_within(script).exits(0);
    assert!(std::fs::read(v.to().join(&path)).unwrap() == bomb);
    assert_eq!(support::differences(&pack, &v.to()), Vec::<String>::new());
}

#[test]
fn a_bucket_that_changes_between_the_manifest_and_the_files_is_caught() {
    let v = Victim::new();
    let other = |a: &Asked| match a.path.ends_with("month=002/data.parquet") {
        true => Reply::Text(200, vec![], files(77, 1, 1_000).remove(0).1),
        false => Reply::Folder,
    };
    written(&v, |_| {});
    v.through(other).exits(3).says(&["its SHA-256 is"]);
    v.is_untouched();
    let gone = |a: &Asked| match a.path.ends_with("month=002/data.parquet") {
        true => Reply::Text(404, vec![], vec![]),
        false => Reply::Folder,
    };
    v.through(gone).exits(3).says(&["it is not there"]);
    v.is_untouched();
    let sums = |a: &Asked| match a.path.ends_with("SHA256SUMS.stable.txt") {
        true => Reply::Text(200, vec![], format!("{}  manifest.json\n", sha256_hex(b"")).into_bytes()),
        false => Reply::Folder,
    };
    v.through(sums).exits(3).says(&["disagree"]);
    v.is_untouched();
    let no_sums = |a: &Asked| match a.path.ends_with("SHA256SUMS.stable.txt") {
        true => Reply::Text(404, vec![], vec![]),
        false => Reply::Folder,
    };
    v.through(no_sums).exits(3).says(&["missing in the bucket"]);
    v.is_untouched();
    // The files that did arrive are not fetched again once the bucket is right.
    let ran = v.through(|_| Reply::Folder).exits(0).json();
    assert_eq!(ran["reused_files"], 2);
}

#[test]
fn a_download_that_breaks_off_is_taken_up_where_it_broke_off_and_given_up_when_it_always_does() {
    let v = Victim::new();
    let pack = Pack::full(&full(2), files(2, 1, 500_000));
    pack.write(&v.exports());
    let body = pack.files[0].1.clone();
    let always = body.clone();
    let ran = v.through(move |a| match a.path.ends_with(".parquet") {
        true => Reply::Cut(500_000, always[..1_000].to_vec()),
        false => Reply::Folder,
    });
    ran.exits(1).says(&["pull again"]);
    v.is_untouched();
    // Twelve times, further on each time: more often than the store's own client asks again.
    let (times, etag) = (AtomicUsize::new(0), sha256_hex(&body));
    let web = Web::new(&v.root.path().join("bucket"), move |a| {
        if !a.path.ends_with(".parquet") || times.fetch_add(1, Ordering::Relaxed) >= 12 {
            return Reply::Folder;
        }
        let from = a.headers.get("range").and_then(|r| r.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
        let (status, from) = (if from.is_some() { 206 } else { 200 }, from.unwrap_or(0));
        let part = ("Content-Range".to_owned(), format!("bytes {from}-499999/500000"));
        let headers = vec![("ETag".to_owned(), format!("\"{etag}\"")), part];
        let left = 500_000 - u64::try_from(from).unwrap();
        Reply::CutWith(status, headers, left, body[from..from + 20_000].to_vec())
    });
    let url = format!("{}/exports/home", web.url);
    v.pull(&url, &["--id", &full(2), "--timeout", "1"]).exits(0);
    assert!(web.sent.load(Ordering::Relaxed) < 510_000, "only what was lacking came again");
}

#[test]
fn a_silent_server_is_given_up_and_a_refusing_one_named() {
    let v = Victim::new();
    written(&v, |_| {});
    v.through(|_| Reply::Silence).exits(1).says(&["pull again later"]);
    v.is_untouched();
    for (status, code, words) in
        [(401, 1, "credentials"), (403, 1, "credentials"), (503, 1, "pull again later"), (404, 5, "no complete pack")]
    {
        v.through(move |_| Reply::Text(status, vec![], b"no".to_vec())).exits(code).says(&[words]);
        v.is_untouched();
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    v.pull(&format!("http://{nobody}/exports/home"), &["--latest", "--timeout", "1"]).exits(1);
    v.pull("gopher://x/y", &["--latest"]).exits(2).says(&["s3://"]);
    v.pull("https://me:secret@host/x", &["--latest"]).exits(2);
    v.is_untouched();
}

#[test]
fn a_redirect_is_followed_without_the_token() {
    let v = Victim::new();
    written(&v, |_| {});
    let elsewhere = Web::folder(&v.root.path().join("bucket"));
    let to = elsewhere.url.replace("127.0.0.1", "localhost");
    let web = Web::new(&v.root.path().join("bucket"), move |a| {
        Reply::Text(302, vec![("Location".to_owned(), format!("{to}{}", a.path))], vec![])
    });
    let mut c = v.command(&format!("{}/exports/home", web.url), &["--id", &full(2), "--token", "env:T"]);
    run(c.env("T", "dnt_secret")).exits(0);
    let first = web.asked.lock().unwrap();
    assert!(first.iter().all(|a| a.headers.get("authorization").is_some_and(|h| h == "Bearer dnt_secret")));
    let second = elsewhere.asked.lock().unwrap();
    assert!(!second.is_empty() && second.iter().all(|a| !a.headers.contains_key("authorization")));
}

#[test]
fn a_full_disk_ends_it_and_the_folder_stays() {
    let v = Victim::new();
    Pack::full(&full(2), files(2, 2, 300_000)).write(&v.exports());
    // A limit on the length of files is what a full disk is to the one who writes.
    let script = "trap '' XFSZ; ulimit -f 256; exec \"$0\" \"$@\"";
    v.pulls_within(script).exits(1).says(&["make room"]);
    v.is_untouched();
}

#[test]
fn a_newer_pack_that_is_not_valid_does_not_hide_the_good_one_before_it() {
    let v = Victim::new();
    Pack::full(&full(2), files(2, 3, 1_000)).write(&v.exports());
    Pack::full(&full(3), files(3, 3, 1_000)).write_with(&v.exports(), "{}");
    let url = v.root.path().join("bucket").display().to_string();
    let ran = v.pull(&url, &["--latest"]).exits(0);
    assert_eq!(ran.json()["export_id"], full(2));
    assert!(ran.err.contains(&full(3)), "{}", ran.err);
    v.pull(&url, &["--id", &full(3)]).exits(4);
}
