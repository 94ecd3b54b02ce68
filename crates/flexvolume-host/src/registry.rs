//! The plugin directories: name to plugin.
//!
//! A driver is `<plugin dir>/<vendor~driver>/<driver>`. In the tolerant reading it is asked to `init` when it is first
//! wanted, and again when its program has changed; nothing but the driver that is wanted is run, so one that hangs or
//! fails hides no other. In the strict reading drivers are found, lost and initialised as Kubernetes does it.

mod changes;
mod inits;
mod on_demand;
mod prober;
mod sight;
mod slot;
mod watch;
mod watcher;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flexvolume::DriverName;

use self::changes::Changes;
use self::on_demand::OnDemand;
use self::prober::Prober;
use self::sight::Look;
pub use self::watcher::{DriverEvent, WatchError, Watcher};
use crate::plugin::VolumePlugin;
use crate::spec::VolumeSpec;
use crate::{Reading, VolumeHost};

/// kubelet's and the controller manager's default plugin directory.
pub const DEFAULT_PLUGIN_DIR: &str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";

/// What one look at a plugin directory brought (strict reading). Names are as the directories have them, good or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probed {
    /// New or changed drivers whose `init` succeeded.
    pub added: Vec<String>,
    /// Drivers that are gone.
    pub removed: Vec<String>,
    /// Drivers that failed.
    pub errors: Vec<String>,
}

/// Is told of each look that brought something.
pub type ProbeObserver = Arc<dyn Fn(&Probed) + Send + Sync>;

/// The drivers of some plugin directories.
pub struct Registry {
    discovery: Discovery,
    observer: Option<ProbeObserver>,
}

enum Discovery {
    OnDemand(OnDemand),
    AsKubernetes(Mutex<Vec<Prober>>),
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.discovery {
            Discovery::OnDemand(on_demand) => fmt::Debug::fmt(on_demand, out),
            Discovery::AsKubernetes(_) => out.write_str("Registry(as Kubernetes)"),
        }
    }
}

/// Why there is no plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No driver of that name is installed.
    #[error("no volume plugin matched name: {name} (installed: {})", join(.installed))]
    NotFound {
        /// The name.
        name: String,
        /// The names of the drivers that are there.
        installed: Vec<String>,
    },
    /// No driver of that name is loaded, in Kubernetes' words (strict reading).
    #[error("no volume plugin matched name: {name}")]
    NoMatch {
        /// The name.
        name: String,
    },
    /// No loaded driver is for the volume, in Kubernetes' words (strict reading).
    #[error("no volume plugin matched")]
    NoMatchForVolume,
    /// The driver is there but cannot be used.
    #[error("driver {name} in {} is not usable: {why}", .directory.display())]
    Unusable {
        /// The name.
        name: String,
        /// The driver's directory.
        directory: PathBuf,
        /// Why.
        why: String,
    },
}

fn join(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A driver directory that holds no usable driver.
#[derive(Debug)]
pub struct Broken {
    /// The driver's directory.
    pub directory: PathBuf,
    /// Why.
    pub why: String,
}

/// A driver that is never used, because one of the same name is in a plugin directory that comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// The name.
    pub name: DriverName,
    /// The directory of the one that is not used.
    pub directory: PathBuf,
    /// The directory of the one that is.
    pub by: PathBuf,
}

impl Registry {
    /// A registry over these plugin directories, the first one wins. Nothing is looked at before the first look-up.
    #[must_use]
    pub fn new(host: Arc<VolumeHost>, plugin_dirs: Vec<PathBuf>) -> Self {
        let discovery = match host.reading {
            Reading::Tolerant => Discovery::OnDemand(OnDemand::new(host, plugin_dirs)),
            Reading::Strict => {
                let prober = |plugin_dir| Prober::new(Arc::clone(&host), plugin_dir);
                Discovery::AsKubernetes(Mutex::new(plugin_dirs.into_iter().map(prober).collect()))
            }
        };
        Self { discovery, observer: None }
    }

    /// Has `observer` told of each look at the plugin directories that brought something (strict reading).
    #[must_use]
    pub fn observed_by(mut self, observer: ProbeObserver) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The plugin of this name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn find_by_name(&self, name: &DriverName) -> Result<Arc<VolumePlugin>, RegistryError> {
        match &self.discovery {
            Discovery::OnDemand(on_demand) => on_demand.find(name),
            Discovery::AsKubernetes(probers) => {
                self.look(probers);
                let probers = probers.lock().unwrap_or_else(PoisonError::into_inner);
                let found = probers.iter().find_map(|prober| prober.plugin(name));
                found.ok_or_else(|| RegistryError::NoMatch { name: name.to_string() })
            }
        }
    }

    /// The plugin for this volume.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn find_by_spec(&self, spec: &VolumeSpec) -> Result<Arc<VolumePlugin>, RegistryError> {
        let name = DriverName::parse(spec.driver.clone());
        match (&self.discovery, name) {
            (Discovery::OnDemand(on_demand), Ok(name)) => on_demand.find(&name),
            (Discovery::OnDemand(on_demand), Err(_)) => Err(on_demand.not_found(&spec.driver)),
            (Discovery::AsKubernetes(_), Ok(name)) => {
                self.find_by_name(&name).map_err(|_| RegistryError::NoMatchForVolume)
            }
            (Discovery::AsKubernetes(probers), Err(_)) => {
                self.look(probers);
                Err(RegistryError::NoMatchForVolume)
            }
        }
    }

    /// All usable plugins and all broken driver directories, by name.
    #[must_use]
    pub fn list(&self) -> (Vec<Arc<VolumePlugin>>, Vec<Broken>) {
        match &self.discovery {
            Discovery::OnDemand(on_demand) => on_demand.list(),
            Discovery::AsKubernetes(probers) => {
                self.look(probers);
                let probers = probers.lock().unwrap_or_else(PoisonError::into_inner);
                let plugins = probers.iter().flat_map(Prober::plugins).cloned().collect();
                (plugins, probers.iter().flat_map(Prober::broken).collect())
            }
        }
    }

    /// The drivers that others hide. In the strict reading there are none: there is one plugin directory.
    ///
    /// # Errors
    /// When the system gives no watch, with which every look begins.
    pub fn shadowed(&self) -> io::Result<Vec<Shadowed>> {
        match &self.discovery {
            Discovery::OnDemand(on_demand) => {
                Ok(Look::at(on_demand.plugin_dirs(), &mut Changes::new()?).shadowed)
            }
            Discovery::AsKubernetes(_) => Ok(Vec::new()),
        }
    }

    /// Watches the plugin directories from now on, for a process that stays: each driver is initialised as soon as it
    /// has been left alone for `settle`, and the caller is told what came, changed, went and failed.
    ///
    /// Look-ups need no watcher: they look at the directories themselves.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn watch(self: &Arc<Self>, settle: Duration) -> Result<Watcher, WatchError> {
        Watcher::new(Arc::clone(self), settle)
    }

    /// Does what a look-up does before it looks: in the strict reading the first one initialises all drivers, a later
    /// one those that have changed. In the tolerant reading there is nothing to do.
    pub fn refresh(&self) {
        if let Discovery::AsKubernetes(probers) = &self.discovery {
            self.look(probers);
        }
    }

    /// Initialises all drivers, if that was not done; says whether it was done now (strict reading).
    pub fn start(&self) -> Started {
        let Discovery::AsKubernetes(probers) = &self.discovery else { return Started::Before };
        let mut started = Started::Before;
        for prober in probers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if let Some(probed) = prober.start() {
                started = Started::Now;
                self.tell(&probed);
            }
        }
        started
    }

    /// Takes note of changes in the plugin directories without running anything (strict reading). Look-ups do so by
    /// themselves; but of what appears and vanishes between two looks nothing is seen.
    pub fn notice(&self) {
        if let Discovery::AsKubernetes(probers) = &self.discovery {
            probers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(Prober::notice);
        }
    }

    fn look(&self, probers: &Mutex<Vec<Prober>>) {
        self.start();
        for prober in probers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            self.tell(&prober.look());
        }
    }

    fn tell(&self, probed: &Probed) {
        for error in &probed.errors {
            tracing::error!("{error}");
        }
        if let Some(observer) = &self.observer
            && *probed != Probed::default()
        {
            observer(probed);
        }
    }
}

/// Whether a registry was started by the call or before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// By the call.
    Now,
    /// Before it.
    Before,
}

#[cfg(test)]
mod tests;
