//! A market up to yesterday, the vendors that serve it, and what the node is told of them.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Vendors that the simulator serves minute bars for.
const VENDORS: [&str; 3] = ["ALPACA", "MASSIVE", "TIINGO"];

/// The market, on disk and as the simulator's arguments.
pub struct Market {
    /// What `vendorsim --write-data` wrote.
    pub folder: PathBuf,
    universe: PathBuf,
    seeded: Vec<OsString>,
    key: PathBuf,
}

impl Market {
    /// Sixty sessions of so many symbols.
    pub fn make(datanode: &Path, work: &Path, symbols: usize) -> Fallible<Self> {
        let words = ["--seed", "7", "--symbols", &symbols.to_string(), "--minute-sessions", "60", "--plain"];
        let seeded: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        let folder = work.join("market");
        let written =
            crate::child::command(datanode).arg("vendorsim").args(&seeded).arg("--write-data").arg(&folder).status()?;
        if !written.success() {
            return Err("the simulator did not write its market".into());
        }
        let text = std::fs::read_to_string(folder.join("universe.yaml"))?;
        let from = text.find("  equities_bars_minute:").ok_or("no minute bars in the universe")?;
        let minutes = text.get(from..text.find("  macro_treasury:").unwrap_or(text.len())).unwrap_or_default();
        let universe = work.join("universe.yaml");
        std::fs::write(&universe, format!("universe:\n{minutes}"))?;
        let key = work.join("simulator.key");
        std::fs::write(&key, "a".repeat(32))?;
        Ok(Self { folder, universe, seeded, key })
    }

    /// Arguments of the simulator.
    pub fn simulator(&self, faults: &Path) -> Vec<OsString> {
        self.seeded.iter().cloned().chain(["--faults".into(), faults.into()]).collect()
    }

    /// Everything that the node is told, by environment.
    pub fn env(&self, url: &str, work: &Path, per_minute: u32, cadence: u32) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = [
            ("DATA_DIR", work.join("data").display().to_string()),
            ("UNIVERSE", self.universe.display().to_string()),
            ("LOG__LEVEL", "warn".to_owned()),
            ("HTTP__TIMEOUT_SECONDS", "2".to_owned()),
            ("EXPORT__CADENCE", "hourly".to_owned()),
            ("SCHEDULE__INGEST_EVERY_MINUTES", "1".to_owned()),
            ("BOOKS__CADENCE_SECONDS", cadence.to_string()),
            ("BOOKS__TOP", "10".to_owned()),
            ("VENDORS__POLYMARKET__ENABLED", "true".to_owned()),
            ("VENDORS__POLYMARKET__BASE_URL", url.to_owned()),
            ("VENDORS__POLYMARKET__CLOB_BASE_URL", url.to_owned()),
        ]
        .into_iter()
        .map(|(k, v)| (format!("DATANODE__{k}"), v))
        .collect();
        let key = format!("file:{}", self.key.display());
        for vendor in VENDORS {
            let minute = per_minute.to_string();
            let of_it = [("ENABLED", "true"), ("BASE_URL", url), ("KEY", &key), ("SECRET", &key)];
            let limits = [("PER_SECOND", "0"), ("PER_MINUTE", minute.as_str()), ("PER_DAY", "0")];
            let all = of_it.into_iter().chain(limits);
            env.extend(all.map(|(name, value)| (format!("DATANODE__VENDORS__{vendor}__{name}"), value.to_owned())));
        }
        env
    }
}

/// No vendor's limits: for the nights after the soak.
pub fn unlimited() -> Vec<(String, String)> {
    VENDORS.iter().map(|v| (format!("DATANODE__VENDORS__{v}__PER_MINUTE"), "0".to_owned())).collect()
}
