//! Attach and detach: what the controller asks for, and the node waits for.

use std::time::Duration;

use flexvolume::Call;

use super::driver_call::Answer;
use super::{AttachablePlugin, PluginError, VolumePlugin, options};
use crate::spec::VolumeSpec;

/// What a driver knows of the attachment of several volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachments {
    /// The driver cannot say: leave everything as it is.
    Unknown,
    /// For each volume, in the order asked, whether it is attached.
    Known(Vec<bool>),
}

impl AttachablePlugin {
    /// The plugin whose side this is.
    #[must_use]
    pub fn plugin(&self) -> &VolumePlugin {
        &self.plugin
    }

    /// `attach`; the default answers no device.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn attach(&self, spec: &VolumeSpec, node: &str) -> Result<String, PluginError> {
        let call = Call::Attach { options: options::of_volume(spec), node: node.to_owned() };
        match self.plugin.call(&call)? {
            Answer::Done(fields) | Answer::Claimed(fields) => Ok(fields.device),
            Answer::NotSupported => {
                self.plugin.using_default("attach");
                Ok(String::new())
            }
        }
    }

    /// `waitforattach`; the default answers `device`.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn wait_for_attach(&self, spec: &VolumeSpec, device: &str) -> Result<String, PluginError> {
        self.wait_for_attach_within(spec, device, self.plugin.host().deadlines.wait_for_attach)
    }

    /// [`AttachablePlugin::wait_for_attach`] with another limit.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn wait_for_attach_within(
        &self,
        spec: &VolumeSpec,
        device: &str,
        limit: Duration,
    ) -> Result<String, PluginError> {
        let call = Call::WaitForAttach { device: device.to_owned(), options: options::of_volume(spec) };
        match self.plugin.call_within(&call, limit)? {
            Answer::Done(fields) | Answer::Claimed(fields) => Ok(fields.device),
            Answer::NotSupported => {
                self.plugin.using_default("waitforattach");
                Ok(device.to_owned())
            }
        }
    }

    /// `isattached` for each volume. An error at one ends the batch; "Not supported" means that nothing is known.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn volumes_are_attached(
        &self,
        specs: &[&VolumeSpec],
        node: &str,
    ) -> Result<Attachments, PluginError> {
        let mut attached = Vec::with_capacity(specs.len());
        for spec in specs {
            let call = Call::IsAttached { options: options::of_volume(spec), node: node.to_owned() };
            match self.plugin.call(&call)? {
                Answer::Done(fields) | Answer::Claimed(fields) => attached.push(fields.attached),
                Answer::NotSupported => return Ok(Attachments::Unknown),
            }
        }
        Ok(Attachments::Known(attached))
    }

    /// `detach`; `volume` is the volume's name, never a device.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn detach(&self, volume: &str, node: &str) -> Result<(), PluginError> {
        let call = Call::Detach { volume: volume.to_owned(), node: node.to_owned() };
        if self.plugin.call(&call)? == Answer::NotSupported {
            self.plugin.using_default("detach");
        }
        Ok(())
    }
}
