//! What a pack costs: making it beside one core's SHA-256, verifying it beside `sha256sum -c`, at growing sizes; uploading it beside
//! rclone; and what of it a night writes, sends and has pulled that changed one file in a hundred.
//!
//! The curated files are Parquet as the node writes it, of minute bars that walk at random; the trees say that they are curated and judged.
//! Both are made here without vendors, since asking for eight gigabytes is not what is measured. The node is started as a person starts it.

#[path = "../common/child.rs"]
mod child;
#[path = "../common/figure.rs"]
mod figure;
#[path = "../common/fill.rs"]
mod fill;
#[path = "../common/night.rs"]
mod night;
mod server;
#[path = "../common/sums.rs"]
mod sums;
mod travel;

use clap::Parser;
use datanode_schema::files::sha256_of;
use figure::{Figure, print};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Sessions whose bars are drawn.
const DRAWN: usize = 4;
/// The nights of packs that are uploaded and pulled.
const TRAVELS: usize = 3;

/// Making, verifying and moving packs.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// Where data folders are made; without it nothing is measured
    #[arg(long)]
    work: Option<PathBuf>,
    /// Packs of each size
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Sizes, in megabytes of curated files
    #[arg(long, value_delimiter = ',', default_value = "200,2000,8000")]
    megabytes: Vec<u64>,
    /// Only up to this size verifying is compared
    #[arg(long, default_value_t = 2000)]
    verify_up_to: u64,
    /// Only up to this size packs are uploaded and pulled
    #[arg(long, default_value_t = 2000)]
    travel_up_to: u64,
    /// s3s-fs; without it nothing is uploaded and pulled [default: $DATANODE_S3S_FS]
    #[arg(long)]
    server: Option<PathBuf>,
    /// rclone; without it uploads are not compared [default: $DATANODE_RCLONE]
    #[arg(long)]
    rclone: Option<PathBuf>,
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
        eprintln!("packs: nothing measured without --work DIR; benches/run.sh gives one");
        return Ok(());
    };
    let datanode =
        args.datanode.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_datanode"))).canonicalize()?;
    std::fs::create_dir_all(work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-packs-").tempdir_in(work.canonicalize()?)?;
    let or = |given: &Option<PathBuf>, name: &str| given.clone().or_else(|| std::env::var_os(name).map(PathBuf::from));
    let rclone = or(&args.rclone, "DATANODE_RCLONE");
    let programs = or(&args.server, "DATANODE_S3S_FS").map(|server| travel::Programs { server, rclone });
    if programs.is_none() {
        eprintln!("packs: nothing uploaded and pulled: no s3s-fs (DATANODE_S3S_FS)");
    }
    for megabytes in &args.megabytes {
        let dir = work.path().join(megabytes.to_string());
        let filled = fill::fill(&dir, megabytes * 1_000_000, args.reps.max(1) + 1 + TRAVELS, DRAWN)?;
        let packs = Packs { datanode: &datanode, dir: &dir, filled: &filled, size: in_words(*megabytes) };
        let at = filled.nights.len().saturating_sub(TRAVELS);
        let (nights, travels) = filled.nights.split_at(at);
        let pack = packs.export(nights)?;
        if *megabytes <= args.verify_up_to {
            sums::compare(&datanode, &pack, &dir, &format!("pack of {}", packs.size), filled.bytes)?;
        }
        if let Some(programs) = programs.as_ref().filter(|_| *megabytes <= args.travel_up_to)
            && let (Some(last), [a, b, c]) = (nights.last(), travels)
        {
            travel::upload(&packs, programs, &pack, last, args.reps)?;
            travel::nights(&packs, programs, [a, b, c])?;
        }
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

fn in_words(megabytes: u64) -> String {
    format!("{} GB", megabytes as f64 / 1000.0)
}

struct Packs<'a> {
    datanode: &'a Path,
    dir: &'a Path,
    filled: &'a fill::Filled,
    size: String,
}

impl Packs<'_> {
    /// A pack of each night, each beside the hash rate of that moment; the first, which writes the status of all partitions, is not counted.
    fn export(&self, nights: &[String]) -> Fallible<PathBuf> {
        let (mut rate, mut core, mut ratio, mut peak) = (vec![], vec![], vec![], vec![]);
        let (mut cpu, mut cpu_ratio) = (vec![], vec![]);
        let mut pack = PathBuf::new();
        for (i, night) in nights.iter().enumerate() {
            let before = self.hash_rate()?;
            let (m, summary) = self.stages("export", night, &[])?;
            let after = self.hash_rate()?;
            let id = summary.get("export_id").and_then(Value::as_str).unwrap_or_default();
            pack = self.dir.join("data/exports/bench").join(format!("export_{id}"));
            let millis = summary.pointer("/stages/0/millis").and_then(Value::as_f64).unwrap_or(0.0);
            if i == 0 {
                continue;
            }
            let (of_pack, of_core) =
                (self.filled.bytes as f64 / 1e3 / millis.max(1.0), f64::midpoint(before.0, after.0));
            rate.push(of_pack);
            core.push(of_core);
            ratio.push(of_pack / of_core);
            let by_cpu = self.filled.bytes as f64 / 1e6 / (m.user + m.sys).max(0.001);
            cpu.push(by_cpu);
            cpu_ratio.push(by_cpu / f64::midpoint(before.1, after.1));
            peak.push(m.peak_kib as f64 / 1e3);
        }
        let part = format!("packs: {}", self.size);
        let files = format!(
            "{} files, all read and hashed, in the page cache; time of the stage, two threads",
            self.filled.files
        );
        print(Figure::of(&part, "export + hash", "MB/s", &rate).map(|f| f.note(files)));
        print(
            Figure::of(&part, "one core's SHA-256", "MB/s", &core)
                .map(|f| f.note("the same crate, the same bytes, in memory; before and after each pack")),
        );
        print(Figure::of(&part, "export ÷ one core's SHA-256", "", &ratio));
        print(
            Figure::of(&part, "export + hash", "MB/CPU-s", &cpu)
                .map(|f| f.note("the whole process, opening the state included")),
        );
        let apart = "what a busy machine does not change: both by the CPU-seconds that they used";
        print(Figure::of(&part, "export ÷ one core's SHA-256, by CPU", "", &cpu_ratio).map(|f| f.note(apart)));
        print(Figure::of(&part, "peak memory", "MB", &peak).map(|f| f.note("the whole process")));
        Ok(pack)
    }

    /// Some stages of a night, as a person runs them, with variables beside the usual ones.
    fn stages(&self, stages: &str, as_of: &str, more: &[(String, String)]) -> Fallible<(child::Measured, Value)> {
        night::stages(self.datanode, self.dir, stages, as_of, more)
    }

    /// Megabytes that one thread hashes in a second, and in a CPU-second, of the curated files' own bytes.
    fn hash_rate(&self) -> Fallible<(f64, f64)> {
        let bytes = std::fs::read(&self.filled.sample)?;
        let used = || -> Fallible<f64> {
            let u = getrusage(UsageWho::RUSAGE_SELF)?;
            let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
            Ok(seconds(u.user_time()) + seconds(u.system_time()))
        };
        let (begun, before, mut hashed) = (Instant::now(), used()?, 0usize);
        while begun.elapsed().as_millis() < 300 {
            black_box(sha256_of(black_box(&bytes)));
            hashed += bytes.len();
        }
        let megabytes = hashed as f64 / 1e6;
        Ok((megabytes / begun.elapsed().as_secs_f64(), megabytes / (used()? - before).max(0.001)))
    }
}
