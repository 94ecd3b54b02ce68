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
