//! A node without vendors and without settings: the queue alone, over a real store.

use datanode_actors::anchor::LogKey;
use datanode_actors::node::{Node, NodeParts, RunCaps, RunContext};
use datanode_actors::publishing::Publishing;
use datanode_actors::queue::Claimed;
use datanode_actors::seal::Identity;
use datanode_actors::vendor::{Fetched, Rejects};
use datanode_schema::clock::Clock;
use datanode_schema::names::Vendor;
use datanode_schema::paths::DataDir;
use datanode_schema::registry::{Registry, Sources};
use datanode_schema::store::{Store, StoreOptions};
use datanode_schema::trees;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The four vendors; all have the same limits, and preferences next to each other.
pub const VENDORS: [Vendor; 4] = [Vendor::Alpaca, Vendor::Massive, Vendor::Tiingo, Vendor::Files];

/// The one that comes first where all can take a task.
#[allow(dead_code, reason = "not every harness needs it")]
pub const BEST: Vendor = Vendor::Files;

/// When it is, for the node.
const NOW: &str = "2025-01-10T00:00:00Z";

/// What the queue is to hold.
pub struct Plan<'a> {
    /// Its dataset.
    pub dataset: &'a str,
    /// How many symbols.
    pub symbols: usize,
    /// First and last session.
    pub days: (&'a str, &'a str),
    /// The most sessions that one request answers.
    pub batch: usize,
    /// The most rows of a session, as the registry has it for the dataset.
    pub rows: usize,
}

/// Opens the node of a folder.
pub fn open(dir: &Path, plan: &Plan<'_>) -> Fallible<Arc<Node>> {
    let mut sources = Sources::read(None, None, None)?;
    sources.universe = ("universe.yaml".into(), universe(plan)?);
    sources.capabilities = ("vendor_capabilities.yaml".into(), capabilities(plan)?);
    // One good, empty answer ends a task: what is measured is the queue, and not how often a vendor is believed.
    sources.datasets.1 = sources.datasets.1.replace("vendors_agree: 2", "vendors_agree: 1");
    Ok(Arc::new(Node::new(NodeParts {
        store: Store::open(&dir.join("state"), &trees::all(), &StoreOptions::default())?,
        data: DataDir::new(dir),
        clock: Clock::frozen(NOW.parse()?),
        enabled: VENDORS.into_iter().collect(),
        lease_ms: 60_000,
        caps: RunCaps::default(),
        host_id: "bench".into(),
        source: "bench".into(),
        config_sha256: String::new(),
        threads: 2,
        publishing: Publishing::for_key(Identity::generate(), LogKey::generate("test")?),
        registry: Registry::parse(&sources)?,
    })))
}

/// The run in which it is all asked for.
pub fn run(plan: &Plan<'_>) -> Fallible<RunContext> {
    Ok(RunContext::new("bench".into(), plan.days.1.parse()?, NOW.parse()?, None))
}

/// A good answer without rows.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn nothing(claimed: &Claimed) -> Fallible<Fetched> {
    Ok(Fetched {
        ask: claimed.ask.clone(),
        rows: BTreeMap::new(),
        refusal: None,
        pages: 1,
        bytes: 0,
        body_blake3: String::new(),
        rejects: Rejects::default(),
        kept_bodies: Vec::new(),
        fetched_at: NOW.parse()?,
        elapsed_ms: 1,
    })
}

/// Sessions that a claim is for.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn tasks(node: &Node, claimed: &Claimed) -> usize {
    let ask = &claimed.ask;
    let days = match ask.days.len() {
        // Every session of the window.
        0 => node.registry().rule(ask.dataset).map_or(0, |r| r.calendar().count(ask.from, ask.to)),
        n => n,
    };
    days * ask.symbols.len()
}

fn universe(plan: &Plan<'_>) -> Fallible<String> {
    let mut out = format!("universe:\n  {}:\n", plan.dataset);
    for i in 0..plan.symbols {
        writeln!(out, "    S{i:05}: [{{from: {}, to: {}}}]", plan.days.0, plan.days.1)?;
    }
    Ok(out)
}

fn capabilities(plan: &Plan<'_>) -> Fallible<String> {
    let mut out = String::from("vendors:\n");
    for (i, vendor) in VENDORS.into_iter().enumerate() {
        writeln!(out, "  {vendor}:\n    limits: {{per_second: 0, per_minute: 0, per_day: 0, concurrency: 2}}")?;
        let rows = plan.batch * plan.rows;
        writeln!(
            out,
            "    datasets:\n      {}: {{preference: {}, feed: sip, adjustment: raw, max_symbols: 1, max_rows: {rows}}}",
            plan.dataset,
            80 + i
        )?;
    }
    Ok(out)
}
