//! Many vendors, one queue: minute bars of 50 symbols from several vendors into a node, with and without chaos, beside dlt
//! on the same server.
//!
//! Every repetition runs the node and dlt in turn, each in a fresh folder and a process of its own. The server counts the
//! requests; a script that knows neither compares every row with the market.

#[path = "../common/child.rs"]
mod child;
#[path = "../common/figure.rs"]
mod figure;
#[path = "../common/simulator.rs"]
mod simulator;
mod tell;
mod world;

use child::{Measured, measured};
use clap::Parser;
use serde_json::Value;
use simulator::Simulator;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use world::{Scenario, World};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Seconds after which a request is given up in the chaos; by dlt too.
const CHAOS_TIMEOUT: u32 = 2;

/// The node's ingest from several vendors, beside dlt's.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// A Python with pyarrow, and for the peer dlt; benches/peers/setup.sh dlt gives one. Without it nothing is measured
    #[arg(long)]
    python: Option<PathBuf>,
    /// The folder of benches/, for the scripts and the faults file
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches"))]
    benches: PathBuf,
    /// Where data folders are made
    #[arg(long, default_value = "/var/tmp")]
    work: PathBuf,
    /// Repetitions
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Symbols, of 60 sessions each
    #[arg(long, default_value_t = 50)]
    symbols: usize,
    /// The node's vendors
    #[arg(long, value_delimiter = ',', default_value = "alpaca,massive,tiingo,files")]
    vendors: Vec<String>,
    /// Scenarios whose name holds this
    #[arg(long, default_value = "")]
    scenario: String,
    /// The node alone
    #[arg(long)]
    no_peer: bool,
    /// Nightly runs of the node at most, until no session is missing
    #[arg(long, default_value_t = 3)]
    nights: usize,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one run came to.
pub struct Once {
    used: Measured,
    /// What check_rows.py found.
    rows: Value,
    /// What the server counted.
    stats: Value,
    sim_cpu: f64,
    /// Nightly runs, or what a peer failed with.
    note: String,
}

struct Bench<'a> {
    args: &'a Args,
    datanode: PathBuf,
    python: PathBuf,
    scripts: PathBuf,
    work: PathBuf,
    world: World,
}

fn main() -> Fallible<()> {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|w| w == "measure") {
        words.next();
        return child::measure(words);
    }
    let args = Args::parse();
    let Some(python) = &args.python else {
        eprintln!("chaos: nothing measured without --python; benches/run.sh gives one");
        return Ok(());
    };
    let datanode =
        args.datanode.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_datanode"))).canonicalize()?;
    std::fs::create_dir_all(&args.work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-chaos-").tempdir_in(args.work.canonicalize()?)?;
    let scripts = args.benches.canonicalize()?;
    let world = World::make(&datanode, work.path(), args.symbols)?;
    let faults = scripts.parent().unwrap_or(Path::new("/")).join("fixtures/faults/chaos.yaml");
    // Not canonical: the way to a virtual environment's python is what makes it that environment's.
    let python = std::path::absolute(python)?;
    let bench = Bench { args: &args, datanode, python, scripts, work: work.path().to_owned(), world };
    let one = ["alpaca".to_owned()];
    let scenarios = [
        Scenario { name: "one vendor", vendors: &one, faults: None },
        Scenario { name: "all vendors", vendors: &args.vendors, faults: None },
        Scenario { name: "chaos", vendors: &args.vendors, faults: Some(&faults) },
    ];
    for scenario in scenarios.iter().filter(|s| s.name.contains(&args.scenario)) {
        bench.scenario(scenario)?;
    }
    Ok(())
}

impl Bench<'_> {
    /// The node and dlt in turn; a first run of the node, which is not counted, brings the simulator's market into memory.
    fn scenario(&self, scenario: &Scenario<'_>) -> Fallible<()> {
        let sim = Simulator::start(&self.datanode, &self.world.simulator(scenario.faults))?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for rep in 0..=self.args.reps.max(1) {
            let at = |who: &str| self.work.join(format!("{}-{who}-{rep}", scenario.name.replace(' ', "-")));
            let node = self.node(&sim, scenario, &at("node"))?;
            if rep > 0 {
                ours.push(node);
                if !self.args.no_peer {
                    theirs.push(self.dlt(&sim, scenario, &at("dlt"))?);
                }
            }
        }
        tell::tell(scenario.name, &ours, &theirs);
        Ok(())
    }

    /// Nightly runs until no session is missing, each in a process of its own.
    fn node(&self, sim: &Simulator, scenario: &Scenario<'_>, data: &Path) -> Fallible<Once> {
        let words = ["nightly", "--as-of", &self.world.days.1, "--stages", "ingest,audit,backfill", "--json", "--now"];
        let last: chrono::NaiveDate = self.world.days.1.parse()?;
        let (env, out) = (self.world.env(scenario, &sim.url(), data), data.with_extension("json"));
        sim.reset()?;
        let before = sim.cpu();
        let mut all: Option<Measured> = None;
        let mut nights = 0;
        loop {
            nights += 1;
            // Each a day after the one before: a vendor that said "nothing" is believed or asked again on another day.
            let now = format!("{}T02:00:00Z", last + chrono::Days::new(nights as u64));
            let words: Vec<OsString> = words.into_iter().chain([now.as_str()]).map(OsString::from).collect();
            let m = measured(&self.datanode, &words, &env, &out)?;
            all = Some(match all {
                None => m,
                Some(a) => Measured {
                    wall: a.wall + m.wall,
                    user: a.user + m.user,
                    sys: a.sys + m.sys,
                    peak_kib: a.peak_kib.max(m.peak_kib),
                    ok: true,
                },
            });
            let summary: Value = serde_json::from_slice(&std::fs::read(&out)?)?;
            if nights >= self.args.nights || open_sessions(&summary) == 0.0 {
                break;
            }
        }
        let note = format!("{nights} nightly run{}", if nights == 1 { "" } else { "s, a day apart" });
        self.finish(sim, data, all.ok_or("no night")?, before, note)
    }

    fn dlt(&self, sim: &Simulator, scenario: &Scenario<'_>, out: &Path) -> Fallible<Once> {
        std::fs::create_dir_all(out)?;
        let script = self.scripts.join("peers/dlt_minutes.py");
        let mut words: Vec<OsString> = vec![script.into(), sim.url().into(), out.into()];
        words.extend([&self.world.symbols, &self.world.days.0, &self.world.days.1].map(OsString::from));
        if scenario.faults.is_some() {
            words.push(CHAOS_TIMEOUT.to_string().into());
        }
        sim.reset()?;
        let (before, said) = (sim.cpu(), out.with_extension("json"));
        let used = measured(&self.python, &words, &native(), &said)?;
        let said: Value = serde_json::from_slice(&std::fs::read(&said)?)?;
        let failed = said.get("failed").and_then(Value::as_str).map_or_else(String::new, |f| format!("gave up: {f}"));
        self.finish(sim, out, used, before, failed)
    }

    /// Counts and rows, after the measured program has ended.
    fn finish(&self, sim: &Simulator, folder: &Path, used: Measured, cpu: f64, note: String) -> Fallible<Once> {
        let (sim_cpu, stats) = (sim.cpu() - cpu, sim.stats()?);
        let script = self.scripts.parent().unwrap_or(Path::new("/")).join("fixtures/check_rows.py");
        let checked =
            std::process::Command::new(&self.python).arg(script).arg(&self.world.market).arg(folder).output()?;
        let rows = serde_json::from_slice(&checked.stdout)
            .map_err(|e| format!("check_rows.py: {e}: {}", String::from_utf8_lossy(&checked.stderr)))?;
        Ok(Once { used, rows, stats, sim_cpu, note })
    }
}

/// Sessions that the last run left missing or short.
fn open_sessions(summary: &Value) -> f64 {
    let mut stages = summary.get("stages").and_then(Value::as_array).into_iter().flatten();
    let last = stages.rfind(|s| s.get("stage").and_then(Value::as_str) == Some("backfill"));
    let counter = |name: &str| last.and_then(|s| s.get("counters")?.get(name)?.as_f64()).unwrap_or(0.0);
    counter("absent") + counter("short")
}

/// Programs outside of the project run without the runner.
fn native() -> Vec<(String, String)> {
    vec![("DATANODE_BENCH_NATIVE".to_owned(), "1".to_owned())]
}
