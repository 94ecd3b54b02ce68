//! Handing a volume's files to a pod's group (Kubernetes v1.37 `pkg/volume/volume_linux.go`).
//!
//! Depth first, the root last, so that an interrupted change is seen at the root and done again. Everything is reached
//! through open directories and changed through descriptors: whoever swaps a directory for a symlink meanwhile cannot
//! lead the change out of the volume. Mounts inside the volume are entered, as Kubernetes enters them.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags};
use rustix::io::Errno;
use thiserror::Error;

use super::Mounter;
use crate::Reading;
use crate::spec::{FsGroupChangePolicy, MounterArguments};

/// The group may read and write; in directories it may also search, and new files get the group.
const FILE_BITS: u32 = 0o660;
const DIRECTORY_BITS: u32 = 0o2770;

/// What could not be changed. The volume is usable all the same.
#[derive(Debug, Error)]
pub(super) enum OwnershipError {
    #[error("fsGroup {0} is no group id")]
    NoGroup(i64),
    #[error("fsGroup: {failed} of the files could not be given to the group, the first is {}: {source}", .first.display())]
    Files { failed: u64, first: PathBuf, source: io::Error },
}

impl Mounter {
    /// Gives the volume to the pod's group, if it has one and the policy asks for it.
    pub(super) fn change_ownership(&self, arguments: MounterArguments) -> Result<(), OwnershipError> {
        let Some(number) = arguments.fs_group else { return Ok(()) };
        if arguments.fs_group_change_policy == FsGroupChangePolicy::OnRootMismatch
            && is_right(&self.mount_dir, number)
        {
            return Ok(());
        }
        match self.plugin.host().reading {
            Reading::Strict => change(&self.mount_dir, cut(number), Unreadable::EndsTheWalk),
            Reading::Tolerant => {
                let group = group_of(number).ok_or(OwnershipError::NoGroup(number))?;
                change(&self.mount_dir, Some(group), Unreadable::IsPassedOver)
            }
        }
    }
}

/// 4294967295 means "leave as it is" to the kernel, so it is no group.
fn group_of(number: i64) -> Option<Gid> {
    u32::try_from(number).ok().filter(|number| *number != u32::MAX).map(Gid::from_raw)
}

/// What arrives in the kernel of the number that Kubernetes passes on: its lowest 32 bits; `None` leaves the group.
fn cut(number: i64) -> Option<Gid> {
    let [a, b, c, d, ..] = number.to_le_bytes();
    group_of(i64::from(u32::from_le_bytes([a, b, c, d])))
}

/// Has the root the group and the bits already? Then nothing below it is looked at.
fn is_right(root: &Path, number: i64) -> bool {
    let wanted = DIRECTORY_BITS;
    fs::metadata(root).is_ok_and(|metadata| {
        metadata.is_dir() && i64::from(metadata.gid()) == number && metadata.mode() & wanted == wanted
    })
}

/// What a directory that cannot be read means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    EndsTheWalk,
    IsPassedOver,
}

/// A directory on the way down, and what is still to be done in it.
struct Level {
    name: OsString,
    directory: OwnedFd,
    mode: u32,
    entries: std::vec::IntoIter<CString>,
}

struct Walk {
    /// `None` leaves the groups as they are.
    group: Option<Gid>,
    levels: Vec<Level>,
    failed: u64,
    first: Option<(PathBuf, io::Error)>,
}

fn change(root: &Path, group: Option<Gid>, unreadable: Unreadable) -> Result<(), OwnershipError> {
    let mut walk = Walk { group, levels: Vec::new(), failed: 0, first: None };
    walk.visit(root.as_os_str().to_owned(), unreadable);
    while let Some(level) = walk.levels.last_mut() {
        match level.entries.next() {
            Some(name) => walk.visit(OsStr::from_bytes(name.as_bytes()).to_owned(), unreadable),
            None => walk.leave(),
        }
    }
    match walk.first {
        Some((first, source)) => Err(OwnershipError::Files { failed: walk.failed, first, source }),
        None => Ok(()),
    }
}

impl Walk {
    /// Changes a file, or goes down into a directory.
    fn visit(&mut self, name: OsString, unreadable: Unreadable) {
        let entered = match self.levels.last() {
            Some(level) => enter(&level.directory, &name, self.group),
            None => enter(CWD, &name, self.group),
        };
        match entered {
            Ok(Entered::Directory { directory, mode, entries }) => {
                self.levels.push(Level { name, directory, mode, entries: entries.into_iter() });
            }
            Ok(Entered::Done) => {}
            // Whoever uses the volume may delete meanwhile.
            Err(Trouble::Looking(Errno::NOENT)) if unreadable == Unreadable::IsPassedOver => {}
            Err(Trouble::Changing(errno)) => self.record(&name, errno),
            Err(Trouble::Looking(errno)) => {
                self.record(&name, errno);
                if unreadable == Unreadable::EndsTheWalk {
                    self.levels.clear();
                }
            }
        }
    }

    /// Changes the innermost directory, whose entries are all done.
    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        let owned = rustix::fs::fchown(&level.directory, None, self.group);
        let mode = Mode::from_raw_mode(level.mode | DIRECTORY_BITS);
        if let Err(errno) = owned.and(rustix::fs::fchmod(&level.directory, mode)) {
            self.record(&level.name, errno);
        }
    }

    fn record(&mut self, name: &OsStr, errno: Errno) {
        self.failed += 1;
        if self.first.is_none() {
            let path = self.levels.iter().map(|level| level.name.as_os_str()).chain([name]).collect();
            self.first = Some((path, errno.into()));
        }
    }
}

enum Entered {
    Done,
    Directory { directory: OwnedFd, mode: u32, entries: Vec<CString> },
}

enum Trouble {
    Looking(Errno),
    Changing(Errno),
}

fn enter(parent: impl AsFd, name: &OsStr, group: Option<Gid>) -> Result<Entered, Trouble> {
    let here = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = rustix::fs::openat(parent, name, here, Mode::empty()).map_err(Trouble::Looking)?;
    let found = rustix::fs::fstat(&entry).map_err(Trouble::Looking)?;
    let mode = found.st_mode & 0o7777;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => {
            let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory =
                rustix::fs::openat(&entry, ".", readable, Mode::empty()).map_err(Trouble::Looking)?;
            let entries = names(&directory).map_err(Trouble::Looking)?;
            Ok(Entered::Directory { directory, mode, entries })
        }
        kind => {
            give(&entry, group).map_err(Trouble::Changing)?;
            if kind != FileType::Symlink {
                permit(&entry, mode | FILE_BITS).map_err(Trouble::Changing)?;
            }
            Ok(Entered::Done)
        }
    }
}

/// Kubernetes goes on to the mode when the group could not be given; a mode that opens a file to the wrong group
/// would be worse than a file that keeps its own.
fn give(entry: &OwnedFd, group: Option<Gid>) -> Result<(), Errno> {
    rustix::fs::chownat(entry, "", None, group, AtFlags::EMPTY_PATH)
}

/// A descriptor that only names a file has no `fchmod`; its entry in `/proc` leads to the very same file.
fn permit(entry: &OwnedFd, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", entry.as_raw_fd()), Mode::from_raw_mode(mode))
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    Dir::read_from(directory)?
        .filter(|entry| !matches!(entry, Ok(entry) if is_dots(entry.file_name().to_bytes())))
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect()
}

fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The group that every user may give to its own files.
    fn own_group() -> Gid {
        rustix::process::getgid()
    }

    #[test]
    fn the_group_may_use_everything_and_links_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let foreign = outside.path().join("foreign");
        fs::write(&foreign, "x").unwrap();
        set_mode(&foreign, 0o600);
        let volume = tempfile::tempdir().unwrap();
        let (sub, file) = (volume.path().join("sub"), volume.path().join("sub/file"));
        fs::create_dir(&sub).unwrap();
        fs::write(&file, "y").unwrap();
        set_mode(&file, 0o755);
        set_mode(&sub, 0o700);
        set_mode(volume.path(), 0o700);
        symlink(&foreign, volume.path().join("link")).unwrap();
        symlink(outside.path(), volume.path().join("directory-link")).unwrap();

        change(volume.path(), Some(own_group()), Unreadable::EndsTheWalk).unwrap();

        assert_eq!(mode(&file), 0o775);
        assert_eq!(mode(&sub), 0o2770);
        assert_eq!(mode(volume.path()), 0o2770);
        assert_eq!(mode(&foreign), 0o600);
        assert!(is_right(volume.path(), own_group().as_raw().into()));
    }

    #[test]
    fn a_tree_deeper_than_a_path_may_be_long_is_walked() {
        let volume = tempfile::tempdir().unwrap();
        let mut here = rustix::fs::open(volume.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..200 {
            let name = "d".repeat(200);
            rustix::fs::mkdirat(&here, &name, Mode::RWXU).unwrap();
            here = rustix::fs::openat(&here, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        change(volume.path(), Some(own_group()), Unreadable::EndsTheWalk).unwrap();
        assert_eq!(rustix::fs::fstat(&here).unwrap().st_mode & 0o7777, 0o2770);
    }

    #[test]
    fn a_root_that_lacks_the_bits_or_the_group_is_not_right() {
        let volume = tempfile::tempdir().unwrap();
        set_mode(volume.path(), 0o770);
        assert!(!is_right(volume.path(), own_group().as_raw().into()));
        set_mode(volume.path(), 0o2770);
        assert!(is_right(volume.path(), own_group().as_raw().into()));
        assert!(!is_right(volume.path(), 54321));
    }

    #[test]
    fn numbers_that_are_no_groups_are_refused() {
        assert_eq!(group_of(0), Some(Gid::from_raw(0)));
        assert_eq!(group_of(-1), None);
        assert_eq!(group_of(i64::from(u32::MAX)), None);
        assert_eq!(group_of(1 << 40), None);
        assert_eq!(cut((1 << 40) + 5), Some(Gid::from_raw(5)));
        assert_eq!(cut(-5), Some(Gid::from_raw(u32::MAX - 4)));
        assert_eq!(cut(-1), None);
    }
}
