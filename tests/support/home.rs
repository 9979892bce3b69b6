//! A node in this process whose packs are made by the test: nothing is collected, so that a pack is what the test says.

use super::s3::{KEY, S3, SECRET_KEY};
use datanode::config::{DestinationSettings, Settings};
use datanode::wiring::{self, wire};
use datanode_actors::node::Node;
use datanode_actors::publishing::ShipMode;
use datanode_actors::seal::stage::seal_pack;
use datanode_schema::clock::Clock;
use datanode_schema::files::{sha256_hex, sha256_of};
use datanode_schema::records::PackRecord;
use datanode_schema::store::Batch;
use datanode_schema::trees::PACKS;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Path below `data/` to bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Files that no compression makes smaller, of a seed.
pub fn files(n: usize, bytes: usize, seed: u64) -> Files {
    (0..n).map(|i| (format!("equities_bars/part={i:04}/data.parquet"), noise(bytes, seed + i as u64))).collect()
}

/// Bytes of a seed.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0u8; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// The home.
pub struct Home {
    pub root: tempfile::TempDir,
    pub settings: Settings,
    node: Option<Arc<Node>>,
}

impl Home {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("datanode-ship-").tempdir().unwrap();
        std::fs::write(root.path().join("universe.yaml"), "universe: {}\n").unwrap();
        let mut settings = Settings { data_dir: root.path().join("data"), ..Settings::default() };
        settings.universe = root.path().join("universe.yaml");
        settings.node.host_id = "e2e".into();
        std::fs::write(root.path().join("key"), KEY).unwrap();
        std::fs::write(root.path().join("secret"), SECRET_KEY).unwrap();
        Self { root, settings, node: None }
    }

    /// Adds a destination in the bucket `packs` of the server at `endpoint`.
    pub fn bucket(mut self, name: &str, endpoint: &str, mode: ShipMode) -> Self {
        let at = |f: &str| format!("file:{}", self.root.path().join(f).display());
        let d = DestinationSettings {
            url: "s3://packs/home".into(),
            endpoint: endpoint.into(),
            key: at("key"),
            secret: at("secret"),
            mode,
            ..DestinationSettings::default()
        };
        self.settings.ship.destinations.insert(name.into(), d);
        self
    }

    /// Adds a folder.
    pub fn folder(mut self, name: &str, path: &Path, mode: ShipMode) -> Self {
        let url = path.display().to_string();
        let d = DestinationSettings { url, mode, ..DestinationSettings::default() };
        self.settings.ship.destinations.insert(name.into(), d);
        self
    }

    pub fn with(mut self, name: &str, change: impl FnOnce(&mut DestinationSettings)) -> Self {
        change(self.settings.ship.destinations.get_mut(name).unwrap());
        self
    }

    /// The node; opened when it is first asked for.
    pub fn node(&mut self) -> Arc<Node> {
        if self.node.is_none() {
            let clock = Clock::frozen("2026-03-05T23:00:00Z".parse().unwrap());
            self.node = Some(wire(&self.settings, &clock).unwrap().node);
        }
        self.node.clone().unwrap()
    }

    /// Closes the node: another process may have the folder now, or the next one is opened with changed settings.
    pub fn close(&mut self) {
        if let Some(n) = self.node.take() {
            n.store.clone().close().unwrap();
        }
    }

    /// Takes destinations from the settings again.
    pub fn redirect(&mut self) {
        let all = wiring::destinations(&self.settings).unwrap();
        let node = self.node();
        node.publishing.destinations.set(all);
        node.shipping.distrust_all();
    }

    pub fn data(&self) -> PathBuf {
        self.settings.data_dir.clone()
    }

    pub fn pack_folder(&self, id: &str) -> PathBuf {
        self.data().join("exports/datanode").join(format!("export_{id}"))
    }

    /// A full pack of the night of March `day`, 2026.
    pub fn full(&mut self, day: u32, files: &Files) -> String {
        self.make(&format!("202603{day:02}T230000Z_datanode_full"), None, files, &BTreeMap::new())
    }

    /// A delta: `held` says in which earlier pack each file lies that is not its own.
    pub fn delta(&mut self, day: u32, base: &str, files: &Files, held: &BTreeMap<String, String>) -> String {
        self.make(&format!("202603{day:02}T230000Z_datanode_delta"), Some(base), files, held)
    }

    fn make(&mut self, id: &str, base: Option<&str>, files: &Files, held: &BTreeMap<String, String>) -> String {
        let node = self.node();
        let folder = self.pack_folder(id);
        let mut listed = Vec::new();
        let mut sums = BTreeMap::new();
        let window = json!({"start": "2026-03-02", "end": "2026-03-02"});
        for (path, bytes) in files {
            let dataset = path.split('/').next().unwrap();
            let dated = path.split('/').find_map(|c| c.strip_prefix("date="));
            let window = dated.map_or(window.clone(), |d| json!({"start": d, "end": d}));
            let (path, sum) = (format!("data/{path}"), sha256_hex(bytes));
            let mut f = json!({"path": path, "sha256": sum, "bytes": bytes.len(), "rows": 1, "dataset": dataset,
                "window": window});
            match held.get(path.strip_prefix("data/").unwrap()) {
                Some(h) => f["held_by"] = json!(h),
                None => {
                    let at = folder.join(&path);
                    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
                    std::fs::write(at, bytes).unwrap();
                    sums.insert(path.clone(), sum);
                }
            }
            listed.push(f);
        }
        std::fs::create_dir_all(&folder).unwrap();
        let m = json!({
            "schema_version": 1, "export_id": id, "created_at_utc": "2026-03-02T23:00:00Z", "source": "datanode",
            "time_window": window, "producer": {"host_id": "e2e", "version": "0", "git_sha": null, "image": null},
            "repo_head": null, "calendar": {"name": "XNYS", "version": "1", "sha256": "0".repeat(64)},
            "config_sha256": "0".repeat(64), "files": listed,
            "qc": {"green": 1, "amber": 0, "red": 0, "pending": 0, "excluded": []},
            "base_export_id": base, "notes": null,
        });
        let text = serde_json::to_vec_pretty(&m).unwrap();
        sums.insert("manifest.json".into(), sha256_hex(&text));
        let lines: String = sums.iter().map(|(p, s)| format!("{s}  {p}\n")).collect();
        std::fs::write(folder.join("manifest.json"), &text).unwrap();
        std::fs::write(folder.join("SHA256SUMS.stable.txt"), lines).unwrap();
        let day: i64 = id[6..8].parse().unwrap();
        let record = PackRecord {
            as_of: 20_513 + day as i32,
            created_at: 1_772_400_000 + day * 86_400,
            manifest_sha256: sha256_of(&text),
            content: [0; 32],
            files: files.len() as u64 + 2,
            bytes: 1,
            rows: 1,
            pack_uid: String::new(),
            root: [0; 32],
            removed_at: 0,
        };
        let mut b = Batch::new();
        b.put(&PACKS, &id.to_owned(), &record).unwrap();
        node.store.commit(b).unwrap();
        id.to_owned()
    }

    /// Seals a pack; its uid.
    pub fn seal(&mut self, id: &str) -> String {
        seal_pack(&self.node(), id).unwrap().pack_uid
    }

    pub fn ship(&mut self, id: &str) -> Result<datanode_actors::ship::ShipCounters, datanode_actors::ship::ShipError> {
        datanode_actors::ship::ship(&self.node(), id)
    }
}

/// Where an s3s-fs or an rclone keeps what lies below the prefix of [`Home::bucket`].
pub fn below(s3: &S3) -> PathBuf {
    s3.root.path().join("packs/home")
}

/// Where the pack lies below a destination.
pub fn pack_at(root: &Path, id: &str) -> PathBuf {
    root.join("exports/datanode").join(format!("export_{id}"))
}
