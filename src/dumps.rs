//! Memory holds keys: none of it goes into a core file, and nobody but root looks at it from outside.

use nix::sys::resource::{Resource, setrlimit};

/// No core files, and no attaching by other processes of the same user; the first thing that the binary does after its panic hook. What is
/// given to the process by its environment can be read by root alone from then on (`/proc/<pid>/environ`).
pub fn forbid() {
    // A kernel that refuses either leaves what the service manager set; there is nobody to tell yet.
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
