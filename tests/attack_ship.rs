//! Attacks on export, shipping and retention: each name says what should be true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode::failure::Code;
use datanode::wiring;
use datanode_actors::objects::Access;
use datanode_actors::publishing::ShipMode;
use datanode_actors::retention::retain;
use datanode_actors::ship::{Form, ShipCounters, ShipError, wanted};
use datanode_actors::{seal, vault};
use datanode_schema::clock::Clock;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::home::{Files, Home, below, files, noise, pack_at};
use support::proxy::{Act, Proxy};
use support::s3::S3;
use support::{DATANODE, Live, Node, SEEDED_NIGHT, Sim, copy, differences, run, tree};

/// What is said of destinations that are refused.
fn refused(h: &Home) -> String {
    let e = wiring::destinations(&h.settings).err().expect("they are refused");
    assert_eq!(e.code, Code::Usage);
    e.message
}

fn verifies(path: &Path) {
    run(Command::new(DATANODE).args(["pack", "verify"]).arg(path)).exits(0);
}

/// Every file of the pack at a destination, wherever the manifest says that it lies.
fn is_complete(root: &Path, id: &str) -> Result<(), String> {
    let text = std::fs::read(pack_at(root, id).join("manifest.json")).map_err(|e| format!("{id}: no manifest: {e}"))?;
    let m: serde_json::Value = serde_json::from_slice(&text).unwrap();
    for f in m["files"].as_array().unwrap() {
        let holder = f["held_by"].as_str().unwrap_or(id);
        let at = pack_at(root, holder).join(f["path"].as_str().unwrap());
        if !at.is_file() {
            return Err(format!("{id} is committed, and {} is not there", at.display()));
        }
    }
    Ok(())
}

/// A full pack of the 2nd, and what a delta of the 3rd over it is made of.
fn chain(h: &mut Home) -> (String, Files, BTreeMap<String, String>) {
    let mut day = files(4, 2_000, 10);
    let full = h.full(2, &day);
    let held = day.keys().map(|k| (k.clone(), full.clone())).collect();
    day.insert("equities_bars/part=0009/data.parquet".into(), noise(2_000, 99));
    (full, day, held)
}

type Shipped = Result<ShipCounters, ShipError>;

/// Ships on a thread; None where it has not ended in time (the thread is left behind).
fn within(h: &mut Home, id: &str, limit: Duration) -> Option<Shipped> {
    let (node, id, (tx, rx)) = (h.node(), id.to_owned(), mpsc::channel());
    std::thread::spawn(move || drop(tx.send(datanode_actors::ship::ship(&node, &id))));
    rx.recv_timeout(limit).ok()
}

// ---- destinations that are not what they were ----

#[test]
fn a_delta_is_not_committed_where_its_holders_are_gone() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    let (full, day, held) = chain(&mut h);
    h.ship(&full).unwrap();
    // A lifecycle rule, an owner, a disk that is not mounted: nothing is there any more.
    std::fs::remove_dir_all(root.join("exports")).unwrap();
    let delta = h.delta(3, &full, &day, &held);
    if h.ship(&delta).is_ok() || pack_at(&root, &delta).join("manifest.json").exists() {
        is_complete(&root, &delta).unwrap();
    }
}

#[test]
fn shipping_to_an_emptied_bucket_does_not_say_that_all_is_well() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut h = Home::new().bucket("offsite", &s3.endpoint, ShipMode::Plain);
    let (full, ..) = chain(&mut h);
    h.ship(&full).unwrap();
    std::fs::remove_dir_all(below(&s3)).unwrap();
    let again = h.ship(&full);
    let there = pack_at(&below(&s3), &full).join("manifest.json").is_file();
    assert!(again.is_err() || there, "{again:?}, and the bucket is empty");
}

#[test]
fn a_destination_that_was_turned_to_another_bucket_gets_what_a_delta_builds_on() {
    let at = tempfile::tempdir().unwrap();
    let (one, two) = (at.path().join("one"), at.path().join("two"));
    let mut h = Home::new().folder("nas", &one, ShipMode::Plain);
    let (full, day, held) = chain(&mut h);
    h.ship(&full).unwrap();
    h.settings.ship.destinations.get_mut("nas").unwrap().url = two.display().to_string();
    h.redirect();
    let delta = h.delta(3, &full, &day, &held);
    if h.ship(&delta).is_ok() || pack_at(&two, &delta).join("manifest.json").exists() {
        is_complete(&two, &delta).unwrap();
    }
}

#[test]
fn a_sealing_is_not_committed_where_those_that_it_requires_are_gone() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Sealed);
    let mut day = files(4, 300_000, 10);
    let first = h.full(2, &day);
    h.seal(&first);
    h.ship(&first).unwrap();
    std::fs::remove_dir_all(root.join("sealed")).unwrap();
    day.insert("equities_bars/part=0009/data.parquet".into(), noise(2_000, 99));
    let second = h.full(3, &day);
    let uid = h.seal(&second);
    if h.ship(&second).is_ok() {
        let to = tempfile::tempdir().unwrap();
        let key = h.data().join("keys/node.key");
        let opened = to.path().join("opened");
        let mut c = Command::new(DATANODE);
        c.args(["pack", "open"]).arg(root.join("sealed/datanode").join(uid)).arg("--to").arg(&opened);
        run(c.arg("--key").arg(key)).exits(0);
    }
}

#[test]
fn a_pack_that_is_only_where_a_wiped_bucket_was_does_not_go_from_here() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    h.settings.retention.keep_packs = 1;
    let first = h.full(2, &files(4, 2_000, 10));
    h.ship(&first).unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    let second = h.full(3, &files(4, 2_000, 20));
    let shipped = h.ship(&second);
    if shipped.is_ok() {
        retain(&h.node(), &second).unwrap();
        let here = h.pack_folder(&first).join("manifest.json").is_file();
        let there = pack_at(&root, &first).join("manifest.json").is_file();
        assert!(here || there, "the only copy of {first} was removed, though its destination keeps every pack");
    }
}

#[test]
fn a_pack_that_vanished_from_its_destination_stays_here() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    h.settings.retention.keep_packs = 1;
    let ids: Vec<String> =
        [2, 3, 4].into_iter().map(|day| h.full(day, &files(4, 2_000, 10 * u64::from(day)))).collect();
    for id in &ids {
        h.ship(id).unwrap();
    }
    std::fs::remove_dir_all(pack_at(&root, &ids[0])).unwrap();
    let c = retain(&h.node(), &ids[2]).unwrap();
    assert!(h.pack_folder(&ids[0]).join("manifest.json").is_file(), "the last copy was removed");
    assert!(!h.pack_folder(&ids[1]).exists(), "its destination has it");
    assert!(c.refusals.len() == 1 && c.refusals[0].contains(&ids[0]), "{c:?}");
    // It is another place from now on, and gets what stands here.
    let away = nas.path().join("away");
    std::fs::rename(&root, &away).unwrap();
    let fourth = h.full(5, &files(4, 2_000, 90));
    h.ship(&fourth).unwrap();
    assert!(pack_at(&root, &ids[0]).join("manifest.json").is_file(), "what stands here goes to the new place");
    assert!(!pack_at(&root, &ids[1]).exists(), "it no longer stands here");
}

// ---- what is sent ----

#[test]
fn sums_that_rotted_here_are_not_sent() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    let id = h.full(2, &files(4, 2_000, 10));
    let sums = h.pack_folder(&id).join("SHA256SUMS.stable.txt");
    let text = std::fs::read_to_string(&sums).unwrap();
    std::fs::write(&sums, &text[..text.len() / 2]).unwrap();
    if h.ship(&id).is_ok() {
        verifies(&pack_at(&root, &id));
    }
}

#[test]
fn a_link_in_the_place_of_the_sums_sends_no_other_file_of_this_machine() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    let id = h.full(2, &files(1, 2_000, 10));
    let sums = h.pack_folder(&id).join("SHA256SUMS.stable.txt");
    std::fs::remove_file(&sums).unwrap();
    let key = h.data().join("keys/node.key");
    std::os::unix::fs::symlink(&key, &sums).unwrap();
    drop(h.ship(&id));
    let sent = std::fs::read(pack_at(&root, &id).join("SHA256SUMS.stable.txt")).unwrap_or_default();
    assert_ne!(sent, std::fs::read(&key).unwrap(), "the node's private key was shipped in plain");
}

#[test]
fn a_stanza_that_rotted_here_is_not_sent() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Sealed);
    let id = h.full(2, &files(4, 2_000, 10));
    let uid = h.seal(&id);
    let at = h.data().join("vault/stanzas");
    let stanza = std::fs::read_dir(at).unwrap().map(|e| e.unwrap().path()).find(|p| p.ends_with(format!("{uid}.age")));
    let stanza = stanza.expect("the stanza");
    let mut bytes = std::fs::read(&stanza).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&stanza).unwrap();
    std::fs::write(&stanza, bytes).unwrap();
    if h.ship(&id).is_ok() {
        let to = tempfile::tempdir().unwrap();
        let mut c = Command::new(DATANODE);
        c.args(["pack", "open"]).arg(root.join("sealed/datanode").join(uid)).arg("--to").arg(to.path().join("o"));
        run(c.arg("--key").arg(h.data().join("keys/node.key"))).exits(0);
    }
}

#[test]
fn new_recipients_between_two_attempts_do_not_block_a_destination() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Sealed);
    let id = h.full(2, &files(4, 2_000, 10));
    let uid = h.seal(&id);
    proxy.rule(|a| if a.path.contains("/descriptors/") { Act::Answer(403, "AccessDenied") } else { Act::Pass });
    h.ship(&id).unwrap_err();
    proxy.pass();
    let node = h.node();
    let mut bytes = [0u8; 16];
    hex::decode_to_slice(&uid, &mut bytes).unwrap();
    let vault = vault::Vault::open(&node.data.vault()).unwrap();
    let ring = node.publishing.keys.read().unwrap();
    seal::rewrap(&vault, bytes, ring.own(), &ring.recipients_of(&bytes).unwrap()).unwrap();
    let again = h.ship(&id);
    assert!(again.is_ok(), "{}", again.unwrap_err());
}

#[test]
fn one_pack_that_rotted_here_does_not_keep_all_later_ones_from_the_consumers() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    let first = h.full(2, &files(4, 2_000, 10));
    h.ship(&first).unwrap();
    let second = h.full(3, &files(4, 2_000, 20));
    std::fs::write(h.pack_folder(&second).join("data/equities_bars/part=0000/data.parquet"), b"rot").unwrap();
    h.ship(&second).unwrap_err();
    for day in [4, 5] {
        let good = h.full(day, &files(4, 2_000, 20 + u64::from(day)));
        h.ship(&good).unwrap_err();
        assert!(pack_at(&root, &good).join("manifest.json").is_file(), "{good} is whole and is not there");
    }
}

#[test]
fn what_the_error_of_a_missing_holder_advises_helps() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    let zero = h.full(1, &files(2, 1_000, 70));
    h.ship(&zero).unwrap();
    let (full, day, held) = chain(&mut h);
    let delta = h.delta(3, &full, &day, &held);
    std::fs::remove_dir_all(h.pack_folder(&full)).unwrap();
    let e = h.ship(&delta).unwrap_err().to_string();
    assert!(e.contains("set export.scope = \"full\" for one night"), "{e}");
    let fourth = h.full(4, &day);
    let after = h.ship(&fourth);
    assert!(pack_at(&root, &fourth).join("manifest.json").is_file(), "after the full night: {after:?}");
}

#[test]
fn a_pack_that_a_night_of_a_wrong_clock_precedes_is_still_owed() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    // The clock was a fortnight ahead for one night.
    let ahead = h.full(20, &files(4, 2_000, 1));
    h.ship(&ahead).unwrap();
    // Set right; the destination is away for a night.
    std::fs::rename(&root, nas.path().join("away")).unwrap();
    std::fs::write(&root, "not a folder").unwrap();
    let missed = h.full(3, &files(4, 2_000, 2));
    h.ship(&missed).unwrap_err();
    std::fs::remove_file(&root).unwrap();
    std::fs::rename(nas.path().join("away"), &root).unwrap();
    let nas = h.node().publishing.destinations.current()[0].clone();
    let owed = wanted(&h.node(), &nas, Form::Plain, "").unwrap();
    assert_eq!(owed, [missed], "the one that is not there, and no other");
}

// ---- a bucket that answers strangely ----

#[test]
fn a_pointer_that_names_no_pack_that_is_there_does_not_hide_new_packs() {
    for names in ["99991231T235959Z_datanode_full", "20990101T000000Z_other_full"] {
        let nas = tempfile::tempdir().unwrap();
        let root = nas.path().join("packs");
        let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
        let latest = root.join("exports/datanode/latest.pointer");
        std::fs::create_dir_all(latest.parent().unwrap()).unwrap();
        let text = format!("export_bucket=x\nexport_prefix=exports/datanode\nexport_id={names}\n");
        std::fs::write(&latest, text).unwrap();
        let id = h.full(2, &files(1, 2_000, 10));
        let done = h.ship(&id);
        let now = std::fs::read_to_string(&latest).unwrap();
        assert!(done.is_err() || now.contains(&id), "shipped, no word of it, and latest says: {now}");
    }
}

#[test]
fn an_endless_pointer_is_replaced_like_any_other_that_is_none() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain);
    let latest = root.join("exports/datanode/latest.pointer");
    std::fs::create_dir_all(latest.parent().unwrap()).unwrap();
    std::fs::write(&latest, vec![b'x'; 20_000]).unwrap();
    let id = h.full(2, &files(1, 2_000, 10));
    h.ship(&id).unwrap();
}

#[test]
fn a_server_that_is_silent_over_the_pointer_is_given_up() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(2, 2_000, 10));
    proxy.rule(|a| if a.method == "GET" && a.path.contains("latest.pointer") { Act::Silence } else { Act::Pass });
    assert!(within(&mut h, &id, Duration::from_secs(150)).is_some(), "after 150 s it still waits");
}

#[test]
fn a_server_that_is_silent_in_the_probe_is_given_up() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(2, 2_000, 10));
    proxy.rule(|a| if a.method == "GET" && a.path.contains("probe") { Act::Silence } else { Act::Pass });
    assert!(within(&mut h, &id, Duration::from_secs(150)).is_some(), "after 150 s it still waits");
}

#[test]
fn a_node_whose_bucket_is_silent_stops_when_it_is_told_to() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    proxy.rule(|a| if a.method == "GET" { Act::Silence } else { Act::Pass });
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    h.full(2, &files(1, 5_000, 1));
    h.close();
    let mut n = Node::new("universe: {}\n", ["--now", "2026-03-05T23:00:00Z", "--as-of", "2026-03-02"]);
    let d = &h.settings.ship.destinations["offsite"];
    n.set("DATANODE__DATA_DIR", h.data().to_str().unwrap());
    for (k, v) in [("URL", &d.url), ("ENDPOINT", &d.endpoint), ("KEY", &d.key), ("SECRET", &d.secret)] {
        n.set(&format!("DATANODE__SHIP__DESTINATIONS__OFFSITE__{k}"), v);
    }
    let mut c = n.command(&["run"]);
    c.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let live = Live::of(c.spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(60);
    while !proxy.taken().iter().any(|a| a.method == "GET") && Instant::now() < until {
        std::thread::yield_now();
    }
    live.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = live.wait_at_most(Duration::from_secs(120));
    assert!(ended.is_some(), "120 s after SIGTERM it still runs");
}

/// A server before another that writes what `answer` gives instead of the upstream's answer.
fn bent(upstream: &str, answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (upstream, answer) = (upstream.trim_start_matches("http://").to_owned(), Arc::new(answer));
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (upstream, answer) = (upstream.clone(), answer.clone());
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0u8; 1]);
                while !head.ends_with(b"\r\n\r\n") {
                    if client.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let text = String::from_utf8_lossy(&head).into_owned();
                let first = text.lines().next().unwrap_or_default().to_owned();
                if answer(&first, &mut client) {
                    drop(client.shutdown(Shutdown::Both));
                    return;
                }
                let length = text.lines().filter_map(|l| l.split_once(':'));
                let length = length.filter(|(k, _)| k.eq_ignore_ascii_case("content-length"));
                let body: u64 = length.map(|(_, v)| v.trim().parse().unwrap()).next().unwrap_or(0);
                let mut server = TcpStream::connect(&upstream).unwrap();
                let kept = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                drop(server.write_all(kept.as_bytes()));
                drop(std::io::copy(&mut (&client).take(body), &mut server));
                drop(std::io::copy(&mut server, &mut client));
                drop(client.shutdown(Shutdown::Both));
            });
        }
    });
    endpoint
}

#[test]
fn an_object_without_end_is_not_read_to_its_end() {
    let Some(s3) = S3::honest("packs") else { return };
    let endpoint = bent(&s3.endpoint, |first, client| {
        if !(first.starts_with("GET") && first.contains("part=0000")
            || first.contains("part%3D0000") && first.starts_with("GET"))
        {
            return false;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\netag: \"x\"\r\n\
            last-modified: Mon, 02 Mar 2026 00:00:00 GMT\r\nconnection: close\r\n\r\n";
        drop(client.write_all(head.as_bytes()));
        // A thousand bytes every 50 ms: never silent.
        while client.write_all(&[0; 1_000]).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    });
    let mut h = Home::new().bucket("offsite", &endpoint, ShipMode::Plain);
    let id = h.full(2, &files(1, 2_000, 10));
    let there = pack_at(&below(&s3), &id).join("data/equities_bars/part=0000/data.parquet");
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::write(there, noise(2_000, 10)).unwrap();
    let done = within(&mut h, &id, Duration::from_secs(40));
    assert!(done.is_some(), "2 kB were to be compared, and after 40 s it still reads");
}

#[test]
fn a_listing_without_end_is_given_up() {
    let Some(s3) = S3::honest("packs") else { return };
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let endpoint = bent(&s3.endpoint, move |first, client| {
        if !first.contains("list-type=2") {
            return false;
        }
        let n = count.fetch_add(1_000, Ordering::SeqCst);
        let key = |i: usize| {
            format!(
                "<Contents><Key>home/exports/datanode/export_x/{:09}</Key><Size>1</Size><ETag>x</ETag>\
                 <LastModified>2026-03-02T00:00:00.000Z</LastModified></Contents>",
                n + i
            )
        };
        let keys: String = (0..1_000).map(key).collect();
        let more = n < 1_000_000;
        let body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>{more}</IsTruncated>{}{keys}</ListBucketResult>",
            if more { format!("<NextContinuationToken>{n}</NextContinuationToken>") } else { String::new() }
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        drop(client.write_all(head.as_bytes()).and_then(|()| client.write_all(body.as_bytes())));
        true
    });
    let mut h = Home::new().bucket("offsite", &endpoint, ShipMode::Plain);
    let id = h.full(2, &files(1, 2_000, 10));
    let done = within(&mut h, &id, Duration::from_secs(120));
    let n = served.load(Ordering::SeqCst);
    assert!(n < 1_000_000, "{n} keys of a pack of 3 objects were taken into memory; then: {}", done.is_some());
}

#[test]
fn a_large_object_that_another_put_there_after_the_listing_is_not_overwritten() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain).with("offsite", |d| d.parallel = 1);
    let mut day = files(1, 2_000, 10);
    day.insert("equities_bars/part=0005/data.parquet".into(), noise(65 << 20, 3));
    let id = h.full(2, &day);
    let big = pack_at(&below(&s3), &id).join("data/equities_bars/part=0005/data.parquet");
    let other = big.clone();
    proxy.rule(move |a| {
        if a.method == "PUT" && a.path.contains("0000/data.parquet") && !other.exists() {
            std::fs::create_dir_all(other.parent().unwrap()).unwrap();
            std::fs::write(&other, "another's object").unwrap();
        }
        Act::Pass
    });
    let done = h.ship(&id);
    assert_eq!(std::fs::metadata(&big).unwrap().len(), 16, "another's object was overwritten: {done:?}");
}

#[test]
fn a_reload_during_the_probe_of_an_honest_bucket_does_not_make_a_lying_one_trusted() {
    let (Some(s3), Some(lying)) = (S3::honest("packs"), S3::lying("packs")) else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    let first = h.full(2, &files(1, 2_000, 10));
    let ((begun, is_begun), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
    let mut waited = false;
    proxy.rule(move |a| {
        if a.path.contains("probe") && !waited {
            waited = true;
            begun.send(()).unwrap();
            may_go.recv().unwrap();
        }
        Act::Pass
    });
    let (node, id) = (h.node(), first.clone());
    let shipping = std::thread::spawn(move || datanode_actors::ship::ship(&node, &id).map_err(|e| e.to_string()));
    is_begun.recv().unwrap();
    h.settings.ship.destinations.get_mut("offsite").unwrap().endpoint = lying.endpoint.clone();
    h.redirect();
    go.send(()).unwrap();
    shipping.join().unwrap().unwrap();
    let second = h.full(3, &files(1, 2_000, 20));
    let done = h.ship(&second);
    assert!(matches!(&done, Err(e) if e.to_string().contains("does not keep its word")), "{done:?}");
}

// ---- several destinations ----

#[test]
fn two_destinations_in_one_folder_are_refused_or_both_get_what_they_should() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    std::fs::create_dir(&root).unwrap();
    let h = Home::new().folder("plain", &root, ShipMode::Plain).folder("sealed", &root, ShipMode::Sealed);
    let why = refused(&h);
    assert!(why.contains("ship.destinations.sealed.url") && why.contains("mode = \"both\""), "{why}");
}

#[test]
fn two_destinations_that_share_a_folder_never_write_into_each_others_files() {
    // By whatever name it is called, and whether it is there or not.
    let nas = tempfile::tempdir().unwrap();
    let (root, link) = (nas.path().join("packs"), nas.path().join("link"));
    std::os::unix::fs::symlink(nas.path(), &link).unwrap();
    for other in [link.join("packs"), root.join("deeper"), nas.path().to_owned()] {
        let h = Home::new().folder("one", &root, ShipMode::Plain).folder("two", &other, ShipMode::Plain);
        refused(&h);
    }
    let of = |one: &str, two: &str| {
        let h = Home::new().bucket("one", "http://127.0.0.1:1", ShipMode::Plain);
        let h = h.bucket("two", "http://127.0.0.1:1/", ShipMode::Plain);
        let h = h.with("one", |d| d.url = one.into()).with("two", |d| d.url = two.into());
        wiring::destinations(&h.settings).is_err()
    };
    assert!(of("s3://packs/home", "s3://packs/home/") && of("s3://packs", "s3://packs/home"));
    assert!(!of("s3://packs/home", "s3://packs/home2") && !of("s3://packs/home", "s3://others/home"));
    let h =
        Home::new().folder("one", &root, ShipMode::Plain).folder("two", &nas.path().join("packs2"), ShipMode::Plain);
    assert!(wiring::destinations(&h.settings).is_ok());
}

/// Two nodes in containers have the same process number; two homes in this process have, too.
#[test]
fn two_nodes_with_one_process_number_never_write_into_each_others_files() {
    let (mut failed, mut wrong) = (Vec::new(), Vec::new());
    for round in 0..12u64 {
        let nas = tempfile::tempdir().unwrap();
        let root = nas.path().join("packs");
        std::fs::create_dir(&root).unwrap();
        let mut homes: Vec<(Home, String)> = Vec::new();
        for n in 0..2u64 {
            let mut h = Home::new().folder("nas", &root, ShipMode::Plain).with("nas", |d| d.parallel = 8);
            let id = h.full(2 + u32::try_from(n).unwrap() * 4, &files(1, 1_000, 1_000 * round));
            h.ship(&id).unwrap();
            let id = h.full(3 + u32::try_from(n).unwrap() * 4, &files(300, 20_000, 100_000 * (n + 1) + 1_000 * round));
            homes.push((h, id));
        }
        let gate = std::sync::Barrier::new(2);
        std::thread::scope(|s| {
            let all: Vec<_> = homes
                .iter_mut()
                .map(|(h, id)| {
                    let (node, id, gate) = (h.node(), id.clone(), &gate);
                    s.spawn(move || {
                        gate.wait();
                        datanode_actors::ship::ship(&node, &id).map_err(|e| e.to_string())
                    })
                })
                .collect();
            failed.extend(all.into_iter().filter_map(|t| t.join().unwrap().err()));
        });
        for (h, id) in &homes {
            let there = pack_at(&root, id);
            for f in tree(&there).into_keys().filter(|f| f.starts_with("data/")) {
                if std::fs::read(there.join(&f)).unwrap() != std::fs::read(h.pack_folder(id).join(&f)).unwrap() {
                    let committed = there.join("manifest.json").is_file();
                    wrong.push(format!("round {round}: {id}/{f} has other bytes; committed: {committed}"));
                }
            }
        }
    }
    let first = failed.first();
    assert!(
        wrong.is_empty() && failed.is_empty(),
        "{} wrong: {wrong:?}; {} failed: {first:?}",
        wrong.len(),
        failed.len()
    );
}

#[test]
fn a_stop_is_heard_while_the_cap_is_waited_for() {
    let Some(s3) = S3::honest("packs") else { return };
    let mut h = Home::new().bucket("slow", &s3.endpoint, ShipMode::Plain).with("slow", |d| d.kib_per_second = 1);
    let id = h.full(2, &files(3, 100_000, 3));
    let (node, (tx, rx)) = (h.node(), mpsc::channel());
    let shipping = node.clone();
    std::thread::spawn(move || drop(tx.send(datanode_actors::ship::ship(&shipping, &id))));
    let there = below(&s3).join("exports");
    let until = Instant::now() + Duration::from_secs(30);
    while !there.exists() && Instant::now() < until {
        std::thread::yield_now();
    }
    node.stop();
    assert!(rx.recv_timeout(Duration::from_secs(40)).is_ok(), "40 s after it was asked to stop it still ships");
}

#[test]
fn of_four_destinations_none_waits_for_another() {
    let Some(s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    proxy.rule(|_| Act::Silence);
    let nas = tempfile::tempdir().unwrap();
    let at = |n: &str| nas.path().join(n);
    let mut h = Home::new().bucket("a", &proxy.endpoint, ShipMode::Plain);
    for n in ["b", "c", "d"] {
        h = h.folder(n, &at(n), ShipMode::Plain);
    }
    let id = h.full(2, &files(2, 1_000, 1));
    drop(within(&mut h, &id, Duration::from_secs(20)));
    assert!(pack_at(&at("c"), &id).join("manifest.json").is_file());
    assert!(pack_at(&at("d"), &id).join("manifest.json").is_file(), "after 20 s `d` waits for `a`, which is dead");
}

#[test]
fn a_folder_that_is_mounted_elsewhere_is_still_the_same_packs() {
    let nas = tempfile::tempdir().unwrap();
    let (one, two) = (nas.path().join("one"), nas.path().join("two"));
    let mut h = Home::new().folder("nas", &one, ShipMode::Plain);
    let id = h.full(2, &files(2, 1_000, 1));
    h.ship(&id).unwrap();
    std::fs::rename(&one, &two).unwrap();
    h.settings.ship.destinations.clear();
    h = h.folder("nas2", &two, ShipMode::Plain);
    h.redirect();
    let again = h.ship(&id);
    assert!(again.is_ok(), "{}", again.unwrap_err());
}

#[test]
fn retention_in_a_folder_deletes_nothing_behind_a_link() {
    let nas = tempfile::tempdir().unwrap();
    let (root, mine) = (nas.path().join("packs"), nas.path().join("mine"));
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("thesis.txt"), "years of work").unwrap();
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain).with("nas", |d| d.keep_packs = 1);
    let first = h.full(2, &files(2, 2_000, 10));
    h.ship(&first).unwrap();
    std::os::unix::fs::symlink(&mine, pack_at(&root, &first).join("used-by")).unwrap();
    let second = h.full(3, &files(2, 2_000, 20));
    h.ship(&second).unwrap();
    drop(retain(&h.node(), &second));
    assert!(mine.join("thesis.txt").is_file(), "a file outside of the destination was deleted");
}

#[test]
fn the_rules_of_one_destination_remove_nothing_that_another_in_the_same_bucket_keeps() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("all", &root, ShipMode::Plain);
    h.settings.ship.folder = root.clone();
    refused(&h);
    h.settings.ship.folder = std::path::PathBuf::new();
    h = h.folder("recent", &root, ShipMode::Plain).with("recent", |d| d.keep_packs = 1);
    refused(&h);
    // The node itself does not start with them.
    let e = wiring::wire(&h.settings, &Clock::frozen("2026-03-05T23:00:00Z".parse().unwrap())).err().unwrap();
    assert_eq!(e.code, Code::Usage);
}

#[test]
fn a_destination_within_the_nodes_own_folder_is_refused_or_loses_no_local_pack() {
    let h = Home::new();
    let data = h.data();
    std::fs::create_dir_all(&data).unwrap();
    let around = h.root.path().to_owned();
    let mut h = h.folder("nas", &data, ShipMode::Plain);
    for place in [data.clone(), data.join("exports"), data.join("new/packs"), around] {
        h = h.with("nas", |d| d.url = place.display().to_string());
        assert!(refused(&h).contains("data_dir"));
    }
    h.settings.ship.destinations.clear();
    h.settings.ship.folder = data.join("packs");
    assert!(refused(&h).contains("ship.folder"));
}

#[test]
fn the_cap_holds_for_folders_too() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Plain).with("nas", |d| d.kib_per_second = 200);
    let id = h.full(2, &files(10, 100_000, 3));
    let began = Instant::now();
    h.ship(&id).unwrap();
    assert!(began.elapsed() > Duration::from_secs(3), "1 MB at 200 KiB a second took {:?}", began.elapsed());
}

#[test]
fn a_damaged_vault_does_not_keep_the_plain_pack_from_its_destination() {
    let nas = tempfile::tempdir().unwrap();
    let root = nas.path().join("packs");
    let mut h = Home::new().folder("nas", &root, ShipMode::Both);
    let id = h.full(2, &files(2, 2_000, 10));
    h.seal(&id);
    std::fs::remove_dir_all(h.data().join("vault/descriptors")).unwrap();
    h.ship(&id).unwrap_err();
    assert!(pack_at(&root, &id).join("manifest.json").is_file(), "only its sealing is damaged");
}

// ---- secrets ----

#[test]
fn no_error_of_a_setting_repeats_a_secret() {
    let of = |url: &str, secret: &str| {
        let mut a = Access { url: url.to_owned(), ..Access::default() };
        *a.secret = secret.to_owned();
        a.open().map(|_| ()).map_err(|e| e.to_string())
    };
    let mut leaks = Vec::new();
    for (url, secret) in [
        ("gs://packs", "\"hush-hush-hush\""),
        (
            "gs://packs",
            "{\"private_key\": \"x\", \"private_key_id\": \"x\", \"client_email\": {\"hush-hush-hush\": 1}}",
        ),
        ("az://packs", "hush-hush-hush!"),
        ("s3://AKIDEXAMPLE:hush/hush-hush@packs", ""),
        ("s3://AKIDEXAMPLE:hush hush-hush@packs/x", ""),
        ("s3://packs?secret=hush-hush-hush", ""),
        ("s3://packs/x#hush-hush-hush", ""),
        ("AKIDEXAMPLE:hush-hush-hush@packs", ""),
    ] {
        let e = of(url, secret);
        // A plain path is said as it was given: it is a folder's name.
        leaks.extend(e.err().filter(|e| e.contains("hush") && !url.starts_with("AKID")));
    }
    assert_eq!(leaks, Vec::<String>::new());
}

// ---- export ----

fn market() -> Sim {
    Sim::seeded(3, 12, "")
}

fn night(n: &Node, day: u32) -> support::Ran {
    let (now, as_of) = (format!("2025-07-{:02}T23:00:00Z", day - 20), format!("2025-06-{day}"));
    n.run(&["nightly", "--json", "--now", &now, "--as-of", &as_of])
}

/// A pack that the state does not know of, as after the state was restored from an older copy.
fn unknown_pack(n: &Node, from: &Path, change: impl FnOnce(&Path)) -> PathBuf {
    let to = from.with_file_name("export_20250101T000000Z_datanode_full");
    copy(from, &to);
    let text = std::fs::read_to_string(to.join("manifest.json")).unwrap();
    let id = from.file_name().unwrap().to_str().unwrap().trim_start_matches("export_").to_owned();
    let text = text.replace(&id, "20250101T000000Z_datanode_full");
    std::fs::remove_file(to.join("manifest.json")).unwrap();
    std::fs::write(to.join("manifest.json"), &text).unwrap();
    let sums = std::fs::read_to_string(to.join("SHA256SUMS.stable.txt")).unwrap();
    let lines = sums.lines().map(|l| match l.split_once("  ") {
        Some((_, "manifest.json")) => {
            format!("{}  manifest.json\n", datanode_schema::files::sha256_hex(text.as_bytes()))
        }
        _ => format!("{l}\n"),
    });
    let lines: String = lines.collect();
    std::fs::remove_file(to.join("SHA256SUMS.stable.txt")).unwrap();
    std::fs::write(to.join("SHA256SUMS.stable.txt"), lines).unwrap();
    verifies(&to);
    change(&to);
    assert!(n.data().is_dir());
    to
}

#[test]
fn an_export_deletes_no_pack_that_it_does_not_know() {
    let sim = market();
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let first = n.pack(&night(&n, 24).exits(0).json());
    // Somebody's note beside the data, and a pack that is still being copied back from a bucket.
    let noted = unknown_pack(&n, &first, |p| std::fs::write(p.join("NOTES.txt"), "used in the paper").unwrap());
    night(&n, 25).exits(0);
    assert!(noted.join("manifest.json").is_file(), "a whole pack with a note in its folder was deleted");
}

#[test]
fn a_night_without_changes_does_not_confirm_a_pack_whose_files_are_gone() {
    let sim = market();
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let first = n.pack(&night(&n, 24).exits(0).json());
    let victim = tree(&first).into_keys().find(|f| f.starts_with("data/equities")).unwrap();
    std::fs::remove_file(first.join(victim)).unwrap();
    let again = n.run(&["nightly", "--json", "--now", "2025-07-05T23:00:00Z", "--as-of", "2025-06-24"]);
    let s = again.exits(0).json();
    verifies(&n.pack(&s));
}

#[test]
fn the_folder_of_a_date_is_the_pack_it_was() {
    let sim = market();
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let first = n.pack(&night(&n, 24).exits(0).json());
    let linked = n.data().join("exports/nightly/2025-06-24");
    assert_eq!(differences(&first, &linked), Vec::<String>::new());
    // A kill between the old folder's going and the new one's coming, and a run that nobody resumes.
    let mut c = n.command(&["nightly", "--now", "2025-07-05T23:00:00Z", "--as-of", "2025-06-25"]);
    let killed = run(c.env("DATANODE_KILL_AT", "export.nightly:1"));
    assert_eq!(killed.code, None, "{}", killed.err);
    night(&n, 26).exits(0);
    for day in [24, 25] {
        let at = n.data().join(format!("exports/nightly/2025-06-{day}"));
        assert!(at.join("manifest.json").is_file(), "exports/nightly/2025-06-{day} is not there");
    }
}

#[test]
fn a_dated_folder_survives_a_kill_in_a_rerun_of_its_session() {
    let sim = market();
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    night(&n, 24).exits(0);
    night(&n, 25).exits(0);
    let at = n.data().join("exports/nightly/2025-06-24");
    assert!(at.join("manifest.json").is_file());
    // The same session again, over what has been collected since; nobody resumes the run.
    let mut c = n.command(&["nightly", "--now", "2025-07-05T23:30:00Z", "--as-of", "2025-06-24"]);
    let killed = run(c.env("DATANODE_KILL_AT", "export.nightly:1"));
    assert_eq!(killed.code, None, "{}", killed.err);
    night(&n, 26).exits(0);
    assert!(at.join("manifest.json").is_file(), "a dated folder that stood for days is gone");
}
