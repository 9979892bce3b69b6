//! Does the node know what is missing and what is wrong? Markets of which everything wrong is known, by seed; what the node
//! says of them; and what other programs say of the first night's rows.

#[allow(dead_code, reason = "only how programs are started")]
#[path = "../common/child.rs"]
mod child;
#[path = "../common/figure.rs"]
mod figure;
mod lab;
mod peers;
#[allow(dead_code, reason = "only that it serves a folder")]
#[path = "../common/simulator.rs"]
mod simulator;
mod tell;

use clap::Parser;
use lab::claims::{Claims, Class};
use lab::folder::World;
use lab::plan::{Plan, Size};
use lab::score::{Score, score, wrong};
use lab::{Fallible, held, nights, said};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is missing and wrong: the node's findings against the truth.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// A Python with the peers; benches/peers/setup.sh gaps gives one. Without it the node is measured alone
    #[arg(long)]
    python: Option<PathBuf>,
    /// The folder of benches/, for the peers' scripts
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches"))]
    benches: PathBuf,
    /// Where markets and data folders are made
    #[arg(long, default_value = "/var/tmp")]
    work: PathBuf,
    /// How many markets; seeds 1, 2, 3 …
    #[arg(long)]
    seeds: Option<u64>,
    /// This seed alone
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// The peers look at so many of them [default: all]
    #[arg(long)]
    peer_seeds: Option<u64>,
    /// The small market of the tests
    #[arg(long)]
    small: bool,
    /// Where the table is written, in markdown [default: stderr, in columns]
    #[arg(long)]
    table: Option<PathBuf>,
    /// Keep the folders of the markets that were not judged right
    #[arg(long)]
    keep: bool,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
}

/// Scores by class, a sample a seed.
pub type Scores = BTreeMap<Class, Vec<Score>>;

fn main() -> Fallible<()> {
    let args = Args::parse();
    let seeds = match (args.seed, args.seeds) {
        (Some(seed), _) => seed..=seed,
        (None, Some(n)) => 1..=n,
        (None, None) => {
            eprintln!("truth: nothing measured without --seeds N; benches/run.sh gives it");
            return Ok(());
        }
    };
    let datanode =
        args.datanode.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_datanode"))).canonicalize()?;
    std::fs::create_dir_all(&args.work)?;
    let mut work = tempfile::Builder::new().prefix("datanode-bench-truth-").tempdir_in(args.work.canonicalize()?)?;
    let size = if args.small { Size::SMALL } else { Size::FULL };
    let (mut node, mut others): (Scores, BTreeMap<String, Scores>) = (Scores::new(), BTreeMap::new());
    let mut bad = 0;
    let mut markets = 0;
    for (i, seed) in seeds.enumerate() {
        let root = work.path().join(format!("seed-{seed}"));
        let plan = Plan::draw(seed, size);
        let world = World::write(&plan, &root)?;
        let truth = world.truth(&plan);
        let claims = of_node(&datanode, &world, &truth, &root.join("data"), seed)?;
        let all_right = add(&mut node, &truth, &claims, Class::ALL.iter().copied());
        if !all_right {
            bad += 1;
            let all = Class::ALL.iter().filter(|c| !score(**c, &truth, &claims).perfect());
            all.for_each(|c| eprintln!("seed {seed}: {}", wrong(*c, &truth, &claims)));
        }
        if let Some(python) = args.python.as_deref().filter(|_| args.peer_seeds.is_none_or(|n| (i as u64) < n)) {
            for said in peers::ask(python, &args.benches, &world, &root)? {
                add(others.entry(said.peer).or_default(), &truth, &said.claims, said.classes.into_iter());
            }
        }
        markets += 1;
        if all_right || !args.keep {
            std::fs::remove_dir_all(&root)?;
        }
    }
    if args.keep && bad > 0 {
        work.disable_cleanup(true);
        eprintln!("kept: {}", work.path().display());
    }
    tell::figures(&node, &others);
    let table = tell::table(&node, &others, markets);
    match &args.table {
        Some(path) => std::fs::write(path, table)?,
        None => eprint!("{table}"),
    }
    Ok(())
}

/// What the node claims after all its nights.
fn of_node(datanode: &Path, world: &World, truth: &Claims, data: &Path, seed: u64) -> Fallible<Claims> {
    let nights = nights::run(datanode, world, data).map_err(|e| format!("seed {seed}: {e}"))?;
    let mut claims = said::claims(&nights.first, &nights.last);
    claims.insert(Class::Held, held::held(world, data)?);
    let strange = said::otherwise(&nights.first, &nights.last, truth, world);
    for ((symbol, date), reasons) in strange.iter().take(8) {
        eprintln!("seed {seed}: {symbol} {date}: {}", reasons.join(", "));
    }
    claims.insert(Class::Else, strange.into_keys().collect());
    eprintln!("seed {seed}: {} nights, {} verdicts", nights.count, nights.last.len());
    Ok(claims)
}

/// Adds a sample for each class; whether all of them are perfect.
fn add(to: &mut Scores, truth: &Claims, claims: &Claims, classes: impl Iterator<Item = Class>) -> bool {
    let mut perfect = true;
    for class in classes {
        let s = score(class, truth, claims);
        perfect &= s.perfect();
        to.entry(class).or_default().push(s);
    }
    perfect
}
