//! Loop devices: block devices backed by a file.
//!
//! The kernel does not stop two loop devices on one file, which destroys its contents: hold a lock per file, and call
//! [`find`] before [`attach`]. With [`Lifetime::UntilUnused`] nothing leaks in a crash: mount the device while the
//! [`LoopDevice`] lives, drop it, and the device goes with the mount.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux_raw_sys::loop_device::{_bindgen_ty_1 as flag, LO_NAME_SIZE, loop_config, loop_info64};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use thiserror::Error;

use crate::kernel;
use crate::mount::Access;

/// How often another device is tried when somebody else was faster. Forty attaching at once need some dozens.
const TRIES: u64 = 200;
const CONTROL: &str = "/dev/loop-control";
/// Said, since with direct I/O newer kernels otherwise take what the backing file needs for that: 4096 for a file that
/// shares blocks (xfs), or on such a disk; and a file system that was made with smaller blocks cannot be mounted then.
/// Where 512 is too little for direct I/O, the kernel goes through the page cache.
const BLOCK_SIZE: u32 = 512;

/// What happens to the device after its last user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It vanishes with the last holder: mount it while the [`LoopDevice`] lives and it goes with the mount.
    UntilUnused,
    /// It stays until detached.
    UntilDetached,
}

/// How to attach.
#[derive(Debug, Clone, Copy)]
pub struct LoopOptions {
    /// Read-only or not.
    pub access: Access,
    /// What happens after the last user.
    pub lifetime: Lifetime,
}

/// An attached loop device, held open.
#[derive(Debug)]
pub struct LoopDevice {
    /// `/dev/loopN`.
    pub path: PathBuf,
    /// Keeps the device from vanishing.
    pub file: File,
}

/// A loop device as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopStatus {
    /// `/dev/loopN`.
    pub path: PathBuf,
    /// Major and minor number.
    pub device: (u32, u32),
}

/// A loop device and what it is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The device.
    pub device: LoopStatus,
    /// Device and inode number of the backing file, as `stat` tells them.
    pub file: (u64, u64),
    /// How it reads and writes the file.
    pub caching: Caching,
}

/// How a loop device reads and writes its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Past the page cache: what a file system on the device caches is not cached a second time.
    Direct,
    /// Through the page cache.
    PageCache,
}

/// A loop call that failed.
#[derive(Debug, Error)]
#[error("{step} {}: {source}", .path.display())]
pub struct LoopError {
    /// The step, such as `attach a loop device to`.
    pub step: &'static str,
    /// The backing file or the device.
    pub path: PathBuf,
    /// The cause.
    pub source: std::io::Error,
}

/// Attaches a free loop device to `backing` (`LOOP_CONFIGURE`, direct I/O where the file system allows it), with
/// bounded retries while others do the same. Does not look whether the file is attached already: see [`find`].
/// Linux 5.8 or later.
///
/// # Errors
/// [`LoopError`].
pub fn attach(backing: &Path, options: LoopOptions) -> Result<LoopDevice, LoopError> {
    let file = open(backing, options.access).map_err(failed("open", backing))?;
    let control = open(Path::new(CONTROL), Access::ReadWrite).map_err(failed("open", Path::new(CONTROL)))?;
    let mut last = io::Error::from(Errno::BUSY);
    for try_number in 0..TRIES {
        match attach_free(&control, &file, backing, options) {
            Ok(device) => return Ok(device),
            // Somebody else took the device between our question and our answer, or it was just removed. It is theirs
            // now: never LOOP_CLR_FD here, which would detach the winner.
            Err(error) if is_race(&error) => last = error,
            Err(error) => return Err(failed("attach a loop device to", backing)(error)),
        }
        std::thread::sleep(Duration::from_millis(try_number.min(20)));
    }
    Err(failed("attach a loop device (each free one was taken by others) to", backing)(last))
}

/// The loop devices that are attached to `backing`, found by its device and inode number: the path that the kernel
/// shows is the one of the mount namespace in which it was attached.
///
/// # Errors
/// [`LoopError`] when the list cannot be read: then nobody knows, and nothing may be deleted.
pub fn find(backing: &Path) -> Result<Vec<LoopStatus>, LoopError> {
    let wanted = std::fs::metadata(backing).map_err(failed("look at", backing))?;
    let attached = list()?.into_iter().filter(|attached| attached.file == (wanted.dev(), wanted.ino()));
    Ok(attached.map(|attached| attached.device).collect())
}

/// All loop devices that are attached to something, in the order of their numbers.
///
/// # Errors
/// As of [`find`].
pub fn list() -> Result<Vec<Attached>, LoopError> {
    let mut found = Vec::new();
    for number in attached_numbers().map_err(failed("list loop devices in", Path::new("/sys/block")))? {
        let path = node(number);
        match status(number) {
            Ok(info) => match numbers(number) {
                Ok(device) => found.push(describe(LoopStatus { path, device }, &info)),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(failed("look at", &path)(error)),
            },
            // Detached or removed meanwhile.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(failed("look at", &path)(error)),
        }
    }
    Ok(found)
}

fn describe(device: LoopStatus, info: &loop_info64) -> Attached {
    let direct = info.lo_flags & flag::LO_FLAGS_DIRECT_IO as u32 != 0;
    let caching = if direct { Caching::Direct } else { Caching::PageCache };
    Attached { device, file: (info.lo_device, info.lo_inode), caching }
}

/// Detaches. A device in use stays until its last user (the kernel then only marks it): success does not mean that it
/// is gone, see [`find`]. One that is detached already is fine.
///
/// # Errors
/// [`LoopError`].
pub fn detach(device: &Path) -> Result<(), LoopError> {
    let result = open_device(device).and_then(|file| kernel::loop_detach(&file));
    match result {
        Err(error) if !is_gone(&error) => Err(failed("detach", device)(error)),
        _ => Ok(()),
    }
}

/// Makes the device notice that its backing file has grown.
///
/// # Errors
/// [`LoopError`].
pub fn refresh_size(device: &Path) -> Result<(), LoopError> {
    let result = open_device(device).and_then(|file| kernel::loop_set_capacity(&file));
    result.map_err(failed("refresh the size of", device))
}

/// Whether this process can attach loop devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Yes.
    Available,
    /// No, and why.
    Unavailable(String),
}

/// Can loop devices be attached here?
#[must_use]
pub fn availability() -> Availability {
    match open(Path::new(CONTROL), Access::ReadWrite) {
        Ok(_) => Availability::Available,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Availability::Unavailable(format!(
            "{CONTROL} does not exist: the kernel has no loop devices, or this container does not get them"
        )),
        Err(error) => Availability::Unavailable(format!("{CONTROL}: {error}: loop devices need root")),
    }
}

fn attach_free(control: &File, file: &File, backing: &Path, options: LoopOptions) -> io::Result<LoopDevice> {
    let number = kernel::loop_get_free(control)?;
    let path = node(number);
    let device = open_node(number, options.access)?;
    let direct = flag::LO_FLAGS_DIRECT_IO as u32;
    match kernel::loop_configure(&device, configuration(file, backing, options, direct)?) {
        // Older kernels refuse what newer ones ignore: a file system without direct I/O, such as tmpfs.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            kernel::loop_configure(&device, configuration(file, backing, options, 0)?)?;
        }
        other => other?,
    }
    Ok(LoopDevice { path, file: device })
}

fn configuration(file: &File, backing: &Path, options: LoopOptions, direct: u32) -> io::Result<loop_config> {
    let access = match options.access {
        Access::ReadWrite => 0,
        Access::ReadOnly => flag::LO_FLAGS_READ_ONLY as u32,
    };
    let lifetime = match options.lifetime {
        Lifetime::UntilUnused => flag::LO_FLAGS_AUTOCLEAR as u32,
        Lifetime::UntilDetached => 0,
    };
    let mut info = blank_info();
    info.lo_flags = access | lifetime | direct;
    // Only for people who read lists; cut as losetup(8) does, with a zero at the end.
    let name = backing.as_os_str().as_bytes();
    let shown = name.len().min(info.lo_file_name.len() - 1);
    info.lo_file_name[..shown].copy_from_slice(&name[..shown]);
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?;
    Ok(loop_config { fd, block_size: BLOCK_SIZE, info, __reserved: [0; 8] })
}

fn blank_info() -> loop_info64 {
    loop_info64 {
        lo_device: 0,
        lo_inode: 0,
        lo_rdevice: 0,
        lo_offset: 0,
        lo_sizelimit: 0,
        lo_number: 0,
        lo_encrypt_type: 0,
        lo_encrypt_key_size: 0,
        lo_flags: 0,
        lo_file_name: [0; LO_NAME_SIZE as usize],
        lo_crypt_name: [0; LO_NAME_SIZE as usize],
        lo_encrypt_key: [0; 32],
        lo_init: [0; 2],
    }
}

/// Numbers of the devices that are attached to something, in order.
fn attached_numbers() -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        // The kernel shows this directory only while something is attached.
        if let Some(number) = number
            && entry.path().join("loop").exists()
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn status(number: u32) -> io::Result<loop_info64> {
    kernel::loop_status(&open_node(number, Access::ReadOnly)?)
}

fn node(number: u32) -> PathBuf {
    format!("/dev/loop{number}").into()
}

/// Opens `/dev/loopN`, which a container with a static `/dev` may lack.
fn open_node(number: u32, access: Access) -> io::Result<File> {
    let path = node(number);
    match open(&path, access) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (major, minor) = numbers(number)?;
            let device = rustix::fs::makedev(major, minor);
            match rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, device) {
                Ok(()) | Err(Errno::EXIST) => open(&path, access),
                Err(errno) => Err(errno.into()),
            }
        }
        other => other,
    }
}

/// Major and minor number of a loop device; the minor is not always N, since devices may have partitions.
fn numbers(number: u32) -> io::Result<(u32, u32)> {
    let text = std::fs::read_to_string(format!("/sys/block/loop{number}/dev"))?;
    let parsed = text
        .trim()
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parsed.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Opens what a caller calls a loop device: a block device at least, before anything is done to it.
fn open_device(path: &Path) -> io::Result<File> {
    let file = open(path, Access::ReadOnly)?;
    if file.metadata()?.file_type().is_block_device() { Ok(file) } else { Err(Errno::NOTBLK.into()) }
}

fn open(path: &Path, access: Access) -> io::Result<File> {
    OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)
}

fn is_race(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::BUSY | Errno::NXIO | Errno::NOENT | Errno::NODEV | Errno::AGAIN)
    )
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NXIO | Errno::NOENT | Errno::NODEV))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LoopError {
    move |source| LoopError { step, path: path.to_owned(), source }
}
