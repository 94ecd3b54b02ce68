//! The system calls that no crate offers safely.
#![allow(unsafe_code, reason = "the one file that may: every block says why it is sound")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::FdFlags;
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

/// Leaves the namespaces that `flags` name; never the descriptor table, whatever the caller asks for.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the only hazard of unshare(2) is CLONE_FILES, which takes descriptors away from other threads; the mask
    // keeps it out.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }.map_err(io::Error::from)
}

/// Marks a descriptor as not to be inherited. A number that is not open is an error (EBADF) and does nothing.
pub(crate) fn close_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: the number was just read from the process's own table and is used for one fcntl(2). Should another thread
    // have closed it meanwhile, the call fails or marks that thread's new descriptor, which std opens marked anyway.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(descriptor.as_fd(), FdFlags::CLOEXEC).map_err(io::Error::from)
}

/// The signals that came since they were asked for last, a bit each.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn remember(number: c_int) {
    CAUGHT.fetch_or(1u64.wrapping_shl(number.cast_unsigned()), Ordering::Relaxed);
}

/// From now on a signal is remembered instead of ending the process; one that is ignored stays ignored.
pub(crate) fn catch_signal(number: Signal) -> io::Result<()> {
    const IGNORE: usize = 1;
    const ERROR: usize = usize::MAX;
    unsafe extern "C" {
        /// signal(3) of the C library that std links anyway; restarts interrupted calls.
        fn signal(number: c_int, handler: usize) -> usize;
    }
    let number = number.as_raw();
    // SAFETY: the handler touches one atomic and nothing else, so it may run at any time on any thread.
    match unsafe { signal(number, remember as *const () as usize) } {
        ERROR => Err(io::Error::last_os_error()),
        // SAFETY: puts back what was there.
        IGNORE if unsafe { signal(number, IGNORE) } == ERROR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether the signal came since this was asked last.
pub(crate) fn take_caught(number: Signal) -> bool {
    let bit = 1u64.wrapping_shl(number.as_raw().cast_unsigned());
    CAUGHT.fetch_and(!bit, Ordering::Relaxed) & bit != 0
}
