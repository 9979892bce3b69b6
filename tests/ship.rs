//! Packs at their destinations: what arrives, what is not sent again, and what other tools make of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::node::Node as Inner;
use datanode_actors::publishing::ShipMode;
use datanode_actors::ship::{Form, wanted};
use datanode_schema::trees::{COUNTERS, PROBES, RECEIPTS, SHIPMENTS};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use support::home::{Files, Home, below, files, noise, pack_at};
use support::proxy::{Act, Proxy};
use support::s3::{KEY, S3, SECRET_KEY, beside_python};
use support::{DATANODE, Draw, Node, differences, run, tree};

fn shipped(home: &mut Home, name: &str) -> u64 {
    home.node().store.load(&COUNTERS, &format!("ship/{name}/shipped")).unwrap().unwrap_or(0)
}

/// The packs that retention keeps here since some destination is still to get them.
fn waiting(node: &Inner) -> BTreeSet<String> {
    let rows = datanode_actors::retention::plan(node, "").unwrap().rows;
    let waits = |why: &String| why.starts_with("not yet at ");
    rows.into_iter().filter(|r| r.why.iter().any(waits)).map(|r| r.export_id).collect()
}

fn verifies(path: &Path) {
    run(Command::new(DATANODE).args(["pack", "verify"]).arg(path)).exits(0);
}

fn opens_to(home: &Home, sealed: &Path, pack: &Path) {
    let to = tempfile::tempdir().unwrap();
    let opened = to.path().join("opened");
    let key = home.data().join("keys/node.key");
    run(Command::new(DATANODE).args(["pack", "open"]).arg(sealed).arg("--to").arg(&opened).arg("--key").arg(key))
        .exits(0);
    assert_eq!(differences(pack, &opened), Vec::<String>::new());
}

#[test]
fn a_pack_arrives_whole_in_both_forms_and_is_not_sent_twice() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Both);
    let first = h.full(2, &files(12, 40_000, 1));
    let uid = h.seal(&first);
    let c = h.ship(&first).unwrap();
    assert_eq!((c.shipped, c.present, c.copied), (2, 0, 0));
    let there = below(&s3);
    assert_eq!(differences(&h.pack_folder(&first), &pack_at(&there, &first)), Vec::<String>::new());
    verifies(&pack_at(&there, &first));
    let sealed = there.join("sealed/datanode").join(&uid);
    opens_to(&h, &sealed, &h.pack_folder(&first));
    let order: Vec<String> = proxy
        .taken()
        .into_iter()
        .filter(|a| a.method == "PUT" && a.path.contains("/export_"))
        .map(|a| a.path)
        .collect();
    let at = |end: &str| order.iter().position(|p| p.ends_with(end)).unwrap();
    assert_eq!(at("manifest.json") + 2, order.len(), "only the pack's pointer comes after its manifest: {order:?}");
    for name in ["latest.pointer".to_owned(), format!("export_{first}.pointer")] {
        let text = std::fs::read_to_string(there.join("exports/datanode").join(name)).unwrap();
        let want = format!("export_bucket=s3://packs\nexport_prefix=home/exports/datanode\nexport_id={first}\n");
        assert!(text.contains(&want), "{text}");
    }
    assert_eq!(h.ship(&first).unwrap().shipped, 0);
    let asked: Vec<(String, bool)> =
        proxy.taken().into_iter().map(|a| (a.method, a.path.ends_with(".datanode/datanode.id"))).collect();
    assert_eq!(
        asked,
        [("GET".to_owned(), true)],
        "of a bucket that has everything a second night asks only which one it is"
    );

    // The second sealing builds on the first, which lies beside it.
    let mut more = files(12, 40_000, 1);
    more.insert("equities_bars/part=9999/data.parquet".into(), noise(30_000, 99));
    let second = h.full(3, &more);
    let uid2 = h.seal(&second);
    let c = h.ship(&second).unwrap();
    assert_eq!((c.shipped, c.copied), (2, 12));
    let sealed2 = there.join("sealed/datanode").join(&uid2);
    let own: Vec<String> = tree(&sealed2).into_keys().collect();
    assert!(own.iter().all(|p| !tree(&sealed).contains_key(p)), "a sealing's folder has its own objects only: {own:?}");
    opens_to(&h, &sealed2, &h.pack_folder(&second));
    verifies(&sealed2);
    assert_eq!(differences(&h.pack_folder(&second), &pack_at(&there, &second)), Vec::<String>::new());
    assert_eq!(shipped(&mut h, "offsite"), 4);
}

/// What boto3, the aws client and rclone say of a bucket that we wrote.
#[test]
fn other_tools_read_what_was_shipped() {
    let Some(s3) = S3::honest("packs") else { return };
    let (Some(aws), Some(rclone)) = (beside_python("aws"), beside_python("rclone")) else { return };
    let mut h = Home::new().bucket("offsite", &s3.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(5, 30_000, 5));
    h.ship(&id).unwrap();
    let to = tempfile::tempdir().unwrap();
    let key = format!("home/exports/datanode/export_{id}");
    let mut c = Command::new(aws);
    c.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY).env("AWS_DEFAULT_REGION", "us-east-1");
    c.args(["--endpoint-url", &s3.endpoint, "s3", "cp", "--recursive", "--no-progress"]);
    run(c.arg(format!("s3://packs/{key}")).arg(to.path())).exits(0);
    run(Command::new("sha256sum").args(["--quiet", "-c", "SHA256SUMS.stable.txt"]).current_dir(to.path())).exits(0);
    // The slash at the end says that it is a folder: s3s-fs answers 500 where it is asked whether one is an object.
    let remote = format!(
        ":s3,provider=Other,force_path_style=true,endpoint='{}',access_key_id={KEY},secret_access_key={SECRET_KEY}:packs/{key}/",
        s3.endpoint
    );
    let mut c = Command::new(rclone);
    run(c.args(["--config", "/dev/null", "check", "--download"]).arg(h.pack_folder(&id)).arg(remote)).exits(0);
}

#[test]
fn a_night_that_changes_one_file_in_a_hundred_sends_two_percent_at_most() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    let mut day = files(100, 60_000, 7);
    let first = h.full(2, &day);
    h.ship(&first).unwrap();
    let whole = proxy.sent();
    day.insert("equities_bars/part=0042/data.parquet".into(), noise(60_000, 4_242));
    let second = h.full(3, &day);
    let c = h.ship(&second).unwrap();
    let sent = proxy.sent();
    assert_eq!(c.copied, 99);
    // Manifest and sums are of the pack, whatever changed; these packs are small beside them.
    let texts: u64 = ["manifest.json", "SHA256SUMS.stable.txt"]
        .iter()
        .map(|f| h.pack_folder(&second).join(f).metadata().unwrap().len())
        .sum();
    assert!(sent - texts <= whole / 50, "{sent} bytes, {texts} of them texts, after {whole}");
    verifies(&pack_at(&below(&s3), &second));

    // The same as sealings, at another destination.
    let mut h2 = Home::new().bucket("vault", &proxy.endpoint, ShipMode::Sealed);
    let mut day: Files = files(100, 600_000, 8);
    let first = h2.full(2, &day);
    h2.seal(&first);
    h2.ship(&first).unwrap();
    let whole = proxy.sent();
    day.insert("equities_bars/part=0042/data.parquet".into(), noise(600_000, 4_343));
    let second = h2.full(3, &day);
    h2.seal(&second);
    h2.ship(&second).unwrap();
    let sent = proxy.sent();
    assert!(sent <= whole / 50, "{sent} bytes after {whole}");
}

#[test]
fn a_new_destination_gets_the_newest_pack_and_what_it_builds_on_first() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut h = Home::new().bucket("offsite", &s3.endpoint, ShipMode::Plain);
    let zero = h.full(1, &files(2, 1_000, 70));
    let full = h.full(2, &files(3, 1_000, 80));
    let mut day = files(3, 1_000, 80);
    let held: BTreeMap<String, String> = day.keys().map(|k| (k.clone(), full.clone())).collect();
    day.insert("equities_bars/part=0009/data.parquet".into(), noise(1_000, 90));
    let delta = h.delta(3, &full, &day, &held);
    let node = h.node();
    let d = node.publishing.destinations.current()[0].clone();
    assert_eq!(wanted(&node, &d, Form::Plain, &delta).unwrap(), [full.clone(), delta.clone()]);
    assert_eq!(waiting(&node), [full.clone(), delta.clone()].into());
    drop(node);
    let c = h.ship(&delta).unwrap();
    assert_eq!(c.shipped, 2);
    let there = below(&s3);
    assert!(!pack_at(&there, &zero).exists());
    verifies(&pack_at(&there, &full));
    run(Command::new("sha256sum")
        .args(["--quiet", "-c", "SHA256SUMS.stable.txt"])
        .current_dir(pack_at(&there, &delta)))
    .exits(0);
    assert!(waiting(&h.node()).is_empty());
}

#[test]
fn a_destination_that_is_down_keeps_no_other_waiting() {
    let Some(s3) = S3::honest("packs") else { return };
    let nas = tempfile::tempdir().unwrap();
    let mut h = Home::new()
        .bucket("offsite", &s3.endpoint, ShipMode::Plain)
        .bucket("gone", "http://127.0.0.1:9", ShipMode::Plain)
        .folder("nas", &nas.path().join("packs"), ShipMode::Plain);
    let id = h.full(2, &files(4, 5_000, 3));
    let e = h.ship(&id).unwrap_err().to_string();
    assert!(e.contains("gone: ") && e.contains("the next run goes on") && !e.contains("offsite"), "{e}");
    for root in [below(&s3), nas.path().join("packs")] {
        verifies(&pack_at(&root, &id));
    }
    let node = h.node();
    let count = |k: &str| node.store.load(&COUNTERS, &k.to_owned()).unwrap();
    assert_eq!(
        (count("ship/gone/failed"), count("ship/offsite/shipped"), count("ship/nas/shipped")),
        (Some(1), Some(1), Some(1))
    );
    assert!(
        node.shipping.of("gone").last_error.contains("127.0.0.1") || !node.shipping.of("gone").last_error.is_empty()
    );
    assert_eq!(waiting(&node), [id].into(), "what some destination lacks must stay");
}

#[test]
fn a_bucket_that_lies_is_refused_unless_its_owner_accepts_it() {
    let Some(lying) = S3::lying("packs") else { return };
    let mut h = Home::new().bucket("cheap", &lying.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(2, 1_000, 1));
    let e = h.ship(&id).unwrap_err().to_string();
    for says in ["does not keep its word", "overwrote an object", "checksum is another's", "accept_unsafe_bucket"] {
        assert!(e.contains(says), "{e}");
    }
    assert!(!below(&lying).join("exports").exists(), "nothing is sent to it");
    let p = h.node().store.load(&PROBES, &"cheap".to_owned()).unwrap().unwrap();
    assert_eq!((p.create, p.checksum, p.read_back), (2, 2, 1));
    h.settings.ship.destinations.get_mut("cheap").unwrap().accept_unsafe_bucket = true;
    h.redirect();
    h.ship(&id).unwrap();
    verifies(&pack_at(&below(&lying), &id));
}

#[test]
fn what_a_bucket_can_do_is_seen_and_recorded() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut h = Home::new().bucket("offsite", &s3.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(1, 10, 1));
    h.ship(&id).unwrap();
    let p = h.node().store.load(&PROBES, &"offsite".to_owned()).unwrap().unwrap();
    assert_eq!((p.create, p.checksum, p.read_back, p.note.as_str()), (1, 1, 1, ""));
    assert!(tree(&below(&s3)).keys().all(|k| !k.contains("probe")), "the probe's own objects are gone");
}

#[test]
fn a_bucket_that_ignores_checksums_alone_is_refused_too() {
    let Some(moto) = S3::moto() else { return };
    let made = support::python("check_s3.py", &[Path::new("make"), Path::new(&moto.endpoint)]);
    let Some(made) = made else { return };
    made.exits(0);
    let mut h = Home::new().bucket("aws", &moto.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(1, 10, 1));
    let e = h.ship(&id).unwrap_err().to_string();
    assert!(e.contains("checksum is another's") && !e.contains("overwrote"), "{e}");
}

/// Everything that was sent is counted where it passes: a whole object crosses the wire once, whenever the process dies.
#[test]
fn kills_at_any_place_of_shipping_send_no_whole_object_twice() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut draw = Draw(11);
    let places = [
        "ship.copied:1",
        "ship.copied:9",
        "ship.copied:23",
        "ship.receipts:1",
        "ship.before_commit:1",
        "ship.committed:1",
        "ship.pointed:1",
        "ship.before_commit:2",
        "ship.committed:2",
    ];
    for place in places.into_iter().map(str::to_owned).chain((0..3).map(|_| format!("ms:{}", 20 + draw.below(180)))) {
        let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Both);
        h.settings.ship.destinations.get_mut("offsite").unwrap().url =
            format!("s3://packs/{}", place.replace([':', '.'], "-"));
        let id = h.full(2, &files(20, 200_000, 31));
        let uid = h.seal(&id);
        h.close();
        let mut n = Node::new("universe: {}\n", ["--now", "2026-03-05T23:00:00Z", "--as-of", "2026-03-02"]);
        let d = &h.settings.ship.destinations["offsite"];
        n.set("DATANODE__DATA_DIR", h.data().to_str().unwrap());
        for (k, v) in [("URL", &d.url), ("ENDPOINT", &d.endpoint), ("KEY", &d.key), ("SECRET", &d.secret)] {
            n.set(&format!("DATANODE__SHIP__DESTINATIONS__OFFSITE__{k}"), v);
        }
        proxy.taken();
        let args = n.nightly_args(&["--stages", "ship"]);
        match place.strip_prefix("ms:") {
            None => {
                n.set("DATANODE_KILL_AT", &place);
                assert_eq!(n.run(&args).code, None, "{place}: it was not killed");
            }
            Some(ms) => {
                let began = n
                    .command(&args)
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap();
                let live = support::Live::of(began);
                // The moment is what is drawn.
                std::thread::sleep(std::time::Duration::from_millis(ms.parse().unwrap()));
                drop(live);
            }
        }
        n.unset("DATANODE_KILL_AT");
        n.run(&args).exits(0);
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for a in proxy.taken().into_iter().filter(|a| a.method == "PUT" && a.body >= 100_000) {
            *times.entry(a.path).or_default() += 1;
        }
        // What was half way up when the process died is sent again: with four at once, four at most.
        let again: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
        let sharp = !place.starts_with("ms:");
        assert!(times.values().all(|n| *n <= 2) && again.len() <= 4, "{place}: sent again: {again:?}");
        if sharp && place.starts_with("ship.before_commit")
            || place.starts_with("ship.committed")
            || place.starts_with("ship.pointed")
        {
            assert!(again.is_empty(), "{place}: {again:?}");
        }
        let there = s3.root.path().join(&d.url["s3://".len()..]);
        assert_eq!(differences(&h.pack_folder(&id), &pack_at(&there, &id)), Vec::<String>::new(), "{place}");
        opens_to(&h, &there.join("sealed/datanode").join(&uid), &h.pack_folder(&id));
        let node = h.node();
        assert_eq!(node.store.load_all(&SHIPMENTS, b"offsite/").unwrap().len(), 2, "{place}");
        let plain = node.store.load_all(&RECEIPTS, format!("offsite/{id}/data/").as_bytes()).unwrap();
        assert_eq!(plain.len(), 20, "{place}: each object has its receipt");
        drop(node);
        h.close();
    }
}

#[test]
fn a_large_file_goes_in_parts_and_arrives_as_it_was() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    let big: Files = [("equities_bars/part=0000/data.parquet".to_owned(), noise(70 << 20, 3))].into();
    let id = h.full(2, &big);
    h.ship(&id).unwrap();
    let asked = proxy.taken();
    let largest = asked.iter().filter(|a| a.method == "PUT").map(|a| a.body).max().unwrap();
    assert_eq!(largest, 8 << 20);
    verifies(&pack_at(&below(&s3), &id));
    // The next night it is not sent at all.
    let second = h.full(3, &big);
    h.ship(&second).unwrap();
    assert!(proxy.sent() < 10_000);
    verifies(&pack_at(&below(&s3), &second));
}

#[test]
fn the_cap_on_bytes_a_second_holds() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut h = Home::new().bucket("slow", &s3.endpoint, ShipMode::Plain).with("slow", |d| d.kib_per_second = 1_000);
    let id = h.full(2, &files(15, 200_000, 3));
    let began = std::time::Instant::now();
    h.ship(&id).unwrap();
    let took = began.elapsed().as_secs_f64();
    assert!(took > 2.6, "3 MB at 1 MiB a second took {took} s");
}

#[test]
fn a_folder_gets_links_of_what_it_has_and_nothing_in_it_is_overwritten() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Both);
    let mut day = files(6, 10_000, 3);
    let first = h.full(2, &day);
    h.seal(&first);
    h.ship(&first).unwrap();
    day.insert("equities_bars/part=0001/data.parquet".into(), noise(10_000, 77));
    let second = h.full(3, &day);
    let uid = h.seal(&second);
    let c = h.ship(&second).unwrap();
    assert_eq!(c.copied, 5);
    verifies(&pack_at(&root, &second));
    opens_to(&h, &root.join("sealed/datanode").join(uid), &h.pack_folder(&second));
    // Somebody else's file is in the way of the third.
    let third = h.full(4, &files(6, 10_000, 400));
    let there = pack_at(&root, &third);
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("SHA256SUMS.stable.txt"), "half of it").unwrap();
    let e = h.ship(&third).unwrap_err();
    assert!(e.is_integrity() && e.to_string().contains("nothing there is overwritten"), "{e}");
    assert_eq!(std::fs::read_to_string(there.join("SHA256SUMS.stable.txt")).unwrap(), "half of it");
    assert!(!there.join("manifest.json").exists());
    std::fs::remove_file(there.join("SHA256SUMS.stable.txt")).unwrap();
    h.seal(&third);
    h.ship(&third).unwrap();
    verifies(&there);
    assert!(!root.join(".datanode-tmp").exists() || tree(&root.join(".datanode-tmp")).is_empty());
}

#[test]
fn a_request_that_the_proxy_answers_never_reaches_the_server() {
    // The proxy of these tests is itself something to trust.
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    proxy.rule(|a| if a.path.contains("manifest.json") { Act::Answer(403, "AccessDenied") } else { Act::Pass });
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(2, 1_000, 1));
    assert!(h.ship(&id).is_err());
    assert!(!pack_at(&below(&s3), &id).join("manifest.json").exists());
    assert!(proxy.sent() > 2_000);
}

/// Azurite, where `DATANODE_AZURITE` names it: `npm install azurite`, then node_modules/.bin/azurite-blob.
#[test]
fn an_azure_container_gets_what_a_bucket_gets() {
    let Some(program) = std::env::var_os("DATANODE_AZURITE") else {
        eprintln!("SKIPPED: DATANODE_AZURITE names no azurite-blob");
        return;
    };
    // The emulator's own account, published in its manual.
    let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut c = Command::new(program);
    c.args(["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobPort", &free]);
    c.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _live = support::Live::of(c.spawn().unwrap());
    let endpoint = format!("http://127.0.0.1:{free}/devstoreaccount1");
    let began = std::time::Instant::now();
    let python = std::env::var_os("DATANODE_PYTHON").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/check_azure.py");
    loop {
        let mut c = Command::new(&python);
        let r = run(c.env("AZURE_KEY", key).arg(&script).args(["make", &endpoint, "packs"]));
        if r.code == Some(0) {
            break;
        }
        assert!(began.elapsed().as_secs() < 60, "{}", r.err);
    }
    let mut h =
        Home::new().bucket("azure", &endpoint, ShipMode::Both).with("azure", |d| d.url = "az://packs/home".into());
    std::fs::write(h.root.path().join("key"), "devstoreaccount1").unwrap();
    std::fs::write(h.root.path().join("secret"), key).unwrap();
    let first = h.full(2, &files(6, 20_000, 1));
    h.seal(&first);
    assert_eq!(h.ship(&first).unwrap().shipped, 2);
    let p = h.node().store.load(&PROBES, &"azure".to_owned()).unwrap().unwrap();
    assert_eq!((p.create, p.checksum, p.read_back), (1, 0, 1));
    let second = h.full(3, &files(6, 20_000, 1));
    h.seal(&second);
    let c = h.ship(&second).unwrap();
    assert_eq!(c.shipped, 2);
    assert_eq!(c.copied, 6, "the store copies what it has");
}

#[test]
fn receipts_stay_as_long_as_a_bucket_could_copy_by_them() {
    let nas = tempfile::tempdir().unwrap();
    let mut h = Home::new().folder("nas", &nas.path().join("packs"), ShipMode::Both);
    for day in 1..=12 {
        let id = h.full(day, &files(1, 100, u64::from(day)));
        h.seal(&id);
        h.ship(&id).unwrap();
    }
    let node = h.node();
    let all = node.store.load_all(&RECEIPTS, b"nas/").unwrap();
    let of: std::collections::BTreeSet<&str> = all.iter().map(|(k, _)| k.split('/').nth(1).unwrap()).collect();
    assert_eq!(of.len(), 8, "those of the newest packs: {of:?}");
    assert!(of.last().unwrap().starts_with("20260312") && all.iter().all(|(k, _)| !k.contains("/chunks/")));
    assert_eq!(node.store.load_all(&SHIPMENTS, b"nas/plain/").unwrap().len(), 12, "what arrived stays on record");
}

/// Of what a destination missed, its own rules let only the newest stay: the others are not sent to be removed, and do not wait here.
#[test]
fn what_a_destinations_rules_would_remove_at_once_does_not_go_there() {
    let nas = tempfile::tempdir().unwrap();
    let mut h = Home::new().folder("nas", &nas.path().join("packs"), ShipMode::Both).with("nas", |d| d.keep_packs = 2);
    let mut ids = Vec::new();
    for day in 1..=4 {
        let id = h.full(day, &files(2, 1_000, u64::from(day) * 10));
        h.seal(&id);
        if day == 1 {
            h.ship(&id).unwrap();
        }
        ids.push(id);
    }
    assert_eq!(waiting(&h.node()), ids[2..].iter().cloned().collect());
    assert_eq!(h.ship(&ids[3]).unwrap().shipped, 4, "two packs, each in both forms");
    let there = |id: &String| pack_at(&nas.path().join("packs"), id).join("manifest.json").is_file();
    assert_eq!(ids.iter().map(there).collect::<Vec<_>>(), [true, false, true, true]);
    let plan = datanode_actors::retention::plan(&h.node(), &ids[3]).unwrap();
    datanode_actors::retention::apply(&h.node(), &plan, None).unwrap();
    assert_eq!(ids.iter().map(there).collect::<Vec<_>>(), [false, false, true, true]);
    // The run of a pack that went is run again: it would go at once, as before.
    assert_eq!(h.ship(&ids[0]).unwrap().shipped, 0);
    assert!(waiting(&h.node()).is_empty());
}

#[test]
fn a_pack_whose_removal_stopped_half_way_is_sent_again_only_when_it_is_needed() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    let day = files(3, 1_000, 10);
    let full = h.full(1, &day);
    h.ship(&full).unwrap();
    let removal = datanode_actors::retention::removal_key("nas", "plain", &full);
    let mut b = datanode_schema::store::Batch::new();
    b.put(&COUNTERS, &removal, &1).unwrap().delete(&SHIPMENTS, &format!("nas/plain/{full}"));
    h.node().store.commit(b).unwrap();
    for part in ["manifest.json", "data/equities_bars/part=0001/data.parquet"] {
        std::fs::remove_file(pack_at(&root, &full).join(part)).unwrap();
    }
    assert_eq!(h.ship(&full).unwrap().shipped, 0, "what is being removed is not due for being the newest");
    let held: BTreeMap<String, String> = day.keys().map(|k| (k.clone(), full.clone())).collect();
    let mut more = day.clone();
    more.insert("equities_bars/part=0009/data.parquet".into(), noise(1_000, 90));
    let delta = h.delta(2, &full, &more, &held);
    assert_eq!(h.ship(&delta).unwrap().shipped, 2);
    verifies(&pack_at(&root, &full));
    assert_eq!(h.node().store.load(&COUNTERS, &removal).unwrap(), None, "the removal is over");
}
