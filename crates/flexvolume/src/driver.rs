//! What a driver implements.

use std::path::Path;

use crate::{Capabilities, Capacity, Error, Finding, Options, VolumeDescription};

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

/// A FlexVolume driver: one method for each call-out, of which only `init` must be written. Every other one answers
/// "Not supported" until it is written, and the host does what is said there under *Default*.
///
/// Each call is a process of its own that may be killed at any moment and is then made again, and two hosts may make
/// the same call at the same time: Kubernetes' node agent and its controller were seen 60 ms apart. Hence the rule for
/// every method: **look at the world first, do what is missing, and call it a success if nothing was.** Guard a volume
/// with a lock file, not with a lock in memory.
///
/// What is said here of Kubernetes was observed in v1.37 (`pkg/volume/flexvolume` and its callers).
pub trait Driver {
    /// Is the driver usable here, and what can it do?
    ///
    /// *Called* by every host process (each node, each controller) before the first volume, and again whenever a file
    /// in the driver's directory changes, so do not write there. A failure makes the driver unknown to that host until
    /// the next look. It may run on a controller's machine where the tools of the driver are not installed: report
    /// that only if no call-out could work without them.
    ///
    /// *Afterwards* nothing has changed. There is no default.
    ///
    /// # Errors
    /// A [`Failure`](Error::Failure) that says what to install, and where.
    fn init(&self) -> Result<Capabilities, Error>;

    /// A name for the volume that is unique in the cluster.
    ///
    /// *Called* for attachable drivers only, 16 to 22 times in one pod's life, by node and controller. Kubernetes
    /// throws the answer away, but a failure breaks the volume. After a restart of the node agent the options hold
    /// nothing but the volume's name. So leave it out, or answer fast and always.
    ///
    /// *Default*: the name of the persistent volume or of the pod's volume.
    ///
    /// # Errors
    /// Any error makes the volume unusable.
    fn get_volume_name(&self, options: &Options) -> Result<String, Error> {
        let _ = options;
        Err(Error::NotSupported)
    }

    /// Makes the volume available to `node`; answers the device if it is known already.
    ///
    /// *Called* by the controller, on its own machine, not on the node: what must be done on the node belongs into
    /// [`wait_for_attach`](Driver::wait_for_attach). No secrets are passed. It is called again after a failure, after
    /// a restart, and for a volume that [`is_attached`](Driver::is_attached) does not confirm.
    ///
    /// *Afterwards* the volume is attached to the node. A volume that was attached already is a success with the same
    /// device; one that another node has and cannot share is a failure that names the node.
    ///
    /// *Default*: a success without a device.
    ///
    /// # Errors
    /// The text becomes an event of the pod; the controller tries again after 0.5 s, 1 s, 2 s, … up to two minutes.
    fn attach(&self, options: &Options, node: &str) -> Result<Option<String>, Error> {
        let _ = (options, node);
        Err(Error::NotSupported)
    }

    /// Waits on the node until the device is there and answers it.
    ///
    /// *Called* by the node for each pod that uses the volume, and first again in every retry of a failed mount: when
    /// the device is there it must answer at once. `device` is what `attach` answered, as the API server knows it;
    /// after a restart it is that or nothing, and never what this call answered before.
    ///
    /// *Afterwards* the device exists and is the volume's. Ten minutes are allowed; then Kubernetes sends SIGTERM,
    /// and breaks down itself if the driver is still there ten seconds later, so give up by yourself before.
    ///
    /// *Default*: a success with the device that was passed.
    ///
    /// # Errors
    /// Say what was waited for, and for how long.
    fn wait_for_attach(&self, device: Option<&str>, options: &Options) -> Result<String, Error> {
        let _ = (device, options);
        Err(Error::NotSupported)
    }

    /// Is the volume attached to `node`?
    ///
    /// *Called* by the controller once a minute for every attached volume and node. The answer
    /// [`Detached`](Attachment::Detached) has `attach` called right away. When it cannot be known, that is an error
    /// and never an answer.
    ///
    /// *Default*: nothing is said about any volume of this driver on that node.
    ///
    /// # Errors
    /// One error leaves the other volumes of the node without answer as well.
    fn is_attached(&self, options: &Options, node: &str) -> Result<Attachment, Error> {
        let _ = (options, node);
        Err(Error::NotSupported)
    }

    /// Mounts the device at the device mount path, once per node; pods get bind mounts of it.
    ///
    /// *Called* by the node after `waitforattach`, if the path is not a mount point, which the host has looked at. The
    /// directory exists, with mode 0750. No secrets are passed.
    ///
    /// *Afterwards* the path is a mount point with the volume's data. Make a file system only on what your own record
    /// calls new; never because a probe found nothing.
    ///
    /// *Default*: the device is formatted if it seems blank, checked and mounted; without a device nothing is mounted
    /// and pods see an empty directory of the node's disk.
    ///
    /// # Errors
    /// Leave nothing mounted: Kubernetes takes what it finds mounted at the next try for a success.
    fn mount_device(&self, mount: DeviceMount<'_>, options: &Options) -> Result<(), Error> {
        let _ = (mount, options);
        Err(Error::NotSupported)
    }

    /// Mounts the volume at the mount dir of one pod.
    ///
    /// *Called* by the node for each pod, if the mount dir is not a mount point. The directory exists, with mode 0750.
    /// Only here the options name the pod and hold its fsGroup and the secrets. For a driver without `attach` this is
    /// all there is before the containers start.
    ///
    /// *Afterwards* the mount dir shows the volume, read only if [`Options::access`] says so. The host then gives the
    /// files to the pod's fsGroup, unless the driver declared [`fs_group`](Capabilities::fs_group) false.
    ///
    /// *Default*: a bind mount of the device mount path. There is none without `attach`, so such a driver must write
    /// this method.
    ///
    /// # Errors
    /// Leave nothing mounted: Kubernetes takes what it finds mounted at the next try for a success, and gives the
    /// files to nobody.
    fn mount(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        let _ = (mount_dir, options);
        Err(Error::NotSupported)
    }

    /// Undoes [`Driver::mount`].
    ///
    /// *Called* by the node when the pod's containers have ended, also when nothing is mounted, and after a restart
    /// for directories that it merely found. There are no options and no secrets: what is needed here must be
    /// remembered by `mount`, or follow from the path
    /// (`…/pods/<uid>/volumes/<vendor~driver>/<volume name>`).
    ///
    /// *Afterwards* the mount dir is no mount point and is empty; the host removes it. What is not mounted, or not
    /// there, is a success. Never delete recursively: an unmount that failed leaves the data below.
    ///
    /// *Default*: unmount.
    ///
    /// # Errors
    /// The call is made again until it succeeds; the volume stays in use meanwhile.
    fn unmount(&self, mount_dir: &Path) -> Result<(), Error> {
        let _ = mount_dir;
        Err(Error::NotSupported)
    }

    /// Undoes [`Driver::mount_device`].
    ///
    /// *Called* by the node after the last pod's `unmount`, only if the path is a mount point: a driver that logs in
    /// or maps something in `mountdevice` without mounting never gets here. There are no options.
    ///
    /// *Afterwards* the path is no mount point and is empty, and nothing holds the device open: Kubernetes detaches it
    /// next.
    ///
    /// *Default*: unmount.
    ///
    /// # Errors
    /// The call is made again until it succeeds.
    fn unmount_device(&self, device_mount_path: &Path) -> Result<(), Error> {
        let _ = device_mount_path;
        Err(Error::NotSupported)
    }

    /// Undoes [`Driver::attach`].
    ///
    /// *Called* by the controller once the node has reported the volume as unused, or after six minutes if the node is
    /// dead. `volume` is the name of the persistent volume or of the pod's volume, never a device, and there are no
    /// options: find the volume by its name.
    ///
    /// *Afterwards* the volume is not attached to the node. What is not attached is a success.
    ///
    /// *Default*: a success.
    ///
    /// # Errors
    /// The call is made again; nobody sees the text but in the controller's log.
    fn detach(&self, volume: &str, node: &str) -> Result<(), Error> {
        let _ = (volume, node);
        Err(Error::NotSupported)
    }

    /// Grows the volume; answers its size in bytes.
    ///
    /// *Called* by no released Kubernetes: its controller knows no FlexVolume driver when a claim grows. Write
    /// [`expand_fs`](Driver::expand_fs) so that it grows the volume too.
    ///
    /// *Afterwards* the volume has at least `new_size` bytes. One that is larger already is a success; never shrink.
    ///
    /// *Default*: a success with the size asked for.
    ///
    /// # Errors
    /// The size stays what it was.
    fn expand_volume(&self, options: &Options, expansion: Expansion<'_>) -> Result<u64, Error> {
        let _ = (options, expansion);
        Err(Error::NotSupported)
    }

    /// Grows the file system on the volume, and the volume if it has not grown yet.
    ///
    /// *Called* by the node with the volume mounted, after `mount` or while the pod runs, when the claim has grown and
    /// the driver declared [`requires_fs_resize`](Capabilities::requires_fs_resize). The path is the pod's mount dir.
    ///
    /// *Afterwards* the file system fills the volume. A file system that does so already is a success.
    ///
    /// *Default*: `resize2fs`, `xfs_growfs` or `btrfs filesystem resize`, by the type found on the device.
    ///
    /// # Errors
    /// The size stays what it was.
    fn expand_fs(&self, options: &Options, expansion: Expansion<'_>) -> Result<(), Error> {
        let _ = (options, expansion);
        Err(Error::NotSupported)
    }

    /// `createvolume`, no call-out of Kubernetes: makes a volume before anybody uses it.
    ///
    /// *Called* by an administrator (`flexvol volume create`) or a provisioner. The options are those of the manifest
    /// that will use the volume; the volume's name stands in [`volume_name`](Options::volume_name). With the option
    /// `source`, the id of a volume in the same pool, the new volume begins with that one's content, and with a file
    /// system UUID of its own, so that both can be mounted.
    ///
    /// *Afterwards* the volume exists. One that exists already with these properties is a success; one that differs is
    /// a failure that names both values. Answer what was made, with the size after rounding.
    ///
    /// # Errors
    /// Nothing of the volume is left.
    fn create_volume(&self, options: &Options) -> Result<VolumeDescription, Error> {
        let _ = options;
        Err(Error::NotSupported)
    }

    /// `deletevolume`, no call-out of Kubernetes: gives a volume's data up.
    ///
    /// *Called* by an administrator (`flexvol volume delete`) or a provisioner. Options: those that name the volume;
    /// `erase` (`none`, `discard`, `zero`: what happens to the data on the disk); `orphan`, with a word of
    /// [`Orphan`](crate::Orphan), for what a plain deletion must refuse; `dryRun` (`true`: look, and change nothing).
    ///
    /// *Afterwards* the volume is gone; the answer tells what it was, and `None` that there was none. Refuse what is
    /// attached or mounted anywhere. Only "absent" is a success without a deletion: what is not ours, and what cannot
    /// be known, is a failure.
    ///
    /// # Errors
    /// What was begun is finished by the next call.
    fn delete_volume(&self, options: &Options) -> Result<Option<VolumeDescription>, Error> {
        let _ = options;
        Err(Error::NotSupported)
    }

    /// `listvolumes`, no call-out of Kubernetes: the volumes of a pool, orphans included.
    ///
    /// *Called* by an administrator (`flexvol volume list`). The options name the pool; a
    /// [`volume_name`](Options::volume_name) that is not empty asks for that volume alone.
    ///
    /// *Afterwards* nothing has changed. What cannot be known of one volume is said in its note and is no failure.
    ///
    /// # Errors
    /// The pool cannot be read at all.
    fn list_volumes(&self, options: &Options) -> Result<Vec<VolumeDescription>, Error> {
        let _ = options;
        Err(Error::NotSupported)
    }

    /// `getcapacity`, no call-out of Kubernetes: the room of a pool, which the options name.
    ///
    /// *Afterwards* nothing has changed. `free` must be honest: a volume of that size can be made.
    ///
    /// # Errors
    /// The pool cannot be read.
    fn capacity(&self, options: &Options) -> Result<Capacity, Error> {
        let _ = options;
        Err(Error::NotSupported)
    }

    /// `diagnose`, no call-out of Kubernetes: is all that the driver needs there, and in order?
    ///
    /// *Called* by an administrator (`flexvol doctor`). What is in order is reported too, with versions.
    ///
    /// *Afterwards* nothing has changed.
    ///
    /// # Errors
    /// Only what keeps the driver from looking at all; everything else is a finding.
    fn diagnose(&self, options: &Options) -> Result<Vec<Finding>, Error> {
        let _ = options;
        Err(Error::NotSupported)
    }

    /// `heal`, no call-out of Kubernetes: makes a mount work again whose server or daemon has let it down, while the pod
    /// runs.
    ///
    /// *Called* by a node agent whose look at the mount dir failed or did not come back. The options are those of
    /// [`mount`](Driver::mount), with the secrets as they are now.
    ///
    /// *Afterwards* the mount dir shows the volume's data again. A mount that is well is a success, and stays as it is.
    /// Containers see what is mounted anew where their mounts receive it from the host's.
    ///
    /// # Errors
    /// The old mount stays: say why it cannot be helped, or what must happen first.
    fn heal(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        let _ = (mount_dir, options);
        Err(Error::NotSupported)
    }
}
