//! How things stand, for people and figures.

use std::collections::BTreeMap;
use std::time::Instant;

use flexvolume::DriverName;
use serde::Serialize;

use super::drivers::DriverState;
use super::pod_volumes::Name;
use super::reconciler::key_of;
use super::volume::{Actual, Volume, Wish};
use super::{Reconciler, VolumeKey};

/// Where a volume stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The pod has it.
    Mounted,
    /// It is being mounted.
    Mounting,
    /// It is being unmounted.
    Unmounting,
    /// It is being grown.
    Expanding,
    /// It waits for its turn.
    Queued,
    /// It waits because its driver cannot be used.
    WaitingForDriver,
    /// It failed and waits until it is tried again.
    BackingOff,
    /// It stays as it is, because nobody can tell what it shall be.
    LeftAlone,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 8] = [
        Stage::Mounted,
        Stage::Mounting,
        Stage::Unmounting,
        Stage::Expanding,
        Stage::Queued,
        Stage::WaitingForDriver,
        Stage::BackingOff,
        Stage::LeftAlone,
    ];

    /// A word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Mounted => "mounted",
            Stage::Mounting => "mounting",
            Stage::Unmounting => "unmounting",
            Stage::Expanding => "expanding",
            Stage::Queued => "queued",
            Stage::WaitingForDriver => "waiting-for-driver",
            Stage::BackingOff => "backing-off",
            Stage::LeftAlone => "left-alone",
        }
    }
}

/// How a volume stands.
#[derive(Debug, Clone)]
pub struct VolumeView {
    /// Which one.
    pub key: VolumeKey,
    /// `namespace/name` of the pod, where it is known.
    pub pod_name: Option<String>,
    /// The pod's name for it, where it is wanted.
    pub pod_volume: Option<String>,
    /// Whether a pod shall have it.
    pub wanted: bool,
    /// Where it stands.
    pub stage: Stage,
    /// Since when what there is of it is as it is.
    pub since: Instant,
    /// Since when an operation on it runs.
    pub running_since: Option<Instant>,
    /// Whether what runs is no longer wanted.
    pub superseded: bool,
    /// What it waits for, or why it failed last.
    pub why: Option<String>,
    /// How often in a row it failed.
    pub failures: u32,
    /// When it is tried again.
    pub again: Option<Instant>,
}

/// Volumes by stage.
pub type Counts = BTreeMap<Stage, usize>;

impl Reconciler {
    /// How all volumes stand, by pod.
    pub fn view(&self) -> impl Iterator<Item = VolumeView> {
        self.pods.iter().flat_map(move |(pod, volumes)| {
            volumes.iter().map(move |(name, volume)| self.view_of(key_of(pod, name), volume))
        })
    }

    /// How many volumes there are at each stage.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts: Counts = Stage::ALL.into_iter().map(|stage| (stage, 0)).collect();
        for ((driver, _), volume) in self.volumes() {
            *counts.entry(self.stage(driver, volume)).or_default() += 1;
        }
        counts
    }

    /// Whether every volume that is wanted is mounted, and nothing else is left.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let rests = |stage| matches!(stage, Stage::Mounted | Stage::LeftAlone);
        self.volumes().all(|((driver, _), volume)| rests(self.stage(driver, volume)))
    }

    /// Whether nothing is left but what is left alone.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.volumes().all(|((driver, _), volume)| self.stage(driver, volume) == Stage::LeftAlone)
    }

    /// The drivers that somebody has spoken of.
    pub fn driver_states(&self) -> impl Iterator<Item = (&DriverName, &DriverState)> {
        self.drivers.iter().map(|(name, driver)| (name, &driver.state))
    }

    fn volumes(&self) -> impl Iterator<Item = (&Name, &Volume)> {
        self.pods.values().flat_map(|volumes| volumes.iter())
    }

    fn stage(&self, driver: &DriverName, volume: &Volume) -> Stage {
        if let Some(running) = &volume.running {
            return match running.operation.task() {
                super::Task::Mount => Stage::Mounting,
                super::Task::Unmount => Stage::Unmounting,
                super::Task::Expand => Stage::Expanding,
            };
        }
        match (&volume.wish, volume.actual, volume.needed()) {
            (Wish::AsIs, ..) => Stage::LeftAlone,
            (_, Actual::Mounted(_), None) => Stage::Mounted,
            _ if !matches!(self.drivers.state(driver), DriverState::Ready(_)) => Stage::WaitingForDriver,
            _ if volume.trouble.is_some() => Stage::BackingOff,
            _ => Stage::Queued,
        }
    }

    fn view_of(&self, key: VolumeKey, volume: &Volume) -> VolumeView {
        let stage = self.stage(&key.driver, volume);
        let (pod_name, pod_volume) = match &volume.wish {
            Wish::Mounted { pod, position } => (
                Some(format!("{}/{}", pod.pod.namespace, pod.pod.name)),
                pod.volumes.get(*position).map(|volume| volume.pod_volume.clone()),
            ),
            _ => (volume.pod_name.clone(), None),
        };
        let trouble = volume.trouble.as_ref();
        let waits = (stage == Stage::WaitingForDriver)
            .then(|| self.drivers.state(&key.driver).why_wait(&key.driver))
            .flatten();
        let why =
            waits.or_else(|| trouble.map(|trouble| trouble.why.clone())).or_else(|| volume.noted.clone());
        VolumeView {
            pod_name,
            pod_volume,
            wanted: matches!(volume.wish, Wish::Mounted { .. }),
            stage,
            since: volume.since,
            running_since: volume.running.as_ref().map(|running| running.begun),
            superseded: volume.running.as_ref().is_some_and(|running| running.superseded),
            why,
            failures: trouble.map_or(0, |trouble| trouble.failures),
            again: trouble.filter(|_| stage == Stage::BackingOff).map(|trouble| trouble.again),
            key,
        }
    }
}
