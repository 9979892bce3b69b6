//! What looking at a large node costs: time and bytes of each page, of `/metrics` and of reads over the admin socket, at five million
//! ledger days and as many open tasks. The node is the program as a person starts it; nothing is at work beside it.

#[path = "../common/figure.rs"]
mod figure;
#[path = "../common/node.rs"]
mod node;

use clap::Parser;
use datanode_actors::audit::{Scope, audit};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::day_number;
use datanode_schema::keys::{Month, PageKey};
use datanode_schema::names::{Dataset, Reason, Vendor, Verdict};
use datanode_schema::records::{LedgerDay, LedgerPage, Print};
use datanode_schema::store::Batch;
use datanode_schema::trees::LEDGER;
use figure::{Figure, print};
use node::Plan;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn Error>>;

const DAYS: (&str, &str) = ("2005-01-03", "2024-12-31");
/// Puts of one commit.
const COMMIT: usize = 4_000;
/// When it is, for the node: before the nightly cycle.
const NOW: &str = "2025-01-10T00:00:00Z";

/// Pages, metrics and reads of a large node.
#[derive(Parser)]
struct Args {
    /// The program [default: the one that cargo built beside this]
    #[arg(long)]
    datanode: Option<PathBuf>,
    /// Where the data folder is made; without it nothing is measured
    #[arg(long)]
    work: Option<PathBuf>,
    /// How often each is asked for
    #[arg(long, default_value_t = 20)]
    reps: usize,
    /// Symbols, each with twenty years of sessions, about 5,000
    #[arg(long, default_value_t = 1000)]
    symbols: usize,
    /// cargo bench says so; it changes nothing
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Fallible<()> {
    let args = Args::parse();
    let Some(work) = &args.work else {
        eprintln!("page: nothing measured without --work DIR; benches/run.sh gives one");
        return Ok(());
    };
    std::fs::create_dir_all(work)?;
    let work = tempfile::Builder::new().prefix("datanode-bench-page-").tempdir_in(work.canonicalize()?)?;
    let days = fill(work.path(), args.symbols)?;
    let program = match args.datanode {
        Some(p) => p,
        None => std::env::current_exe()?.ancestors().nth(2).ok_or("no folder")?.join("datanode"),
    };
    let begun = Instant::now();
    let (node, address) = started(&program, work.path(), args.symbols)?;
    let part = format!("page: {:.1} million ledger days, as many open tasks", days as f64 / 1e6);
    print(Figure::of(&part, "start to serving", "s", &[begun.elapsed().as_secs_f64()]));
    pages(&part, &address, args.reps)?;
    reads(&part, &work.path().join("admin.sock"), args.reps)?;
    drop(node);
    Ok(())
}

/// Tasks and verdicts of every session; how many verdicts.
fn fill(dir: &Path, symbols: usize) -> Fallible<usize> {
    let plan = Plan { dataset: "equities_bars", symbols, days: DAYS, batch: 250, rows: 1 };
    let (node, run) = (node::open(dir, &plan)?, node::run(&plan)?);
    audit(&node, &run, Scope::Everything)?;
    let mut months: BTreeMap<Month, Vec<i32>> = BTreeMap::new();
    for date in Calendar::Xnys.session_dates(DAYS.0.parse()?, DAYS.1.parse()?) {
        months.entry(Month::of(date)).or_default().push(day_number(date));
    }
    let (mut batch, mut all) = (Batch::new(), 0);
    for i in 0..symbols {
        for (month, days) in &months {
            let key = PageKey { dataset: Dataset::EquitiesBars, symbol: format!("S{i:05}"), month: *month };
            let verdicts: Vec<LedgerDay> = days.iter().map(|d| verdict(i, *d)).collect();
            all += verdicts.len();
            batch.put(&LEDGER, &key, &LedgerPage::pack(month.first_day(), &verdicts))?;
            if batch.len() >= COMMIT {
                node.store.commit(std::mem::take(&mut batch))?;
            }
        }
    }
    node.store.commit(batch)?;
    node.store.clone().close()?;
    Ok(all)
}

/// One in seven has something to know.
fn verdict(symbol: usize, day: i32) -> LedgerDay {
    let odd = (symbol as i64 + i64::from(day)) % 7 == 0;
    LedgerDay {
        day,
        verdict: if odd { Verdict::Amber.number() } else { Verdict::Green.number() },
        reasons: if odd { Reason::THIN_SESSION.bit } else { 0 },
        expected: 1,
        rows: 1,
        vendor: Vendor::Alpaca.number(),
        context: 1,
        first_seen: 1_700_000_000,
        updated_at: 1_700_000_000,
        print: Print { digest: [7; 16], open: 10.0, close: 10.5, volume: 1e6 },
    }
}

/// A node that runs; it ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(program: &Path, dir: &Path, symbols: usize) -> Fallible<(Running, String)> {
    let mut universe = String::from("universe:\n  equities_bars:\n");
    for i in 0..symbols {
        writeln!(universe, "    S{i:05}: [{{from: {}, to: {}}}]", DAYS.0, DAYS.1)?;
    }
    std::fs::write(dir.join("universe.yaml"), universe)?;
    let mut c = Command::new(program);
    c.args(["run", "--now", NOW]).env_clear().current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    c.env("DATANODE__DATA_DIR", dir).env("DATANODE__UNIVERSE", dir.join("universe.yaml"));
    c.env("DATANODE__SERVE__LISTEN", "127.0.0.1:0").env("DATANODE__SERVE__PAGE", "true");
    c.env("DATANODE__LOG__FORMAT", "json").env("DATANODE__SCHEDULE__INGEST_EVERY_MINUTES", "0");
    let mut node = Running(c.stderr(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(node.0.stderr.take().ok_or("no stderr")?).lines();
    let (mut address, mut said) = (None, Vec::new());
    for line in lines.by_ref() {
        let line = line?;
        let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let field = |at: &str| json.pointer(at).and_then(serde_json::Value::as_str).map(str::to_owned);
        if field("/fields/message").as_deref() == Some("serving packs") {
            address = field("/fields/address");
        }
        if field("/fields/message").as_deref() == Some("ready") {
            break;
        }
        said.push(line);
    }
    std::thread::spawn(move || lines.for_each(drop));
    let address = address.ok_or_else(|| format!("the node did not start: {}", said.join("\n")))?;
    Ok((node, address))
}

fn pages(part: &str, address: &str, reps: usize) -> Fallible<()> {
    let month = "/coverage/equities_bars/2024-06";
    let cell = "/cell/equities_bars/S00500/2024-06-03";
    let all = [
        "/",
        "/coverage",
        "/coverage/equities_bars",
        month,
        &format!("{month}?from=S00500"),
        &format!("{month}?wrong=1"),
        cell,
        "/vendors",
        "/runs",
        "/packs",
        "/incidents",
        "/doctor",
        "/metrics",
    ];
    for path in all {
        // The first counts what nobody had asked for yet; it has a figure of its own.
        let (first, bytes) = get(address, path)?;
        let mut ms = Vec::new();
        for _ in 0..reps.max(1) {
            ms.push(get(address, path)?.0);
        }
        print(Figure::of(part, path, "ms", &ms).map(|f| f.note(format!("{bytes} bytes; the first {first:.1} ms"))));
    }
    Ok(())
}

/// Milliseconds, and bytes of the body.
fn get(address: &str, path: &str) -> Fallible<(f64, usize)> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    if head.split_whitespace().nth(1) != Some("200") {
        return Err(format!("{path}: {}", head.lines().next().unwrap_or("")).into());
    }
    Ok((ms, body.len()))
}

fn reads(part: &str, socket: &Path, reps: usize) -> Fallible<()> {
    let mut socket = BufReader::new(UnixStream::connect(socket)?);
    for (cmd, args) in [
        ("status", "{}"),
        ("coverage", r#"{"dataset":"equities_bars"}"#),
        ("qc.explain", r#"{"dataset":"equities_bars","symbol":"S00500","date":"2024-06-03"}"#),
    ] {
        let mut ms = Vec::new();
        for _ in 0..reps.max(1) {
            let begun = Instant::now();
            writeln!(socket.get_mut(), r#"{{"id":1,"cmd":"{cmd}","args":{args}}}"#)?;
            let mut line = String::new();
            socket.read_line(&mut line)?;
            if !line.contains("\"ok\":true") {
                return Err(format!("{cmd}: {line}").into());
            }
            ms.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        print(Figure::of(part, &format!("{cmd} over the socket"), "ms", &ms));
    }
    Ok(())
}
