//! A node of the tests: a store with one of everything in it, behind a socket, at a time that stands still.

use chrono::{DateTime, Utc};
use datanode::admin::{AdminContext, Desk, bind, serve};
use datanode::config::Settings;
use datanode::reload::Reloader;
use datanode::wiring::Wired;
use datanode_actors::anchor::LogKey;
use datanode_actors::node::{NodeParts, RunCaps};
use datanode_actors::publishing::Publishing;
use datanode_actors::seal::Identity;
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::keys::{BookmarkKey, Month, PageKey};
use datanode_schema::names::{Absence, Dataset, Explanation, Outcome, Reason, Stage, Vendor, Verdict};
use datanode_schema::paths::DataDir;
use datanode_schema::records::{
    Answer, Bookmark, BudgetRecord, Demotion, Demotions, GapPage, GapTask, Lease, LedgerDay, LedgerPage, PackRecord,
    Print, RunRecord, Shipment, StageRecord,
};
use datanode_schema::store::{Batch, Store, StoreOptions};
use datanode_schema::trail::Trail;
use datanode_schema::trees;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

const UNIVERSE: &str = "universe:
  equities_bars:
    AAPL: [{from: 2024-01-02}]
    MSFT: [{from: 2024-01-02}]
    BRK.B: [{from: 2024-01-02}]
  equities_bars_minute:
    AAPL: [{from: 2024-01-02}]
  macro_treasury:
    DGS10: [{from: 2024-01-02}]
";
const NOW: &str = "2024-02-01T06:00:00Z";

#[allow(dead_code, reason = "not every test fills it with everything")]
pub enum Filling {
    Empty,
    Full,
    /// Verdicts of so many symbols over so many years, five sessions a week.
    Ledger {
        symbols: u32,
        years: u32,
    },
    /// The same as open tasks, each with a verdict, and a bookmark a symbol; one of everything beside them.
    Tasks {
        symbols: u32,
        years: u32,
    },
}

pub struct Node {
    pub folder: PathBuf,
    _tmp: Arc<tempfile::TempDir>,
    running: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Node {
    pub fn start(filling: Filling) -> Self {
        let tmp = Arc::new(tempfile::tempdir().unwrap());
        let store = open(&tmp);
        match filling {
            Filling::Empty => {}
            Filling::Full => fill(&store),
            Filling::Ledger { symbols, years } => fill_ledger(&store, symbols, years),
            Filling::Tasks { symbols, years } => {
                fill(&store);
                fill_tasks(&store, symbols, years);
            }
        }
        Self::over(tmp, store)
    }

    /// Ends, and begins anew on the same folder.
    pub fn restart(self) -> Self {
        let tmp = self.stop();
        let store = open(&tmp);
        Self::over(tmp, store)
    }

    /// Ends; the folder stands while what is returned does.
    pub fn stop(mut self) -> Arc<tempfile::TempDir> {
        self.end();
        self._tmp.clone()
    }

    fn end(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.send(()).unwrap();
            thread.join().unwrap();
        }
    }

    fn over(tmp: Arc<tempfile::TempDir>, store: Store) -> Self {
        let folder = tmp.path().to_owned();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let path = folder.join("admin.sock");
        let ctx = Arc::new(context(&folder, store));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = bind(&path).unwrap();
                ready.send(()).unwrap();
                serve(listener, ctx, async { stopped.await.unwrap() }).await;
            });
        });
        is_ready.recv().unwrap();
        Self { folder, _tmp: tmp, running: Some((stop, thread)) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

fn open(tmp: &tempfile::TempDir) -> Store {
    let options = StoreOptions { cache_bytes: 4 << 20, free_space_floor: 0, ..StoreOptions::default() };
    Store::open(&tmp.path().join("state"), &trees::all(), &options).unwrap()
}

fn context(folder: &std::path::Path, store: Store) -> AdminContext {
    let universe = folder.join("universe.yaml");
    if !universe.exists() {
        std::fs::write(&universe, UNIVERSE).unwrap();
    }
    let settings = Settings { universe, data_dir: folder.to_owned(), ..Settings::default() };
    let clock = Clock::frozen(NOW.parse().unwrap());
    let actors = Arc::new(datanode_actors::node::Node::new(NodeParts {
        store: store.clone(),
        data: DataDir::new(folder),
        clock: clock.clone(),
        enabled: [Vendor::Alpaca, Vendor::Fred].into(),
        lease_ms: 60_000,
        caps: RunCaps::default(),
        host_id: "test".into(),
        source: "test".into(),
        config_sha256: "0".repeat(64),
        threads: 1,
        publishing: Publishing::for_key(Identity::generate(), LogKey::generate("test").unwrap()),
        registry: datanode::wiring::registry(&settings).unwrap(),
    }));
    let wired = Wired { node: actors.clone(), fetchers: Vec::new() };
    let reloader = Arc::new(Reloader::new(&settings, &wired));
    let live = actors.clone();
    let load = Box::new(move || Ok(settings.clone()));
    let shipping = Arc::new(datanode::shipping::Shipping::new(actors.clone(), load, Box::new(|| false)));
    AdminContext {
        store,
        data: DataDir::new(folder),
        clock,
        registry: Box::new(move || live.registry()),
        enabled: [Vendor::Alpaca, Vendor::Fred].into(),
        started_at: at("2024-01-31T22:30:00Z"),
        version: "9.9.9".into(),
        live: Box::new(|| json!({"busy": false, "next_wake": "2024-02-02T02:00:00Z"})),
        disk_free: Box::new(|| Some(12 << 30)),
        counted: Default::default(),
        maps: Default::default(),
        known: Default::default(),
        desk: Desk { node: actors, reloader, shipping, begin: Arc::new(|_| false) },
        trail: Trail::of(&DataDir::new(folder)),
        set_level: Box::new(|filter| match filter {
            "nonsense" => Err("`nonsense` is no filter: give a level such as debug".to_owned()),
            _ => Ok(()),
        }),
        log_level: Default::default(),
        books: None,
    }
}

fn at(t: &str) -> DateTime<Utc> {
    t.parse().unwrap()
}
fn unix(t: &str) -> i64 {
    at(t).timestamp()
}
fn day(d: &str) -> i32 {
    day_number(d.parse().unwrap())
}
fn page(dataset: Dataset, symbol: &str) -> PageKey {
    PageKey { dataset, symbol: symbol.into(), month: Month::of("2024-01-01".parse().unwrap()) }
}

fn fill(store: &Store) {
    let mut b = Batch::new();
    gaps(&mut b);
    ledger(&mut b);
    vendors(&mut b);
    runs(&mut b);
    packs(&mut b);
    store.commit(b).unwrap();
}

fn fill_ledger(store: &Store, symbols: u32, years: u32) {
    let first = Month::of("2006-01-01".parse().unwrap()).0;
    for s in 0..symbols {
        let mut b = Batch::new();
        for m in (first..first + years * 12).map(Month) {
            let sessions = (m.first_day()..Month(m.0 + 1).first_day()).filter(|d| (d + 3).rem_euclid(7) < 5);
            let days: Vec<LedgerDay> =
                sessions.map(|day| LedgerDay { day, ..verdict("2024-01-10", &[], 1, 1) }).collect();
            let key = PageKey {
                dataset: Dataset::EquitiesBars,
                symbol: format!("{}{s:04}", char::from(b'A' + (s % 26) as u8)),
                month: m,
            };
            b.put(&trees::LEDGER, &key, &LedgerPage::pack(m.first_day(), &days)).unwrap();
        }
        store.commit(b).unwrap();
    }
}

fn fill_tasks(store: &Store, symbols: u32, years: u32) {
    let first = Month::of("2005-01-01".parse().unwrap()).0;
    for s in 0..symbols {
        let mut b = Batch::new();
        let symbol = format!("{}{s:04}", char::from(b'A' + (s % 26) as u8));
        for month in (first..first + years * 12).map(Month) {
            let sessions = (month.first_day()..Month(month.0 + 1).first_day()).filter(|d| (d + 3).rem_euclid(7) < 5);
            let (tasks, days): (Vec<GapTask>, Vec<LedgerDay>) = sessions
                .map(|day| {
                    let missing = task("2024-01-11", Absence::Missing, 1, 0, &[]);
                    let judged = verdict("2024-01-11", &[Reason::MISSING_SESSION], 1, 0);
                    (GapTask { day, ..missing }, LedgerDay { day, ..judged })
                })
                .unzip();
            let key = PageKey { dataset: Dataset::EquitiesBars, symbol: symbol.clone(), month };
            b.put(&trees::GAPS, &key, &GapPage::pack(month.first_day(), tasks)).unwrap();
            b.put(&trees::LEDGER, &key, &LedgerPage::pack(month.first_day(), &days)).unwrap();
        }
        let key = BookmarkKey { dataset: Dataset::EquitiesBars, symbol, vendor: Vendor::Alpaca };
        b.put(&trees::BOOKMARKS, &key, &Bookmark::default()).unwrap();
        store.commit(b).unwrap();
    }
}

fn task(d: &str, state: Absence, expected: u32, rows: u32, answers: &[(Vendor, Outcome, u8, u8)]) -> GapTask {
    let answer = |(v, o, days, attempts): &(Vendor, Outcome, u8, u8)| Answer {
        vendor: v.number(),
        outcome: o.number(),
        days: *days,
        attempts: *attempts,
        last_day: day("2024-01-31"),
    };
    GapTask {
        day: day(d),
        state: state.number(),
        why: if state == Absence::Explained { Explanation::NoTrade.number() } else { 0 },
        expected,
        rows,
        discovered_at: unix("2024-01-20T02:00:00Z"),
        answers: answers.iter().map(answer).collect(),
    }
}

fn gaps(b: &mut Batch) {
    use Absence::{Explained, Missing, Pending, Short, Unobtainable};
    let daily = vec![
        // Over Martin Luther King's day, which is no session.
        task("2024-01-11", Missing, 1, 0, &[]),
        task("2024-01-12", Missing, 1, 0, &[(Vendor::Alpaca, Outcome::Error, 0, 3)]),
        task("2024-01-16", Missing, 1, 0, &[]),
        task("2024-01-18", Missing, 1, 0, &[]),
        task(
            "2024-01-19",
            Explained,
            1,
            0,
            &[(Vendor::Alpaca, Outcome::Empty, 2, 0), (Vendor::Massive, Outcome::Empty, 1, 0)],
        ),
        task("2024-01-31", Pending, 1, 0, &[]),
    ];
    let minute = vec![task("2024-01-10", Short, 390, 42, &[(Vendor::Alpaca, Outcome::Short, 1, 0)])];
    let series = vec![task("2024-01-24", Unobtainable, 1, 0, &[(Vendor::Fred, Outcome::NotEntitled, 4, 0)])];
    b.put(&trees::GAPS, &page(Dataset::EquitiesBars, "AAPL"), &GapPage::pack(day("2024-01-01"), daily)).unwrap();
    b.put(&trees::GAPS, &page(Dataset::EquitiesBarsMinute, "AAPL"), &GapPage::pack(day("2024-01-01"), minute)).unwrap();
    b.put(&trees::GAPS, &page(Dataset::MacroTreasury, "DGS10"), &GapPage::pack(day("2024-01-01"), series)).unwrap();
}

fn verdict(d: &str, reasons: &[Reason], expected: u32, rows: u32) -> LedgerDay {
    let bits = reasons.iter().fold(0, |bits, r| bits | r.bit);
    let verdict: Verdict = Reason::worst(bits);
    LedgerDay {
        day: day(d),
        verdict: verdict.number(),
        reasons: bits,
        expected,
        rows,
        vendor: if rows == 0 { 0 } else { Vendor::Alpaca.number() },
        context: 7,
        first_seen: unix("2024-01-21T02:00:00Z"),
        updated_at: unix("2024-01-31T02:00:00Z"),
        print: if rows == 0 { Print::default() } else { Print { digest: [0xab; 16], ..Print::default() } },
    }
}

fn ledger(b: &mut Batch) {
    let daily = vec![
        verdict("2024-01-10", &[], 1, 1),
        verdict("2024-01-11", &[Reason::MISSING_SESSION], 1, 0),
        verdict("2024-01-17", &[Reason::OHLC_ORDER, Reason::NOT_POSITIVE], 1, 1),
        verdict("2024-01-19", &[Reason::NO_TRADE_AGREED], 1, 0),
    ];
    let minute = vec![
        verdict("2024-01-10", &[Reason::SHORT_SESSION], 390, 42),
        verdict("2024-01-11", &[Reason::THIN_SESSION], 390, 340),
    ];
    b.put(&trees::LEDGER, &page(Dataset::EquitiesBars, "AAPL"), &LedgerPage::pack(day("2024-01-01"), &daily)).unwrap();
    b.put(&trees::LEDGER, &page(Dataset::EquitiesBarsMinute, "AAPL"), &LedgerPage::pack(day("2024-01-01"), &minute))
        .unwrap();
    let context = json!({"dataset": "equities_bars", "calendar": "XNYS", "calendar_version": "2026.1",
        "calendar_sha256": "00", "thresholds": {"max_silent_edge": 0.5, "min_completeness": 0.9}});
    b.put(&trees::CONTEXTS, &7, &context.to_string()).unwrap();
}

fn vendors(b: &mut Batch) {
    let key = |dataset, symbol: &str, vendor| BookmarkKey { dataset, symbol: symbol.into(), vendor };
    for (dataset, symbol, vendor, rows) in [
        (Dataset::EquitiesBars, "AAPL", Vendor::Alpaca, 20),
        (Dataset::EquitiesBars, "MSFT", Vendor::Alpaca, 21),
        (Dataset::MacroTreasury, "DGS10", Vendor::Fred, 20),
    ] {
        let mut mark =
            Bookmark { rows, answers: 2, restated: 1, updated_at: unix("2024-01-31T02:00:05Z"), ..Default::default() };
        mark.cover(day("2024-01-02"), day("2024-01-12"));
        mark.cover(day("2024-01-15"), day("2024-01-31"));
        b.put(&trees::BOOKMARKS, &key(dataset, symbol, vendor), &mark).unwrap();
    }
    let refusal = |until: &str, step, why: &str| Demotions {
        windows: vec![Demotion { from: i32::MIN, to: i32::MAX, until: unix(until), step, why: why.into() }],
    };
    let k = key(Dataset::EquitiesBarsMinute, "AAPL", Vendor::Alpaca);
    b.put(
        &trees::DEMOTIONS,
        &k,
        &refusal("2024-02-01T10:00:00Z", 3, "subscription does not permit \u{1b}[31mSIP data"),
    )
    .unwrap();
    let k = key(Dataset::EquitiesBars, "BRK.B", Vendor::Alpaca);
    b.put(&trees::DEMOTIONS, &k, &refusal("2024-01-20T10:00:00Z", 1, "invalid symbol: BRK.B")).unwrap();
    let spent = |d: &str, today, total, closed| BudgetRecord {
        day: day(d),
        today,
        total,
        closed_until: closed,
        ..Default::default()
    };
    let alpaca = spent("2024-02-01", 12, 340, unix("2024-02-01T06:01:00Z"));
    b.put(&trees::BUDGETS, &"alpaca".to_owned(), &alpaca).unwrap();
    b.put(&trees::BUDGETS, &"fred".to_owned(), &spent("2024-01-31", 5, 60, unix("2024-01-31T06:01:00Z"))).unwrap();
    let clock = Clock::system();
    for (n, symbol, boot, left_ms) in
        [(41, "AAPL,MSFT", clock.boot_id(), 7_175_000), (42, "BRK.B", "an-earlier-boot".to_owned(), 7_175_000)]
    {
        let lease = Lease {
            vendor: Vendor::Alpaca.number(),
            dataset: Dataset::EquitiesBars.number(),
            symbol: symbol.into(),
            from: day("2024-01-11"),
            to: day("2024-01-18"),
            fence: n,
            holder: 1,
            boot_id: boot,
            // Shown in hours and minutes: the test has half a minute before the text changes.
            deadline_ms: clock.since_boot_ms() + left_ms,
            claimed_at: unix("2024-02-01T05:59:30Z"),
        };
        b.put(&trees::LEASES, &n, &lease).unwrap();
    }
}

fn runs(b: &mut Batch) {
    let stage = |stage: Stage, millis, counters: serde_json::Value| StageRecord {
        stage: stage.number(),
        millis,
        counters: counters.to_string(),
    };
    let done = RunRecord {
        as_of: day("2024-01-30"),
        started_at: unix("2024-01-31T02:00:00Z"),
        finished_at: unix("2024-01-31T02:03:20Z"),
        stages: vec![
            stage(Stage::Ingest, 61_500, json!({"claims": 4, "requests": 5, "rows": 61, "dropped": 0})),
            stage(Stage::Audit, 840, json!({"symbols": 5, "sessions": 104, "absent": 7, "short": 1})),
            stage(Stage::Export, 1_250, json!({"export_id": "20240131T020000Z_node_full", "files": 4, "rows": 61})),
        ],
        export_id: "20240131T020000Z_node_full".into(),
        error: String::new(),
        attempts: 1,
        window: [0, 0],
        only: Vec::new(),
    };
    let stopped = RunRecord {
        as_of: day("2024-01-31"),
        started_at: unix("2024-02-01T02:00:00Z"),
        finished_at: unix("2024-02-01T02:00:01Z"),
        stages: vec![stage(Stage::Ingest, 900, json!({"claims": 1, "rows": 0}))],
        export_id: String::new(),
        error: "export: 3 partitions of a dataset marked `required: complete` are held out".into(),
        attempts: 2,
        window: [day("2024-01-02"), day("2024-01-31")],
        only: Vec::new(),
    };
    b.put(&trees::RUNS, &"20240131T020000Z".to_owned(), &done).unwrap();
    b.put(&trees::RUNS, &"20240201T020000Z".to_owned(), &stopped).unwrap();
}

fn packs(b: &mut Batch) {
    let pack = |created: &str, uid: &str, removed: i64| PackRecord {
        as_of: day("2024-01-30"),
        created_at: unix(created),
        manifest_sha256: [0x11; 32],
        content: [0x22; 32],
        files: 6,
        bytes: 123_456,
        rows: 61,
        pack_uid: uid.into(),
        root: [0x33; 32],
        removed_at: removed,
    };
    let (old, new) = ("20240130T020000Z_node_full".to_owned(), "20240131T020000Z_node_full".to_owned());
    b.put(&trees::PACKS, &old, &pack("2024-01-30T02:00:00Z", "", unix("2024-01-31T02:03:00Z"))).unwrap();
    b.put(&trees::PACKS, &new, &pack("2024-01-31T02:00:00Z", "00112233445566778899aabbccddeeff", 0)).unwrap();
    // A newer one that was removed is not the last pack.
    let gone = pack("2024-01-31T03:00:00Z", "", unix("2024-01-31T04:00:00Z"));
    b.put(&trees::PACKS, &"20240131T030000Z_node_full".to_owned(), &gone).unwrap();
    let receipt = Shipment { files: 6, bytes: 123_456, finished_at: unix("2024-01-31T02:03:10Z") };
    b.put(&trees::SHIPMENTS, &format!("/mnt/nas/packs/{new}"), &receipt).unwrap();
}
