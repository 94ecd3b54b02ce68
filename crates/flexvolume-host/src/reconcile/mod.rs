//! Desired state in, operations out: which volume is worked on next, and when.
//!
//! A state machine without I/O, threads or a clock of its own: the caller tells it what shall be ([`Reconciler::set_pod`]),
//! what is ([`Reconciler::take_stock`]), which drivers there are ([`Reconciler::set_driver`]), and how each operation
//! ended ([`Reconciler::finished`]); it answers with operations to carry out ([`Reconciler::next`]) and when to ask again
//! ([`Reconciler::wake_at`]). An operation is one call of the life cycle ([`crate::lifecycle`]), which looks at records
//! and mount table itself: whatever the reconciler believes, a wrong belief costs a call that changes nothing.
//!
//! Guarantees:
//! - One operation at a time on a pod, and on a device that pods share; as many at a time on others as [`Bounds`] allow.
//! - Nothing is unmounted before [`Reconciler::populated`]: until then nobody knows all that shall be.
//! - What nobody can judge ([`PodWish::AsIs`]) is neither mounted nor unmounted.
//! - After a failure the same is tried again after 0.5 s, 1 s and so on up to 2 minutes, at once when somebody asks for
//!   it, when the driver comes back, or when something else is wanted now.

mod back_off;
mod bounds;
mod drivers;
mod pod_volumes;
mod reconciler;
mod view;
mod volume;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

pub use back_off::BackOff;
pub use bounds::Bounds;
pub use drivers::{Attaching, DriverState};
pub use reconciler::Reconciler;
pub use view::{Counts, Stage, VolumeView};

pub use crate::lifecycle::VolumeKey;
use crate::lifecycle::{PodVolume, Standing};
use crate::spec::{MounterArguments, Pod};

/// A pod and the volumes that it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPod {
    /// The pod.
    pub pod: Pod,
    /// Its volumes, in their order.
    pub volumes: Vec<PodVolume>,
    /// How they are set up.
    pub arguments: MounterArguments,
}

/// What shall become of a pod's volumes.
#[derive(Debug, Clone)]
pub enum PodWish {
    /// These shall be mounted, and no others.
    Volumes(Arc<WantedPod>),
    /// Nobody knows: they stay as they are.
    AsIs,
    /// None shall be mounted.
    Gone,
}

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// All calls until the pod has the volume.
    Mount,
    /// All calls until nothing of the pod's volume is left.
    Unmount,
    /// `expandvolume` and `expandfs`.
    Expand,
}

impl Task {
    /// A word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Task::Mount => "mount",
            Task::Unmount => "unmount",
            Task::Expand => "expand",
        }
    }
}

/// What an operation needs to know.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Mount the volume at this position of the pod.
    Mount {
        /// The pod.
        pod: Arc<WantedPod>,
        /// The volume's position among the pod's volumes.
        position: usize,
    },
    /// Unmount it.
    Unmount,
    /// Grow it.
    Expand {
        /// The size in bytes that it shall have.
        size: u64,
    },
}

impl Operation {
    /// What kind it is.
    #[must_use]
    pub fn task(&self) -> Task {
        match self {
            Operation::Mount { .. } => Task::Mount,
            Operation::Unmount => Task::Unmount,
            Operation::Expand { .. } => Task::Expand,
        }
    }
}

/// An operation to carry out now.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The volume.
    pub key: VolumeKey,
    /// What to do.
    pub operation: Operation,
    /// When it was begun.
    pub begun: Instant,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The pod has the volume.
    Mounted(Standing),
    /// Nothing of it is left.
    Unmounted,
    /// It has this size in bytes.
    Expanded(u64),
    /// It failed; something may have been begun.
    Failed(String),
}

/// Something that a person should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The volume.
    pub key: VolumeKey,
    /// What is to be said.
    pub kind: NoticeKind,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// The volume is mounted as it was described before; what has changed applies at the next mount.
    ChangedWhileMounted,
    /// The operation that runs is no longer wanted; what is wanted now follows it.
    Superseded,
    /// Somebody has unmounted it; it is mounted again.
    UnmountedBehindUs,
}
