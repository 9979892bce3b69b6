//! `datanode demo`: the whole way, offline.

use super::global::Global;
use super::nightly::{print_summary, progress};
use super::table::thousands;
use crate::config::Settings;
use crate::failure::{Code, Done, Failure};
use crate::system;
use crate::telemetry;
use crate::wiring::wire;
use chrono::{DateTime, Utc};
use datanode_actors::export::verify_pack;
use datanode_actors::schedule::CyclePlan;
use datanode_actors::seal;
use datanode_actors::vault::Vault;
use datanode_schema::clock::Clock;
use datanode_schema::paths::DataDir;
use datanode_schema::registry::{Registry, Sources};
use datanode_vendorsim::{Seeded, SimOptions, Source};
use std::path::{Path, PathBuf};

/// Runs the demo.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn demo(g: &Global, keep: Option<PathBuf>, seed: u64) -> Done {
    let temp = tempfile::Builder::new().prefix("datanode-demo-").tempdir().map_err(Failure::failed)?;
    let root = keep.clone().unwrap_or_else(|| temp.path().to_owned());
    std::fs::create_dir_all(&root).map_err(|e| Failure::failed(format!("{}: {e}", root.display())))?;
    let occupied = std::fs::read_dir(&root).is_ok_and(|mut d| d.next().is_some());
    if occupied && !root.join("simulator.key").is_file() {
        return Err(Failure::usage(format!(
            "{}: not empty, and not of an earlier demo; name another folder",
            root.display()
        )));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Failure::failed)?;
    let options = SimOptions::new(Source::Seeded(Seeded::new(seed)));
    let universe = options.universe().map_err(Failure::failed)?;
    let simulator = runtime.block_on(datanode_vendorsim::serve(options)).map_err(Failure::failed)?;
    eprintln!("simulated vendors on {}", simulator.url());
    let universe_file = root.join("universe.yaml");
    std::fs::write(&universe_file, universe).map_err(Failure::failed)?;
    let settings = settings_for(&root, &universe_file, &simulator.url())?;
    telemetry::start(&settings);
    let clock = demo_clock(g, &settings)?;
    let wired = wire(&settings, &clock)?;
    let last = wired.node.registry().universe.last_day();
    let as_of = last.unwrap_or_else(|| clock.now().date_naive());
    let plan = CyclePlan { as_of, window: None, only: Vec::new(), caps: datanode_actors::node::RunCaps::default() };
    let node = wired.node.clone();
    let summary = system::run_cycle(wired, &plan, progress, |_| {})?;
    runtime.block_on(simulator.shutdown());
    print_summary(&summary);
    let data = DataDir::new(settings.data_dir.clone());
    check(&data, &node, &summary.export_id)?;
    match keep {
        Some(dir) => println!("kept in {}", dir.display()),
        None => println!("all of it was in a temporary folder; keep it with --keep DIR"),
    }
    Ok(())
}

/// The demo's market ends in the past; its clock stands on the evening after, so that nothing depends on today.
fn demo_clock(g: &Global, settings: &Settings) -> Result<Clock, Failure> {
    if g.now.is_some() {
        return Ok(g.clock());
    }
    let sources = Sources::read(None, None, Some(&settings.universe)).map_err(Failure::usage)?;
    let last = Registry::parse(&sources).map_err(Failure::usage)?.universe.last_day();
    let evening = last.and_then(|d| d.succ_opt()).and_then(|d| d.and_hms_opt(23, 0, 0)).map(|t| t.and_utc());
    let now: Option<DateTime<Utc>> = evening;
    Ok(now.map_or_else(Clock::system, Clock::frozen))
}

/// Settings for the simulator: every vendor on its port, any key, no limits.
fn settings_for(root: &Path, universe: &Path, url: &str) -> Result<Settings, Failure> {
    let secret = root.join("simulator.key");
    std::fs::write(&secret, "a".repeat(32)).map_err(Failure::failed)?;
    let mut s = Settings { data_dir: root.join("data"), universe: universe.to_owned(), ..Settings::default() };
    s.node.host_id = "demo".to_owned();
    s.log.level = "warn".to_owned();
    // The key is written before the node starts, so that it does not warn of having made one.
    s.seal.key_file = root.join("keys/node.key");
    s.anchor.key_file = root.join("keys/anchor.key");
    if !s.seal.key_file.is_file() {
        crate::wiring::write_new_key(&s.seal.key_file)?;
    }
    let reference = format!("file:{}", secret.display());
    for v in [&mut s.vendors.alpaca, &mut s.vendors.massive, &mut s.vendors.fred] {
        v.enabled = true;
        url.clone_into(&mut v.base_url);
        v.key.clone_from(&reference);
        v.secret.clone_from(&reference);
        v.per_second = Some(0);
        v.per_minute = Some(0);
        v.per_day = Some(0);
    }
    Ok(s)
}

/// Verifies what was made, as a consumer would, and opens the sealing again.
fn check(data: &DataDir, node: &datanode_actors::node::Node, export_id: &str) -> Done {
    let pack = data.pack(&node.source, export_id);
    let threads = node.threads;
    let good = |dir: &Path, what: &str| {
        let r = verify_pack(dir, threads)
            .ok_or_else(|| Failure::new(Code::NotFound, format!("{}: no pack", dir.display())))?;
        if !r.problems.is_empty() {
            return Err(Failure::new(Code::Integrity, format!("{}: {:?}", dir.display(), r.problems)));
        }
        println!("{what}  {} files, {} rows, {} bytes", thousands(r.files), thousands(r.rows), thousands(r.bytes));
        Ok(())
    };
    good(&pack, "verified the pack:          ")?;
    let vault = Vault::open(&data.vault()).map_err(|e| super::pack::of_seal(&e))?;
    let uids = vault.descriptors().map_err(|e| super::pack::of_seal(&e))?;
    let Some(uid) = uids.last() else { return Err(Failure::new(Code::NotFound, "the vault has no sealing")) };
    let ring = node.publishing.keys.read().map_err(|e| super::pack::of_seal(&e))?;
    let key = seal::unwrap_key(&vault, *uid, &ring).map_err(|e| super::pack::of_seal(&e))?;
    let opened = data.root().join("opened");
    if opened.exists() {
        std::fs::remove_dir_all(&opened).map_err(Failure::failed)?;
    }
    seal::open(&vault, *uid, &key, &opened, None).map_err(|e| super::pack::of_seal(&e))?;
    good(&opened, "opened and verified the seal:")?;
    println!("pack {}", pack.display());
    Ok(())
}
