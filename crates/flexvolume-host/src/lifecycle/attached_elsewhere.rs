//! Devices that a controller attaches, which is asked by way of a [hand-over](crate::hand_over).

use std::sync::Arc;
use std::time::Duration;

use flexvolume::{DriverName, VolumeName};
use flexvolume_os::lock::{Lock, LockError};

use super::device::DeviceWork;
use super::failure::{Failure, at};
use super::record::{Attacher, Device};
use super::shelf::Kept;
use super::{Phase, VolumeManager, file_name, locks, unfinished};
use crate::VolumeHost;
use crate::hand_over::{Attachment, HandOver, Report};
use crate::plugin::VolumePlugin;
use crate::spec::VolumeSpec;

/// The step at which a volume waits for the controller. What was begun stays then: the wish is part of it.
pub(super) const AWAITING: &str = "wait for the controller";
/// How long a call waits for the controller. Whoever asks again finds the wish in place.
const PATIENCE: Duration = Duration::from_secs(1);

impl VolumeManager {
    /// The same on a node that never attaches: what it needs it asks a controller for.
    #[must_use]
    pub fn with_hand_over(mut self, hand_over: HandOver) -> Self {
        self.hand_over = Some(Arc::new(hand_over));
        self
    }
}

impl DeviceWork<'_> {
    fn attachment(&self, record: &Device) -> Attachment {
        let (driver, volume) = (self.driver.clone(), self.volume.clone());
        Attachment { node: record.node.clone(), driver, volume }
    }

    /// Has the device attached by the controller, if this node has one; the record says so before.
    pub(super) fn have_attached(&self, kept: &mut Kept<Device>, spec: &VolumeSpec) -> Result<(), Failure> {
        let Some(hand_over) = self.hand_over else { return Ok(()) };
        kept.record.attacher = Attacher::Controller;
        kept.record.node.clone_from(&self.host.node);
        if kept.record.phase == Phase::Detaching || kept.generation() == 0 {
            kept.advance(Phase::Attaching)?;
        } else {
            kept.save().map_err(at("write the record"))?;
        }
        let of = self.attachment(&kept.record);
        match hand_over.desire(&of, (spec, self.boot), PATIENCE).map_err(at(AWAITING))? {
            Report::Attached(device) => {
                kept.record.attached = device;
                Ok(())
            }
            Report::NotYet(why) => {
                let why = why.unwrap_or_else(|| "it has not attached the volume yet".to_owned());
                Err(Failure::new(AWAITING, why))
            }
        }
    }

    /// Tells the controller that the device is not used here any more.
    pub(super) fn give_back(&self, record: &Device) -> Result<(), Failure> {
        match self.hand_over {
            Some(hand_over) => {
                hand_over.withdraw(&self.attachment(record)).map_err(at("give the volume back"))
            }
            None => Ok(()),
        }
    }
}

/// A file name for what is about a volume.
pub(crate) fn volume_file_name(driver: &DriverName, volume: &VolumeName) -> String {
    file_name::of_volume(driver, volume)
}

/// A file name for what is about a node.
pub(crate) fn node_file_name(node: &str) -> String {
    file_name::of_node(node)
}

/// One `attach` or `detach` of a driver at a time.
pub(crate) fn lock_driver(host: &VolumeHost, driver: &DriverName) -> Result<Lock, LockError> {
    locks::driver(host, driver)
}

/// Lets calls for a device end that a killed process has left running.
pub(crate) fn wait_for_earlier_calls(
    host: &VolumeHost,
    plugin: &VolumePlugin,
    volume: &VolumeName,
) -> Result<(), String> {
    unfinished::settle_device(host, plugin, (volume, Phase::Attaching)).map_err(|failure| failure.to_string())
}
