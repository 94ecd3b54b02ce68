//! What this node knows about a volume, written before we act.
//!
//! `unmountdevice` and `detach` get no options, and a server cannot keep notes for us. So one file for each disk that is
//! connected here, or that this node has made a file system on: `<driver>/volumes/<short name>.json` in the state
//! directory.

use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flexvolume_os::atomic;
use flexvolume_os::filesystem::FsType;
use flexvolume_os::lock::Lock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RemoteDisk;
use super::error::Result;
use crate::error::{VolumeError, at};
use crate::pool::{PATIENCE, encode, short_name};
use crate::record;

/// One disk on this node; `L` is what the driver must know of its link to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record<L> {
    version: u32,
    /// What the host calls the volume.
    pub(crate) volume: String,
    disk: String,
    pub(crate) link: L,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<Contents>,
    /// Where it is mounted, or was about to be; encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mounted_at: Option<String>,
    /// The file system shall fill the device at the next mount.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) grow: bool,
}

/// The file system on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) state: State,
    fs_type: String,
    pub(crate) uuid: String,
    /// Seconds since 1970.
    pub(crate) since: u64,
}

/// Where a file system stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// This node has begun to make it, on a disk that was proven blank.
    Creating,
    /// This node has made it.
    Made,
    /// It was there.
    Found,
}

impl Contents {
    pub(crate) fn new(state: State, fs_type: FsType, uuid: String) -> Self {
        Self { state, fs_type: fs_type.as_str().to_owned(), uuid, since: now() }
    }

    /// `None` for a type of a later version.
    pub(crate) fn fs_type(&self) -> Option<FsType> {
        FsType::parse(&self.fs_type)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl<L> Record<L> {
    /// Of a disk that nothing is known about.
    pub(crate) fn new(volume: &str, disk: &impl RemoteDisk, link: L) -> Self {
        Self {
            version: record::VERSION,
            volume: volume.to_owned(),
            disk: disk.identity(),
            link,
            contents: None,
            mounted_at: None,
            grow: false,
        }
    }

    /// Remembers where it is about to be mounted.
    pub(crate) fn mount_at(&mut self, path: &Path) {
        self.mounted_at = Some(encode(path.as_os_str().as_bytes()));
    }

    /// Whether it was to be mounted there.
    pub(crate) fn is_mounted_at(&self, path: &Path) -> bool {
        self.mounted_at.as_deref() == Some(&*encode(path.as_os_str().as_bytes()))
    }

    /// Whether this node has made, or begun to make, the file system: that must never be forgotten, so that it is never
    /// made again.
    pub(crate) fn has_made_something(&self) -> bool {
        self.contents.as_ref().is_some_and(|contents| contents.state != State::Found)
    }
}

/// All records of this node.
#[derive(Debug, Clone)]
pub(crate) struct Shelf<T, L> {
    directory: PathBuf,
    holds: PhantomData<fn() -> (T, L)>,
}

impl<T: RemoteDisk, L: Serialize + DeserializeOwned> Shelf<T, L> {
    /// In the directory `<driver>/volumes` of `state`.
    pub(crate) fn new(state: &Path, driver: &str) -> Self {
        Self { directory: state.join(driver).join("volumes"), holds: PhantomData }
    }

    fn file(&self, disk: &T, suffix: &str) -> PathBuf {
        self.directory.join(format!("{}{suffix}", short_name(Path::new(&disk.identity()))))
    }

    /// The record's file, for messages.
    pub(crate) fn path(&self, disk: &T) -> PathBuf {
        self.file(disk, ".json")
    }

    /// Keeps other calls away from the disk on this node, in whatever process, until dropped.
    pub(crate) fn lock(&self, disk: &T) -> Result<Lock> {
        self.make_directory()?;
        Ok(Lock::acquire(&self.file(disk, ".lock"), PATIENCE)?)
    }

    fn make_directory(&self) -> Result<()> {
        let made = atomic::create_directories(&self.directory, 0o700);
        Ok(made.map_err(at("make directory", &self.directory))?)
    }

    pub(crate) fn load(&self, disk: &T) -> Result<Option<Record<L>>> {
        let path = self.path(disk);
        let Some(found) = record::load::<Record<L>>(&path)? else { return Ok(None) };
        if found.disk == disk.identity() {
            return Ok(Some(found));
        }
        let why = format!("is the record of {:?}, whose short name is the same", found.disk);
        Err(VolumeError::CannotKnow { path, why }.into())
    }

    pub(crate) fn store(&self, disk: &T, written: &Record<L>) -> Result<()> {
        Ok(record::store(&self.path(disk), written)?)
    }

    pub(crate) fn remove(&self, disk: &T) -> Result<()> {
        Ok(record::remove(&self.path(disk))?)
    }

    /// Every record that can be read; what cannot is left out.
    pub(crate) fn all(&self) -> Vec<(T, Record<L>)> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let records = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let found = (path.extension()? == "json").then(|| record::load::<Record<L>>(&path).ok()?)??;
            Some((T::of_identity(&found.disk)?, found))
        });
        records.collect()
    }
}
