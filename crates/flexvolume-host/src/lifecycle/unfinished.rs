//! Calls that a killed process has left running: they are let end before anything is done to their volume.
//!
//! The locks of a process go with it, but the drivers that it has started go on. Without this, a `mount` could come to
//! its end on top of the one that was made after the crash.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use flexvolume::{Verb, VolumeName};
use flexvolume_os::orphan::{self, End};

use super::Phase;
use super::failure::Failure;
use super::record::Publish;
use crate::plugin::VolumePlugin;
use crate::{VolumeHost, paths};

/// What a call must be about to matter.
struct Concern<'a> {
    places: Vec<&'a Path>,
    device: Option<&'a VolumeName>,
}

/// Lets calls for a pod's volume and its device end, if the record says that one was begun.
pub(super) fn settle_volume(
    host: &VolumeHost,
    plugin: &VolumePlugin,
    record: &Publish,
) -> Result<(), Failure> {
    if record.phase == Phase::Mounted && record.growth.wanted.is_none() {
        return Ok(());
    }
    let mount_dir = paths::mount_dir(&host.root, &record.pod.uid, &record.driver, &record.volume);
    // `expandvolume` names the device mount path even where there is no device.
    let device = record.device.as_ref().unwrap_or(&record.volume);
    let device_path = paths::device_mount_path(&host.root, &record.driver, device);
    settle(plugin, &Concern { places: vec![&mount_dir, &device_path], device: record.device.as_ref() })
}

/// Lets calls for a device end, if the record says that one was begun.
pub(super) fn settle_device(
    host: &VolumeHost,
    plugin: &VolumePlugin,
    (device, phase): (&VolumeName, Phase),
) -> Result<(), Failure> {
    if phase == Phase::DeviceMounted {
        return Ok(());
    }
    let place = paths::device_mount_path(&host.root, plugin.name(), device);
    settle(plugin, &Concern { places: vec![&place], device: Some(device) })
}

fn settle(plugin: &VolumePlugin, concern: &Concern<'_>) -> Result<(), Failure> {
    for orphan in orphan::running(plugin.executable()) {
        let Some(verb) = concern.verb_of(orphan.arguments()) else { continue };
        tracing::warn!(driver = %plugin.name(), call = verb.as_str(), "a call of an earlier process still runs; waiting for its end");
        match orphan.end(plugin.deadline(verb)) {
            End::ByItself => {}
            End::Killed => {
                tracing::warn!(driver = %plugin.name(), call = verb.as_str(), "it was ended at its deadline");
            }
            End::NotAtAll => {
                let cause = "a call of an earlier process hangs in the kernel and cannot be ended; try again when its device or server answers";
                return Err(Failure::new(verb.as_str(), cause));
            }
        }
    }
    Ok(())
}

impl Concern<'_> {
    /// The verb of a call that matters.
    fn verb_of(&self, arguments: &[OsString]) -> Option<Verb> {
        let (verb, rest) = arguments.split_first()?;
        let verb = Verb::parse(verb.to_str()?)?;
        let matters = |argument: &OsString| {
            self.places.iter().any(|place| argument == place.as_os_str())
                || self.device.is_some_and(|device| names(verb, argument, device))
        };
        // Protocol v1 detaches by a device, of which it cannot be told whose it is.
        let of_anything = verb == Verb::Detach && rest.len() == 1;
        (of_anything || rest.iter().any(matters)).then_some(verb)
    }
}

/// Whether an argument of a call without a path means this device.
fn names(verb: Verb, argument: &OsStr, device: &VolumeName) -> bool {
    let Some(argument) = argument.to_str() else { return false };
    match verb {
        Verb::Detach => argument == device.as_str(),
        Verb::Attach | Verb::WaitForAttach => {
            let Ok(serde_json::Value::Object(options)) = serde_json::from_str(argument) else { return false };
            // Without the name, as the driver's settings may want it, it could be any volume.
            options
                .get("kubernetes.io/pvOrVolumeName")
                .is_none_or(|name| name.as_str() == Some(device.as_str()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(arguments: &[&str]) -> Option<Verb> {
        let device = VolumeName::parse("pv 1").unwrap();
        let concern = Concern { places: vec![Path::new("/r/a"), Path::new("/r/b")], device: Some(&device) };
        concern.verb_of(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn calls_for_the_places_and_the_device_matter() {
        assert_eq!(verb(&["mount", "/r/a", "{}"]), Some(Verb::Mount));
        assert_eq!(verb(&["unmountdevice", "/r/b"]), Some(Verb::UnmountDevice));
        assert_eq!(verb(&["detach", "pv 1", "node"]), Some(Verb::Detach));
        let options = r#"{"kubernetes.io/pvOrVolumeName":"pv\u00201"}"#;
        assert_eq!(verb(&["attach", options, "node"]), Some(Verb::Attach));
        assert_eq!(verb(&["waitforattach", "", options]), Some(Verb::WaitForAttach));
    }

    #[test]
    fn calls_of_which_it_cannot_be_told_matter() {
        assert_eq!(verb(&["attach", r#"{"size":"1Gi"}"#]), Some(Verb::Attach));
        assert_eq!(verb(&["detach", "/dev/sdb"]), Some(Verb::Detach));
    }

    #[test]
    fn other_calls_do_not() {
        assert_eq!(verb(&["mount", "/r/a/b", "{}"]), None);
        assert_eq!(verb(&["detach", "pv", "node"]), None);
        assert_eq!(verb(&["attach", r#"{"kubernetes.io/pvOrVolumeName":"other"}"#, "pv 1"]), None);
        assert_eq!(verb(&["init"]), None);
        assert_eq!(verb(&["daemon", "/r/a"]), None);
        assert_eq!(verb(&[]), None);
    }
}
