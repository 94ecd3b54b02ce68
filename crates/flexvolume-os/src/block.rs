//! Facts about block devices.

use std::io;
use std::path::Path;

/// Size in bytes of a block device or a regular file.
///
/// # Errors
/// The system's error.
pub fn size(path: &Path) -> io::Result<u64> {
    todo!("{path:?}")
}
