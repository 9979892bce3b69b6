//! Export, seal, ship and retention, night after night with the real program: what one does the others do not undo.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_schema::trees::{RECEIPTS, SHIPMENTS};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::proxy::Proxy;
use support::s3::{KEY, S3, SECRET_KEY, beside_python};
use support::{Node, Ran, SEEDED_NIGHT, Sim, differences, stage, tree};

/// Six sessions.
const SESSIONS: [&str; 6] = ["2025-06-23", "2025-06-24", "2025-06-25", "2025-06-26", "2025-06-27", "2025-06-30"];

fn node(sim: &Sim) -> Node {
    Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], sim)
}

/// The cycle of the i-th session, on an evening of July.
fn night(n: &Node, i: usize, more: &[&str]) -> Ran {
    let now = format!("2025-07-{:02}T23:00:00Z", i + 2);
    n.run(&[&["nightly", "--json", "--now", &now, "--as-of", SESSIONS[i]], more].concat())
}

fn id_of(ran: Ran) -> String {
    ran.exits(0).json()["export_id"].as_str().unwrap().to_owned()
}

/// `one`, a bucket that gets both forms.
fn bucket(n: &mut Node, endpoint: &str) {
    n.set("E2E_S3_KEY", KEY);
    n.set("E2E_S3_SECRET", SECRET_KEY);
    for (k, v) in [("URL", "s3://packs"), ("ENDPOINT", endpoint), ("MODE", "both")] {
        n.set(&format!("DATANODE__SHIP__DESTINATIONS__ONE__{k}"), v);
    }
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEY", "env:E2E_S3_KEY");
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__SECRET", "env:E2E_S3_SECRET");
}

/// The complete packs in a folder of packs, oldest first; a server may leave empty folders.
fn packs(exports: &Path) -> Vec<String> {
    let names = std::fs::read_dir(exports).unwrap().map(|e| e.unwrap());
    let folders =
        names.filter(|e| e.path().join("manifest.json").is_file()).map(|e| e.file_name().into_string().unwrap());
    let mut out: Vec<String> = folders.filter_map(|f| f.strip_prefix("export_").map(str::to_owned)).collect();
    out.sort();
    out
}

fn exports(n: &Node) -> PathBuf {
    n.data().join("exports/datanode")
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// Objects of packs and sealings that were PUT, the pointers left out, in order.
fn brought(proxy: &Proxy) -> Vec<String> {
    let all = proxy.taken().into_iter().filter(|a| a.method == "PUT" && !a.path.contains(".datanode-probe"));
    all.map(|a| a.path.split('?').next().unwrap().to_owned()).filter(|p| !p.ends_with(".pointer")).collect()
}

/// The sealings of packs: what their descriptors are named by.
fn sealing(n: &Node, id: &str) -> String {
    n.with_store(|s| s.load(&datanode_schema::trees::PACKS, &id.to_owned()).unwrap().unwrap().pack_uid)
}

#[test]
fn with_rules_of_its_own_a_destination_gets_each_pack_once_and_keeps_what_deltas_need() {
    let Some(s3) = S3::honest("packs") else { return };
    let (sim, proxy) = (Sim::seeded(2, 12, ""), Proxy::before(&s3.endpoint));
    let mut n = node(&sim);
    bucket(&mut n, &proxy.endpoint);
    n.set("DATANODE__EXPORT__SCOPE", "delta");
    n.set("DATANODE__EXPORT__FULL_EVERY_DAYS", "3");
    n.set("DATANODE__RETENTION__KEEP_PACKS", "6");
    n.set("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS", "2");
    let there = s3.root.path().join("packs/exports/datanode");
    let (mut times, mut made): (BTreeMap<String, u32>, Vec<String>) = (BTreeMap::new(), Vec::new());
    for i in 0..6 {
        made.push(id_of(night(&n, i, &[])));
        brought(&proxy).into_iter().for_each(|p| *times.entry(p).or_default() += 1);
        // Everything that a pack there builds on is there.
        let standing = packs(&there);
        assert!(standing.ends_with(&made[made.len().saturating_sub(2)..]), "{standing:?}");
        for id in &standing {
            for f in manifest(&there.join(format!("export_{id}")))["files"].as_array().unwrap() {
                if let Some(h) = f["held_by"].as_str() {
                    let file = there.join(format!("export_{h}")).join(f["path"].as_str().unwrap());
                    assert!(file.is_file(), "{id} needs {}", file.display());
                }
            }
        }
        // Once more: nothing goes there, and nothing goes from there.
        let before = tree(s3.root.path());
        let again = night(&n, i, &["--stages", "ship,retention"]).exits(0).json();
        assert_eq!((stage(&again, "ship")["shipped"].as_u64(), brought(&proxy)), (Some(0), vec![]));
        assert_eq!(stage(&again, "retention")["removed_there"], 0);
        assert_eq!(tree(s3.root.path()), before);
    }
    let scopes: Vec<&str> = made.iter().map(|id| id.rsplit('_').next().unwrap()).collect();
    assert_eq!(scopes, ["full", "delta", "delta", "full", "delta", "delta"]);
    assert_eq!(packs(&there), made[3..], "the last full one is needed, and the first of them went");
    let twice: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for id in &made {
        let commits = [
            format!("/packs/exports/datanode/export_{id}/manifest.json"),
            format!("/packs/sealed/datanode/{0}/descriptors/{0}.json", sealing(&n, id)),
        ];
        commits.iter().for_each(|c| assert_eq!(times.get(c), Some(&1), "{c}"));
    }
    let (known, receipts) = n.with_store(|s| {
        let keys = s.load_all(&SHIPMENTS, &[]).unwrap().into_iter().map(|(k, _)| k).collect::<Vec<_>>();
        (keys, s.load_all(&RECEIPTS, &[]).unwrap().into_iter().map(|(k, _)| k).collect::<Vec<_>>())
    });
    let plain = |id: &String| known.contains(&format!("one/plain/{id}"));
    assert!(made[..3].iter().all(|id| !plain(id)) && made[3..].iter().all(plain), "{known:?}");
    assert!(receipts.iter().all(|k| made[3..].iter().any(|id| k.starts_with(&format!("one/{id}/")))), "{receipts:?}");
    assert_eq!(packs(&exports(&n)), made, "here the rules are others");
    // A rule that is gone later brings nothing back.
    n.unset("DATANODE__SHIP__DESTINATIONS__ONE__KEEP_PACKS");
    night(&n, 5, &["--stages", "ship,retention"]).exits(0);
    assert_eq!((brought(&proxy), packs(&there)), (vec![], made[3..].to_vec()));
}

#[test]
fn nights_of_a_dead_destination_make_packs_and_it_gets_all_of_them_in_order_when_it_is_back() {
    let Some(s3) = S3::honest("packs") else { return };
    let (sim, proxy) = (Sim::seeded(2, 12, ""), Proxy::before(&s3.endpoint));
    let mut n = node(&sim);
    bucket(&mut n, &proxy.endpoint);
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    let mut made = vec![id_of(night(&n, 0, &[]))];
    bucket(&mut n, "http://127.0.0.1:9");
    for i in 1..4 {
        night(&n, i, &[]).exits(1).says(&["one: ", "the next run goes on"]);
        let newest = packs(&exports(&n)).pop().unwrap();
        assert!(!made.contains(&newest), "night {i} made no pack");
        assert!(!sealing(&n, &newest).is_empty(), "{newest} is not sealed");
        made.push(newest);
    }
    // Retention that a person asks for keeps what is still to go there, and what cannot be seen there.
    let plan = n.run(&["retention", "apply", "--json", "--now", "2025-07-05T23:30:00Z"]).exits(1).json();
    assert_eq!(packs(&exports(&n)), made, "{plan}");
    proxy.taken();
    bucket(&mut n, &proxy.endpoint);
    made.push(id_of(night(&n, 4, &[])));
    let order = brought(&proxy);
    let at = |end: String| order.iter().position(|p| p.ends_with(&end)).unwrap_or_else(|| panic!("{end}: {order:?}"));
    let plain: Vec<usize> = made[1..].iter().map(|id| at(format!("/export_{id}/manifest.json"))).collect();
    let uids: Vec<String> = made.iter().map(|id| sealing(&n, id)).collect();
    let sealed: Vec<usize> = uids[1..].iter().map(|u| at(format!("/descriptors/{u}.json"))).collect();
    assert!(plain.is_sorted() && sealed.is_sorted(), "{plain:?} {sealed:?}");
    let root = s3.root.path().join("packs");
    assert_eq!(packs(&root.join("exports/datanode")), made);
    for id in &made {
        n.run(&["pack", "verify", root.join(format!("exports/datanode/export_{id}")).to_str().unwrap()]).exits(0);
    }
    let last = made.last().unwrap();
    assert_eq!(packs(&exports(&n)), std::slice::from_ref(last), "they arrived, and may go from here");
    let key = n.data().join("keys/node.key");
    let opened = n.root.path().join("opened");
    let sealed = root.join("sealed/datanode").join(uids.last().unwrap());
    let [from, to, key] = [&sealed, &opened, &key].map(|p| p.to_str().unwrap());
    n.run(&["pack", "open", from, "--to", to, "--key", key]).exits(0);
    assert_eq!(differences(&exports(&n).join(format!("export_{last}")), &opened), Vec::<String>::new());
}

#[test]
fn archives_go_with_their_packs() {
    let sim = Sim::seeded(2, 12, "");
    let mut n = node(&sim);
    n.set("DATANODE__EXPORT__ARCHIVE", "true");
    n.set("DATANODE__RETENTION__KEEP_PACKS", "1");
    for i in 0..3 {
        let id = id_of(night(&n, i, &[]));
        let mut names: Vec<String> =
            std::fs::read_dir(exports(&n)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [format!("export_{id}"), format!("export_{id}.tar.zst")]);
        let dates: Vec<_> = std::fs::read_dir(n.data().join("exports/nightly")).unwrap().collect();
        assert_eq!(dates.len(), 1);
    }
}

#[test]
fn archives_go_elsewhere_are_verified_there_and_are_not_made_again_when_they_are_gone_from_here() {
    let Some(rclone) = beside_python("rclone") else { return };
    let sim = Sim::seeded(2, 12, "");
    let mut n = node(&sim);
    let (there, config) = (n.root.path().join("there"), n.root.path().join("rclone.conf"));
    std::fs::create_dir(&there).unwrap();
    std::fs::write(&config, "[none]\ntype = local\n").unwrap();
    n.set("DATANODE__EXPORT__ARCHIVE", "true");
    n.set("DATANODE__RETENTION__KEEP_PACKS", "2");
    for (k, v) in [("PROGRAM", &rclone), ("CONFIG", &config), ("REMOTE", &there)] {
        n.set(&format!("DATANODE__OFFLOAD__{k}"), v.to_str().unwrap());
    }
    n.set("DATANODE__OFFLOAD__KEEP_DAYS", "1");
    let archives = |folder: &Path| -> BTreeMap<String, String> {
        let all = tree(folder).into_iter().filter(|(p, _)| p.ends_with(".tar.zst"));
        all.map(|(p, (sum, _))| (p.rsplit('/').next().unwrap().to_owned(), sum)).collect()
    };
    let mut known = BTreeMap::new();
    let mut made = Vec::new();
    for i in 0..3 {
        let ran = night(&n, i, &[]).exits(0).json();
        assert_eq!(stage(&ran, "retention")["offload_failed"], 0, "{ran}");
        assert_eq!(stage(&ran, "retention")["offloaded"], 1, "{ran}");
        made.push(ran["export_id"].as_str().unwrap().to_owned());
        known.extend(archives(&exports(&n)));
        assert_eq!(archives(&there), known, "every archive is there as it was here");
    }
    let of = |id: &String| format!("export_{id}.tar.zst");
    assert_eq!(archives(&exports(&n)).into_keys().collect::<Vec<_>>(), [of(&made[1]), of(&made[2])]);
    // Days later nothing has changed: the pack stays, and its archive is safe elsewhere.
    let later = |now: &str| n.run(&["nightly", "--json", "--now", now, "--as-of", SESSIONS[2]]).exits(0).json();
    let ran = later("2025-07-12T23:00:00Z");
    assert_eq!(stage(&ran, "export")["unchanged"], 1, "{ran}");
    assert_eq!(stage(&ran, "retention")["offloaded_removed"], 2, "{ran}");
    assert!(archives(&exports(&n)).is_empty());
    let ran = later("2025-07-13T23:00:00Z");
    let done = stage(&ran, "retention");
    assert_eq!((&done["offloaded"], &done["offloaded_removed"]), (&0.into(), &0.into()), "made again: {ran}");
    assert_eq!((archives(&there), packs(&exports(&n))), (known, made[1..].to_vec()));
}
