//! The registry: what the datasets are (`datasets.yaml`), what each vendor can do (`vendor_capabilities.yaml`), what the
//! node should hold (`universe.yaml`) and what the calendars do not know (`calendars.yaml`). It is read whole, checked whole, and refused whole: an error names the
//! file, the line and the field.

mod calendars;
mod capabilities;
mod columns;
mod datasets;
mod universe;
mod yaml;

pub use calendars::{Calendars, Correction};
pub use capabilities::{Capability, Entitlement, Limits, VendorCaps, check_adjustment, check_feed, check_limits};
pub use columns::{Column, columns};
pub use datasets::{Amber, Cadence, DatasetRule, Listing, NoTrade, Required, Thresholds};
pub use universe::{Span, Universe, check_symbol};

use crate::names::{Dataset, Vendor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The generated `datasets.yaml`.
pub const DEFAULT_DATASETS: &str = include_str!("../../ops/config/datasets.yaml");
/// The generated `vendor_capabilities.yaml`.
pub const DEFAULT_CAPABILITIES: &str = include_str!("../../ops/config/vendor_capabilities.yaml");
/// The generated `universe.yaml`.
pub const DEFAULT_UNIVERSE: &str = include_str!("../../ops/config/universe.yaml");
/// The generated `calendars.yaml`.
pub const DEFAULT_CALENDARS: &str = include_str!("../../ops/config/calendars.yaml");

/// A registry file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be read.
    #[error("{file}: cannot be read: {cause}; check the path in datanode.toml (or its environment variable)")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It says something that it may not.
    #[error("{file}:{line}: {field}: {problem}")]
    Invalid {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The field, dotted.
        field: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

/// The four files together.
#[derive(Clone, PartialEq, Debug)]
pub struct Registry {
    /// By dataset.
    pub datasets: BTreeMap<Dataset, DatasetRule>,
    /// By vendor.
    pub vendors: BTreeMap<Vendor, VendorCaps>,
    /// What the node should hold.
    pub universe: Universe,
    /// The calendars, with the owner's corrections.
    pub calendars: Calendars,
}

/// The texts of the four files, with the names under which errors speak of them.
pub struct Sources {
    /// `datasets.yaml`: name, text.
    pub datasets: (String, String),
    /// `vendor_capabilities.yaml`: name, text.
    pub capabilities: (String, String),
    /// `universe.yaml`: name, text.
    pub universe: (String, String),
    /// `calendars.yaml`: name, text.
    pub calendars: (String, String),
}

impl Sources {
    /// Reads each file that is given, and takes the built-in text for each that is not.
    ///
    /// # Errors
    /// [`RegistryError::Read`].
    pub fn read(
        datasets: Option<&Path>,
        capabilities: Option<&Path>,
        universe: Option<&Path>,
    ) -> Result<Self, RegistryError> {
        Ok(Self {
            datasets: one(datasets, "datasets.yaml", DEFAULT_DATASETS)?,
            capabilities: one(capabilities, "vendor_capabilities.yaml", DEFAULT_CAPABILITIES)?,
            universe: one(universe, "universe.yaml", DEFAULT_UNIVERSE)?,
            calendars: one(None, "calendars.yaml", DEFAULT_CALENDARS)?,
        })
    }

    /// The same with the owner's corrections of the calendars, where a file is given.
    ///
    /// # Errors
    /// [`RegistryError::Read`].
    pub fn with_calendars(mut self, calendars: Option<&Path>) -> Result<Self, RegistryError> {
        self.calendars = one(calendars, "calendars.yaml", DEFAULT_CALENDARS)?;
        Ok(self)
    }
}

/// The name and the text of a file, or of the built-in one.
fn one(path: Option<&Path>, name: &str, default: &str) -> Result<(String, String), RegistryError> {
    match path {
        Some(p) => read_bounded(p)
            .map(|t| (p.display().to_string(), t))
            .map_err(|cause| RegistryError::Read { file: p.to_owned(), cause }),
        None => Ok((format!("built-in {name}"), default.to_owned())),
    }
}

/// A registry file is smaller than this.
const MAX_BYTES: u64 = 64 << 20;

/// The text of a regular file: a pipe would be waited for, and a disk image would fill the memory.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let wrong = |m: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, m.to_owned());
    // Asked before it is opened: opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(wrong("it is no regular file"));
    }
    let mut text = String::new();
    let mut file = std::fs::File::open(path)?;
    if Read::by_ref(&mut file).take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        return Err(wrong("it has more than 64 MiB"));
    }
    Ok(text)
}

impl Registry {
    /// Parses and checks the four texts.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] for the first thing that is wrong.
    pub fn parse(s: &Sources) -> Result<Self, RegistryError> {
        let calendars = calendars::parse(&s.calendars.0, &s.calendars.1)?;
        let datasets = datasets::parse(&s.datasets.0, &s.datasets.1, &calendars)?;
        let vendors = capabilities::parse(&s.capabilities.0, &s.capabilities.1, &datasets)?;
        let universe = universe::parse(&s.universe.0, &s.universe.1, &datasets)?;
        Ok(Self { datasets, vendors, universe, calendars })
    }

    /// The rule of a dataset.
    pub fn rule(&self, dataset: Dataset) -> Option<&DatasetRule> {
        self.datasets.get(&dataset)
    }

    /// What a vendor can do for a dataset.
    pub fn capability(&self, vendor: Vendor, dataset: Dataset) -> Option<&Capability> {
        self.vendors.get(&vendor)?.datasets.get(&dataset)
    }

    /// The vendors of a dataset, the preferred one first; ties go to the name.
    pub fn ranked(&self, dataset: Dataset) -> Vec<(Vendor, &Capability)> {
        let mut out: Vec<_> =
            self.vendors.iter().filter_map(|(v, c)| c.datasets.get(&dataset).map(|d| (*v, d))).collect();
        out.sort_by(|a, b| b.1.preference.cmp(&a.1.preference).then(a.0.name().cmp(b.0.name())));
        out
    }
}

#[cfg(test)]
mod tests;
