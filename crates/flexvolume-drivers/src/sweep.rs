//! Empties a directory, whatever its owner left in it: never across a mount, never through a symlink.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Result, VolumeError, at};

/// Whether the directory has no entries.
pub(crate) fn is_empty(directory: &File, path: &Path) -> Result<bool> {
    Ok(entries(directory).map_err(at("list", path))?.is_empty())
}

/// Removes everything in `directory`. After an error what is left is still in it, and a repeated call goes on.
///
/// A directory is emptied by moving the directories in it up to the top, so that neither depth nor the length of a
/// path matters, and two open descriptors are enough.
pub(crate) fn empty(directory: &File, path: &Path) -> Result<()> {
    let mut moved = 0;
    loop {
        let names = entries(directory).map_err(at("list", path))?;
        if names.is_empty() {
            return Ok(());
        }
        for name in &names {
            remove(directory, name, &mut moved).map_err(|error| refused(path, name, error))?;
        }
    }
}

fn refused(path: &Path, name: &CStr, error: Errno) -> VolumeError {
    let entry = path.join(name.to_string_lossy().as_ref());
    if matches!(error, Errno::XDEV | Errno::BUSY) {
        let remedy = "something is mounted there; unmount it first".to_owned();
        return VolumeError::Busy { path: entry, remedy };
    }
    at("remove", &entry)(error)
}

fn remove(top: &File, name: &CStr, moved: &mut u64) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(top, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return gone_is_fine(other),
    }
    match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        other => return gone_is_fine(other),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let inner = rustix::fs::openat2(top, name, flags, Mode::empty(), resolve)?;
    for entry in entries(&inner)? {
        match rustix::fs::unlinkat(&inner, &entry, AtFlags::empty()) {
            Err(Errno::ISDIR) => move_up(&inner, &entry, top, moved)?,
            other => gone_is_fine(other)?,
        }
    }
    match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        // Somebody still writes here: the next round takes care of it.
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        other => gone_is_fine(other),
    }
}

/// Moves a directory to the top, under a name that is free.
fn move_up(from: &OwnedFd, entry: &CStr, top: &File, moved: &mut u64) -> rustix::io::Result<()> {
    loop {
        *moved += 1;
        let name = format!(".removed-{moved}");
        match rustix::fs::renameat_with(from, entry, top, &name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return gone_is_fine(other),
        }
    }
}

fn gone_is_fine(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The names in a directory, without `.` and `..`.
fn entries(directory: impl AsFd) -> std::result::Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn open(path: &Path) -> File {
        File::open(path).unwrap()
    }

    #[test]
    fn what_lies_behind_a_symlink_stays() {
        let root = tempfile::tempdir().unwrap();
        let (target, inside) = (root.path().join("target"), root.path().join("inside"));
        fs::create_dir_all(inside.join("deep")).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("keep"), "x").unwrap();
        symlink(&target, inside.join("link")).unwrap();
        symlink(&target, inside.join("deep/link")).unwrap();
        symlink("/nowhere", inside.join("dangling")).unwrap();
        empty(&open(&inside), &inside).unwrap();
        assert!(is_empty(&open(&inside), &inside).unwrap());
        assert_eq!(fs::read_to_string(target.join("keep")).unwrap(), "x");
    }

    #[test]
    fn neither_depth_nor_names_of_ours_stop_it() {
        let root = tempfile::tempdir().unwrap();
        for name in [".removed-1", ".removed-2"] {
            fs::create_dir_all(root.path().join(name).join("x/y")).unwrap();
        }
        let mut directory = OwnedFd::from(open(root.path()));
        // Deeper than a path can be long, and than there may be open descriptors.
        for _ in 0..3000 {
            rustix::fs::mkdirat(&directory, "deeper", Mode::RWXU).unwrap();
            rustix::fs::openat(&directory, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            directory = rustix::fs::openat(&directory, "deeper", flags, Mode::empty()).unwrap();
        }
        empty(&open(root.path()), root.path()).unwrap();
        assert!(is_empty(&open(root.path()), root.path()).unwrap());
    }

    #[test]
    fn an_error_names_the_entry() {
        let path = PathBuf::from("/mount/dir");
        let error = refused(&path, c"sub", Errno::XDEV).to_string();
        assert_eq!(error, "/mount/dir/sub is still in use: something is mounted there; unmount it first");
    }
}
