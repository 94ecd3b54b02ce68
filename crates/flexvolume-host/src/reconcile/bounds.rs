//! How much is done at a time, and what must not be done at the same time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use flexvolume::{DriverName, PodUid, VolumeName};

use super::VolumeKey;

/// An operation that takes longer no longer counts among those that run side by side: it may hang for minutes, and the
/// volumes of other drivers would wait for it.
const SLOW: Duration = Duration::from_secs(10);

/// How many operations run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// For one driver.
    pub per_driver: usize,
    /// For all drivers together, without those that have run for more than 10 s.
    pub overall: usize,
    /// For all drivers together, whatever they do.
    pub at_most: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { per_driver: 8, overall: 16, at_most: 256 }
    }
}

/// What is being worked on.
#[derive(Debug)]
pub(super) struct Busy {
    bounds: Bounds,
    pods: BTreeSet<PodUid>,
    devices: BTreeSet<(DriverName, VolumeName)>,
    begun: Vec<Instant>,
}

/// Whether an operation touches a device that other pods may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Device {
    Shared,
    Own,
}

impl Busy {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, pods: BTreeSet::new(), devices: BTreeSet::new(), begun: Vec::new() }
    }

    pub(super) fn per_driver(&self) -> usize {
        self.bounds.per_driver
    }

    /// Whether one more may be begun.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        let quick = self.begun.iter().filter(|begun| now.saturating_duration_since(**begun) < SLOW).count();
        quick < self.bounds.overall && self.begun.len() < self.bounds.at_most
    }

    /// When there may be room although nothing has ended.
    pub(super) fn room_at(&self, now: Instant) -> Option<Instant> {
        self.begun.iter().map(|begun| *begun + SLOW).filter(|slow| *slow > now).min()
    }

    pub(super) fn is_free(&self, key: &VolumeKey, device: Device) -> bool {
        let shared =
            device == Device::Shared && self.devices.contains(&(key.driver.clone(), key.volume.clone()));
        !shared && !self.pods.contains(&key.pod)
    }

    pub(super) fn take(&mut self, key: &VolumeKey, device: Device, now: Instant) {
        self.pods.insert(key.pod.clone());
        if device == Device::Shared {
            self.devices.insert((key.driver.clone(), key.volume.clone()));
        }
        self.begun.push(now);
    }

    pub(super) fn give_back(&mut self, key: &VolumeKey, device: Device, begun: Instant) {
        self.pods.remove(&key.pod);
        if device == Device::Shared {
            self.devices.remove(&(key.driver.clone(), key.volume.clone()));
        }
        if let Some(position) = self.begun.iter().position(|other| *other == begun) {
            self.begun.swap_remove(position);
        }
    }

    pub(super) fn running(&self) -> usize {
        self.begun.len()
    }
}
