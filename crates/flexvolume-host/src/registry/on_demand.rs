//! Discovery of the tolerant reading: a driver is looked for, and initialised, when it is wanted.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use flexvolume::DriverName;

use super::sight::{driver_directories, no_program, unreadable};
use super::slot::{Slot, Stamp};
use super::{Broken, RegistryError};
use crate::VolumeHost;
use crate::plugin::VolumePlugin;

/// The drivers of some plugin directories.
#[derive(Debug)]
pub(super) struct OnDemand {
    host: Arc<VolumeHost>,
    plugin_dirs: Vec<PathBuf>,
    slots: Mutex<BTreeMap<DriverName, Arc<Slot>>>,
}

impl OnDemand {
    pub(super) fn new(host: Arc<VolumeHost>, plugin_dirs: Vec<PathBuf>) -> Self {
        Self { host, plugin_dirs, slots: Mutex::default() }
    }

    pub(super) fn plugin_dirs(&self) -> &[PathBuf] {
        &self.plugin_dirs
    }

    /// When a driver whose `init` failed may be asked again.
    pub(super) fn again(&self, name: &DriverName) -> Option<Instant> {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        slot?.again()
    }

    pub(super) fn find(&self, name: &DriverName) -> Result<Arc<VolumePlugin>, RegistryError> {
        let mut without_program = None;
        for plugin_dir in &self.plugin_dirs {
            let directory = plugin_dir.join(name.directory());
            match Stamp::of(&directory.join(name.executable())) {
                Ok(stamp) => return self.load(name, directory, stamp),
                Err(error) if directory.is_dir() => without_program = Some((directory, error)),
                Err(_) => {}
            }
        }
        Err(match without_program {
            Some((directory, error)) => {
                RegistryError::Unusable { name: name.to_string(), why: no_program(name, &error), directory }
            }
            None => self.not_found(name.as_str()),
        })
    }

    /// All of them, asked to `init` side by side.
    pub(super) fn list(&self) -> (Vec<Arc<VolumePlugin>>, Vec<Broken>) {
        let mut broken = Vec::new();
        let names = self.installed(&mut broken);
        let results = self.find_all(&names);
        let mut plugins = Vec::with_capacity(names.len());
        for (directory, result) in names.into_values().zip(results) {
            match result {
                Ok(plugin) => plugins.push(plugin),
                Err(RegistryError::Unusable { directory, why, .. }) => broken.push(Broken { directory, why }),
                Err(error) => broken.push(Broken { directory, why: error.to_string() }),
            }
        }
        broken.sort_by(|one, other| one.directory.cmp(&other.directory));
        (plugins, broken)
    }

    fn find_all(
        &self,
        names: &BTreeMap<DriverName, PathBuf>,
    ) -> Vec<Result<Arc<VolumePlugin>, RegistryError>> {
        let names: Vec<&DriverName> = names.keys().collect();
        let next = AtomicUsize::new(0);
        let found = Mutex::new(BTreeMap::new());
        let work = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.find(name);
                found.lock().unwrap_or_else(PoisonError::into_inner).insert(*name, result);
            }
        };
        thread::scope(|scope| {
            for _ in 0..names.len().min(workers()) {
                scope.spawn(work);
            }
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn load(
        &self,
        name: &DriverName,
        directory: PathBuf,
        stamp: Stamp,
    ) -> Result<Arc<VolumePlugin>, RegistryError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(name.clone()).or_default())
        };
        slot.plugin(&self.host, name, stamp).map_err(|why| RegistryError::Unusable {
            name: name.to_string(),
            directory,
            why,
        })
    }

    /// The drivers by their directories; what cannot be one goes to `broken`.
    fn installed(&self, broken: &mut Vec<Broken>) -> BTreeMap<DriverName, PathBuf> {
        let mut names = BTreeMap::new();
        for plugin_dir in &self.plugin_dirs {
            let found = match driver_directories(plugin_dir) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    broken.push(Broken { directory: plugin_dir.clone(), why: unreadable(&error) });
                    continue;
                }
            };
            for (file_name, directory) in found {
                match DriverName::from_directory(&file_name) {
                    Ok(name) => drop(names.entry(name).or_insert(directory)),
                    Err(error) => broken.push(Broken { directory, why: error.to_string() }),
                }
            }
        }
        names
    }

    pub(super) fn not_found(&self, name: &str) -> RegistryError {
        let installed = self.installed(&mut Vec::new()).into_keys().map(String::from).collect();
        RegistryError::NotFound { name: name.to_owned(), installed }
    }
}

/// Enough to have healthy drivers go past some that hang.
pub(super) fn workers() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).max(4) * 4
}
