//! Whether a pool directory is the one that it was before.
//!
//! A pool is often the mount point of a disk. When the disk is not mounted, the empty directory below it looks like a
//! pool without volumes, and a volume made there would hide the real one until the disk comes back. So a pool carries
//! a mark, and the node remembers the mark of each directory.

use std::path::{Path, PathBuf};

use flexvolume_os::failpoint::hit;
use serde::{Deserialize, Serialize};

use crate::claim::Claims;
use crate::error::{Result, VolumeError};
use crate::record::{self, VERSION, random_uuid};

/// In the pool: which pool it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    version: u32,
    pool: String,
}

/// The name of the mark in its pool.
const MARK: &str = ".flexvol-pool.json";

/// What a node knows of the pools in directories that others made.
#[derive(Debug)]
pub(crate) struct Acquaintances {
    known: Claims,
}

impl Acquaintances {
    /// Remembered in the directory `pools` of `state`.
    pub(crate) fn new(state: &Path) -> Self {
        Self { known: Claims { directory: state.join("pools") } }
    }

    /// Errs unless the directory holds the pool that it held before. A directory, or a pool, that is new here is
    /// remembered from now on. To be called before something is made in it.
    pub(crate) fn recognise(&self, directory: &Path) -> Result<()> {
        let lock = self.known.lock(directory)?;
        let outcome = self.compare(directory);
        lock.discard()?;
        outcome
    }

    fn compare(&self, directory: &Path) -> Result<()> {
        let path = directory.join(MARK);
        let known: Option<String> = self.known.load(directory)?;
        let mark: Option<Mark> = record::load(&path)?;
        match (known, mark) {
            (Some(known), Some(mark)) if known == mark.pool => Ok(()),
            (Some(_), Some(_)) => Err(self.stranger(directory, "holds another pool than before")),
            (Some(_), None) => Err(self.stranger(directory, "has lost the mark of its pool")),
            (None, Some(mark)) => self.known.store(directory, mark.pool),
            (None, None) => {
                let mark = Mark { version: VERSION, pool: random_uuid()? };
                record::store(&path, &mark)?;
                hit("pool.marked");
                self.known.store(directory, mark.pool)
            }
        }
    }

    /// Errs if the directory held another pool before, or one that is away; remembers nothing.
    pub(crate) fn check(&self, directory: &Path) -> Result<()> {
        let known: Option<String> = self.known.load(directory)?;
        match (known, record::load::<Mark>(&directory.join(MARK))?) {
            (Some(known), Some(mark)) if known != mark.pool => {
                Err(self.stranger(directory, "holds another pool than before"))
            }
            (Some(_), None) => Err(self.stranger(directory, "has lost the mark of its pool")),
            _ => Ok(()),
        }
    }

    /// The directories of others that this node has used as pools.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.known.mount_dirs()
    }

    fn stranger(&self, directory: &Path, what: &str) -> VolumeError {
        let memory: PathBuf = self.known.file(directory);
        let why = format!(
            "{what}: is its disk mounted? If it is meant to be a new pool, remove {}",
            memory.display()
        );
        VolumeError::CannotKnow { path: directory.to_owned(), why }
    }
}

/// Whether the directory carries the mark of a pool.
pub(crate) fn is_marked(directory: &Path) -> bool {
    matches!(record::load::<Mark>(&directory.join(MARK)), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pool_is_recognised_until_its_disk_is_away_or_exchanged() {
        let root = tempfile::tempdir().unwrap();
        let acquaintances = Acquaintances::new(&root.path().join("state"));
        let (disk, away) = (root.path().join("disk"), root.path().join("away"));
        let recognise = || acquaintances.recognise(&disk).map_err(|error| error.to_string());
        fs::create_dir(&disk).unwrap();
        recognise().unwrap();
        recognise().unwrap();

        fs::rename(&disk, &away).unwrap();
        fs::create_dir(&disk).unwrap();
        let error = recognise().unwrap_err();
        assert!(error.contains("is its disk mounted?"), "{error}");
        assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);

        let other = Acquaintances::new(&root.path().join("other state"));
        other.recognise(&disk).unwrap();
        let error = recognise().unwrap_err();
        assert!(error.contains("another pool"), "{error}");
        fs::remove_file(acquaintances.known.file(&disk)).unwrap();
        recognise().unwrap();
        fs::remove_file(acquaintances.known.file(&disk)).unwrap();

        fs::remove_file(disk.join(MARK)).unwrap();
        fs::remove_dir(&disk).unwrap();
        fs::rename(&away, &disk).unwrap();
        recognise().unwrap();
    }
}
