//! One operation on one volume, in a thread that works on nothing else meanwhile.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use flexvolume_host::lifecycle::{Leaving, LifecycleError, Resize, Standing, VolumeManager, WantedVolume};
use flexvolume_host::os::System;
use flexvolume_host::os::mount::MountPoint;
use flexvolume_host::reconcile::{Assignment, Ending, Operation, VolumeKey, WantedPod};

use super::Message;
use super::calls::this_thread_works_on;
use super::crew::Crew;
use super::remedy::Ailing;
use crate::usage::Surveyor;

/// Carries operations out.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) manager: Arc<VolumeManager>,
    pub(super) system: System,
    pub(super) messages: Sender<Message>,
    pub(super) crew: Crew,
    pub(super) ailing: Ailing,
}

/// Tells how an operation ended, whatever becomes of its thread.
struct Report {
    messages: Sender<Message>,
    assignment: Option<Assignment>,
    ending: Ending,
}

impl Report {
    fn end(&mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(assignment) = self.assignment.take() {
            let ending = std::mem::replace(&mut self.ending, Ending::Unmounted);
            // Nobody listens any more: the process ends.
            let _ = self.messages.send(Message::Finished(Box::new((assignment, ending))));
        }
    }
}

impl Worker {
    pub(super) fn new(manager: Arc<VolumeManager>, system: System, messages: Sender<Message>) -> Self {
        Self { manager, system, messages, crew: Crew::default(), ailing: Ailing::default() }
    }

    /// Begins the operation. How it ends is a message.
    pub(super) fn begin(&self, assignment: Assignment) {
        let worker = self.clone();
        let mut report = Report {
            messages: self.messages.clone(),
            assignment: Some(assignment.clone()),
            ending: Ending::Failed("its thread could not be started or gave up".to_owned()),
        };
        let job = move || report.end(worker.perform(&assignment));
        if let Err(error) = self.crew.give(Box::new(job)) {
            tracing::warn!(%error, "no thread for an operation");
        }
    }

    fn perform(&self, assignment: &Assignment) -> Ending {
        let key = &assignment.key;
        this_thread_works_on(key);
        let done = match &assignment.operation {
            Operation::Mount { pod, position } => self.mount(key, pod, *position),
            Operation::Unmount => self.unmount(key),
            Operation::Expand { size } => self.expand(key, *size),
        };
        done.unwrap_or_else(Ending::Failed)
    }

    fn mount(&self, key: &VolumeKey, pod: &WantedPod, position: usize) -> Result<Ending, String> {
        let volume = pod.volumes.get(position).ok_or("the pod has no such volume")?;
        let text = |error: LifecycleError| error.to_string();
        pod.volumes.iter().try_for_each(|other| volume.refuse_collision(other)).map_err(text)?;
        let wanted = WantedVolume { pod: &pod.pod, volume, position, arguments: pod.arguments };
        // What somebody has unmounted meanwhile is mounted, not healed.
        if self.ailing.contains(key) && self.manager.is_mounted_now(key) {
            self.manager.heal(&wanted).map_err(text)?;
        }
        self.ailing.discharge(key);
        let mounted = self.manager.mount_one(&wanted).map_err(text)?;
        let standing = match self.system.mounter.mount_point(&mounted.mount_dir) {
            Ok(MountPoint::Yes | MountPoint::Dead(_)) => Standing::Mounted,
            _ => Standing::Filled,
        };
        Ok(Ending::Mounted(standing))
    }

    fn unmount(&self, key: &VolumeKey) -> Result<Ending, String> {
        let text = |error: LifecycleError| error.to_string();
        // While this lives no command begins to use the volume.
        let leaving = self.manager.enter(&key.pod).map_err(text)?.leave().map_err(text)?;
        if matches!(leaving, Leaving::OthersRemain) {
            return Err("a command of `flexvol run` uses the pod's volumes; they are unmounted when it ends"
                .to_owned());
        }
        match self.manager.unmount_one(key) {
            Ok(_) => {
                self.ailing.discharge(key);
                Ok(Ending::Unmounted)
            }
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        }
    }

    fn expand(&self, key: &VolumeKey, size: u64) -> Result<Ending, String> {
        let surveyor = Surveyor::new(&*self.system.runner);
        let resize = Resize {
            pod: &key.pod,
            volume: key.volume.as_str(),
            size,
            capacity: &|mount_dir| surveyor.figures(mount_dir).ok().map(|metrics| metrics.capacity),
        };
        match self.manager.resize(&resize) {
            Ok(resized) => Ok(Ending::Expanded(resized.size)),
            // It is large enough: somebody has grown it by hand.
            Err(LifecycleError::Shrink { has, .. }) => Ok(Ending::Expanded(has)),
            Err(error) => Err(error.to_string()),
        }
    }
}
