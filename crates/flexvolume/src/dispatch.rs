//! From arguments to a reply, without a process.

use std::ffi::OsString;

use crate::redact::Redactor;
use crate::{Attachment, Call, CallError, DeviceMount, Driver, Error, Expansion, Reply, Verb};

/// The reply of `driver` to the arguments that follow a program's name: what [`run`](crate::run) prints, as a pure
/// function for a driver's own tests. Secrets of the options are taken out of the message.
pub fn answer<D: Driver + ?Sized>(driver: &D, arguments: impl IntoIterator<Item = OsString>) -> Reply {
    match Call::parse(arguments) {
        Ok(call) => respond(driver, &call, &Redactor::of(&call)),
        Err(error) => refuse(&error),
    }
}

impl Redactor {
    /// For the secrets that a call-out carries; only `mount` is given any.
    pub(crate) fn of(call: &Call) -> Self {
        call.options().map(|options| Self::new(&options.secrets)).unwrap_or_default()
    }
}

/// The reply to a call-out.
pub(crate) fn respond<D: Driver + ?Sized>(driver: &D, call: &Call, redactor: &Redactor) -> Reply {
    match dispatch(driver, call) {
        Ok(reply) => reply,
        Err(Error::NotSupported) => Reply::not_supported(),
        Err(Error::Failure(why)) => Reply::failure(redactor.clean(&why)),
    }
}

/// The reply to arguments that are no call-out.
pub(crate) fn refuse(error: &CallError) -> Reply {
    match error {
        CallError::Missing => Reply::failure(usage()),
        CallError::UnknownVerb(_) => {
            Reply { message: format!("{error}; {}", usage()), ..Reply::not_supported() }
        }
        CallError::Arguments { .. } | CallError::Options { .. } => Reply::failure(error.to_string()),
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

/// A host without a device passes an empty argument.
fn given(device: &str) -> Option<&str> {
    Some(device).filter(|device| !device.is_empty())
}

#[cfg(test)]
mod tests;
