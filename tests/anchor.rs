//! The anchor log of a real node: proved and verified with its own program and with Python, killed everywhere, and put back in time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{DATANODE, Node, Ran, SEEDED_NIGHT, Sim, counts, differences, python, run, tree};

/// The evening before [`SEEDED_NIGHT`]'s last session.
const FIRST: [&str; 6] = ["nightly", "--json", "--now", "2025-06-28T23:00:00Z", "--as-of", "2025-06-27"];

struct Sealed {
    node: Node,
    _sim: Sim,
}

impl Sealed {
    /// A node that ships its sealings to a folder, before its first night.
    fn new() -> Self {
        let sim = Sim::seeded(2, 1, "");
        let mut node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
        let there = node.root.path().join("there").display().to_string();
        node.set("DATANODE__SHIP__FOLDER", &there);
        Self { node, _sim: sim }
    }
    fn anchors(&self) -> PathBuf {
        self.node.data().join("anchors")
    }
    fn key(&self) -> String {
        std::fs::read_to_string(self.anchors().join("key.pub")).unwrap().trim().to_owned()
    }
    /// The uids in the order of their entries.
    fn uids(&self) -> Vec<String> {
        let mut all: Vec<(u64, String)> = tree(&self.anchors().join("proofs"))
            .into_keys()
            .map(|f| {
                let uid = f.strip_suffix(".tlog-proof").unwrap().to_owned();
                (self.node.run(&["anchor", "prove", &uid, "--json"]).exits(0).json()["index"].as_u64().unwrap(), uid)
            })
            .collect();
        all.sort();
        all.into_iter().map(|(_, uid)| uid).collect()
    }
}

/// The program of somebody who has no node: neither configuration nor data folder.
fn outsider(dir: &Path, args: &[&str]) -> Ran {
    let mut c = Command::new(DATANODE);
    run(c.env_clear().env("DATANODE__DATA_DIR", dir.join("none")).args(args).current_dir(dir))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_sealing_is_proved_to_an_outsider_and_what_was_altered_is_not() {
    let s = Sealed::new();
    let first = s.node.run(&FIRST).exits(0).json();
    counts(&first, "seal", &[]);
    assert_eq!(support::stage(&first, "seal")["anchor"]["entries"], 1);
    let out = s.node.root.path().join("outside");
    std::fs::create_dir(&out).unwrap();
    let old = out.join("old.checkpoint");
    std::fs::copy(s.anchors().join("checkpoint"), &old).unwrap();
    let second = s.node.nightly(&[]).exits(0).json();
    assert_eq!(support::stage(&second, "seal")["anchor"]["size"], 2);
    let uids = s.uids();
    let export_id = second["export_id"].as_str().unwrap();
    let key = s.key();

    // By id, by its beginning, by the pack's id; the newest checkpoint each time.
    let proof = out.join("it.tlog-proof");
    s.node.run(&["anchor", "prove", &uids[1], "--out", text(&proof)]).exits(0);
    s.node.run(&["anchor", "prove", &uids[1], "--out", "here.tlog-proof"]).exits(0);
    assert_eq!(std::fs::read(s.node.root.path().join("here.tlog-proof")).unwrap(), std::fs::read(&proof).unwrap());
    for id in [&uids[1][..8], export_id] {
        assert_eq!(s.node.run(&["anchor", "prove", id]).exits(0).out, std::fs::read_to_string(&proof).unwrap());
    }
    s.node.run(&["anchor", "prove", "ffffffffffffffffffffffffffffffff"]).exits(5);
    s.node.run(&["anchor", "prove", ""]).exits(2).says(&["several"]);

    // With three files and nothing else.
    let descriptor = out.join("descriptor.json");
    std::fs::copy(s.node.data().join(format!("vault/descriptors/{}.json", uids[1])), &descriptor).unwrap();
    let key_file = out.join("log.pub");
    std::fs::write(&key_file, format!("{key}\n")).unwrap();
    let verify = |proof: &Path, key: &str| {
        outsider(&out, &["anchor", "verify", text(proof), "--descriptor", text(&descriptor), "--key", key, "--json"])
    };
    for key in [key.as_str(), text(&key_file)] {
        let proved = verify(&proof, key).exits(0).json();
        assert_eq!((&proved["pack_uid"], &proved["index"]), (&uids[1].clone().into(), &1.into()));
    }
    verify(&out.join("none"), &key).exits(5);
    verify(&proof, "nobody").exits(2);
    verify(&s.anchors().join("proofs").join(format!("{}.tlog-proof", uids[0])), &key).exits(3);
    let last = if key.ends_with('A') { "B" } else { "A" };
    verify(&proof, &format!("{}{last}", &key[..key.len() - 1])).exits(3);
    let mut altered = std::fs::read(&proof).unwrap();
    altered[60] ^= 1;
    std::fs::write(out.join("altered"), &altered).unwrap();
    verify(&out.join("altered"), &key).exits(3);
    // Without a key there is nothing to verify with, unless the node has it.
    outsider(&out, &["anchor", "verify", text(&proof), "--descriptor", text(&descriptor)]).exits(2);
    s.node.run(&["anchor", "verify", text(&s.anchors().join(format!("proofs/{}.tlog-proof", uids[0])))]).exits(0);

    // What was shipped proves itself, before anybody has its key.
    for uid in &uids {
        let folder = s.node.root.path().join(format!("there/sealed/datanode/{uid}"));
        assert!(folder.join(format!("{uid}.tlog-proof")).is_file(), "{:?}", tree(&folder).keys());
        outsider(&out, &["anchor", "verify", text(&folder), "--key", &key]).exits(0);
        let said = outsider(&out, &["pack", "verify", text(&folder), "--log-key", &key]).exits(0).out;
        assert!(said.contains("anchored as entry"), "{said}");
        let said = outsider(&out, &["pack", "verify", text(&folder)]).exits(0).out;
        assert!(said.contains("no --log-key"), "{said}");
    }
    let said = s.node.run(&["pack", "verify", text(&s.node.data())]).exits(0).out;
    assert_eq!(said.matches("anchored as entry").count(), 2, "{said}");

    // The log only grew.
    let checkpoint = s.node.run(&["anchor", "checkpoint", "--verify"]).exits(0).out;
    let (new, grown) = (out.join("new.checkpoint"), out.join("grown"));
    std::fs::write(&new, &checkpoint).unwrap();
    s.node.run(&["anchor", "consistency", text(&old), "--out", text(&grown)]).exits(0);
    let told = ["anchor", "consistency", text(&old), text(&new), "--proof", text(&grown), "--key", &key];
    outsider(&out, &told).exits(0);
    let swapped = ["anchor", "consistency", text(&new), text(&old), "--proof", text(&grown), "--key", &key];
    outsider(&out, &swapped).exits(3);
    s.node.run(&["anchor", "consistency", text(&proof)]).exits(3);

    // Python reads the same log, and the proof, with cryptography and hashlib alone.
    let key_path = s.anchors().join("key.pub");
    if let Some(read) = python("check_anchor.py", &[Path::new("log"), &s.anchors(), &key_path]) {
        assert!(read.exits(0).out.contains("2 entries"));
        python("check_anchor.py", &[Path::new("proof"), &proof, &descriptor, &key_path]).unwrap().exits(0);
        python("check_anchor.py", &[Path::new("proof"), &out.join("altered"), &descriptor, &key_path])
            .unwrap()
            .exits(3);
    }

    // Another generation's descriptor in the place of the one that was anchored.
    let place = s.node.data().join(format!("vault/descriptors/{}.json", uids[0]));
    let text_of = std::fs::read_to_string(&place).unwrap();
    std::fs::write(&place, text_of.replace("\"generation\":0", "\"generation\":1")).unwrap();
    s.node.run(&["anchor", "checkpoint", "--verify"]).exits(3).says(&[&uids[0], "another generation"]);
    s.node.run(&["anchor", "verify", text(&s.node.data().join("vault"))]).exits(3).says(&[&uids[0]]);
    s.node.run(&["pack", "verify", text(&s.node.data().join("vault"))]).exits(3);
    std::fs::write(&place, text_of).unwrap();

    // A cosignature is taken, kept, and hides nothing.
    let cosigned = out.join("cosigned");
    let witness = "— witness.example/w AAAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BB\n";
    std::fs::write(&cosigned, format!("{checkpoint}{witness}")).unwrap();
    s.node.run(&["anchor", "checkpoint", "--add-signature", text(&cosigned)]).exits(0);
    s.node.run(&["anchor", "checkpoint", "--add-signature", text(&cosigned)]).exits(0);
    let kept = s.node.run(&["anchor", "checkpoint", "--verify"]).exits(0).out;
    assert_eq!(kept, format!("{checkpoint}{witness}"));
    s.node.run(&["anchor", "checkpoint", "--add-signature", text(&old)]).exits(3);
    s.node.run(&["doctor"]).exits(0);

    // The older log in the place of the newer one.
    std::fs::copy(&old, s.anchors().join("checkpoint")).unwrap();
    let refused =
        s.node.run(&["nightly", "--json", "--stages", "seal", "--now", SEEDED_NIGHT[1], "--as-of", "2025-06-30"]);
    refused.exits(3).says(&["another history", "over 2 was signed", "replica"]);
}

#[test]
fn a_kill_anywhere_in_anchoring_leaves_a_log_that_the_next_night_finishes() {
    let sim = Sim::seeded(2, 1, "");
    let night = || Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let base = night();
    base.run(&FIRST).exits(0);
    base.nightly(&["--stages", "ingest,audit,backfill,curate,qc,export"]).exits(0);
    for place in ["seal.stored", "anchor.entered", "anchor.stored", "anchor.signed", "anchor.noted", "anchor.proved"] {
        let mut n = night();
        let copied = run(Command::new("cp").arg("-a").arg(base.data()).arg(n.data()));
        copied.exits(0);
        let seal = ["--stages", "seal"];
        n.set("DATANODE_KILL_AT", &format!("{place}:1"));
        assert_eq!(n.nightly(&seal).code, None, "{place}");
        n.unset("DATANODE_KILL_AT");
        // What an outsider saw in between was a whole log.
        n.run(&["anchor", "checkpoint", "--verify"]).exits(0);
        let done = n.nightly(&seal).exits(0).json();
        assert_eq!(support::stage(&done, "seal")["anchor"]["size"], 2, "{place}");
        let before = n.root.path().join("before");
        run(Command::new("cp").arg("-a").arg(n.data().join("anchors")).arg(&before)).exits(0);
        n.run(&["anchor", "verify", text(&n.data().join("vault"))]).exits(0);
        n.run(&["anchor", "checkpoint", "--verify"]).exits(0);
        // Once more enters nothing twice.
        n.run(&["nightly", "--json", "--stages", "seal", "--now", "2025-07-03T23:00:00Z", "--as-of", "2025-06-30"])
            .exits(0);
        let changed = differences(&before, &n.data().join("anchors"));
        assert_eq!(changed, ["beacon: other bytes"], "{place}: a beacon is of its night, the log is as it was");
        assert!(tree(&n.data().join("tmp")).is_empty(), "{place}: temps are left");
    }
}
