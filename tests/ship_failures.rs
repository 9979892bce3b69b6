//! What goes wrong at destinations: each failure leaves earlier packs as they were and no commit of a half one, says what to do, repeats
//! no secret, and is over when its cause is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use datanode_actors::publishing::ShipMode;
use datanode_schema::trees::{INCIDENTS, SHIPMENTS};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::home::{Home, below, files, pack_at};
use support::proxy::{Act, Asked, Proxy};
use support::s3::{KEY, S3, SECRET_KEY};
use support::{ADMIN, DATANODE, Live, Node, Ran, differences, run, tree};

fn verifies(path: &Path) {
    run(Command::new(DATANODE).args(["pack", "verify"]).arg(path)).exits(0);
}

/// Somebody writes another object in the place of one of a pack; false where the test is skipped.
fn flip(s3: &S3, id: &str, part: &str) -> bool {
    let key = format!("home/exports/datanode/export_{id}/data/equities_bars/{part}/data.parquet");
    let ran = support::python("check_s3.py", &[Path::new("flip"), Path::new(&s3.endpoint), Path::new(&key)]);
    ran.map(|r| r.exits(0)).is_some()
}

fn is_data(a: &Asked) -> bool {
    a.method == "PUT" && a.path.contains("/data/")
}

/// A bucket behind a proxy that has the pack of one night, and a second pack that waits.
struct World {
    s3: S3,
    proxy: Proxy,
    home: Home,
    first: String,
    second: String,
}

impl World {
    fn new() -> Option<Self> {
        let s3 = S3::honest("packs")?;
        let proxy = Proxy::before(&s3.endpoint);
        let mut home = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
        let first = home.full(2, &files(8, 20_000, 1));
        home.ship(&first).unwrap();
        let second = home.full(3, &files(8, 20_000, 100));
        proxy.taken();
        Some(Self { s3, proxy, home, first, second })
    }

    /// The second pack fails under `rule`; what is said.
    fn fails(&mut self, rule: impl FnMut(&Asked) -> Act + Send + 'static) -> String {
        let before = tree(&pack_at(&below(&self.s3), &self.first));
        self.proxy.rule(rule);
        let e = self.home.ship(&self.second).unwrap_err().to_string();
        self.proxy.pass();
        assert_eq!(tree(&pack_at(&below(&self.s3), &self.first)), before, "the earlier pack is as it was");
        assert!(!pack_at(&below(&self.s3), &self.second).join("manifest.json").exists(), "half a pack has no manifest");
        let latest = std::fs::read_to_string(below(&self.s3).join("exports/datanode/latest.pointer")).unwrap();
        assert!(latest.contains(&self.first), "{latest}");
        assert!(!e.contains(SECRET_KEY) && !e.contains("Signature="), "{e}");
        e
    }

    /// The cause is gone: it arrives.
    fn recovers(&mut self) {
        self.home.ship(&self.second).unwrap();
        verifies(&pack_at(&below(&self.s3), &self.second));
        let pack = self.home.pack_folder(&self.second);
        assert_eq!(differences(&pack, &pack_at(&below(&self.s3), &self.second)), Vec::<String>::new());
    }
}

#[test]
fn what_a_bucket_refuses_is_said_with_what_to_do_and_goes_on_when_it_is_mended() {
    for (status, code, says) in [
        (403, "AccessDenied", "datanode-admin ship reload"),
        (400, "ExpiredToken", "datanode-admin ship reload"),
        (403, "RequestTimeTooSkewed", "timedatectl"),
        (404, "NoSuchBucket", "bucket or folder exists"),
    ] {
        let Some(mut w) = World::new() else { return };
        let mut n = 0;
        let e = w.fails(move |a| {
            n += u32::from(is_data(a));
            if is_data(a) && n > 3 { Act::Answer(status, code) } else { Act::Pass }
        });
        assert!(e.contains(code) && e.contains(says) && e.starts_with("offsite: s3://packs/home: put "), "{e}");
        w.proxy.taken();
        w.recovers();
        let again = w.proxy.taken().iter().filter(|a| is_data(a)).count();
        assert!(again <= 5, "{code}: {again} of 8 objects were sent after 3 had arrived");
    }
}

#[test]
fn a_full_and_an_overloaded_bucket_fail_in_bounded_time() {
    for (status, code, says) in [(507, "QuotaExceeded", "make room"), (503, "SlowDown", "the next run goes on")] {
        let Some(mut w) = World::new() else { return };
        let began = Instant::now();
        let e = w.fails(move |a| if is_data(a) { Act::Answer(status, code) } else { Act::Pass });
        assert!(e.contains(code) && e.contains(says), "{e}");
        assert!(began.elapsed() < Duration::from_secs(75), "{code}: {:?}", began.elapsed());
        w.recovers();
    }
}

#[test]
fn a_bucket_that_is_busy_now_and_then_is_waited_for() {
    let Some(mut w) = World::new() else { return };
    let mut n = 0;
    w.proxy.rule(move |_| {
        n += 1;
        if n % 3 == 0 { Act::Answer(503, "SlowDown") } else { Act::Pass }
    });
    w.recovers();
}

#[test]
fn a_silent_and_a_trickling_server_are_given_up() {
    let trickling = std::thread::spawn(|| {
        let mut w = World::new()?;
        let began = Instant::now();
        let e = w.fails(|a| if a.method == "GET" && a.path.contains("list-type") { Act::Trickle } else { Act::Pass });
        Some((e, began.elapsed()))
    });
    let Some(mut w) = World::new() else { return };
    let began = Instant::now();
    let e = w.fails(|a| if is_data(a) { Act::Silence } else { Act::Pass });
    for (e, took) in [(e, began.elapsed())].into_iter().chain(trickling.join().unwrap()) {
        assert!(e.contains("no answer within 6") && took < Duration::from_secs(120), "{took:?}: {e}");
    }
    w.recovers();
}

#[test]
fn a_server_that_dies_in_the_middle_of_an_object_has_it_whole_after_the_next_run() {
    let Some(mut w) = World::new() else { return };
    let pid = w.s3.live().pid();
    let mut cut = false;
    let e = w.fails(move |a| {
        if !cut && is_data(a) {
            cut = true;
            return Act::Cut;
        }
        if cut {
            // It dies with what it has of the object.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.cast_signed()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        Act::Pass
    });
    assert!(e.contains("the next run goes on"), "{e}");
    w.s3 = w.s3.again(KEY, SECRET_KEY);
    w.proxy.turn_to(&w.s3.endpoint);
    w.recovers();
    let prefix = format!("home/exports/datanode/export_{}", w.second);
    let read = support::python("check_s3.py", &[Path::new("sums"), Path::new(&w.s3.endpoint), Path::new(&prefix)]);
    if let Some(r) = read {
        assert_eq!(r.exits(0).out.trim(), "9", "boto3 reads eight files and the manifest as they are listed");
    }
}

#[test]
fn an_object_that_was_changed_before_the_commit_is_an_incident_and_one_that_was_removed_is_sent_again() {
    let Some(mut w) = World::new() else { return };
    let no_manifest =
        |a: &Asked| if a.path.contains("manifest.json") { Act::Answer(403, "AccessDenied") } else { Act::Pass };
    w.fails(no_manifest);
    let there = pack_at(&below(&w.s3), &w.second).join("data/equities_bars");
    std::fs::remove_file(there.join("part=0001/data.parquet")).unwrap();
    let altered = there.join("part=0005/data.parquet");
    if !flip(&w.s3, &w.second, "part=0005") {
        return;
    }
    let bytes = std::fs::read(&altered).unwrap();
    let e = w.fails(|_| Act::Pass);
    assert!(e.contains("part=0005") && e.contains("nothing there is overwritten"), "{e}");
    assert_eq!(std::fs::read(&altered).unwrap(), bytes, "it is left for its owner to look at");
    let open = |w: &mut World| {
        let all = w.home.node().store.load_all(&INCIDENTS, &[]).unwrap();
        all.into_iter().filter(|(_, i)| i.is_open()).map(|(_, i)| (i.artifact, i.note)).collect::<Vec<_>>()
    };
    let incidents = open(&mut w);
    assert!(
        incidents.len() == 1 && incidents[0].0 == w.second && incidents[0].1.contains("part=0005"),
        "{incidents:?}"
    );
    std::fs::remove_file(&altered).unwrap();
    w.proxy.taken();
    w.recovers();
    let sent: Vec<_> = w.proxy.taken().into_iter().filter(is_data).map(|a| a.path).collect();
    assert!(sent.len() <= 2 && sent.iter().any(|p| p.contains("part%3D0005") || p.contains("part=0005")), "{sent:?}");
    assert!(open(&mut w).is_empty(), "an incident ends when the pack is whole");
}

#[test]
fn a_copy_of_an_object_that_was_changed_in_its_pack_is_not_taken() {
    let Some(mut w) = World::new() else { return };
    let third = w.home.full(4, &files(8, 20_000, 1));
    if !flip(&w.s3, &w.first, "part=0003") {
        return;
    }
    let c = w.home.ship(&third).unwrap();
    assert_eq!(c.copied, 7);
    verifies(&pack_at(&below(&w.s3), &third));
}

#[test]
fn what_can_no_longer_be_copied_is_sent() {
    let Some(mut w) = World::new() else { return };
    let third = w.home.full(4, &files(8, 20_000, 1));
    let data = pack_at(&below(&w.s3), &w.first).join("data/equities_bars");
    // Two objects are gone while their receipts are not; of a third one the bucket says so only when it is asked to copy.
    std::fs::remove_file(data.join("part=0001/data.parquet")).unwrap();
    std::fs::remove_dir_all(data.join("part=0006")).unwrap();
    let mut refused = false;
    w.proxy.rule(move |a| {
        if a.is_copy && !std::mem::replace(&mut refused, true) { Act::Answer(404, "NoSuchKey") } else { Act::Pass }
    });
    let c = w.home.ship(&third).unwrap();
    assert_eq!((c.copied, c.shipped), (5, 2));
    verifies(&pack_at(&below(&w.s3), &third));
}

#[test]
fn a_pack_that_rotted_here_is_not_sent() {
    let Some(mut w) = World::new() else { return };
    let file = w.home.pack_folder(&w.second).join("data/equities_bars/part=0002/data.parquet");
    let whole = std::fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    bytes[9] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let e = w.fails(|_| Act::Pass);
    assert!(e.contains("part=0002") && e.contains("datanode pack verify"), "{e}");
    std::fs::write(&file, whole).unwrap();
    w.recovers();
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    // moto: s3s-fs makes the buckets that it is asked for.
    let Some(s3) = S3::moto() else { return };
    let mut h =
        Home::new().bucket("offsite", &s3.endpoint, ShipMode::Plain).with("offsite", |d| d.url = "s3://nowhere".into());
    let id = h.full(2, &files(1, 10, 1));
    let e = h.ship(&id).unwrap_err().to_string();
    assert!(e.contains("s3://nowhere") && e.contains("check the URL"), "{e}");
    assert!(h.node().store.load_all(&SHIPMENTS, &[]).unwrap().is_empty());
}

fn node_at(h: &Home, n: &mut Node) {
    let d = &h.settings.ship.destinations["offsite"];
    n.set("DATANODE__DATA_DIR", h.data().to_str().unwrap());
    n.set("DATANODE__LOG__LEVEL", "debug");
    for (k, v) in [("URL", &d.url), ("ENDPOINT", &d.endpoint), ("KEY", &d.key), ("SECRET", &d.secret)] {
        n.set(&format!("DATANODE__SHIP__DESTINATIONS__OFFSITE__{k}"), v);
    }
    n.set("DATANODE__SHIP__DESTINATIONS__OFFSITE__MODE", "plain");
}

fn ask(n: &Node, args: &[&str]) -> Ran {
    run(&mut n.program(ADMIN, &[&["--json"], args].concat()))
}

/// `ship` once `ready` says so of its only destination.
#[track_caller]
fn status(n: &Node, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let s = ask(n, &["ship"]);
        let d = if s.code == Some(0) { s.json()["destinations"][0].clone() } else { Value::Null };
        if ready(&d) {
            return d;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come: {d}\n{}", s.err);
    }
}

#[test]
fn keys_are_rotated_while_the_node_runs_and_no_output_has_them() {
    let Some(mut s3) = S3::honest("packs") else { return };
    let proxy = Proxy::before(&s3.endpoint);
    let mut h = Home::new().bucket("offsite", &proxy.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(3, 5_000, 1));
    h.close();
    let mut n = Node::new("universe: {}\n", ["--now", "2026-03-05T23:00:00Z", "--as-of", "2026-03-02"]);
    node_at(&h, &mut n);
    let began = n.command(&["run"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let live = Live::of(began);
    let d = status(&n, "the probe", |d| d["safe"] == "yes");
    assert_eq!((&d["waiting"], &d["last"]), (&Value::from(1), &Value::Null));
    // The server takes other keys from now on.
    s3 = s3.again("AKIDROTATED", "another-secret-key-of-the-test");
    proxy.turn_to(&s3.endpoint);
    ask(&n, &["ship", "now"]).exits(0);
    let d = status(&n, "the failure", |d| !d["error"].is_null());
    assert!(d["error"].as_str().unwrap().contains("datanode-admin ship reload"), "{d}");
    std::fs::write(h.root.path().join("key"), "AKIDROTATED\n").unwrap();
    std::fs::write(h.root.path().join("secret"), "").unwrap();
    let refused = ask(&n, &["ship", "reload"]);
    assert_ne!(refused.code, Some(0));
    assert!(format!("{}{}", refused.out, refused.err).contains("ship.destinations.offsite.secret"), "{refused:?}");
    std::fs::write(h.root.path().join("secret"), "another-secret-key-of-the-test\n").unwrap();
    let r = ask(&n, &["ship", "reload"]).exits(0).json();
    assert_eq!(r["changed"], serde_json::json!(["offsite"]));
    status(&n, "the end of the run", |_| ask(&n, &["ship", "now"]).code == Some(0));
    let d = status(&n, "the pack", |d| d["last"] == id.as_str() && d["error"].is_null());
    assert_eq!(d["waiting"], 0);
    verifies(&pack_at(&below(&s3), &id));
    let shown = run(&mut n.program(ADMIN, &["ship"])).exits(0).out;
    live.signal(nix::sys::signal::Signal::SIGTERM);
    let ran = live.wait().exits(0);
    for secret in [SECRET_KEY, "another-secret-key-of-the-test"] {
        assert!(
            !ran.err.contains(secret)
                && !ran.out.contains(secret)
                && !shown.contains(secret)
                && !refused.err.contains(secret)
        );
    }
    assert!(ran.err.contains("shipped") && ran.err.contains("the destinations were reloaded"), "{}", ran.err);
    let doctor = n.run(&["doctor"]);
    assert!(doctor.out.contains("offsite keeps its word"), "{}", doctor.out);
}

#[test]
fn doctor_and_every_start_say_that_a_bucket_lies() {
    let Some(s3) = S3::lying("packs") else { return };
    let mut h = Home::new().bucket("offsite", &s3.endpoint, ShipMode::Plain);
    let id = h.full(2, &files(1, 100, 1));
    h.close();
    let mut n = Node::new("universe: {}\n", ["--now", "2026-03-05T23:00:00Z", "--as-of", "2026-03-02"]);
    node_at(&h, &mut n);
    let d = n.run(&["doctor"]);
    assert!(d.out.contains("does not keep its word: it overwrote"), "{}", d.out);
    n.nightly(&["--stages", "ship"]).exits(1).says(&["does not keep its word", "accept_unsafe_bucket"]);
    n.set("DATANODE__SHIP__DESTINATIONS__OFFSITE__ACCEPT_UNSAFE_BUCKET", "true");
    n.nightly(&["--stages", "ship"]).exits(0).says(&["THE BUCKET IS NOT SAFE"]);
    verifies(&pack_at(&below(&s3), &id));
}
