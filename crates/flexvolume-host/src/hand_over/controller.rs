//! The controller's side: `attach`, `detach`, `isattached`, and nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use flexvolume_os::failpoint::hit;
use flexvolume_os::lock::{Lock, LockError};

use super::{Attachment, Desired, FORMAT, Files, HandOverError, Progress, Reported};
use crate::VolumeHost;
use crate::lifecycle::{lock_driver, wait_for_earlier_calls};
use crate::plugin::{AttachablePlugin, Attachments, VolumePlugin};
use crate::registry::Registry;
use crate::settings::Serialisation;

/// Attaches for nodes. It keeps nothing in memory.
#[derive(Debug)]
pub struct Controller {
    files: Files,
    host: Arc<VolumeHost>,
    registry: Arc<Registry>,
    _only: Lock,
}

/// What is to be done about a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is wanted and not attached, or nobody knows.
    Attach,
    /// It is attached and wanted. From time to time the driver is asked whether that is still so.
    Verify,
    /// It is attached, or nobody knows, and nobody wants it.
    Detach,
}

/// A volume of which there is something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub of: Attachment,
    /// What is to be done.
    pub act: Act,
}

/// What has been done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is attached; the device may be empty.
    Attached(String),
    /// It is detached.
    Detached,
    /// There was nothing to do.
    Nothing,
}

impl Controller {
    /// Begins to work in the directory, where no other controller does.
    ///
    /// # Errors
    /// When there is another one, or the directory cannot be used.
    pub fn new(
        directory: PathBuf,
        host: Arc<VolumeHost>,
        registry: Arc<Registry>,
    ) -> Result<Self, LockError> {
        let file = directory.join("controller.lock");
        flexvolume_os::atomic::create_directories(&directory, 0o700)
            .map_err(|source| LockError::File { path: file.clone(), source })?;
        let _only = Lock::acquire(&file, std::time::Duration::ZERO)?;
        Ok(Self { files: Files::new(directory), host, registry, _only })
    }

    /// When the nodes' wishes have changed last: while it stays the same there are no others.
    #[must_use]
    pub fn wishes_changed(&self) -> Vec<Option<SystemTime>> {
        self.files.wishes_changed()
    }

    /// All volumes, and what cannot be used: of those files nothing is concluded.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn entries(&self) -> Result<(Vec<Entry>, Vec<HandOverError>), HandOverError> {
        let (mut entries, mut unusable) = (Vec::new(), Vec::new());
        for node in self.files.nodes()? {
            match self.files.of_node(&node) {
                Ok((volumes, bad)) => {
                    unusable.extend(bad);
                    for of in volumes {
                        match self.act_on(&of) {
                            Ok(act) => entries.extend(act.map(|act| Entry { of, act })),
                            Err(error) => unusable.push(error),
                        }
                    }
                }
                Err(error) => unusable.push(error),
            }
        }
        Ok((entries, unusable))
    }

    fn act_on(&self, of: &Attachment) -> Result<Option<Act>, HandOverError> {
        Ok(decide(self.files.desired(of)?.as_ref(), self.files.reported(of)?.as_ref()))
    }

    /// Does what is to be done about a volume now, whatever was found before.
    ///
    /// # Errors
    /// Why it could not be done, in words; the next call goes on.
    pub fn perform(&self, of: &Attachment) -> Result<Told, String> {
        let text = |error: HandOverError| error.to_string();
        let (desired, reported) =
            (self.files.desired(of).map_err(text)?, self.files.reported(of).map_err(text)?);
        match (decide(desired.as_ref(), reported.as_ref()), desired, reported) {
            (Some(Act::Attach), Some(desired), reported) => self.attach(desired, reported),
            (Some(Act::Verify), Some(desired), Some(reported)) => self.verify(desired, reported),
            (Some(Act::Detach), _, Some(reported)) => self.detach(reported),
            _ => Ok(Told::Nothing),
        }
    }

    fn plugin(&self, of: &Attachment) -> Result<(Arc<VolumePlugin>, AttachablePlugin), String> {
        let plugin = self.registry.find_by_name(&of.driver).map_err(|error| error.to_string())?;
        let attachable = plugin.attachable().ok_or_else(|| {
            format!("driver {} does not attach here, but does on node {}", of.driver, of.node)
        })?;
        wait_for_earlier_calls(&self.host, &plugin, &of.volume)?;
        Ok((plugin, attachable))
    }

    fn attach(&self, desired: Desired, reported: Option<Reported>) -> Result<Told, String> {
        let mut report = Reported {
            format: FORMAT,
            of: desired.of,
            spec: desired.spec,
            boot: desired.boot,
            progress: Progress::Attaching,
            device: reported.map(|report| report.device).unwrap_or_default(),
            error: None,
        };
        self.put(&report)?;
        hit("hand-over.attach.recorded");
        let answer = self.call_attach(&report);
        hit("hand-over.attach.called");
        match answer {
            Ok(device) => {
                (report.device, report.progress) = (device, Progress::Attached);
                self.put(&report)?;
                Ok(Told::Attached(report.device))
            }
            Err(why) => Err(self.note(report, why)),
        }
    }

    fn call_attach(&self, report: &Reported) -> Result<String, String> {
        let (plugin, attachable) = self.plugin(&report.of)?;
        let _one_at_a_time = self.lock(&plugin)?;
        attachable
            .attach(&report.spec.to_volume(), &report.of.node)
            .map_err(|error| format!("attach: {error}"))
    }

    /// As Kubernetes' controller does every minute: what somebody has detached behind our back is attached again.
    fn verify(&self, desired: Desired, reported: Reported) -> Result<Told, String> {
        let (_, attachable) = self.plugin(&reported.of)?;
        match is_attached(&attachable, &reported)? {
            Some(false) => self.attach(desired, Some(reported)),
            Some(true) | None => Ok(Told::Nothing),
        }
    }

    fn detach(&self, mut report: Reported) -> Result<Told, String> {
        report.progress = Progress::Detaching;
        self.put(&report)?;
        hit("hand-over.detach.recorded");
        // Whoever has come to want it until now may have read that it is attached; who comes later reads otherwise.
        if self.files.desired(&report.of).map_err(|error| error.to_string())?.is_some() {
            return Ok(Told::Nothing);
        }
        match self.call_detach(&report) {
            Ok(()) => {
                hit("hand-over.detach.called");
                self.files.remove_reported(&report.of).map_err(|error| error.to_string())?;
                Ok(Told::Detached)
            }
            Err(why) => Err(self.note(report, why)),
        }
    }

    fn call_detach(&self, report: &Reported) -> Result<(), String> {
        let (plugin, attachable) = self.plugin(&report.of)?;
        let _one_at_a_time = self.lock(&plugin)?;
        let Attachment { node, volume, .. } = &report.of;
        match attachable.detach_device(volume.as_str(), &report.device, node) {
            // Many drivers fail to detach what is not attached; only the driver's own word counts.
            Err(_) if is_attached(&attachable, report) == Ok(Some(false)) => Ok(()),
            said => said.map_err(|error| format!("detach: {error}")),
        }
    }

    fn lock(&self, plugin: &VolumePlugin) -> Result<Option<Lock>, String> {
        if plugin.settings().serialisation.value == Serialisation::None {
            return Ok(None);
        }
        lock_driver(&self.host, plugin.name()).map(Some).map_err(|error| error.to_string())
    }

    fn put(&self, report: &Reported) -> Result<(), String> {
        self.files.write_reported(report).map_err(|error| error.to_string())
    }

    /// The node shows its people why they wait.
    fn note(&self, report: Reported, why: String) -> String {
        if let Err(error) = self.put(&Reported { error: Some(why.clone()), ..report }) {
            tracing::warn!(%error, "a failure could not be put on record");
        }
        why
    }
}

fn is_attached(attachable: &AttachablePlugin, report: &Reported) -> Result<Option<bool>, String> {
    let answer = attachable.volumes_are_attached(&[&report.spec.to_volume()], &report.of.node);
    match answer.map_err(|error| format!("isattached: {error}"))? {
        Attachments::Known(attached) => Ok(attached.first().copied()),
        Attachments::Unknown => Ok(None),
    }
}

/// What follows from the two files.
fn decide(desired: Option<&Desired>, reported: Option<&Reported>) -> Option<Act> {
    match (desired, reported) {
        (None, None) => None,
        (None, Some(_)) => Some(Act::Detach),
        (Some(desired), Some(reported))
            if reported.progress == Progress::Attached && reported.boot == desired.boot =>
        {
            Some(Act::Verify)
        }
        (Some(_), _) => Some(Act::Attach),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Spec;

    fn files(progress: Progress) -> (Desired, Reported) {
        let driver = flexvolume::DriverName::parse("example.com/disk").unwrap();
        let volume = flexvolume::VolumeName::parse("pv-1").unwrap();
        let spec = Spec::bare(&driver, &volume);
        let (of, boot) = (Attachment { node: "n1".to_owned(), driver, volume }, "boot-1".to_owned());
        let desired = Desired { format: FORMAT, of: of.clone(), spec: spec.clone(), boot: boot.clone() };
        let device = String::new();
        (desired, Reported { format: FORMAT, of, spec, boot, progress, device, error: None })
    }

    #[test]
    fn what_is_wanted_is_never_detached_and_what_was_begun_is_not_relied_on() {
        for progress in [Progress::Attaching, Progress::Attached, Progress::Detaching] {
            let (desired, reported) = files(progress);
            let wanted = if progress == Progress::Attached { Act::Verify } else { Act::Attach };
            assert_eq!(decide(Some(&desired), Some(&reported)), Some(wanted));
            let rebooted = Desired { boot: "boot-2".to_owned(), ..desired.clone() };
            assert_eq!(decide(Some(&rebooted), Some(&reported)), Some(Act::Attach));
            assert_eq!(decide(None, Some(&reported)), Some(Act::Detach));
            assert_eq!(decide(Some(&desired), None), Some(Act::Attach));
        }
        assert_eq!(decide(None, None), None);
    }
}
