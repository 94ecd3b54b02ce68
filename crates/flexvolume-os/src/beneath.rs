//! A directory below another one, found without following a symlink: for names that a stranger may have chosen in a
//! place where a stranger may write.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::kernel;

/// Opens `relative` below `root`, making what is missing with mode 0755. The handle is for [`path_of`].
///
/// # Errors
/// ENOTDIR if a component is a symlink or no directory, EINVAL if `relative` is absolute or climbs, else the system's
/// error.
pub fn directory(root: &Path, relative: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut reached = openat(CWD, root, flags, Mode::empty())?;
    for component in relative.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            _ => return Err(Errno::INVAL.into()),
        };
        let opened = match openat(&reached, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => {
                match mkdirat(&reached, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                openat(&reached, name, flags | OFlags::NOFOLLOW, Mode::empty())
            }
            other => other,
        };
        reached = opened?;
    }
    Ok(reached)
}

/// Sets the permissions of a name in a directory; never those of what a symlink there leads to.
///
/// # Errors
/// The system's error; ENOSYS before Linux 6.6.
pub fn set_mode(directory: BorrowedFd<'_>, name: &CStr, mode: Mode) -> io::Result<()> {
    kernel::chmod_at(directory, name, mode.as_raw_mode())
}

/// The path by which the kernel reaches what a handle holds, whatever its name leads to by now.
#[must_use]
pub fn path_of(handle: &OwnedFd) -> std::path::PathBuf {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_opened() {
        let root = tempfile::tempdir().unwrap();
        directory(root.path(), Path::new("a/./b")).unwrap();
        assert!(root.path().join("a/b").is_dir());
        let opened = directory(root.path(), Path::new("a")).unwrap();
        assert!(path_of(&opened).join("b").is_dir());
    }

    #[test]
    fn symlinks_and_climbing_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), root.path().join("link")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        for relative in ["link", "link/x", "file", "..", "a/../..", "/etc"] {
            let error = directory(root.path(), Path::new(relative)).unwrap_err();
            assert!(matches!(error.raw_os_error(), Some(20 | 22 | 40)), "{relative}: {error}");
        }
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn permissions_are_those_of_the_name_and_not_of_what_it_leads_to() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        std::fs::write(&file, "").unwrap();
        symlink(&file, link).unwrap();
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777;
        let opened = std::fs::File::open(root.path()).unwrap();
        let set = |name, mode| set_mode(opened.as_fd(), name, Mode::from_raw_mode(mode));
        let unknown =
            |error: &io::Error| matches!(Errno::from_io_error(error), Some(Errno::NOSYS | Errno::PERM));
        if set(c"file", 0o640).is_err_and(|error| unknown(&error)) {
            eprintln!(
                "skipped: permissions_are_those_of_the_name: needs fchmodat2 (Linux 6.6), and no sandbox that hides it"
            );
            return;
        }
        assert_eq!(mode(), 0o640);
        assert!(set(c"link", 0o777).is_err());
        assert!(set(c"absent", 0o777).is_err());
        assert_eq!(mode(), 0o640);
    }
}
