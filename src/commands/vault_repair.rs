//! `datanode vault repair`.

use super::global::Global;
use super::pack::of_seal;
use super::vault::{key, log_key, open, place};
use crate::config::Settings;
use crate::failure::{Code, Done, Failure, printable_line};
use crate::secrets;
use crate::wiring::{destinations, key_file, replica, wire};
use datanode_actors::objects::Access;
use datanode_actors::seal::stage::regenerate;
use datanode_actors::seal::{Descriptor, SealedManifest, Unwraps};
use datanode_actors::vault::{Copies, Remote, RepairPlan, Repaired, log_of, repair_vault};
use datanode_schema::paths::DataDir;
use datanode_schema::trees::SEALINGS;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Put right whatever another copy, parity or the plain pack can put right, and list what is left with what it costs
#[derive(clap::Args)]
#[command(
    after_help = "In this order: read again, other copies (--replica, vault.replica, destinations), parity, the plain pack sealed \
again where the bytes come out the same, with --new-generation the whole pack sealed anew. Every step is in vault/repair.log; what \
was bad lies in vault/quarantine."
)]
pub struct RepairArgs {
    /// The vault, or a data folder [default: that of the node]
    path: Option<PathBuf>,
    /// The public key of the anchor log, or a file that holds it [default: this node's, for its own vault]
    #[arg(long, value_name = "PUBKEY|FILE")]
    log_key: Option<String>,
    /// The secret key [default: the node's, for its own vault]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Another copy: a replica, or what packs were shipped to; may be given again. Of S3 the variables AWS_* say how to get in
    #[arg(long, value_name = "URL")]
    replica: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Seal packs anew whose sealing cannot be repaired; not while the node runs
    #[arg(long, conflicts_with_all = ["dry_run", "path"])]
    new_generation: bool,
}

/// Runs the command.
///
/// # Errors
/// 3 where something could not be repaired, 5 where there is no vault, 6 where somebody works in it.
pub fn run(g: &Global, a: &RepairArgs) -> Done {
    let (root, beside) = place(g, a.path.as_deref())?;
    let vault = open(&root)?;
    let own = if a.path.is_none() { Some(g.settings()?) } else { None };
    let own_key = own.as_ref().map(key_file).filter(|p| p.is_file());
    let key = key(a.key.as_deref().or(own_key.as_deref()))?;
    let (log, unread) = log_of(&beside, log_key(g, a.path.as_deref(), a.log_key.as_deref())?.as_deref());
    if let Some(why) = unread {
        eprintln!("the anchor log was not compared: {}", printable_line(&why));
    }
    let remotes = remotes(a, own.as_ref())?;
    let exports = own.as_ref().map(|s| DataDir::new(s.data_dir.clone()).exports());
    let plain = |_: &Descriptor, m: Option<&SealedManifest>| candidates(exports.as_ref(), m);
    let plan = RepairPlan {
        identity: key.as_ref().map(|k| k as &dyn Unwraps),
        copies: remotes.iter().map(|r| r as &dyn Copies).collect(),
        plain: Some(&plain),
        log: &log,
        dry_run: a.dry_run,
        now: g.clock().now(),
    };
    let mut done = repair_vault(&vault, &plan).map_err(|e| of_seal(&e))?;
    if a.new_generation
        && let Some(s) = &own
    {
        anew(g, s, &mut done)?;
    }
    tell(g, &done);
    match done.left.len() {
        0 => Ok(()),
        n => Err(Failure::new(Code::Integrity, format!("{}: {n} things could not be repaired", root.display()))),
    }
}

/// The copies to ask: those that were named, the configured replica, the destinations. One that cannot be reached is told.
fn remotes(a: &RepairArgs, own: Option<&Settings>) -> Result<Vec<Remote>, Failure> {
    let mut all: Vec<Access> = a.replica.iter().map(|url| from_environment(url)).collect::<Result<_, _>>()?;
    if let Some(s) = own {
        all.extend(replica(s)?.map(|r| r.access));
        all.extend(destinations(s)?.into_iter().map(|d| d.access));
    }
    let mut out = Vec::new();
    for access in all {
        match Remote::open(&access) {
            Ok(r) => out.push(r),
            Err(e) => eprintln!("{}", printable_line(&e.to_string())),
        }
    }
    Ok(out)
}

/// How to get into a place that no setting names: of S3 the variables AWS_* say it.
///
/// # Errors
/// A variable is set and empty.
pub(super) fn from_environment(url: &str) -> Result<Access, Failure> {
    let is_s3 = url.starts_with("s3://");
    let var = |name: &str| if is_s3 { std::env::var(name).unwrap_or_default() } else { String::new() };
    let secret = |name: &str| {
        let reference = if var(name).is_empty() { String::new() } else { format!("env:{name}") };
        secrets::resolve("--replica", &reference).map_err(Failure::usage)
    };
    Ok(Access {
        url: url.to_owned(),
        endpoint: var("AWS_ENDPOINT_URL"),
        region: var("AWS_REGION"),
        key: secret("AWS_ACCESS_KEY_ID")?,
        secret: secret("AWS_SECRET_ACCESS_KEY")?,
        token: secret("AWS_SESSION_TOKEN")?,
    })
}

/// Folders that are tried where nobody knows which pack a sealing is of.
const MOST: usize = 64;

/// Where the plain pack may lie: where its manifest says, else in any folder of packs, the newest first.
fn candidates(exports: Option<&PathBuf>, m: Option<&SealedManifest>) -> Vec<PathBuf> {
    let Some(exports) = exports else { return Vec::new() };
    let id = m.and_then(|m| serde_json::from_str::<serde_json::Value>(&m.manifest_json).ok());
    let id = id.and_then(|v| v.get("export_id").and_then(|i| i.as_str()).map(|i| format!("export_{i}")));
    let list = |dir: &PathBuf| -> Vec<PathBuf> {
        std::fs::read_dir(dir).map(|d| d.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_default()
    };
    let mut all: Vec<PathBuf> = list(exports)
        .iter()
        .filter(|source| source.file_name().is_some_and(|n| n != "nightly"))
        .flat_map(list)
        .filter(|p| p.is_dir() && p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("export_")))
        .filter(|p| id.as_ref().is_none_or(|id| p.file_name().is_some_and(|n| n.to_string_lossy() == *id)))
        .collect();
    all.sort_unstable_by(|a, b| b.file_name().cmp(&a.file_name()));
    all.truncate(MOST);
    all
}

/// Seals anew the packs of what is left.
fn anew(g: &Global, s: &Settings, done: &mut Repaired) -> Done {
    let uids: BTreeSet<String> = done.left.iter().filter_map(|f| f.subject.pack()).map(hex::encode).collect();
    if uids.is_empty() {
        return Ok(());
    }
    let node = wire(s, &g.clock())?.node;
    let mut made = BTreeSet::new();
    for uid in uids {
        let of = node.store.load(&SEALINGS, &uid).map_err(crate::wiring::of_store)?;
        let sealed = match of {
            Some(of) => regenerate(&node, &of.export_id).map_err(|e| e.to_string()),
            None => Err("the state knows no pack of it".to_owned()),
        };
        match sealed {
            Ok(c) => {
                println!("sealed anew  {uid} as {}", c.pack_uid);
                made.insert(uid);
            }
            Err(e) => eprintln!("{uid} cannot be sealed anew: {}", printable_line(&e)),
        }
    }
    done.left.retain(|f| f.subject.pack().is_none_or(|u| !made.contains(&hex::encode(u))));
    node.store.clone().close().map_err(crate::wiring::of_store)
}

fn tell(g: &Global, r: &Repaired) {
    if g.json {
        println!("{}", serde_json::json!(r));
        return;
    }
    for s in &r.steps {
        println!("{}", printable_line(&format!("{}: {}: {}", s.object, s.step, s.outcome)));
    }
    for f in &r.left {
        println!("left  {}", printable_line(&f.to_string()));
    }
    println!("{} found, {} repaired, {} left", r.found.len(), r.repaired.len(), r.left.len());
}
