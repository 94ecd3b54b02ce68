//! The loop: messages in, operations out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use flexvolume_host::lifecycle::{Inventory, UnreadableRecord};
use flexvolume_host::os::signals::Signals;
use flexvolume_host::reconcile::{
    Assignment, DriverState, Ending, Notice, NoticeKind, Operation, Reconciler, Task, VolumeKey,
};

use super::Message;
use super::drivers::DriverNews;
use super::health::Sick;
use super::journal::{Event, Journal};
use super::metrics::{Metrics, Outcome};
use super::news::{UNFINISHED, Update};
use super::notify::{self, ServiceState, Watchdog};
use super::remedy::Remedies;
use super::rest::Rest;
use super::secrets::CurrentSecrets;
use super::state::State;
use super::worker::Worker;
use crate::failure::Failure;

/// How often signals are asked for.
const TICK: Duration = Duration::from_millis(100);
/// How long a stop waits for operations that run; what is left is settled by the next agent.
const STOP: Duration = Duration::from_millis(1500);

/// The agent.
pub(super) struct Agent {
    pub(super) reconciler: Reconciler,
    pub(super) journal: Journal,
    pub(super) state: State,
    pub(super) secrets: CurrentSecrets,
    pub(super) worker: Worker,
    /// What is wrong with manifests, by file.
    pub(super) troubles: BTreeMap<String, String>,
    pub(super) populated: bool,
    pub(super) metrics: Metrics,
    /// Records that cannot be used.
    pub(super) unreadable: Vec<UnreadableRecord>,
    /// Mounted volumes that do not answer.
    pub(super) sick: Sick,
    /// What is done about them.
    pub(super) remedies: Remedies,
    pub(super) purpose: Purpose,
}

/// What the agent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To keep mounted what the manifests ask for.
    Keep,
    /// To unmount everything and end.
    Drain,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// By a signal.
    Interrupted,
    /// There is nothing left to unmount.
    Drained,
}

impl Agent {
    /// Finds what there is, before anything is touched.
    pub(super) fn take_stock(&mut self) -> Result<(), Failure> {
        let inventory = self.worker.manager.inventory()?;
        self.worker.manager.sweep(&inventory);
        self.tell_unreadable(inventory.unreadable);
        self.reconciler.take_stock(inventory.volumes, Instant::now());
        Ok(())
    }

    fn note_stock(&mut self, inventory: Inventory) {
        self.tell_unreadable(inventory.unreadable);
        self.reconciler.take_stock_of_others(inventory.volumes, Instant::now());
    }

    fn tell_unreadable(&mut self, records: Vec<UnreadableRecord>) {
        for record in &records {
            if !self.unreadable.contains(record) {
                let said = format!("{}: {}", record.file.display(), record.why);
                self.journal.tell(Event::new("RecordInvalid").saying(&said));
            }
        }
        self.unreadable = records;
    }

    /// Until a signal comes.
    pub(super) fn run(&mut self, inbox: &Receiver<Message>, signals: &Signals) -> Run {
        self.journal.tell(Event::new("Started"));
        let (mut watchdog, mut rest) = (Watchdog::new(), Rest::new());
        loop {
            watchdog.pat();
            if signals.take().is_some() {
                self.stop(inbox);
                return Run::Interrupted;
            }
            if self.purpose == Purpose::Drain && self.reconciler.is_drained() {
                self.journal.tell(Event::new("Drained"));
                return Run::Drained;
            }
            self.begin_all();
            let now = Instant::now();
            let wake = self.reconciler.wake_at(now);
            let patience = wake.map_or(TICK, |at| at.saturating_duration_since(now).min(TICK));
            match inbox.recv_timeout(patience) {
                Ok(message) => {
                    // Whoever only asks leaves nothing behind.
                    if !matches!(message, Message::Question(_)) {
                        rest.disturb();
                    }
                    self.note(message);
                }
                Err(RecvTimeoutError::Timeout) => rest.go_on(),
                // Somebody always has a sender: the worker here.
                Err(RecvTimeoutError::Disconnected) => return Run::Interrupted,
            }
            inbox.try_iter().for_each(|message| self.note(message));
        }
    }

    fn begin_all(&mut self) {
        while let Some(assignment) = self.reconciler.next(Instant::now()) {
            self.worker.begin(assignment);
        }
    }

    /// Ends without unmounting: pods outlive their agent.
    fn stop(&mut self, inbox: &Receiver<Message>) {
        notify::tell(&ServiceState::Stopping);
        let end = Instant::now() + STOP;
        while self.reconciler.running() > 0 {
            let left = end.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left) {
                Ok(message @ Message::Finished(_)) => self.note(message),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let running = self.reconciler.running();
        let said = match running {
            0 => String::new(),
            some => format!("{some} operations still run; the next agent goes on from their records"),
        };
        self.journal.tell(Event::new("Stopped").saying(&said));
    }

    fn note(&mut self, message: Message) {
        match message {
            Message::Manifests(update) => self.note_manifests(*update),
            Message::NoManifests(why) => {
                self.journal.tell(Event::new("ManifestsMissing").saying(&why));
                // The service works, as far as it can: `/readyz` says that it is not ready.
                notify::tell(&ServiceState::Ready);
                self.troubles.insert(String::new(), why);
            }
            Message::Driver(news) => self.note_driver(news),
            Message::Finished(ended) => self.note_end(&ended.0, &ended.1),
            Message::MountTable(seen) => self.note_mounts(&seen),
            Message::NoMountTable(why) => self.journal.tell(Event::new("MountTableFailed").saying(&why)),
            Message::Called(record) => {
                self.metrics.call(&record);
                self.journal.tell(Event::of_call(*record));
            }
            Message::Health(sick) => self.note_health(sick),
            Message::Stock(inventory) => self.note_stock(*inventory),
            Message::Reports => self.note_reports(),
            Message::Question(question) => self.answer(question),
        }
    }

    /// Finds out what somebody has unmounted. The look may be a moment old: what was mounted since is asked for again.
    fn note_mounts(&mut self, seen: &BTreeSet<VolumeKey>) {
        let manager = &self.worker.manager;
        let is_lost = |key: &VolumeKey| !seen.contains(key) && !manager.is_mounted_now(key);
        let lost: Vec<_> = self.reconciler.mounted().filter(is_lost).collect();
        for key in &lost {
            if let Some(notice) = self.reconciler.lost(key, Instant::now()) {
                self.tell_notice(&notice);
            }
        }
    }

    fn note_manifests(&mut self, update: Update) {
        let now = Instant::now();
        if let Err(error) = self.state.keep(&update.owners) {
            // It matters only if this process dies and a manifest is invalid then.
            let said = format!("which manifest asked for which pod is not on disk: {error}");
            self.journal.tell(Event::new("StateWriteFailed").saying(&said));
        }
        if let Some(secrets) = update.secrets {
            let changed = self.secrets.replace(secrets);
            changed.iter().for_each(|(namespace, name)| self.tell_changed_secret(namespace, name));
        }
        for (pod, wish) in &update.wishes {
            let notices = self.reconciler.set_pod(pod, wish, now);
            notices.iter().for_each(|notice| self.tell_notice(notice));
        }
        self.tell_troubles(update.troubles);
        if update.complete && !self.populated {
            self.populated = true;
            self.reconciler.populated(now);
            notify::tell(&ServiceState::Ready);
        }
    }

    /// One event for all volumes: thousands may share a Secret.
    fn tell_changed_secret(&mut self, namespace: &str, name: &str) {
        let mut holders = self.reconciler.mounted_with_secret(namespace, name);
        if let Some(VolumeKey { pod, volume, .. }) = holders.next() {
            let others = match holders.count() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            let said = format!(
                "Secret {namespace}/{name} has changed or is gone, and volume {volume} of pod {pod}{others} stays as it was mounted with it; what it is now applies when it is mounted again"
            );
            self.journal.tell(Event::new("SecretChanged").saying(&said));
        }
    }

    fn tell_troubles(&mut self, troubles: BTreeMap<String, String>) {
        for (file, why) in &troubles {
            if self.troubles.get(file) != Some(why) {
                let reason = if why.ends_with(UNFINISHED) { "ManifestUnfinished" } else { "ManifestInvalid" };
                let event = Event { file: Some(file.clone()), ..Event::new(reason) };
                self.journal.tell(event.saying(why));
            }
        }
        for file in self.troubles.keys().filter(|file| !troubles.contains_key(*file)) {
            let file = Some(file.clone()).filter(|file| !file.is_empty());
            self.journal.tell(Event { file, ..Event::new("ManifestAccepted") });
        }
        self.troubles = troubles;
    }

    fn note_driver(&mut self, news: DriverNews) {
        let now = Instant::now();
        match news {
            DriverNews::Is(name, state) => {
                let (reason, said) = match &state {
                    DriverState::Ready(_) => ("DriverReady", ""),
                    DriverState::Broken(why) => ("DriverBroken", why.as_str()),
                    DriverState::Missing | DriverState::Unknown => ("DriverRemoved", ""),
                };
                let event = Event { driver: Some(name.to_string()), ..Event::new(reason) };
                self.journal.tell(event.saying(said));
                self.reconciler.set_driver(&name, state, now);
            }
            DriverNews::BrokenDirectory(said) => {
                self.journal.tell(Event::new("DriverDirectoryBroken").saying(&said));
            }
            DriverNews::Discovered(installed) => {
                self.reconciler.discovered();
                let known: Vec<_> = self
                    .reconciler
                    .driver_states()
                    .map(|(name, state)| (name.clone(), state.clone()))
                    .collect();
                let spoken =
                    |name| known.iter().any(|(other, state)| other == name && *state != DriverState::Missing);
                for name in installed.iter().filter(|name| !spoken(*name)) {
                    self.reconciler.set_driver(name, DriverState::Unknown, now);
                }
            }
        }
    }

    fn note_end(&mut self, assignment: &Assignment, ending: &Ending) {
        let now = Instant::now();
        let Assignment { key, operation, begun } = assignment;
        let (reason, said) = match (ending, operation.task()) {
            (Ending::Mounted(_), _) => ("Mounted", String::new()),
            (Ending::Unmounted, _) => ("Unmounted", String::new()),
            (Ending::Expanded(size), _) => ("Expanded", format!("to {}", crate::usage::shown(*size))),
            (Ending::Failed(why), Task::Mount) => ("MountFailed", why.clone()),
            (Ending::Failed(why), Task::Unmount) => ("UnmountFailed", why.clone()),
            (Ending::Failed(why), Task::Expand) => ("ExpandFailed", why.clone()),
        };
        let mut event =
            Event::of_volume(reason, key).saying(&said).took(now.saturating_duration_since(*begun));
        if let Operation::Mount { pod, position } = operation
            && let Some(volume) = pod.volumes.get(*position)
            && event.message.is_empty()
        {
            event.message = format!("{}/{}: {}", pod.pod.namespace, pod.pod.name, volume.pod_volume);
        }
        self.journal.tell(event);
        let outcome = if matches!(ending, Ending::Failed(_)) { Outcome::Failure } else { Outcome::Success };
        self.metrics.operation(operation.task(), outcome, now.saturating_duration_since(*begun));
        self.reconciler.finished(key, ending, now);
    }

    fn tell_notice(&mut self, notice: &Notice) {
        let (reason, said) = match notice.kind {
            NoticeKind::ChangedWhileMounted => (
                "ChangedWhileMounted",
                "it stays as it was mounted; what has changed applies when it is mounted again",
            ),
            NoticeKind::Superseded => {
                ("Superseded", "what runs is no longer wanted; it is undone when it has ended")
            }
            NoticeKind::UnmountedBehindUs => {
                ("UnmountedByOthers", "nothing is mounted there any more; it is mounted again")
            }
        };
        self.journal.tell(Event::of_volume(reason, &notice.key).saying(said));
    }
}
