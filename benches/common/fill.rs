//! A data folder whose curated files and trees say that a history of minute bars is held and judged.

use datanode_actors::frame::{Bar, Cell, Origin, Row, Table, encode_curated};
use datanode_schema::calendar::{Calendar, new_york_midnight_utc};
use datanode_schema::clock::day_number;
use datanode_schema::files::sha256_of;
use datanode_schema::keys::{Month, PageKey, TouchedKey};
use datanode_schema::names::{Dataset, Stage, Vendor, Verdict};
use datanode_schema::paths::{Cut, DataDir};
use datanode_schema::records::{CuratedFile, LedgerDay, LedgerPage, Print, RunRecord, StageRecord};
use datanode_schema::store::{Batch, Store, StoreOptions};
use datanode_schema::trees::{self, CONTEXTS, COUNTERS, CURATED, LEDGER, RUNS};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const DATASET: Dataset = Dataset::EquitiesBarsMinute;
const SYMBOLS: usize = 500;
/// Minutes of a session.
const MINUTES: i64 = 390;
/// As many drawn sessions are kept, to be used again.
const KEPT: usize = 64;
/// Puts of one commit.
const COMMIT: usize = 4_000;

/// What was made.
pub struct Filled {
    /// Bytes of the curated files.
    pub bytes: u64,
    /// How many they are.
    pub files: usize,
    /// One of them.
    pub sample: PathBuf,
    /// All of them, below `curated/`.
    pub paths: Vec<String>,
    /// The evenings on which a pack can be made.
    pub nights: Vec<String>,
}

/// Makes `dir/data` with so many bytes of curated files. The bars of at most `most` sessions are drawn; the others hold the bytes of one of
/// them but for eight, so that no two files are the same.
pub fn fill(dir: &Path, bytes: u64, nights: usize, most: usize) -> Fallible<Filled> {
    let data = DataDir::new(dir.join("data"));
    std::fs::create_dir_all(data.root())?;
    std::fs::write(dir.join("universe.yaml"), "universe: {}\n")?;
    let last: chrono::NaiveDate = "2025-06-30".parse()?;
    let mut drawn: Vec<Vec<u8>> = Vec::new();
    let mut out = Filled { bytes: 0, files: 0, sample: PathBuf::new(), paths: Vec::new(), nights: Vec::new() };
    let (mut batch, mut months, mut date) = (Batch::new(), BTreeMap::<Month, Vec<i32>>::new(), last);
    let store = Store::open(&data.state(), &trees::all(), &StoreOptions::default())?;
    while out.bytes < bytes {
        if out.files < most {
            let session = session(last, out.files as u64)?;
            // Of those that are never used again nothing is kept.
            drawn.truncate(if most > KEPT { 0 } else { drawn.len() });
            drawn.push(session);
        }
        let Some(file) = drawn.get(out.files % drawn.len().max(1)) else { break };
        let path = DataDir::curated_file(DATASET, Cut::Day, date);
        out.sample = data.curated().join(&path);
        std::fs::create_dir_all(out.sample.parent().unwrap_or(dir))?;
        std::fs::write(&out.sample, stamped(file, out.files as u64))?;
        let file = &std::fs::read(&out.sample)?;
        let day = day_number(date);
        let record = CuratedFile {
            sha256: sha256_of(file),
            bytes: file.len() as u64,
            rows: SYMBOLS as u64 * MINUTES as u64,
            from: day,
            to: day,
            superseded: 0,
            conflicts: 0,
            updated_at: 1,
        };
        batch.put(&CURATED, &TouchedKey { dataset: DATASET, path: path.clone() }, &record)?;
        out.paths.push(path);
        months.entry(Month::of(date)).or_default().push(day);
        out.bytes += file.len() as u64;
        out.files += 1;
        date = Calendar::Xnys.previous(date).ok_or("the calendar ends")?;
    }
    judged(&store, batch, &months)?;
    let mut batch = Batch::new();
    let done = [Stage::Ingest, Stage::Audit, Stage::Backfill];
    let stages: Vec<StageRecord> =
        done.iter().map(|s| StageRecord { stage: s.number(), millis: 0, counters: "{}".into() }).collect();
    let mut night = last;
    for _ in 0..nights {
        night = Calendar::Xnys.next(night).ok_or("the calendar ends")?;
        let run = RunRecord {
            as_of: day_number(night),
            started_at: 1,
            finished_at: 1,
            stages: stages.clone(),
            export_id: String::new(),
            error: String::new(),
            attempts: 1,
            window: [0, 0],
            only: Vec::new(),
        };
        batch.put(&RUNS, &format!("{}T000000Z", night.format("%Y%m%d")), &run)?;
        out.nights.push(night.to_string());
    }
    // The status of the partitions is written by the first pack.
    batch.put(&COUNTERS, &"status_dirty".to_owned(), &1)?.put(&CONTEXTS, &7, &"{}".to_owned())?;
    store.commit(batch)?;
    store.close()?;
    Ok(out)
}

/// Other bytes in place of `n` of the curated files, as curate would leave them; `turn` says which others.
pub fn change(dir: &Path, filled: &Filled, n: usize, turn: u64) -> Fallible<()> {
    let data = DataDir::new(dir.join("data"));
    let store = Store::open(&data.state(), &trees::all(), &StoreOptions::default())?;
    let mut batch = Batch::new();
    let fresh = session("2025-06-30".parse()?, 1_000 + turn)?;
    for (i, path) in filled.paths.iter().take(n).enumerate() {
        let key = TouchedKey { dataset: DATASET, path: path.clone() };
        let Some(old) = store.load(&CURATED, &key)? else { continue };
        let file = stamped(&fresh, turn << 32 | i as u64);
        // Another file under the name: packs hold links of the old one.
        datanode_schema::files::replace(&data.curated().join(path), &file)?;
        let sha256 = sha256_of(&file);
        batch.put(&CURATED, &key, &CuratedFile { sha256, bytes: file.len() as u64, ..old })?;
    }
    if !batch.is_empty() {
        store.commit(batch)?;
    }
    Ok(store.close()?)
}

/// The same bytes but for eight in the middle, where values are: nobody here reads them as a table.
fn stamped(file: &[u8], number: u64) -> Vec<u8> {
    let mut out = file.to_vec();
    let middle = out.len() / 2;
    if let Some(eight) = out.get_mut(middle..middle + 8) {
        eight.copy_from_slice(&random(number, 77).to_le_bytes());
    }
    out
}

fn judged(store: &Store, first: Batch, months: &BTreeMap<Month, Vec<i32>>) -> Fallible<()> {
    let mut batch = first;
    for i in 0..SYMBOLS {
        for (month, days) in months {
            let mut days: Vec<LedgerDay> = days.iter().map(|d| day(*d, i)).collect();
            days.sort_by_key(|d| d.day);
            let key = PageKey { dataset: DATASET, symbol: symbol(i), month: *month };
            batch.put(&LEDGER, &key, &LedgerPage::pack(month.first_day(), &days))?;
            if batch.len() >= COMMIT {
                store.commit(std::mem::take(&mut batch))?;
            }
        }
    }
    store.commit(batch)?;
    Ok(())
}

fn day(day: i32, symbol: usize) -> LedgerDay {
    let mut digest = [0u8; 16];
    digest[..8].copy_from_slice(&random(day.unsigned_abs().into(), symbol as u64).to_le_bytes());
    LedgerDay {
        day,
        verdict: Verdict::Green.number(),
        reasons: 0,
        expected: 390,
        rows: 390,
        vendor: Vendor::Alpaca.number(),
        context: 7,
        first_seen: 1,
        updated_at: 1,
        print: Print { digest, open: 100.0, close: 101.0, volume: 1000.0 },
    }
}

fn symbol(i: usize) -> String {
    format!("S{i:04}")
}

/// A session of every symbol, as curate writes it: prices walk at random by cents.
fn session(date: chrono::NaiveDate, seed: u64) -> Fallible<Vec<u8>> {
    let open = new_york_midnight_utc(date).timestamp_nanos_opt().ok_or("no such day")? + (9 * 60 + 30) * 60_000_000_000;
    let mut tables = Vec::with_capacity(SYMBOLS);
    for s in 0..SYMBOLS {
        let mut table = Table::default();
        let feed = "sip".into();
        let request_id = format!("{:016x}", random(seed, s as u64)).into();
        let origin = table.intern(&Origin { vendor: Vendor::Alpaca, feed, request_id });
        let mut cents = 2_000 + i64::try_from(random(seed, s as u64) % 30_000)?;
        for minute in 0..MINUTES {
            let r = random(seed << 32 | s as u64, minute.unsigned_abs());
            let step = |shift: u32, most: u64| i64::try_from((r >> shift) % most).unwrap_or(0);
            let (first, close) = (cents, (cents + step(0, 41) - 20).max(100));
            cents = close;
            let dollars = |c: i64| c as f64 / 100.0;
            let (high, low) = (first.max(close) + step(8, 12), first.min(close) - step(16, 12));
            let bar = Bar {
                open: dollars(first),
                high: dollars(high),
                low: dollars(low),
                close: dollars(close),
                volume: (100 + step(24, 90_000)) as f64,
                trades: Some(1 + step(40, 900)),
                vwap: Some((dollars(first) + dollars(close)) / 2.0 + step(50, 100) as f64 / 10_000.0),
            };
            table.rows.push(Row { when: open + minute * 60_000_000_000, cell: Cell::Bar(bar), origin });
        }
        tables.push((symbol(s), table));
    }
    let view: Vec<(&str, &Table)> = tables.iter().map(|(s, t)| (s.as_str(), t)).collect();
    Ok(encode_curated("data.parquet", DATASET, &view)?)
}

/// splitmix64 of two numbers.
fn random(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(b.wrapping_mul(0xD1B5_4A32_D192_ED03))
        ^ 0x5851_F42D_4C95_7F2D;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
