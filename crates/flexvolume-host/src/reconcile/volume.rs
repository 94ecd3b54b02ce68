//! One volume: what shall be, what is, what is being done, and what went wrong.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

use super::bounds::Device;
use super::drivers::Ticket;
use super::{Operation, Task, WantedPod};
use crate::lifecycle::Standing;
use crate::spec::{Source, VolumeSpec};

/// What shall be.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Mounted { pod: Arc<WantedPod>, position: usize },
    AsIs,
    Gone,
}

/// What is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actual {
    /// Nothing of it.
    Absent,
    /// The pod has it.
    Mounted(Standing),
    /// Something was begun, or nobody knows.
    Unclear,
}

/// An operation that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) operation: Operation,
    pub(super) begun: Instant,
    pub(super) device: Device,
    /// Something else is wanted meanwhile.
    pub(super) superseded: bool,
}

/// What went wrong last.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) task: Task,
    pub(super) failures: u32,
    pub(super) again: Instant,
    pub(super) why: String,
}

/// Tells one description of a volume from another one without keeping it. The size does not count, since it can be
/// changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Description(u64);

impl Description {
    pub(super) fn of(spec: &VolumeSpec) -> Self {
        let VolumeSpec { name, driver, fs_type, access, options, secret, source: _ } = spec;
        let mut hasher = DefaultHasher::new();
        (name, driver, fs_type, access, options, secret).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A volume of one pod.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) wish: Wish,
    pub(super) actual: Actual,
    pub(super) running: Option<Running>,
    pub(super) trouble: Option<Trouble>,
    pub(super) ticket: Option<Ticket>,
    /// Since when it is as it is.
    pub(super) since: Instant,
    /// The size in bytes that it is known to have.
    pub(super) size: Option<u64>,
    /// Whether its device may be another pod's too, as far as is known.
    pub(super) device: Device,
    /// How it was described when it was mounted, until that is compared with what is wanted.
    pub(super) described: Option<Description>,
    /// What is known of the pod's name where nobody wants it.
    pub(super) pod_name: Option<String>,
    /// Why it failed before we came.
    pub(super) noted: Option<String>,
}

impl Volume {
    pub(super) fn new(wish: Wish, now: Instant) -> Self {
        Self {
            wish,
            actual: Actual::Absent,
            running: None,
            trouble: None,
            ticket: None,
            since: now,
            size: None,
            device: Device::Shared,
            described: None,
            pod_name: None,
            noted: None,
        }
    }

    /// The volume as it is wanted.
    pub(super) fn wanted(&self) -> Option<&VolumeSpec> {
        let Wish::Mounted { pod, position } = &self.wish else { return None };
        pod.volumes.get(*position).map(|volume| &volume.spec)
    }

    /// Whether a driver has been given this Secret for it, or is being given it.
    pub(super) fn holds_secret(&self, namespace: &str, name: &str) -> bool {
        let Wish::Mounted { pod, .. } = &self.wish else { return false };
        let given = matches!(self.actual, Actual::Mounted(_)) || self.running.is_some();
        let secret = self.wanted().and_then(|spec| spec.secret.as_ref());
        given
            && secret.is_some_and(|secret| {
                let of = secret.namespace.as_ref().unwrap_or(&pod.pod.namespace);
                (of.as_str(), secret.name.as_str()) == (namespace, name)
            })
    }

    /// What is to be done, whether or not it can be done now.
    pub(super) fn needed(&self) -> Option<Operation> {
        match (&self.wish, self.actual) {
            (Wish::AsIs, _) | (Wish::Gone, Actual::Absent) => None,
            (Wish::Gone, _) => Some(Operation::Unmount),
            (Wish::Mounted { .. }, Actual::Mounted(_)) => {
                self.growth().map(|size| Operation::Expand { size })
            }
            (Wish::Mounted { pod, position }, _) => {
                Some(Operation::Mount { pod: Arc::clone(pod), position: *position })
            }
        }
    }

    /// The size that it shall have, if that is more than it has.
    fn growth(&self) -> Option<u64> {
        let wanted = self.wanted()?;
        let writable = wanted.access == flexvolume::Access::ReadWrite;
        capacity(wanted).filter(|size| writable && self.size.is_some_and(|has| has < *size))
    }

    /// Takes note of whether what runs is still wanted; says whether that has ceased just now.
    pub(super) fn supersede(&mut self) -> bool {
        let wanted = matches!(self.wish, Wish::Mounted { .. });
        let Some(running) = &mut self.running else { return false };
        let superseded = match running.operation {
            Operation::Mount { .. } | Operation::Expand { .. } => !wanted,
            Operation::Unmount => wanted,
        };
        let before = std::mem::replace(&mut running.superseded, superseded);
        superseded && !before
    }

    /// When it may be worked on.
    pub(super) fn due(&self, task: Task, now: Instant) -> Instant {
        self.trouble.as_ref().filter(|trouble| trouble.task == task).map_or(now, |trouble| trouble.again)
    }

    /// What it is known to be now.
    pub(super) fn become_actual(&mut self, actual: Actual, now: Instant) {
        if self.actual != actual {
            (self.actual, self.since) = (actual, now);
        }
    }

    /// A failure, to be tried again at a time.
    pub(super) fn failed(&mut self, task: Task, why: String) -> &mut Trouble {
        let failures =
            self.trouble.as_ref().filter(|known| known.task == task).map_or(0, |known| known.failures);
        let trouble = Trouble { task, failures: failures.saturating_add(1), again: self.since, why };
        self.trouble.insert(trouble)
    }
}

/// Whether its device may be another pod's too: a persistent volume's.
pub(super) fn device(spec: &VolumeSpec) -> Device {
    match spec.source {
        Source::PersistentVolume { .. } => Device::Shared,
        Source::Inline => Device::Own,
    }
}

/// `spec.capacity.storage` of a persistent volume.
pub(super) fn capacity(spec: &VolumeSpec) -> Option<u64> {
    match spec.source {
        Source::PersistentVolume { capacity, .. } => capacity,
        Source::Inline => None,
    }
}
