//! Refuses `sync_file_range`, so that a flush of sled reaches the disk.
//!
//! sled 0.34 on Linux makes a write durable with `sync_file_range`, which commits neither a file's growth nor the
//! disk's cache: after a power cut, what it acknowledged is gone. Where the kernel does not know that call, sled falls
//! back to a full `fsync`. This module defines the symbol itself, so that every caller in the same binary is told
//! that the call does not exist. [`check`] proves at start that the linker chose this definition.
//!
//! The only unsafe code of the workspace lives here: it owns no state and knows nothing of the store.
#![allow(unsafe_code)]

/// Answers −1 with errno `ENOSYS`, whatever it is asked.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(
    _fd: libc::c_int,
    _offset: libc::off64_t,
    _bytes: libc::off64_t,
    _flags: libc::c_uint,
) -> libc::c_int {
    nix::errno::Errno::set_raw(libc::ENOSYS);
    -1
}

/// Calls `sync_file_range` the way sled does, through the linker, and demands the refusal.
///
/// # Errors
/// The errno that came instead of `ENOSYS` (`EBADF` where the C library's own function answered, 0 where it succeeded).
#[cfg(target_os = "linux")]
pub fn check() -> Result<(), i32> {
    type Symbol = extern "C" fn(libc::c_int, libc::off64_t, libc::off64_t, libc::c_uint) -> libc::c_int;
    // Holding the function's address keeps its object file in every binary that can open a store.
    std::hint::black_box(sync_file_range as Symbol);
    nix::errno::Errno::clear();
    // SAFETY: the descriptor −1 is never open, so that even the C library's own function would do nothing.
    let answer = unsafe { libc::sync_file_range(-1, 0, 0, 0) };
    match nix::errno::Errno::last_raw() {
        libc::ENOSYS if answer == -1 => Ok(()),
        other => Err(other),
    }
}

/// Other systems have no such call, and sled uses a full sync there.
#[cfg(not(target_os = "linux"))]
pub fn check() -> Result<(), i32> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_linker_chose_the_function_that_refuses() {
        assert_eq!(super::check(), Ok(()));
    }
}
