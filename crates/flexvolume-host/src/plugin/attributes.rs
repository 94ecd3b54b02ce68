//! What a pod and its node may know of a volume.

use std::path::Path;

use flexvolume::Access;
use serde::{Deserialize, Serialize};

use super::{Mounter, PluginError};

/// How the container runtime and kubelet treat a volume (the seed's `Attributes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Attributes {
    /// It may not be written.
    pub read_only: bool,
    /// Its ownership and labels are the host's business: it may be written.
    pub managed: bool,
    /// The container runtime may relabel it for SELinux.
    pub selinux_relabel: bool,
}

/// Figures of a mounted volume in bytes and inodes (Kubernetes v1.37 `pkg/volume/metrics_statfs.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the figure of its name")]
pub struct Metrics {
    pub available: u64,
    pub capacity: u64,
    pub used: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub inodes_used: u64,
}

impl Metrics {
    /// The figures of the file system at `directory`. Blocks while a network file system does not answer.
    ///
    /// # Errors
    /// [`PluginError::Directory`].
    pub fn of(directory: &Path) -> Result<Self, PluginError> {
        let figures = rustix::fs::statvfs(directory)
            .map_err(|errno| PluginError::directory("get figures of", directory)(errno.into()))?;
        // The size of a block as the kernel's statfs has it, not the fragment's: what Kubernetes multiplies with.
        let bytes = |blocks: u64| blocks.saturating_mul(figures.f_bsize);
        Ok(Self {
            available: bytes(figures.f_bavail),
            capacity: bytes(figures.f_blocks),
            used: bytes(figures.f_blocks.saturating_sub(figures.f_bfree)),
            inodes: figures.f_files,
            inodes_free: figures.f_ffree,
            inodes_used: figures.f_files.saturating_sub(figures.f_ffree),
        })
    }
}

impl Mounter {
    /// How the volume is to be treated.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        let read_only = self.spec.access == Access::ReadOnly;
        let selinux_relabel = self.plugin.capabilities().selinux_relabel;
        Attributes { read_only, managed: !read_only, selinux_relabel }
    }

    /// The volume's figures, `None` when the driver says that those of the mount dir are not the volume's.
    ///
    /// # Errors
    /// [`PluginError::Directory`].
    pub fn metrics(&self) -> Result<Option<Metrics>, PluginError> {
        self.plugin.capabilities().supports_metrics.then(|| Metrics::of(&self.mount_dir)).transpose()
    }
}
