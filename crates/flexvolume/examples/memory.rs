//! `memory`: a volume in the node's memory, of a size that is enforced, for the life of one pod.
//!
//! Options: `size`, a quantity such as `64Mi`, must be given; `mode`, the octal mode of the volume's root directory,
//! is 0777 unless given.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use flexvolume::{Access, Bytes, Capabilities, Driver, Error, Options};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// `f_type` of tmpfs.
const TMPFS: i64 = 0x0102_1994;

struct Memory;

impl Driver for Memory {
    fn init(&self) -> Result<Capabilities, Error> {
        // Nothing to attach and nothing to grow; the figures of the mount dir are the volume's own.
        Ok(Capabilities {
            attach: false,
            supports_metrics: true,
            requires_fs_resize: false,
            ..Capabilities::default()
        })
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        options.allow_only(&["size", "mode"])?;
        let size = options.require_size("size")?;
        let mode = root_mode(options)?;
        // Two calls for one pod must not both find a bare directory: the second waits here, and then finds the mount.
        let _turn = take_turn(mount_dir).map_err(|error| failed("open", mount_dir, error))?;
        let target = open(mount_dir).map_err(|error| failed("open", mount_dir, error))?;
        match found(&target).map_err(|error| failed("look at", mount_dir, error))? {
            Found::Directory => mount_tmpfs(&target, options.access, size, mode)
                .map_err(|error| failed("mount a tmpfs on", mount_dir, error)),
            Found::OurMount => Ok(()),
            Found::OtherMount => Err(other_mount(mount_dir)),
        }
    }

    fn unmount(&self, mount_dir: &Path) -> Result<(), Error> {
        let target = match open(mount_dir) {
            Err(Errno::NOENT) => return Ok(()),
            target => target.map_err(|error| failed("open", mount_dir, error))?,
        };
        let found = found(&target).map_err(|error| failed("look at", mount_dir, error))?;
        drop(target); // An open descriptor keeps a mount busy.
        match found {
            Found::Directory => Ok(()),
            Found::OurMount => {
                unmount_tmpfs(mount_dir).map_err(|error| failed("unmount the tmpfs on", mount_dir, error))
            }
            Found::OtherMount => Err(other_mount(mount_dir)),
        }
    }
}

enum Found {
    Directory,
    OurMount,
    OtherMount,
}

/// Never follows a symlink in the last place: it could lead out of the pod's directory.
fn open(mount_dir: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(
        mount_dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// A lock on the directory itself, held until dropped or until the process ends.
fn take_turn(mount_dir: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(mount_dir, flags, Mode::empty())?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
    Ok(directory)
}

fn found(target: &OwnedFd) -> Result<Found, Errno> {
    let state = rustix::fs::statx(target, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    Ok(match rustix::fs::fstatfs(target)?.f_type {
        _ if !state.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => Found::Directory,
        TMPFS => Found::OurMount,
        _ => Found::OtherMount,
    })
}

fn root_mode(options: &Options) -> Result<u32, Error> {
    let Some(text) = options.get("mode") else { return Ok(0o777) };
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| Error::failure("option \"mode\": is not an octal mode such as 0770"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example may not depend on flexvolume-os, which mounts elsewhere"
)]
fn mount_tmpfs(target: &OwnedFd, access: Access, size: Bytes, mode: u32) -> Result<(), Errno> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    if access == Access::ReadOnly {
        flags |= MountFlags::RDONLY;
    }
    let data = CString::new(format!("size={},mode={mode:o}", size.get())).map_err(|_| Errno::INVAL)?;
    // By descriptor: whatever happens to the path meanwhile, the mount lands on what was looked at.
    rustix::mount::mount(
        "memory",
        format!("/proc/self/fd/{}", target.as_raw_fd()),
        "tmpfs",
        flags,
        data.as_c_str(),
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example may not depend on flexvolume-os, which unmounts elsewhere"
)]
fn unmount_tmpfs(mount_dir: &Path) -> Result<(), Errno> {
    rustix::mount::unmount(mount_dir, UnmountFlags::NOFOLLOW)
}

fn failed(step: &str, mount_dir: &Path, error: Errno) -> Error {
    Error::failure(format!("cannot {step} {}: {error}", mount_dir.display()))
}

fn other_mount(mount_dir: &Path) -> Error {
    Error::failure(format!("something that is not a memory volume is mounted on {}", mount_dir.display()))
}

fn main() -> ExitCode {
    flexvolume::run(Memory)
}
