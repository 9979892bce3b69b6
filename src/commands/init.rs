//! `datanode init DIR`.

use crate::config::DEFAULT_TOML;
use crate::failure::{Done, Failure};
use crate::wiring::write_new_key;
use datanode_schema::registry::{DEFAULT_CALENDARS, DEFAULT_CAPABILITIES, DEFAULT_DATASETS, DEFAULT_UNIVERSE};
use std::path::Path;

const UNIT: &str = include_str!("../../ops/systemd/datanode.service");

/// Writes configuration, registries, key and unit; what exists is left as it is.
///
/// # Errors
/// A file cannot be written.
pub fn init(dir: &Path) -> Done {
    std::fs::create_dir_all(dir).map_err(|e| Failure::failed(format!("{}: {e}", dir.display())))?;
    let files = [
        ("datanode.toml", DEFAULT_TOML),
        ("datasets.yaml", DEFAULT_DATASETS),
        ("vendor_capabilities.yaml", DEFAULT_CAPABILITIES),
        ("universe.yaml", DEFAULT_UNIVERSE),
        ("calendars.yaml", DEFAULT_CALENDARS),
        ("datanode.service", UNIT),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        if path.exists() {
            println!("kept     {}", path.display());
            continue;
        }
        std::fs::write(&path, text).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        println!("wrote    {}", path.display());
    }
    let key = dir.join("keys/node.key");
    if key.exists() {
        println!("kept     {}", key.display());
    } else {
        let identity = write_new_key(&key)?;
        println!("wrote    {}  (public: {}); keep a copy elsewhere", key.display(), identity.to_public());
    }
    println!(
        "\nNext: enable a vendor in {0}/datanode.toml, list symbols in {0}/universe.yaml, then\n  datanode --config {0}/datanode.toml doctor\n  datanode --config {0}/datanode.toml nightly",
        dir.display()
    );
    Ok(())
}
