//! `init`s of many drivers beside each other, none of which can hold up another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use flexvolume::DriverName;
use rustix::event::{EventfdFlags, eventfd};

use super::on_demand::workers;
use super::{Registry, RegistryError};
use crate::plugin::VolumePlugin;

/// An `init` that takes longer no longer counts among those that run side by side: it may hang, and the others wait.
const SLOW: Duration = Duration::from_millis(100);

/// The answer of a driver to `init`.
pub(super) type Answered = (DriverName, Result<Arc<VolumePlugin>, RegistryError>);

/// Drivers that are being asked, and those that are to be.
pub(super) struct Inits {
    registry: Arc<Registry>,
    /// Rings when an answer is there.
    bell: Arc<OwnedFd>,
    sender: Sender<Answered>,
    answers: Receiver<Answered>,
    running: BTreeMap<DriverName, Instant>,
    waiting: VecDeque<DriverName>,
    /// Asked for while they were running: one `init` at a time of each driver.
    once_more: BTreeSet<DriverName>,
}

impl Inits {
    pub(super) fn new(registry: Arc<Registry>) -> io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, answers) = channel();
        let (running, waiting, once_more) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Ok(Self { registry, bell, sender, answers, running, waiting, once_more })
    }

    /// Becomes readable when there are answers.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Has a driver asked, after those that wait already.
    pub(super) fn ask(&mut self, name: DriverName) {
        if self.running.contains_key(&name) {
            self.once_more.insert(name);
        } else if !self.waiting.contains(&name) {
            self.waiting.push_back(name);
        }
    }

    /// Starts as many as may run.
    pub(super) fn start_waiting(&mut self) {
        while self.quick() < workers() {
            let Some(name) = self.waiting.pop_front() else { return };
            self.start(name);
        }
    }

    fn start(&mut self, name: DriverName) {
        let (registry, sender) = (Arc::clone(&self.registry), self.sender.clone());
        let (bell, asked) = (Arc::clone(&self.bell), name.clone());
        let started = thread::Builder::new().name("init".to_owned()).spawn(move || {
            let result = registry.find_by_name(&asked);
            // Nobody listens any more: then nobody needs to know.
            let _ = sender.send((asked, result));
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        });
        match started {
            Ok(_) => drop(self.running.insert(name, Instant::now())),
            Err(error) => {
                tracing::warn!(driver = %name, %error, "no thread for an init: it is tried again");
                self.waiting.push_front(name);
                thread::sleep(SLOW);
            }
        }
    }

    /// How many run that are not slow.
    fn quick(&self) -> usize {
        self.running.values().filter(|begun| begun.elapsed() < SLOW).count()
    }

    /// When another one may be started although none has ended.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        self.running.values().map(|begun| *begun + SLOW).filter(|slow| *slow > Instant::now()).min()
    }

    /// The answers that have come.
    pub(super) fn answers(&mut self) -> Vec<Answered> {
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        let answered: Vec<_> = self.answers.try_iter().collect();
        for (name, _) in &answered {
            self.running.remove(name);
            if self.once_more.remove(name) {
                self.waiting.push_back(name.clone());
            }
        }
        answered
    }
}
