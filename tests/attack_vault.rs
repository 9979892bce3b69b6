//! Ways in which a sealing could be lost or mistaken: a state that is new, a pack that is sealed anew, a stanza that is another's, a log that
//! went back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::anchor::{AnchorError, anchor};
use datanode_actors::publishing::ShipMode;
use datanode_actors::retention::retain;
use datanode_actors::seal::stage::regenerate;
use datanode_actors::vault::Vault;
use datanode_schema::trees::PACKS;
use std::path::Path;
use std::process::Command;
use support::home::{Home, below, files};
use support::s3::S3;
use support::{DATANODE, differences, run, tree};

fn uid(hex_uid: &str) -> [u8; 16] {
    hex::decode(hex_uid).unwrap().try_into().unwrap()
}

fn opens_to(home: &Home, sealed: &Path, id: &str) {
    let to = tempfile::tempdir().unwrap();
    let opened = to.path().join("opened");
    let key = home.data().join("keys/node.key");
    run(Command::new(DATANODE).args(["pack", "open"]).arg(sealed).arg("--to").arg(&opened).arg("--key").arg(key))
        .exits(0);
    assert_eq!(differences(&home.pack_folder(id), &opened), Vec::<String>::new());
}

#[test]
fn sealings_that_a_new_state_does_not_know_are_not_collected() {
    let mut h = Home::new();
    h.settings.retention.trash_days = 0;
    let first = h.full(1, &files(3, 40_000, 1));
    let old = h.seal(&first);
    anchor(&h.node()).unwrap();
    h.close();
    // What was on another disk than the vault is gone.
    for lost in ["state", "exports"] {
        std::fs::remove_dir_all(h.data().join(lost)).unwrap();
    }
    let before = tree(&h.data().join("vault/chunks"));
    for day in 2..5 {
        let id = h.full(day, &files(3, 40_000, u64::from(day)));
        h.seal(&id);
        anchor(&h.node()).unwrap();
        retain(&h.node(), &id).unwrap();
    }
    let vault = h.data().join("vault");
    assert!(
        vault.join(format!("descriptors/{old}.json")).is_file() && vault.join(format!("stanzas/{old}.age")).is_file()
    );
    let after = tree(&vault.join("chunks"));
    assert!(before.keys().all(|name| after.contains_key(name)), "objects of the old sealing went");
}

#[test]
fn a_pack_that_is_sealed_anew_is_brought_again() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut h = Home::new().bucket("offsite", &s3.endpoint, ShipMode::Sealed);
    let first = h.full(1, &files(8, 40_000, 1));
    h.seal(&first);
    h.ship(&first).unwrap();
    let mut more = files(8, 40_000, 1);
    more.extend(files(1, 30_000, 99).into_values().map(|b| ("equities_bars/part=x/data.parquet".to_owned(), b)));
    let second = h.full(2, &more);
    let old = h.seal(&second);
    h.ship(&second).unwrap();
    assert!(!Vault::open(&h.data().join("vault")).unwrap().descriptor(&uid(&old)).unwrap().requires.is_empty());
    regenerate(&h.node(), &second).unwrap();
    let new = h.node().store.load(&PACKS, &second).unwrap().unwrap().pack_uid;
    assert_ne!(new, old);
    let shipped = h.ship(&second).unwrap();
    assert_eq!(shipped.shipped, 1, "{shipped:?}");
    opens_to(&h, &below(&s3).join("sealed/datanode").join(&new), &second);
    assert_eq!(h.ship(&second).unwrap().shipped, 0);
    // Also where it is not tonight's pack, and arrived long ago.
    regenerate(&h.node(), &first).unwrap();
    let new = h.node().store.load(&PACKS, &first).unwrap().unwrap().pack_uid;
    assert_eq!(h.ship(&second).unwrap().shipped, 1);
    opens_to(&h, &below(&s3).join("sealed/datanode").join(&new), &first);
}

#[test]
fn a_stanza_that_is_another_sealings_is_not_wrapped_anew_as_if_it_were_right() {
    let mut h = Home::new();
    let first = h.full(1, &files(3, 40_000, 1));
    let a = h.seal(&first);
    let second = h.full(2, &files(3, 40_000, 50));
    let b = h.seal(&second);
    h.close();
    let stanza = |uid: &str| h.data().join(format!("vault/stanzas/{uid}.age"));
    let right = std::fs::read(stanza(&a)).unwrap();
    std::fs::copy(stanza(&b), stanza(&a)).unwrap();
    let rotate = |words: &[&str]| {
        let mut c = Command::new(DATANODE);
        c.args(["--json", "key", "rotate"]).args(words).arg("--data-dir").arg(h.data());
        c.env("DATANODE__UNIVERSE", h.root.path().join("universe.yaml"));
        run(&mut c)
    };
    let ran = rotate(&["--discard"]);
    assert!(ran.out.contains(&a) && !ran.out.contains(&format!("\"{b}\"")), "{} {}", ran.out, ran.err);
    let check = || run(Command::new(DATANODE).args(["vault", "check"]).arg(h.data().join("vault")));
    let found = check().exits(3);
    assert!(found.out.contains(&a), "{}", found.out);
    // Its own comes back, and the key of before is still there to open it.
    std::fs::write(stanza(&a), right).unwrap();
    rotate(&[]).exits(0);
    check().exits(0);
    opens_to(&h, &h.data().join("vault"), &first_of(&h, &a, &[first.clone(), second]));
}

/// `pack open` of a vault with two sealings is told which; the one of `a` alone is left here.
fn first_of(h: &Home, a: &str, ids: &[String]) -> String {
    let folder = h.data().join("vault/descriptors");
    for e in std::fs::read_dir(&folder).unwrap() {
        let path = e.unwrap().path();
        if !path.ends_with(format!("{a}.json")) {
            std::fs::remove_file(path).unwrap();
        }
    }
    ids[0].clone()
}

#[test]
fn a_sealing_that_is_complete_gets_no_second_key() {
    let mut h = Home::new();
    let id = h.full(1, &files(3, 40_000, 1));
    let a = h.seal(&id);
    let vault = Vault::open(&h.data().join("vault")).unwrap();
    for end in ["age", "age.sha256"] {
        std::fs::remove_file(h.data().join(format!("vault/stanzas/{a}.{end}"))).unwrap();
    }
    let e = h.node().publishing.keys.prepare(&vault, uid(&a)).unwrap_err().to_string();
    assert!(e.contains("vault repair"), "{e}");
    assert!(!h.data().join(format!("vault/stanzas/{a}.age")).exists());
}

#[test]
fn a_log_that_went_back_is_not_signed_on_though_the_state_is_new() {
    let mut h = Home::new();
    let first = h.full(1, &files(3, 40_000, 1));
    h.seal(&first);
    anchor(&h.node()).unwrap();
    let kept = h.root.path().join("kept");
    run(Command::new("cp").arg("-a").arg(h.data().join("anchors")).arg(&kept)).exits(0);
    let second = h.full(2, &files(3, 40_000, 2));
    h.seal(&second);
    assert_eq!(anchor(&h.node()).unwrap().size, 2);
    h.close();
    std::fs::remove_dir_all(h.data().join("state")).unwrap();
    // The proofs stay; checkpoint and tiles are of the day before.
    for name in ["checkpoint", "tile"] {
        let to = h.data().join("anchors").join(name);
        run(Command::new("rm").arg("-rf").arg(&to)).exits(0);
        run(Command::new("cp").arg("-a").arg(kept.join(name)).arg(&to)).exits(0);
    }
    let refused = anchor(&h.node());
    assert!(matches!(refused, Err(AnchorError::RolledBack { .. })), "{refused:?}");
    h.close();
    std::fs::remove_file(h.data().join("anchors/checkpoint")).unwrap();
    std::fs::remove_dir_all(h.data().join("state")).unwrap();
    assert!(matches!(anchor(&h.node()), Err(AnchorError::RolledBack { .. })));
}

#[test]
fn what_opens_can_be_asked_to_stand_in_the_log() {
    let mut h = Home::new();
    let id = h.full(1, &files(3, 40_000, 1));
    let a = h.seal(&id);
    anchor(&h.node()).unwrap();
    h.close();
    let to = h.root.path().join("opened");
    let open = || {
        let _ = std::fs::remove_dir_all(&to);
        let mut c = Command::new(DATANODE);
        c.args(["pack", "open"]).arg(h.data().join("vault")).arg("--to").arg(&to);
        c.arg("--key").arg(h.data().join("keys/node.key")).arg("--log-key").arg(h.data().join("anchors/key.pub"));
        run(&mut c)
    };
    open().exits(0);
    let proof = h.data().join(format!("anchors/proofs/{a}.tlog-proof"));
    let good = std::fs::read(&proof).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    std::fs::write(&proof, bad).unwrap();
    open().exits(3);
    std::fs::remove_file(&proof).unwrap();
    open().exits(3).says(&["not anchored"]);
    assert!(!to.exists());
}
