//! Keys over their whole life, with the real binary: rotated, shared, dropped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::publishing::ShipMode;
use datanode_actors::seal::{self, Identity};
use datanode_actors::vault::Vault;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::home::{Home, files};
use support::{DATANODE, Live, Ran, differences, run};

type Files = BTreeMap<String, Vec<u8>>;

const PASSPHRASE: &str = "six words that dice have drawn";

/// `datanode` on the home's data folder.
fn command(h: &Home, args: &[&str]) -> Command {
    let mut c = Command::new(DATANODE);
    c.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    c.env("DATANODE__DATA_DIR", h.data()).current_dir(h.root.path()).args(args);
    c.args(["--now", "2026-03-06T10:00:00Z"]);
    c
}

fn datanode(h: &Home, args: &[&str]) -> Ran {
    run(&mut command(h, args))
}

fn with_stdin(mut c: Command, text: &str) -> Ran {
    let mut child = c.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Live::of(child).wait()
}

fn every(dir: &Path) -> Files {
    let mut out = Files::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        for e in std::fs::read_dir(folder).unwrap() {
            let path = e.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    _ = out.insert(
                        path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned(),
                        std::fs::read(&path).unwrap(),
                    )
                }
            }
        }
    }
    out
}

/// What changed from one state of a folder to another.
fn changed(before: &Files, after: &Files) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|n| before.get(*n) != after.get(*n)).cloned().collect()
}

/// Two sealings, of which the second uses chunks of the first; their packs and uids.
fn sealed(h: &mut Home) -> [(String, String); 2] {
    let mut all = files(4, 3_000, 10);
    let first = h.full(2, &all);
    let a = h.seal(&first);
    all.extend(files(6, 3_000, 10));
    let second = h.full(3, &all);
    let b = h.seal(&second);
    [(first, a), (second, b)]
}

fn key_file(h: &Home) -> PathBuf {
    h.data().join("keys/node.key")
}

/// Opens a sealing with some options, and compares it with its plain pack.
#[track_caller]
fn opens(h: &Home, (pack, uid): &(String, String), more: &[&str]) {
    let to = h.root.path().join("opened");
    let vault = h.data().join("vault");
    let mut args = vec!["pack", "open", vault.to_str().unwrap(), "--id", uid, "--to", to.to_str().unwrap()];
    args.extend(more);
    datanode(h, &args).exits(0);
    let found = differences(&h.pack_folder(pack), &to);
    assert!(found.is_empty(), "{}", found.join("\n"));
    std::fs::remove_dir_all(to).unwrap();
}

#[track_caller]
fn stays_shut(h: &Home, uid: &str, more: &[&str], code: i32) -> Ran {
    let to = h.root.path().join("opened");
    let vault = h.data().join("vault");
    let mut args = vec!["pack", "open", vault.to_str().unwrap(), "--id", uid, "--to", to.to_str().unwrap()];
    args.extend(more);
    let ran = datanode(h, &args).exits(code);
    assert!(!to.exists());
    ran
}

#[test]
fn a_rotation_changes_every_stanza_and_nothing_else_and_the_key_of_before_opens_none() {
    let mut h = Home::new();
    let both = sealed(&mut h);
    let (before, old) = (every(&h.data().join("vault")), std::fs::read(key_file(&h)).unwrap());
    let done = datanode(&h, &["key", "rotate", "--json"]).exits(0).json();
    assert_eq!((done["rewrapped"].as_u64(), done["resumed"].as_bool()), (Some(2), Some(false)), "{done}");
    let after = every(&h.data().join("vault"));
    let mut expected: Vec<String> =
        both.iter().flat_map(|(_, u)| [format!("stanzas/{u}.age"), format!("stanzas/{u}.age.sha256")]).collect();
    expected.sort();
    assert_eq!(changed(&before, &after), expected);
    let retired = h.data().join("keys/node.key.2026-03-06-retired");
    assert_eq!(std::fs::read(&retired).unwrap(), old);
    for of in &both {
        opens(&h, of, &["--key", key_file(&h).to_str().unwrap()]);
        stays_shut(&h, &of.1, &["--key", retired.to_str().unwrap()], 3);
    }
    let sums = Command::new("sha256sum")
        .args(["-c", "--quiet"])
        .arg(format!("{}.age.sha256", both[0].1))
        .current_dir(h.data().join("vault/stanzas"))
        .status()
        .unwrap();
    assert!(sums.success());
    // Once more, without a trace of the one before.
    let again = datanode(&h, &["key", "rotate", "--discard", "--json"]).exits(0).json();
    assert!(again["retired"].is_null(), "{again}");
    let kept: Vec<String> = every(&h.data().join("keys")).into_keys().collect();
    assert_eq!(kept, ["anchor.key", "node.key", "node.key.2026-03-06-retired"]);
    opens(&h, &both[1], &[]);
    datanode(&h, &["pack", "verify", h.data().join("vault").to_str().unwrap()]).exits(0);
}

#[test]
fn the_key_of_before_is_kept_while_a_sealing_that_only_it_opens_may_lie_elsewhere() {
    let mut h = Home::new();
    let both = sealed(&mut h);
    datanode_actors::anchor::anchor(&h.node()).unwrap();
    h.close();
    let old = std::fs::read(key_file(&h)).unwrap();
    // Let go of here; a destination still has it, and no rotation here reaches its stanza there.
    for name in [format!("descriptors/{}.json", both[0].1), format!("stanzas/{}.age", both[0].1)] {
        std::fs::remove_file(h.data().join("vault").join(name)).unwrap();
    }
    let done = datanode(&h, &["key", "rotate", "--discard"]).exits(0);
    assert!(done.err.contains(&both[0].1) && done.err.contains("kept"), "{}", done.err);
    assert_eq!(std::fs::read(h.data().join("keys/node.key.2026-03-06-retired")).unwrap(), old);
}

#[test]
fn a_rotation_killed_anywhere_leaves_every_sealing_open_and_the_next_one_ends_it() {
    let mut h = Home::new();
    let both = sealed(&mut h);
    datanode(&h, &["key", "add-recipient", &Identity::generate().to_public().to_string(), "--name", "desk"]).exits(0);
    let mut kills = 0;
    loop {
        kills += 1;
        let mut c = command(&h, &["key", "rotate", "--discard"]);
        let ran = run(c.env("DATANODE_KILL_AT", kills.to_string()));
        if ran.code == Some(0) {
            break;
        }
        assert_eq!(ran.code, None, "at {kills}: {}", ran.err);
        for of in &both {
            opens(&h, of, &[]);
        }
        datanode(&h, &["key", "rotate", "--discard"]).exits(0);
        for of in &both {
            opens(&h, of, &["--key", key_file(&h).to_str().unwrap()]);
        }
        let kept: Vec<String> = every(&h.data().join("keys")).into_keys().collect();
        assert_eq!(kept, ["anchor.key", "node.key", "recipients"], "after a kill at {kills}");
        datanode(&h, &["pack", "verify", h.data().join("vault").to_str().unwrap()]).exits(0);
    }
    assert!(kills > 10, "only {kills} places to be killed at");
}

#[test]
fn a_node_that_runs_since_before_a_rotation_seals_to_the_new_key() {
    let mut h = Home::new();
    let first = h.full(2, &files(3, 2_000, 1));
    h.seal(&first);
    // The node is open in this process, with the state's lock.
    datanode(&h, &["key", "rotate", "--discard"]).exits(0);
    let second = h.full(3, &files(5, 2_000, 1));
    let uid = h.seal(&second);
    let vault = Vault::open(&h.data().join("vault")).unwrap();
    assert_eq!(vault.descriptors().unwrap().len(), 2);
    let descriptor = vault.descriptor(&hex::decode(&uid).unwrap().try_into().unwrap()).unwrap();
    assert_eq!(descriptor.requires.len(), 1, "it builds on the sealing of before");
    opens(&h, &(second, uid), &["--key", key_file(&h).to_str().unwrap()]);
}

#[test]
fn whoever_knows_the_passphrase_opens_what_is_sealed_and_nobody_else() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Sealed);
    let both = sealed(&mut h);
    h.ship(&both[1].0).unwrap();
    let add = ["key", "add-recipient", "--passphrase-file", "-", "--name", "desk"];
    with_stdin(command(&h, &add), "too short\n").exits(4).says(&["12 characters"]);
    with_stdin(command(&h, &add), &format!("{PASSPHRASE}\n")).exits(0);
    with_stdin(command(&h, &add), &format!("{PASSPHRASE}\n")).exits(4).says(&["a recipient already"]);
    let (right, wrong) = (h.root.path().join("right"), h.root.path().join("wrong"));
    std::fs::write(&right, format!("{PASSPHRASE}\n")).unwrap();
    std::fs::write(&wrong, "six words that dice have thrown").unwrap();
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    for of in &both {
        opens(&h, of, &["--passphrase-file", right]);
        stays_shut(&h, &of.1, &["--passphrase-file", wrong], 3).says(&["passphrase of none of desk"]);
    }
    stays_shut(&h, &both[0].1, &["--passphrase-file", right, "--passphrase-memory-mib", "32"], 4);
    // What says so is no secret, and damaged it opens nothing: it is named, and written anew.
    let record = h.data().join(format!("vault/stanzas/{}.passphrases.json", both[0].1));
    std::fs::write(&record, "[{}]").unwrap();
    let checked = datanode(&h, &["vault", "check"]).exits(0);
    assert!(checked.out.contains("passphrases.json") && checked.out.contains("datanode key rotate"), "{}", checked.out);
    stays_shut(&h, &both[0].1, &["--passphrase-file", right], 3);
    // The destination has it too, once it was brought; a rotation keeps it.
    datanode(&h, &["key", "rotate"]).exits(0);
    assert!(h.ship(&both[1].0).is_ok());
    let to = h.root.path().join("pulled");
    let from = root.display().to_string();
    let pull =
        ["pack", "pull", &from, "--latest", "--sealed", "--passphrase-file", right, "--to", to.to_str().unwrap()];
    datanode(&h, &pull).exits(0);
    let found = differences(&h.pack_folder(&both[1].0), &to);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // New sealings as well.
    let third = h.full(4, &files(7, 2_000, 90));
    let uid = h.seal(&third);
    opens(&h, &(third, uid.clone()), &["--passphrase-file", right]);
    datanode(&h, &["key", "remove-recipient", "desk"]).exits(0);
    stays_shut(&h, &uid, &["--passphrase-file", right], 3).says(&["no passphrase"]);
    let left: Vec<String> =
        every(&h.data().join("vault/stanzas")).into_keys().filter(|n| n.contains("passphrases")).collect();
    assert!(left.is_empty(), "{left:?}");
    let said = String::from_utf8_lossy(&every(&h.data().join("keys"))["passphrases.json"]).into_owned();
    assert_eq!(said, "[]\n");
}

#[test]
fn a_recipient_for_the_future_only_never_gets_what_was_sealed_before() {
    let mut h = Home::new();
    let both = sealed(&mut h);
    let (all, later) = (Identity::generate(), Identity::generate());
    let at = |n: &str| h.root.path().join(n);
    all.write_new(&at("all")).unwrap();
    later.write_new(&at("later")).unwrap();
    let (all_key, later_key) = (at("all"), at("later"));
    let (all_key, later_key) = (all_key.to_str().unwrap(), later_key.to_str().unwrap());
    datanode(&h, &["key", "add-recipient", &all.to_public().to_string(), "--name", "all"]).exits(0);
    datanode(&h, &["key", "add-recipient", &later.to_public().to_string(), "--name", "later", "--future-only"])
        .exits(0);
    datanode(&h, &["key", "add-recipient", &later.to_public().to_string(), "--name", "other"]).exits(4);
    let third = h.full(4, &files(3, 2_000, 70));
    let third = (third.clone(), h.seal(&third));
    for round in 0..2 {
        opens(&h, &third, &["--key", later_key]);
        for of in &both {
            opens(&h, of, &["--key", all_key]);
            stays_shut(&h, &of.1, &["--key", later_key], 3);
        }
        if round == 0 {
            datanode(&h, &["key", "rotate"]).exits(0);
        }
    }
    let list = datanode(&h, &["key", "list", "--json"]).exits(0).json();
    assert_eq!(list["recipients"].as_array().unwrap().len(), 2);
    assert_eq!((list["sealings"].as_u64(), list["not_opened"].as_array().unwrap().len()), (Some(3), 0));
    let mode = |n: &str| {
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(h.data().join("keys").join(n)).unwrap()) & 0o777
    };
    assert_eq!((mode("recipients"), mode("withheld"), mode("node.key")), (0o600, 0o600, 0o600));
    datanode(&h, &["key", "remove-recipient", "all"]).exits(0);
    stays_shut(&h, &third.1, &["--key", all_key], 3);
    opens(&h, &third, &["--key", later_key]);
    datanode(&h, &["key", "remove-recipient", "all"]).exits(5);
}

#[test]
fn a_stanza_that_no_key_of_the_node_opens_is_named_and_the_others_are_rotated() {
    let mut h = Home::new();
    let both = sealed(&mut h);
    let vault = Vault::open(&h.data().join("vault")).unwrap();
    let uid: [u8; 16] = hex::decode(&both[0].1).unwrap().try_into().unwrap();
    let own = Identity::read(&key_file(&h)).unwrap();
    seal::rewrap(&vault, uid, &own, &[Identity::generate().to_public()]).unwrap();
    datanode(&h, &["key", "rotate", "--discard"]).exits(3).says(&[&both[0].1]);
    assert!(
        h.data().join("keys/node.key.2026-03-06-retired").is_file(),
        "a key is not removed while something does not open"
    );
    opens(&h, &both[1], &["--key", key_file(&h).to_str().unwrap()]);
    let list = datanode(&h, &["key", "list", "--json"]).exits(0).json();
    assert_eq!(list["not_opened"], serde_json::json!([both[0].1]));
}

#[test]
fn destinations_get_the_stanzas_anew_and_not_one_object_with_them() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Sealed);
    let both = sealed(&mut h);
    h.ship(&both[1].0).unwrap();
    let there = root.join("sealed/datanode");
    let before = every(&there);
    h.ship(&both[1].0).unwrap();
    assert!(changed(&before, &every(&there)).is_empty());
    datanode(&h, &["key", "rotate", "--discard"]).exits(0);
    h.ship(&both[1].0).unwrap();
    let after = every(&there);
    let mut expected: Vec<String> = both
        .iter()
        .flat_map(|(_, u)| [format!("{u}/stanzas/{u}.age"), format!("{u}/stanzas/{u}.age.sha256")])
        .collect();
    expected.sort();
    assert_eq!(changed(&before, &after), expected);
    let to = h.root.path().join("from-there");
    let folder = there.join(&both[1].1);
    datanode(&h, &["pack", "open", folder.to_str().unwrap(), "--to", to.to_str().unwrap()]).exits(0);
    assert!(differences(&h.pack_folder(&both[1].0), &to).is_empty());
}

#[test]
fn a_shredded_sealing_opens_nowhere_proves_all_the_same_and_what_later_ones_use_is_said() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Sealed);
    let both = sealed(&mut h);
    h.ship(&both[1].0).unwrap();
    let (first, second) = (&both[0], &both[1]);
    let shred = |more: &[&str]| {
        let mut args = vec!["key", "shred", &first.1[..8]];
        args.extend(more);
        let mut c = command(&h, &args);
        run(c.env("DATANODE__SHIP__FOLDER", &root))
    };
    let said = shred(&[]).exits(2);
    assert!(said.out.contains("4 of its files") && said.out.contains(&second.1), "{}", said.out);
    opens(&h, first, &[]);
    let done = shred(&["--yes", "--json"]).exits(0).json();
    assert_eq!(done["also_at"], serde_json::json!(["destination folder"]), "{done}");
    let at_nas = root.join("sealed/datanode").join(&first.1).join("stanzas");
    for folder in [h.data().join("vault/stanzas"), at_nas] {
        let of: Vec<String> = every(&folder).into_keys().filter(|n| n.starts_with(&first.1)).collect();
        assert_eq!(of, [format!("{}.shredded", first.1)], "{}", folder.display());
    }
    stays_shut(&h, &first.1, &[], 5).says(&["was shredded at 2026-03-06T10:00:00Z"]);
    opens(&h, second, &[]);
    let vault = h.data().join("vault");
    let verified = datanode(&h, &["pack", "verify", vault.to_str().unwrap()]).exits(0);
    assert!(verified.out.contains("its key was dropped at"), "{}", verified.out);
    // Nothing that comes later brings it back, or is kept from coming.
    datanode(&h, &["key", "rotate"]).exits(0);
    shred(&["--yes"]).exits(0);
    h.ship(&second.0).unwrap();
    let third = h.full(4, &files(5, 2_000, 10));
    let uid = h.seal(&third);
    h.ship(&third).unwrap();
    opens(&h, &(third, uid), &[]);
    stays_shut(&h, &first.1, &[], 5);
    assert!(h.pack_folder(&first.0).is_dir(), "the plain pack is not touched");
    let to = h.root.path().join("pulled");
    let (from, key) = (root.display().to_string(), key_file(&h));
    let args = [
        "pack",
        "pull",
        &from,
        "--id",
        &first.1,
        "--sealed",
        "--identity",
        key.to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ];
    let ran = datanode(&h, &args);
    assert!(ran.code != Some(0) && ran.err.contains("was shredded"), "{}", ran.err);
}

#[test]
fn a_challenge_is_answered_by_who_has_the_bytes_and_only_as_they_are() {
    let mut h = Home::new();
    let both = sealed(&mut h);
    h.close();
    let vault = h.data().join("vault");
    let replica = h.root.path().join("replica");
    support::copy(&vault, &replica);
    let at = |n: &str| h.root.path().join(n).display().to_string();
    let descriptor = vault.join("descriptors").join(format!("{}.json", both[0].1));
    let new = [
        "vault",
        "challenge",
        "new",
        "--descriptor",
        descriptor.to_str().unwrap(),
        "--count",
        "40",
        "--out",
        &at("ask"),
    ];
    datanode(&h, &new).exits(0);
    datanode(&h, &["vault", "challenge", "answer", &at("ask"), "--out", &at("answer")]).exits(0);
    let public = std::fs::read_to_string(h.data().join("keys/anchor.key")).unwrap();
    let public = public.lines().next().unwrap().strip_prefix("# public key: ").unwrap().to_owned();
    let verify = |key: &str, objects: &[&str]| {
        let (answer, ask) = (at("answer"), at("ask"));
        let mut args = vec!["vault", "challenge", "verify", &answer, "--challenge", &ask, "--key", key, "--json"];
        args.extend(objects);
        datanode(&h, &args)
    };
    let good = verify(&public, &["--objects", replica.to_str().unwrap()]).exits(0).json();
    assert_eq!((good["right"].as_u64(), good["unchecked"].as_u64()), (Some(40), Some(0)));
    assert_eq!(verify(&public, &[]).exits(0).json()["unchecked"], 40);
    // A beacon is made without a challenge, and does not answer one.
    datanode(&h, &["vault", "beacon"]).exits(0);
    let note = std::fs::read(h.data().join("anchors/beacon")).unwrap();
    assert!(String::from_utf8_lossy(&note).contains("\nsealings 2\n"));
    // Rot at the node answers nothing, and a name with no bytes nothing either.
    let objects: Vec<PathBuf> =
        every(&vault.join("chunks")).into_keys().map(|n| vault.join("chunks").join(n)).collect();
    for path in objects {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[200] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    datanode(&h, &["vault", "challenge", "answer", &at("ask"), "--out", &at("answer")]).exits(0);
    let bad = verify(&public, &["--objects", replica.to_str().unwrap()]).exits(3);
    assert_eq!(bad.json()["wrong"].as_array().unwrap().len(), 40);
    std::fs::remove_file(h.data().join("keys/anchor.key")).unwrap();
    verify("elsewhere+00000000+AAAA", &[]).exits(3);
}
