//! Namespaces of this process.

use std::io;

/// Moves this process (which must have a single thread) into a mount namespace of its own, so that its mounts are
/// seen by nobody else and vanish with it.
///
/// # Errors
/// The system's error: EPERM without the privilege.
pub fn enter_private_mounts() -> io::Result<()> {
    todo!()
}

/// Moves this process (which must have a single thread) into a user namespace in which it is root, with a private
/// mount namespace.
///
/// # Errors
/// The system's error: EPERM or ENOSPC where user namespaces are not allowed.
pub fn enter_user_namespace() -> io::Result<()> {
    todo!()
}
