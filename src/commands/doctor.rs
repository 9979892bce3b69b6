//! `datanode doctor`: every failed check names its cause and the next command.

use super::global::Global;
use super::pack::pack_folders;
use crate::checks::{self, Check, Level};
use crate::config::Settings;
use crate::failure::{Code, Done, Failure, printable_line};
use crate::wiring::open_store;
use datanode_actors::export::verify_pack;
use datanode_actors::quarantine::incidents_of_files;
use datanode_actors::vault::{CheckPlan, Depth, Vault, check_vault, log_of};
use datanode_schema::clock::rfc3339_of;
use datanode_schema::names::Stage;
use datanode_schema::paths::DataDir;
use datanode_schema::records::RunRecord;
use datanode_schema::trees::RUNS;
use serde_json::json;

/// Runs the checks.
///
/// # Errors
/// Exit 1 where one failed; 2 where the configuration cannot be read at all.
pub fn doctor(g: &Global, offline: bool) -> Done {
    let settings = g.settings()?;
    let data = DataDir::new(settings.data_dir.clone());
    let mut checks = checks::quick(&settings, &g.clock());
    if offline {
        checks.push(Check::new("buckets", Ok("not asked (--offline)".to_owned())));
    } else {
        checks.push(Check::new("buckets", super::buckets::check(&settings, &g.clock())));
        checks.push(Check::of("last backup", checks::backup::newest(&settings, &g.clock())));
    }
    checks.extend(state(&settings));
    checks.push(Check::new("vault", vault(&data, super::anchored::own_key(&settings))));
    checks.push(Check::new("anchor log", super::anchored::checkpoint_verifies(&settings)));
    checks.push(Check::new("last pack", last_pack(&data, settings.node.threads)));
    for c in &checks {
        if g.json {
            println!(
                "{}",
                json!({"check": c.name, "ok": c.level != Level::Failed, "level": c.level, "message": c.text})
            );
        } else {
            println!("{:<7} {:<13} {}", c.level.word(), c.name, printable_line(&c.text));
        }
    }
    let failed = checks.iter().filter(|c| c.level == Level::Failed).count();
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::new(Code::Failed, format!("{failed} of {} checks failed", checks.len())))
    }
}

fn state(s: &Settings) -> Vec<Check> {
    let dir = DataDir::new(s.data_dir.clone()).state();
    if !dir.exists() {
        let had = DataDir::new(s.data_dir.clone()).anchors().join("checkpoint").exists();
        let lost = "there is none, and the folder has a log: it was lost; `datanode backup restore --to DATA_DIR --fill` brings it back";
        let result =
            if had { Err(lost.to_owned()) } else { Ok("none yet; the first `datanode nightly` makes it".to_owned()) };
        return vec![Check::new("state", result)];
    }
    let store = match open_store(s) {
        Ok(store) => store,
        Err(f) if f.code == Code::Busy => {
            return vec![Check::new(
                "state",
                Ok(format!(
                    "{}; ask it with `datanode-admin status`; `datanode-admin runs` says what became of each export",
                    f.message
                )),
            )];
        }
        Err(f) => return vec![Check::new("state", Err(f.message))],
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
    vec![Check::new("state", closed.and(whole)), Check::new("last run", last), Check::new("export", export)]
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
