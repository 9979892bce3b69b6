//! Verdicts out of the ledger of a node that has ended.

use super::Node;
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, Reason, Verdict};
use datanode_schema::records::LedgerDay;
use datanode_schema::store::{Store, StoreError, StoreOptions};
use datanode_schema::trees::{self, LEDGER};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The state of a node that has ended. A program that another test of this process starts in this very moment holds our last
/// lock until it is itself: that passes.
pub fn state(n: &Node) -> Store {
    let options = StoreOptions { free_space_floor: 0, ..StoreOptions::default() };
    let began = Instant::now();
    loop {
        match Store::open(&n.data().join("state"), &trees::all(), &options) {
            Err(StoreError::Busy { .. }) if began.elapsed() < Duration::from_secs(20) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// Every entry, by dataset and symbol, by day.
pub fn ledger(n: &Node) -> BTreeMap<(Dataset, String), Vec<LedgerDay>> {
    let store = state(n);
    let mut out: BTreeMap<(Dataset, String), Vec<LedgerDay>> = BTreeMap::new();
    for (k, page) in store.load_all(&LEDGER, &[]).unwrap() {
        out.entry((k.dataset, k.symbol)).or_default().extend(page.days(k.month.first_day()));
    }
    store.close().unwrap();
    out
}

/// A shorter run of absences is a line with the others of its symbol.
const LONG: usize = 20;

/// The ledger as a person reads it: runs of sessions that are not plain GREEN, and how many the others are.
pub fn shown(n: &Node) -> String {
    let mut out = String::new();
    for ((dataset, symbol), days) in ledger(n) {
        let plain = days.iter().filter(|d| d.reasons == 0).count();
        out += &format!("{dataset} {symbol}: {plain} plain GREEN of {}\n", days.len());
        // Short runs of absences lie between the sessions of thin symbols: they are counted, and what is around them is one run.
        let mut short: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        let mut left: Vec<&LedgerDay> = Vec::new();
        for run in days.chunk_by(|a, b| a.reasons == b.reasons) {
            if run[0].rows == 0 && run.len() < LONG {
                let all = short.entry(run[0].reasons).or_default();
                *all = (all.0 + run.len(), all.1 + 1);
            } else {
                left.extend(run);
            }
        }
        for run in left.chunk_by(|a, b| a.reasons == b.reasons).filter(|r| r[0].reasons != 0) {
            let verdict = Verdict::from_number(run[0].verdict).unwrap();
            assert_eq!(verdict, Reason::worst(run[0].reasons));
            let span = match run {
                [one] => date_of(one.day).to_string(),
                [a, .., b] => format!("{} .. {}", date_of(a.day), date_of(b.day)),
                [] => String::new(),
            };
            let names = Reason::names(run[0].reasons).join(" ");
            out += &format!("  {span:<24} {:>5}  {verdict:<6} {names}\n", run.len());
        }
        for (reasons, (sessions, runs)) in short {
            let (verdict, names) = (Reason::worst(reasons), Reason::names(reasons).join(" "));
            out += &format!("  {:<24} {sessions:>5}  {verdict:<6} {names}\n", format!("{runs} runs, short"));
        }
    }
    out
}
