//! The settings and their defaults. What each means stands in the generated `datanode.toml`.

use chrono::NaiveTime;
use datanode_actors::books::Rank;
use datanode_actors::publishing::{ExportScope, ShipMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// All settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the generated datanode.toml documents each, and a test keeps the two together")]
pub struct Settings {
    pub data_dir: PathBuf,
    pub universe: PathBuf,
    pub datasets: PathBuf,
    pub capabilities: PathBuf,
    pub calendars: PathBuf,
    pub node: NodeSettings,
    pub schedule: ScheduleSettings,
    pub queue: QueueSettings,
    pub store: StoreSettings,
    pub http: HttpSettings,
    pub books: BooksSettings,
    pub vendors: VendorsSettings,
    pub export: ExportSettings,
    pub seal: SealSettings,
    pub ship: ShipSettings,
    pub vault: VaultSettings,
    pub anchor: AnchorSettings,
    pub retention: RetentionSettings,
    pub offload: OffloadSettings,
    pub serve: ServeSettings,
    pub alerts: AlertSettings,
    pub backup: BackupSettings,
    pub telemetry: TelemetrySettings,
    pub log: LogSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            universe: PathBuf::new(),
            datasets: PathBuf::new(),
            capabilities: PathBuf::new(),
            calendars: PathBuf::new(),
            node: NodeSettings::default(),
            schedule: ScheduleSettings::default(),
            queue: QueueSettings::default(),
            store: StoreSettings::default(),
            http: HttpSettings::default(),
            books: BooksSettings::default(),
            vendors: VendorsSettings::default(),
            export: ExportSettings::default(),
            seal: SealSettings::default(),
            ship: ShipSettings::default(),
            vault: VaultSettings::default(),
            anchor: AnchorSettings::default(),
            retention: RetentionSettings::default(),
            offload: OffloadSettings::default(),
            serve: ServeSettings::default(),
            alerts: AlertSettings::default(),
            backup: BackupSettings::default(),
            telemetry: TelemetrySettings::default(),
            log: LogSettings::default(),
        }
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs, reason = "the generated datanode.toml documents each, and a test keeps the two together")]
        pub struct $name { $(pub $field: $type),* }
        impl Default for $name {
            fn default() -> Self { Self { $($field: $default),* } }
        }
    };
}

section! { /// `[node]`
NodeSettings { host_id: String = String::new(), source: String = "datanode".into(), threads: usize = 2 } }
section! { /// `[schedule]`
ScheduleSettings { nightly_at: String = "06:30".into(), ingest_every_minutes: u32 = 60 } }
section! { /// `[queue]`
QueueSettings {
    lease_seconds: u32 = 60, max_run_minutes: u32 = 0, max_run_requests: u64 = 0, max_lookback_days: u32 = 0,
} }
section! { /// `[store]`
StoreSettings { cache_mib: u64 = 32, free_space_floor_mib: u64 = 256 } }
section! { /// `[http]`
HttpSettings { timeout_seconds: u32 = 30 } }
section! { /// `[books]`
    BooksSettings {
        markets: String = String::new(),
        top: usize = 50,
        rank: Rank = Rank::Volume,
        cadence_seconds: u32 = 60,
        rediscover_minutes: u32 = 60,
    }
}
section! { /// `[seal]`
SealSettings { key_file: PathBuf = PathBuf::new(), recipients: String = String::new(), chunk_mib: u32 = 8 } }
section! { /// `[export]`
ExportSettings {
    cadence: Cadence = Cadence::Nightly, scope: ExportScope = ExportScope::Full, full_every_days: u32 = 7, archive: bool = false,
} }
section! { /// `[ship]`
ShipSettings {
    folder: PathBuf = PathBuf::new(),
    mode: ShipMode = ShipMode::Both,
    destinations: BTreeMap<String, DestinationSettings> = BTreeMap::new(),
} }
section! { /// `[ship.destinations.NAME]`
DestinationSettings {
    url: String = String::new(),
    endpoint: String = String::new(),
    region: String = String::new(),
    key: String = String::new(),
    secret: String = String::new(),
    token: String = String::new(),
    mode: ShipMode = ShipMode::Both,
    accept_unsafe_bucket: bool = false,
    kib_per_second: u64 = 0,
    parallel: usize = 4,
    keep_packs: usize = 0,
    keep_days: u32 = 0,
    keep_monthly: u32 = 0,
} }
section! { /// `[vault]`
VaultSettings { scrub_days: u32 = 30, scrub_kib_per_second: u64 = 8192, replica: ReplicaSettings = ReplicaSettings::default() } }
section! { /// `[vault.replica]`
ReplicaSettings {
    url: String = String::new(),
    endpoint: String = String::new(),
    region: String = String::new(),
    key: String = String::new(),
    secret: String = String::new(),
    token: String = String::new(),
    kib_per_second: u64 = 0,
} }
section! { /// `[anchor]`
AnchorSettings { name: String = String::new(), key_file: PathBuf = PathBuf::new(), per_chunk: bool = false } }
section! { /// `[retention]`
RetentionSettings { keep_packs: usize = 30, keep_days: u32 = 0, keep_monthly: u32 = 0, trash_days: u32 = 7 } }
section! { /// `[offload]`
OffloadSettings {
    remote: String = String::new(),
    program: PathBuf = PathBuf::from("rclone"),
    config: PathBuf = PathBuf::new(),
    keep_days: u32 = 14,
    kib_per_second: u64 = 0,
} }
section! { /// `[serve]`
ServeSettings { listen: String = String::new(), page: bool = false, requests_per_minute: u32 = 600 } }
section! { /// `[alerts]`
AlertSettings {
    webhook: String = String::new(),
    ntfy: String = String::new(),
    dead_man: String = String::new(),
    repeat_minutes: u32 = 720,
    per_hour: u32 = 20,
    pack_late_hours: u32 = 30,
} }
section! { /// `[backup]`
BackupSettings {
    url: String = String::new(),
    endpoint: String = String::new(),
    region: String = String::new(),
    key: String = String::new(),
    secret: String = String::new(),
    token: String = String::new(),
    recipients: String = String::new(),
    every_hours: u32 = 1,
    keep_hourly: usize = 24,
    keep_daily: usize = 30,
    keep_weekly: usize = 8,
} }
section! { /// `[telemetry]`
TelemetrySettings { otlp: String = String::new() } }
section! { /// `[log]`
LogSettings { level: String = "info".into(), format: String = "human".into() } }

/// How often a pack is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    /// At `schedule.nightly_at`.
    Nightly,
    /// And every hour.
    Hourly,
}

/// `[vendors.*]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the generated datanode.toml documents each, and a test keeps the two together")]
pub struct VendorsSettings {
    pub files: VendorSettings,
    pub alpaca: VendorSettings,
    pub massive: VendorSettings,
    pub fred: VendorSettings,
    pub polymarket: VendorSettings,
    pub tiingo: VendorSettings,
}

section! { /// One vendor.
    VendorSettings {
        enabled: bool = false,
        base_url: String = String::new(),
        trading_base_url: String = String::new(),
        clob_base_url: String = String::new(),
        graph_base_url: String = String::new(),
        key: String = String::new(),
        secret: String = String::new(),
        feed: String = String::new(),
        adjustment: String = String::new(),
        per_second: Option<u32> = None,
        per_minute: Option<u32> = None,
        per_day: Option<u64> = None,
        concurrency: Option<u32> = None,
    }
}

/// FRED's key where the configuration names none. FRED alone works without one.
pub const FRED_KEY: &str = "env:FRED_API_KEY";

impl Default for VendorsSettings {
    fn default() -> Self {
        let at = |base_url: &str, key: &str, secret: &str| VendorSettings {
            base_url: base_url.into(),
            key: key.into(),
            secret: secret.into(),
            ..VendorSettings::default()
        };
        Self {
            files: at("", "", ""),
            alpaca: VendorSettings {
                trading_base_url: "https://api.alpaca.markets".into(),
                ..at("https://data.alpaca.markets", "env:APCA_API_KEY_ID", "env:APCA_API_SECRET_KEY")
            },
            massive: at("https://api.massive.com", "env:MASSIVE_API_KEY", ""),
            fred: VendorSettings {
                graph_base_url: "https://fred.stlouisfed.org".into(),
                ..at("https://api.stlouisfed.org", FRED_KEY, "")
            },
            polymarket: VendorSettings {
                clob_base_url: "https://clob.polymarket.com".into(),
                ..at("https://gamma-api.polymarket.com", "", "")
            },
            tiingo: at("https://api.tiingo.com", "env:TIINGO_API_KEY", ""),
        }
    }
}

impl ScheduleSettings {
    /// `nightly_at` as a time of day, UTC.
    ///
    /// # Errors
    /// It is not HH:MM.
    pub fn at(&self) -> Result<NaiveTime, String> {
        NaiveTime::parse_from_str(&self.nightly_at, "%H:%M")
            .map_err(|_| format!("schedule.nightly_at: {:?} is not HH:MM", self.nightly_at))
    }
}
