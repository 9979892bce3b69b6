//! Every kind of file of a pack and of a vault, damaged: `datanode pack verify` says so, names it, and says how bad it is.
//!
//! Exit codes: 3 for what is missing, extra or altered and for a wrong key, 4 for a manifest that breaks its contract,
//! 5 where there is no pack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use support::{Draw, Node, Ran, SEEDED_NIGHT, Sim, copy, tree};

/// A data folder with one pack and its sealing; shared by the tests that run at the time, and gone with the last of them.
fn original() -> Arc<Node> {
    static MADE: Mutex<Weak<Node>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = made.upgrade() {
        return node;
    }
    let sim = Sim::seeded(3, 2, "");
    let node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    node.nightly(&[]).exits(0);
    node.run(&["pack", "verify", node.data().to_str().unwrap()]).exits(0);
    let node = Arc::new(node);
    *made = Arc::downgrade(&node);
    node
}

struct Copy {
    of: Arc<Node>,
    _dir: tempfile::TempDir,
    data: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let of = original();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        for part in ["exports/datanode", "vault", "keys"] {
            copy(&of.data().join(part), &data.join(part));
        }
        Self { of, _dir: dir, data }
    }
    fn pack(&self) -> PathBuf {
        let mut packs = std::fs::read_dir(self.data.join("exports/datanode")).unwrap();
        packs.next().unwrap().unwrap().path()
    }
    fn verify(&self, path: &Path) -> Ran {
        let key = self.data.join("keys/node.key");
        self.of.run(&["pack", "verify", path.to_str().unwrap(), "--key", key.to_str().unwrap()])
    }
    /// Without a key, as a replica would: no setting leads to one.
    fn verify_without_key(&self, path: &Path) -> Ran {
        let nowhere = self.data.join("nowhere");
        self.of.run(&["--data-dir", nowhere.to_str().unwrap(), "pack", "verify", path.to_str().unwrap()])
    }
}

/// Flips one bit at the first byte, the last, and drawn ones between; after each, what `check` says is asserted.
fn flipped(file: &Path, seed: u64, check: impl Fn(&str)) {
    let whole = std::fs::read(file).unwrap();
    assert!(!whole.is_empty(), "{} is empty", file.display());
    let mut draw = Draw(seed);
    let len = whole.len() as u64;
    for at in [0, len - 1, draw.below(len), draw.below(len)] {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).unwrap()] ^= 1 << draw.below(8);
        std::fs::write(file, &bytes).unwrap();
        check(&format!("{} (seed {seed}): byte {at} of {len}", file.display()));
    }
    std::fs::write(file, whole).unwrap();
}

#[track_caller]
fn is(ran: &Ran, code: i32, names: &str, what: &str) {
    assert_eq!(ran.code, Some(code), "{what}: {}{}", ran.out, ran.err);
    assert!(ran.err.contains(names), "{what}: {names:?} is not named: {}", ran.err);
}

#[test]
fn a_flipped_bit_in_any_kind_of_pack_file_exits_3_and_names_the_file() {
    let c = Copy::new();
    let files: Vec<String> = tree(&c.pack()).into_keys().collect();
    let first = |kind: &str| {
        files.iter().find(|f| f.contains(kind)).unwrap_or_else(|| panic!("no {kind} in {files:?}")).clone()
    };
    let kinds =
        ["manifest.json", "SHA256SUMS", "equities_bars/", "equities_bars_minute/", "macro_treasury/", "data/qc/"];
    for (i, name) in kinds.map(first).iter().enumerate() {
        flipped(&c.pack().join(name), 100 + i as u64, |what| {
            is(&c.verify(&c.pack()), 3, name, what);
            is(&c.verify(&c.data), 3, name, what);
        });
    }
    c.verify(&c.data).exits(0);
}

#[test]
fn a_flipped_bit_in_any_kind_of_vault_file_exits_3_and_names_the_object_or_the_sealing() {
    let c = Copy::new();
    let vault = c.data.join("vault");
    let files: Vec<String> = tree(&vault).into_keys().filter(|f| f != ".lock").collect();
    assert!(files.iter().filter(|f| f.starts_with("chunks/")).count() >= 2, "{files:?}");
    for (i, name) in files.iter().enumerate() {
        // An object is named by its hash, a record by the sealing's id: both are the file's name without its ending.
        let stem = Path::new(name).file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
        flipped(&vault.join(name), 200 + i as u64, |what| {
            is(&c.verify(&c.data), 3, &stem, what);
            is(&c.verify_without_key(&vault), 3, &stem, &format!("without a key: {what}"));
        });
    }
    c.verify(&c.data).exits(0);
    c.verify_without_key(&vault).exits(0);
}

#[test]
fn a_missing_file_and_an_extra_file_exit_3_and_are_named() {
    let c = Copy::new();
    let some = tree(&c.pack()).into_keys().find(|f| f.contains("equities_bars/")).unwrap();
    for name in [some.as_str(), "data/qc/partition_status.parquet", "manifest.json", "SHA256SUMS.stable.txt"] {
        let (file, aside) = (c.pack().join(name), c.data.join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        is(&c.verify(&c.pack()), 3, name, "missing");
        is(&c.verify(&c.data), 3, name, "missing, seen from the data folder");
        std::fs::rename(&aside, &file).unwrap();
    }
    for name in ["extra.txt", "data/equities_bars/extra.parquet"] {
        std::fs::write(c.pack().join(name), "x").unwrap();
        is(&c.verify(&c.pack()), 3, name, "extra");
        std::fs::remove_file(c.pack().join(name)).unwrap();
    }
    for part in ["vault/chunks", "vault/stanzas"] {
        for (name, _) in tree(&c.data.join(part)) {
            let (file, aside) = (c.data.join(part).join(&name), c.data.join("aside"));
            std::fs::rename(&file, &aside).unwrap();
            let stem = Path::new(&name).file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
            is(&c.verify(&c.data), 3, &stem, &format!("{part}/{name} missing"));
            std::fs::rename(&aside, &file).unwrap();
        }
    }
    c.verify(&c.data).exits(0);
}

/// Writes a changed manifest with sums that agree with it, so that only the contract is broken.
fn with_manifest(pack: &Path, change: impl Fn(&mut Value) -> Option<(String, String)>) {
    let file = pack.join("manifest.json");
    let mut m: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let renamed = change(&mut m);
    let text = serde_json::to_vec_pretty(&m).unwrap();
    std::fs::write(&file, &text).unwrap();
    let sums = std::fs::read_to_string(pack.join("SHA256SUMS.stable.txt")).unwrap();
    let mut lines: Vec<(String, String)> = sums
        .lines()
        .filter_map(|l| l.split_once("  "))
        .map(|(sum, path)| match (&renamed, path) {
            (_, "manifest.json") => (path.to_owned(), datanode_schema::files::sha256_hex(&text)),
            (Some((from, to)), p) if p == from => (to.clone(), sum.to_owned()),
            _ => (path.to_owned(), sum.to_owned()),
        })
        .collect();
    lines.sort();
    let text: String = lines.iter().map(|(path, sum)| format!("{sum}  {path}\n")).collect();
    std::fs::write(pack.join("SHA256SUMS.stable.txt"), text).unwrap();
}

fn first_path(m: &Value) -> String {
    m["files"][0]["path"].as_str().unwrap().to_owned()
}

#[test]
fn a_manifest_that_leaves_the_pack_exits_4_and_nothing_outside_is_read() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    for (to, moved) in [("../x", true), ("/etc/passwd", false), ("data/../../x", true), ("data//x", false), ("", false)]
    {
        for sums_too in [false, true] {
            let c = Copy::new();
            let pack = c.pack();
            let mut from = String::new();
            with_manifest(&pack, |m| {
                let old = first_path(m);
                m["files"][0]["path"] = to.into();
                sums_too.then(|| (old, to.to_owned()))
            });
            if sums_too {
                // The file itself stands where the path leads, or nowhere: nothing is extra, nothing is missing.
                from = first_in_tree_not_in_sums(&pack);
                let target = if moved { pack.join(to) } else { secret.clone() };
                std::fs::rename(pack.join(&from), target).unwrap();
            }
            let ran = c.verify(&pack);
            assert_eq!(ran.code, Some(4), "{to:?}, sums {sums_too} ({from}): {}", ran.err);
            assert!(ran.err.contains("manifest.json") || ran.err.contains("SHA256SUMS"), "{}", ran.err);
        }
    }
}

fn first_in_tree_not_in_sums(pack: &Path) -> String {
    let sums = std::fs::read_to_string(pack.join("SHA256SUMS.stable.txt")).unwrap();
    let named: Vec<&str> = sums.lines().filter_map(|l| l.split_once("  ")).map(|(_, p)| p).collect();
    tree(pack).into_keys().find(|f| f != "SHA256SUMS.stable.txt" && !named.contains(&f.as_str())).unwrap()
}

#[test]
fn a_manifest_of_another_version_or_form_exits_4() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 7] = [
        ("schema_version", |m| m["schema_version"] = 2.into()),
        ("expected u32", |m| m["schema_version"] = "1".into()),
        ("export_id", |m| m["export_id"] = "../../x".into()),
        ("surprise", |m| m["surprise"] = true.into()),
        ("source", |m| {
            m.as_object_mut().unwrap().remove("source");
        }),
        ("SHA-256", |m| m["files"][0]["sha256"] = "00".into()),
        ("twice", |m| {
            let first = m["files"][0].clone();
            m["files"].as_array_mut().unwrap().push(first);
        }),
    ];
    for (word, change) in changes {
        let c = Copy::new();
        with_manifest(&c.pack(), |m| {
            change(m);
            None
        });
        is(&c.verify(&c.pack()), 4, word, word);
    }
}

#[test]
fn a_symlink_in_a_pack_exits_4_and_is_not_followed() {
    let c = Copy::new();
    let name = tree(&c.pack()).into_keys().find(|f| f.contains("macro_treasury/")).unwrap();
    let (file, elsewhere) = (c.pack().join(&name), c.data.join("elsewhere"));
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    is(&c.verify(&c.pack()), 4, &name, "a link with the right bytes behind it");
}

#[test]
fn what_is_no_pack_exits_5() {
    let empty = tempfile::tempdir().unwrap();
    original().run(&["pack", "verify", empty.path().to_str().unwrap()]).exits(5);
    original().run(&["pack", "verify", empty.path().join("absent").to_str().unwrap()]).exits(5);
    let c = Copy::new();
    let to = c.data.join("opened");
    let vault = c.data.join("vault");
    let args = ["pack", "open", vault.to_str().unwrap(), "--to", to.to_str().unwrap(), "--id", "ffff"];
    original().run(&args).exits(5);
}

#[test]
fn a_wrong_key_exits_3_and_opens_nothing() {
    let c = Copy::new();
    let other = c.data.join("other.key");
    original().run(&["key", "new", "--out", other.to_str().unwrap()]).exits(0);
    let (vault, to) = (c.data.join("vault"), c.data.join("opened"));
    let key = ["--key", other.to_str().unwrap()];
    let verify = original().run(&[&["pack", "verify", vault.to_str().unwrap()], &key[..]].concat());
    is(&verify, 3, "key", "verify with a wrong key");
    let open = ["pack", "open", vault.to_str().unwrap(), "--to", to.to_str().unwrap()];
    is(&original().run(&[&open[..], &key].concat()), 3, "key", "open with a wrong key");
    assert!(!to.exists(), "nothing was written");
}

#[test]
fn a_damaged_chunk_opens_nothing_and_what_was_half_written_does_not_look_like_a_pack() {
    let c = Copy::new();
    let vault = c.data.join("vault");
    // Of these parity is not read where nothing is lost.
    let of_a_chunk = |name: &String| std::fs::read(vault.join("chunks").join(name)).unwrap()[6] != 2;
    let chunk = tree(&vault.join("chunks")).into_keys().find(of_a_chunk).unwrap();
    let file = vault.join("chunks").join(&chunk);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (to, key) = (c.data.join("opened"), c.data.join("keys/node.key"));
    let args = ["pack", "open", vault.to_str().unwrap(), "--to", to.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let ran = original().run(&args);
    is(&ran, 3, chunk.split('/').next_back().unwrap(), "open");
    assert!(!to.join("manifest.json").exists(), "a manifest is what makes a folder a pack");
}
