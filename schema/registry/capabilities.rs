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

/// The datasets that a vendor's connector can ask for.
fn serves(vendor: Vendor) -> &'static [Dataset] {
    use Dataset::{CorporateActions, EquitiesBars, EquitiesBarsMinute, MacroTreasury, OptionsBars, PredictionBooks};
    match vendor {
        Vendor::Files => &[EquitiesBars, EquitiesBarsMinute, OptionsBars, CorporateActions, MacroTreasury],
        Vendor::Alpaca | Vendor::Massive => &[EquitiesBars, EquitiesBarsMinute, OptionsBars, CorporateActions],
        Vendor::Fred => &[MacroTreasury],
        Vendor::Polymarket => &[PredictionBooks],
        Vendor::Tiingo => &[EquitiesBars, EquitiesBarsMinute],
    }
}

/// Says what is wrong with a feed: of share bars it must be one that the vendor has, since another tape is other data.
///
/// # Errors
/// The problem, in words.
pub fn check_feed(vendor: Vendor, dataset: Dataset, feed: &str) -> Result<(), String> {
    let shares = matches!(dataset, Dataset::EquitiesBars | Dataset::EquitiesBarsMinute);
    let known: &[&str] = match vendor {
        Vendor::Alpaca if shares => &["sip", "iex", "otc", "boats", "delayed_sip", "overnight"],
        Vendor::Massive if shares => &["sip"],
        _ => {
            let legal = feed.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b));
            return if legal && feed.len() <= 32 {
                Ok(())
            } else {
                Err(format!("{feed:?} is no feed; write at most 32 of a-z, 0-9, _, - and ."))
            };
        }
    };
    if known.contains(&feed) {
        Ok(())
    } else {
        Err(format!("{vendor} has no feed {feed:?}; write one of {}", known.join(", ")))
    }
}

/// Says what is wrong with an adjustment.
///
/// # Errors
/// The problem, in words.
pub fn check_adjustment(vendor: Vendor, dataset: Dataset, adjustment: &str) -> Result<(), String> {
    let bars = matches!(dataset, Dataset::EquitiesBars | Dataset::EquitiesBarsMinute);
    let known: &[&str] = match (vendor, bars) {
        (Vendor::Alpaca, true) => &["raw", "split", "dividend", "spin-off", "all"],
        (Vendor::Massive, true) => &["raw", "split"],
        (_, true) => &["raw"],
        (_, false) => &["", "raw"],
    };
    if known.contains(&adjustment) {
        Ok(())
    } else {
        let known: Vec<_> = known.iter().filter(|k| !k.is_empty()).copied().collect();
        Err(format!("{vendor} has no adjustment {adjustment:?} of {dataset}; write one of {}", known.join(", ")))
    }
}

/// What is wrong with limits: field, and what to write.
///
/// # Errors
/// The first that is out of range.
pub fn check_limits(l: &Limits) -> Result<(), (&'static str, String)> {
    let ranges = [
        ("per_second", u64::from(l.per_second), 0, 10_000),
        ("per_minute", u64::from(l.per_minute), 0, 600_000),
        ("per_day", l.per_day, 0, 1_000_000_000),
        ("concurrency", u64::from(l.concurrency), 1, 64),
    ];
    for (field, value, least, most) in ranges {
        yaml::within(value, least, most).map_err(|p| (field, p))?;
    }
    Ok(())
}

fn fault(
    vendor: Vendor,
    dataset: Dataset,
    c: &Capability,
    rule: Option<&DatasetRule>,
) -> Result<(), (&'static str, String)> {
    if rule.is_none() {
        return Err(("", format!("{dataset} is not in datasets.yaml; add it there or remove it here")));
    }
    if !serves(vendor).contains(&dataset) {
        let has: Vec<_> = serves(vendor).iter().map(|d| d.name()).collect();
        let problem =
            format!("nothing here asks {vendor} for {dataset}; remove it: it is asked for {}", has.join(", "));
        return Err(("", problem));
    }
    let ranges = [
        ("preference", c.preference, 1, 1_000),
        ("max_symbols", c.max_symbols, 1, 10_000),
        ("max_days", c.max_days, 0, 100_000),
        ("max_rows", c.max_rows, 1, 100_000_000),
        ("latency_ms", c.latency_ms, 1, 3_600_000),
        ("entitlement.history_days", c.entitlement.history_days, 0, 100_000),
        ("entitlement.delay_minutes", c.entitlement.delay_minutes, 0, 1_000_000),
    ];
    for (field, value, least, most) in ranges {
        yaml::within(value.into(), least, most).map_err(|p| (field, p))?;
    }
    check_feed(vendor, dataset, &c.feed).map_err(|p| ("feed", p))?;
    check_adjustment(vendor, dataset, &c.adjustment).map_err(|p| ("adjustment", p))?;
    for (field, day) in [("from", c.from), ("to", c.to)] {
        if let Some(d) = day
            && !(1900..2200).contains(&chrono::Datelike::year(&d))
        {
            return Err((field, format!("{d} is no day that a vendor has; write one from 1900 to 2199, or nothing")));
        }
    }
    match (c.from, c.to) {
        (Some(from), Some(to)) if from > to => {
            return Err(("from", format!("{from} lies after `to: {to}`; write an earlier day")));
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn parse(
    file: &str,
    text: &str,
    datasets: &BTreeMap<Dataset, DatasetRule>,
) -> Result<BTreeMap<Vendor, VendorCaps>, RegistryError> {
    let parsed: File = yaml::parse(file, text)?;
    let mut preferences: BTreeMap<(Dataset, u32), Vendor> = BTreeMap::new();
    for (vendor, caps) in &parsed.vendors {
        let at = |path: &[&str], problem: String| {
            let path: Vec<&str> = ["vendors", vendor.name()].iter().chain(path).copied().collect();
            yaml::at(file, text, &path, problem)
        };
        check_limits(&caps.limits).map_err(|(field, p)| at(&["limits", field], p))?;
        for (dataset, c) in &caps.datasets {
            let bad = |field: &str, problem: String| {
                let path: Vec<&str> = ["datasets", dataset.name()].into_iter().chain(field.split('.')).collect();
                at(&path, problem)
            };
            fault(*vendor, *dataset, c, datasets.get(dataset)).map_err(|(field, p)| bad(field, p))?;
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
