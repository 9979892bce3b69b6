//! What hostile buckets, servers, neighbours and habits do to a consumer's folder, and what must be true all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::seal::{self, Identity, SealPlan};
use datanode_actors::vault::Vault;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::packs::{Pack, delta, files, full};
use support::web::{Asked, Reply, Web};
use support::{DATANODE, Live, Ran, differences, run, tree};

/// A bucket that is a folder, and room for destinations.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let b = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(b.at("here")).unwrap();
        b
    }
    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
    fn exports(&self) -> PathBuf {
        self.at("bucket/exports/home")
    }
    fn text(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }
    fn to(&self) -> PathBuf {
        self.at("here/pack")
    }
    fn program(&self, url: &str, more: &[&str]) -> Command {
        let mut c = Command::new(DATANODE);
        c.env_clear().args(["pack", "pull", url, "--json", "--to"]).arg(self.to()).args(more);
        c
    }
    fn pull(&self, url: &str, more: &[&str]) -> Ran {
        run(&mut self.program(url, more))
    }
    /// `fetch_pack.sh` with curl.
    fn script(&self, url: &str, wanted: &str) -> Command {
        let mut c = Command::new("bash");
        c.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/consumer/fetch_pack.sh"));
        c.args([url, &self.to().display().to_string(), wanted]);
        c
    }
    fn fetch(&self, url: &str, wanted: &str) -> Ran {
        run(&mut self.script(url, wanted))
    }
    fn web(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Web {
        Web::new(&self.exports(), answer)
    }
    fn seal(&self, pack: &Path, uid: [u8; 16], identity: &Identity) {
        let vault = Vault::open(&self.at("bucket/sealed/home").join(hex::encode(uid))).unwrap();
        let key = seal::prepare(&vault, uid, &[identity.to_public()], identity).unwrap();
        let plan =
            SealPlan { pack_dir: pack, pack_uid: uid, generation: 0, chunk_size: 64 << 10, threads: 1, base: None };
        seal::seal(&vault, &key, &plan).unwrap();
    }
    fn identity(&self) -> (Identity, String) {
        let identity = Identity::generate();
        identity.write_new(&self.at("box.key")).unwrap();
        (identity, self.text("box.key"))
    }
}

/// How it ended within so many seconds; None where it did not.
fn within(seconds: u64, c: &mut Command) -> Option<Ran> {
    let child = c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    Live::of(child).wait_at_most(Duration::from_secs(seconds))
}

// The program.

#[test]
fn a_link_in_the_place_of_the_vault_is_not_written_through() {
    let b = Bench::new();
    let (identity, key) = b.identity();
    b.seal(&Pack::full(&full(1), files(1, 2, 9_000)).write(&b.exports()), [1; 16], &identity);
    std::fs::create_dir_all(b.at("outside/descriptors")).unwrap();
    std::fs::write(b.at("outside/descriptors/mine"), "mine").unwrap();
    let before = tree(&b.at("outside"));
    symlink(b.at("outside"), b.at("here/pack.vault.partial")).unwrap();
    b.pull(&b.text("bucket"), &["--sealed", "--identity", &key, "--latest"]);
    assert_eq!(tree(&b.at("outside")), before);
}

#[test]
fn sealed_or_not_another_manifest_under_the_same_id_is_refused() {
    let b = Bench::new();
    let (identity, key) = b.identity();
    b.seal(&Pack::full(&full(1), files(1, 2, 9_000)).write(&b.at("a")), [1; 16], &identity);
    let pull = || b.pull(&b.text("bucket"), &["--sealed", "--identity", &key, "--latest"]);
    pull().exits(0);
    let before = tree(&b.to());
    std::fs::remove_dir_all(b.at("bucket")).unwrap();
    b.seal(&Pack::full(&full(1), files(2, 2, 9_000)).write(&b.at("b")), [2; 16], &identity);
    pull().exits(3);
    assert_eq!(tree(&b.to()), before);
}

#[test]
fn two_sealings_of_one_id_that_hold_other_bytes_are_not_chosen_between_in_silence() {
    let b = Bench::new();
    let (identity, key) = b.identity();
    b.seal(&Pack::full(&full(1), files(1, 2, 9_000)).write(&b.at("a")), [1; 16], &identity);
    b.seal(&Pack::full(&full(1), files(2, 2, 9_000)).write(&b.at("b")), [2; 16], &identity);
    let uids = [[1; 16], [2; 16]].map(hex::encode);
    let ran = b.pull(&b.text("bucket"), &["--sealed", "--identity", &key, "--latest"]).exits(3);
    ran.says(&[&uids[0], &uids[1], "--id"]);
    b.pull(&b.text("bucket"), &["--sealed", "--identity", &key, "--id", &uids[0]]).exits(0);
    assert_eq!(differences(&b.at("a").join(format!("export_{}", full(1))), &b.to()), Vec::<String>::new());
}

#[test]
fn the_newest_pack_is_never_one_before_the_pack_that_is_here_without_a_word() {
    let b = Bench::new();
    Pack::full(&full(2), files(2, 2, 1_000)).write(&b.exports());
    let third = Pack::full(&full(3), files(3, 2, 1_000)).write(&b.exports());
    b.pull(&b.text("bucket"), &["--latest"]).exits(0);
    // An old pointer that somebody plays again; then a bucket that lost its newest.
    let pointer = |id: String| format!("export_bucket=s3://x\nexport_prefix=exports/home\nexport_id={id}\n");
    std::fs::write(b.exports().join("latest.pointer"), pointer(full(2))).unwrap();
    let web = b.web(|_| Reply::Folder);
    let replayed = b.pull(&web.url, &["--latest"]).exits(3).says(&[&full(2), &full(3), "--id"]);
    let after = Value::to_string(&json!(std::fs::read_to_string(b.to().join("manifest.json")).unwrap()));
    assert!(after.contains(&full(3)) || replayed.err.contains("older"), "it went back: {}", replayed.err);
    b.pull(&b.text("bucket"), &["--id", &full(3)]).exits(0);
    std::fs::write(third.join("manifest.json"), "{").unwrap();
    let damaged = b.pull(&b.text("bucket"), &["--latest"]);
    assert_ne!(damaged.code, Some(0), "a damaged bucket took the newer good pack away: {}", damaged.err);
}

#[test]
fn the_old_pack_comes_back_after_a_killed_swap_also_while_the_bucket_is_away() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 2, 1_000)).write(&b.exports());
    b.pull(&b.text("bucket"), &["--latest"]).exits(0);
    // As a kill between the two renames leaves it, where two folders cannot be exchanged.
    std::fs::rename(b.to(), b.at("here/pack.pull.replaced")).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    b.pull(&format!("http://{nobody}/exports/home"), &["--latest", "--timeout", "1"]).exits(1);
    assert!(b.to().join("manifest.json").exists());
}

#[test]
fn a_pipe_in_a_bucket_that_is_a_folder_holds_nobody_up() {
    let b = Bench::new();
    let pack = Pack::full(&full(1), files(1, 2, 1_000)).write(&b.exports());
    std::fs::remove_file(pack.join("manifest.json")).unwrap();
    run(Command::new("mkfifo").arg(pack.join("manifest.json"))).exits(0);
    assert!(within(10, &mut b.program(&b.text("bucket"), &["--latest", "--timeout", "2"])).is_some());
}

#[test]
fn a_list_without_end_is_given_up() {
    let b = Bench::new();
    let web = b.web(|_| {
        let body = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>\
                    <CommonPrefixes><Prefix>exports/</Prefix></CommonPrefixes></ListBucketResult>";
        Reply::Text(200, vec![("Content-Type".into(), "application/xml".into())], body.into())
    });
    let args = ["--latest", "--endpoint", &web.url, "--timeout", "2"];
    let ended = within(10, &mut b.program("s3://packs", &args));
    assert!(ended.is_some(), "{} pages were asked for, all of them the same", web.asked.lock().unwrap().len());
}

#[test]
fn a_server_that_drips_does_not_hold_the_folder_for_ever() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 1, 1_000)).write(&b.exports());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut s in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                drop(s.read(&mut [0; 4096]));
                drop(s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"));
                while s.write_all(b" ").is_ok() {
                    std::thread::park_timeout(Duration::from_millis(500));
                }
            });
        }
    });
    assert!(within(20, &mut b.program(&url, &["--id", &full(1), "--timeout", "1"])).is_some());
}

#[test]
fn what_a_bucket_says_reaches_the_terminal_without_its_control_characters() {
    let b = Bench::new();
    let pack = Pack::full(&full(1), files(1, 1, 100));
    let mut m = pack.manifest();
    m["\u{1b}[2Jgood"] = json!(1);
    pack.write_with(&b.exports(), &m.to_string());
    let ran = b.pull(&b.text("bucket"), &["--id", &full(1)]).exits(4);
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
    // The lines of a comparison cannot be forged either.
    let mut m = pack.manifest();
    let partition = "equities_bars/A\nsame     all of it\u{1b}[2J/2025-01-02";
    m["qc"]["excluded"] = json!([{"partition": partition, "status": "RED", "reasons": ["x"]}]);
    let (a, forged) = (pack.write(&b.at("a")), pack.write_with(&b.at("b"), &m.to_string()));
    let ran = run(Command::new(DATANODE).args(["pack", "diff"]).args([a, forged]));
    assert!(!ran.out.contains('\u{1b}') && !ran.out.contains("\nsame "), "{:?}", ran.out);
}

#[test]
fn every_path_that_a_manifest_may_have_can_be_pulled() {
    let b = Bench::new();
    for (i, name) in [(1, "a+b"), (2, "a=b"), (3, "a%2Fb")] {
        let file = (format!("data/equities_bars/{name}/data.parquet"), vec![1; 10]);
        let pack = Pack::full(&full(i), vec![file]).write(&b.exports());
        b.pull(&b.text("bucket"), &["--id", &full(i)]).exits(0);
        assert_eq!(differences(&pack, &b.to()), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_token_does_not_go_where_only_a_pointer_says() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 1, 100)).write(&b.exports());
    let web = b.web(|_| Reply::Folder);
    let text = format!("export_bucket={}\nexport_prefix=\nexport_id={}\n", web.url, full(1));
    std::fs::write(b.at("pin.pointer"), text).unwrap();
    let mut c = Command::new(DATANODE);
    c.env_clear().env("DATANODE_TOKEN", "dnt_secret").args(["pack", "pull", "--pointer"]).arg(b.at("pin.pointer"));
    run(c.arg("--to").arg(b.to()));
    let asked = web.asked.lock().unwrap();
    assert!(!asked.is_empty() && asked.iter().all(|a| !a.headers.contains_key("authorization")));
}

#[test]
fn a_destination_that_cannot_be_exchanged_is_refused_before_anything_is_fetched() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 1, 100)).write(&b.exports());
    std::fs::create_dir(b.at("real")).unwrap();
    symlink(b.at("real"), b.to()).unwrap();
    for to in [b.to().display().to_string(), format!("{}/", b.to().display()), format!("{}/.", b.to().display())] {
        let mut c = Command::new(DATANODE);
        run(c.args(["pack", "pull", &b.text("bucket"), "--latest", "--to", &to])).exits(2);
        assert_eq!(std::fs::read_dir(b.at("here")).unwrap().count(), 1, "{to}");
    }
}

// The script.

#[test]
fn the_script_leaves_a_folder_alone_that_holds_more_than_a_pack() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 2, 1_000)).write(&b.exports());
    let web = b.web(|_| Reply::Folder);
    std::fs::create_dir(b.to()).unwrap();
    std::fs::write(b.to().join("manifest.json"), r#"{"name": "my browser extension"}"#).unwrap();
    std::fs::write(b.to().join("thesis.tex"), "years of work").unwrap();
    let before = tree(&b.to());
    b.pull(&web.url, &["--id", &full(1)]).exits(2);
    let ran = b.fetch(&web.url, &full(1));
    assert_eq!((tree(&b.to()), ran.code), (before, Some(2)));
}

#[test]
fn the_script_leaves_its_neighbours_alone() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 2, 1_000)).write(&b.exports());
    let web = b.web(|_| Reply::Folder);
    std::fs::create_dir(b.at("here/pack.fetch.backup")).unwrap();
    std::fs::write(b.at("here/pack.fetch.backup/notes"), "mine").unwrap();
    std::fs::write(b.at("important"), "mine").unwrap();
    symlink(b.at("important"), b.at("here/pack.fetch.lock")).unwrap();
    b.fetch(&web.url, &full(1));
    assert_eq!(std::fs::read_to_string(b.at("important")).unwrap(), "mine", "emptied through the lock");
    assert!(b.at("here/pack.fetch.backup/notes").exists(), "a folder that it did not make is gone");
}

#[test]
fn the_script_refuses_a_link_as_its_folder() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 2, 1_000)).write(&b.exports());
    let web = b.web(|_| Reply::Folder);
    std::fs::create_dir(b.at("big-disk")).unwrap();
    symlink(b.at("big-disk"), b.to()).unwrap();
    let ran = b.fetch(&web.url, &full(1));
    assert!(std::fs::symlink_metadata(b.to()).unwrap().is_symlink(), "{ran:?}");
    ran.exits(2);
}

#[test]
fn the_script_refuses_another_manifest_under_the_same_id() {
    let b = Bench::new();
    let web = b.web(|_| Reply::Folder);
    Pack::full(&full(1), files(1, 2, 1_000)).write(&b.exports());
    b.fetch(&web.url, &full(1)).exits(0);
    let before = tree(&b.to());
    Pack::full(&full(1), files(2, 2, 1_000)).write(&b.exports());
    b.pull(&web.url, &["--id", &full(1)]).exits(3);
    let ran = b.fetch(&web.url, &full(1));
    assert_eq!((tree(&b.to()), ran.code), (before, Some(3)));
}

#[test]
fn the_script_refuses_each_manifest_that_the_program_refuses() {
    let b = Bench::new();
    let web = b.web(|_| Reply::Folder);
    Pack::full(&full(1), files(1, 2, 100)).write(&b.exports());
    let mut accepted = Vec::new();
    let mut both = |name: &str, id: &str, change: &dyn Fn(&mut Value)| {
        drop(std::fs::remove_dir_all(b.exports().join(format!("export_{id}"))));
        let pack = Pack::full(id, files(2, 2, 100));
        let mut m = pack.manifest();
        change(&mut m);
        pack.write_with(&b.exports(), &m.to_string());
        let theirs = b.pull(&web.url, &["--id", id]).code;
        drop(std::fs::remove_dir_all(b.to()));
        let ours = b.fetch(&web.url, id).code;
        drop(std::fs::remove_dir_all(b.to()));
        if theirs != ours {
            accepted.push(format!("{name}: the program exits {theirs:?}, the script {ours:?}"));
        }
    };
    both("as it is", &full(2), &|_| {});
    both("a length that lies", &full(2), &|m| m["files"][0]["bytes"] = json!(99));
    both("a negative length", &full(2), &|m| m["files"][0]["bytes"] = json!(-1));
    both("an unknown field", &full(2), &|m| m["surprise"] = json!(1));
    both("another source", &full(2), &|m| m["source"] = json!("away"));
    both("no verdicts", &full(2), &|m| drop(m.as_object_mut().unwrap().remove("qc")));
    both("a full pack on a base", &full(2), &|m| m["base_export_id"] = json!(full(1)));
    both("a delta without a base", &delta(2), &|_| {});
    both("out of order", &full(2), &|m| m["files"].as_array_mut().unwrap().reverse());
    both("a full pack that others hold", &full(2), &|m| m["files"][0]["held_by"] = json!(full(2)));
    both("a holder with a line break", &delta(2), &|m| {
        m["base_export_id"] = json!(full(1));
        m["files"][0]["held_by"] = json!(format!("../x\n{}", full(1)));
    });
    assert!(accepted.is_empty(), "{}", accepted.join("\n"));
}

#[test]
fn the_script_takes_every_path_that_the_program_takes() {
    let b = Bench::new();
    let web = b.web(|_| Reply::Folder);
    let mut codes = Vec::new();
    for (i, name) in [(1, "a+b"), (2, "a=b"), (3, "a%2Fb")] {
        let file = (format!("data/equities_bars/{name}/data.parquet"), vec![1; 10]);
        Pack::full(&full(i), vec![file]).write(&b.exports());
        codes.push((name, b.fetch(&web.url, &full(i)).code));
    }
    assert_eq!(codes, [("a+b", Some(0)), ("a=b", Some(0)), ("a%2Fb", Some(0))]);
}

#[test]
fn the_script_tells_no_answer_from_no_pack_and_from_an_altered_one() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 1, 100)).write(&b.exports());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut codes = vec![("nobody listens", b.fetch(&format!("http://{nobody}"), &full(1)).code)];
    let refusing = b.web(|_| Reply::Text(401, vec![], b"no".to_vec()));
    codes.push(("a refused token", b.fetch(&refusing.url, &full(1)).code));
    let broken = b.web(|a| match a.path.ends_with(".parquet") {
        true => Reply::Text(403, vec![], vec![]),
        false => Reply::Folder,
    });
    codes.push(("a file that it may not read", b.fetch(&broken.url, &full(1)).code));
    assert!(codes.iter().all(|(_, c)| *c == Some(1)), "{codes:?}");
}

#[test]
fn the_script_gives_a_silent_server_up_and_takes_no_more_than_the_manifest_says() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 1, 100)).write(&b.exports());
    let flood = b.web(|a| match a.path.ends_with(".parquet") {
        true => Reply::Text(200, vec![], vec![0; 50_000_000]),
        false => Reply::Folder,
    });
    b.fetch(&flood.url, &full(1)).exits(3);
    let taken = flood.sent.load(Ordering::Relaxed);
    let silent = b.web(|_| Reply::Silence);
    let ended = within(50, &mut b.script(&silent.url, &full(1)));
    assert!(ended.is_some() && taken < 10_000_000, "ended: {ended:?}; taken for a file of 100 bytes: {taken}");
}

#[test]
fn the_script_refuses_a_pointer_that_the_program_refuses() {
    let b = Bench::new();
    Pack::full(&full(1), files(1, 1, 100)).write(&b.exports());
    Pack::full(&full(2), files(2, 1, 100)).write(&b.exports());
    let web = b.web(|_| Reply::Folder);
    let text = format!("export_bucket=x\nexport_id={}\nexport_id={}\nsurprise=1\n", full(1), full(2));
    std::fs::write(b.exports().join("latest.pointer"), text).unwrap();
    b.pull(&web.url, &["--latest"]).exits(4);
    b.fetch(&web.url, "latest").exits(4);
}
