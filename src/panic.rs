//! Panics end the process: a handler that panicked would close its mailbox for good and leave a node that looks alive.
//! Only the thread that opens the store and those that read Parquet may unwind, since damaged bytes are reported, not
//! crashed on.

use datanode_actors::frame::READ_THREAD;
use datanode_schema::store::OPEN_THREAD;

/// Installs the hook; the first thing that every binary does.
pub fn install() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if matches!(std::thread::current().name(), Some(OPEN_THREAD | READ_THREAD)) {
            return;
        }
        before(info);
        std::process::abort();
    }));
}
