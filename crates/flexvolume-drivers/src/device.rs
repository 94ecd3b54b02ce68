//! An image as a device: attached, checked, mounted, and back.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, FilesystemError, FsType, GrowTarget};
use flexvolume_os::loop_device::{self, Lifetime, LoopDevice, LoopOptions, LoopStatus};
use flexvolume_os::mount::{Access, FileSystemMount, MountError, MountPoint, Mounter};
use rustix::fs::OFlags;

use crate::error::{Result, VolumeError, at};
use crate::image;
use crate::pool::Volume;
use crate::record::{self, Record};
use crate::request::Allocation;

/// How long a check before mounting may take. A host that gives up earlier leaves it running: it holds the device, so
/// nothing can mount it meanwhile, and the next call finds it checked.
const CHECK_DEADLINE: Duration = Duration::from_secs(600);

/// How long growing a file system may take.
const GROW_DEADLINE: Duration = Duration::from_secs(240);

/// The major number of loop devices (Linux `include/uapi/linux/major.h`).
const LOOP_MAJOR: u32 = 7;

/// What is mounted at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mounted {
    /// Nothing.
    Nothing,
    /// A loop device with this backing file, as the kernel names it.
    Image { device: PathBuf, backing: PathBuf },
    /// Something else.
    Other(String),
    /// Something that does not answer.
    Dead(i32),
}

/// Looks what is on top at `path`: one `statx`, and one read in `/sys` when something is mounted. Only for a file
/// system that hides its device (btrfs) the mount table is read too.
pub(crate) fn mounted_at(path: &Path, mounter: &dyn Mounter) -> Result<Mounted> {
    match mounter.mount_point(path)? {
        MountPoint::No | MountPoint::Absent => return Ok(Mounted::Nothing),
        MountPoint::Dead(errno) => return Ok(Mounted::Dead(errno)),
        MountPoint::Yes => {}
    }
    let device = fs::metadata(path).map_err(at("look at", path))?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let source = if major == LOOP_MAJOR {
        PathBuf::from(format!("/dev/loop{minor}"))
    } else {
        let table = mounter.table()?;
        let Some(mount) = table.top(path) else { return Ok(Mounted::Nothing) };
        mount.source.clone()
    };
    match backing_file(&source) {
        Ok(backing) => Ok(Mounted::Image { device: source, backing }),
        Err(_) => Ok(Mounted::Other(source.display().to_string())),
    }
}

/// The backing file of a loop device, as the kernel names it.
fn backing_file(device: &Path) -> io::Result<PathBuf> {
    let name = device.strip_prefix("/dev").map_err(io::Error::other)?;
    // Where `/sys/block/loopN` leads to.
    let file = Path::new("/sys/devices/virtual/block").join(name).join("loop/backing_file");
    let mut path = [0; 512];
    let length = File::open(&file)?.read(&mut path)?;
    let path =
        if length < path.len() { path.get(..length).unwrap_or_default().to_vec() } else { fs::read(file)? };
    Ok(OsString::from_vec(path.strip_suffix(b"\n").unwrap_or(&path).to_vec()).into())
}

/// Whether a volume is mounted where it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Already {
    Mounted,
    NotMounted,
}

/// Is this very volume mounted at `target`, writable if it must be? Anything else there is an error.
pub(crate) fn already_mounted(volume: &Volume, target: Target<'_>, mounter: &dyn Mounter) -> Result<Already> {
    let image = volume.image();
    let other = |actual: String| VolumeError::MountedOther {
        path: target.path.to_owned(),
        actual,
        wanted: image.display().to_string(),
    };
    match mounted_at(target.path, mounter)? {
        Mounted::Nothing => return Ok(Already::NotMounted),
        Mounted::Other(source) => return Err(other(source)),
        Mounted::Dead(errno) => {
            return Err(other(format!("a dead mount ({})", io::Error::from_raw_os_error(errno))));
        }
        Mounted::Image { device, backing } => {
            // The kernel's name for the file may differ (a symlink above it, another mount namespace).
            let same =
                backing == image || loop_device::find(&image)?.iter().any(|found| found.path == device);
            if !same {
                return Err(other(format!("{} ({})", device.display(), backing.display())));
            }
        }
    }
    if target.access == Access::ReadWrite && is_read_only(target.path)? {
        return Err(other("the volume, but read-only".to_owned()));
    }
    Ok(Already::Mounted)
}

/// Asks what a writer would be told, which is quicker to answer than what kind of file system it is.
pub(crate) fn is_read_only(path: &Path) -> Result<bool> {
    match rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
        Err(rustix::io::Errno::ROFS) => Ok(true),
        Err(rustix::io::Errno::ACCESS) | Ok(()) => Ok(false),
        Err(error) => Err(at("look at", path)(error)),
    }
}

/// Where to mount, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a Path,
    pub(crate) access: Access,
}

/// The access of the options, in the words of the mounter.
pub(crate) fn access(access: flexvolume::Access) -> Access {
    match access {
        flexvolume::Access::ReadWrite => Access::ReadWrite,
        flexvolume::Access::ReadOnly => Access::ReadOnly,
    }
}

/// Mounts a ready volume. The caller holds its lock and knows that nothing is mounted at the target.
pub(crate) fn mount(volume: &Volume, record: &Record, target: Target<'_>, system: &System) -> Result<()> {
    let path = volume.image();
    let image = image::open(volume, record)?;
    if target.access == Access::ReadWrite {
        image::reserve_again(&image, volume, record)?;
    }
    drop(image);
    let table = system.mounter.table()?;
    let is_mounted = |device: &Path| table.mounts().iter().any(|mount| mount.source == device);
    let device = attach(&path, target.access, &is_mounted)?;
    hit("device.attached");
    if !is_mounted(&device.path) {
        if target.access == Access::ReadWrite {
            check(record.fs_type, &device.path, system)?;
            hit("device.checked");
        }
        wait_until_nobody_claims(&device.path);
    }
    let mount = FileSystemMount {
        source: device.path.clone(),
        fs_type: record.fs_type.as_str().to_owned(),
        access: target.access,
        data: mount_options(record, target.access),
    };
    system.mounter.mount(&mount, target.path).map_err(|error| explain(error, target, &path))?;
    hit("device.mounted");
    if target.access == Access::ReadWrite { complete(volume, record, target, system) } else { Ok(()) }
}

/// What could not be done before the file system was mounted.
fn complete(volume: &Volume, record: &Record, target: Target<'_>, system: &System) -> Result<()> {
    let mut record = record.clone();
    if let Some(mode) = record.root_mode {
        record.root_mode = None;
        let outcome = set_root_mode(volume, &record, target, mode);
        if outcome.is_err() {
            // Should this fail too, the next call finds the volume mounted.
            let _ = system.mounter.unmount(target.path);
            return outcome;
        }
    }
    if record.filled.is_some() {
        // The data can be used all the same; the record still says that this is to be done, and the volume's
        // description that it was not.
        let _ = grow(volume, &record, system);
    }
    Ok(())
}

/// Gives a new root directory its mode, once: from then on it is its users', and the record does not say it any more.
fn set_root_mode(volume: &Volume, record: &Record, target: Target<'_>, mode: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(target.path, flags, rustix::fs::Mode::empty())
        .and_then(|root| rustix::fs::fchmod(root, rustix::fs::Mode::from_raw_mode(mode)))
        .map_err(at("set the mode of", target.path))?;
    hit("device.opened");
    record::store(&volume.record(), record)
}

fn mount_options(record: &Record, access: Access) -> Vec<String> {
    let mut options = Vec::new();
    if record.fs_type == FsType::Ext4 {
        // Its default is to go on writing after it has found itself damaged.
        options.push("errors=remount-ro".to_owned());
    }
    if access == Access::ReadWrite {
        // Said both ways: btrfs discards unless it is told not to.
        let discard = if record.allocation == Allocation::Thin { "discard" } else { "nodiscard" };
        options.push(discard.to_owned());
    }
    options
}

/// Says what can be done about the two failures that have a remedy.
pub(crate) fn explain(error: MountError, target: Target<'_>, image: &Path) -> VolumeError {
    let MountError::Call { source, .. } = &error else { return error.into() };
    let errno = rustix::io::Errno::from_io_error(source);
    let image = image.display();
    let hint = match (errno, target.access) {
        (Some(rustix::io::Errno::ROFS), Access::ReadOnly) => format!(
            "{image} was not unmounted cleanly, and a read-only mount cannot replay its journal: mount it read-write once"
        ),
        (Some(rustix::io::Errno::BUSY), _) => format!(
            "{image} is in use by a check that still runs, or mounted with another access elsewhere: try again, or unmount it there"
        ),
        _ => return error.into(),
    };
    VolumeError::MountHint { hint, source: error }
}

/// How often, every 20 milliseconds, a device is waited for that is about to vanish.
const ATTACH_TRIES: u32 = 100;

/// The pause between two looks at such a device.
const ATTACH_PAUSE: Duration = Duration::from_millis(20);

/// Checks the file system. Should another mount namespace have it mounted, or a check that outlived its driver hold it, this
/// refuses.
pub(crate) fn check(fs_type: FsType, device: &Path, system: &System) -> Result<()> {
    let begun = Instant::now();
    loop {
        wait_until_nobody_claims(device);
        match filesystem::check(&*system.runner, fs_type, device, CHECK_DEADLINE) {
            // Somebody may have claimed it since; what the check finds wrong with the volume itself is another error.
            Err(FilesystemError::Tool { .. }) if begun.elapsed() < CHECK_PATIENCE => {
                std::thread::sleep(ATTACH_PAUSE);
            }
            other => return Ok(other?),
        }
    }
}

/// How long a check that cannot be made is begun again. One that was made and took its time is not.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);

/// Waits, for a while, until the device can be claimed for oneself alone, as the check and the mount must: a mount that
/// has just gone, and anybody who offers the device to a file of his own in vain, claim it for a moment.
pub(crate) fn wait_until_nobody_claims(device: &Path) {
    for _ in 0..ATTACH_TRIES {
        match claim(device).map_err(|error| rustix::io::Errno::from_io_error(&error)) {
            Err(Some(rustix::io::Errno::BUSY)) => std::thread::sleep(ATTACH_PAUSE),
            _ => return,
        }
    }
}

/// Opens a device for oneself alone: EBUSY while it is mounted or anybody else claims it.
pub(crate) fn claim(device: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(EXCLUSIVE).open(device)
}

/// `O_EXCL` (open(2): without `O_CREAT`, for block devices: fails while somebody else claims the device).
const EXCLUSIVE: i32 = OFlags::EXCL.bits() as i32;

/// The one loop device of the image: the one that is there, or a new one. Two devices on one file would each cache
/// their own truth.
fn attach(image: &Path, access: Access, is_mounted: &dyn Fn(&Path) -> bool) -> Result<LoopDevice> {
    for tried in 0..ATTACH_TRIES {
        match loop_device::find(image)?.as_slice() {
            [] => {
                let options = LoopOptions { access, lifetime: Lifetime::UntilUnused };
                return Ok(loop_device::attach(image, options)?);
            }
            // For a read-only volume a writable device is second best: it may be about to vanish with its mount.
            [found]
                if access == Access::ReadOnly
                    && tried < ATTACH_TRIES / 2
                    && !is_mounted(&found.path)
                    && !is_read_only_device(&found.path) => {}
            [found] => {
                if let Some(device) = join(image, found, access)? {
                    return Ok(device);
                }
            }
            several => {
                let why =
                    format!("is attached to {} loop devices: detach all but the mounted one", several.len());
                return Err(VolumeError::CannotKnow { path: image.to_owned(), why });
            }
        }
        std::thread::sleep(ATTACH_PAUSE);
    }
    let remedy =
        "its loop device is attached read-only, or about to vanish; unmount it elsewhere, or try again";
    Err(VolumeError::Busy { path: image.to_owned(), remedy: remedy.to_owned() })
}

/// Whether the kernel refuses to write to the loop device.
fn is_read_only_device(device: &Path) -> bool {
    let name = device.file_name().unwrap_or_default();
    fs::read(Path::new("/sys/block").join(name).join("ro")).is_ok_and(|text| text.starts_with(b"1"))
}

/// Opens a device that is attached already; `None` when it vanished meanwhile, or is read-only and so of no use. (A
/// device outlives its mount for as long as anybody looks at it.)
fn join(image: &Path, found: &LoopStatus, access: Access) -> Result<Option<LoopDevice>> {
    use rustix::io::Errno;
    let options = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(&found.path);
    let file = match options {
        Ok(file) => file,
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NXIO | Errno::NOENT | Errno::ROFS | Errno::ACCESS) => return Ok(None),
            _ => return Err(at("open the loop device", &found.path)(error)),
        },
    };
    let still = loop_device::find(image)?.contains(found);
    Ok(still.then(|| LoopDevice { path: found.path.clone(), file }))
}

/// Unmounts what is on top at `path`.
pub(crate) fn unmount(path: &Path, mounter: &dyn Mounter) -> Result<()> {
    match mounter.unmount(path) {
        Err(MountError::Call { source, .. })
            if rustix::io::Errno::from_io_error(&source) == Some(rustix::io::Errno::BUSY) =>
        {
            let remedy =
                format!("stop what uses it (`fuser -vm {}` lists it), then call again", path.display());
            Err(VolumeError::Busy { path: path.to_owned(), remedy })
        }
        other => {
            other?;
            hit("device.unmounted");
            Ok(())
        }
    }
}

/// Grows the mounted file system of the volume to the size of its image.
pub(crate) fn grow(volume: &Volume, record: &Record, system: &System) -> Result<()> {
    let image = volume.image();
    let attached = loop_device::find(&image)?;
    let table = system.mounter.table()?;
    let mounts = attached.iter().filter_map(|found| {
        let mount = table.mounts().iter().find(|mount| mount.source == found.path)?;
        Some((found, mount))
    });
    let Some((found, mount)) = mounts.into_iter().next() else {
        return Err(VolumeError::NotMounted { image });
    };
    filesystem::grow(
        &*system.runner,
        &GrowTarget {
            fs_type: record.fs_type,
            device: &found.path,
            mount_point: &mount.mount_point,
            deadline: GROW_DEADLINE,
        },
    )?;
    hit("device.grown");
    match record.filled {
        Some(_) => record::store(&volume.record(), &Record { filled: None, ..record.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use flexvolume_os::fake::{FakeMounter, Operation};

    use super::*;
    use crate::pool::{Pool, VolumeId};

    const BUSY: i32 = 16;
    const EIO: i32 = 5;

    fn volume(directory: &Path) -> Volume {
        Pool::at(directory.to_owned()).volume(VolumeId::parse("data").unwrap())
    }

    fn tmpfs() -> FileSystemMount {
        let source = PathBuf::from("foreign");
        FileSystemMount { source, fs_type: "tmpfs".to_owned(), access: Access::ReadWrite, data: Vec::new() }
    }

    #[test]
    fn what_is_at_a_path_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let mounter = FakeMounter::new();
        let target = Target { path: root.path(), access: Access::ReadWrite };
        let look = || already_mounted(&volume(root.path()), target, &mounter);
        assert_eq!(mounted_at(Path::new("/no/such/path"), &mounter).unwrap(), Mounted::Nothing);
        assert_eq!(look().unwrap(), Already::NotMounted);
        mounter.mount(&tmpfs(), root.path()).unwrap();
        assert_eq!(mounted_at(root.path(), &mounter).unwrap(), Mounted::Other("foreign".to_owned()));
        assert!(matches!(look(), Err(VolumeError::MountedOther { .. })));
        mounter.kill(root.path(), EIO);
        assert_eq!(mounted_at(root.path(), &mounter).unwrap(), Mounted::Dead(EIO));
        assert!(look().unwrap_err().to_string().contains("a dead mount"));
    }

    #[test]
    fn the_failures_of_a_mount_that_have_a_remedy_name_it() {
        let failure = |errno, access| {
            let source = io::Error::from_raw_os_error(errno);
            let error = MountError::Call { step: "mount", target: "/target".into(), source };
            let target = Target { path: Path::new("/target"), access };
            explain(error, target, Path::new("/pool/data.img")).to_string()
        };
        const EROFS: i32 = 30;
        assert!(failure(EROFS, Access::ReadOnly).contains("mount it read-write once"));
        assert!(failure(BUSY, Access::ReadWrite).contains("a check that still runs"));
        assert!(failure(EIO, Access::ReadWrite).starts_with("mount /target"));
    }

    #[test]
    fn a_busy_mount_stays_and_the_error_says_how_to_find_who_uses_it() {
        let root = tempfile::tempdir().unwrap();
        let mounter = FakeMounter::new();
        mounter.mount(&tmpfs(), root.path()).unwrap();
        mounter.fail(Operation::Unmount, root.path(), BUSY);
        let error = unmount(root.path(), &mounter).unwrap_err().to_string();
        assert!(error.contains("is still in use") && error.contains("fuser -vm"), "{error}");
        mounter.heal();
        unmount(root.path(), &mounter).unwrap();
        assert_eq!(mounted_at(root.path(), &mounter).unwrap(), Mounted::Nothing);
    }

    #[test]
    fn a_reserved_volume_is_never_mounted_with_discard() {
        let request = crate::request::ImageRequest {
            directory: "/pool".into(),
            id: VolumeId::parse("data").unwrap(),
            size: 1 << 20,
            fs_type: FsType::Btrfs,
            allocation: Allocation::Reserved,
            access: flexvolume::Access::ReadWrite,
            root_mode: None,
            source: None,
            erase: crate::request::Erase::None,
        };
        let reserved = Record::creating("flexvol/loop", &request, None).unwrap();
        let thin = Record { allocation: Allocation::Thin, fs_type: FsType::Ext4, ..reserved.clone() };
        assert_eq!(mount_options(&reserved, Access::ReadWrite), ["nodiscard"]);
        assert_eq!(mount_options(&reserved, Access::ReadOnly), [""; 0]);
        assert_eq!(mount_options(&thin, Access::ReadWrite), ["errors=remount-ro", "discard"]);
        assert_eq!(mount_options(&thin, Access::ReadOnly), ["errors=remount-ro"]);
    }
}
