//! The plugin directories: name to plugin.

use std::path::PathBuf;
use std::sync::Arc;

use flexvolume::DriverName;

use crate::VolumeHost;
use crate::plugin::VolumePlugin;
use crate::spec::VolumeSpec;

/// kubelet's and the controller manager's default plugin directory.
pub const DEFAULT_PLUGIN_DIR: &str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";

/// The drivers of some plugin directories.
#[derive(Debug)]
pub struct Registry {}

/// Why there is no plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No driver of that name is loaded.
    #[error("no volume plugin matched name: {name}")]
    NotFound {
        /// The name.
        name: String,
    },
}

/// A driver directory that holds no usable driver.
#[derive(Debug)]
pub struct Broken {
    /// The driver's directory.
    pub directory: PathBuf,
    /// Why.
    pub why: String,
}

impl Registry {
    /// A registry over these plugin directories, the first one wins. Nothing is looked at before the first look-up.
    #[must_use]
    pub fn new(host: Arc<VolumeHost>, plugin_dirs: Vec<PathBuf>) -> Self {
        todo!("{host:?} {plugin_dirs:?}")
    }

    /// The plugin of this name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn find_by_name(&self, name: &DriverName) -> Result<Arc<VolumePlugin>, RegistryError> {
        todo!("{name}")
    }

    /// The plugin for this volume.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn find_by_spec(&self, spec: &VolumeSpec) -> Result<Arc<VolumePlugin>, RegistryError> {
        todo!("{spec:?}")
    }

    /// All usable plugins and all broken driver directories, by name.
    #[must_use]
    pub fn list(&self) -> (Vec<Arc<VolumePlugin>>, Vec<Broken>) {
        todo!()
    }
}
