//! What a driver implements.

use std::path::Path;

use crate::{Capabilities, Error, Options};

/// Whether a volume is attached to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// It is.
    Attached,
    /// It is not; the controller will call `attach` again.
    Detached,
}

/// The arguments of `mountdevice`.
#[derive(Debug, Clone, Copy)]
pub struct DeviceMount<'a> {
    /// Where to mount: the device mount path. The host has made the directory.
    pub path: &'a Path,
    /// What `waitforattach` answered, `None` when it answered nothing.
    pub device: Option<&'a str>,
}

/// The arguments of `expandvolume` and `expandfs`.
#[derive(Debug, Clone, Copy)]
pub struct Expansion<'a> {
    /// `expandvolume`: the device mount path; `expandfs`: the mount dir of the pod.
    pub path: &'a Path,
    /// The device, at `expandfs`, when there is one.
    pub device: Option<&'a str>,
    /// Bytes wanted.
    pub new_size: u64,
    /// Bytes so far.
    pub old_size: u64,
}

/// A FlexVolume driver. Every call-out but `init` answers "Not supported" until it is written.
pub trait Driver {
    /// Is the driver usable here, and what can it do?
    fn init(&self) -> Result<Capabilities, Error>;

    /// A name for the volume that is unique in the cluster.
    fn get_volume_name(&self, options: &Options) -> Result<String, Error> {
        let _ = options;
        Err(Error::NotSupported)
    }

    /// Makes the volume available to `node`; answers the device if it is known already.
    fn attach(&self, options: &Options, node: &str) -> Result<Option<String>, Error> {
        let _ = (options, node);
        Err(Error::NotSupported)
    }

    /// Waits on the node until the device is there and answers it.
    fn wait_for_attach(&self, device: Option<&str>, options: &Options) -> Result<String, Error> {
        let _ = (device, options);
        Err(Error::NotSupported)
    }

    /// Is the volume attached to `node`?
    fn is_attached(&self, options: &Options, node: &str) -> Result<Attachment, Error> {
        let _ = (options, node);
        Err(Error::NotSupported)
    }

    /// Mounts the device at the device mount path.
    fn mount_device(&self, mount: DeviceMount<'_>, options: &Options) -> Result<(), Error> {
        let _ = (mount, options);
        Err(Error::NotSupported)
    }

    /// Mounts the volume at the mount dir of one pod.
    fn mount(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        let _ = (mount_dir, options);
        Err(Error::NotSupported)
    }

    /// Undoes [`Driver::mount`].
    fn unmount(&self, mount_dir: &Path) -> Result<(), Error> {
        let _ = mount_dir;
        Err(Error::NotSupported)
    }

    /// Undoes [`Driver::mount_device`].
    fn unmount_device(&self, device_mount_path: &Path) -> Result<(), Error> {
        let _ = device_mount_path;
        Err(Error::NotSupported)
    }

    /// Undoes [`Driver::attach`].
    fn detach(&self, volume: &str, node: &str) -> Result<(), Error> {
        let _ = (volume, node);
        Err(Error::NotSupported)
    }

    /// Grows the volume; answers its size in bytes.
    fn expand_volume(&self, options: &Options, expansion: Expansion<'_>) -> Result<u64, Error> {
        let _ = (options, expansion);
        Err(Error::NotSupported)
    }

    /// Grows the file system on the volume.
    fn expand_fs(&self, options: &Options, expansion: Expansion<'_>) -> Result<(), Error> {
        let _ = (options, expansion);
        Err(Error::NotSupported)
    }
}
