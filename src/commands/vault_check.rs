//! `datanode vault check`.

use super::global::Global;
use super::table::thousands;
use super::vault::{key, log_key, open, place};
use crate::failure::{Code, Done, Failure, printable_line};
use datanode_actors::seal::Unwraps;
use datanode_actors::vault::{ALL_PARTS, CheckPlan, CheckReport, Depth, Share, check_vault, log_of};
use std::path::PathBuf;

/// Look at every object, record and key of a vault, and list everything that is wrong
#[derive(clap::Args)]
#[command(
    after_help = "Without options every object's presence, length and header is looked at; with --read-data every byte is read."
)]
pub struct CheckArgs {
    /// The vault, a data folder, a replica, or a sealing as it was shipped [default: that of the node]
    path: Option<PathBuf>,
    /// The public key of the anchor log, or a file that holds it [default: this node's, for its own vault]
    #[arg(long, value_name = "PUBKEY|FILE")]
    log_key: Option<String>,
    /// Read every byte and compare it with its name
    #[arg(long, conflicts_with = "sample")]
    read_data: bool,
    /// Read a part, and look at the rest; the parts of days in a row follow one another through all of it
    #[arg(long, value_name = "5%", value_parser = percent)]
    sample: Option<u32>,
    /// With the secret key: verify that what is read is authentic too
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The anchor log to compare with [default: that beside the vault]
    #[arg(long, value_name = "DIR")]
    anchors: Option<PathBuf>,
    /// Make the index in the state again from what the vault holds; not while the node runs
    #[arg(long, conflicts_with = "path")]
    rebuild_index: bool,
}

/// Parts of a million.
fn percent(text: &str) -> Result<u32, String> {
    let wrong = || "give a percentage such as 5% or 0.5%".to_owned();
    let n: f64 = text.strip_suffix('%').unwrap_or(text).parse().map_err(|_| wrong())?;
    if !(n > 0.0 && n <= 100.0) {
        return Err(wrong());
    }
    Ok(((n * f64::from(ALL_PARTS) / 100.0).ceil() as u32).clamp(1, ALL_PARTS))
}

/// Runs the command.
///
/// # Errors
/// 3 where something is wrong, 5 where there is no vault, 6 where the index is to be made while the node runs.
pub fn run(g: &Global, a: &CheckArgs) -> Done {
    let (root, beside) = place(g, a.path.as_deref())?;
    let vault = open(&root)?;
    let (log, unread) = log_of(
        a.anchors.as_deref().unwrap_or(&beside),
        log_key(g, a.path.as_deref(), a.log_key.as_deref())?.as_deref(),
    );
    let key = key(a.key.as_deref())?;
    let day = g.clock().now().timestamp().div_euclid(86_400);
    let plan = CheckPlan {
        // A key verifies nothing in what is not read.
        depth: if a.read_data || a.sample.is_some() || key.is_some() { Depth::Read } else { Depth::Look },
        share: a.sample.map(|parts| Share::of_day(parts, day)),
        identity: key.as_ref().map(|k| k as &dyn Unwraps),
        log: &log,
    };
    let report = check_vault(&vault, &plan).map_err(|e| super::pack::of_seal(&e))?;
    tell(g, &report);
    if let Some(why) = &unread {
        eprintln!("the anchor log was not compared: {}", printable_line(why));
    }
    if a.rebuild_index {
        super::vault_index::rebuild(g, &vault)?;
    }
    match report.bad().count() {
        0 if unread.is_none() => Ok(()),
        0 => Err(Failure::new(Code::Integrity, "the anchor log cannot be read; the vault itself is sound")),
        n => {
            let why =
                format!("{}: {n} things are wrong; `datanode vault repair` puts right what can be", root.display());
            Err(Failure::new(Code::Integrity, why))
        }
    }
}

fn tell(g: &Global, r: &CheckReport) {
    if g.json {
        println!("{}", serde_json::json!(r));
        return;
    }
    for f in &r.findings {
        println!("{}", printable_line(&f.to_string()));
    }
    let mut words = vec![
        format!("{} packs, {} objects, {} bytes", thousands(r.packs), thousands(r.objects), thousands(r.bytes)),
        format!("{} objects read ({} bytes)", thousands(r.read_objects), thousands(r.read_bytes)),
    ];
    if r.keys > 0 {
        words.push(format!("{} packs verified with their keys", thousands(r.keys)));
    }
    if r.shredded > 0 {
        words.push(format!("{} shredded on purpose", thousands(r.shredded)));
    }
    if r.tombstones > 0 {
        words.push(format!("{} under a tombstone", thousands(r.tombstones)));
    }
    println!("{}  {}", if r.bad().next().is_some() { "BAD " } else { "good" }, words.join("; "));
}
