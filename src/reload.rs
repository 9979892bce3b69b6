//! Reading the registry again while the node runs: on SIGHUP and over the admin socket.
//!
//! The four files are read, checked and taken as one, or not at all. The settings themselves (`datanode.toml`, the
//! environment) are those of the start: what they say of paths and limits holds for the new files too.

use crate::config::Settings;
use crate::failure::Failure;
use crate::wiring::{Wired, config_sha256, registry};
use datanode_actors::live::{Configured, Holds};
use datanode_actors::node::Node;
use datanode_actors::queue::Purse;
use datanode_schema::clock::rfc3339;
use datanode_schema::registry::Registry;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The hash before.
    pub old_sha256: String,
    /// The hash of what was read.
    pub new_sha256: String,
    /// Whether the registry differs from the one before.
    pub changed: bool,
    /// When it holds: a run under way ends as it began.
    pub holds: Holds,
    /// What holds from the next start on only.
    pub needs_restart: Vec<String>,
}

/// How reloading went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloads {
    /// Those that were taken.
    pub taken: u64,
    /// Those that were refused.
    pub refused: u64,
    /// When the last one was asked for.
    pub last_at: Option<String>,
    /// Who asked for it.
    pub last_by: Option<String>,
    /// Why the last one was refused; null where it was taken.
    pub last_error: Option<String>,
}

/// Something else that reads its settings again.
pub type Also = Box<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// Reads the registry again.
pub struct Reloader {
    settings: Settings,
    node: Arc<Node>,
    purses: Vec<Purse>,
    /// What else reads its settings again; each checks before it takes anything.
    also: Mutex<Vec<Also>>,
    /// Held during a reload: one at a time.
    history: Mutex<Reloads>,
}

impl Reloader {
    /// For a node that was wired from these settings.
    pub fn new(settings: &Settings, wired: &Wired) -> Self {
        let purses = wired.fetchers.iter().map(|(f, _)| f.purse.clone()).collect();
        Self {
            settings: settings.clone(),
            node: wired.node.clone(),
            purses,
            also: Mutex::default(),
            history: Mutex::default(),
        }
    }

    /// Has something else take its settings at each reload, once the registry was found good.
    pub fn also(&self, what: Also) {
        self.also.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// The paths of the files; empty where the built-in text is used.
    pub fn files(&self) -> [(&'static str, String); 4] {
        let s = &self.settings;
        [
            ("datasets", &s.datasets),
            ("capabilities", &s.capabilities),
            ("universe", &s.universe),
            ("calendars", &s.calendars),
        ]
        .map(|(name, path)| (name, path.display().to_string()))
    }

    /// What the settings say of the log.
    pub fn log_level(&self) -> &str {
        &self.settings.log.level
    }

    /// How it went so far.
    pub fn history(&self) -> Reloads {
        match self.history.lock() {
            Ok(h) => h.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Reads, checks and takes the files. `by` is who asked, for the log.
    ///
    /// # Errors
    /// What is wrong, with file, line and field; everything stays as it was.
    pub fn reload(&self, by: &str) -> Result<Reloaded, Failure> {
        let mut history = match self.history.lock() {
            Ok(h) => h,
            Err(poisoned) => poisoned.into_inner(),
        };
        history.last_at = Some(rfc3339(self.node.clock.now()));
        history.last_by = Some(by.to_owned());
        let done = self.take();
        match &done {
            Ok(r) => {
                history.taken += 1;
                history.last_error = None;
                tracing::info!(
                    by,
                    old = r.old_sha256,
                    new = r.new_sha256,
                    changed = r.changed,
                    holds = ?r.holds,
                    needs_restart = r.needs_restart.join("; "),
                    "the registry was reloaded"
                );
            }
            Err(e) => {
                history.refused += 1;
                history.last_error = Some(e.message.clone());
                tracing::error!(by, error = e.message, "the registry was not reloaded: the old one stays");
            }
        }
        done
    }

    fn take(&self) -> Result<Reloaded, Failure> {
        let new = registry(&self.settings)?;
        self.check_enabled(&new)?;
        for take in self.also.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            take()?;
        }
        let live = &self.node.live;
        let old = live.next().unwrap_or_else(|| live.current());
        let sha256 = config_sha256(&self.settings, &new);
        let changed = *old.registry != new;
        let mut needs_restart = Vec::new();
        for purse in &self.purses {
            let Some(caps) = new.vendors.get(&purse.vendor()) else { continue };
            let differs = purse.reconfigure(caps.limits).map_err(Failure::failed)?;
            if differs {
                let (vendor, n) = (purse.vendor(), caps.limits.concurrency);
                needs_restart.push(format!("vendors.{vendor}.limits.concurrency = {n}"));
            }
        }
        let holds = live.set(Configured { registry: Arc::new(new), sha256: sha256.clone() });
        Ok(Reloaded { old_sha256: old.sha256, new_sha256: sha256, changed, holds, needs_restart })
    }

    /// What the start would refuse, a reload refuses too.
    fn check_enabled(&self, new: &Registry) -> Result<(), Failure> {
        match self.node.enabled.iter().find(|v| !new.vendors.contains_key(v)) {
            Some(vendor) => Err(Failure::usage(format!(
                "vendors.{vendor}: it is enabled and no longer in vendor_capabilities.yaml; put it back, or disable it and restart"
            ))),
            None => Ok(()),
        }
    }
}
