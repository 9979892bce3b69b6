//! The whole nightly against simulated vendors on loopback, and the pack that it made against `sha256sum -c`.
//!
//! Every repetition has a fresh data folder. The vendors run in another process without rate limits; the node is started
//! as a person would start it, and what is counted is from before the start of its process to after its end.

#[path = "../common/child.rs"]
mod child;
#[path = "../common/figure.rs"]
mod figure;
#[path = "../common/simulator.rs"]
mod simulator;
#[path = "../common/sums.rs"]
mod sums;
mod verify;

use child::{Measured, measured};
use clap::Parser;
use datanode_schema::registry::{Registry, Sources};
use figure::{Figure, print};
use simulator::Simulator;
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The nightly from start to end, N times, and a second run that finds nothing to do.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// What the vendors have; without it nothing is measured
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where data folders are made
    #[arg(long, default_value = "/var/tmp")]
    work: PathBuf,
    /// Repetitions
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// MiB of the pack that is verified beside the real one
    #[arg(long, default_value_t = 256)]
    pack_mib: usize,
    /// Also ship every pack to a folder, plain and sealed
    #[arg(long)]
    ship: bool,
    /// Count system calls in one more run, under strace
    #[arg(long)]
    strace: bool,
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
    let Some(data) = &args.data else {
        eprintln!("nightly: nothing measured without --data DIR; benches/run.sh gives one");
        return Ok(());
    };
    let data = &data.canonicalize()?;
    let datanode =
        args.datanode.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_datanode"))).canonicalize()?;
    std::fs::create_dir_all(&args.work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-").tempdir_in(args.work.canonicalize()?)?;
    let universe = data.join("universe.yaml");
    let registry = Registry::parse(&Sources::read(None, None, Some(&universe))?)?;
    let as_of = registry.universe.last_day().ok_or("universe.yaml: every window needs an end")?.to_string();
    let bench = Bench { args: &args, datanode, universe, as_of, work: work.path().to_owned() };
    let mut all = Vec::new();
    for i in 0..args.reps.max(1) {
        let sim = simulator(&bench.datanode, data)?;
        all.push(bench.once(&sim, &work.path().join(format!("data-{i}")))?);
    }
    // Nothing is deleted before the end: for seconds after it has freed many inodes, ext4 is slow to hand out new ones.
    tell(&all);
    if args.strace {
        bench.strace(data)?;
    }
    let last = work.path().join(format!("data-{}", args.reps.max(1) - 1));
    verify::verify(&bench.datanode, &last, &bench.work, args.pack_mib)
}

struct Bench<'a> {
    args: &'a Args,
    datanode: PathBuf,
    universe: PathBuf,
    as_of: String,
    work: PathBuf,
}

/// One repetition.
struct Once {
    rows: f64,
    first: Measured,
    sim_cpu: f64,
    requests: f64,
    stages: BTreeMap<(usize, String), f64>,
    second: Measured,
    second_requests: f64,
    second_stages: BTreeMap<(usize, String), f64>,
    data_bytes: f64,
}

impl Bench<'_> {
    fn once(&self, sim: &Simulator, dir: &Path) -> Fallible<Once> {
        let before = sim.cpu();
        let (first, summary) = self.nightly(sim, dir)?;
        let (sim_cpu, requests) = (sim.cpu() - before, sim.requests()?);
        let data_bytes = size_of(dir)? as f64;
        sim.reset()?;
        let (second, second_summary) = self.nightly(sim, dir)?;
        Ok(Once {
            rows: counter(&summary, "ingest", "rows") + counter(&summary, "backfill", "rows"),
            first,
            sim_cpu,
            requests,
            stages: stages(&summary),
            second,
            second_requests: sim.requests()?,
            second_stages: stages(&second_summary),
            data_bytes,
        })
    }

    fn nightly(&self, sim: &Simulator, dir: &Path) -> Fallible<(Measured, serde_json::Value)> {
        let out = self.work.join("summary.json");
        let m = measured(&self.datanode, &self.words(), &self.env(sim, dir)?, &out)?;
        let summary = serde_json::from_slice(&std::fs::read(&out)?)?;
        Ok((m, summary))
    }

    fn words(&self) -> Vec<OsString> {
        ["nightly", "--json", "--as-of", &self.as_of].map(OsString::from).to_vec()
    }

    /// Everything by environment: the defaults, and the three vendors on the simulator's port without limits.
    fn env(&self, sim: &Simulator, dir: &Path) -> Fallible<Vec<(String, String)>> {
        let key = self.work.join("simulator.key");
        std::fs::write(&key, "a".repeat(32))?;
        let key = format!("file:{}", key.display());
        let mut env = vec![
            ("DATANODE__DATA_DIR".to_owned(), dir.display().to_string()),
            ("DATANODE__UNIVERSE".to_owned(), self.universe.display().to_string()),
            ("DATANODE__LOG__LEVEL".to_owned(), "error".to_owned()),
        ];
        for vendor in ["ALPACA", "MASSIVE", "FRED"] {
            let url = sim.url();
            let settings = [("ENABLED", "true"), ("BASE_URL", &url), ("KEY", &key), ("SECRET", &key)];
            let limits = ["PER_SECOND", "PER_MINUTE", "PER_DAY"].map(|l| (l, "0"));
            for (name, value) in settings.into_iter().chain(limits) {
                env.push((format!("DATANODE__VENDORS__{vendor}__{name}"), value.to_owned()));
            }
        }
        if self.args.ship {
            env.push(("DATANODE__SHIP__FOLDER".to_owned(), dir.with_extension("shipped").display().to_string()));
        }
        Ok(env)
    }

    /// One more first run, under strace; its times count for nothing.
    fn strace(&self, data: &Path) -> Fallible<()> {
        let sim = simulator(&self.datanode, data)?;
        let (dir, counts) = (self.work.join("data-strace"), self.work.join("strace.txt"));
        let mut words: Vec<OsString> = ["-f", "-c", "-o"].map(OsString::from).to_vec();
        words.extend([counts.clone().into(), self.datanode.clone().into()]);
        words.extend(self.words());
        let mut env = self.env(&sim, &dir)?;
        env.push(("DATANODE_BENCH_NATIVE".to_owned(), "1".to_owned()));
        if let Err(e) = measured(Path::new("strace"), &words, &env, &self.work.join("strace.json")) {
            eprintln!("nightly: system calls not counted: {e}");
            return Ok(());
        }
        let mut calls: Vec<(f64, String)> =
            std::fs::read_to_string(&counts)?.lines().filter_map(line_of_strace).collect();
        calls.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total: f64 = calls.iter().map(|(n, _)| n).sum();
        let most: Vec<String> = calls.iter().take(6).map(|(n, name)| format!("{name} {n}")).collect();
        print(Figure::of("nightly", "system calls", "calls", &[total]).map(|f| f.note(most.join(", "))));
        Ok(())
    }
}

/// `% time, seconds, usecs/call, calls, [errors,] name`.
fn line_of_strace(line: &str) -> Option<(f64, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = words.last().filter(|n| **n != "total" && n.starts_with(|c: char| c.is_ascii_lowercase()))?;
    Some((words.get(3)?.parse().ok()?, (*name).to_owned()))
}

fn simulator(datanode: &Path, data: &Path) -> Fallible<Simulator> {
    Simulator::start(datanode, &["--data".into(), data.into()])
}

fn counter(summary: &serde_json::Value, stage: &str, name: &str) -> f64 {
    let stages = summary.get("stages").and_then(serde_json::Value::as_array).into_iter().flatten();
    let mut found = stages.filter(|s| s.get("stage").and_then(serde_json::Value::as_str) == Some(stage));
    found.next().and_then(|s| s.get("counters")?.get(name)?.as_f64()).unwrap_or(0.0)
}

/// Milliseconds of each stage, in order.
fn stages(summary: &serde_json::Value) -> BTreeMap<(usize, String), f64> {
    let stages = summary.get("stages").and_then(serde_json::Value::as_array).into_iter().flatten();
    let one = |(i, s): (usize, &serde_json::Value)| {
        Some(((i, s.get("stage")?.as_str()?.to_owned()), s.get("millis")?.as_f64()?))
    };
    stages.enumerate().filter_map(one).collect()
}

/// Bytes of the files below a folder, a file with several names counted once.
fn size_of(dir: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let (mut left, mut seen, mut total) = (vec![dir.to_owned()], std::collections::BTreeSet::new(), 0);
    while let Some(d) = left.pop() {
        for e in std::fs::read_dir(d)? {
            let e = e?;
            let m = e.metadata()?;
            if m.is_dir() {
                left.push(e.path());
            } else if seen.insert(m.ino()) {
                total += m.len();
            }
        }
    }
    Ok(total)
}

/// Prints the figures of all repetitions.
fn tell(all: &[Once]) {
    let of = |f: &dyn Fn(&Once) -> f64| all.iter().map(f).collect::<Vec<f64>>();
    let rows = of(&|o| o.rows).first().copied().unwrap_or(0.0);
    let first = |what: &str, unit: &str, f: &dyn Fn(&Once) -> f64, note: String| {
        print(Figure::of("nightly", what, unit, &of(f)).map(|x| x.note(note)));
    };
    first(
        "rows a second, end to end",
        "rows/s",
        &|o| o.rows / o.first.wall,
        format!("{rows} rows; process start included"),
    );
    first("wall", "s", &|o| o.first.wall, String::new());
    first("peak memory", "MB", &|o| o.first.peak_kib as f64 * 1024.0 / 1e6, "resident".to_owned());
    first("CPU, user", "CPU-s", &|o| o.first.user, String::new());
    first("CPU, kernel", "CPU-s", &|o| o.first.sys, String::new());
    first("CPU of a million rows", "CPU-s", &|o| (o.first.user + o.first.sys) * 1e6 / o.rows.max(1.0), String::new());
    first("CPU of the simulator", "CPU-s", &|o| o.sim_cpu, "not the node's; it runs on the same cores".to_owned());
    first("requests", "requests", &|o| o.requests, String::new());
    first("data folder afterwards", "MB", &|o| o.data_bytes / 1e6, "linked files counted once".to_owned());
    let names =
        |f: fn(&Once) -> &BTreeMap<(usize, String), f64>| all.first().map(f).cloned().unwrap_or_default().into_keys();
    let total = |o: &Once| o.stages.values().sum::<f64>().max(1.0);
    for key in names(|o| &o.stages) {
        let ms = |o: &Once| o.stages.get(&key).copied().unwrap_or(0.0);
        let share = Figure::of("", "", "", &of(&|o| 100.0 * ms(o) / total(o))).map_or(0.0, |f| f.value);
        first(&format!("stage {}", key.1), "ms", &ms, format!("{share:.0} % of the stages"));
    }
    let second = |what: &str, unit: &str, f: &dyn Fn(&Once) -> f64, note: &str| {
        print(Figure::of("nothing to do", what, unit, &of(f)).map(|x| x.note(note)));
    };
    second("wall", "s", &|o| o.second.wall, "the same nightly again");
    second("CPU", "CPU-s", &|o| o.second.user + o.second.sys, "");
    second("requests", "requests", &|o| o.second_requests, "as the simulator counted them");
    for key in names(|o| &o.second_stages) {
        let ms = |o: &Once| o.second_stages.get(&key).copied().unwrap_or(0.0);
        if of(&ms).iter().any(|m| *m >= 20.0) {
            second(&format!("stage {}", key.1), "ms", &ms, "");
        }
    }
}
