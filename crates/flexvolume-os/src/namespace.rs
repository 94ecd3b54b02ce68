//! Namespaces of this process.
//!
//! Every function here must be called while the process has a single thread: a namespace belongs to a thread, and one
//! that stayed behind would see other mounts. They check, and fail with EINVAL otherwise.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::thread::UnshareFlags;

use crate::kernel;
use crate::mount::{self, Propagation};

/// Moves this process (which must have a single thread) into a mount namespace of its own, so that its mounts are
/// seen by nobody else and vanish with it. Mounts that the host makes or removes later are not seen here either.
///
/// # Errors
/// The system's error: EPERM without the privilege.
pub fn enter_private_mounts() -> io::Result<()> {
    enter_mounts(Propagation::Private)
}

/// As [`enter_private_mounts`], but what the host mounts and unmounts later happens here too: a container that lives
/// for days must not keep a volume busy that the host has unmounted.
///
/// # Errors
/// The system's error: EPERM without the privilege.
pub fn enter_following_mounts() -> io::Result<()> {
    enter_mounts(Propagation::Slave)
}

/// Moves this process (which must have a single thread) into the mount namespace of process 1: from a container to the
/// host, where that process is the host's. Nothing is done if it is there already.
///
/// # Errors
/// The system's error: EPERM without the privilege, ENOENT without `/proc`.
pub fn enter_mounts_of_init() -> io::Result<()> {
    const INIT: &str = "/proc/1/ns/mnt";
    if fs::read_link(INIT)? == fs::read_link("/proc/self/ns/mnt")? {
        return Ok(());
    }
    single_thread()?;
    let namespace = fs::File::open(INIT)?;
    let mount = Some(rustix::thread::LinkNameSpaceType::Mount);
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), mount)?)
}

/// Moves this process (which must have a single thread) into a user namespace in which it is root, with a private
/// mount namespace. Outside, it stays the user that it was.
///
/// # Errors
/// The system's error: EPERM or ENOSPC where user namespaces are not allowed.
pub fn enter_user_namespace() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    single_thread()?;
    kernel::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
    // Without this an unprivileged process may not map a group (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    mount::change_propagation(Propagation::Private)
}

/// Makes `directory` the root of what this process sees, and its working directory.
///
/// # Errors
/// The system's error.
pub fn change_root(directory: &std::path::Path) -> io::Result<()> {
    rustix::process::chroot(directory)?;
    rustix::process::chdir("/").map_err(io::Error::from)
}

fn enter_mounts(propagation: Propagation) -> io::Result<()> {
    single_thread()?;
    kernel::unshare(UnshareFlags::NEWNS)?;
    mount::change_propagation(propagation)
}

fn single_thread() -> io::Result<()> {
    /// A thread that was joined a moment ago may still be listed.
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        if fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(rustix::io::Errno::INVAL.into())
}
