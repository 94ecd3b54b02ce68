//! Files that are there whole or not at all, also after a power cut.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::failpoint;

/// Writes `bytes` to `path` with mode 0600: temporary file `.NAME.tmp` beside it, fsync, rename, fsync of the
/// directory. A left-over temporary file of an earlier crash (or a symlink planted in its place) is replaced, never
/// written through. Two writers of the same path must hold a lock.
///
/// # Errors
/// The system's error; `path` is then as it was, or new if only the last sync failed.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    let written = write_new(&temporary, bytes);
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    failpoint::hit("atomic.written");
    if let Err(error) = std::fs::rename(&temporary, path) {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    failpoint::hit("atomic.renamed");
    sync_directory(parent(path))
}

/// Removes the file, and the temporary file that a crash in [`write()`] may have left beside it, and makes the removal
/// durable. Absent is fine.
///
/// # Errors
/// The system's error.
pub fn remove(path: &Path) -> io::Result<()> {
    let (removed, swept) = (remove_file(path)?, remove_file(&temporary_name(path)?)?);
    if removed == Removal::WasAbsent && swept == Removal::WasAbsent {
        return Ok(());
    }
    failpoint::hit("atomic.removed");
    sync_directory(parent(path))
}

#[derive(PartialEq)]
enum Removal {
    Removed,
    WasAbsent,
}

fn remove_file(path: &Path) -> io::Result<Removal> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(Removal::Removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removal::WasAbsent),
        Err(error) => Err(error),
    }
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// The system's error.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes `directory` and its missing parents, all with `mode`, and makes them durable. One that exists is left as it
/// is, whatever its mode.
///
/// # Errors
/// The system's error.
pub fn create_directories(directory: &Path, mode: u32) -> io::Result<()> {
    match create_directory(directory, mode) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // One look: another process may be making the same directories at this very moment.
            match directory.symlink_metadata() {
                Ok(there) if there.is_dir() => return Ok(()),
                Ok(_) if directory.is_dir() => return Ok(()),
                // A dangling symlink gives ENOENT as well: without this we would go up for ever.
                Ok(_) => return Err(error),
                Err(_) => {}
            }
            let above = parent(directory);
            if above == directory {
                return Err(error);
            }
            create_directories(above, mode)?;
            create_directory(directory, mode)
        }
        other => other,
    }
}

/// Makes `directory` in a parent that is there, with `mode`, and makes it durable. One that exists is left as it is.
///
/// # Errors
/// The system's error.
pub fn create_directory(directory: &Path, mode: u32) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => {
            // The umask of this process has no say in it.
            std::fs::set_permissions(directory, PermissionsExt::from_mode(mode))?;
            sync_directory(parent(directory))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes and syncs a file that was not there before.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            create_new(path)?
        }
        other => other?,
    };
    file.write_all(bytes)?;
    file.sync_all()
}

fn create_new(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

/// The directory that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn several_may_make_the_same_directories_at_once() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let deep = directory.path().join("a/b/c/d");
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    let deep = deep.clone();
                    std::thread::spawn(move || create_directories(&deep, 0o700))
                })
                .collect();
            for maker in makers {
                maker.join().unwrap().unwrap();
            }
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_lies_at_the_temporary_name_is_replaced_and_never_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        let temporary = directory.path().join(".record.json.tmp");
        let path = directory.path().join("record.json");

        std::os::unix::fs::symlink(&victim, &temporary).unwrap();
        write(&path, b"new").unwrap();
        fs::hard_link(&victim, &temporary).unwrap();
        write(&path, b"newer").unwrap();

        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert!(!path.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_temporary_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("occupied");
        fs::create_dir(&path).unwrap();
        write(&path, b"new").unwrap_err();
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(write(Path::new("/"), b"").unwrap_err().kind(), io::ErrorKind::InvalidFilename);
    }

    #[test]
    fn removal_is_idempotent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        write(&path, b"one").unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        remove(directory.path()).unwrap_err();
    }

    #[test]
    fn missing_parents_are_made_with_the_mode_and_others_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, PermissionsExt::from_mode(0o711)).unwrap();
        create_directories(&old.join("a/b"), 0o777).unwrap();
        create_directories(&old.join("a/b"), 0o700).unwrap();
        assert_eq!(mode(&old), 0o711);
        assert_eq!(mode(&old.join("a")), 0o777);
        assert_eq!(mode(&old.join("a/b")), 0o777);
    }

    #[test]
    fn files_and_dangling_links_in_the_way_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        create_directories(&file, 0o700).unwrap_err();
        create_directories(&file.join("below"), 0o700).unwrap_err();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        create_directories(&link.join("below"), 0o700).unwrap_err();
    }

    #[test]
    fn a_relative_name_without_a_directory_has_one() {
        assert_eq!(parent(Path::new("name")), Path::new("."));
        assert_eq!(parent(Path::new("a/name")), Path::new("a"));
        assert_eq!(parent(Path::new("/")), Path::new("/"));
    }
}
