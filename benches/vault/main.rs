//! What encrypting, checking and opening a pack costs, beside restic and rustic on the same files: by CPU-second, by wall time on two cores,
//! in memory; and what a night writes that changed one file in a hundred.
//!
//! Every program is started as a person starts it, its start and its key derivation included, on the same disk, in turns, with what it reads in the page cache. restic and rustic
//! run as they come (their compression too), without a cache. The node's seal stage is the whole process: state, anchor log and all, only
//! not the nightly reading of a part of the vault, which waits between its reads so as to take a given rate and whose cost is that of checking.

#[path = "../common/child.rs"]
mod child;
#[path = "../common/figure.rs"]
mod figure;
#[path = "../common/fill.rs"]
mod fill;
#[path = "../common/night.rs"]
mod night;

use child::{Measured, measured};
use clap::Parser;
use figure::{Figure, print};
use serde_json::Value;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Where nobody is compared who looks for what was there before, so many sessions are drawn and used again.
const FEW: usize = 8;

/// Sealing alone.
fn no_scrub() -> [(String, String); 1] {
    [("DATANODE__VAULT__SCRUB_DAYS".to_owned(), "0".to_owned())]
}

/// Encrypting, checking and opening.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// Where data folders are made; without it nothing is measured
    #[arg(long)]
    work: Option<PathBuf>,
    /// Repetitions of each
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Sizes, in megabytes of curated files
    #[arg(long, value_delimiter = ',', default_value = "220,2000,8000")]
    megabytes: Vec<u64>,
    /// Only up to this size the others are measured too
    #[arg(long, default_value_t = 2000)]
    peers_up_to: u64,
    /// restic; without it it is left out [default: $DATANODE_RESTIC]
    #[arg(long)]
    restic: Option<PathBuf>,
    /// rustic; without it it is left out [default: $DATANODE_RUSTIC]
    #[arg(long)]
    rustic: Option<PathBuf>,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Fallible<()> {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|w| w == "measure") {
        words.next();
        return child::measure(words);
    }
    let args = Args::parse();
    let Some(work) = &args.work else {
        eprintln!("vault: nothing measured without --work DIR; benches/run.sh gives one");
        return Ok(());
    };
    let datanode =
        args.datanode.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_datanode"))).canonicalize()?;
    std::fs::create_dir_all(work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-vault-").tempdir_in(work.canonicalize()?)?;
    let or = |given: &Option<PathBuf>, name: &str| given.clone().or_else(|| std::env::var_os(name).map(PathBuf::from));
    let peers: Vec<(&str, PathBuf)> =
        [("restic", or(&args.restic, "DATANODE_RESTIC")), ("rustic", or(&args.rustic, "DATANODE_RUSTIC"))]
            .into_iter()
            .filter_map(|(name, p)| p.map(|p| (name, p)))
            .collect();
    for megabytes in &args.megabytes {
        let dir = work.path().join(megabytes.to_string());
        let with = if *megabytes <= args.peers_up_to { peers.as_slice() } else { &[] };
        size(&datanode, &dir, *megabytes, args.reps.max(1), with)?;
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

/// What one program used for one job, over the repetitions.
#[derive(Default)]
struct Job(Vec<Measured>);

impl Job {
    fn rates(&self, bytes: u64, of: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.0.iter().map(|m| bytes as f64 / 1e6 / of(m).max(0.001)).collect()
    }
    fn cpu(m: &Measured) -> f64 {
        m.user + m.sys
    }
    fn peak(&self) -> Vec<f64> {
        self.0.iter().map(|m| m.peak_kib as f64 / 1e3).collect()
    }
}

/// Seal, check and open of one program.
#[derive(Default)]
struct Jobs {
    seal: Job,
    check: Job,
    open: Job,
}

impl Jobs {
    fn each(&self) -> [(&'static str, &Job); 3] {
        [("seal", &self.seal), ("check", &self.check), ("open", &self.open)]
    }
}

fn size(datanode: &Path, dir: &Path, megabytes: u64, reps: usize, peers: &[(&str, PathBuf)]) -> Fallible<()> {
    // Each repetition seals a pack of its own night; two more for the small change.
    let filled = fill::fill(dir, megabytes * 1_000_000, reps + 3, if peers.is_empty() { FEW } else { usize::MAX })?;
    let part = format!("vault: {} GB", megabytes as f64 / 1000.0);
    let mut ours = Jobs::default();
    let mut others: Vec<Jobs> = peers.iter().map(|_| Jobs::default()).collect();
    let mut firsts = Vec::new();
    let mut pack = PathBuf::new();
    for (turn, as_of) in filled.nights.iter().take(reps).enumerate() {
        // Everything anew each time: nothing to borrow from, no object there. Only the log goes on: it never goes back.
        for gone in ["data/vault", "opened"] {
            let _ = std::fs::remove_dir_all(dir.join(gone));
        }
        if turn > 0 {
            forget_sealings(dir)?;
        }
        let (_, summary) = night::stages(datanode, dir, "export", as_of, &[])?;
        let id = summary.get("export_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        pack = dir.join("data/exports/bench").join(format!("export_{id}"));
        warm(&pack)?;
        let (m, summary) = night::stages(datanode, dir, "seal", as_of, &no_scrub())?;
        firsts.push(summary.pointer("/stages/0/millis").and_then(Value::as_f64).unwrap_or(0.0));
        ours.seal.0.push(m);
        let (vault, key, out) = (dir.join("data/vault"), dir.join("data/keys/node.key"), dir.join("out"));
        warm(&vault)?;
        let words: Vec<OsString> = vec!["vault".into(), "check".into(), vault.clone().into(), "--read-data".into()];
        ours.check.0.push(measured(datanode, &words, &[], &out)?);
        let words: Vec<OsString> = vec![
            "pack".into(),
            "open".into(),
            vault.into(),
            "--to".into(),
            dir.join("opened").into(),
            "--key".into(),
            key.into(),
        ];
        ours.open.0.push(measured(datanode, &words, &[], &out)?);
        same_bytes(&pack, &dir.join("opened"))?;
        std::fs::remove_dir_all(dir.join("opened"))?;
        for ((name, program), jobs) in peers.iter().zip(&mut others) {
            peer(name, program, &pack, dir, jobs)?;
        }
    }
    report(&part, &ours, peers, &others, filled.bytes);
    small_change(
        datanode,
        dir,
        &filled,
        filled.nights.get(reps.saturating_sub(1)..).unwrap_or_default(),
        &part,
        &firsts,
    )?;
    drop(pack);
    Ok(())
}

/// The files are in the page cache for whoever comes first: of a pack, of a vault, of a repository.
fn warm(folder: &Path) -> Fallible<()> {
    for path in files(folder)? {
        std::io::copy(&mut std::fs::File::open(path)?, &mut std::io::sink())?;
    }
    Ok(())
}

fn files(folder: &Path) -> Fallible<Vec<PathBuf>> {
    let mut out = Vec::new();
    for e in std::fs::read_dir(folder)? {
        let path = e?.path();
        if path.is_dir() { out.extend(files(&path)?) } else { out.push(path) }
    }
    Ok(out)
}

fn bytes_below(folder: &Path) -> Fallible<u64> {
    Ok(files(folder)?.iter().map(|p| p.metadata().map_or(0, |m| m.len())).sum())
}

fn same_bytes(a: &Path, b: &Path) -> Fallible<()> {
    let done = std::process::Command::new("diff").arg("-rq").arg(a).arg(b).output()?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stdout).into_owned().into()) }
}

/// The packs are there, and nothing says that they were sealed.
fn forget_sealings(dir: &Path) -> Fallible<()> {
    use datanode_schema::records::PackRecord;
    use datanode_schema::store::{Batch, Store, StoreOptions};
    use datanode_schema::trees::{self, CHUNKS, PACKS, SEALINGS};
    let store = Store::open(&dir.join("data/state"), &trees::all(), &StoreOptions::default())?;
    let mut batch = Batch::new();
    for (id, p) in store.load_all(&PACKS, &[])? {
        batch.put(&PACKS, &id, &PackRecord { pack_uid: String::new(), removed_at: 1, ..p })?;
    }
    for (uid, _) in store.load_all(&SEALINGS, &[])? {
        batch.delete(&SEALINGS, &uid);
    }
    for (hash, _) in store.load_all(&CHUNKS, &[])? {
        batch.delete(&CHUNKS, &hash);
    }
    store.commit(batch)?;
    Ok(store.close()?)
}

/// One repository, made, filled, checked, restored and compared.
fn peer(name: &str, program: &Path, pack: &Path, dir: &Path, jobs: &mut Jobs) -> Fallible<()> {
    let (repo, to, out) = (dir.join(name), dir.join("restored"), dir.join("out"));
    let env: Vec<(String, String)> = [
        ("RESTIC_PASSWORD", "bench"),
        ("RUSTIC_PASSWORD", "bench"),
        ("DATANODE_BENCH_NATIVE", "1"),
        ("HOME", &dir.display().to_string()),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .to_vec();
    let run = |words: &[&str]| -> Fallible<Measured> {
        let mut all: Vec<OsString> = vec!["--no-cache".into(), "-r".into(), repo.clone().into()];
        all.extend(words.iter().map(OsString::from));
        measured(program, &all, &env, &out)
    };
    let (pack, target) = (pack.display().to_string(), to.display().to_string());
    run(&["init"])?;
    jobs.seal.0.push(run(&["backup", &pack])?);
    warm(&repo)?;
    jobs.check.0.push(run(&["check", "--read-data"])?);
    let restored = match name {
        "rustic" => run(&["restore", &format!("latest:{pack}"), &target])?,
        _ => run(&["restore", "latest", "--target", &target])?,
    };
    jobs.open.0.push(restored);
    let inside = if name == "rustic" { to.clone() } else { to.join(pack.trim_start_matches('/')) };
    same_bytes(Path::new(&pack), &inside)?;
    std::fs::remove_dir_all(&to)?;
    std::fs::remove_dir_all(&repo)?;
    Ok(())
}

fn report(part: &str, ours: &Jobs, peers: &[(&str, PathBuf)], others: &[Jobs], bytes: u64) {
    for (job, of) in ours.each() {
        let say = |who: &str, j: &Job| {
            print(Figure::of(part, &format!("{job}: {who}"), "MB/CPU-s", &j.rates(bytes, Job::cpu)));
            print(Figure::of(part, &format!("{job}: {who}, wall"), "MB/s", &j.rates(bytes, |m| m.wall)));
            print(Figure::of(part, &format!("{job}: {who}, peak memory"), "MB", &j.peak()));
        };
        say("datanode", of);
        for ((name, _), jobs) in peers.iter().zip(others) {
            let Some((_, theirs)) = jobs.each().into_iter().find(|(j, _)| *j == job) else { continue };
            say(name, theirs);
            let pairs = || of.0.iter().zip(&theirs.0);
            let cpu: Vec<f64> = pairs().map(|(a, b)| Job::cpu(b) / Job::cpu(a).max(0.001)).collect();
            let wall: Vec<f64> = pairs().map(|(a, b)| b.wall / a.wall.max(0.001)).collect();
            print(Figure::of(part, &format!("{job}: datanode ÷ {name}, by CPU"), "", &cpu));
            print(Figure::of(part, &format!("{job}: datanode ÷ {name}, by wall time"), "", &wall));
        }
    }
}

/// Bytes of the parity objects of the night's sealing.
fn parity_of(dir: &Path, summary: &Value) -> Fallible<f64> {
    let uid = summary.pointer("/stages/0/counters/pack_uid").and_then(Value::as_str).ok_or("nothing was sealed")?;
    let text = std::fs::read(dir.join("data/vault/descriptors").join(format!("{uid}.json")))?;
    let descriptor: Value = serde_json::from_slice(&text)?;
    let objects = descriptor.pointer("/parity/objects").and_then(Value::as_array).ok_or("no parity")?;
    Ok(objects.iter().filter_map(|o| o.get("object_len")?.as_f64()).sum())
}

/// A night that changed one file in a hundred, beside the first; and one that changed nothing.
fn small_change(
    datanode: &Path,
    dir: &Path,
    filled: &fill::Filled,
    nights: &[String],
    part: &str,
    firsts: &[f64],
) -> Fallible<()> {
    let first = firsts.iter().copied().fold(f64::MAX, f64::min);
    let changed = (filled.files / 100).max(1);
    let [_, second, ..] = nights else { return Ok(()) };
    fill::change(dir, filled, changed, 1)?;
    let before = bytes_below(&dir.join("data/vault/chunks"))?;
    night::stages(datanode, dir, "export", second, &[])?;
    let (_, summary) = night::stages(datanode, dir, "seal", second, &no_scrub())?;
    let millis = summary.pointer("/stages/0/millis").and_then(Value::as_f64).unwrap_or(0.0);
    let new = bytes_below(&dir.join("data/vault/chunks"))? - before;
    let parity = parity_of(dir, &summary)?;
    let share = changed as f64 / filled.files as f64 * 100.0;
    let say = |what: &str, unit: &str, v: f64, note: String| {
        print(Figure::of(part, what, unit, &[v]).map(|f| f.note(note)));
    };
    let files = format!("{changed} of {} files changed, {share:.2} %", filled.files);
    let of_all = |bytes: f64| bytes / filled.bytes as f64 * 100.0;
    say("second night: new bytes in the vault, without parity", "%", of_all(new as f64 - parity), files);
    say("second night: parity", "%", of_all(parity), "one object for up to twenty new ones".to_owned());
    let note = format!("{millis:.0} ms of {first:.0} ms, the stage's own time");
    say("second night: time of the seal stage, of the first night's", "%", millis / first.max(1.0) * 100.0, note);
    Ok(())
}
