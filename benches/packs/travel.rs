//! Packs on their way: uploaded beside rclone, and what a night that changed one file in a hundred writes, sends and has pulled.

use crate::child::{Measured, measured};
use crate::figure::{Figure, print};
use crate::fill;
use crate::server::{BUCKET, KEY, Relay, SECRET, Server};
use crate::{Fallible, Packs};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file of a folder.
pub struct File {
    inode: u64,
    /// Its length.
    pub bytes: u64,
    /// What it takes on the disk.
    on_disk: u64,
    path: PathBuf,
}

/// Every file below a folder; none where there is no folder.
pub fn files_below(folder: &Path) -> Fallible<Vec<File>> {
    let mut out = Vec::new();
    if !folder.is_dir() {
        return Ok(out);
    }
    for e in std::fs::read_dir(folder)? {
        let path = e?.path();
        let meta = path.symlink_metadata()?;
        if meta.is_dir() {
            out.extend(files_below(&path)?);
        } else {
            out.push(File { inode: meta.ino(), bytes: meta.len(), on_disk: meta.blocks() * 512, path });
        }
    }
    Ok(out)
}

/// The programs beside ours.
pub struct Programs {
    /// s3s-fs.
    pub server: PathBuf,
    /// rclone; None: uploads are not compared.
    pub rclone: Option<PathBuf>,
}

/// Variables of a process.
type Env = Vec<(String, String)>;

fn env(of: &[(&str, &str)]) -> Env {
    of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// A destination of ours.
fn destination(name: &str, endpoint: &str, mode: &str) -> Env {
    let url = format!("s3://{BUCKET}");
    let all = [
        ("URL", url.as_str()),
        ("ENDPOINT", endpoint),
        ("MODE", mode),
        ("KEY", "env:BENCH_KEY"),
        ("SECRET", "env:BENCH_SECRET"),
    ];
    let named = all.map(|(k, v)| (format!("DATANODE__SHIP__DESTINATIONS__{name}__{k}"), v.to_owned()));
    [env(&[("BENCH_KEY", KEY), ("BENCH_SECRET", SECRET)]), named.to_vec()].concat()
}

/// Uploads of one pack, each to a server that was started for it; which of the two begins changes from pair to pair.
pub fn upload(p: &Packs<'_>, programs: &Programs, pack: &Path, night: &str, reps: usize) -> Fallible<()> {
    let Some(rclone) = &programs.rclone else {
        eprintln!("packs: uploads are not compared: no rclone (DATANODE_RCLONE)");
        return Ok(());
    };
    let prefix = format!("exports/bench/{}", pack.file_name().unwrap_or_default().to_string_lossy());
    let bytes: u64 = files_below(pack)?.iter().map(|f| f.bytes).sum();
    let (mut ours, mut theirs, mut stage) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..reps {
        let by_node = |stage: &mut Vec<f64>| -> Fallible<Measured> {
            let server = Server::start(&programs.server, p.dir.join("server"))?;
            let to = destination(&format!("R{i}"), &server.endpoint, "plain");
            let (m, summary) = p.stages("ship", night, &to)?;
            stage.push(summary.pointer("/stages/0/millis").and_then(Value::as_f64).unwrap_or(0.0) / 1e3);
            arrived(&server, &prefix, bytes)?;
            Ok(m)
        };
        let by_rclone = || -> Fallible<Measured> {
            let server = Server::start(&programs.server, p.dir.join("server"))?;
            let to = format!("B:{BUCKET}/{prefix}");
            let words = ["copy", "--checksum", "--transfers", "4", "--config", "/dev/null", "--s3-no-check-bucket"];
            let args = words.iter().map(OsString::from).chain([pack.into(), to.into()]).collect::<Vec<_>>();
            let remote = [
                ("RCLONE_CONFIG_B_TYPE", "s3"),
                ("RCLONE_CONFIG_B_PROVIDER", "Other"),
                ("RCLONE_CONFIG_B_ENDPOINT", &server.endpoint),
                ("RCLONE_CONFIG_B_ACCESS_KEY_ID", KEY),
                ("RCLONE_CONFIG_B_SECRET_ACCESS_KEY", SECRET),
                ("RCLONE_CONFIG_B_FORCE_PATH_STYLE", "true"),
                ("DATANODE_BENCH_NATIVE", "1"),
            ];
            let m = measured(rclone, &args, &env(&remote), &p.dir.join("out"))?;
            arrived(&server, &prefix, bytes)?;
            Ok(m)
        };
        if i % 2 == 0 {
            ours.push(by_node(&mut stage)?);
            theirs.push(by_rclone()?);
        } else {
            theirs.push(by_rclone()?);
            ours.push(by_node(&mut stage)?);
        }
    }
    let part = format!("packs: ship: {}", p.size);
    let rates = |m: &[f64]| m.iter().map(|s| bytes as f64 / 1e6 / s).collect::<Vec<f64>>();
    let walls = |m: &[Measured]| m.iter().map(|m| m.wall).collect::<Vec<f64>>();
    let cpu = |m: &[Measured]| m.iter().map(|m| m.user + m.sys).collect::<Vec<f64>>();
    let say =
        |what: &str, unit: &str, s: &[f64], note: &str| print(Figure::of(&part, what, unit, s).map(|f| f.note(note)));
    let whole = "nightly --stages ship from start to end: opening the state, the probe, listing, hashing, PUTs, receipts, pointers";
    say("upload, datanode", "MB/s", &rates(&walls(&ours)), whole);
    say("upload, datanode: the stage alone", "MB/s", &rates(&stage), "the same without starting and opening the state");
    say(
        "upload, rclone",
        "MB/s",
        &rates(&walls(&theirs)),
        "rclone copy --checksum --transfers 4 from start to end, of the same folder",
    );
    let ratio: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| b.wall / a.wall).collect();
    say(
        "upload, datanode ÷ rclone",
        "",
        &ratio,
        "pair by pair; above 1: datanode is faster. The server works on the same cores",
    );
    say("upload, CPU, datanode", "s", &cpu(&ours), "");
    say("upload, CPU, rclone", "s", &cpu(&theirs), "");
    let peak = |m: &[Measured]| m.iter().map(|m| m.peak_kib as f64 / 1e3).collect::<Vec<f64>>();
    say("upload, peak memory, datanode", "MB", &peak(&ours), "the whole process");
    say("upload, peak memory, rclone", "MB", &peak(&theirs), "the whole process");
    Ok(())
}

fn arrived(server: &Server, prefix: &str, bytes: u64) -> Fallible<()> {
    let there = server.bytes(prefix)?;
    if there == bytes { Ok(()) } else { Err(format!("{there} of {bytes} bytes are at the server").into()) }
}

/// What a night took.
struct Night {
    id: String,
    /// Bytes on the disk of files that were not there before, in the vault and elsewhere.
    vault: f64,
    elsewhere: f64,
    /// Bytes to the server, of each form.
    plain: f64,
    sealed: f64,
    pulled: Pulled,
}

struct Pulled {
    said: f64,
    counted: f64,
}

/// A full night, then one that changed a hundredth as a full pack, and one as a delta: bytes written, sent and pulled.
pub fn nights(p: &Packs<'_>, programs: &Programs, nights: [&String; 3]) -> Fallible<()> {
    let server = Server::start(&programs.server, p.dir.join("server"))?;
    let (to_plain, to_sealed) = (Relay::before(&server.endpoint)?, Relay::before(&server.endpoint)?);
    let changed = (p.filled.files / 100).max(1);
    let share = 100.0 * changed as f64 / p.filled.files as f64;
    let pulled = p.dir.join("pulled");
    let mut all = Vec::new();
    for (i, night) in nights.into_iter().enumerate() {
        // What was changed counts as written: a night that changes it writes it. The state's own files come and go meanwhile.
        let data = p.dir.join("data");
        let outside = || -> Fallible<Vec<File>> {
            Ok(files_below(&data)?.into_iter().filter(|f| !f.path.starts_with(data.join("state"))).collect())
        };
        let mut met: BTreeSet<u64> = outside()?.iter().map(|f| f.inode).collect();
        fill::change(p.dir, p.filled, if i == 0 { 0 } else { changed }, i as u64)?;
        let scope = env(&[("DATANODE__EXPORT__SCOPE", if i == 2 { "delta" } else { "full" })]);
        let [plain, sealed] = [("PLAIN", "plain", &to_plain), ("SEALED", "sealed", &to_sealed)]
            .map(|(name, mode, relay)| destination(name, &relay.endpoint, mode));
        let (_, summary) = p.stages("export,seal,ship", night, &[scope, plain, sealed].concat())?;
        let id = summary.get("export_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (mut vault, mut elsewhere) = (0.0, 0.0);
        // A file has many names: the curated file, its links in the pack and under the session's date.
        for f in outside()?.iter().filter(|f| met.insert(f.inode)) {
            *(if f.path.starts_with(data.join("vault")) { &mut vault } else { &mut elsewhere }) += f.on_disk as f64;
        }
        let ((plain, _), (sealed, _)) = (to_plain.taken(), to_sealed.taken());
        let got = pull(p, &to_plain, &pulled, &id)?;
        all.push(Night { id, vault, elsewhere, plain, sealed, pulled: got });
    }
    let full = p.filled.bytes as f64;
    let note = format!("{changed} of {} files changed, {share:.2} %", p.filled.files);
    for (n, words) in all.iter().zip(["first, full", "1 %, full", "1 %, delta"]) {
        let wanted = if words.ends_with("delta") { "_delta" } else { "_full" };
        if !n.id.ends_with(wanted) {
            return Err(format!("{} is no {wanted}", n.id).into());
        }
        let ship = |what: &str, bytes: f64, note: &str| {
            let f = Figure::of(
                &format!("packs: ship: {}", p.size),
                &format!("{what} ({words}) ÷ full"),
                "%",
                &[100.0 * bytes / full],
            );
            print(f.map(|f| f.note(note)));
        };
        ship("bytes sent, plain", n.plain, &format!("on the wire, requests with their heads; {note}"));
        ship("bytes sent, sealed", n.sealed, "on the wire, requests with their heads");
        ship(
            "bytes written, without the vault",
            n.elsewhere,
            "du of files that were not there before, the changed curated files among them, state/ left out",
        );
        ship("bytes written, vault", n.vault, "du of files that were not there before");
        let pull = |what: &str, bytes: f64, note: &str| {
            let f = Figure::of(
                &format!("packs: pull: {}", p.size),
                &format!("{what} ({words}) ÷ full"),
                "%",
                &[100.0 * bytes / full],
            );
            print(f.map(|f| f.note(note)));
        };
        pull("bytes pulled, as pack pull says", n.pulled.said, &note);
        pull("bytes pulled, as the server's side counts", n.pulled.counted, "on the wire, answers with their heads");
    }
    Ok(())
}

fn pull(p: &Packs<'_>, relay: &Relay, to: &Path, id: &str) -> Fallible<Pulled> {
    relay.taken();
    let words = [
        "pack",
        "pull",
        "--json",
        "--latest",
        "--endpoint",
        &relay.endpoint,
        "--key",
        "env:BENCH_KEY",
        "--secret",
        "env:BENCH_SECRET",
    ];
    let mut args: Vec<OsString> = words.iter().map(OsString::from).collect();
    args.extend([format!("s3://{BUCKET}/exports/bench").into(), "--to".into(), to.into()]);
    let out = p.dir.join("out");
    measured(p.datanode, &args, &env(&[("BENCH_KEY", KEY), ("BENCH_SECRET", SECRET)]), &out)?;
    let v: Value = serde_json::from_slice(&std::fs::read(&out)?)?;
    if v.get("export_id").and_then(Value::as_str) != Some(id) {
        return Err(format!("{id} was to be pulled, not {v}").into());
    }
    let said = v.get("downloaded_bytes").and_then(Value::as_f64).unwrap_or(f64::NAN);
    Ok(Pulled { said, counted: relay.taken().1 })
}
