//! A node made of settings: registry, secrets, key, store, endpoints.

use crate::config::{FRED_KEY, Settings, VendorSettings};
use crate::failure::{Code, Failure};
pub use crate::keyfiles::{key_file, keys_of, log_key_file, make_private, write_new_key};
use crate::keyfiles::{log_key, standing_keys};
use crate::{places, secrets};
use datanode_actors::node::{Node, NodeParts, RunCaps};
use datanode_actors::objects::Access;
use datanode_actors::publishing::{
    AnchorRules, Destination, Destinations, ExportRules, Keep, OffloadRules, Publishing, Replica, VaultRules,
};
use datanode_actors::queue::Purse;
use datanode_actors::vendor::fetch::Fetcher;
use datanode_actors::vendor::{Endpoint, Http};
use datanode_schema::clock::Clock;
use datanode_schema::files::{self, sha256_hex};
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::paths::DataDir;
use datanode_schema::registry::{Registry, Sources, check_adjustment, check_feed, check_limits};
use datanode_schema::store::{FORMAT, Store, StoreError, StoreOptions, upgrade};
use datanode_schema::trees;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A node with the means to fetch.
pub struct Wired {
    /// The node.
    pub node: Arc<Node>,
    /// One a vendor, with the requests that may be under way at once.
    pub fetchers: Vec<(Fetcher, u32)>,
}

/// Reads registry and secrets and opens the state.
///
/// # Errors
/// With the exit code of what is wrong.
pub fn wire(settings: &Settings, clock: &Clock) -> Result<Wired, Failure> {
    let registry = registry(settings)?;
    let endpoints = endpoints(settings, &registry)?;
    let enabled: BTreeSet<Vendor> = endpoints.iter().map(|e| e.vendor).collect();
    warn_unserved(&registry, &enabled);
    let data = DataDir::new(settings.data_dir.clone());
    make_private(data.root())?;
    let store = open_store(settings)?;
    files::sweep(data.root()).map_err(|e| Failure::failed(format!("{}/tmp: {e}", data.root().display())))?;
    let publishing = publishing(settings)?;
    let http = Http::new(Duration::from_secs(u64::from(settings.http.timeout_seconds))).map_err(Failure::failed)?;
    let node = Arc::new(Node::new(NodeParts {
        store: store.clone(),
        data,
        clock: clock.clone(),
        enabled,
        caps: caps(settings),
        lease_ms: u64::from(settings.queue.lease_seconds) * 1000,
        host_id: host_id(settings),
        source: settings.node.source.clone(),
        config_sha256: config_sha256(settings, &registry),
        threads: settings.node.threads,
        publishing,
        registry,
    }));
    if let Err(e) = node.acts.catch_up() {
        // The node answers, so that its owner can see what is wrong; no pack is made until it is mended.
        tracing::error!(error = %e, "holds and incidents cannot be read");
    }
    let mut fetchers = Vec::new();
    for endpoint in endpoints {
        let registry = node.registry();
        let Some(caps) = registry.vendors.get(&endpoint.vendor) else { continue };
        let purse = Purse::open(endpoint.vendor, caps.limits, store.clone(), clock.clone()).map_err(of_store)?;
        let (clock, stopping, meter) = (clock.clone(), node.stop_flag(), node.meter.clone());
        let fetcher = Fetcher { http: http.clone(), endpoint, purse, clock, stopping, meter };
        fetchers.push((fetcher, caps.limits.concurrency));
    }
    Ok(Wired { node, fetchers })
}

/// The registry with the overrides of the settings.
///
/// # Errors
/// Exit 2.
pub fn registry(settings: &Settings) -> Result<Registry, Failure> {
    let given = |p: &PathBuf| (!p.as_os_str().is_empty()).then(|| p.clone());
    let (d, c, u) = (given(&settings.datasets), given(&settings.capabilities), given(&settings.universe));
    let calendars = given(&settings.calendars);
    let sources = Sources::read(d.as_deref(), c.as_deref(), u.as_deref())
        .and_then(|s| s.with_calendars(calendars.as_deref()))
        .map_err(Failure::usage)?;
    let mut registry = Registry::parse(&sources).map_err(Failure::usage)?;
    for (vendor, s) in by_vendor(settings) {
        let Some(caps) = registry.vendors.get_mut(&vendor) else { continue };
        let limits = &mut caps.limits;
        limits.per_second = s.per_second.unwrap_or(limits.per_second);
        limits.per_minute = s.per_minute.unwrap_or(limits.per_minute);
        limits.per_day = s.per_day.unwrap_or(limits.per_day);
        limits.concurrency = s.concurrency.unwrap_or(limits.concurrency).max(1);
        let wrong = |field: &str, p: String| Failure::usage(format!("vendors.{vendor}.{field}: {p}"));
        check_limits(limits).map_err(|(field, p)| wrong(field, p))?;
        // A dataset without a feed or an adjustment of its own has none to be overridden.
        for (dataset, c) in &mut caps.datasets {
            if !s.feed.is_empty() && !c.feed.is_empty() && *dataset != Dataset::OptionsBars {
                check_feed(vendor, *dataset, &s.feed).map_err(|p| wrong("feed", p))?;
                c.feed.clone_from(&s.feed);
            }
            if !s.adjustment.is_empty() && !c.adjustment.is_empty() {
                check_adjustment(vendor, *dataset, &s.adjustment).map_err(|p| wrong("adjustment", p))?;
                c.adjustment.clone_from(&s.adjustment);
            }
        }
    }
    Ok(registry)
}

/// What a scheduled run may use up.
fn caps(settings: &Settings) -> RunCaps {
    let q = &settings.queue;
    RunCaps { minutes: q.max_run_minutes, requests: q.max_run_requests, lookback_days: q.max_lookback_days }
}

fn by_vendor(s: &Settings) -> [(Vendor, &VendorSettings); 5] {
    [
        (Vendor::Files, &s.vendors.files),
        (Vendor::Alpaca, &s.vendors.alpaca),
        (Vendor::Massive, &s.vendors.massive),
        (Vendor::Fred, &s.vendors.fred),
        (Vendor::Tiingo, &s.vendors.tiingo),
    ]
}

fn endpoints(settings: &Settings, registry: &Registry) -> Result<Vec<Endpoint>, Failure> {
    let mut out = Vec::new();
    for (vendor, s) in by_vendor(settings) {
        if !s.enabled {
            continue;
        }
        if !registry.vendors.contains_key(&vendor) {
            return Err(Failure::usage(format!(
                "vendors.{vendor}.enabled: {vendor} is not in vendor_capabilities.yaml; add it there or disable it"
            )));
        }
        if s.base_url.is_empty() {
            return Err(Failure::usage(format!("vendors.{vendor}.base_url is empty; set it, or disable {vendor}")));
        }
        let url = |u: &str| u.trim_end_matches('/').to_owned();
        let (key, secret) = keys(vendor, s).map_err(Failure::usage)?;
        let delays = registry.vendors.get(&vendor).map(|c| c.datasets.iter()).into_iter().flatten();
        let delays = delays.filter(|(_, c)| c.entitlement.delay_minutes > 0);
        out.push(Endpoint {
            vendor,
            base_url: url(&s.base_url),
            trading_base_url: url(&s.trading_base_url),
            graph_base_url: url(&s.graph_base_url),
            delay_minutes: delays.map(|(d, c)| (*d, c.entitlement.delay_minutes)).collect(),
            folder: PathBuf::from(&s.base_url),
            key,
            secret,
        });
    }
    Ok(out)
}

/// Key and secret of a vendor. FRED may have none: not given, or the variable that the defaults name is not set.
///
/// # Errors
/// A reference that leads to nothing, or none where a key is needed.
pub fn keys(vendor: Vendor, s: &VendorSettings) -> Result<(Zeroizing<String>, Zeroizing<String>), String> {
    let secret = |part: &str, reference: &str| secrets::resolve(&format!("vendors.{vendor}.{part}"), reference);
    if vendor == Vendor::Fred && s.key == FRED_KEY && std::env::var_os("FRED_API_KEY").is_none() {
        tracing::info!("FRED_API_KEY is not set: the CSV behind FRED's graphs is read, which needs no key");
        return Ok((Zeroizing::default(), Zeroizing::default()));
    }
    let key = secret("key", &s.key)?;
    if key.is_empty() && !matches!(vendor, Vendor::Files | Vendor::Fred) {
        return Err(format!("vendors.{vendor}.key: a reference is needed, for example env:NAME"));
    }
    Ok((key, secret("secret", &s.secret)?))
}

fn warn_unserved(registry: &Registry, enabled: &BTreeSet<Vendor>) {
    for dataset in registry.universe.datasets.keys() {
        if !registry.ranked(*dataset).iter().any(|(v, _)| enabled.contains(v)) {
            tracing::warn!(%dataset, "no enabled vendor has this dataset: its sessions stay missing");
        }
    }
}

/// Opens the state with its lock.
///
/// # Errors
/// Exit 6 where another process holds it, 3 where it is damaged, 4 where a newer build wrote it.
pub fn open_store(settings: &Settings) -> Result<Store, Failure> {
    let data = DataDir::new(settings.data_dir.clone());
    // Looked at before anything is made there.
    let lost = !data.state().join("journal").exists() && data.anchors().join("checkpoint").exists();
    if let Some(done) = upgrade(&data.state()).map_err(of_store)? {
        let (from, copy) = (done.from, done.copy.display());
        tracing::warn!(from, to = FORMAT, %copy, "the state was upgraded; it lies as it was beside it, for a rollback");
    }
    if lost {
        tracing::error!(
            folder = %data.root().display(),
            "THERE IS NO STATE, and the folder has a log: it was lost, and a new one begins, which asks vendors for everything again; \
             to bring it back instead, stop, move state/ away, and run `datanode backup restore --to {} --fill`",
            data.root().display()
        );
    }
    Store::open(&data.state(), &trees::all(), &store_options(settings)).map_err(of_store)
}

/// The store's limits.
pub fn store_options(settings: &Settings) -> StoreOptions {
    StoreOptions {
        cache_bytes: settings.store.cache_mib << 20,
        free_space_floor: settings.store.free_space_floor_mib << 20,
        ..StoreOptions::default()
    }
}

/// The exit code of a store's error.
pub fn of_store(e: StoreError) -> Failure {
    let code = match &e {
        StoreError::Busy { .. } => Code::Busy,
        StoreError::Corrupt { .. } | StoreError::BadRecord { .. } => Code::Integrity,
        StoreError::Newer { .. } | StoreError::Older { .. } => Code::Contract,
        _ => Code::Failed,
    };
    Failure::new(code, e.to_string())
}

fn publishing(settings: &Settings) -> Result<Publishing, Failure> {
    let keys = standing_keys(settings)?;
    let (e, r) = (&settings.export, &settings.retention);
    Ok(Publishing {
        keys,
        chunk_bytes: settings.seal.chunk_mib as usize * 1024 * 1024,
        export: ExportRules { scope: e.scope, full_every_days: e.full_every_days, archive: e.archive },
        destinations: Destinations::new(destinations(settings)?),
        keep: Keep { last: r.keep_packs, days: r.keep_days, monthly: r.keep_monthly },
        trash_days: r.trash_days,
        vault: vault_rules(settings)?,
        anchor: AnchorRules { key: log_key(settings)?, per_chunk: settings.anchor.per_chunk },
        offload: offload(settings),
    })
}

/// How the vault is looked after, secrets resolved.
///
/// # Errors
/// A reference that leads to nothing.
pub fn vault_rules(settings: &Settings) -> Result<VaultRules, Failure> {
    let v = &settings.vault;
    Ok(VaultRules {
        scrub_days: v.scrub_days,
        scrub_bytes_per_second: v.scrub_kib_per_second.saturating_mul(1024),
        replica: replica(settings)?,
    })
}

/// The vault's second copy, its secrets resolved; None: there is none.
///
/// # Errors
/// A reference that leads to nothing.
pub fn replica(settings: &Settings) -> Result<Option<Replica>, Failure> {
    let r = &settings.vault.replica;
    let secret = |part: &str, reference: &str| {
        secrets::resolve(&format!("vault.replica.{part}"), reference).map_err(Failure::usage)
    };
    Ok(match r.url.as_str() {
        "" => None,
        url => Some(Replica {
            access: Access {
                url: url.to_owned(),
                endpoint: r.endpoint.clone(),
                region: r.region.clone(),
                key: secret("key", &r.key)?,
                secret: secret("secret", &r.secret)?,
                token: secret("token", &r.token)?,
            },
            bytes_per_second: r.kib_per_second.saturating_mul(1024),
        }),
    })
}

fn offload(settings: &Settings) -> Option<OffloadRules> {
    let o = &settings.offload;
    (!o.remote.is_empty()).then(|| OffloadRules {
        remote: o.remote.clone(),
        program: o.program.clone(),
        config: o.config.clone(),
        keep_days: o.keep_days,
        bytes_per_second: o.kib_per_second.saturating_mul(1024),
    })
}

/// The destinations of the settings, their secrets resolved; that of `ship.folder` first.
///
/// # Errors
/// A reference that leads to nothing.
pub fn destinations(settings: &Settings) -> Result<Vec<Destination>, Failure> {
    let ship = &settings.ship;
    let mut out = Vec::new();
    if !ship.folder.as_os_str().is_empty() {
        out.push(Destination {
            name: "folder".to_owned(),
            access: Access { url: ship.folder.display().to_string(), ..Access::default() },
            mode: ship.mode,
            accept_unsafe: false,
            bytes_per_second: 0,
            parallel: 4,
            keep: None,
        });
    }
    for (name, d) in &ship.destinations {
        let secret = |part: &str, reference: &str| {
            secrets::resolve(&format!("ship.destinations.{name}.{part}"), reference).map_err(Failure::usage)
        };
        let any = d.keep_packs > 0 || d.keep_days > 0 || d.keep_monthly > 0;
        out.push(Destination {
            name: name.clone(),
            access: Access {
                url: d.url.clone(),
                endpoint: d.endpoint.clone(),
                region: d.region.clone(),
                key: secret("key", &d.key)?,
                secret: secret("secret", &d.secret)?,
                token: secret("token", &d.token)?,
            },
            mode: d.mode,
            accept_unsafe: d.accept_unsafe_bucket,
            bytes_per_second: d.kib_per_second.saturating_mul(1024),
            parallel: d.parallel,
            keep: any.then_some(Keep { last: d.keep_packs, days: d.keep_days, monthly: d.keep_monthly }),
        });
    }
    out.iter().try_for_each(check_destination)?;
    places::check(&settings.data_dir, &out)?;
    if let Some(replica) = replica(settings)? {
        places::check_replica(&settings.data_dir, &replica.access, &out)?;
    }
    Ok(out)
}

/// Whether something could be brought there, as far as it can be told without asking. A folder may still come.
fn check_destination(d: &Destination) -> Result<(), Failure> {
    if d.access.folder_path().is_ok() {
        return Ok(());
    }
    let opened = d.access.open_to_send().map(|_| ());
    opened.map_err(|e| Failure::usage(format!("ship.destinations.{}: {e}", d.name)))
}

/// The producer's name: of the settings, else of the machine.
pub fn host_id(settings: &Settings) -> String {
    if !settings.node.host_id.is_empty() {
        return settings.node.host_id.clone();
    }
    nix::unistd::gethostname().ok().and_then(|h| h.into_string().ok()).unwrap_or_default()
}

/// Hex SHA-256 of what decides a pack's content: registries with their overrides, universe, corrections of
/// the calendars, source, enabled vendors. Not
/// of addresses, limits, keys or folders.
pub fn config_sha256(settings: &Settings, registry: &Registry) -> String {
    let vendors: Vec<_> = by_vendor(settings)
        .into_iter()
        .filter(|(_, s)| s.enabled)
        .filter_map(|(v, _)| registry.vendors.get(&v).map(|c| (v, &c.datasets)))
        .collect();
    let universe: Vec<_> = registry.universe.iter().collect();
    let mut text = serde_json::json!({
        "source": settings.node.source,
        "datasets": registry.datasets,
        "vendors": vendors,
        "universe": universe,
    });
    let calendars = registry.calendars.decisive();
    // Left out where there are none, so that a node without corrections keeps the hash that it had before there could be any.
    if let Some(map) = text.as_object_mut().filter(|_| !calendars.is_empty()) {
        map.insert("calendars".to_owned(), serde_json::json!(calendars));
    }
    sha256_hex(text.to_string().as_bytes())
}
