//! The administration of volumes, by call-outs that Kubernetes does not have.
//!
//! They are made only because somebody asks for them, never on the way of a pod; "Not supported" is an error here, since
//! no default could make a volume.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use flexvolume::{
    Call, Capacity, ExtensionCall, ExtensionVerb, Finding, Options, Verb, VolumeDescription, VolumeName,
};
use flexvolume_os::runner::Captured;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{PluginError, Sizes, VolumePlugin};
use crate::reply::text;

/// More volumes, or findings, than any node has; what a driver prints beyond is refused before it takes memory.
const MOST_ENTRIES: usize = 20_000;

/// The fields of the answers.
#[derive(Debug, Default, Deserialize)]
struct Body {
    volume: Option<Box<VolumeDescription>>,
    #[serde(default, deserialize_with = "bounded")]
    volumes: Option<Vec<VolumeDescription>>,
    capacity: Option<Box<Capacity>>,
    #[serde(default, deserialize_with = "bounded")]
    findings: Option<Vec<Finding>>,
}

impl VolumePlugin {
    /// `createvolume`: makes the volume that the options describe; answers what is there afterwards.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn create_volume(&self, options: Options) -> Result<VolumeDescription, PluginError> {
        let verb = ExtensionVerb::CreateVolume;
        self.administer(verb, options)?.volume.map(|volume| *volume).ok_or_else(|| without(verb, "volume"))
    }

    /// `deletevolume`: gives up the data of the volume that the options name; answers what it was, `None` if there was
    /// none.
    ///
    /// # Errors
    /// [`PluginError`]; the next call goes on with what was begun.
    pub fn delete_volume(&self, options: Options) -> Result<Option<VolumeDescription>, PluginError> {
        Ok(self.administer(ExtensionVerb::DeleteVolume, options)?.volume.map(|volume| *volume))
    }

    /// `listvolumes`: the volumes of the pool that the options name, or the one volume that they name.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn list_volumes(&self, options: Options) -> Result<Vec<VolumeDescription>, PluginError> {
        let verb = ExtensionVerb::ListVolumes;
        self.administer(verb, options)?.volumes.ok_or_else(|| without(verb, "volumes"))
    }

    /// `getcapacity`: the room of the pool that the options name.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn capacity(&self, options: Options) -> Result<Capacity, PluginError> {
        let verb = ExtensionVerb::GetCapacity;
        self.administer(verb, options)?.capacity.map(|room| *room).ok_or_else(|| without(verb, "capacity"))
    }

    /// `diagnose`: what the driver finds when it examines this node.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn diagnose(&self, options: Options) -> Result<Vec<Finding>, PluginError> {
        let verb = ExtensionVerb::Diagnose;
        self.administer(verb, options)?.findings.ok_or_else(|| without(verb, "findings"))
    }

    /// `heal`: makes a mount work again. The options are those of `mount`, secrets included.
    ///
    /// # Errors
    /// [`PluginError::NoAdministration`] when the driver has no such call-out, else what kept it from helping.
    pub fn heal(&self, mount_dir: &Path, options: Options) -> Result<(), PluginError> {
        let mut options = options;
        let mount_dir = mount_dir.to_string_lossy().into_owned();
        options.user.insert(ExtensionVerb::MOUNT_DIR.to_owned(), mount_dir);
        self.administer(ExtensionVerb::Heal, options).map(|_| ())
    }

    /// Grows a volume of which the driver says that this is its description: `expandvolume`, and `expandfs` where it is
    /// mounted.
    ///
    /// # Errors
    /// [`PluginError`]. A volume that has grown already is grown again without harm.
    pub fn grow(&self, volume: &VolumeDescription, sizes: Sizes) -> Result<(), PluginError> {
        let options = Options {
            volume_name: volume.id.clone(),
            fs_type: volume.fs_type.clone(),
            user: volume.options.clone(),
            ..Options::default()
        };
        let Sizes { new: new_size, old: old_size } = sizes;
        let mounted = volume.mounts.first();
        // A driver of ours needs no path; the contract wants one.
        let path = mounted.unwrap_or(&volume.device).into();
        let call = Call::ExpandVolume { options: options.clone(), path, new_size, old_size };
        self.must_support(&call)?;
        let Some(path) = mounted.map(Into::into) else { return Ok(()) };
        let device = volume.device.clone();
        self.must_support(&Call::ExpandFs { options, device, path, new_size, old_size })
    }

    fn must_support(&self, call: &Call) -> Result<(), PluginError> {
        match self.call(call)? {
            super::Answer::NotSupported => Err(self.no_administration(call.verb().as_str())),
            _ => Ok(()),
        }
    }

    fn no_administration(&self, verb: &'static str) -> PluginError {
        PluginError::NoAdministration { driver: self.name.to_string(), verb }
    }

    fn administer(&self, verb: ExtensionVerb, options: Options) -> Result<Body, PluginError> {
        let turn = match verb {
            ExtensionVerb::CreateVolume | ExtensionVerb::DeleteVolume | ExtensionVerb::Heal => {
                let volume = VolumeName::parse(options.volume_name.clone()).ok();
                Some(self.wait_for_turn_on(volume.as_ref().map(|volume| OsStr::new(volume.as_str())))?)
            }
            _ => None,
        };
        // The settings of a driver know the times of Kubernetes' call-outs; these are as long as their likes.
        let deadline = self.deadline(match verb {
            ExtensionVerb::CreateVolume | ExtensionVerb::DeleteVolume => Verb::MountDevice,
            ExtensionVerb::Heal => Verb::Mount,
            _ => Verb::GetVolumeName,
        });
        let answer = self.executable.call_extension(&ExtensionCall { verb, options }, deadline);
        turn.into_iter().for_each(super::serial::Turn::end);
        match answer? {
            Some(printed) => read(verb, &printed),
            None => Err(self.no_administration(verb.as_str())),
        }
    }
}

/// Reads the one document that standard output must hold.
fn read(verb: ExtensionVerb, printed: &Captured) -> Result<Body, PluginError> {
    let unreadable = |why| PluginError::Unreadable { verb: verb.as_str(), why };
    serde_json::from_slice(&printed.bytes)
        .map_err(|error| unreadable(format!("it cannot be read: {}", text::line(&error.to_string()))))
}

fn without(verb: ExtensionVerb, field: &str) -> PluginError {
    PluginError::Unreadable { verb: verb.as_str(), why: format!("it holds no `{field}`") }
}

/// A list, or null, of bounded length.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(source: D) -> Result<Option<Vec<T>>, D::Error> {
    source.deserialize_option(List(PhantomData))
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() == MOST_ENTRIES {
                return Err(A::Error::custom(format_args!("the list has more than {MOST_ENTRIES} entries")));
            }
            list.push(entry);
        }
        Ok(Some(list))
    }
}

#[cfg(test)]
mod tests;
