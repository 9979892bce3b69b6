//! A market of which everything that is wrong is known, and what a node says of it.
//!
//! The generator knows nothing of the node: sessions, half-days and the change of the clocks are written down here by hand,
//! so that a wrong calendar of the node's is found and not repeated.

pub mod claims;
pub mod folder;
pub mod held;
pub mod market;
pub mod nights;
pub mod plan;
pub mod said;
pub mod score;
pub mod sessions;

/// What can go wrong here: the file, program or record is named in the message.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error>>;
