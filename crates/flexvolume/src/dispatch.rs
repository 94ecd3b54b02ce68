//! From arguments to a reply, without a process.

use std::ffi::OsString;
use std::path::Path;

use thiserror::Error as ThisError;

use crate::redact::Redactor;
use crate::{
    Attachment, Call, CallError, DeviceMount, Driver, Error, Expansion, ExtensionCall, ExtensionError,
    ExtensionVerb, Options, Reply, Verb,
};

/// The reply of `driver` to the arguments that follow a program's name: what [`run`](crate::run) prints, as a pure
/// function for a driver's own tests. Secrets of the options are taken out of the message.
pub fn answer<D: Driver + ?Sized>(driver: &D, arguments: impl IntoIterator<Item = OsString>) -> Reply {
    match Invocation::parse(arguments.into_iter().collect()) {
        Ok(invocation) => respond(driver, &invocation, &Redactor::of(&invocation)),
        Err(refusal) => refusal.reply(),
    }
}

/// What a driver is asked.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// By any host.
    Call(Call),
    /// By hosts that know of this project.
    Extension(ExtensionCall),
}

impl Invocation {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Self, Refusal> {
        match ExtensionCall::parse(arguments.iter().cloned()) {
            Ok(call) => Ok(Self::Extension(call)),
            Err(ExtensionError::AnotherWord) => Ok(Self::Call(Call::parse(arguments)?)),
            Err(error) => Err(error.into()),
        }
    }

    fn options(&self) -> Option<&Options> {
        match self {
            Self::Call(call) => call.options(),
            Self::Extension(call) => Some(&call.options),
        }
    }
}

impl Redactor {
    /// For the secrets that a call-out carries; of Kubernetes' call-outs only `mount` is given any.
    pub(crate) fn of(invocation: &Invocation) -> Self {
        invocation.options().map(|options| Self::new(&options.secrets)).unwrap_or_default()
    }
}

/// The reply to a call-out.
pub(crate) fn respond<D: Driver + ?Sized>(driver: &D, invocation: &Invocation, redactor: &Redactor) -> Reply {
    let outcome = match invocation {
        Invocation::Call(call) => dispatch(driver, call),
        Invocation::Extension(call) => dispatch_extension(driver, call),
    };
    match outcome {
        Ok(reply) => reply,
        Err(Error::NotSupported) => Reply::not_supported(),
        Err(Error::Failure(why)) => Reply::failure(redactor.clean(&why)),
    }
}

/// Arguments that are no call-out.
#[derive(Debug, ThisError)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Extension(#[from] ExtensionError),
}

impl Refusal {
    /// What they are answered with.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Call(CallError::Missing) => Reply::failure(usage()),
            Self::Call(CallError::UnknownVerb(_)) => {
                Reply { message: format!("{self}; {}", usage()), ..Reply::not_supported() }
            }
            Self::Call(_) | Self::Extension(_) => Reply::failure(self.to_string()),
        }
    }
}

fn usage() -> String {
    let mut text = "this is a FlexVolume driver; a host calls it with one of".to_owned();
    for (index, verb) in Verb::ALL.into_iter().enumerate() {
        text.push_str(if index == 0 { " " } else { " | " });
        text.push_str(verb.as_str());
        if !verb.arguments().is_empty() {
            text.push(' ');
            text.push_str(verb.arguments());
        }
    }
    text
}

fn dispatch<D: Driver + ?Sized>(driver: &D, call: &Call) -> Result<Reply, Error> {
    let mut reply = Reply::success();
    match call {
        Call::Init => reply.capabilities = Some(driver.init()?),
        Call::GetVolumeName { options } => reply.volume_name = Some(driver.get_volume_name(options)?),
        Call::Attach { options, node } => reply.device = driver.attach(options, node)?,
        Call::WaitForAttach { device, options } => {
            reply.device = Some(driver.wait_for_attach(given(device), options)?);
        }
        Call::IsAttached { options, node } => {
            reply.attached = Some(driver.is_attached(options, node)? == Attachment::Attached);
        }
        Call::MountDevice { path, device, options } => {
            driver.mount_device(DeviceMount { path, device: given(device) }, options)?;
        }
        Call::Mount { path, options } => driver.mount(path, options)?,
        Call::Unmount { path } => driver.unmount(path)?,
        Call::UnmountDevice { path } => driver.unmount_device(path)?,
        Call::Detach { volume, node } => driver.detach(volume, node)?,
        &Call::ExpandVolume { ref options, ref path, new_size, old_size } => {
            let expansion = Expansion { path, device: None, new_size, old_size };
            reply.new_size = Some(driver.expand_volume(options, expansion)?);
        }
        &Call::ExpandFs { ref options, ref device, ref path, new_size, old_size } => {
            let expansion = Expansion { path, device: given(device), new_size, old_size };
            driver.expand_fs(options, expansion)?;
        }
    }
    Ok(reply)
}

fn dispatch_extension<D: Driver + ?Sized>(driver: &D, call: &ExtensionCall) -> Result<Reply, Error> {
    let mut reply = Reply::success();
    let options = &call.options;
    match call.verb {
        ExtensionVerb::CreateVolume => reply.volume = Some(driver.create_volume(options)?.into()),
        ExtensionVerb::DeleteVolume => reply.volume = driver.delete_volume(options)?.map(Box::new),
        ExtensionVerb::ListVolumes => reply.volumes = Some(driver.list_volumes(options)?),
        ExtensionVerb::GetCapacity => reply.capacity = Some(driver.capacity(options)?.into()),
        ExtensionVerb::Diagnose => reply.findings = Some(driver.diagnose(options)?),
        ExtensionVerb::Heal => heal(driver, options)?,
    }
    Ok(reply)
}

/// The mount dir is no option of the volume.
fn heal<D: Driver + ?Sized>(driver: &D, options: &Options) -> Result<(), Error> {
    let mut options = options.clone();
    let mount_dir = options.user.remove(ExtensionVerb::MOUNT_DIR).filter(|path| path.starts_with('/'));
    let missing = || Error::failure("heal: the option mountDir must hold the absolute path of a mount dir");
    driver.heal(Path::new(&mount_dir.ok_or_else(missing)?), &options)
}

/// A host without a device passes an empty argument.
fn given(device: &str) -> Option<&str> {
    Some(device).filter(|device| !device.is_empty())
}

#[cfg(test)]
mod tests;
