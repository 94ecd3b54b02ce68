//! Handing a volume's files to a pod's group (Kubernetes v1.37 `pkg/volume/volume_linux.go`).
//!
//! A directory comes after everything in it, the root last, so that an interrupted change is seen at the root and done
//! again; what is right already is only looked at. Mounts inside the volume are entered, as Kubernetes enters them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Gid;
use thiserror::Error;

use super::Mounter;
use super::ownership_walk::{DIRECTORY_BITS, Unreadable, change};
use crate::Reading;
use crate::spec::{FsGroupChangePolicy, MounterArguments};

/// What could not be changed. The volume is usable all the same.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OwnershipError {
    /// The number is no group.
    #[error("fsGroup {0} is no group id")]
    NoGroup(i64),
    /// Some files stay as they were.
    #[error("fsGroup: {failed} of the files could not be given to the group, the first is {}: {source}", .first.display())]
    Files {
        /// How many.
        failed: u64,
        /// The first one.
        first: PathBuf,
        /// Why it could not be changed.
        source: io::Error,
    },
}

/// Gives all files below `root`, and last `root` itself, to the group, with the permissions that a pod's group needs.
///
/// # Errors
/// [`OwnershipError`]; everything else is changed.
pub fn give_to_group(root: &Path, group: i64, policy: FsGroupChangePolicy) -> Result<(), OwnershipError> {
    let is_done = match policy {
        FsGroupChangePolicy::Always => false,
        FsGroupChangePolicy::OnRootMismatch => is_right(root, group),
        FsGroupChangePolicy::Never => true,
    };
    if is_done {
        return Ok(());
    }
    let group = group_of(group).ok_or(OwnershipError::NoGroup(group))?;
    change(root, Some(group), Unreadable::IsPassedOver)
}

impl Mounter {
    /// Gives the volume to the pod's group, if it has one and the policy asks for it.
    pub(super) fn change_ownership(&self, arguments: MounterArguments) -> Result<(), OwnershipError> {
        let Some(number) = arguments.fs_group else { return Ok(()) };
        let policy = arguments.fs_group_change_policy;
        if policy == FsGroupChangePolicy::Never {
            return Ok(());
        }
        match self.plugin.host().reading {
            Reading::Tolerant => give_to_group(&self.mount_dir, number, policy),
            Reading::Strict
                if policy == FsGroupChangePolicy::OnRootMismatch && is_right(&self.mount_dir, number) =>
            {
                Ok(())
            }
            Reading::Strict => change(&self.mount_dir, cut(number), Unreadable::EndsTheWalk),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{Mode, OFlags};

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
        let program = volume.path().join("program");
        fs::write(&program, "").unwrap();
        set_mode(&program, 0o4711);
        symlink(&foreign, volume.path().join("link")).unwrap();
        symlink(outside.path(), volume.path().join("directory-link")).unwrap();

        change(volume.path(), Some(own_group()), Unreadable::EndsTheWalk).unwrap();

        assert_eq!(mode(&file), 0o775);
        assert_eq!(mode(&program), 0o4771);
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
    fn a_large_tree_is_shared_among_threads_and_none_is_forgotten() {
        let volume = tempfile::tempdir().unwrap();
        set_mode(volume.path(), 0o700);
        let directories: Vec<_> = (0..4).map(|number| volume.path().join(number.to_string())).collect();
        for directory in &directories {
            fs::create_dir_all(directory.join("empty")).unwrap();
            for number in 0..700 {
                fs::write(directory.join(number.to_string()), "").unwrap();
                set_mode(&directory.join(number.to_string()), 0o600);
            }
        }
        change(volume.path(), Some(own_group()), Unreadable::IsPassedOver).unwrap();
        for directory in &directories {
            assert_eq!(mode(directory) & DIRECTORY_BITS, DIRECTORY_BITS);
            assert_eq!(mode(&directory.join("empty")) & DIRECTORY_BITS, DIRECTORY_BITS);
            for number in 0..700 {
                assert_eq!(mode(&directory.join(number.to_string())), 0o660);
            }
        }
        assert_eq!(mode(volume.path()), 0o2770);
    }

    #[test]
    fn a_volume_that_is_not_there_is_an_error_with_its_path() {
        let error = give_to_group(Path::new("/nonexistent/volume"), 0, FsGroupChangePolicy::Always);
        assert!(matches!(error, Err(OwnershipError::Files { failed: 1, first, .. })
            if first == Path::new("/nonexistent/volume")));
        let untouched = give_to_group(Path::new("/nonexistent/volume"), 0, FsGroupChangePolicy::Never);
        assert!(untouched.is_ok(), "the driver has done it: nothing is looked at");
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
