//! Backups: what the settings say of them, and the thread of a running node that makes them.
//!
//! The thread looks once a minute, makes a backup where one is due and something has changed, and removes what the rule does not keep. What
//! came of it stands in the tree `backups`. It never holds up a cycle: what it reads is written by others meanwhile.

use crate::config::Settings;
use crate::failure::Failure;
use crate::keyfiles::{key_file, keys_of, log_key_file};
use crate::wiring::host_id;
use crate::{places, secrets};
use datanode_actors::backup::{BackupError, KeepGenerations, Place, Plan, Source, create, fingerprint, prune};
use datanode_actors::node::Node;
use datanode_actors::objects::Access;
use datanode_actors::seal::Recipient;
use datanode_schema::paths::DataDir;
use datanode_schema::records::BackupRecord;
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::{self, BACKUPS};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(60);
/// Seconds after a failure before the next attempt.
const REST: i64 = 600;
/// The one key of the tree.
pub const LAST: &str = "last";

/// Where backups go, secrets resolved; `url` in place of that of the settings. None: nowhere.
///
/// # Errors
/// Exit 2: a reference that leads to nothing, or a place within the data folder.
pub fn access(s: &Settings, url: Option<&str>) -> Result<Option<Access>, Failure> {
    let b = &s.backup;
    let url = url.unwrap_or(&b.url);
    if url.is_empty() {
        return Ok(None);
    }
    let secret =
        |part: &str, reference: &str| secrets::resolve(&format!("backup.{part}"), reference).map_err(Failure::usage);
    let access = Access {
        url: url.to_owned(),
        endpoint: b.endpoint.clone(),
        region: b.region.clone(),
        key: secret("key", &b.key)?,
        secret: secret("secret", &b.secret)?,
        token: secret("token", &b.token)?,
    };
    places::check_backup(&s.data_dir, &access)?;
    Ok(Some(access))
}

/// What belongs into a backup of this node, and who can open it. `config` is the file that the settings were read from.
///
/// # Errors
/// Exit 2: there is no key, or `backup.recipients` names what is none.
pub fn plan(s: &Settings, config: Option<&Path>) -> Result<Plan, Failure> {
    let ring = keys_of(s)?
        .read()
        .map_err(|e| Failure::usage(format!("{e}; a backup is wrapped to the node's key: `datanode key new`")))?;
    let (mut recipients, mut passphrases) = ring.recipients_of_all().map_err(Failure::usage)?;
    let named: Vec<&str> = s.backup.recipients.split(',').map(str::trim).filter(|r| !r.is_empty()).collect();
    if !named.is_empty() {
        passphrases.clear();
        recipients.truncate(1);
        for r in named {
            recipients.push(r.parse::<Recipient>().map_err(|e| Failure::usage(format!("backup.recipients: {e}")))?);
        }
    }
    let registries = [
        ("universe.yaml", &s.universe),
        ("datasets.yaml", &s.datasets),
        ("vendor_capabilities.yaml", &s.capabilities),
        ("calendars.yaml", &s.calendars),
    ];
    let there = |p: &Path| (!p.as_os_str().is_empty()).then(|| p.to_owned());
    let mut files: Vec<(String, PathBuf)> =
        config.map(|p| ("datanode.toml".to_owned(), p.to_owned())).into_iter().collect();
    files.extend(registries.iter().filter_map(|(name, p)| Some(((*name).to_owned(), there(p)?))));
    Ok(Plan {
        source: Source {
            data: DataDir::new(s.data_dir.clone()),
            config: files,
            effective: serde_json::to_string_pretty(s).map_err(Failure::failed)?,
            key_file: key_file(s),
            log_key_file: log_key_file(s),
        },
        recipients,
        passphrases,
        host_id: host_id(s),
        name: s.node.source.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Which generations stay.
pub fn rule(s: &Settings) -> KeepGenerations {
    KeepGenerations { hourly: s.backup.keep_hourly, daily: s.backup.keep_daily, weekly: s.backup.keep_weekly }
}

/// What is known of the last backup.
///
/// # Errors
/// The store's.
pub fn last(store: &Store) -> Result<BackupRecord, StoreError> {
    Ok(store.load(&BACKUPS, &LAST.to_owned())?.unwrap_or_default())
}

/// Whether one is due at `now` (unix seconds). A time in the future is of a clock that was wrong.
fn is_due(last: &BackupRecord, every_hours: u32, now: i64) -> bool {
    let rested = last.failed_at == 0 || last.failed_at > now || now >= last.failed_at + REST;
    rested && (last.at > now || now >= last.at + i64::from(every_hours) * 3600)
}

/// Whether the state is another than the one that was kept: the note of the backup itself is one commit.
fn is_changed(store: &Store, last: &BackupRecord) -> bool {
    let others = trees::all().into_iter().filter(|t| t.name != BACKUPS.def().name);
    let changed = others.map(|t| store.changed_at(t.name)).max().unwrap_or(0);
    store.commit_number() > last.commit + 1 || changed > last.commit
}

/// The backups of a running node; dropping it ends the thread, which leaves one under way unfinished, as a kill would.
pub struct Backing {
    settings: Arc<Mutex<Settings>>,
    _stop: mpsc::Sender<()>,
}

impl Backing {
    /// Starts the thread.
    ///
    /// # Errors
    /// The settings name a place that cannot be used, or no thread can be started.
    pub fn start(settings: &Settings, config: Option<PathBuf>, node: Arc<Node>) -> Result<Self, Failure> {
        access(settings, None)?;
        let shared = Arc::new(Mutex::new(settings.clone()));
        let (stop, stopped) = mpsc::channel::<()>();
        let of_thread = shared.clone();
        let work = move || {
            loop {
                let s = of_thread.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Err(e) = look(&s, config.as_deref(), &node) {
                    tracing::error!(error = %e, "what became of a backup could not be noted");
                }
                if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("datanode-backup".into()).spawn(work).map_err(Failure::failed)?;
        Ok(Self { settings: shared, _stop: stop })
    }

    /// Takes what the settings say from now on.
    ///
    /// # Errors
    /// They name a place that cannot be used: nothing changes.
    pub fn reload(&self, new: &Settings) -> Result<(), Failure> {
        access(new, None)?;
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).backup = new.backup.clone();
        Ok(())
    }
}

fn look(s: &Settings, config: Option<&Path>, node: &Node) -> Result<(), StoreError> {
    if s.backup.url.is_empty() || node.stopping() {
        return Ok(());
    }
    let before = last(&node.store)?;
    let now = node.clock.now();
    if !is_due(&before, s.backup.every_hours, now.timestamp()) {
        return Ok(());
    }
    let done = plan(s, config).and_then(|p| {
        let print = fingerprint(&p).map_err(Failure::failed)?;
        if !is_changed(&node.store, &before) && print == before.fingerprint && before.error.is_empty() {
            return Ok(None);
        }
        make(s, &p, node, print).map(Some)
    });
    let after = match done {
        Ok(None) => return Ok(()),
        Ok(Some(r)) => r,
        Err(e) => {
            tracing::error!(error = e.message, "no backup was made; the next attempt is in ten minutes");
            BackupRecord { failed_at: now.timestamp(), error: short(&e.message), ..before }
        }
    };
    let mut batch = Batch::new();
    batch.put(&BACKUPS, &LAST.to_owned(), &after)?;
    node.store.commit(batch).map(|_| ())
}

fn make(s: &Settings, plan: &Plan, node: &Node, print: String) -> Result<BackupRecord, Failure> {
    let Some(access) = access(s, None)? else { return Err(Failure::usage("backup.url is empty")) };
    let now = node.clock.now();
    let work = || -> Result<_, BackupError> {
        let place = Place::open(&access)?;
        let made = create(plan, &place, now)?;
        let gone = prune(&place, rule(s), false);
        Ok((made, gone))
    };
    let (made, gone) = work().map_err(Failure::failed)?;
    let (bytes, others) = (made.manifest.bytes(), made.manifest.others());
    tracing::info!(generation = made.generation, commit = made.manifest.commit, bytes, others, "a backup was made");
    if others == 0 {
        tracing::warn!("{}", only_own(&made.generation));
    }
    match gone {
        Ok(gone) if gone.is_empty() => {}
        Ok(gone) => tracing::info!(removed = gone.len(), "old backups were removed"),
        Err(e) => tracing::warn!(error = %e, "old backups were not removed"),
    }
    Ok(BackupRecord {
        generation: made.generation,
        at: now.timestamp(),
        commit: made.manifest.commit,
        bytes,
        fingerprint: print,
        others,
        failed_at: 0,
        error: String::new(),
    })
}

/// What to say of a backup that the node's own key alone opens.
pub fn only_own(generation: &str) -> String {
    format!(
        "{generation}: ONLY THE NODE'S OWN KEY OPENS THIS BACKUP. Lost with the machine, the backup is lost too: keep a copy of the key \
         elsewhere, or name somebody who can open it: `datanode key add-recipient age1… --name N`, or `--passphrase --name N`"
    )
}

/// A text that a record has room for.
fn short(text: &str) -> String {
    text.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_due_after_its_hours_after_a_rest_and_where_a_clock_was_ahead() {
        let at = |at, failed_at| BackupRecord { at, failed_at, ..BackupRecord::default() };
        assert!(is_due(&at(0, 0), 1, 10_000));
        assert!(!is_due(&at(10_000, 0), 1, 13_599));
        assert!(is_due(&at(10_000, 0), 1, 13_600));
        assert!(!is_due(&at(10_000, 13_600), 1, 13_700), "it rests after a failure");
        assert!(is_due(&at(10_000, 13_600), 1, 14_200));
        assert!(is_due(&at(99_999_999, 0), 1, 13_600), "the clock was years ahead");
        assert!(is_due(&at(10_000, 99_999_999), 1, 13_600));
    }
}
