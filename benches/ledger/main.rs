//! What knowing and judging costs: the audit of a long history from its ledger, the judging of fresh minute bars, and a night that
//! touches one file in a hundred.
//!
//! The audit runs in a process of its own, so that its memory is its own; the rest is the program as a person starts it.

#[path = "../common/child.rs"]
mod child;
#[path = "../common/figure.rs"]
mod figure;
mod history;
#[path = "../common/node.rs"]
mod node;
#[path = "../common/simulator.rs"]
mod simulator;
mod touch;

use child::{Measured, measured};
use clap::Parser;
use figure::{Figure, print};
use serde_json::Value;
use simulator::Simulator;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The audit, QC and a small change, at growing sizes.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// Where data folders are made; without it nothing is measured
    #[arg(long)]
    work: Option<PathBuf>,
    /// Repetitions of each size
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Symbols of the audited history, each with twenty years of sessions
    #[arg(long, value_delimiter = ',', default_value = "1250,2500,5000")]
    symbols: Vec<usize>,
    /// Sessions of fresh minute bars of 50 symbols that are judged
    #[arg(long, value_delimiter = ',', default_value = "15,30,60")]
    sessions: Vec<usize>,
    /// Sessions of minute bars of 20 symbols, of which one in a hundred is touched
    #[arg(long, value_delimiter = ',', default_value = "250,500,1000")]
    touched_of: Vec<usize>,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
    /// One part, in a process of its own: what, symbols, folder
    #[arg(long, hide = true, num_args = 3)]
    child: Option<Vec<String>>,
}

fn main() -> Fallible<()> {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|w| w == "measure") {
        words.next();
        return child::measure(words);
    }
    let args = Args::parse();
    if let Some([part, symbols, dir]) = args.child.as_deref() {
        return history::part(part, symbols.parse()?, Path::new(dir));
    }
    let Some(work) = &args.work else {
        eprintln!("ledger: nothing measured without --work DIR; benches/run.sh gives one");
        return Ok(());
    };
    let datanode =
        args.datanode.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_datanode"))).canonicalize()?;
    std::fs::create_dir_all(work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-ledger-").tempdir_in(work.canonicalize()?)?;
    for symbols in &args.symbols {
        history::measure(&work.path().join(format!("history-{symbols}")), *symbols, args.reps)?;
    }
    for sessions in &args.sessions {
        let market = Market { datanode: &datanode, dir: work.path().join(format!("fresh-{sessions}")), symbols: 50 };
        fresh(&market, *sessions, args.reps)?;
    }
    for sessions in &args.touched_of {
        let market = Market { datanode: &datanode, dir: work.path().join(format!("touched-{sessions}")), symbols: 20 };
        touch::measure(&market, *sessions, args.reps)?;
    }
    Ok(())
}

/// A market of whole sessions of minute bars, and a node that holds it.
struct Market<'a> {
    datanode: &'a Path,
    dir: PathBuf,
    symbols: usize,
}

impl Market<'_> {
    /// Collects `sessions` sessions into raw files.
    fn collect(&self, sessions: usize) -> Fallible<()> {
        std::fs::create_dir_all(&self.dir)?;
        let (symbols, n) = (self.symbols.to_string(), sessions.to_string());
        let mut seeded: Vec<OsString> =
            ["--seed", "7", "--plain", "--symbols", &symbols, "--minute-sessions", &n].map(OsString::from).into();
        if sessions > 60 {
            // The generated window is sixty sessions where nobody says otherwise.
            let from = chrono::NaiveDate::from_ymd_opt(2025, 6, 30).ok_or("no date")?
                - chrono::Duration::days(i64::try_from(sessions * 3 / 2 + 20)?);
            seeded.extend(["--from".into(), from.to_string().into()]);
            seeded.extend(["--to".into(), "2025-06-30".into()]);
        }
        let mut asking = child::command(self.datanode);
        let out = asking.arg("vendorsim").args(&seeded).arg("--print-universe").output()?;
        let text = String::from_utf8(out.stdout)?;
        let at = text.find("  equities_bars_minute:").ok_or("no minute bars in the universe")?;
        let minutes = text.get(at..text.find("  macro_treasury:").unwrap_or(text.len())).unwrap_or_default();
        std::fs::write(self.dir.join("universe.yaml"), format!("universe:\n{minutes}"))?;
        std::fs::write(self.dir.join("key"), "a".repeat(32))?;
        let sim = Simulator::start(self.datanode, &seeded)?;
        self.nightly(&sim.url(), "ingest,audit,backfill", "collect").map(drop)
    }

    /// Runs stages of a night; what it used, and what the stages counted.
    fn nightly(&self, url: &str, stages: &str, name: &str) -> Fallible<(Measured, Value)> {
        let key = format!("file:{}", self.dir.join("key").display());
        let mut env: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: String| env.push((format!("DATANODE__{name}"), value));
        set("DATA_DIR", self.dir.join("data").display().to_string());
        set("UNIVERSE", self.dir.join("universe.yaml").display().to_string());
        set("LOG__LEVEL", "error".into());
        set("VENDORS__ALPACA__ENABLED", "true".into());
        set("VENDORS__ALPACA__BASE_URL", url.into());
        for name in ["KEY", "SECRET"] {
            set(&format!("VENDORS__ALPACA__{name}"), key.clone());
        }
        for name in ["PER_SECOND", "PER_MINUTE", "PER_DAY"] {
            set(&format!("VENDORS__ALPACA__{name}"), "0".into());
        }
        let now = ["--now", "2025-07-01T23:00:00Z", "--as-of", "2025-06-30"];
        let args: Vec<OsString> =
            ["nightly", "--json", "--stages", stages].into_iter().chain(now).map(OsString::from).collect();
        let out = self.dir.join(name);
        let m = measured(self.datanode, &args, &env, &out)?;
        Ok((m, serde_json::from_slice(&std::fs::read(&out)?)?))
    }

    /// A store of the data folder, which nobody else has open.
    fn store(&self) -> Fallible<datanode_schema::store::Store> {
        use datanode_schema::store::{Store, StoreOptions};
        let state = self.dir.join("data/state");
        Ok(Store::open(&state, &datanode_schema::trees::all(), &StoreOptions::default())?)
    }
}

/// Seconds and counters of a stage.
fn stage<'a>(summary: &'a Value, name: &str) -> Fallible<(f64, &'a Value)> {
    let all = summary.get("stages").and_then(Value::as_array).ok_or("no stages")?;
    let of = |s: &&Value| s.get("stage").and_then(Value::as_str) == Some(name);
    let s = all.iter().find(of).ok_or_else(|| format!("no stage {name}"))?;
    let millis = s.get("millis").and_then(Value::as_f64).ok_or("no millis")?;
    Ok((millis / 1e3, s.get("counters").unwrap_or(&Value::Null)))
}

/// QC of bars that nobody has judged yet.
fn fresh(market: &Market<'_>, sessions: usize, reps: usize) -> Fallible<()> {
    market.collect(sessions)?;
    market.nightly("http://127.0.0.1:9", "curate", "curate")?;
    let (mut seconds, mut cpu, mut peak, mut judged) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for rep in 0..=reps.max(1) {
        touch::unjudge(&market.store()?)?;
        let (m, summary) = market.nightly("http://127.0.0.1:9", "qc", "qc")?;
        let (s, counters) = stage(&summary, "qc")?;
        judged = counters.get("judged").and_then(Value::as_f64).unwrap_or(0.0);
        // The first one brings the files into memory.
        if rep > 0 {
            seconds.push(s);
            cpu.push(m.user + m.sys);
            peak.push(m.peak_kib as f64 * 1024.0 / 1e6);
        }
    }
    let bars = judged * 390.0;
    let part = format!("qc: {:.2} million bars", bars / 1e6);
    let note = format!("{bars} bars in {judged} partitions; the stage's own time, two threads");
    print(Figure::of(&part, "judged", "s", &seconds).map(|f| f.note(note)));
    print(Figure::of(&part, "CPU of the process", "s", &cpu).map(|f| f.note("start and opening the state included")));
    print(Figure::of(&part, "peak memory", "MB", &peak));
    Ok(())
}
