#![expect(clippy::disallowed_methods, reason = "a driver on its own mounts by itself")]
//! shelf: a directory of the node as a volume. It is made when it is first wanted and stays when the pod has gone.
//! Option: `name`.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, io};

use flexvolume::{Access, Capabilities, Driver, Error, Options, VolumeName};
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::mount::{MountFlags, UnmountFlags};

struct Shelf {
    base: PathBuf,
}

impl Driver for Shelf {
    fn init(&self) -> Result<Capabilities, Error> {
        Ok(Capabilities { attach: false, requires_fs_resize: false, ..Capabilities::default() })
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        options.allow_only(&["name"])?;
        // A name and not a path: nothing outside of the base can be reached.
        let name = VolumeName::parse(options.require("name")?).map_err(Error::failure)?;
        let _lock = self.lock().map_err(|error| failed("lock", &self.base, &error))?;
        let source = self.base.join(name.as_str());
        fs::create_dir_all(&source).map_err(|error| failed("make", &source, &error))?;
        mount(&source, mount_dir, options.access).map_err(|error| failed("mount on", mount_dir, &error))
    }

    fn unmount(&self, mount_dir: &Path) -> Result<(), Error> {
        let _lock = self.lock().map_err(|error| failed("lock", &self.base, &error))?;
        match unmount(mount_dir) {
            // What is not there is unmounted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|error| failed("unmount", mount_dir, &error)),
        }
    }
}

impl Shelf {
    /// Two processes may be called for one volume at a time; the lock is let go when the file is closed.
    fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.base)?;
        let file = File::create(self.base.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }
}

fn mount(source: &Path, mount_dir: &Path, access: Access) -> io::Result<()> {
    let mut place = open(mount_dir)?;
    if !is_mounted(&place)? {
        rustix::mount::mount_bind(source, by_descriptor(&place))?;
        // What was opened is below the mount now.
        place = open(mount_dir)?;
    } else if identity(&place)? != identity(&open(source)?)? {
        return Err(io::Error::other("something else is mounted there"));
    }
    // Also if it was mounted before: a call that was killed may have come no further.
    if access == Access::ReadOnly {
        rustix::mount::mount_remount(by_descriptor(&place), MountFlags::BIND | MountFlags::RDONLY, "")?;
    }
    Ok(())
}

fn unmount(mount_dir: &Path) -> io::Result<()> {
    while is_mounted(&open(mount_dir)?)? {
        rustix::mount::unmount(mount_dir, UnmountFlags::NOFOLLOW)?;
    }
    Ok(())
}

/// Never follows a symlink in the last place: it could lead out of the pod's directory.
fn open(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::empty())?)
}

fn is_mounted(place: &OwnedFd) -> io::Result<bool> {
    let state = rustix::fs::statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    Ok(state.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn identity(place: &OwnedFd) -> io::Result<(u64, u64)> {
    let state = rustix::fs::fstat(place)?;
    Ok((state.st_dev, state.st_ino))
}

/// Whatever happens to the path meanwhile, the mount lands on what was looked at.
fn by_descriptor(place: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", place.as_raw_fd())
}

fn failed(step: &str, what: &Path, error: &io::Error) -> Error {
    Error::failure(format!("cannot {step} {}: {error}", what.display()))
}

fn main() -> ExitCode {
    let base = env::var_os("SHELF_BASE").map_or_else(|| PathBuf::from("/srv/shelf"), PathBuf::from);
    flexvolume::run(Shelf { base })
}
