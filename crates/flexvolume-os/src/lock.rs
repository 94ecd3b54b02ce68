//! A lock between processes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// How soon a lock that somebody else holds is asked for again: at first many are held for less than a millisecond.
const FIRST_POLL: Duration = Duration::from_micros(250);
/// How often in the long run.
const POLL: Duration = Duration::from_millis(10);

/// A lock that is held until dropped, or until the process ends in whatever way (`flock(2)`).
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Why there is no lock.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{} is held by another process for more than {}; try again when it is done", .path.display(), humantime::format_duration(*.waited))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock file cannot be used.
    #[error("lock file {}: {source}", .path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What became of a shared lock that wanted to be the only one.
#[derive(Debug)]
pub enum Alone {
    /// Nobody else holds it, and nobody can take it while this one lives.
    Yes(Lock),
    /// Others hold it; the shared lock is given up.
    No,
}

impl Lock {
    /// Takes the lock of this file alone (made with mode 0600 if missing), waiting at most `patience`.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(path: &Path, patience: Duration) -> Result<Self, LockError> {
        Self::take(path, FlockOperation::NonBlockingLockExclusive, patience)
    }

    /// Takes the lock together with others who share it, waiting at most `patience` for one who wants it alone.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire_shared(path: &Path, patience: Duration) -> Result<Self, LockError> {
        Self::take(path, FlockOperation::NonBlockingLockShared, patience)
    }

    /// Takes the lock of this file alone, if there is such a file and nobody has it.
    #[must_use]
    pub fn acquire_existing(path: &Path) -> Option<Self> {
        let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).write(true).custom_flags(no_link).open(path).ok()?;
        let held =
            flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && is_at(&file, path).ok()?;
        held.then(|| Self { file, path: path.to_owned() })
    }

    /// Turns a shared lock into one that is held alone, if nobody else holds it now. Of several holders that do
    /// this exactly one, the last, gets [`Alone::Yes`].
    ///
    /// # Errors
    /// [`LockError::File`].
    pub fn into_alone(self) -> Result<Alone, LockError> {
        // The kernel drops the shared lock first: a holder that finds others is out and cannot hinder the last one.
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Alone::Yes(self)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Alone::No),
            Err(error) => Err(LockError::File { path: self.path, source: error.into() }),
        }
    }

    /// Gives the lock up and removes its file, so that locks of things that are gone do not pile up. Whoever waits
    /// on the removed file notices and takes the new one. Only for a lock that is held alone.
    ///
    /// # Errors
    /// [`LockError::File`]; the lock is given up all the same.
    pub fn discard(self) -> Result<(), LockError> {
        match std::fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(LockError::File { path: self.path, source })
            }
            _ => Ok(()),
        }
    }

    fn take(path: &Path, how: FlockOperation, patience: Duration) -> Result<Self, LockError> {
        let (begun, mut pause) = (Instant::now(), FIRST_POLL);
        let failed = |source: io::Error| LockError::File { path: path.to_owned(), source };
        loop {
            let file = open(path).map_err(failed)?;
            match flock(&file, how) {
                Ok(()) if is_at(&file, path).map_err(failed)? => {
                    return Ok(Self { file, path: path.to_owned() });
                }
                // The one who had it has removed the file: this lock is worth nothing.
                Ok(()) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() >= patience => {
                    return Err(LockError::Held { path: path.to_owned(), waited: patience });
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    thread::sleep(pause);
                    pause = POLL.min(pause * 2);
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let follow_no_symlink = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    // Never truncated: the file is nothing but a name for the lock.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(follow_no_symlink)
        .open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn lock_file() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        (directory, path)
    }

    #[test]
    fn a_second_holder_waits_and_then_gives_up_with_the_path() {
        let (_directory, path) = lock_file();
        let held = Lock::acquire(&path, NOW).unwrap();
        let patience = Duration::from_millis(60);
        let begun = Instant::now();
        let error = Lock::acquire(&path, patience).unwrap_err();
        assert!(begun.elapsed() >= patience);
        assert!(matches!(&error, LockError::Held { path: named, .. } if *named == path), "{error}");
        assert!(error.to_string().contains("60ms"), "{error}");
        drop(held);
        Lock::acquire(&path, NOW).unwrap();
    }

    #[test]
    fn shared_holders_do_not_exclude_each_other_but_one_who_wants_it_alone() {
        let (_directory, path) = lock_file();
        let first = Lock::acquire_shared(&path, NOW).unwrap();
        let second = Lock::acquire_shared(&path, NOW).unwrap();
        Lock::acquire(&path, NOW).unwrap_err();
        assert!(matches!(first.into_alone().unwrap(), Alone::No));
        let Alone::Yes(alone) = second.into_alone().unwrap() else { panic!("nobody else holds it") };
        Lock::acquire_shared(&path, NOW).unwrap_err();
        drop(alone);
        Lock::acquire_shared(&path, NOW).unwrap();
    }

    #[test]
    fn of_many_that_leave_at_once_exactly_one_is_the_last() {
        for _ in 0..50 {
            let (_directory, path) = lock_file();
            let users: Vec<_> = (0..8).map(|_| Lock::acquire_shared(&path, NOW).unwrap()).collect();
            let leaving: Vec<_> =
                users.into_iter().map(|user| thread::spawn(|| user.into_alone().unwrap())).collect();
            let left: Vec<_> = leaving.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(left.iter().filter(|left| matches!(left, Alone::Yes(_))).count(), 1);
        }
    }

    #[test]
    fn a_waiter_on_a_removed_file_takes_the_new_one() {
        let (_directory, path) = lock_file();
        let held = Lock::acquire(&path, NOW).unwrap();
        let waiter = thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, Duration::from_secs(10)).unwrap()
        });
        thread::sleep(Duration::from_millis(50));
        held.discard().unwrap();
        let taken = waiter.join().unwrap();
        assert!(path.exists());
        Lock::acquire(&path, NOW).unwrap_err();
        drop(taken);
    }

    #[test]
    fn a_symlink_is_not_a_lock_file() {
        let (directory, path) = lock_file();
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &path).unwrap();
        Lock::acquire(&path, NOW).unwrap_err();
        assert!(!directory.path().join("elsewhere").exists());
    }

    #[test]
    fn the_mode_is_0600() {
        let (_directory, path) = lock_file();
        let _held = Lock::acquire(&path, NOW).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lock_that_nobody_made_is_not_made() {
        let (directory, path) = lock_file();
        assert!(Lock::acquire_existing(&path).is_none());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let held = Lock::acquire(&path, NOW).unwrap();
        assert!(Lock::acquire_existing(&path).is_none());
        drop(held);
        let left = Lock::acquire_existing(&path).unwrap();
        assert!(matches!(Lock::acquire(&path, NOW), Err(LockError::Held { .. })));
        left.discard().unwrap();
        assert!(!path.exists());
    }
}
