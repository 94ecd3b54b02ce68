//! The system calls that no crate offers safely.
#![allow(unsafe_code, reason = "the one file that may: every block says why it is sound")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use rustix::io::FdFlags;
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
