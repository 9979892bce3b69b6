//! Packs made by hand: what a bucket holds after a ship, and what a hostile one may hold.

use super::Draw;
use datanode_schema::files::sha256_hex;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A pack in the making: files by path.
#[derive(Clone)]
pub struct Pack {
    pub id: String,
    pub files: Vec<(String, Vec<u8>)>,
    /// Path to the earlier pack whose folder has it.
    pub held_by: Vec<(String, String)>,
    pub base: Option<String>,
}

/// `n` files of `bytes` random bytes each.
pub fn files(seed: u64, n: usize, bytes: usize) -> Vec<(String, Vec<u8>)> {
    let mut draw = Draw(seed);
    let mut body = || (0..bytes).map(|_| u8::try_from(draw.below(256)).unwrap()).collect::<Vec<u8>>();
    (0..n).map(|i| (format!("data/equities_bars/year=2025/month={i:03}/data.parquet"), body())).collect()
}

/// The id of a full pack of `home` at this hour of 2026-03-02.
pub fn full(hour: u32) -> String {
    format!("20260302T{hour:02}0000Z_home_full")
}

/// The id of a delta.
pub fn delta(hour: u32) -> String {
    format!("20260302T{hour:02}0000Z_home_delta")
}

impl Pack {
    pub fn full(id: &str, files: Vec<(String, Vec<u8>)>) -> Self {
        Self { id: id.to_owned(), files, held_by: Vec::new(), base: None }
    }

    pub fn manifest(&self) -> Value {
        let window = json!({"start": "2025-01-02", "end": "2025-12-31"});
        let files: Vec<Value> = self
            .files
            .iter()
            .map(|(path, body)| {
                let mut v = json!({"path": path, "sha256": sha256_hex(body), "bytes": body.len(), "rows": 1,
                    "dataset": "equities_bars", "window": window});
                if let Some((_, by)) = self.held_by.iter().find(|(p, _)| p == path) {
                    v["held_by"] = json!(by);
                }
                v
            })
            .collect();
        json!({"schema_version": 1, "export_id": self.id, "created_at_utc": "2026-03-02T23:00:00Z",
            "source": self.id.split('_').nth(1).unwrap(), "time_window": window,
            "producer": {"host_id": "e2e", "version": "0.1.0", "git_sha": null, "image": null}, "repo_head": null,
            "calendar": {"name": "XNYS", "version": "1", "sha256": sha256_hex(b"")}, "config_sha256": sha256_hex(b""),
            "files": files, "qc": {"green": 1, "amber": 0, "red": 0, "pending": 0, "excluded": []},
            "base_export_id": self.base, "notes": null})
    }

    /// Writes the pack as it is shipped below `exports`; what others hold is not in its folder.
    pub fn write(&self, exports: &Path) -> PathBuf {
        self.write_with(exports, &serde_json::to_string_pretty(&self.manifest()).unwrap())
    }

    /// The same with another manifest, whose sums are right for it.
    pub fn write_with(&self, exports: &Path, manifest: &str) -> PathBuf {
        let folder = exports.join(format!("export_{}", self.id));
        std::fs::create_dir_all(&folder).unwrap();
        let mut sums = vec![("manifest.json".to_owned(), sha256_hex(manifest.as_bytes()))];
        for (path, body) in self.files.iter().filter(|(p, _)| !self.held_by.iter().any(|(h, _)| h == p)) {
            let to = folder.join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(&to, body).unwrap();
            sums.push((path.clone(), sha256_hex(body)));
        }
        sums.sort();
        let sums: String = sums.into_iter().map(|(p, s)| format!("{s}  {p}\n")).collect();
        std::fs::write(folder.join("SHA256SUMS.stable.txt"), sums).unwrap();
        std::fs::write(folder.join("manifest.json"), manifest).unwrap();
        folder
    }
}
