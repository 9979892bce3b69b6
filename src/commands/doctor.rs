//! `datanode doctor`: every failed check names its cause and the next command.

use super::global::Global;
use super::pack::pack_folders;
use crate::config::Settings;
use crate::failure::{Code, Done, Failure};
use crate::wiring::{key_file, open_store, registry};
use datanode_actors::export::verify_pack;
use datanode_actors::quarantine::incidents_of_files;
use datanode_actors::seal::Identity;
use datanode_actors::vault::{CheckPlan, Depth, Vault, check_vault, log_of};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::rfc3339_of;
use datanode_schema::names::{Stage, Vendor};
use datanode_schema::paths::DataDir;
use datanode_schema::records::RunRecord;
use datanode_schema::trees::RUNS;
use serde_json::json;
use std::time::Instant;

struct Check {
    name: &'static str,
    result: Result<String, String>,
}

/// Runs the checks.
///
/// # Errors
/// Exit 1 where one failed; 2 where the configuration cannot be read at all.
pub fn doctor(g: &Global) -> Done {
    let settings = g.settings()?;
    let data = DataDir::new(settings.data_dir.clone());
    let mut checks = vec![
        Check { name: "registry", result: registry_check(&settings) },
        Check { name: "vendors", result: vendors(&settings) },
        Check { name: "clock", result: clock(g) },
        Check { name: "disk", result: disk(&settings) },
        Check { name: "fsync", result: fsync(&settings) },
        Check { name: "key", result: key(&settings) },
    ];
    checks.push(Check { name: "buckets", result: super::buckets::check(&settings, &g.clock()) });
    checks.extend(state(&settings));
    checks.push(Check { name: "vault", result: vault(&data, super::anchored::own_key(&settings)) });
    checks.push(Check { name: "anchor log", result: super::anchored::checkpoint_verifies(&settings) });
    checks.push(Check { name: "last pack", result: last_pack(&data, settings.node.threads) });
    for c in &checks {
        let (word, text) = match &c.result {
            Ok(t) => ("ok", t),
            Err(t) => ("FAILED", t),
        };
        if g.json {
            println!("{}", json!({"check": c.name, "ok": c.result.is_ok(), "message": text}));
        } else {
            println!("{word:<7} {:<10} {text}", c.name);
        }
    }
    let failed = checks.iter().filter(|c| c.result.is_err()).count();
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::new(Code::Failed, format!("{failed} of {} checks failed", checks.len())))
    }
}

fn registry_check(s: &Settings) -> Result<String, String> {
    let r = registry(s).map_err(|e| e.message)?;
    let symbols: usize = r.universe.datasets.values().map(|m| m.len()).sum();
    let corrected = match r.calendars.corrections().len() {
        0 => String::new(),
        n => format!(", {n} corrections of the calendars"),
    };
    Ok(format!("{} datasets, {} vendors, {symbols} symbols{corrected}", r.datasets.len(), r.vendors.len()))
}

fn vendors(s: &Settings) -> Result<String, String> {
    let all = [
        ("files", &s.vendors.files),
        ("alpaca", &s.vendors.alpaca),
        ("massive", &s.vendors.massive),
        ("fred", &s.vendors.fred),
        ("tiingo", &s.vendors.tiingo),
    ];
    let mut enabled = Vec::new();
    for (name, v) in all.iter().filter(|(_, v)| v.enabled) {
        if v.base_url.is_empty() {
            return Err(format!("vendors.{name}.base_url is empty; set it, or disable {name}"));
        }
        if let Some(vendor) = Vendor::from_name(name) {
            crate::wiring::keys(vendor, v)?;
        }
        enabled.push(*name);
    }
    if enabled.is_empty() {
        return Err("no vendor is enabled; set vendors.NAME.enabled = true in datanode.toml (or DATANODE__VENDORS__NAME__ENABLED=true)".into());
    }
    Ok(format!("{} enabled, secrets resolve", enabled.join(", ")))
}

fn clock(g: &Global) -> Result<String, String> {
    let now = g.clock().now();
    if Calendar::Xnys.covers(now.date_naive()) {
        Ok(now.to_rfc3339())
    } else {
        Err(format!("{now} lies outside the calendars' years; set the machine's clock (timedatectl set-ntp true)"))
    }
}

fn disk(s: &Settings) -> Result<String, String> {
    let dir = existing(s);
    let st = nix::sys::statvfs::statvfs(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let free = st.blocks_available().saturating_mul(st.fragment_size()) >> 20;
    let floor = s.store.free_space_floor_mib;
    if free < floor {
        return Err(format!(
            "{free} MiB free in {}, the floor is {floor}; free space, or lower store.free_space_floor_mib",
            dir.display()
        ));
    }
    if st.files() > 0 && st.files_available() < 10_000 {
        return Err(format!(
            "{} inodes free in {}; remove small files, or move data_dir",
            st.files_available(),
            dir.display()
        ));
    }
    Ok(format!("{free} MiB free"))
}

/// How long one small durable write takes here; a figure, not a verdict.
fn fsync(s: &Settings) -> Result<String, String> {
    let dir = existing(s);
    let mut file = tempfile::NamedTempFile::new_in(&dir)
        .map_err(|e| format!("{}: cannot be written: {e}; check its owner", dir.display()))?;
    let began = Instant::now();
    for _ in 0..5 {
        std::io::Write::write_all(&mut file, b"datanode")
            .and_then(|()| file.as_file().sync_all())
            .map_err(|e| e.to_string())?;
    }
    Ok(format!("{:.2} ms a sync", began.elapsed().as_secs_f64() * 1000.0 / 5.0))
}

fn existing(s: &Settings) -> std::path::PathBuf {
    let mut dir = s.data_dir.as_path();
    while !dir.is_dir() {
        match dir.parent() {
            Some(p) if !p.as_os_str().is_empty() => dir = p,
            _ => return std::path::PathBuf::from("."),
        }
    }
    dir.to_owned()
}

fn key(s: &Settings) -> Result<String, String> {
    let path = key_file(s);
    if !path.exists() {
        return Err(format!("{}: no key; make one with `datanode key new`", path.display()));
    }
    let identity = Identity::read(&path).map_err(|e| e.to_string())?;
    Ok(format!("{} ({})", path.display(), identity.to_public()))
}

fn state(s: &Settings) -> Vec<Check> {
    let dir = DataDir::new(s.data_dir.clone()).state();
    if !dir.exists() {
        return vec![Check { name: "state", result: Ok("none yet; the first `datanode nightly` makes it".into()) }];
    }
    let store = match open_store(s) {
        Ok(store) => store,
        Err(f) if f.code == Code::Busy => {
            return vec![Check {
                name: "state",
                result: Ok(format!(
                    "{}; ask it with `datanode-admin status`; `datanode-admin runs` says what became of each export",
                    f.message
                )),
            }];
        }
        Err(f) => return vec![Check { name: "state", result: Err(f.message) }],
    };
    let whole = store.check().map_err(|e| e.to_string()).and_then(|r| {
        if r.problems.is_empty() {
            Ok(format!("{} records, commit {}, journal and root agree", r.root.count, r.root.commit))
        } else {
            Err(format!("{}; stop the node and run `datanode rebuild`", r.problems.join("; ")))
        }
    });
    let last = store.load_all(&RUNS, &[]).map_err(|e| e.to_string()).and_then(|runs| match runs.last() {
        None => Ok("no run yet".to_owned()),
        Some((id, r)) if !r.error.is_empty() => Err(format!("{id} stopped: {}; run `datanode nightly` again", r.error)),
        Some((id, r)) if r.finished_at == 0 => Err(format!("{id} did not finish; run `datanode nightly`: it goes on")),
        Some((id, _)) => Ok(id.clone()),
    });
    let export = store.load_all(&RUNS, &[]).map_err(|e| e.to_string()).and_then(|runs| last_export(&runs));
    let closed = store.close().map_err(|e| e.to_string());
    vec![
        Check { name: "state", result: closed.and(whole) },
        Check { name: "last run", result: last },
        Check { name: "export", result: export },
    ]
}

/// What came of the last run that was to make a pack.
fn last_export(runs: &[(String, RunRecord)]) -> Result<String, String> {
    for (id, r) in runs.iter().rev() {
        if r.stages.iter().any(|s| s.stage == Stage::Export.number()) {
            return Ok(format!("{id} made or confirmed {}", r.export_id));
        }
        if let Some(reason) = r.error.strip_prefix("export: ") {
            return Err(format!("last export refused at {}: {reason}", rfc3339_of(r.finished_at)));
        }
    }
    Ok("none yet".to_owned())
}

/// A look at every object of the vault, and at what incidents say of it.
fn vault(data: &DataDir, own: Option<String>) -> Result<String, String> {
    let Ok(vault) = Vault::at(&data.vault()) else { return Ok("none yet".into()) };
    let (log, unread) = log_of(&data.anchors(), own.as_deref());
    if let Some(why) = unread {
        return Err(why);
    }
    let plan = CheckPlan { depth: Depth::Look, share: None, identity: None, log: &log };
    let r = check_vault(&vault, &plan).map_err(|e| e.to_string())?;
    let bad: Vec<String> = r.bad().map(ToString::to_string).collect();
    if let Some(first) = bad.first() {
        return Err(format!("{} things are wrong, such as {first}; see `datanode vault check`", bad.len()));
    }
    let incidents = incidents_of_files(data).map_err(|e| e.to_string())?;
    let about = incidents.values().filter(|i| i.is_open() && i.artifact.starts_with("vault/")).count();
    if about > 0 {
        return Err(format!(
            "{about} incidents about it are open; see `datanode-admin incident list --open` and vault/repair.log"
        ));
    }
    Ok(format!("{} packs, {} objects, all there", r.packs, r.objects))
}

fn last_pack(data: &DataDir, threads: usize) -> Result<String, String> {
    let Some(newest) = pack_folders(data).pop() else { return Ok("none yet".into()) };
    let r = verify_pack(&newest, threads).ok_or("gone")?;
    if r.problems.is_empty() {
        Ok(format!("{} verifies: {} files", r.export_id, r.files))
    } else {
        Err(format!(
            "{} does not verify: {} problems; see `datanode pack verify {}`",
            r.export_id,
            r.problems.len(),
            newest.display()
        ))
    }
}
