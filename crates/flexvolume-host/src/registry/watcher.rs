//! A watch of the plugin directories, for a process that stays.
//!
//! Events of the file system only say when to look. What counts is what a look shows: a driver's program in another
//! version than the one that was asked last. So lost events cost time and nothing else, and a driver that writes into its
//! own directory is not asked again.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume::DriverName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use thiserror::Error;

use super::changes::Changes;
use super::inits::Inits;
use super::sight::{Look, Sight};
use super::slot::FIRST_PAUSE;
use super::{Broken, Discovery, Registry, RegistryError};
use crate::plugin::VolumePlugin;

/// How often to look although nothing was heard of: a network file system tells of no changes by others, and a mount over
/// a plugin directory is silent.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);
/// The same where a directory could not be watched.
const LOOK_WITHOUT_WATCH: Duration = Duration::from_secs(2);
/// Looks are this far apart, however much happens.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// A program that never stops changing is asked all the same after so many times the settle delay.
const PATIENCE: u32 = 25;

/// What a watcher tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverEvent {
    /// A driver is there and usable.
    Added(Arc<VolumePlugin>),
    /// A usable driver was replaced by another version, which is usable too.
    Updated(Arc<VolumePlugin>),
    /// A driver is gone.
    Removed(DriverName),
    /// A driver or a plugin directory cannot be used. Told once for each reason; `init` is tried again all the same,
    /// after 1 s, 2 s and so on up to 2 minutes, or when the program changes.
    Broken(Broken),
}

/// Why plugin directories cannot be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The kernel gives no watch.
    #[error("the plugin directories cannot be watched: {0} (see /proc/sys/fs/inotify/max_user_instances)")]
    Watch(#[from] io::Error),
    /// In the strict reading drivers are found at look-ups and at no other time.
    #[error(
        "in the strict reading drivers are found at look-ups only, as in Kubernetes: use the tolerant reading"
    )]
    Strict,
}

/// A watch of the plugin directories of a registry.
pub struct Watcher {
    registry: Arc<Registry>,
    settle: Duration,
    changes: Changes,
    inits: Inits,
    drivers: BTreeMap<DriverName, Entry>,
    /// Broken directories that were told of.
    broken: BTreeMap<PathBuf, String>,
    looked: Option<Instant>,
    told: Vec<DriverEvent>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watcher").field("drivers", &self.drivers).finish_non_exhaustive()
    }
}

/// What is known of a driver.
#[derive(Debug)]
struct Entry {
    /// What the last look showed; `None` if it is gone.
    sight: Option<Sight>,
    /// Since when it looks so.
    since: Instant,
    /// Since when it has not been left alone.
    restless: Instant,
    /// What it looked like when it was asked last.
    asked: Option<Sight>,
    /// When a driver that failed is asked again.
    again: Option<Instant>,
    plugin: Option<Arc<VolumePlugin>>,
    why_broken: Option<String>,
}

impl Entry {
    /// When something is to be done about it.
    fn due(&self, settle: Duration) -> Option<Instant> {
        if self.asked == self.sight {
            return self.again;
        }
        Some((self.since + settle).min(self.restless + settle * PATIENCE))
    }
}

impl Watcher {
    pub(super) fn new(registry: Arc<Registry>, settle: Duration) -> Result<Self, WatchError> {
        if matches!(registry.discovery, Discovery::AsKubernetes(_)) {
            return Err(WatchError::Strict);
        }
        let mut watcher = Self {
            inits: Inits::new(Arc::clone(&registry))?,
            registry,
            settle,
            changes: Changes::new()?,
            drivers: BTreeMap::new(),
            broken: BTreeMap::new(),
            looked: None,
            told: Vec::new(),
        };
        watcher.look();
        Ok(watcher)
    }

    /// Waits until there is something to tell, at most `patience`, and tells it. Must be called again and again: between
    /// the calls nothing is noticed and nobody is asked, but nothing is lost either.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn poll(&mut self, patience: Duration) -> io::Result<Vec<DriverEvent>> {
        let end = Instant::now() + patience;
        loop {
            self.work();
            let now = Instant::now();
            if !self.told.is_empty() || now >= end {
                return Ok(std::mem::take(&mut self.told));
            }
            self.wait(end.min(self.next()).saturating_duration_since(now))?;
        }
    }

    /// Whether an `init` runs or is to be run: `false` when all that is there has been told.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let unsettled = self.drivers.values().any(|entry| entry.asked != entry.sight);
        unsettled || !self.inits.is_idle() || !self.told.is_empty()
    }

    fn work(&mut self) {
        for (name, result) in self.inits.answers() {
            self.note(&name, result);
        }
        if self.changes.any() || self.looked.is_none_or(|looked| looked.elapsed() >= self.look_anyway()) {
            self.look();
        }
        let now = Instant::now();
        let due = |entry: &Entry| entry.due(self.settle).is_some_and(|due| due <= now);
        let due: Vec<DriverName> =
            self.drivers.iter().filter(|(_, entry)| due(entry)).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.act(&name);
        }
        self.inits.start_waiting();
    }

    fn look_anyway(&self) -> Duration {
        if self.changes.unwatched.is_empty() { LOOK_ANYWAY } else { LOOK_WITHOUT_WATCH }
    }

    fn look(&mut self) {
        if let Some(looked) = self.looked {
            thread::sleep(BETWEEN_LOOKS.saturating_sub(looked.elapsed()));
        }
        let Discovery::OnDemand(on_demand) = &self.registry.discovery else { return };
        let Look { mut drivers, broken, .. } = Look::at(on_demand.plugin_dirs(), &mut self.changes);
        let now = Instant::now();
        for (name, entry) in &mut self.drivers {
            entry.see(drivers.remove(name), now);
        }
        // What was there before us is not being installed just now.
        let since = if self.looked.is_none() { now.checked_sub(self.settle).unwrap_or(now) } else { now };
        for (name, sight) in drivers {
            self.drivers.insert(name, Entry::new(sight, since));
        }
        self.looked = Some(now);
        self.note_broken(broken);
    }

    fn note_broken(&mut self, found: Vec<Broken>) {
        let found: BTreeMap<_, _> = found.into_iter().map(|broken| (broken.directory, broken.why)).collect();
        for (directory, why) in &found {
            if self.broken.get(directory) != Some(why) {
                self.told
                    .push(DriverEvent::Broken(Broken { directory: directory.clone(), why: why.clone() }));
            }
        }
        self.broken = found;
    }

    fn act(&mut self, name: &DriverName) {
        let Some(entry) = self.drivers.get_mut(name) else { return };
        entry.again = None;
        entry.asked.clone_from(&entry.sight);
        match entry.sight.clone() {
            Some(Sight::Program(_)) => self.inits.ask(name.clone()),
            Some(Sight::NoProgram { directory, why }) => {
                entry.fail(Broken { directory, why }, &mut self.told);
            }
            None => {
                let known = self.drivers.remove(name).is_some_and(|entry| entry.is_known());
                self.told.extend(known.then(|| DriverEvent::Removed(name.clone())));
            }
        }
    }

    /// Takes note of how an `init` ended.
    fn note(&mut self, name: &DriverName, result: Result<Arc<VolumePlugin>, RegistryError>) {
        let Discovery::OnDemand(on_demand) = &self.registry.discovery else { return };
        let Some(entry) = self.drivers.get_mut(name) else { return };
        match result {
            Ok(plugin) => entry.succeed(plugin, &mut self.told),
            Err(RegistryError::Unusable { directory, why, .. }) => {
                entry.again = on_demand.again(name).or_else(|| Some(Instant::now() + FIRST_PAUSE));
                entry.fail(Broken { directory, why }, &mut self.told);
            }
            // It went away meanwhile: the next look shows it.
            Err(_) => {}
        }
    }

    /// When to wake up although nothing happens.
    fn next(&self) -> Instant {
        let look = self.looked.unwrap_or_else(Instant::now) + self.look_anyway();
        let due = self.drivers.values().filter_map(|entry| entry.due(self.settle));
        due.chain(self.inits.next()).fold(look, Instant::min)
    }

    fn wait(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let changes = self.changes.descriptor();
        let bell = self.inits.bell();
        let mut descriptors = [PollFd::new(&changes, PollFlags::IN), PollFd::new(&bell, PollFlags::IN)];
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Entry {
    fn new(sight: Sight, since: Instant) -> Self {
        Self {
            sight: Some(sight),
            since,
            restless: since,
            asked: None,
            again: None,
            plugin: None,
            why_broken: None,
        }
    }

    /// Whether it was told of.
    fn is_known(&self) -> bool {
        self.plugin.is_some() || self.why_broken.is_some()
    }

    fn see(&mut self, sight: Option<Sight>, now: Instant) {
        if sight == self.sight {
            return;
        }
        if self.asked == self.sight {
            self.restless = now;
        }
        (self.sight, self.since) = (sight, now);
    }

    fn succeed(&mut self, plugin: Arc<VolumePlugin>, told: &mut Vec<DriverEvent>) {
        self.why_broken = None;
        match self.plugin.replace(Arc::clone(&plugin)) {
            Some(known) if Arc::ptr_eq(&known, &plugin) => {}
            Some(_) => told.push(DriverEvent::Updated(plugin)),
            None => told.push(DriverEvent::Added(plugin)),
        }
    }

    fn fail(&mut self, broken: Broken, told: &mut Vec<DriverEvent>) {
        let new = self.why_broken.as_ref() != Some(&broken.why);
        self.why_broken = Some(broken.why.clone());
        self.plugin = None;
        if new {
            told.push(DriverEvent::Broken(broken));
        }
    }
}
