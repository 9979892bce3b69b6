//! Named places where a test may end the process the hard way.
//!
//! With `DATANODE_KILL_AT=N` the process sends itself SIGKILL at the N-th place that it passes, whatever its name; with
//! `DATANODE_KILL_AT=name:N` at the N-th passing of that name. `DATANODE_KILL_COUNT=FILE` writes the number of places
//! that were passed, so that a test can draw its moments from them. Without the variables a place costs one load.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

struct Plan {
    name: Option<String>,
    at: u64,
    count_file: Option<String>,
    seen: Mutex<(u64, HashMap<&'static str, u64>)>,
}

fn plan() -> Option<&'static Plan> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    PLAN.get_or_init(|| {
        let kill = std::env::var("DATANODE_KILL_AT").ok();
        let count_file = std::env::var("DATANODE_KILL_COUNT").ok();
        if kill.is_none() && count_file.is_none() {
            return None;
        }
        let (name, at) = match kill.as_deref() {
            Some(k) => match k.split_once(':') {
                Some((n, c)) => (Some(n.to_owned()), c.parse().unwrap_or(u64::MAX)),
                None => (None, k.parse().unwrap_or(u64::MAX)),
            },
            None => (None, u64::MAX),
        };
        Some(Plan { name, at, count_file, seen: Mutex::new((0, HashMap::new())) })
    })
    .as_ref()
}

/// Passes the place `name`.
pub fn pass(name: &'static str) {
    let Some(plan) = plan() else { return };
    let Ok(mut seen) = plan.seen.lock() else { return };
    seen.0 += 1;
    let total = seen.0;
    let of_name = seen.1.entry(name).or_insert(0);
    *of_name += 1;
    let reached = match &plan.name {
        Some(n) => n == name && *of_name == plan.at,
        None => total == plan.at,
    };
    if reached {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
    if let Some(file) = &plan.count_file {
        let _ = std::fs::write(file, total.to_string());
    }
}
