//! The only file that mounts.
#![expect(clippy::disallowed_methods, reason = "this is the one file that mounts and unmounts")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatVfsMountFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use thiserror::Error;

use crate::liveness;
use crate::mountinfo::MountTable;
use crate::references;

mod flag;

pub use flag::MountFlag;

/// Whether writing is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Reads and writes.
    #[default]
    ReadWrite,
    /// Reads only.
    ReadOnly,
}

/// A new mount of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystemMount {
    /// Device, or a name such as `tmpfs`.
    pub source: PathBuf,
    /// `ext4`, `xfs`, `btrfs`, `tmpfs`.
    pub fs_type: String,
    /// Read-only or not.
    pub access: Access,
    /// Options of the file system itself, such as `size=64m`; and the names of [`MountFlag`]s.
    pub data: Vec<String>,
}

/// Whether a path is where something is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountPoint {
    /// The root of a mount.
    Yes,
    /// An ordinary file or directory.
    No,
    /// Nothing is there.
    Absent,
    /// Something is mounted but does not answer (ENOTCONN, ESTALE, EIO, EACCES, EHOSTDOWN, ENODEV): a dead mount.
    Dead(i32),
}

/// Who finds out that nothing is mounted where something is to be unmounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnmountCheck {
    /// The caller: unmounting nothing is an error.
    ByCaller,
    /// [`Mounter::unmount`]: unmounting nothing is fine.
    ByUnmount,
}

/// A mount, unmount or look at the mount table that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountError {
    /// The system call failed.
    #[error("{step} {}: {source}", .target.display())]
    Call {
        /// `bind mount at`, `unmount` …
        step: &'static str,
        /// The target.
        target: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The target is a symlink, or not a directory.
    #[error("{}: {why}", .target.display())]
    Target {
        /// The target.
        target: PathBuf,
        /// The offence.
        why: &'static str,
    },
}

/// Mounts.
pub trait Mounter: Send + Sync {
    /// Bind-mounts the directory `source` at `target`. The target must be a real directory, not a symlink.
    ///
    /// # Errors
    /// [`MountError`]; nothing is mounted then.
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError>;

    /// Makes the mount at `target` read-only (the mount, not the file system below it).
    ///
    /// # Errors
    /// [`MountError`]; the mount is as it was.
    fn make_read_only(&self, target: &Path) -> Result<(), MountError>;

    /// Mounts a file system at `target`.
    ///
    /// # Errors
    /// [`MountError`]; nothing is mounted then.
    fn mount(&self, mount: &FileSystemMount, target: &Path) -> Result<(), MountError>;

    /// Unmounts what is on top at `target`; never follows a symlink there. Nothing mounted is an error (EINVAL).
    ///
    /// # Errors
    /// [`MountError`], EBUSY when it is in use.
    fn unmount(&self, target: &Path) -> Result<(), MountError>;

    /// Unmounts with `MNT_FORCE`: aborts requests of a network or FUSE file system, so data can be lost.
    ///
    /// # Errors
    /// [`MountError`].
    fn unmount_forced(&self, target: &Path) -> Result<(), MountError>;

    /// Detaches the mount from the tree now and unmounts it when the last user is gone (`MNT_DETACH`).
    ///
    /// # Errors
    /// [`MountError`].
    fn unmount_lazy(&self, target: &Path) -> Result<(), MountError>;

    /// Whether a caller that does not know if something is mounted must look before it unmounts. Kubernetes leaves the
    /// look out where its `umount` program says "not mounted".
    fn unmount_check(&self) -> UnmountCheck {
        UnmountCheck::ByCaller
    }

    /// Is `path` the root of a mount? Asks the kernel, and then a file system without a disk of its own (network, FUSE)
    /// whether it is still there, for at most a second: a server that is slow leaves it at [`MountPoint::Yes`].
    ///
    /// # Errors
    /// [`MountError`] when the kernel gives no answer.
    fn mount_point(&self, path: &Path) -> Result<MountPoint, MountError>;

    /// The mount table of this process.
    ///
    /// # Errors
    /// [`MountError`] when it cannot be read.
    fn table(&self) -> Result<MountTable, MountError>;

    /// Where else the directory is mounted that is mounted at `path`, a path without symlinks: the mount points of
    /// [`MountTable::references`].
    ///
    /// # Errors
    /// [`MountError`] when the mount table cannot be read.
    fn references(&self, path: &Path) -> Result<Vec<PathBuf>, MountError> {
        Ok(references_in(&self.table()?, path))
    }
}

/// The mounter of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemMounter;

impl Mounter for SystemMounter {
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        const STEP: &str = "bind mount at";
        let onto = real_directory(STEP, target)?;
        // Opened, not just named: what is checked is what is mounted. A symlink is followed here, since the source is a
        // path of ours or of a device; the target is the one that a stranger may have replaced.
        let from =
            rustix::fs::open(source, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(failed("open the source of the bind mount", source))?;
        rustix::mount::mount_bind(handle(&from), handle(&onto)).map_err(failed(STEP, target))
    }

    fn make_read_only(&self, target: &Path) -> Result<(), MountError> {
        const STEP: &str = "make read-only the mount at";
        let root = real_directory(STEP, target)?;
        let flags =
            MountFlags::BIND | MountFlags::RDONLY | kept_flags(&root).map_err(failed(STEP, target))?;
        rustix::mount::mount_remount(handle(&root), flags, c"").map_err(failed(STEP, target))
    }

    fn mount(&self, mount: &FileSystemMount, target: &Path) -> Result<(), MountError> {
        const STEP: &str = "mount a file system at";
        let onto = real_directory(STEP, target)?;
        let (flags, data) = flag::split(&mount.data);
        let data = CString::new(data.join(",")).map_err(|_| failed(STEP, target)(Errno::INVAL))?;
        let access = match mount.access {
            Access::ReadWrite => MountFlags::empty(),
            Access::ReadOnly => MountFlags::RDONLY,
        };
        rustix::mount::mount(&mount.source, handle(&onto), &*mount.fs_type, access | flags, &*data)
            .map_err(failed(STEP, target))
    }

    fn unmount(&self, target: &Path) -> Result<(), MountError> {
        unmount("unmount", target, UnmountFlags::empty())
    }

    fn unmount_forced(&self, target: &Path) -> Result<(), MountError> {
        unmount("unmount by force", target, UnmountFlags::FORCE)
    }

    fn unmount_lazy(&self, target: &Path) -> Result<(), MountError> {
        unmount("detach the mount at", target, UnmountFlags::DETACH)
    }

    fn mount_point(&self, path: &Path) -> Result<MountPoint, MountError> {
        // No automount, no symlink, and at first no question to a server: this must answer also when it does not.
        let how = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
        match rustix::fs::statx(CWD, path, how, StatxFlags::TYPE | liveness::WITH_MOUNT_ID) {
            Ok(answer) if answer.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => {
                Ok(alive(path, &answer))
            }
            Ok(answer) if answer.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
                Ok(MountPoint::No)
            }
            // A kernel before 5.8, or a sandbox that hides the attribute.
            Ok(_) if listed(&self.table()?, path) => Ok(MountPoint::Yes),
            Ok(_) => Ok(MountPoint::No),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(MountPoint::Absent),
            Err(errno) if is_dead(errno) && listed(&self.table()?, path) => {
                Ok(MountPoint::Dead(errno.raw_os_error()))
            }
            Err(errno) => Err(failed("look at", path)(errno)),
        }
    }

    fn table(&self) -> Result<MountTable, MountError> {
        // Since Linux 5.8 a reader never misses a mount that is there all the time, however many reads it needs.
        const TABLE: &str = "/proc/self/mountinfo";
        match std::fs::read(TABLE) {
            Ok(text) => Ok(MountTable::parse(&text)),
            Err(source) => Err(MountError::Call { step: "read", target: TABLE.into(), source }),
        }
    }

    fn references(&self, path: &Path) -> Result<Vec<PathBuf>, MountError> {
        match references::ask(path) {
            Ok(found) => Ok(found),
            // A kernel before 6.8, a sandbox, or nothing is mounted there: the table tells, and why not if it cannot.
            Err(_) => Ok(references_in(&self.table()?, path)),
        }
    }
}

fn references_in(table: &MountTable, path: &Path) -> Vec<PathBuf> {
    table.references(path).into_iter().map(|mount| mount.mount_point.clone()).collect()
}

/// Binds `source`, file or directory, with everything that is mounted below it, at `target`, which must be of the same
/// kind. For views of the whole file system in a namespace of our own; volumes are bound by [`Mounter::bind`].
///
/// # Errors
/// [`MountError`]; nothing is mounted then.
pub fn bind_tree(source: &Path, target: &Path) -> Result<(), MountError> {
    rustix::mount::mount_bind_recursive(source, target).map_err(failed("bind the tree at", target))
}

/// Keeps the mount at `target` out of every [`bind_tree`] of a tree that it stands in.
///
/// # Errors
/// [`MountError`].
pub fn make_unbindable(target: &Path) -> Result<(), MountError> {
    rustix::mount::mount_change(target, MountPropagationFlags::UNBINDABLE)
        .map_err(failed("make unbindable the mount at", target))
}

/// Where mounts and unmounts travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// Neither in nor out.
    Private,
    /// In, not out.
    Slave,
}

/// Sets the propagation of every mount of this namespace.
pub(crate) fn change_propagation(propagation: Propagation) -> io::Result<()> {
    let flag = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
    };
    rustix::mount::mount_change("/", flag | MountPropagationFlags::REC).map_err(io::Error::from)
}

/// Opens the target of a mount: whoever replaces it with a symlink in the meantime gains nothing.
fn real_directory(step: &'static str, target: &Path) -> Result<OwnedFd, MountError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(target, flags, Mode::empty()) {
        Ok(directory) => Ok(directory),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let why = "it is not a directory, or a symlink: only a real directory can be mounted on";
            Err(MountError::Target { target: target.to_owned(), why })
        }
        Err(errno) => Err(failed(step, target)(errno)),
    }
}

/// The path by which the kernel reaches what is open, whatever its name leads to by now.
fn handle(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// The flags that a remount must repeat, since it would drop them: silently as root, with EPERM in a user namespace.
/// Access time flags stay by themselves as long as none is given.
fn kept_flags(root: &OwnedFd) -> Result<MountFlags, Errno> {
    /// `ST_NOSYMFOLLOW` and `MS_NOSYMFOLLOW` of the kernel, which rustix does not name.
    const NO_SYMLINKS: (u64, u32) = (0x2000, 0x100);
    let present = rustix::fs::fstatvfs(root)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::from_bits_retain(NO_SYMLINKS.0), MountFlags::from_bits_retain(NO_SYMLINKS.1)),
    ];
    Ok(pairs.into_iter().filter(|(status, _)| present.contains(*status)).map(|(_, flag)| flag).collect())
}

fn unmount(step: &'static str, target: &Path, flags: UnmountFlags) -> Result<(), MountError> {
    rustix::mount::unmount(target, flags | UnmountFlags::NOFOLLOW).map_err(failed(step, target))
}

/// The errors of a mount whose server or daemon is gone (Kubernetes `mount-utils` `IsCorruptedMnt`).
fn is_dead(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOTCONN | Errno::STALE | Errno::IO | Errno::ACCESS | Errno::HOSTDOWN | Errno::NODEV
    )
}

/// A mount that is there, or dead: the kernel remembers what a file system said last, also when its daemon is gone.
fn alive(path: &Path, answer: &Statx) -> MountPoint {
    if liveness::answers_by_itself(answer) {
        return MountPoint::Yes;
    }
    match liveness::ask(path) {
        Err(errno) if is_dead(errno) => MountPoint::Dead(errno.raw_os_error()),
        _ => MountPoint::Yes,
    }
}

/// Whether the table has a mount at `path`, whose parent may lead through symlinks.
fn listed(table: &MountTable, path: &Path) -> bool {
    if table.top(path).is_some() {
        return true;
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
    parent.canonicalize().is_ok_and(|parent| table.top(&parent.join(name)).is_some())
}

fn failed(step: &'static str, target: &Path) -> impl FnOnce(Errno) -> MountError {
    move |errno| MountError::Call { step, target: target.to_owned(), source: errno.into() }
}
