//! What the vendors have, and what the node is told of them.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// How many sessions the market has; the windows of `chaos.yaml` are cut for it.
const SESSIONS: &str = "60";
/// The vendor `files` has every n-th symbol.
const OF_FILES: usize = 4;
/// Vendors that the simulator serves minute bars for.
const HTTP: [&str; 3] = ["alpaca", "massive", "tiingo"];
/// Their limits in `chaos.yaml`: requests a second, requests a minute.
const ADVERTISED: [&str; 2] = ["40", "1200"];

/// The market, on disk and as the simulator's arguments.
pub struct World {
    /// Folder with `vendorsim --write-data`.
    pub market: PathBuf,
    /// The part of it that the vendor `files` has.
    pub folder: PathBuf,
    /// `universe.yaml` of the minute bars.
    pub universe: PathBuf,
    /// The symbols, with commas.
    pub symbols: String,
    /// First and last session.
    pub days: (String, String),
    seeded: Vec<OsString>,
    key: PathBuf,
}

/// Who is asked, and whether they behave.
#[derive(Clone, Copy)]
pub struct Scenario<'a> {
    /// Its name in the table.
    pub name: &'a str,
    /// Vendors of the node.
    pub vendors: &'a [String],
    /// The faults file.
    pub faults: Option<&'a Path>,
}

impl World {
    /// Writes the market below `work`.
    pub fn make(datanode: &Path, work: &Path, symbols: usize) -> Fallible<Self> {
        let seeded: Vec<OsString> = ["--seed", "7", "--symbols", &symbols.to_string(), "--minute-sessions", SESSIONS]
            .into_iter()
            .chain(["--plain"])
            .map(OsString::from)
            .collect();
        let (market, folder) = (work.join("market"), work.join("folder"));
        let mut writing = crate::child::command(datanode);
        writing.arg("vendorsim").args(&seeded).arg("--write-data").arg(&market);
        if !writing.status()?.success() {
            return Err("the simulator did not write its market".into());
        }
        let text = std::fs::read_to_string(market.join("universe.yaml"))?;
        let from = text.find("  equities_bars_minute:").ok_or("no minute bars in the universe")?;
        let minutes = text.get(from..text.find("  macro_treasury:").unwrap_or(text.len())).unwrap_or_default();
        let universe = work.join("universe.yaml");
        std::fs::write(&universe, format!("universe:\n{minutes}"))?;
        let day = |word: &str| {
            let at = minutes.find(word)? + word.len();
            minutes.get(at..at + 10).map(str::to_owned)
        };
        let days = day("from: ").zip(day("to: ")).ok_or("no window in the universe")?;
        let minute = market.join("equities_bars_minute");
        let mut names: Vec<String> =
            std::fs::read_dir(&minute)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        for name in names.iter().step_by(OF_FILES) {
            let to = folder.join("equities_bars_minute").join(name);
            std::fs::create_dir_all(&to)?;
            for file in std::fs::read_dir(minute.join(name))? {
                let file = file?;
                std::fs::hard_link(file.path(), to.join(file.file_name()))?;
            }
        }
        let key = work.join("simulator.key");
        std::fs::write(&key, "a".repeat(32))?;
        Ok(Self { market, folder, universe, symbols: names.join(","), days, seeded, key })
    }

    /// Arguments of the simulator.
    pub fn simulator(&self, faults: Option<&Path>) -> Vec<OsString> {
        let mut args = self.seeded.clone();
        if let Some(file) = faults {
            args.extend(["--faults".into(), file.into()]);
        }
        args
    }

    /// Everything that the node is told, by environment.
    pub fn env(&self, scenario: &Scenario<'_>, url: &str, data: &Path) -> Vec<(String, String)> {
        let key = format!("file:{}", self.key.display());
        let mut env = vec![
            ("DATANODE__DATA_DIR".to_owned(), data.display().to_string()),
            ("DATANODE__UNIVERSE".to_owned(), self.universe.display().to_string()),
            ("DATANODE__LOG__LEVEL".to_owned(), "error".to_owned()),
        ];
        let limits = if scenario.faults.is_some() { ADVERTISED } else { ["0", "0"] };
        if scenario.faults.is_some() {
            env.push(("DATANODE__HTTP__TIMEOUT_SECONDS".to_owned(), crate::CHAOS_TIMEOUT.to_string()));
        }
        for vendor in scenario.vendors {
            let mut set = |name: &str, value: &str| {
                env.push((format!("DATANODE__VENDORS__{}__{name}", vendor.to_uppercase()), value.to_owned()));
            };
            set("ENABLED", "true");
            if HTTP.contains(&vendor.as_str()) {
                let [second, minute] = limits;
                let of_it = [("BASE_URL", url), ("KEY", &key), ("SECRET", &key)];
                let limits = [("PER_SECOND", second), ("PER_MINUTE", minute), ("PER_DAY", "0")];
                of_it.into_iter().chain(limits).for_each(|(name, value)| set(name, value));
            } else {
                set("BASE_URL", &self.folder.display().to_string());
            }
        }
        env
    }
}
