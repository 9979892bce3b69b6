//! `datanode backup`: none of it opens the state, so all of it may be done while the node runs.

use super::global::Global;
use super::opening::PassphraseArgs;
use super::pack::of_seal;
use super::table::print;
use crate::backing::{access, only_own, plan, rule};
use crate::failure::{Code, Done, Failure, printable_line};
use crate::wiring::{key_file, keys_of, of_store, store_options};
use clap::Subcommand;
use datanode_actors::backup::{BackupError, Opener, Place, Restored, create, generations, prune, restore, verify};
use datanode_actors::objects::{Fault, real};
use datanode_actors::seal::Identity;
use datanode_actors::vault::Vault;
use datanode_schema::paths::DataDir;
use datanode_schema::trees;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What can be done with backups.
#[derive(Subcommand)]
pub enum BackupCommand {
    /// Make one: state, configuration, registries, events, anchor log and keys, encrypted to everybody whom `key list` names
    Create {
        /// A folder or bucket [default: backup.url]
        #[arg(long, value_name = "URL|DIR")]
        to: Option<String>,
    },
    /// What is there
    List {
        /// A folder or bucket [default: backup.url]
        #[arg(long, value_name = "URL|DIR")]
        at: Option<String>,
    },
    /// Read all of one, compare its sums; with a key, open it, make its state in a temporary folder and compare its root
    Verify {
        /// Which [default: the newest]
        generation: Option<String>,
        /// A folder or bucket [default: backup.url]
        #[arg(long, value_name = "URL|DIR")]
        at: Option<String>,
        #[command(flatten)]
        opens: Opens,
    },
    /// Make a data folder of one
    Restore {
        /// The data folder; it must be empty
        #[arg(long, value_name = "DATA_DIR")]
        to: PathBuf,
        /// A folder or bucket [default: backup.url]
        #[arg(long, value_name = "URL|DIR")]
        from: Option<String>,
        /// Which [default: the newest]
        #[arg(long)]
        generation: Option<String>,
        /// The folder has no state and some of the rest: that stays, and what is lacking comes
        #[arg(long)]
        fill: bool,
        #[command(flatten)]
        opens: Opens,
    },
    /// Remove what backup.keep_hourly, keep_daily and keep_weekly do not keep
    Prune {
        /// A folder or bucket [default: backup.url]
        #[arg(long, value_name = "URL|DIR")]
        at: Option<String>,
        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What opens a backup.
#[derive(clap::Args, Debug)]
pub struct Opens {
    /// A secret key: the node's, or of somebody else who can open it [default: the node's]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs the command.
///
/// # Errors
/// 1 a place or file refuses, 2 usage, 3 a backup is damaged, 4 a newer build made it, 5 there is none.
pub fn backup(g: &Global, b: BackupCommand) -> Done {
    match b {
        BackupCommand::Create { to } => make(g, to.as_deref()),
        BackupCommand::List { at } => list(g, at.as_deref()),
        BackupCommand::Verify { generation, at, opens } => check(g, generation.as_deref(), at.as_deref(), &opens),
        BackupCommand::Restore { to, from, generation, fill, opens } => {
            bring(g, &to, from.as_deref(), generation.as_deref(), fill, &opens)
        }
        BackupCommand::Prune { at, dry_run } => thin(g, at.as_deref(), dry_run),
    }
}

fn place(g: &Global, url: Option<&str>) -> Result<Place, Failure> {
    let settings = g.settings()?;
    let known = |u: &&str| settings.backup.key.is_empty() && **u != settings.backup.url;
    let found = match url.filter(known) {
        // A new machine has no settings yet.
        Some(url) => {
            let access = super::vault_repair::from_environment(url)?;
            crate::places::check_backup(&settings.data_dir, &access)?;
            Some(access)
        }
        None => access(&settings, url)?,
    };
    let none = || Failure::usage("no place is named: set backup.url, or name a folder or bucket (--to, --at, --from)");
    Place::open(&found.ok_or_else(none)?).map_err(of_backup)
}

/// The exit code of a backup's error.
fn of_backup(e: BackupError) -> Failure {
    let text = e.to_string();
    match e {
        BackupError::Store(e) => of_store(e),
        BackupError::Seal(e) => of_seal(&e),
        BackupError::Anchor(e) => super::anchored::of_anchor(&e),
        BackupError::Object(e) if e.fault == Fault::Usage => Failure::usage(text),
        BackupError::Object(_) | BackupError::Io { .. } => Failure::failed(text),
        BackupError::Damaged { .. } => Failure::new(Code::Integrity, text),
        BackupError::Newer { .. } => Failure::new(Code::Contract, text),
        BackupError::NotFound { .. } => Failure::new(Code::NotFound, text),
        BackupError::Usage(_) => Failure::usage(text),
    }
}

/// What opens it: what was named, else the node's own keys where they are there.
fn opener(g: &Global, o: &Opens) -> Result<Opener, Failure> {
    let passphrase = o.passphrase.read()?;
    let identities = match &o.key {
        Some(path) => vec![Identity::read(path).map_err(|e| of_seal(&e))?],
        None if passphrase.is_some() => Vec::new(),
        None => match g.settings().ok().filter(|s| key_file(s).is_file()) {
            Some(s) => keys_of(&s)?.read().map_err(|e| of_seal(&e))?.identities(),
            None => Vec::new(),
        },
    };
    Ok(Opener { identities, passphrase })
}

/// The file that the settings are read from.
pub fn config_file(g: &Global) -> Option<PathBuf> {
    let here = PathBuf::from("datanode.toml");
    g.config.clone().or_else(|| here.is_file().then_some(here))
}

fn make(g: &Global, to: Option<&str>) -> Done {
    let settings = g.settings()?;
    let plan = plan(&settings, config_file(g).as_deref())?;
    let place = place(g, to)?;
    let made = create(&plan, &place, g.clock().now()).map_err(of_backup)?;
    let m = &made.manifest;
    if g.json {
        let others = m.others();
        println!(
            "{}",
            json!({"generation": made.generation, "commit": m.commit, "records": m.records, "bytes": m.bytes(), "others": others})
        );
    } else {
        println!(
            "{} in {}: commit {}, {} records, {} bytes",
            made.generation,
            place.url(),
            m.commit,
            m.records,
            m.bytes()
        );
    }
    if m.others() == 0 {
        eprintln!("{}", only_own(&made.generation));
    }
    Ok(())
}

fn list(g: &Global, at: Option<&str>) -> Done {
    let all = generations(&place(g, at)?).map_err(of_backup)?;
    let mut rows = Vec::new();
    for found in &all {
        let name = found.name.clone();
        if g.json {
            println!("{}", json!({"generation": name, "manifest": found.manifest, "fault": found.fault}));
            continue;
        }
        rows.push(match &found.manifest {
            Some(m) => vec![
                name,
                m.commit.to_string(),
                m.records.to_string(),
                m.bytes().to_string(),
                m.version.clone(),
                format!("{} ({})", m.source, printable_line(&m.host_id)),
                format!("the node's key and {} more", m.others()),
            ],
            None if found.fault.is_empty() => vec![name, "not finished, or being made".to_owned()],
            None => vec![name, printable_line(&found.fault)],
        });
    }
    if !g.json && rows.is_empty() {
        println!("none yet; `datanode backup create` makes one");
    } else if !g.json {
        print(&["generation", "commit", "records", "bytes", "version", "node", "opened by"], &rows);
    }
    Ok(())
}

fn check(g: &Global, generation: Option<&str>, at: Option<&str>, opens: &Opens) -> Done {
    let settings = g.settings()?;
    let scratch = scratch(&settings.data_dir)?;
    let place = place(g, at)?;
    let options = store_options(&settings);
    let v =
        verify(&place, generation, &opener(g, opens)?, scratch.path(), &trees::all(), &options).map_err(of_backup)?;
    let m = &v.manifest;
    if g.json {
        println!(
            "{}",
            json!({"generation": v.generation, "opened": v.opened, "commit": m.commit, "records": m.records, "bytes": m.bytes()})
        );
    } else if v.opened {
        println!(
            "{}: whole; it opens, and its state is the one of commit {} with {} records",
            v.generation, m.commit, m.records
        );
    } else {
        println!(
            "{}: every part is as it was written; whether it opens was not tried, since no key is here (--key)",
            v.generation
        );
    }
    Ok(())
}

/// A folder for a state, on the disk of the data folder where that is there: a state may be larger than a temporary file system.
fn scratch(data_dir: &Path) -> Result<tempfile::TempDir, Failure> {
    let mut at = tempfile::Builder::new();
    at.prefix(".backup-verify-");
    let made = if data_dir.is_dir() { at.tempdir_in(data_dir) } else { at.tempdir() };
    made.map_err(|e| Failure::failed(format!("no temporary folder can be made: {e}; check data_dir")))
}

fn bring(g: &Global, to: &Path, from: Option<&str>, generation: Option<&str>, fill: bool, opens: &Opens) -> Done {
    let settings = g.settings()?;
    let place = place(g, from)?;
    let opener = opener(g, opens)?;
    if opener.identities.is_empty() && opener.passphrase.is_none() {
        return Err(Failure::usage(
            "nothing to open it with: --key FILE (the node's key, or that of somebody whom `backup list` names), or --passphrase-file FILE",
        ));
    }
    let done =
        restore(&place, generation, &opener, to, fill, &trees::all(), &store_options(&settings)).map_err(of_backup)?;
    // Empty, and so something that `vault repair` can fill.
    Vault::open(&DataDir::new(to).vault()).map_err(|e| of_seal(&e))?;
    if g.json {
        let (commit, records) = (done.root.commit, done.root.count);
        println!(
            "{}",
            json!({"generation": done.generation, "commit": commit, "records": records, "placed": done.placed, "kept": done.kept})
        );
    } else {
        told(&done, to);
    }
    Ok(())
}

fn told(done: &Restored, to: &Path) {
    println!(
        "{}: the state of commit {} ({}), {} records",
        done.generation, done.root.commit, done.manifest.created_at, done.root.count
    );
    println!("placed in {}: {}", to.display(), done.placed.join(", "));
    if !done.kept.is_empty() {
        println!("kept as it was: {}", done.kept.join(", "));
    }
    let dir = real(to);
    let dir = dir.display();
    println!(
        "\nNext:\n  1. Compare {dir}/restored-config with /etc/datanode, and point data_dir (and seal.key_file, anchor.key_file) at {dir} and {dir}/keys\n  \
         2. datanode vault repair            brings the vault back from its replica, or from destinations (before the first night)\n  \
         3. datanode audit --deep            forgets what the state knows and this disk has not (exit 3: it says what)\n  \
         4. datanode doctor\n  \
         5. datanode nightly                 asks vendors only for what is missing"
    );
    println!(
        "Was a checkpoint of the log given out after {}? Then bring the newer anchors/ (or a proof of it) here before the next seal: \
         the log must not go back.",
        done.manifest.created_at
    );
}

fn thin(g: &Global, at: Option<&str>, dry_run: bool) -> Done {
    let gone = prune(&place(g, at)?, rule(&g.settings()?), dry_run).map_err(of_backup)?;
    if g.json {
        println!("{}", json!({"removed": gone, "dry_run": dry_run}));
        return Ok(());
    }
    for name in &gone {
        println!("{} {name}", if dry_run { "would remove" } else { "removed" });
    }
    println!("{} generations {}", gone.len(), if dry_run { "would go" } else { "went" });
    Ok(())
}
