//! The table of volumes, and what follows for each from what is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use flexvolume::{DriverName, PodUid};

use super::bounds::{Busy, Device};
use super::drivers::{DriverState, Drivers};
use super::pod_volumes::{Name, PodVolumes};
use super::volume::{Actual, Description, Running, Volume, Wish, capacity, device};
use super::{
    Assignment, BackOff, Bounds, Ending, Notice, NoticeKind, Operation, PodWish, VolumeKey, WantedPod,
};
use crate::lifecycle::{Keeper, Known, Standing};

/// Which volume is worked on next, and when. See the module.
#[derive(Debug)]
pub struct Reconciler {
    pub(super) pods: BTreeMap<PodUid, PodVolumes>,
    pub(super) drivers: Drivers,
    pub(super) busy: Busy,
    back_off: BackOff,
    /// Whether all that shall be is known.
    populated: bool,
}

impl Reconciler {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(bounds: Bounds, back_off: BackOff) -> Self {
        let (pods, drivers, busy) = (BTreeMap::new(), Drivers::default(), Busy::new(bounds));
        Self { pods, drivers, busy, back_off, populated: false }
    }

    /// Tells what there is. Volumes that nobody has wished for are unmounted, after [`Reconciler::populated`], unless a
    /// person keeps them.
    pub fn take_stock(&mut self, known: Vec<Known>, now: Instant) {
        for known in known {
            let key = known.key.clone();
            let wish = if known.keeper == Some(Keeper::Person) { Wish::AsIs } else { Wish::Gone };
            let volume = self.entry(&key, wish, now);
            if volume.running.is_some() {
                continue;
            }
            let actual = match known.standing {
                Standing::Unclear => Actual::Unclear,
                standing => Actual::Mounted(standing),
            };
            volume.become_actual(actual, now);
            let declared = known.spec.as_ref().and_then(capacity);
            volume.size = volume.size.max(declared).max(known.resized);
            if let Some(spec) = &known.spec {
                volume.device = device(spec);
            }
            volume.described = known.spec.as_ref().map(Description::of);
            volume.pod_name = known.pod_name;
            volume.noted = known.error;
            self.requeue(&key, now);
        }
    }

    /// Tells what else there is: of volumes that are known already it says nothing new. What it tells may be a moment old.
    pub fn take_stock_of_others(&mut self, known: Vec<Known>, now: Instant) {
        let others = known.into_iter().filter(|known| self.get(&known.key).is_none()).collect();
        self.take_stock(others, now);
    }

    /// From now on all that shall be is known, so that the rest can be unmounted.
    pub fn populated(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.populated, true) {
            self.requeue_all(now);
        }
    }

    /// From now on a driver that was not told of is not there.
    pub fn discovered(&mut self) {
        self.drivers.discovered();
    }

    /// Tells what has become of a driver. If it can be used, its volumes are tried at once.
    pub fn set_driver(&mut self, name: &DriverName, state: DriverState, now: Instant) {
        let usable = matches!(state, DriverState::Ready(_));
        self.drivers.get_mut(name).state = state;
        if usable {
            for key in self.drivers.waiting(name) {
                self.retry(&key, now);
            }
        }
    }

    /// Tells what shall become of a pod's volumes.
    pub fn set_pod(&mut self, uid: &PodUid, wish: &PodWish, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        let wanted = match wish {
            PodWish::Volumes(pod) => wanted_volumes(pod),
            PodWish::AsIs | PodWish::Gone => BTreeMap::new(),
        };
        let known =
            self.pods.get(uid).into_iter().flat_map(|volumes| volumes.iter().map(|(name, _)| name.clone()));
        let names: BTreeSet<_> = known.chain(wanted.keys().cloned()).collect();
        for name in names {
            let wish = match (wish, wanted.get(&name)) {
                (PodWish::Volumes(pod), Some(position)) => {
                    Wish::Mounted { pod: Arc::clone(pod), position: *position }
                }
                (PodWish::AsIs, _) => Wish::AsIs,
                _ => Wish::Gone,
            };
            let key = VolumeKey { pod: uid.clone(), driver: name.0, volume: name.1 };
            let kind = self.set_wish(&key, wish, now);
            notices.extend(kind.map(|kind| Notice { key, kind }));
        }
        notices
    }

    fn set_wish(&mut self, key: &VolumeKey, wish: Wish, now: Instant) -> Option<NoticeKind> {
        let volume = self.entry(key, wish.clone(), now);
        let before = volume.wanted().map(Description::of).or_else(|| volume.described.take());
        volume.wish = wish;
        if let Some(spec) = volume.wanted() {
            volume.device = device(spec);
        }
        let notice = if volume.running.is_some() {
            volume.supersede().then_some(NoticeKind::Superseded)
        } else {
            let mounted = matches!(volume.actual, Actual::Mounted(_));
            let wanted = volume.wanted().map(Description::of);
            let changed = wanted.zip(before).is_some_and(|(wanted, before)| wanted != before);
            (mounted && changed).then_some(NoticeKind::ChangedWhileMounted)
        };
        let needed = volume.needed().map(|operation| operation.task());
        // What has failed was something else, or was described otherwise: no pause is due.
        if volume.trouble.as_ref().is_some_and(|trouble| Some(trouble.task) != needed) {
            volume.trouble = None;
        }
        self.requeue(key, now);
        notice
    }

    /// The volumes that count as mounted, to be compared with the mount table.
    pub fn mounted(&self) -> impl Iterator<Item = VolumeKey> {
        self.pods.iter().flat_map(|(pod, volumes)| {
            let mounted = |volume: &Volume| {
                volume.running.is_none() && volume.actual == Actual::Mounted(Standing::Mounted)
            };
            volumes.iter().filter(move |(_, volume)| mounted(volume)).map(|(name, _)| key_of(pod, name))
        })
    }

    /// The volumes that pods shall have and that were mounted with this Secret, or are being mounted now.
    pub fn mounted_with_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = VolumeKey> + 'a {
        self.pods.iter().flat_map(move |(pod, volumes)| {
            let holds = move |volume: &Volume| volume.holds_secret(namespace, name);
            volumes.iter().filter(move |(_, volume)| holds(volume)).map(|(name, _)| key_of(pod, name))
        })
    }

    /// Tells that a volume that counted as mounted is not.
    pub fn lost(&mut self, key: &VolumeKey, now: Instant) -> Option<Notice> {
        let volume = self.get_mut(key)?;
        if volume.running.is_some() || volume.actual != Actual::Mounted(Standing::Mounted) {
            return None;
        }
        volume.become_actual(Actual::Unclear, now);
        let wanted = volume.wanted().is_some();
        self.requeue(key, now);
        wanted.then(|| Notice { key: key.clone(), kind: NoticeKind::UnmountedBehindUs })
    }

    /// The next operation to begin now. Whoever takes it must tell how it [ended](Reconciler::finished).
    pub fn next(&mut self, now: Instant) -> Option<Assignment> {
        if !self.busy.has_room(now) {
            return None;
        }
        let is_free = |key: &VolumeKey| self.busy.is_free(key, self.device_of(key));
        let due = self.drivers.with_room(self.busy.per_driver());
        let (ticket, key) = due.filter_map(|driver| driver.first_due(now, is_free)).min()?;
        let key = key.clone();
        self.drivers.dequeue(&key, ticket);
        let device = self.device_of(&key);
        let volume = self.get_mut(&key)?;
        volume.ticket = None;
        let operation = volume.needed()?;
        volume.running =
            Some(Running { operation: operation.clone(), begun: now, device, superseded: false });
        self.busy.take(&key, device, now);
        self.drivers.get_mut(&key.driver).running += 1;
        Some(Assignment { key, operation, begun: now })
    }

    fn device_of(&self, key: &VolumeKey) -> Device {
        let volume = self.get(key);
        match volume {
            Some(volume) if self.drivers.attaches(&key.driver) => volume.device,
            _ => Device::Own,
        }
    }

    /// Tells how an operation ended.
    pub fn finished(&mut self, key: &VolumeKey, ending: &Ending, now: Instant) {
        let Some(running) = self.get_mut(key).and_then(|volume| volume.running.take()) else { return };
        self.busy.give_back(key, running.device, running.begun);
        let driver = self.drivers.get_mut(&key.driver);
        driver.running = driver.running.saturating_sub(1);
        let task = running.operation.task();
        let Some(volume) = self.pods.get_mut(&key.pod).and_then(|volumes| volumes.get_mut(key)) else {
            return;
        };
        match ending {
            Ending::Failed(why) => {
                if task != super::Task::Expand {
                    volume.become_actual(Actual::Unclear, now);
                }
                let trouble = volume.failed(task, why.clone());
                trouble.again = now + self.back_off.pause(trouble.failures);
            }
            done => {
                (volume.trouble, volume.noted) = (None, None);
                volume.done(done, &running.operation, now);
            }
        }
        self.requeue(key, now);
    }

    /// Has a volume tried now, whatever its back-off; whether there was something to try.
    pub fn retry(&mut self, key: &VolumeKey, now: Instant) -> bool {
        let Some(volume) = self.get_mut(key) else { return false };
        if let Some(trouble) = &mut volume.trouble {
            trouble.again = trouble.again.min(now);
        }
        let waits = volume.ticket.is_some();
        self.requeue(key, now);
        waits
    }

    /// When to ask for the next operation although nothing has happened; `None` if that is of no use.
    #[must_use]
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let due = self.drivers.next_due(self.busy.per_driver(), now);
        due.into_iter().chain(self.busy.room_at(now)).min()
    }

    /// How many operations run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.busy.running()
    }

    pub(super) fn get(&self, key: &VolumeKey) -> Option<&Volume> {
        self.pods.get(&key.pod)?.get(key)
    }

    fn get_mut(&mut self, key: &VolumeKey) -> Option<&mut Volume> {
        self.pods.get_mut(&key.pod)?.get_mut(key)
    }

    fn entry(&mut self, key: &VolumeKey, wish: Wish, now: Instant) -> &mut Volume {
        let volumes = self.pods.entry(key.pod.clone()).or_default();
        volumes.entry(key, || Volume::new(wish, now))
    }

    fn requeue_all(&mut self, now: Instant) {
        let all =
            self.pods.iter().flat_map(|(pod, volumes)| volumes.iter().map(|(name, _)| key_of(pod, name)));
        let keys: Vec<VolumeKey> = all.collect();
        keys.iter().for_each(|key| self.requeue(key, now));
    }

    /// Puts a volume where it belongs: in its driver's queue, nowhere, or out of the table.
    fn requeue(&mut self, key: &VolumeKey, now: Instant) {
        let populated = self.populated;
        let Some(volume) = self.get_mut(key) else { return };
        let old = volume.ticket.take();
        let idle = volume.running.is_none();
        let done = idle && matches!((&volume.wish, volume.actual), (Wish::Gone, Actual::Absent));
        let needed = volume.needed().map(|operation| operation.task());
        let may = |task: &super::Task| idle && (populated || *task != super::Task::Unmount);
        let due = needed.filter(may).map(|task| volume.due(task, now));
        if let Some(ticket) = old {
            self.drivers.dequeue(key, ticket);
        }
        let ticket = due.map(|due| self.drivers.enqueue(key.clone(), due));
        if let Some(volume) = self.get_mut(key) {
            volume.ticket = ticket;
        }
        if done {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &VolumeKey) {
        if let Some(volumes) = self.pods.get_mut(&key.pod) {
            volumes.remove(key);
            if volumes.is_empty() {
                self.pods.remove(&key.pod);
            }
        }
    }
}

impl Volume {
    fn done(&mut self, ending: &Ending, operation: &Operation, now: Instant) {
        match (ending, operation) {
            (Ending::Mounted(standing), Operation::Mount { pod, position }) => {
                self.become_actual(Actual::Mounted(*standing), now);
                let spec = pod.volumes.get(*position).map(|volume| &volume.spec);
                self.size = self.size.max(spec.and_then(capacity));
            }
            (Ending::Expanded(size), _) => self.size = Some(*size),
            _ => {
                self.become_actual(Actual::Absent, now);
                self.size = None;
            }
        }
    }
}

pub(super) fn key_of(pod: &PodUid, (driver, volume): &Name) -> VolumeKey {
    VolumeKey { pod: pod.clone(), driver: driver.clone(), volume: volume.clone() }
}

/// The volumes of a pod by what names their mount dirs. One whose driver can have no such name is no volume: whoever
/// reads manifests says so.
fn wanted_volumes(pod: &WantedPod) -> BTreeMap<Name, usize> {
    let mut wanted = BTreeMap::new();
    for (position, volume) in pod.volumes.iter().enumerate() {
        if let Ok(driver) = DriverName::parse(volume.spec.driver.clone()) {
            wanted.entry((driver, volume.spec.name.clone())).or_insert(position);
        }
    }
    wanted
}
