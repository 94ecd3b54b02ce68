//! Call-outs from and to the arguments of a program.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::{Call, CallError};
use crate::{Options, OptionsError, Rendering, Verb};

impl Call {
    /// Reads the arguments that follow the program's name.
    ///
    /// `isattached` is accepted in both orders of its arguments (`<node> <options>` was sent in 2017). Arguments that
    /// follow those of a call-out without options are ignored: some hosts pass the device to `unmountdevice`. A
    /// call-out with options must have exactly its arguments, because one more means another version of the contract,
    /// with the options elsewhere.
    ///
    /// # Errors
    /// [`CallError`]; it never shows an argument that could hold a secret.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, CallError> {
        let mut arguments = arguments.into_iter();
        let word = arguments.next().ok_or(CallError::Missing)?;
        let verb = word.to_str().and_then(Verb::parse).ok_or_else(|| CallError::UnknownVerb(shown(&word)))?;
        Reader { verb, arguments: arguments.collect() }.read()
    }

    /// The arguments that follow the program's name, exactly as Kubernetes passes them.
    #[must_use]
    pub fn to_arguments(&self, rendering: impl Into<Rendering>) -> Vec<OsString> {
        let rendering = rendering.into();
        let json = |options: &Options| options.to_json(rendering).into();
        let mut arguments = vec![self.verb().as_str().into()];
        match self {
            Call::Init => {}
            Call::GetVolumeName { options } => arguments.push(json(options)),
            Call::Attach { options, node } | Call::IsAttached { options, node } => {
                arguments.extend([json(options), node.into()]);
            }
            Call::WaitForAttach { device, options } => arguments.extend([device.into(), json(options)]),
            Call::MountDevice { path, device, options } => {
                arguments.extend([path.into(), device.into(), json(options)]);
            }
            Call::Mount { path, options } => arguments.extend([path.into(), json(options)]),
            Call::Unmount { path } | Call::UnmountDevice { path } => arguments.push(path.into()),
            Call::Detach { volume, node } => arguments.extend([volume.into(), node.into()]),
            Call::ExpandVolume { options, path, new_size, old_size } => {
                arguments.extend([json(options), path.into(), decimal(*new_size), decimal(*old_size)]);
            }
            Call::ExpandFs { options, device, path, new_size, old_size } => {
                arguments.extend([json(options), device.into(), path.into()]);
                arguments.extend([decimal(*new_size), decimal(*old_size)]);
            }
        }
        arguments
    }
}

/// The arguments that follow a verb.
struct Reader {
    verb: Verb,
    arguments: Vec<OsString>,
}

impl Reader {
    fn read(self) -> Result<Call, CallError> {
        match self.verb {
            Verb::Init => Ok(Call::Init),
            Verb::GetVolumeName => self.read_get_volume_name(),
            Verb::Attach => self.read_attach(),
            Verb::WaitForAttach => self.read_wait_for_attach(),
            Verb::IsAttached => self.read_is_attached(),
            Verb::MountDevice => self.read_mount_device(),
            Verb::Mount => self.read_mount(),
            Verb::Unmount => self.read_unmount(),
            Verb::UnmountDevice => self.read_unmount_device(),
            Verb::Detach => self.read_detach(),
            Verb::ExpandVolume => self.read_expand_volume(),
            Verb::ExpandFs => self.read_expand_fs(),
        }
    }

    fn read_get_volume_name(mut self) -> Result<Call, CallError> {
        let [options] = self.exactly()?;
        Ok(Call::GetVolumeName { options: self.options(&options)? })
    }

    fn read_attach(mut self) -> Result<Call, CallError> {
        let [options, node] = self.exactly()?;
        Ok(Call::Attach { options: self.options(&options)?, node: self.text("node", node)? })
    }

    fn read_wait_for_attach(mut self) -> Result<Call, CallError> {
        let [device, options] = self.exactly()?;
        Ok(Call::WaitForAttach { device: self.text("device", device)?, options: self.options(&options)? })
    }

    fn read_is_attached(mut self) -> Result<Call, CallError> {
        let [mut options, mut node] = self.exactly()?;
        // The order of 2017; a node's name never begins with a brace.
        if is_object(&node) && !is_object(&options) {
            std::mem::swap(&mut options, &mut node);
        }
        Ok(Call::IsAttached { options: self.options(&options)?, node: self.text("node", node)? })
    }

    fn read_mount_device(mut self) -> Result<Call, CallError> {
        let [path, device, options] = self.exactly()?;
        let (path, device) = (self.path(path)?, self.text("device", device)?);
        Ok(Call::MountDevice { path, device, options: self.options(&options)? })
    }

    fn read_mount(mut self) -> Result<Call, CallError> {
        let [path, options] = self.exactly()?;
        Ok(Call::Mount { path: self.path(path)?, options: self.options(&options)? })
    }

    fn read_unmount(mut self) -> Result<Call, CallError> {
        let [path] = self.first()?;
        Ok(Call::Unmount { path: self.path(path)? })
    }

    fn read_unmount_device(mut self) -> Result<Call, CallError> {
        let [path] = self.first()?;
        Ok(Call::UnmountDevice { path: self.path(path)? })
    }

    fn read_detach(mut self) -> Result<Call, CallError> {
        let [volume, node] = self.first()?;
        Ok(Call::Detach { volume: self.text("volume name", volume)?, node: self.text("node", node)? })
    }

    fn read_expand_volume(mut self) -> Result<Call, CallError> {
        let [options, path, new, old] = self.exactly()?;
        let (options, path) = (self.options(&options)?, self.path(path)?);
        Ok(Call::ExpandVolume { options, path, new_size: self.size(&new)?, old_size: self.size(&old)? })
    }

    fn read_expand_fs(mut self) -> Result<Call, CallError> {
        let [options, device, path, new, old] = self.exactly()?;
        let (options, device) = (self.options(&options)?, self.text("device", device)?);
        let (path, new_size, old_size) = (self.path(path)?, self.size(&new)?, self.size(&old)?);
        Ok(Call::ExpandFs { options, device, path, new_size, old_size })
    }

    /// The arguments, which must be `N`.
    fn exactly<const N: usize>(&mut self) -> Result<[OsString; N], CallError> {
        std::mem::take(&mut self.arguments).try_into().map_err(|given: Vec<_>| {
            let (verb, wanted) = (self.verb, self.verb.arguments());
            CallError::Arguments { verb, why: format!("takes {N} ({wanted}) and got {}", given.len()) }
        })
    }

    /// The first `N` arguments; further ones are ignored.
    fn first<const N: usize>(&mut self) -> Result<[OsString; N], CallError> {
        self.arguments.truncate(N);
        self.exactly()
    }

    fn wrong(&self, why: String) -> CallError {
        CallError::Arguments { verb: self.verb, why }
    }

    fn text(&self, what: &str, argument: OsString) -> Result<String, CallError> {
        argument.into_string().map_err(|_| self.wrong(format!("the {what} is not UTF-8")))
    }

    /// A path is taken as it is, bytes that are not UTF-8 included.
    fn path(&self, argument: OsString) -> Result<PathBuf, CallError> {
        if argument.is_empty() {
            Err(self.wrong("the path is empty".to_owned()))
        } else {
            Ok(argument.into())
        }
    }

    fn size(&self, argument: &OsStr) -> Result<u64, CallError> {
        let size = argument.to_str().and_then(|text| text.parse().ok());
        size.ok_or_else(|| self.wrong("a size is not a number of bytes".to_owned()))
    }

    fn options(&self, argument: &OsStr) -> Result<Options, CallError> {
        let read = match argument.to_str() {
            Some(json) => Options::parse(json),
            None => Err(OptionsError::Json("not UTF-8".to_owned())),
        };
        read.map_err(|source| CallError::Options { verb: self.verb, source })
    }
}

fn is_object(argument: &OsStr) -> bool {
    argument.as_encoded_bytes().trim_ascii_start().starts_with(b"{")
}

fn decimal(number: u64) -> OsString {
    number.to_string().into()
}

/// A word that may be shown: short and plain. Anything else could be options that stand in the wrong place.
fn shown(word: &OsStr) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match word.to_str() {
        Some(word) if word.len() <= 32 && word.bytes().all(plain) => word.to_owned(),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests;
