//! Ship: a finished pack reaches its destination.
//!
//! The destination is a folder (a mount, a synced share). Files are compared by hash after writing; `manifest.json`, or
//! the descriptor, comes last: its presence is the commit.

pub mod actor;
mod deliver;

pub use deliver::{ShipCounters, ShipError, ship};
