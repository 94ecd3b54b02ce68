//! Discovery exactly as Kubernetes v1.37 does it (`pkg/volume/flexvolume/probe.go`, `pkg/volume/plugins.go`): everything
//! is initialised at start, then what has changed, at the next look-up, one after another.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvolume::DriverName;

use super::watch::{Change, Watch};
use super::{Broken, Probed};
use crate::VolumeHost;
use crate::plugin::{Initialised, VolumePlugin};

/// What is to be done about a driver at the next look-up. Of several events the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    AddOrUpdate,
    Remove,
}

/// One plugin directory, its plugins, and what has not been looked at yet.
pub(super) struct Prober {
    host: Arc<VolumeHost>,
    plugin_dir: PathBuf,
    /// `None` until the first look-up.
    watch: Option<Watch>,
    pending: BTreeMap<String, Pending>,
    plugins: BTreeMap<DriverName, Arc<VolumePlugin>>,
    broken: BTreeMap<String, String>,
}

impl Prober {
    pub(super) fn new(host: Arc<VolumeHost>, plugin_dir: PathBuf) -> Self {
        Self {
            host,
            plugin_dir,
            watch: None,
            pending: BTreeMap::new(),
            plugins: BTreeMap::new(),
            broken: BTreeMap::new(),
        }
    }

    /// The first look at the directory: all drivers, none of which is tried again if it fails. `None` if it was done.
    pub(super) fn start(&mut self) -> Option<Probed> {
        if self.watch.is_some() {
            return None;
        }
        if let Err(error) = self.begin_to_watch() {
            tracing::error!(directory = %self.plugin_dir.display(), %error, "no driver will be found here");
            return None;
        }
        let mut probed = Probed::default();
        match directories(&self.plugin_dir) {
            Ok(names) => {
                for name in self.in_order(names) {
                    self.add(&name, &mut probed);
                }
            }
            Err(error) => probed.errors.push(format!("error reading the Flexvolume directory: {error}")),
        }
        Some(probed)
    }

    fn begin_to_watch(&mut self) -> io::Result<()> {
        make_plugin_dir(&self.plugin_dir)?;
        let mut watch = Watch::new()?;
        watch.add_recursively(&self.plugin_dir);
        self.watch = Some(watch);
        Ok(())
    }

    /// Does what is pending. What fails stays pending.
    pub(super) fn look(&mut self) -> Probed {
        self.notice();
        let mut probed = Probed::default();
        let pending = self.in_order(self.pending.keys().cloned().collect());
        for directory in pending {
            let done = match self.pending.get(&directory) {
                Some(Pending::Remove) => {
                    self.remove(&directory, &mut probed);
                    true
                }
                Some(Pending::AddOrUpdate) => self.add(&directory, &mut probed),
                None => true,
            };
            if done {
                self.pending.remove(&directory);
            }
        }
        probed
    }

    /// Takes note of what has happened in the plugin directory, without running anything.
    pub(super) fn notice(&mut self) {
        let Some(mut watch) = self.watch.take() else { return };
        for (path, change) in watch.changes() {
            self.note(&mut watch, &path, change);
        }
        self.watch = Some(watch);
    }

    fn note(&mut self, watch: &mut Watch, path: &Path, change: Change) {
        if is_hidden(path) {
            return;
        }
        let Ok(below) = path.strip_prefix(&self.plugin_dir) else { return };
        let Some(directory) = below.iter().next().and_then(|name| name.to_str()) else {
            if change == Change::Removed && make_plugin_dir(&self.plugin_dir).is_ok() {
                watch.add_recursively(&self.plugin_dir);
            }
            return;
        };
        if change == Change::Created {
            watch.add_recursively(path);
        }
        let is_driver =
            below == Path::new(directory) || below == Path::new(directory).join(program(directory));
        let pending =
            if change == Change::Removed && is_driver { Pending::Remove } else { Pending::AddOrUpdate };
        self.pending.insert(directory.to_owned(), pending);
    }

    /// Runs `init`, and only then looks at the name. A plugin that was there stays if that fails.
    fn add(&mut self, directory: &str, probed: &mut Probed) -> bool {
        match self.initialise(directory) {
            Ok(initialised) => {
                probed.added.push(directory.replace('~', "/"));
                match DriverName::from_directory(directory) {
                    Ok(name) => {
                        self.broken.remove(directory);
                        let plugin = initialised.into_plugin(name.clone());
                        self.plugins.insert(name, Arc::new(plugin));
                    }
                    Err(error) => drop(self.broken.insert(directory.to_owned(), error.to_string())),
                }
                true
            }
            Err(why) => {
                let why = format!(
                    "error creating Flexvolume plugin from directory {directory}, skipping. Error: {why}"
                );
                self.broken.insert(directory.to_owned(), why.clone());
                probed.errors.push(why);
                false
            }
        }
    }

    /// A driver without a good name has no settings.
    fn initialise(&self, directory: &str) -> Result<Initialised, String> {
        let settings = match DriverName::from_directory(directory) {
            Ok(name) => self.host.settings.of(&name).map_err(|error| error.to_string())?,
            Err(_) => self.host.settings.of_nameless(),
        };
        let settings = Arc::new(settings.for_strict_reading());
        Initialised::new(Arc::clone(&self.host), self.executable(directory), settings)
            .map_err(|error| error.to_string())
    }

    fn remove(&mut self, directory: &str, probed: &mut Probed) {
        let name = directory.replace('~', "/");
        self.plugins.retain(|known, _| known.as_str() != name);
        self.broken.remove(directory);
        probed.removed.push(name);
    }

    pub(super) fn plugin(&self, name: &DriverName) -> Option<Arc<VolumePlugin>> {
        self.plugins.get(name).cloned()
    }

    pub(super) fn plugins(&self) -> impl Iterator<Item = &Arc<VolumePlugin>> {
        self.plugins.values()
    }

    pub(super) fn broken(&self) -> impl Iterator<Item = Broken> {
        self.broken
            .iter()
            .map(|(name, why)| Broken { directory: self.plugin_dir.join(name), why: why.clone() })
    }

    fn executable(&self, directory: &str) -> PathBuf {
        let directory_path = self.plugin_dir.join(directory);
        match program(directory) {
            // `vendor~`: Kubernetes then runs the directory.
            "" => directory_path,
            program => directory_path.join(program),
        }
    }

    /// Kubernetes goes through them in the random order of a Go map.
    fn in_order(&self, mut directories: Vec<String>) -> Vec<String> {
        directories.sort_by_key(|directory| self.executable(directory).into_os_string());
        directories
    }
}

/// What follows the last `~`.
fn program(directory: &str) -> &str {
    directory.rsplit('~').next().unwrap_or(directory)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn make_plugin_dir(plugin_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(plugin_dir)
}

/// Real directories only: a symlink is found when it is made, not at start.
fn directories(plugin_dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(plugin_dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && !is_hidden(&entry.path())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}
