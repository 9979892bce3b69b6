//! What `datanode doctor` looks at, and the page shows: each check says what was seen, and where something is wrong, its cause and the next
//! command. Those here are quick, ask no other machine and open no state, so they may be made beside a running node.

pub mod backup;
mod disk;

pub use disk::FileSystem;

use crate::config::Settings;
use crate::wiring::{key_file, registry};
use datanode_actors::seal::Identity;
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::Clock;
use datanode_schema::names::Vendor;
use serde::Serialize;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The node works, and something may be lost one day.
    Warning,
    /// Something does not work.
    Failed,
}

impl Level {
    /// As a list shows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
        }
    }
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was seen; where something is wrong: cause; next command.
    pub text: String,
}

impl Check {
    /// Good, or failed.
    pub fn new(name: &'static str, result: Result<String, String>) -> Self {
        let (level, text) = match result {
            Ok(text) => (Level::Ok, text),
            Err(text) => (Level::Failed, text),
        };
        Self { name, level, text }
    }

    /// With a level of its own.
    pub fn of(name: &'static str, (level, text): (Level, String)) -> Self {
        Self { name, level, text }
    }
}

/// The quick checks.
pub fn quick(s: &Settings, clock: &Clock) -> Vec<Check> {
    let mut all = reading(s, clock);
    all.insert(1, Check::new("vendors", vendors(s).map(|v| format!("{v} enabled, secrets resolve"))));
    all.insert(5, Check::of("fsync", disk::fsync(s)));
    all
}

/// Those of them that only read files: they write nothing, start no program and resolve no secret.
pub fn reading(s: &Settings, clock: &Clock) -> Vec<Check> {
    vec![
        Check::new("registry", registry_check(s)),
        Check::new("clock", clock_check(clock)),
        Check::new("disk", disk::space(s)),
        Check::of("file system", disk::file_system(s)),
        Check::new("key", key(s)),
        Check::of("key backed up", backup::key_elsewhere(s)),
        Check::new("socket", socket(s)),
    ]
}

fn registry_check(s: &Settings) -> Result<String, String> {
    let r = registry(s).map_err(|e| e.message)?;
    let symbols: usize = r.universe.datasets.values().map(|m| m.len()).sum();
    let corrected = match r.calendars.corrections().len() {
        0 => String::new(),
        n => format!(", {n} corrections of the calendars"),
    };
    Ok(format!("{} datasets, {} vendors, {symbols} symbols{corrected}", r.datasets.len(), r.vendors.len()))
}

/// The vendors that are enabled; every secret of theirs is resolved.
///
/// # Errors
/// The first thing that is wrong.
pub fn vendors(s: &Settings) -> Result<String, String> {
    let all = [
        ("files", &s.vendors.files),
        ("alpaca", &s.vendors.alpaca),
        ("massive", &s.vendors.massive),
        ("fred", &s.vendors.fred),
        ("tiingo", &s.vendors.tiingo),
    ];
    let mut enabled = Vec::new();
    for (name, v) in all.iter().filter(|(_, v)| v.enabled) {
        if v.base_url.is_empty() {
            return Err(format!("vendors.{name}.base_url is empty; set it, or disable {name}"));
        }
        if let Some(vendor) = Vendor::from_name(name) {
            crate::wiring::keys(vendor, v)?;
        }
        enabled.push(*name);
    }
    if enabled.is_empty() {
        return Err("no vendor is enabled; set vendors.NAME.enabled = true in datanode.toml (or DATANODE__VENDORS__NAME__ENABLED=true)".into());
    }
    Ok(enabled.join(", "))
}

fn clock_check(clock: &Clock) -> Result<String, String> {
    let now = clock.now();
    if Calendar::Xnys.covers(now.date_naive()) {
        Ok(now.to_rfc3339())
    } else {
        Err(format!("{now} lies outside the calendars' years; set the machine's clock (timedatectl set-ntp true)"))
    }
}

fn key(s: &Settings) -> Result<String, String> {
    let path = key_file(s);
    if !path.exists() {
        return Err(format!("{}: no key; make one with `datanode key new`", path.display()));
    }
    let identity = Identity::read(&path).map_err(|e| e.to_string())?;
    Ok(format!("{} ({})", path.display(), identity.to_public()))
}

/// Where a node runs: its socket, which only its owner may use.
fn socket(s: &Settings) -> Result<String, String> {
    let path = s.data_dir.join("admin.sock");
    let Ok(m) = std::fs::symlink_metadata(&path) else { return Ok("none; no node runs in this folder".to_owned()) };
    if !m.file_type().is_socket() {
        return Err(format!("{}: no socket, but something else; remove it, then start the node again", path.display()));
    }
    let mode = m.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{}: others may use it (mode {mode:o}); chmod 600 it, and look who changed it",
            path.display()
        ));
    }
    Ok(format!("{} (mode {mode:o}, user {})", path.display(), m.uid()))
}
