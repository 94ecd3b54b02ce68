//! Who uses a mount dir: `unmount` is told the mount dir and nothing else.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use flexvolume_os::atomic;
use flexvolume_os::lock::Lock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Result, VolumeError, at};
use crate::pool::{PATIENCE, decode, encode, short_name};
use crate::record;

/// A directory of claims, one file per mount dir.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    pub(crate) directory: PathBuf,
}

/// One claim.
#[derive(Debug, Serialize, Deserialize)]
struct Claim<T> {
    version: u32,
    mount_dir: String,
    holds: T,
}

impl Claims {
    /// The file that says what a mount dir is used for.
    pub(crate) fn file(&self, mount_dir: &Path) -> PathBuf {
        self.directory.join(format!("{}.claim", short_name(mount_dir)))
    }

    /// Keeps other calls for this mount dir away, in whatever process. The directory of claims is made if need be.
    pub(crate) fn lock(&self, mount_dir: &Path) -> Result<Lock> {
        atomic::create_directories(&self.directory, 0o700).map_err(at("make directory", &self.directory))?;
        let path = self.directory.join(format!(".{}.lock", short_name(mount_dir)));
        Ok(Lock::acquire(&path, PATIENCE)?)
    }

    /// What is recorded for this mount dir, `None` for nothing.
    pub(crate) fn load<T: DeserializeOwned>(&self, mount_dir: &Path) -> Result<Option<T>> {
        let path = self.file(mount_dir);
        let Some(claim) = record::load::<Claim<T>>(&path)? else { return Ok(None) };
        if claim.mount_dir == name(mount_dir) {
            return Ok(Some(claim.holds));
        }
        let why =
            format!("is the claim of the mount dir {:?}, whose short name is the same", claim.mount_dir);
        Err(VolumeError::CannotKnow { path, why })
    }

    /// All mount dirs of which something is recorded; what cannot be read is left out.
    pub(crate) fn mount_dirs(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let claims = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "claim").then_some(path)
        });
        let mount_dirs = claims.filter_map(|path| {
            let claim: Claim<serde_json::Value> = record::load(&path).ok()??;
            Some(PathBuf::from(OsString::from_vec(decode(&claim.mount_dir)?)))
        });
        mount_dirs.collect()
    }

    /// Records what the mount dir is used for.
    pub(crate) fn store<T: Serialize>(&self, mount_dir: &Path, holds: T) -> Result<()> {
        let claim = Claim { version: record::VERSION, mount_dir: name(mount_dir), holds };
        record::store(&self.file(mount_dir), &claim)
    }

    /// Forgets the mount dir; nothing recorded is fine.
    pub(crate) fn remove(&self, mount_dir: &Path) -> Result<()> {
        record::remove(&self.file(mount_dir))
    }
}

/// A mount dir as text, whatever bytes it has.
pub(crate) fn name(mount_dir: &Path) -> String {
    encode(mount_dir.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_by_its_mount_dir() {
        let root = tempfile::tempdir().unwrap();
        let claims = Claims { directory: root.path().to_owned() };
        let mount_dir = Path::new("/pods/1/volumes/flexvol~scratch/a b\n");
        assert_eq!(claims.load::<u32>(mount_dir).unwrap(), None);
        claims.store(mount_dir, 7).unwrap();
        assert_eq!(claims.load::<u32>(mount_dir).unwrap(), Some(7));
        assert_eq!(claims.load::<u32>(Path::new("/pods/2")).unwrap(), None);
        claims.remove(mount_dir).unwrap();
        claims.remove(mount_dir).unwrap();
        assert_eq!(claims.load::<u32>(mount_dir).unwrap(), None);
    }

    #[test]
    fn another_mount_dir_of_the_same_short_name_is_not_ours() {
        let root = tempfile::tempdir().unwrap();
        let claims = Claims { directory: root.path().to_owned() };
        claims.store(Path::new("/one"), 7).unwrap();
        std::fs::rename(claims.file(Path::new("/one")), claims.file(Path::new("/other"))).unwrap();
        let error = claims.load::<u32>(Path::new("/other")).unwrap_err();
        assert!(matches!(error, VolumeError::CannotKnow { .. }), "{error}");
    }
}
