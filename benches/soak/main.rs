//! The appliance for as long as one likes: `datanode run` against vendors that fail as they do, killed now and then, and looked at every
//! few seconds.
//!
//! What it must not do: lose a session, keep one twice, miss a snapshot of an order book while it runs, grow, end by itself. A night
//! is a whole cycle at the minute of every hour; between, it looks for what is new each minute. At the end the node is stopped, one more
//! night takes up what the last kill left, and a script that knows nothing of it compares every row with the market.

#[path = "../common/child.rs"]
mod child;
#[path = "../common/figure.rs"]
mod figure;
mod life;
mod market;
#[path = "../common/simulator.rs"]
mod simulator;

use clap::Parser;
use figure::{Figure, print};
use life::{Life, Sample};
use market::Market;
use serde_json::Value;
use simulator::Simulator;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The heading of the table.
const PART: &str = "soak";

/// The appliance under faults and kills.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// A Python with pyarrow and numpy, for comparing rows. Without it nothing is measured
    #[arg(long)]
    python: Option<PathBuf>,
    /// The folder of fixtures/, for the script and the faults
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))]
    fixtures: PathBuf,
    /// Where the data folder is made
    #[arg(long, default_value = "/var/tmp")]
    work: PathBuf,
    /// How long, in minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// It is killed (SIGKILL) and started again each so many minutes; 0: never
    #[arg(long, default_value_t = 20)]
    kill_minutes: u64,
    /// Symbols with minute bars, of 60 sessions each
    #[arg(long, default_value_t = 50)]
    symbols: usize,
    /// Requests a minute that each vendor takes, so that there is something to do the whole time
    #[arg(long, default_value_t = 3)]
    per_minute: u32,
    /// Seconds from one snapshot of the order books to the next
    #[arg(long, default_value_t = 5)]
    cadence: u32,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Fallible<()> {
    let args = Args::parse();
    let Some(python) = &args.python else {
        eprintln!("soak: nothing measured without --python; benches/run.sh gives one");
        return Ok(());
    };
    let datanode =
        args.datanode.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_datanode"))).canonicalize()?;
    std::fs::create_dir_all(&args.work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-soak-").tempdir_in(args.work.canonicalize()?)?;
    let fixtures = args.fixtures.canonicalize()?;
    let market = Market::make(&datanode, work.path(), args.symbols)?;
    let sim = Simulator::start(&datanode, &market.simulator(&fixtures.join("faults/chaos.yaml")))?;
    let env = market.env(&sim.url(), work.path(), args.per_minute, args.cadence);
    let seen = watch(&args, &datanode, &env, work.path())?;
    tell(&args, &seen);
    let nights = settle(&datanode, &env, work.path())?;
    let rows = std::process::Command::new(python)
        .arg(fixtures.join("check_rows.py"))
        .arg(&market.folder)
        .arg(work.path().join("data"))
        .output()?;
    let rows: Value = serde_json::from_slice(&rows.stdout)
        .map_err(|e| format!("check_rows.py: {e}: {}", String::from_utf8_lossy(&rows.stderr)))?;
    let of = |name: &str| rows.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let note = format!("of {} bars, after {nights} more nights", of("expected"));
    say("bars that are missing", "", of("missing"), note);
    say("bars that are there twice", "", of("twice"), String::new());
    say("bars that the market never had, or with other values", "", of("strange") + of("different"), String::new());
    Ok(())
}

/// What was seen of all lives of the node.
#[derive(Default)]
struct Seen {
    samples: Vec<Sample>,
    kills: u64,
    /// Ends that nobody asked for.
    ended: u64,
    /// Milliseconds from a start to the first answer.
    ready: Vec<f64>,
    expected: f64,
    got: f64,
    cycles: f64,
    packs: f64,
}

fn watch(args: &Args, datanode: &Path, env: &[(String, String)], work: &Path) -> Fallible<Seen> {
    let (begun, whole) = (Instant::now(), Duration::from_secs(args.minutes * 60));
    let mut seen = Seen::default();
    while begun.elapsed() < whole {
        let left = whole.saturating_sub(begun.elapsed());
        let span = if args.kill_minutes == 0 { left } else { left.min(Duration::from_secs(args.kill_minutes * 60)) };
        let mut life = Life::start(datanode, env, work)?;
        seen.ready.push(life.ready_ms);
        let end = Instant::now() + span;
        let mut alive = true;
        while alive && Instant::now() < end {
            std::thread::sleep(Duration::from_secs(5).min(end.saturating_duration_since(Instant::now())));
            match life.sample(begun) {
                Some(sample) => seen.samples.push(sample),
                None => alive = false,
            }
        }
        let counted = life.counted();
        (seen.expected, seen.got) = (seen.expected + counted.expected, seen.got + counted.got);
        if !alive {
            seen.ended += 1;
            eprintln!("soak: the node ended by itself: {}", life.last_words());
        } else if begun.elapsed() < whole {
            life.kill()?;
            seen.kills += 1;
        } else {
            (seen.cycles, seen.packs) = life.runs();
            let stopped = life.stop()?;
            say("from SIGTERM to its end", "ms", stopped, "under load, where a cycle was under way".to_owned());
        }
    }
    Ok(seen)
}

/// Nights until no session is missing, three at most: what a kill left behind is taken up.
fn settle(datanode: &Path, env: &[(String, String)], work: &Path) -> Fallible<u32> {
    for night in 1..=3 {
        let done = child::command(datanode)
            .args(["nightly", "--json", "--stages", "ingest,audit,backfill", "--data-dir"])
            .arg(work.join("data"))
            .envs(env.iter().map(|(k, v)| (k, v)))
            .envs(market::unlimited())
            .output()?;
        let summary: Value = serde_json::from_slice(&done.stdout)
            .map_err(|e| format!("the last night: {e}: {}", String::from_utf8_lossy(&done.stderr)))?;
        let open = summary.pointer("/stages/2/counters/missing").and_then(Value::as_f64).unwrap_or(0.0);
        if open == 0.0 {
            return Ok(night);
        }
    }
    Ok(3)
}

fn tell(args: &Args, seen: &Seen) {
    let hours = args.minutes as f64 / 60.0;
    let count = |n: usize| format!("{n} looks in {hours:.2} h");
    say("killed and started again", "", seen.kills as f64, format!("each {} minutes", args.kill_minutes));
    say("ended by itself", "", seen.ended as f64, String::new());
    say("cycles that are on record", "", seen.cycles, format!("{} packs", seen.packs));
    say("snapshots of order books that were due", "", seen.expected, format!("each {} s", args.cadence));
    say("snapshots that were missed", "", seen.expected - seen.got, "refused, late, or under way at a kill".to_owned());
    print(Figure::of(PART, "from a start to the first answer", "ms", &seen.ready));
    let of = |f: &dyn Fn(&Sample) -> f64| seen.samples.iter().map(f).collect::<Vec<f64>>();
    print(Figure::of(PART, "resident memory", "MB", &of(&|s| s.rss)).map(|f| f.note(count(seen.samples.len()))));
    print(Figure::of(PART, "open files", "", &of(&|s| s.files)));
    // The first half fills caches and takes in what there was; what grows after it, grows.
    let half = seen.samples.len() / 2;
    let late = seen.samples.get(half..).unwrap_or_default();
    say("slope of resident memory", "MB/h", slope(late, &|s| s.rss), "second half".to_owned());
    say("slope of the state's size", "MB/h", slope(late, &|s| s.state), "second half".to_owned());
    say("slope of the data folder's size", "MB/h", slope(late, &|s| s.data), "second half; it collects".to_owned());
    let last = seen.samples.last();
    say("CPU of the last life", "% of a core", last.map_or(0.0, |s| s.cpu), String::new());
}

fn say(what: &str, unit: &str, value: f64, note: String) {
    print(Figure::of(PART, what, unit, &[value]).map(|f| f.note(note)));
}

/// Least squares over the hours of the samples.
fn slope(samples: &[Sample], of: &dyn Fn(&Sample) -> f64) -> f64 {
    let n = samples.len() as f64;
    let mean = |f: &dyn Fn(&Sample) -> f64| samples.iter().map(f).sum::<f64>() / n.max(1.0);
    let (x, y) = (mean(&|s| s.hours), mean(of));
    let both: f64 = samples.iter().map(|s| (s.hours - x) * (of(s) - y)).sum();
    let square: f64 = samples.iter().map(|s| (s.hours - x).powi(2)).sum();
    if square > 0.0 { both / square } else { 0.0 }
}
