//! Each way in which the exporter fails closed: no pack, a reason that names the thing and the next step, a counter, and the
//! last good pack and the dated folders as they were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::keys::TouchedKey;
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::records::LedgerPage;
use datanode_schema::store::Batch;
use datanode_schema::trees::{CONTEXTS, COUNTERS, LEDGER, RUNS, TOUCHED, UNJUDGED, UNRELATED};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use support::verdicts::state;
use support::{Node, Ran, SEEDED_NIGHT, Sim, copy, run, tree};

const FIRST: [&str; 4] = ["--now", "2025-07-02T23:00:00Z", "--as-of", "2025-06-26"];
const NEXT: [&str; 4] = ["--now", "2025-07-03T23:00:00Z", "--as-of", "2025-06-27"];

/// A data folder with a good pack, and the next night's stages done up to the pack; gone with the last test that uses it.
fn original() -> Arc<(Sim, Node)> {
    static MADE: Mutex<Weak<(Sim, Node)>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = made.upgrade() {
        return node;
    }
    let sim = Sim::seeded(3, 3, "");
    let node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    node.run(&[&["nightly"], &FIRST[..]].concat()).exits(0);
    node.run(&[&["nightly"], &NEXT[..], &["--stages", "ingest,audit,backfill,curate,qc"]].concat()).exits(0);
    let node = Arc::new((sim, node));
    *made = Arc::downgrade(&node);
    node
}

/// A copy of it that may be spoilt.
struct Case {
    /// Keeps the simulator.
    _of: Arc<(Sim, Node)>,
    node: Node,
}

impl Case {
    fn new() -> Self {
        let of = original();
        let node = Node::new(&of.0.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &of.0);
        copy(&of.1.data(), &node.data());
        Self { _of: of, node }
    }
    fn data(&self) -> PathBuf {
        self.node.data()
    }
    fn export_command(&self) -> Command {
        self.node.command(&[&["nightly", "--json"], &NEXT[..], &["--stages", "export"]].concat())
    }
    /// Changes what the state holds.
    fn change(&self, change: impl FnOnce(&datanode_schema::store::Store, &mut Batch)) {
        let store = state(&self.node);
        let mut batch = Batch::new();
        change(&store, &mut batch);
        store.commit(batch).unwrap();
        store.close().unwrap();
    }
    fn refused(&self) -> u64 {
        let store = state(&self.node);
        let n = store.load(&COUNTERS, &"export/refused".to_owned()).unwrap().unwrap_or(0);
        store.close().unwrap();
        n
    }
    /// Exports, and asserts that nothing came of it but a reason.
    #[track_caller]
    fn refuses(&self, code: i32, says: &[&str]) -> Ran {
        self.refuses_as(&mut self.export_command(), code, says)
    }
    #[track_caller]
    fn refuses_as(&self, command: &mut Command, code: i32, says: &[&str]) -> Ran {
        let before = tree(&self.data().join("exports"));
        let refused = self.refused();
        let ran = run(command).exits(code).says(says).says(&["no pack"]);
        assert_eq!(
            tree(&self.data().join("exports")),
            before,
            "the last good pack and the dated folders stay as they were"
        );
        assert_eq!(self.refused(), refused + 1, "the refusal is counted");
        assert!(ran.err.contains("no pack was made; the last good one stays"), "it is logged: {}", ran.err);
        let store = state(&self.node);
        let (_, last) = store.load_all(&RUNS, &[]).unwrap().pop().unwrap();
        store.close().unwrap();
        assert!(says.iter().all(|s| last.error.contains(s)), "the run's record says why: {}", last.error);
        let doctor = self.node.run(&["doctor", "--json"]);
        let line = doctor
            .out
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap())
            .find(|c| c["check"] == "export")
            .unwrap();
        let message = line["message"].as_str().unwrap();
        assert!(
            line["ok"] == false && message.starts_with("last export refused at 2025-07-03T23:00:00Z: no pack"),
            "{message}"
        );
        assert!(says.iter().all(|s| message.contains(s)), "{message}");
        ran
    }
    /// Exports, and gives the pack's folder.
    #[track_caller]
    fn exports(&self) -> PathBuf {
        let ran = run(&mut self.export_command()).exits(0);
        let pack = self.node.pack(&ran.json());
        self.node.run(&["pack", "verify", pack.to_str().unwrap()]).exits(0);
        pack
    }
    fn curated(&self) -> PathBuf {
        let root = self.data().join("data_layer/curated");
        root.join(tree(&root).into_keys().find(|f| f.starts_with("equities_bars_minute/")).unwrap())
    }
    /// The last line of the manifest of the newest run.
    fn manifest(&self) -> PathBuf {
        let root = self.data().join("data_layer/manifests");
        root.join(
            tree(&root).into_keys().rfind(|f| f.contains("alpaca/equities_bars/") && f.contains("20250703T")).unwrap(),
        )
    }
}

#[test]
fn what_a_refusal_keeps_back_is_exported_once_its_cause_is_gone() {
    let c = Case::new();
    let path = "equities_bars/year=2025/month=06/data.parquet".to_owned();
    let key = TouchedKey { dataset: Dataset::EquitiesBars, path };
    c.change(|_, b| {
        b.put(&UNJUDGED, &key, &1).unwrap();
    });
    c.refuses(1, &["1 curated files wait for the qc stage", "datanode nightly"]);
    c.refuses(1, &["1 curated files wait for the qc stage"]);
    c.change(|_, b| {
        b.delete(&UNJUDGED, &key);
    });
    c.exports();
    let doctor = c.node.run(&["doctor"]);
    assert!(doctor.out.lines().any(|l| l.starts_with("ok      export")), "{}", doctor.out);
    assert_eq!(c.refused(), 2);
}

#[test]
fn a_stage_that_did_not_finish() {
    let c = Case::new();
    let mut other =
        c.node.command(&["nightly", "--now", "2025-07-03T23:00:00Z", "--as-of", "2025-06-30", "--stages", "export"]);
    c.refuses_as(&mut other, 1, &["the sessions up to 2025-06-30 wait for the ingest stage", "datanode nightly"]);
}

#[test]
fn a_curated_file_that_is_to_be_built_again_and_a_month_that_is_to_be_compared_again() {
    let c = Case::new();
    let path = "equities_bars/year=2025/month=06/data.parquet".to_owned();
    let key = TouchedKey { dataset: Dataset::EquitiesBars, path };
    c.change(|_, b| {
        b.put(&TOUCHED, &key, &1).unwrap();
    });
    c.refuses(1, &["1 curated files wait for the curate stage", "datanode nightly"]);
    let c = Case::new();
    c.change(|s, b| {
        let (page, _) = s.load_all(&LEDGER, &[]).unwrap().remove(0);
        b.put(&UNRELATED, &page, &1).unwrap();
    });
    c.refuses(1, &["1 months of the ledger wait for the qc stage", "datanode nightly"]);
}

#[test]
fn a_producer_that_is_not_known_or_that_no_manifest_can_tell() {
    let mut c = Case::new();
    c.node.set("DATANODE__NODE__HOST_ID", &"x".repeat(300));
    c.refuses(1, &["producer.host_id is empty or longer than 255 characters", "correct the setting"]);
    // A machine without a name, and a configuration that gives none.
    c.node.unset("DATANODE__NODE__HOST_ID");
    let inner = c.export_command();
    let mut nameless = Command::new("unshare");
    nameless.args(["-u", "sh", "-c", "echo > /proc/sys/kernel/hostname && exec \"$@\"", "sh"]).arg(inner.get_program());
    nameless.args(inner.get_args()).env_clear().current_dir(c.node.root.path());
    nameless.envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?))));
    if !Command::new("unshare").args(["-u", "true"]).status().is_ok_and(|s| s.success()) {
        eprintln!("SKIPPED: a machine without a name needs the right to unshare");
        return;
    }
    c.refuses_as(&mut nameless, 1, &["node.host_id is not known; set it in datanode.toml"]);
}

#[test]
fn rows_that_nobody_judged_or_that_were_judged_by_nobody_knows_what() {
    let c = Case::new();
    c.change(|s, b| {
        for (key, _) in s.load_all(&CONTEXTS, &[]).unwrap() {
            b.delete(&CONTEXTS, &key);
        }
    });
    c.refuses(1, &["the ledger judged 0 of them", "datanode nightly --stages qc,export"]);
    let c = Case::new();
    c.change(|s, b| {
        let pages = s.load_all(&LEDGER, &[]).unwrap();
        let (key, _) = pages.iter().find(|(k, _)| k.dataset == Dataset::EquitiesBars).unwrap();
        b.delete(&LEDGER, key);
    });
    c.refuses(
        1,
        &[
            "equities_bars/year=2025/month=06/data.parquet has",
            "the ledger judged",
            "datanode nightly --stages qc,export",
        ],
    );
}

#[test]
fn a_manifest_line_that_does_not_parse() {
    let c = Case::new();
    let file = c.manifest();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{{\"request_id\": 1}}\n")).unwrap();
    c.refuses(3, &[file.file_name().unwrap().to_str().unwrap()]);
    std::fs::write(&file, text).unwrap();
    c.exports();
}

#[test]
fn a_counter_of_the_run_that_is_out_of_range() {
    let c = Case::new();
    let file = c.manifest();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    line["rows"] = 2_000_000_000u64.into();
    std::fs::write(&file, format!("{text}{line}\n")).unwrap();
    c.refuses(1, &["2000000000 rows", "the record is damaged"]);
}

/// Makes one session RED, as a check would.
fn redden(c: &Case) -> String {
    let mut name = String::new();
    c.change(|s, b| {
        let pages = s.load_all(&LEDGER, &[]).unwrap();
        let (key, page) = pages.iter().find(|(k, _)| k.dataset == Dataset::EquitiesBars).unwrap();
        let first = key.month.first_day();
        let mut days = page.days(first);
        let day = days.iter_mut().find(|d| d.rows > 0).unwrap();
        (day.verdict, day.reasons) = (Verdict::Red.number(), Reason::OHLC_ORDER.bit);
        name = format!("equities_bars/{}/{}", key.symbol, datanode_schema::clock::date_of(day.day));
        b.put(&LEDGER, key, &LedgerPage::pack(first, &days)).unwrap();
    });
    name
}

#[test]
fn a_red_partition_is_left_out_and_listed_but_not_of_a_dataset_that_must_be_complete() {
    let mut c = Case::new();
    let red = redden(&c);
    let file = c.node.root.path().join("datasets.yaml");
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ops/config/datasets.yaml")).unwrap();
    let at = text.find("equities_bars:").unwrap();
    let (head, tail) = text.split_at(at);
    assert!(tail.contains("required: none"), "{tail}");
    std::fs::write(&file, format!("{head}{}", tail.replacen("required: none", "required: complete", 1))).unwrap();
    c.node.set("DATANODE__DATASETS", file.to_str().unwrap());
    c.refuses(1, &["equities_bars is `required: complete`", &red, "ohlc_order"]);
    c.node.unset("DATANODE__DATASETS");
    let pack = c.exports();
    let m: Value = serde_json::from_slice(&std::fs::read(pack.join("manifest.json")).unwrap()).unwrap();
    let listed = m["qc"]["excluded"].as_array().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["partition"], &listed[0]["status"]), (&red.clone().into(), &"RED".into()));
    let rows = |f: &Value| f["rows"].as_u64().unwrap();
    let files = m["files"].as_array().unwrap();
    let month = files.iter().find(|f| f["dataset"] == "equities_bars").unwrap();
    let store = state(&c.node);
    let curated = store.load_all(&datanode_schema::trees::CURATED, &[]).unwrap();
    store.close().unwrap();
    let whole = &curated.iter().find(|(k, _)| k.dataset == Dataset::EquitiesBars).unwrap().1;
    assert_eq!(rows(month), whole.rows - 1, "the other rows of the file are there");
}

#[test]
fn a_curated_file_that_is_altered_cut_or_gone() {
    let c = Case::new();
    let file = c.curated();
    let good = std::fs::read(&file).unwrap();
    let name = file.to_str().unwrap().to_owned();
    let says = [name.as_str(), "is not what curate wrote", "remove it, and `datanode nightly` rebuilds it from raw"];
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    for bytes in [&altered[..], &good[..good.len() - 1], &[]] {
        std::fs::write(&file, bytes).unwrap();
        c.refuses(3, &says);
    }
    std::fs::remove_file(&file).unwrap();
    c.refuses(3, &says);
    std::fs::write(&file, good).unwrap();
    c.exports();
}

#[test]
fn a_pack_of_that_id_that_holds_something_else() {
    let c = Case::new();
    let there = c.data().join("exports/datanode/export_20250703T230000Z_datanode_full");
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("manifest.json"), "{}").unwrap();
    c.refuses(
        1,
        &["20250703T230000Z_datanode_full exists already and holds something else", "run again at another second"],
    );
}

#[test]
fn a_status_file_that_cannot_be_written_or_read() {
    let c = Case::new();
    let file = c.data().join("data_layer/qc/partition_status.parquet");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir_all(file.join("in the way")).unwrap();
    c.refuses(1, &[file.to_str().unwrap()]);
    c.change(|_, b| {
        b.put(&COUNTERS, &"status_dirty".to_owned(), &1).unwrap();
    });
    c.refuses(1, &["Is a directory"]);
}

/// A file system of that size, for as long as it lives.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, mib: u64) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut c = Command::new("mount");
        c.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(at);
        if c.stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: a full disk needs the right to mount");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|s| s.success()) || std::thread::panicking());
    }
}

#[test]
fn a_disk_that_is_full() {
    let sim = Sim::seeded(60, 6, "");
    let mut node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    node.set("DATANODE__STORE__FREE_SPACE_FLOOR_MIB", "0");
    let Some(_disk) = Small::mount(&node.data(), 160) else { return };
    node.run(&[&["nightly"], &FIRST[..]].concat()).exits(0);
    node.run(&[&["nightly"], &NEXT[..], &["--stages", "ingest,audit,backfill,curate,qc"]].concat()).exits(0);
    node.set("DATANODE__EXPORT__ARCHIVE", "true");
    let c = Case { _of: original(), node };
    // Room for the state's own commits, and not for the pack.
    let free = nix::sys::statvfs::statvfs(&c.data()).unwrap();
    let left = free.blocks_available() * free.fragment_size();
    let filler = c.data().join("filler");
    run(Command::new("fallocate").arg("-l").arg((left - 1_400 * 1024).to_string()).arg(&filler)).exits(0);
    // What looks into the state would want space itself: files alone are asked while there is none.
    let before = tree(&c.data().join("exports"));
    run(&mut c.export_command()).exits(1).says(&["no pack", "No space left on device", "check the disk's free space"]);
    assert_eq!(tree(&c.data().join("exports")), before, "the last good pack and the dated folders stay as they were");
    std::fs::remove_file(&filler).unwrap();
    let pack = c.exports();
    assert!(pack.with_extension("tar.zst").metadata().unwrap().len() > 1_800 * 1024);
}
