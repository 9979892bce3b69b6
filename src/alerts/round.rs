//! One look: what is due to each receiver is sent, and noted once it was taken.

use super::receivers::Receivers;
use super::sources::wrong;
use crate::admin::queries::{Counted, Facts, Seen, disk, facts_of};
use crate::config::Settings;
use crate::failure::Failure;
use datanode_actors::alert::{HOUR, Posted, Poster, Rules, Unusual, Watch, decide, undecided};
use datanode_actors::node::Node;
use datanode_schema::records::Told;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::TOLD;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that telling takes after a cycle in the foreground.
const AFTER: Duration = Duration::from_secs(10);
/// The first and the longest rest after a receiver failed, milliseconds.
const REST_MS: (u64, u64) = (10_000, 900_000);
/// The dead man's switch among the receivers.
const DEAD_MAN: &str = "dead_man";

/// Who looks and tells.
pub struct Alerter {
    to: Receivers,
    rules: Rules,
    pack_late_hours: u32,
    /// None: nobody is told.
    poster: Option<Poster>,
    watches: BTreeMap<&'static str, Watch>,
    rests: BTreeMap<&'static str, Rest>,
    began_at: i64,
}

/// A receiver that failed.
#[derive(Clone, Copy)]
struct Rest {
    times: u32,
    until_ms: u64,
}

impl Alerter {
    /// Of the settings; `began_at` is when the process started, unix seconds.
    ///
    /// # Errors
    /// 2: a reference that leads to nothing.
    pub fn new(settings: &Settings, began_at: i64) -> Result<Self, Failure> {
        let a = &settings.alerts;
        let to = Receivers::of(settings)?;
        let any = !to.told.is_empty() || to.dead_man.is_some();
        Ok(Self {
            poster: any.then(|| Poster::new(PATIENCE)).transpose().map_err(Failure::failed)?,
            to,
            rules: Rules { repeat_seconds: i64::from(a.repeat_minutes) * 60, per_hour: a.per_hour },
            pack_late_hours: a.pack_late_hours,
            watches: BTreeMap::new(),
            rests: BTreeMap::new(),
            began_at,
        })
    }

    /// Whether anybody is told anything.
    pub fn tells(&self) -> bool {
        self.poster.is_some()
    }

    /// Whether somebody is to be told again after a failure.
    pub fn waits(&self) -> bool {
        !self.rests.is_empty()
    }

    /// One look. What fails is logged and tried again at a later one.
    pub async fn round(&mut self, node: &Node, f: &Facts) {
        if let Err(e) = self.try_round(node, f).await {
            tracing::warn!(error = %e, "what was told cannot be noted; it may be told twice");
        }
    }

    async fn try_round(&mut self, node: &Node, f: &Facts) -> Result<(), StoreError> {
        disk::note(node, f)?;
        let Some(poster) = self.poster.clone() else { return Ok(()) };
        let unusual: BTreeMap<&'static str, Vec<Unusual>> = f
            .vendors
            .iter()
            .map(|v| (v.vendor, self.watches.entry(v.vendor).or_default().look(f.at, &v.traffic)))
            .collect();
        let wrong = wrong(f, self.pack_late_hours, &unusual);
        for i in 0..self.to.told.len() {
            let Some(name) = self.to.told.get(i).map(|r| r.name) else { continue };
            if self.rests(node, name) {
                continue;
            }
            let prefix = format!("{name}/");
            let mut told: BTreeMap<String, Told> = BTreeMap::new();
            for (k, t) in node.store.load_all(&TOLD, prefix.as_bytes())? {
                told.insert(k.strip_prefix(&prefix).unwrap_or(&k).to_owned(), t);
            }
            for (message, record) in decide(f.at, &wrong, &told, self.rules) {
                let Some(to) = self.to.told.get(i) else { continue };
                let came = to.send(&poster, &node.host_id, &message).await;
                if !self.went(node, name, &came) {
                    break;
                }
                let mut hour = undecided(f.at, told.get(HOUR));
                hour.times = hour.times.saturating_add(1);
                hour.at = f.at;
                let key = format!("{prefix}{}", message.key);
                let mut batch = Batch::new();
                match &record {
                    Some(t) => drop(batch.put(&TOLD, &key, t)?),
                    None if message.key != HOUR => drop(batch.delete(&TOLD, &key)),
                    None => {}
                }
                batch.put(&TOLD, &format!("{prefix}{HOUR}"), &hour)?;
                node.store.commit(batch)?;
                told.insert(HOUR.to_owned(), hour);
            }
        }
        self.good_night(node, f, &poster).await
    }

    /// Asks the dead man's switch once after each good night.
    async fn good_night(&mut self, node: &Node, f: &Facts, poster: &Poster) -> Result<(), StoreError> {
        let Some(url) = self.to.dead_man.clone() else { return Ok(()) };
        let key = format!("{DEAD_MAN}/night");
        let before = node.store.load(&TOLD, &key)?;
        let new = match &before {
            Some(t) => f.last_good_at > t.since,
            // Nights before it was configured were nobody's business.
            None => f.last_good_at >= self.began_at,
        };
        if f.last_good_at == 0 || !new || self.rests(node, DEAD_MAN) {
            return Ok(());
        }
        let came = poster.send(&url, &[], None).await;
        if !self.went(node, DEAD_MAN, &came) {
            return Ok(());
        }
        let times = before.map_or(0, |t| t.times).saturating_add(1);
        let kind = "good_night".to_owned();
        let record = Told { kind, summary: String::new(), since: f.last_good_at, at: f.at, times };
        let mut batch = Batch::new();
        batch.put(&TOLD, &key, &record)?;
        node.store.commit(batch).map(|_| ())
    }

    fn rests(&self, node: &Node, name: &str) -> bool {
        self.rests.get(name).is_some_and(|r| r.until_ms > node.clock.since_boot_ms())
    }

    /// Notes how sending went; false: it is to be tried again later.
    fn went(&mut self, node: &Node, name: &'static str, came: &Posted) -> bool {
        if matches!(came, Posted::Taken(_)) {
            self.rests.remove(name);
            return true;
        }
        let times = self.rests.get(name).map_or(0, |r| r.times);
        let rest = REST_MS.0.saturating_mul(1 << times.min(10)).min(REST_MS.1);
        let until_ms = node.clock.since_boot_ms().saturating_add(rest);
        self.rests.insert(name, Rest { times: times.saturating_add(1), until_ms });
        tracing::warn!(receiver = name, %came, again_in_seconds = rest / 1000, "an alert did not arrive; `datanode alert test` tries one");
        false
    }
}

/// Tells what there is to tell after a cycle in the foreground, within ten seconds; what does not arrive is told after the next one.
pub fn after_cycle(alerter: &mut Alerter, node: &Arc<Node>, began_at: i64) {
    let nothing = || tracing::warn!("nobody was alerted: no figures, or no runtime");
    let started_at = chrono::DateTime::from_timestamp(began_at, 0).unwrap_or_else(|| node.clock.now());
    let disk_free = crate::admin::free_bytes(node.data.root());
    let counted = Counted::default();
    let Ok(f) = facts_of(&Seen { node, enabled: &node.enabled, counted: &counted, started_at, disk_free }) else {
        return nothing();
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return nothing() };
    let told = runtime.block_on(async { tokio::time::timeout(AFTER, alerter.round(node, &f)).await });
    if told.is_err() {
        tracing::warn!("not everybody was alerted in time; what is still wrong is told after the next cycle");
    }
    runtime.shutdown_background();
}
