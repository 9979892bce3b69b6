//! What a person does to destinations while the node runs: reads them again from the settings, and ships now.
//!
//! References are resolved anew, so a key is rotated by changing the file that it is read from. A reload that is wrong anywhere changes
//! nothing; what is under way ends with the destinations that it began with.

use crate::config::Settings;
use crate::failure::Failure;
use crate::wiring::destinations;
use datanode_actors::node::Node;
use datanode_actors::publishing::Destination;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads the settings again.
pub type Load = Box<dyn Fn() -> Result<Settings, Failure> + Send + Sync>;
/// Begins the ship stage; false where a cycle is under way.
pub type Begin = Box<dyn Fn() -> bool + Send + Sync>;

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redirected {
    /// The destinations from now on.
    pub destinations: Vec<String>,
    /// New ones.
    pub added: Vec<String>,
    /// Those that are gone; what arrived there stays.
    pub removed: Vec<String>,
    /// Those of which something is other than before.
    pub changed: Vec<String>,
}

/// The destinations of a running node.
pub struct Shipping {
    node: Arc<Node>,
    load: Load,
    begin: Begin,
    /// One reload at a time.
    turn: Mutex<()>,
}

impl Shipping {
    /// Of a node.
    pub fn new(node: Arc<Node>, load: Load, begin: Begin) -> Self {
        Self { node, load, begin, turn: Mutex::default() }
    }

    /// Reads `[ship]` again, resolves its references, checks it, and takes it. Of the settings nothing else is taken.
    ///
    /// # Errors
    /// What is wrong; everything stays as it was.
    pub fn reload(&self, by: &str) -> Result<Redirected, Failure> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let read = (self.load)().and_then(|s| destinations(&s));
        let new = read.inspect_err(|e| tracing::error!(by, error = e.message, "the destinations stay as they were"))?;
        let old = self.node.publishing.destinations.current();
        let done = compared(&old, &new);
        self.node.publishing.destinations.set(new);
        self.node.shipping.distrust_all();
        let words = |v: &[String]| v.join(", ");
        let (added, removed, changed) = (words(&done.added), words(&done.removed), words(&done.changed));
        tracing::info!(by, added, removed, changed, "the destinations were reloaded");
        Ok(done)
    }

    /// Begins to ship what is due; false where a cycle is under way, which ships at its end.
    pub fn now(&self) -> bool {
        (self.begin)()
    }
}

fn compared(old: &[Destination], new: &[Destination]) -> Redirected {
    let mut out = Redirected { destinations: new.iter().map(|d| d.name.clone()).collect(), ..Default::default() };
    for d in new {
        match old.iter().find(|o| o.name == d.name) {
            None => out.added.push(d.name.clone()),
            Some(o) if !same(o, d) => out.changed.push(d.name.clone()),
            Some(_) => {}
        }
    }
    out.removed = old.iter().filter(|o| new.iter().all(|d| d.name != o.name)).map(|o| o.name.clone()).collect();
    out
}

fn same(a: &Destination, b: &Destination) -> bool {
    let (x, y) = (&a.access, &b.access);
    let place = x.url == y.url && x.endpoint == y.endpoint && x.region == y.region;
    let secrets = x.key == y.key && x.secret == y.secret && x.token == y.token;
    let rules = (a.mode, a.accept_unsafe, a.bytes_per_second, a.parallel, a.keep)
        == (b.mode, b.accept_unsafe, b.bytes_per_second, b.parallel, b.keep);
    place && secrets && rules
}
