//! What is known of each driver, and the volumes that wait for their turn with it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use flexvolume::DriverName;

use super::VolumeKey;

/// Whether a driver attaches devices, which pods may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attaching {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// What is known of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverState {
    /// It is being asked.
    Unknown,
    /// It can be used.
    Ready(Attaching),
    /// It cannot be used, for this reason.
    Broken(String),
    /// It is not installed.
    Missing,
}

impl DriverState {
    /// Why its volumes wait; `None` if they need not.
    pub(super) fn why_wait(&self, name: &DriverName) -> Option<String> {
        match self {
            DriverState::Ready(_) => None,
            DriverState::Unknown => Some(format!("driver {name} is being asked what it can do")),
            DriverState::Broken(why) => Some(format!("driver {name} is not usable: {why}")),
            DriverState::Missing => Some(format!("driver {name} is not installed")),
        }
    }
}

/// A driver.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) state: DriverState,
    /// By the time at which they may be worked on, first come first served.
    waiting: BTreeMap<Ticket, VolumeKey>,
    pub(super) running: usize,
}

impl Driver {
    /// The first volume that may be worked on now.
    pub(super) fn first_due(
        &self,
        now: Instant,
        is_free: impl Fn(&VolumeKey) -> bool,
    ) -> Option<(Ticket, &VolumeKey)> {
        let due = self.waiting.range(..=last_of(now)).map(|(ticket, key)| (*ticket, key));
        due.into_iter().find(|(_, key)| is_free(key))
    }
}

/// All drivers that somebody has spoken of.
#[derive(Debug, Default)]
pub(super) struct Drivers {
    drivers: BTreeMap<DriverName, Driver>,
    /// What a driver is that nobody has spoken of yet.
    discovered: bool,
    tickets: u64,
}

/// A place in a queue.
pub(super) type Ticket = (Instant, u64);

/// The last place of those that are due at a time.
fn last_of(due: Instant) -> Ticket {
    (due, u64::MAX)
}

impl Drivers {
    /// From now on a driver that nobody has spoken of is missing.
    pub(super) fn discovered(&mut self) {
        self.discovered = true;
        for driver in self.drivers.values_mut() {
            if driver.state == DriverState::Unknown {
                driver.state = DriverState::Missing;
            }
        }
    }

    fn unspoken(&self) -> DriverState {
        if self.discovered { DriverState::Missing } else { DriverState::Unknown }
    }

    pub(super) fn get_mut(&mut self, name: &DriverName) -> &mut Driver {
        let state = self.unspoken();
        self.drivers.entry(name.clone()).or_insert_with(|| Driver {
            state,
            waiting: BTreeMap::new(),
            running: 0,
        })
    }

    pub(super) fn state(&self, name: &DriverName) -> DriverState {
        self.drivers.get(name).map_or_else(|| self.unspoken(), |driver| driver.state.clone())
    }

    pub(super) fn attaches(&self, name: &DriverName) -> bool {
        self.drivers.get(name).is_some_and(|driver| driver.state == DriverState::Ready(Attaching::Yes))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&DriverName, &Driver)> {
        self.drivers.iter()
    }

    /// Those that can take one more operation.
    pub(super) fn with_room(&self, per_driver: usize) -> impl Iterator<Item = &Driver> {
        let usable = |driver: &&Driver| matches!(driver.state, DriverState::Ready(_));
        self.drivers.values().filter(usable).filter(move |driver| driver.running < per_driver)
    }

    pub(super) fn enqueue(&mut self, key: VolumeKey, due: Instant) -> Ticket {
        self.tickets += 1;
        let ticket = (due, self.tickets);
        self.get_mut(&key.driver.clone()).waiting.insert(ticket, key);
        ticket
    }

    pub(super) fn dequeue(&mut self, key: &VolumeKey, ticket: Ticket) {
        self.get_mut(&key.driver).waiting.remove(&ticket);
    }

    pub(super) fn waiting(&self, name: &DriverName) -> Vec<VolumeKey> {
        self.drivers.get(name).into_iter().flat_map(|driver| driver.waiting.values()).cloned().collect()
    }

    /// When the next volume that waits for its time may be worked on.
    pub(super) fn next_due(&self, per_driver: usize, now: Instant) -> Option<Instant> {
        let first_later = |driver: &Driver| {
            let mut later = driver.waiting.range((Bound::Excluded(last_of(now)), Bound::Unbounded));
            later.next().map(|((due, _), _)| *due)
        };
        self.with_room(per_driver).filter_map(first_later).min()
    }
}
