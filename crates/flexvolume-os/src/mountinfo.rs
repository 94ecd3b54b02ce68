//! The kernel's mount table, parsed from bytes.

use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's id.
    pub id: u32,
    /// The id of the mount that it stands on.
    pub parent: u32,
    /// Major and minor number of the device.
    pub device: (u32, u32),
    /// The directory of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Options of the mount, such as `ro,nosuid`.
    pub options: Vec<String>,
    /// File system type.
    pub fs_type: String,
    /// Device or name.
    pub source: PathBuf,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

/// The mount table, in the kernel's order: of several mounts at one path the last is on top.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Parses the text of `mountinfo`. A line that makes no sense is left out: one foreign mount must not blind us.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        todo!("{text:?}")
    }

    /// A table of these mounts.
    #[must_use]
    pub fn new(mounts: Vec<Mount>) -> Self {
        Self { mounts }
    }

    /// All mounts.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The mounts stacked at exactly `path`, lowest first.
    pub fn at<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> + 'a {
        self.mounts.iter().filter(move |mount| mount.mount_point == path)
    }

    /// What one sees at exactly `path`.
    #[must_use]
    pub fn top(&self, path: &Path) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.mount_point == path)
    }

    /// The mounts at or below `path`.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> + 'a {
        self.mounts.iter().filter(move |mount| mount.mount_point.starts_with(path))
    }

    /// The other mounts of the same directory of the same file system as the top mount at `path`.
    #[must_use]
    pub fn references(&self, path: &Path) -> Vec<&Mount> {
        let Some(top) = self.top(path) else { return Vec::new() };
        let same = |mount: &&Mount| {
            mount.device == top.device && mount.root == top.root && mount.mount_point != path
        };
        self.mounts.iter().filter(same).collect()
    }
}
