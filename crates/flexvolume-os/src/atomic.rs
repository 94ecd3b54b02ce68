//! Files that are there whole or not at all, also after a power cut.

use std::io;
use std::path::Path;

/// Writes `bytes` to `path` with mode 0600: temporary file `.NAME.tmp` beside it, fsync, rename, fsync of the
/// directory. A left-over temporary file of an earlier crash is overwritten.
///
/// # Errors
/// The system's error; `path` is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    todo!("{path:?} {bytes:?}")
}

/// Removes the file and makes the removal durable. Absent is fine.
///
/// # Errors
/// The system's error.
pub fn remove(path: &Path) -> io::Result<()> {
    todo!("{path:?}")
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// The system's error.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    todo!("{directory:?}")
}

/// Makes `directory` and its missing parents, all with `mode`, and makes them durable.
///
/// # Errors
/// The system's error.
pub fn create_directories(directory: &Path, mode: u32) -> io::Result<()> {
    todo!("{directory:?} {mode:o}")
}
