//! Claims, leases and fencing over a real store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use datanode_actors::frame::{Bar, Cell};
use datanode_actors::node::{Node, NodeParts, Publishing, RunContext, ShipMode};
use datanode_actors::queue::{Claimed, Claims};
use datanode_actors::raw::keep;
use datanode_actors::seal::Identity;
use datanode_actors::vendor::{Fetched, Purpose, Refusal, Rejects};
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::names::{Dataset, Outcome, Vendor};
use datanode_schema::paths::DataDir;
use datanode_schema::registry::{Registry, Sources};
use datanode_schema::store::{Store, StoreOptions};
use datanode_schema::trees::{self, BOOKMARKS, DEMOTIONS, LEASES};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const UNIVERSE: &str = "universe:\n  equities_bars:\n    AAPL: [{from: 2020-01-02, to: 2020-01-10}]\n";

fn node(dir: &Path, lease_ms: u64, vendors: &[Vendor]) -> Arc<Node> {
    let mut sources = Sources::read(None, None, None).unwrap();
    sources.universe = ("universe.yaml".into(), UNIVERSE.into());
    let options = StoreOptions { free_space_floor: 0, ..StoreOptions::default() };
    let identity = Identity::generate();
    Arc::new(Node::new(NodeParts {
        store: Store::open(&dir.join("state"), &trees::all(), &options).unwrap(),
        data: DataDir::new(dir),
        clock: Clock::frozen("2020-02-01T00:00:00Z".parse().unwrap()),
        enabled: vendors.iter().copied().collect::<BTreeSet<_>>(),
        lease_ms,
        host_id: "test".into(),
        source: "test".into(),
        config_sha256: String::new(),
        threads: 1,
        publishing: Publishing {
            recipients: vec![identity.to_public()],
            identity,
            chunk_bytes: 1 << 20,
            destination: None,
            ship_mode: ShipMode::Both,
            keep_packs: 1,
            trash_days: 1,
        },
        registry: Registry::parse(&sources).unwrap(),
    }))
}

fn run() -> RunContext {
    RunContext::new("r1".into(), "2020-01-10".parse().unwrap(), "2020-02-01T00:00:00Z".parse().unwrap(), None)
}

fn fetched(c: &Claimed, closes: &[(&str, f64)], refusal: Option<Refusal>) -> Fetched {
    let bar = |close: f64| Bar { open: close, high: close, low: close, close, volume: 1.0, trades: None, vwap: None };
    let rows = closes.iter().map(|(d, v)| (i64::from(day_number(d.parse().unwrap())), Cell::Bar(bar(*v)))).collect();
    Fetched {
        ask: c.ask.clone(),
        rows: if closes.is_empty() { BTreeMap::new() } else { BTreeMap::from([("AAPL".to_owned(), rows)]) },
        refusal,
        pages: 1,
        bytes: 1,
        body_blake3: String::new(),
        rejects: Rejects::default(),
        kept_bodies: Vec::new(),
        fetched_at: "2020-02-01T00:00:00Z".parse().unwrap(),
    }
}

#[test]
fn a_claimed_ask_is_not_given_out_twice_while_its_lease_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut claims = Claims::open(node(dir.path(), 60_000, &[Vendor::Alpaca])).unwrap();
    assert!(claims.next(&run(), Vendor::Alpaca, Purpose::Ingest).unwrap().is_some());
    assert!(claims.next(&run(), Vendor::Alpaca, Purpose::Ingest).unwrap().is_none());
}

#[test]
fn an_expired_lease_is_claimable_again_and_its_late_answer_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), 0, &[Vendor::Alpaca]);
    let mut claims = Claims::open(node.clone()).unwrap();
    let run = run();
    let late = claims.next(&run, Vendor::Alpaca, Purpose::Ingest).unwrap().unwrap();
    let again = claims.next(&run, Vendor::Alpaca, Purpose::Ingest).unwrap().unwrap();
    assert_eq!(late.ask, again.ask);
    assert!(again.lease.fence > late.lease.fence);
    let c = keep(&node, &run, &late, fetched(&late, &[("2020-01-02", 1.0)], None)).unwrap();
    assert_eq!((c.dropped, c.rows), (1, 0));
    assert!(node.store.load_all(&BOOKMARKS, &[]).unwrap().is_empty(), "nothing moved under the old number");
    let c = keep(&node, &run, &again, fetched(&again, &[("2020-01-02", 2.0)], None)).unwrap();
    assert_eq!((c.dropped, c.rows, c.restated), (0, 1, 0), "the late answer had written no file");
    assert!(node.store.load_all(&LEASES, &[]).unwrap().is_empty());
    let again = keep(&node, &run, &again, fetched(&again, &[("2020-01-02", 3.0)], None)).unwrap();
    assert_eq!(again.dropped, 1, "an answer is kept once");
}

#[test]
fn leases_of_a_process_that_is_gone_are_void_at_once() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut claims = Claims::open(node(dir.path(), 3_600_000, &[Vendor::Alpaca])).unwrap();
        claims.next(&run(), Vendor::Alpaca, Purpose::Ingest).unwrap().unwrap();
    }
    let mut claims = Claims::open(node(dir.path(), 3_600_000, &[Vendor::Alpaca])).unwrap();
    assert!(claims.next(&run(), Vendor::Alpaca, Purpose::Ingest).unwrap().is_some());
}

#[test]
fn a_refusal_demotes_the_vendor_and_the_next_one_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), 60_000, &[Vendor::Alpaca, Vendor::Massive]);
    let mut claims = Claims::open(node.clone()).unwrap();
    let run = run();
    assert!(claims.next(&run, Vendor::Massive, Purpose::Ingest).unwrap().is_none(), "alpaca is preferred");
    let first = claims.next(&run, Vendor::Alpaca, Purpose::Ingest).unwrap().unwrap();
    let refusal = Refusal::new(Outcome::NotEntitled, "403: subscription does not permit it");
    keep(&node, &run, &first, fetched(&first, &[], Some(refusal))).unwrap();
    assert_eq!(node.store.load_all(&DEMOTIONS, &[]).unwrap().len(), 1);
    assert!(claims.next(&run, Vendor::Alpaca, Purpose::Ingest).unwrap().is_none());
    let second = claims.next(&run, Vendor::Massive, Purpose::Ingest).unwrap().unwrap();
    assert_eq!((second.ask.vendor, second.ask.dataset), (Vendor::Massive, Dataset::EquitiesBars));
}

#[test]
fn a_restatement_keeps_the_old_file_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), 60_000, &[Vendor::Alpaca]);
    let run = run();
    let mut claims = Claims::open(node.clone()).unwrap();
    let claimed = claims.next(&run, Vendor::Alpaca, Purpose::Ingest).unwrap().unwrap();
    keep(&node, &run, &claimed, fetched(&claimed, &[("2020-01-02", 1.0), ("2020-01-03", 1.5)], None)).unwrap();
    let folder = dir.path().join("data_layer/raw/alpaca/equities_bars/year=2020/symbol=AAPL");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    // The same window again, under a lease of its own.
    let mut batch = datanode_schema::store::Batch::new();
    batch.put(&LEASES, &claimed.id, &claimed.lease).unwrap();
    node.store.commit(batch).unwrap();
    let c = keep(&node, &run, &claimed, fetched(&claimed, &[("2020-01-02", 2.0)], None)).unwrap();
    assert_eq!(c.restated, 1);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "both versions are kept");
}
