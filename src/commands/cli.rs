//! The command line of `datanode`.

use super::global::Global;
use super::{
    alert, anchor, audit, backup, collect_books, config, demo, doctor, init, key, nightly, offload, pack, rebuild,
    retention, run, token, vault,
};
use crate::config::{MAX_LOOKBACK_DAYS, MAX_RUN_MINUTES, MAX_RUN_REQUESTS};
use crate::failure::{Code, Done, Failure, printable};
use chrono::NaiveDate;
use clap::{Parser, Subcommand};
use datanode_schema::names::Stage;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// A market-data node: collects from several vendors, knows exactly which sessions it lacks, judges every partition, and
/// publishes sealed, immutable packs.
#[derive(Parser)]
#[command(name = "datanode", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done · 1 failed · 2 usage or configuration · 3 integrity · 4 contract · \
5 not found · 6 busy (another process holds the data folder)";

#[derive(Subcommand)]
enum Command {
    /// The whole way on a fresh machine: simulator and node, one nightly cycle, pack verified. No network, no key
    Demo {
        /// Keep everything in DIR instead of a temporary folder
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// Seed of the simulated market
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write a commented configuration, registries, a key and a systemd unit into DIR
    Init {
        /// The folder; existing files are not touched
        dir: PathBuf,
    },
    /// The appliance: foreground, nightly on schedule, systemd notify and watchdog, SIGTERM drains
    Run,
    /// One cycle in the foreground, for cron and CI
    Nightly {
        /// The last session considered [default: the last one that can be complete]
        #[arg(long, value_name = "DATE")]
        as_of: Option<NaiveDate>,
        /// First session to ask for
        #[arg(long, value_name = "DATE", requires = "to")]
        from: Option<NaiveDate>,
        /// Last session to ask for
        #[arg(long, value_name = "DATE", requires = "from")]
        to: Option<NaiveDate>,
        /// Only these stages: ingest, audit, backfill, curate, qc, export, seal, ship, retention
        #[arg(long, value_delimiter = ',', value_parser = stage)]
        stages: Vec<Stage>,
        /// Ask vendors for at most so many minutes; 0 = no cap [default: queue.max_run_minutes]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MAX_RUN_MINUTES as i64))]
        max_minutes: Option<u32>,
        /// At most so many requests over all vendors; 0 = no cap [default: queue.max_run_requests]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=MAX_RUN_REQUESTS))]
        max_requests: Option<u64>,
        /// Ask for nothing older than so many days before the last session; 0 = all [default: queue.max_lookback_days]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MAX_LOOKBACK_DAYS as i64))]
        max_lookback_days: Option<u32>,
    },
    /// What is missing: compares what is held with calendar and universe. Asks nobody
    Audit {
        /// Read every raw and curated file again, and compare it with manifests and state; exit 3 where one is gone or altered
        #[arg(long)]
        deep: bool,
    },
    /// Order books of prediction markets, collected in the foreground: until SIGTERM, or as long as is said
    CollectBooks {
        /// Ends after so many seconds
        #[arg(long = "for", value_name = "SECONDS", conflicts_with = "snapshots")]
        seconds: Option<u64>,
        /// Ends after so many ticks of the cadence, each a snapshot or a counted gap
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        snapshots: Option<u64>,
    },
    /// Packs: list, verify, pull, diff, open
    #[command(subcommand)]
    Pack(pack::PackCommand),
    /// Which packs stay, here and at each destination: plan, apply, pin, unpin
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// Closed files of order books, and packs as one file, to another place by rclone; each is verified there before it may go here
    Offload {
        /// Print what would be copied and removed, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// The vault: check, repair, beacon, challenge
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// The anchor log: prove, verify, checkpoint, consistency
    #[command(subcommand)]
    Anchor(anchor::AnchorCommand),
    /// Keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Tokens for the node's own HTTP
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Who is told what is wrong: test
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Backups of what could not be collected again: create, list, verify, restore, prune
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Check configuration, secrets, disk, state, key and packs; each failure names its cause and the next command
    Doctor {
        /// Ask no other machine
        #[arg(long)]
        offline: bool,
    },
    /// What the configuration says: show, check
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make the state again from its journal, after it was found damaged
    Rebuild,
    /// The simulated vendors; `datanode vendorsim --help` tells its options
    #[command(disable_help_flag = true)]
    Vendorsim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Commits for ever and prints what is durable (for power-cut tests)
    #[command(hide = true)]
    PowercutWrite { dir: PathBuf },
    /// Judges a folder that a power cut left (for power-cut tests)
    #[command(hide = true)]
    PowercutVerify {
        dir: PathBuf,
        #[arg(allow_negative_numbers = true)]
        acked: i64,
    },
}

fn stage(s: &str) -> Result<Stage, String> {
    Stage::from_name(s).ok_or_else(|| {
        let nearest = Stage::ALL.iter().min_by_key(|k| strsim::levenshtein(k.name(), s));
        format!("no such stage; did you mean {}?", nearest.map_or("", |n| n.name()))
    })
}

/// Parses the arguments, runs the command, and prints why where it fails.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(c) => c,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
    let done = dispatch(cli);
    crate::telemetry::finish();
    match done {
        Ok(code) => code,
        Err(f) => {
            eprintln!("datanode: {}", printable(&f.message));
            ExitCode::from(f.code as u8)
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let g = &cli.global;
    if let Some(now) = g.now
        && !datanode_schema::calendar::Calendar::Xnys.covers(now.date_naive())
    {
        return Err(Failure::usage(format!("--now {now}: the calendars do not know that year")));
    }
    let done: Done = match cli.command {
        Command::Demo { keep, seed } => demo::demo(g, keep, seed),
        Command::Init { dir } => init::init(&dir),
        Command::Run => run::run(g),
        Command::Nightly { as_of, from, to, stages, max_minutes, max_requests, max_lookback_days } => {
            let caps = nightly::Caps { minutes: max_minutes, requests: max_requests, lookback_days: max_lookback_days };
            nightly::nightly(g, &nightly::Options { as_of, window: from.zip(to), stages, caps })
        }
        Command::Audit { deep } => audit::audit(g, deep),
        Command::CollectBooks { seconds, snapshots } => collect_books::collect_books(g, seconds, snapshots),
        Command::Pack(p) => pack::pack(g, p),
        Command::Retention(r) => retention::retention(g, &r),
        Command::Offload { dry_run } => offload::offload(g, dry_run),
        Command::Vault(v) => vault::vault(g, &v),
        Command::Anchor(a) => anchor::anchor(g, &a),
        Command::Key(k) => key::key(g, &k),
        Command::Token(t) => token::token(g, &t),
        Command::Alert(a) => alert::alert(g, &a),
        Command::Backup(b) => backup::backup(g, b),
        Command::Doctor { offline } => doctor::doctor(g, offline),
        Command::Config(c) => config::config(g, &c),
        Command::Rebuild => rebuild::rebuild(g),
        Command::Vendorsim { args } => {
            let name = OsString::from("datanode vendorsim");
            return Ok(datanode_vendorsim::cli(std::iter::once(name).chain(args)));
        }
        Command::PowercutWrite { dir } => {
            datanode_schema::store::powercut::write(&dir).map(|_| ()).map_err(crate::wiring::of_store)
        }
        Command::PowercutVerify { dir, acked } => {
            datanode_schema::store::powercut::verify(&dir, acked).map_err(Failure::failed)
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
