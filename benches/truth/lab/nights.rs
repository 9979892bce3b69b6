//! The nights: simulated vendors on loopback and the node's own program, each in a process of its own.

use super::Fallible;
use super::folder::World;
use super::said::{Ledger, ledger};
use super::sessions::WINDOW;
use crate::child::command;
use crate::simulator::Simulator;
use chrono::{Days, NaiveDate};
use std::path::Path;
use std::process::Stdio;

/// The node's words after the first night and after the last.
pub struct Nights {
    /// With the first vendor alone.
    pub first: Ledger,
    /// When nothing changes any more.
    pub last: Ledger,
    /// How many nights it took.
    pub count: u64,
}

/// Rules that wait for an answer on another day have had it by then.
const AT_LEAST: u64 = 4;
/// Then something changes every night, which is a finding of its own.
const AT_MOST: u64 = 8;

/// Runs a node over `world`, with its data below `data`, until a night changes nothing.
pub fn run(datanode: &Path, world: &World, data: &Path) -> Fallible<Nights> {
    std::fs::create_dir_all(data)?;
    let serve = |folder: &Path| Simulator::start(datanode, &["--data".into(), folder.into()]);
    let second = serve(&world.second)?;
    let first = {
        let vendor = serve(&world.first)?;
        night(datanode, world, data, 1, &[("ALPACA", &vendor)])?;
        ledger(data)?
    };
    let vendor = serve(&world.later)?;
    let (mut before, mut count) = (first.clone(), 1);
    loop {
        count += 1;
        night(datanode, world, data, count, &[("ALPACA", &vendor), ("MASSIVE", &second)])?;
        let now = ledger(data)?;
        let same = now == before;
        before = now;
        if count >= AT_LEAST && same {
            return Ok(Nights { first, last: before, count });
        }
        if count >= AT_MOST {
            return Err(format!("after {count} nights the ledger still changes").into());
        }
    }
}

fn night(datanode: &Path, world: &World, data: &Path, n: u64, vendors: &[(&str, &Simulator)]) -> Fallible<()> {
    let last: NaiveDate = WINDOW.1.parse()?;
    let now = format!("{}T02:00:00Z", last + Days::new(n));
    let mut c = command(datanode);
    c.args(["nightly", "--json", "--as-of", WINDOW.1, "--now", &now]);
    c.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(data);
    let mut set = |name: String, value: &std::ffi::OsStr| {
        c.env(format!("DATANODE__{name}"), value);
    };
    set("DATA_DIR".into(), data.as_os_str());
    set("UNIVERSE".into(), world.universe.as_os_str());
    set("DATASETS".into(), world.datasets.as_os_str());
    set("CAPABILITIES".into(), world.capabilities.as_os_str());
    set("LOG__LEVEL".into(), "warn".as_ref());
    for (vendor, at) in vendors {
        let (url, secret) = (at.url(), "env:TRUTH_SECRET");
        for (name, value) in [("ENABLED", "true"), ("BASE_URL", &url), ("KEY", secret), ("SECRET", secret)] {
            set(format!("VENDORS__{vendor}__{name}"), value.as_ref());
        }
    }
    c.env("TRUTH_SECRET", "a".repeat(32));
    let done = c.stdin(Stdio::null()).output()?;
    if !done.status.success() {
        return Err(format!("night {n}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr)).into());
    }
    Ok(())
}
