//! The configuration that can change under a running node: the registry and the hash that stands for it.
//!
//! The two are one value, swapped whole, so that nobody sees the one without the other. A run is judged and exported by
//! the configuration that it began with: while it is pinned, a new one waits, and takes its place when the last pin is
//! gone.

use crate::node::Node;
use datanode_schema::registry::Registry;
use std::sync::{Arc, RwLock, RwLockWriteGuard};

/// A registry with its hash.
#[derive(Clone, Debug)]
pub struct Configured {
    /// The registry, checked.
    pub registry: Arc<Registry>,
    /// Hex SHA-256 of the settings and registries that decide what a pack holds.
    pub sha256: String,
}

/// When a new configuration holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// At once.
    Now,
    /// When the run under way has ended.
    AfterTheRun,
}

struct State {
    current: Configured,
    next: Option<Configured>,
    pins: u32,
}

/// The live configuration.
pub struct Live(RwLock<State>);

impl Live {
    /// The first one.
    pub fn new(first: Configured) -> Self {
        Self(RwLock::new(State { current: first, next: None, pins: 0 }))
    }

    /// What holds now.
    pub fn current(&self) -> Configured {
        match self.0.read() {
            Ok(s) => s.current.clone(),
            Err(poisoned) => poisoned.into_inner().current.clone(),
        }
    }

    /// What waits for the end of a run.
    pub fn next(&self) -> Option<Configured> {
        match self.0.read() {
            Ok(s) => s.next.clone(),
            Err(poisoned) => poisoned.into_inner().next.clone(),
        }
    }

    /// Puts another one in its place, at once or after the run under way.
    pub fn set(&self, new: Configured) -> Holds {
        let mut s = self.write();
        if s.pins > 0 {
            s.next = Some(new);
            return Holds::AfterTheRun;
        }
        s.current = new;
        s.next = None;
        Holds::Now
    }

    fn pin(&self) {
        self.write().pins += 1;
    }

    fn unpin(&self) {
        let mut s = self.write();
        s.pins = s.pins.saturating_sub(1);
        if s.pins == 0
            && let Some(next) = s.next.take()
        {
            tracing::info!(old = s.current.sha256, new = next.sha256, "the reloaded registry holds from now on");
            s.current = next;
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        match self.0.write() {
            Ok(s) => s,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

/// While it lives, the node's configuration stays what it is.
pub struct Pinned(Arc<Node>);

impl Pinned {
    /// Pins a node's configuration.
    pub fn of(node: &Arc<Node>) -> Self {
        node.live.pin();
        Self(node.clone())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.live.unpin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::registry::Sources;

    #[test]
    fn a_run_keeps_the_configuration_that_it_began_with() {
        let registry = Arc::new(Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap());
        let named = |sha256: &str| Configured { registry: registry.clone(), sha256: sha256.into() };
        let live = Live::new(named("a"));
        assert_eq!((live.set(named("b")), live.current().sha256), (Holds::Now, "b".into()));
        live.pin();
        live.pin();
        assert_eq!((live.set(named("c")), live.current().sha256), (Holds::AfterTheRun, "b".into()));
        assert_eq!((live.set(named("d")), live.current().sha256), (Holds::AfterTheRun, "b".into()));
        live.unpin();
        assert_eq!(live.current().sha256, "b", "the other run is not done");
        live.unpin();
        assert_eq!((live.current().sha256, live.next().is_none()), ("d".into(), true));
    }
}
