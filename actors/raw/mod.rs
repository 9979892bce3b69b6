//! Raw: what a vendor said, as it said it.
//!
//! An answer is kept whole or not at all: temps, sync, renames, manifest line, sync, and then one commit that moves the
//! bookmark, the holdings and the tasks and ends the lease. Where the lease no longer stands the commit is refused and
//! nothing has happened but files that the next answer writes again.

pub mod actor;
mod book;
mod error;
mod evidence;
mod forget;
mod holdings;
mod keep;
mod merge;
mod turns;
mod versions;

pub use error::RawError;
pub use forget::forget;
pub use holdings::holding_day;
pub use keep::keep;
pub use turns::Turns;
