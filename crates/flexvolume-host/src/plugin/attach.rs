//! Attach and detach: what the controller asks for, and the node waits for.

use std::time::Duration;

use flexvolume::{Call, Options, Verb};

use super::driver_call::Answer;
use super::{AttachablePlugin, PluginError, VolumePlugin, options};
use crate::spec::{Pod, VolumeSpec};

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
        self.attach_with(options::of_volume(spec), node)
    }

    /// [`AttachablePlugin::attach`] on the way to a mount for `pod`: in protocol v1 `attach` is told the secrets, too.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn attach_for(&self, spec: &VolumeSpec, pod: &Pod, node: &str) -> Result<String, PluginError> {
        if !self.plugin.speaks_v1() {
            return self.attach(spec, node);
        }
        self.attach_with(options::of_mount(self.plugin.host(), spec, pod, None)?, node)
    }

    fn attach_with(&self, options: Options, node: &str) -> Result<String, PluginError> {
        match self.plugin.call(&Call::Attach { options, node: node.to_owned() })? {
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
        self.wait_for_attach_within(spec, device, self.plugin.deadline(Verb::WaitForAttach))
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
        self.detach_device(volume, "", node)
    }

    /// [`AttachablePlugin::detach`] of the volume with this device, which drivers of protocol v1 get in its stead. When
    /// such a driver has named no device, there is nothing to call it with, and no call is made.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn detach_device(&self, volume: &str, device: &str, node: &str) -> Result<(), PluginError> {
        if self.plugin.speaks_v1() && device.is_empty() {
            tracing::warn!(driver = %self.plugin.name(), volume, "no device to detach is known");
            return Ok(());
        }
        let call = Call::Detach { volume: volume.to_owned(), node: node.to_owned() };
        if self.plugin.call_on(&call, device)? == Answer::NotSupported {
            self.plugin.using_default("detach");
        }
        Ok(())
    }
}
