//! What is done about mounted volumes that do not answer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flexvolume_host::contract::DriverName;
use flexvolume_host::reconcile::VolumeKey;
use flexvolume_host::settings::{Settings, SickMount};

use super::health::Sick;
use super::journal::Event;
use super::run_loop::Agent;
use crate::args::AgentArguments;
use crate::session::Session;

/// The remedy of each driver: a flag, or its settings.
pub(super) struct Remedies {
    settings: Arc<Settings>,
    /// Names of drivers, or `all`.
    remount: Vec<String>,
}

impl Remedies {
    pub(super) fn new(session: &Session, arguments: &AgentArguments) -> Self {
        let remount = arguments.remount_sick.clone();
        Self { settings: Arc::clone(&session.host.settings), remount }
    }

    fn of(&self, driver: &DriverName) -> SickMount {
        if self.remount.iter().any(|name| name == "all" || name == driver.as_str()) {
            return SickMount::Remount;
        }
        // Settings that are wrong keep their driver from being used, and whoever looks it up says so.
        self.settings.of(driver).map_or(SickMount::Report, |settings| settings.sick_mount.value)
    }
}

/// The volumes whose drivers shall heal them, before they are mounted again if need be.
#[derive(Debug, Clone, Default)]
pub(super) struct Ailing(Arc<Mutex<BTreeSet<VolumeKey>>>);

impl Ailing {
    fn volumes(&self) -> MutexGuard<'_, BTreeSet<VolumeKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, key: &VolumeKey) -> bool {
        self.volumes().contains(key)
    }

    /// What can be done for it has been done.
    pub(super) fn discharge(&self, key: &VolumeKey) {
        self.volumes().remove(key);
    }
}

impl Agent {
    pub(super) fn note_health(&mut self, mut sick: Sick) {
        // One that its driver is to heal does not count as mounted until then, and was not asked.
        let before = std::mem::take(&mut self.sick);
        let ailing = before.iter().filter(|(key, _)| self.worker.ailing.contains(key));
        sick.extend(ailing.map(|(key, why)| (key.clone(), why.clone())));
        for (key, why) in &sick {
            if before.get(key) != Some(why) {
                self.journal.tell(Event::of_volume("SickMount", key).saying(why));
            }
            self.remedy(key);
        }
        for key in before.keys().filter(|key| !sick.contains_key(*key)) {
            self.journal.tell(Event::of_volume("Recovered", key));
        }
        self.sick = sick;
    }

    fn remedy(&mut self, key: &VolumeKey) {
        let reason = match self.remedies.of(&key.driver) {
            SickMount::Report => return,
            SickMount::Remount => "Remounting",
            SickMount::Heal => "Healing",
        };
        if self.reconciler.lost(key, Instant::now()).is_some() {
            if reason == "Healing" {
                self.worker.ailing.volumes().insert(key.clone());
            }
            self.journal.tell(Event::of_volume(reason, key).saying("because it does not answer"));
        }
    }
}
