//! What is to be told to somebody, and when: once, again after a while, and once more when it is over. Pure.
//!
//! `core` decides from what is wrong now, what was told before and the clock; `unusual` says whether a vendor behaves otherwise than it did.
//! Who is told, and how, is the appliance's: `src/alerts`. `post` sends what leaves the node and is no pack.

mod core;
mod post;
mod unusual;

pub use self::core::{Condition, HOUR, Message, Rules, Severity, decide, undecided};
pub use post::{Posted, Poster};
pub use unusual::{Share, Unusual, Watch};
