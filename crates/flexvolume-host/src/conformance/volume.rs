//! The life of a volume, call by call, with the host's defaults for what a driver does not support.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use flexvolume::{Access, Call, NameError, Options, PodReference, PodUid, VolumeName};

use super::stage::{Done, Trial, Trouble};
use crate::paths;
use crate::plugin::mount_check;

pub(super) const NODE: &str = "flexvol-conformance";
const POD: &str = "f1e70001-0000-4000-8000-000000000000";
const FILE: &str = "flexvol-conformance";
const WORDS: &[u8] = b"written by flexvol conformance\n";

/// A volume and where it is mounted.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) name: String,
    /// What all call-outs but `mount` are given.
    pub(super) options: Options,
    /// What `mount` is given.
    pub(super) pod_options: Options,
    pub(super) mount_dir: PathBuf,
    pub(super) device_mount_path: PathBuf,
}

impl Volume {
    /// Adds an option.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        for options in [&mut self.options, &mut self.pod_options] {
            options.user.insert(key.to_owned(), value.to_owned());
        }
    }

    pub(super) fn make_read_only(&mut self) {
        self.options.access = Access::ReadOnly;
        self.pod_options.access = Access::ReadOnly;
    }

    pub(super) fn mount(&self) -> Call {
        Call::Mount { path: self.mount_dir.clone(), options: self.pod_options.clone() }
    }

    pub(super) fn unmount(&self) -> Call {
        Call::Unmount { path: self.mount_dir.clone() }
    }

    pub(super) fn unmount_device(&self) -> Call {
        Call::UnmountDevice { path: self.device_mount_path.clone() }
    }

    pub(super) fn detach(&self) -> Call {
        Call::Detach { volume: self.name.clone(), node: NODE.to_owned() }
    }
}

impl Trial<'_> {
    /// A volume of the subject's options, named `flexvol-conformance-…`.
    pub(super) fn volume(&self, suffix: &str) -> Result<Volume, Trouble> {
        let name = format!("flexvol-conformance-{suffix}");
        let mut options = self.subject.options.clone();
        options.volume_name.clone_from(&name);
        options.pod = None;
        let secrets = std::mem::take(&mut options.secrets);
        let pod = PodReference {
            name: "flexvol-conformance".to_owned(),
            namespace: "default".to_owned(),
            uid: POD.to_owned(),
            service_account: "default".to_owned(),
        };
        let pod_options = Options { pod: Some(pod), secrets, ..options.clone() };
        let volume = VolumeName::parse(name.clone()).map_err(|error| no_name(&error))?;
        let uid = PodUid::parse(POD).map_err(|error| no_name(&error))?;
        let driver = &self.subject.name;
        Ok(Volume {
            name,
            options,
            pod_options,
            mount_dir: paths::mount_dir(&self.root, &uid, driver, &volume),
            device_mount_path: paths::device_mount_path(&self.root, driver, &volume),
        })
    }

    /// From nothing to a mounted volume.
    pub(super) fn up(&mut self, volume: &Volume) -> Result<(), Trouble> {
        self.device.clear();
        let attaches = self.capabilities().attach;
        let on_device_path = if attaches { self.stage_device(volume)? } else { Mounted::No };
        make_dir(&volume.mount_dir)?;
        match (self.ask(&volume.mount())?, on_device_path) {
            (Done::Success(_), _) => self.accept(volume),
            (Done::NotSupported, Mounted::Yes) => {
                // As a host does: nothing twice.
                if !self.is_mounted(&volume.mount_dir)? {
                    self.system.mounter.bind(&volume.device_mount_path, &volume.mount_dir)?;
                }
                Ok(())
            }
            (Done::NotSupported, Mounted::No) if attaches => Err(Trouble::Suite(
                "the driver leaves it to the host to format and mount its device, which this suite does not do"
                    .to_owned(),
            )),
            (Done::NotSupported, Mounted::No) => Err(self.trouble([
                "mount",
                "Success: a driver that attaches nothing must mount",
                "Not supported",
                "implement mount, or answer init without `attach: false` and implement mountdevice",
            ])),
        }
    }

    /// Looks at what a `mount` has left, as strictly as the settings want it.
    fn accept(&self, volume: &Volume) -> Result<(), Trouble> {
        let refusal = mount_check::refusal(&self.settings(), &*self.system.mounter, &volume.mount_dir)
            .map_err(|error| Trouble::Suite(error.to_string()))?;
        match refusal {
            None => Ok(()),
            Some(why) => Err(self.trouble([
                &format!("mount {}", volume.mount_dir.display()),
                "a mount, which the setting mount-check demands",
                why,
                "mount before answering Success, or have the settings say what the driver leaves instead",
            ])),
        }
    }

    fn stage_device(&mut self, volume: &Volume) -> Result<Mounted, Trouble> {
        let options = || volume.options.clone();
        let attached = self.ask(&Call::Attach { options: options(), node: NODE.to_owned() })?;
        let device = device_of(attached).unwrap_or_default();
        let waited = self.ask(&Call::WaitForAttach { device: device.clone(), options: options() })?;
        let device = device_of(waited).unwrap_or(device);
        self.device.clone_from(&device);
        let path = volume.device_mount_path.clone();
        make_dir(&path)?;
        let call = Call::MountDevice { path, device, options: options() };
        self.mount_device = Some(call.clone());
        match self.ask(&call)? {
            Done::Success(_) => Ok(Mounted::Yes),
            Done::NotSupported => Ok(Mounted::No),
        }
    }

    /// The `mountdevice` of the last volume brought up.
    pub(super) fn mount_device_call(&self) -> Option<Call> {
        self.mount_device.clone()
    }

    /// From a mounted volume, or a part of one, to nothing.
    pub(super) fn down(&mut self, volume: &Volume) -> Result<(), Trouble> {
        self.take_down(&volume.unmount(), &volume.mount_dir)?;
        if self.capabilities().attach {
            self.take_down(&volume.unmount_device(), &volume.device_mount_path)?;
            self.ask(&volume.detach())?;
        }
        Ok(())
    }

    fn take_down(&mut self, call: &Call, path: &Path) -> Result<(), Trouble> {
        if let Done::NotSupported = self.ask(call)? {
            self.unmount_all(path)?;
        }
        if self.is_mounted(path)? {
            return Err(self.trouble([
                &format!("{} {}", call.verb().as_str(), path.display()),
                "nothing is mounted there any more",
                "the driver says Success and something is still mounted",
                "unmount all that the driver mounted there, and check it before answering Success",
            ]));
        }
        remove_empty(path)
    }

    fn unmount_all(&self, path: &Path) -> Result<(), Trouble> {
        while self.is_mounted(path)? {
            self.system.mounter.unmount(path)?;
        }
        Ok(())
    }

    /// Writes to a mounted volume and reads it back.
    pub(super) fn use_volume(&self, volume: &Volume) -> Result<(), Trouble> {
        let file = volume.mount_dir.join(FILE);
        let read_back = fs::write(&file, WORDS).and_then(|()| fs::read(&file));
        let happened = match read_back {
            Ok(bytes) if bytes == WORDS => return Ok(()),
            Ok(_) => "the file holds something else".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(self.trouble([
            &format!("write a file into {} and read it", volume.mount_dir.display()),
            "the file as it was written",
            &happened,
            "mount the volume so that root can write, unless it is asked for read-only",
        ]))
    }

    /// Whether the file of [`Trial::use_volume`] is there.
    pub(super) fn has_file(&self, volume: &Volume) -> bool {
        fs::read(volume.mount_dir.join(FILE)).is_ok_and(|bytes| bytes == WORDS)
    }

    /// What can be seen of a mounted volume: whether it is a mount, and how large.
    pub(super) fn look(&self, volume: &Volume) -> Result<Look, Trouble> {
        let mounted = self.is_mounted(&volume.mount_dir)?;
        let figures = rustix::fs::statvfs(&volume.mount_dir).map_err(io::Error::from)?;
        Ok(Look { mounted, blocks: if mounted { figures.f_blocks } else { 0 } })
    }
}

/// What can be seen of a mounted volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) mounted: bool,
    /// Size of its file system; 0 where nothing is mounted.
    pub(super) blocks: u64,
}

/// Whether the driver has mounted its device.
enum Mounted {
    Yes,
    No,
}

fn device_of(done: Done) -> Option<String> {
    match done {
        Done::Success(fields) => Some(fields.device),
        Done::NotSupported => None,
    }
}

fn no_name(error: &NameError) -> Trouble {
    Trouble::Suite(error.to_string())
}

/// As a host makes the directories for mounts.
pub(super) fn make_dir(path: &Path) -> Result<(), Trouble> {
    Ok(fs::DirBuilder::new().recursive(true).mode(0o750).create(path)?)
}

/// As a host removes them: only what is empty; that something is left there is for another check.
fn remove_empty(path: &Path) -> Result<(), Trouble> {
    match fs::remove_dir(path) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
