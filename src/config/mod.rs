//! Settings: defaults, then `datanode.toml`, then the environment (`DATANODE__SECTION__KEY`).
//!
//! The generated file is the manual; it is embedded and a test reads it. Unknown keys are errors that name the nearest
//! known one, wherever they come from.

mod origin;
mod settings;

pub use origin::{Shown, shown};

pub use settings::{
    AlertSettings, AnchorSettings, BackupSettings, BooksSettings, Cadence, DestinationSettings, ExportSettings,
    FRED_KEY, HttpSettings, LogSettings, NodeSettings, OffloadSettings, QueueSettings, ReplicaSettings,
    RetentionSettings, ScheduleSettings, SealSettings, ServeSettings, Settings, ShipSettings, StoreSettings,
    TelemetrySettings, VaultSettings, VendorSettings, VendorsSettings,
};

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The generated `datanode.toml`.
pub const DEFAULT_TOML: &str = include_str!("../../ops/config/datanode.toml");

/// A configuration that cannot be used: exit 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Reads the settings. `file` must exist where it is given; without it `./datanode.toml` is read where it exists.
/// Relative paths in a file are relative to the file.
///
/// # Errors
/// The first thing that is wrong, with its name.
pub fn load(file: Option<&Path>, data_dir: Option<&Path>) -> Result<Settings, ConfigError> {
    let here = Path::new("datanode.toml");
    let file = match file {
        Some(f) if !f.is_file() => {
            return Err(ConfigError(format!("{}: no such file; `datanode init DIR` writes one", f.display())));
        }
        Some(f) => Some(f),
        None => here.is_file().then_some(here),
    };
    let mut settings = merge(file)?;
    if let Some(d) = data_dir {
        settings.data_dir = d.to_owned();
    }
    check(&settings)?;
    Ok(settings)
}

fn wrong_file(file: &Path, why: &str) -> ConfigError {
    ConfigError(format!("{}: {why}", file.display()))
}

fn merge(file: Option<&Path>) -> Result<Settings, ConfigError> {
    let wrong = |e: config::ConfigError| ConfigError(format!("configuration: {e}"));
    let known = serde_json::to_value(Settings::default()).unwrap_or_default();
    // The defaults are a source of their own: a table of which one key is set keeps the defaults of the others.
    let defaults = config::Config::try_from(&Settings::default()).map_err(wrong)?;
    let mut builder = config::Config::builder().add_source(defaults);
    if let Some(f) = file {
        let read = config::Config::builder()
            .add_source(config::File::from(f).format(config::FileFormat::Toml))
            .build()
            .map_err(|e| ConfigError(format!("{}: {e}", f.display())))?;
        let tree: Value = read.clone().try_deserialize().map_err(wrong)?;
        find_unknown(&tree, &known, "").map_err(|e| ConfigError(format!("{}: {e}", f.display())))?;
        let folder = f.parent().unwrap_or(Path::new("")).to_owned();
        builder = builder.add_source(Anchored { tree: read, folder });
    }
    let environment = config::Environment::with_prefix("DATANODE").prefix_separator("__").separator("__");
    let from_env = config::Config::builder().add_source(environment.clone()).build().map_err(wrong)?;
    let tree: Value = from_env.try_deserialize().map_err(wrong)?;
    find_unknown(&tree, &known, "").map_err(|e| ConfigError(format!("environment (DATANODE__…): {e}")))?;
    builder.add_source(environment).build().map_err(wrong)?.try_deserialize().map_err(wrong)
}

/// A file's settings whose paths are relative to the file.
#[derive(Clone, Debug)]
struct Anchored {
    tree: config::Config,
    folder: PathBuf,
}

/// Settings that are paths.
const PATHS: [&str; 9] = [
    "data_dir",
    "universe",
    "datasets",
    "capabilities",
    "calendars",
    "seal.key_file",
    "anchor.key_file",
    "ship.folder",
    "offload.config",
];

impl config::Source for Anchored {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, config::Value>, config::ConfigError> {
        let mut builder = config::Config::builder().add_source(self.tree.clone());
        for path in PATHS {
            let Ok(text) = self.tree.get_string(path) else { continue };
            if !text.is_empty() && Path::new(&text).is_relative() {
                builder = builder.set_override(path, self.folder.join(text).to_string_lossy().into_owned())?;
            }
        }
        config::Source::collect(&builder.build()?)
    }
}

/// Names the first key of `tree` that `known` does not have, and the nearest one that it has.
fn find_unknown(tree: &Value, known: &Value, at: &str) -> Result<(), String> {
    let (Some(tree), Some(known)) = (tree.as_object(), known.as_object()) else { return Ok(()) };
    // The names are the owner's; what is said of each is not.
    let any =
        (at == "ship.destinations").then(|| serde_json::to_value(DestinationSettings::default()).unwrap_or_default());
    for (key, value) in tree {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match any.as_ref().or_else(|| known.get(key)) {
            Some(k) => find_unknown(value, k, &path)?,
            None => {
                let nearest = known.keys().min_by_key(|k| strsim::damerau_levenshtein(k, key));
                let hint = nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                return Err(format!("unknown key `{path}`{hint}"));
            }
        }
    }
    Ok(())
}

/// A run of more than a week is a mistake.
pub const MAX_RUN_MINUTES: u64 = 10_080;
/// Requests of a run.
pub const MAX_RUN_REQUESTS: u64 = 1_000_000_000;
/// No calendar goes farther back.
pub const MAX_LOOKBACK_DAYS: u64 = 36_600;

fn check(s: &Settings) -> Result<(), ConfigError> {
    let wrong = |m: &str| Err(ConfigError(m.to_owned()));
    if s.node.source.is_empty()
        || !s.node.source.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return wrong("node.source: lower-case letters, digits and - only, since it is part of every export id");
    }
    if s.node.source == "nightly" {
        return wrong("node.source: `nightly` is the name of the folder of dated links; choose another");
    }
    if !(1..=16).contains(&s.seal.chunk_mib) {
        return wrong("seal.chunk_mib: from 1 to 16");
    }
    let ranges: [(&str, u64, u64, u64); 22] = [
        ("alerts.repeat_minutes", u64::from(s.alerts.repeat_minutes), 1, 43_200),
        ("alerts.per_hour", u64::from(s.alerts.per_hour), 1, 3_600),
        ("alerts.pack_late_hours", u64::from(s.alerts.pack_late_hours), 1, 8_760),
        ("backup.every_hours", u64::from(s.backup.every_hours), 1, 168),
        ("vault.scrub_days", u64::from(s.vault.scrub_days), 0, 3_650),
        ("books.top", s.books.top as u64, 0, 10_000),
        ("books.cadence_seconds", u64::from(s.books.cadence_seconds), 1, 3_600),
        ("books.rediscover_minutes", u64::from(s.books.rediscover_minutes), 1, 10_080),
        ("node.threads", s.node.threads as u64, 1, 64),
        ("store.cache_mib", s.store.cache_mib, 1, 65_536),
        ("store.free_space_floor_mib", s.store.free_space_floor_mib, 0, 1 << 40),
        ("http.timeout_seconds", u64::from(s.http.timeout_seconds), 1, 3_600),
        ("queue.lease_seconds", u64::from(s.queue.lease_seconds), 1, 86_400),
        ("queue.max_run_minutes", u64::from(s.queue.max_run_minutes), 0, MAX_RUN_MINUTES),
        ("queue.max_run_requests", s.queue.max_run_requests, 0, MAX_RUN_REQUESTS),
        ("queue.max_lookback_days", u64::from(s.queue.max_lookback_days), 0, MAX_LOOKBACK_DAYS),
        ("retention.trash_days", u64::from(s.retention.trash_days), 0, 3_650),
        ("export.full_every_days", u64::from(s.export.full_every_days), 1, 366),
        ("retention.keep_days", u64::from(s.retention.keep_days), 0, 36_600),
        ("retention.keep_monthly", u64::from(s.retention.keep_monthly), 0, 1_200),
        ("offload.keep_days", u64::from(s.offload.keep_days), 1, 36_600),
        ("retention.keep_packs", s.retention.keep_packs as u64, 1, 100_000),
    ];
    for (name, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            return Err(ConfigError(format!("{name} is {value}: from {least} to {most}")));
        }
    }
    check_destinations(&s.ship)?;
    let remote = &s.offload.remote;
    if remote.starts_with(['-', ':'])
        || remote.contains([',', '\n'])
        || (!remote.is_empty() && !remote.contains([':', '/']))
    {
        return wrong(
            "offload.remote: the name of an rclone remote and a path, such as gdrive:datanode (`rclone config` makes one); options and secrets belong into rclone's configuration",
        );
    }
    let v = &s.vendors;
    for v in [&v.files, &v.alpaca, &v.massive, &v.fred, &v.tiingo] {
        if v.concurrency.is_some_and(|c| c > 64) {
            return wrong("vendors.*.concurrency: from 1 to 64");
        }
    }
    if !["human", "json"].contains(&s.log.format.as_str()) {
        return wrong("log.format: human or json");
    }
    if tracing_subscriber::EnvFilter::try_new(&s.log.level).is_err() {
        return wrong("log.level: error, warn, info, debug, trace, or a filter such as datanode_actors=debug");
    }
    s.schedule.at().map_err(ConfigError)?;
    Ok(())
}

fn check_destinations(s: &ShipSettings) -> Result<(), ConfigError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    for (name, d) in &s.destinations {
        let wrong = |m: &str| Err(ConfigError(format!("ship.destinations.{name}{m}")));
        if !name.bytes().all(plain) || name == "folder" {
            return wrong(": lower-case letters, digits, - and _ only; `folder` is that of ship.folder");
        }
        if d.url.is_empty() {
            return wrong(".url is empty; write s3://bucket/prefix, gs://…, az://…, or a folder");
        }
        if d.url.starts_with("http") {
            return wrong(
                ".url: nothing can be written over plain HTTP; for an S3-compatible service write s3://bucket and its address as endpoint",
            );
        }
        if !(1..=64).contains(&d.parallel) {
            return wrong(".parallel: from 1 to 64");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("datanode.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), None)
    }

    #[test]
    fn the_generated_file_is_valid_and_names_every_setting() {
        let from_file = load_text(DEFAULT_TOML).unwrap();
        let mut defaults = Settings::default();
        defaults.data_dir.clone_from(&from_file.data_dir);
        defaults.universe.clone_from(&from_file.universe);
        defaults.datasets.clone_from(&from_file.datasets);
        defaults.capabilities.clone_from(&from_file.capabilities);
        defaults.calendars.clone_from(&from_file.calendars);
        defaults.seal.key_file.clone_from(&from_file.seal.key_file);
        defaults.anchor.key_file.clone_from(&from_file.anchor.key_file);
        let known = serde_json::to_value(&defaults).unwrap();
        assert_eq!(serde_json::to_value(&from_file).unwrap(), known, "the file's values are the defaults");
        let keys =
            DEFAULT_TOML.lines().filter_map(|l| l.trim_start_matches('#').trim().split_once(" = ")).map(|(k, _)| k);
        let in_file: std::collections::BTreeSet<&str> = keys.collect();
        fn leaves<'a>(v: &'a Value, out: &mut Vec<&'a str>) {
            for (k, v) in v.as_object().into_iter().flatten() {
                if v.is_object() { leaves(v, out) } else { out.push(k) }
            }
        }
        let mut all = Vec::new();
        leaves(&known, &mut all);
        let destination = serde_json::to_value(DestinationSettings::default()).unwrap();
        leaves(&destination, &mut all);
        for k in all {
            assert!(in_file.contains(k), "{k} is not in the generated file");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let e = load_text("[vendors.alpaca]\nbase_ulr = \"x\"\n").unwrap_err().to_string();
        assert!(e.contains("`vendors.alpaca.base_ulr`") && e.contains("`base_url`"), "{e}");
    }

    #[test]
    fn paths_of_a_file_are_relative_to_it_and_the_flag_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("datanode.toml");
        std::fs::write(&file, "data_dir = \"d\"\n").unwrap();
        assert_eq!(load(Some(&file), None).unwrap().data_dir, dir.path().join("d"));
        assert_eq!(load(Some(&file), Some(Path::new("/x"))).unwrap().data_dir, Path::new("/x"));
    }

    #[test]
    fn wrong_types_and_impossible_values_are_refused() {
        assert!(load_text("[seal]\nchunk_mib = 99\n").unwrap_err().to_string().contains("seal.chunk_mib"));
        assert!(load_text("[node]\nsource = \"Über\"\n").unwrap_err().to_string().contains("node.source"));
        assert!(load_text("[node]\nthreads = \"many\"\n").is_err());
        for (key, value) in [("max_run_minutes", "10081"), ("max_run_requests", "-1"), ("max_lookback_days", "99999")] {
            let e = load_text(&format!("[queue]\n{key} = {value}\n")).unwrap_err().to_string();
            assert!(e.contains(key), "{e}");
        }
    }
}
