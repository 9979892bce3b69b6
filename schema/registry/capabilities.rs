//! `vendor_capabilities.yaml`.

use super::{DatasetRule, RegistryError, yaml};
use crate::names::{Dataset, Vendor};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often a vendor may be asked; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests in any second.
    pub per_second: u32,
    /// Requests in any minute.
    pub per_minute: u32,
    /// Requests in a UTC day.
    pub per_day: u64,
    /// Requests under way at once.
    pub concurrency: u32,
}

/// What a vendor can do for one dataset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// The higher is asked first.
    pub preference: u32,
    /// Sent with every request and recorded.
    #[serde(default)]
    pub feed: String,
    /// Sent with every request and recorded.
    #[serde(default)]
    pub adjustment: String,
    /// First day that the vendor has.
    #[serde(default)]
    pub from: Option<NaiveDate>,
    /// Last day that the vendor has.
    #[serde(default)]
    pub to: Option<NaiveDate>,
    /// What the plan does not include, where it is known beforehand.
    #[serde(default)]
    pub entitlement: Entitlement,
    /// Symbols in one request.
    pub max_symbols: u32,
    /// Days in one request; 0 = no limit.
    #[serde(default)]
    pub max_days: u32,
    /// Rows in one answer.
    pub max_rows: u32,
    /// Milliseconds that one request is expected to take, until it is learned.
    #[serde(default = "default_latency")]
    pub latency_ms: u32,
    /// Whether a less preferred vendor may take what this one is only too busy for.
    #[serde(default = "yes")]
    pub spill: bool,
}

/// What a plan does not include, as days before the UTC day of the asking and minutes before now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entitlement {
    /// Nothing older than so many days; 0 = no limit.
    #[serde(default)]
    pub history_days: u32,
    /// Nothing newer than so many minutes.
    #[serde(default)]
    pub delay_minutes: u32,
}

fn default_latency() -> u32 {
    300
}

fn yes() -> bool {
    true
}

impl Capability {
    /// The part of `from..=to` that the vendor has.
    pub fn clip(&self, from: NaiveDate, to: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let a = self.from.map_or(from, |f| f.max(from));
        let b = self.to.map_or(to, |t| t.min(to));
        (a <= b).then_some((a, b))
    }
}

/// What a vendor can do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorCaps {
    /// Budgets.
    pub limits: Limits,
    /// By dataset.
    #[serde(deserialize_with = "by_dataset")]
    pub datasets: BTreeMap<Dataset, Capability>,
}

fn by_dataset<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<Dataset, Capability>, D::Error> {
    BTreeMap::<Dataset, Capability>::deserialize(d)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vendors: BTreeMap<Vendor, VendorCaps>,
}

pub(super) fn parse(
    file: &str,
    text: &str,
    datasets: &BTreeMap<Dataset, DatasetRule>,
) -> Result<BTreeMap<Vendor, VendorCaps>, RegistryError> {
    let parsed: File = yaml::parse(file, text)?;
    let mut preferences: BTreeMap<(Dataset, u32), Vendor> = BTreeMap::new();
    for (vendor, caps) in &parsed.vendors {
        if caps.limits.concurrency == 0 {
            let path = ["vendors", vendor.name(), "limits", "concurrency"];
            return Err(yaml::at(file, text, &path, "0 would never ask: write 1 or more"));
        }
        for (dataset, c) in &caps.datasets {
            let bad = |field: &str, problem: String| {
                yaml::at(file, text, &["vendors", vendor.name(), "datasets", dataset.name(), field], problem)
            };
            if !datasets.contains_key(dataset) {
                return Err(bad("", format!("{dataset} is not in datasets.yaml: add it there or remove it here")));
            }
            if let (Some(from), Some(to)) = (c.from, c.to)
                && from > to
            {
                return Err(bad("from", format!("{from} lies after `to: {to}`")));
            }
            if c.max_rows == 0 || c.max_symbols == 0 {
                return Err(bad("max_rows", "max_rows and max_symbols are 1 or more".into()));
            }
            if let Some(other) = preferences.insert((*dataset, c.preference), *vendor) {
                return Err(bad(
                    "preference",
                    format!(
                        "{} is also that of {other}: two vendors of a dataset need different preferences",
                        c.preference
                    ),
                ));
            }
        }
    }
    Ok(parsed.vendors)
}
