//! A root directory like the one of this machine, with a few directories more.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use flexvolume_host::os::mount::{
    Access, FileSystemMount, MountError, Mounter as _, SystemMounter, bind_tree, make_unbindable,
};

use super::ContainerError;

/// How many entries a directory may have that is rebuilt around a missing one.
const ENTRIES: usize = 1000;

/// Mounts at `staging` a file system in memory that shows what `/` shows and has the `missing` directories. The
/// directories that had to be rebuilt for it are read-only: nothing that a command writes there is lost unnoticed.
pub(super) fn build(staging: &Path, missing: &[&Path]) -> Result<(), ContainerError> {
    let memory = FileSystemMount {
        source: PathBuf::from("tmpfs"),
        fs_type: "tmpfs".to_owned(),
        access: Access::ReadWrite,
        data: vec!["mode=755".to_owned(), "size=4m".to_owned()],
    };
    SystemMounter.mount(&memory, staging)?;
    // Or the tree that it stands in would show it inside itself.
    make_unbindable(staging)?;
    mirror(Path::new("/"), staging, missing)?;
    for path in missing {
        let place = inside(staging, path);
        fs::create_dir_all(&place).map_err(|source| root_error("make", &place, source))?;
    }
    Ok(SystemMounter.make_read_only(staging)?)
}

/// Shows the entries of `directory` in `copy`: bound as they are, but for those on the way to something missing.
fn mirror(directory: &Path, copy: &Path, missing: &[&Path]) -> Result<(), ContainerError> {
    let failed = |source| root_error("list", directory, source);
    let entries = fs::read_dir(directory).map_err(failed)?;
    for (count, entry) in entries.enumerate() {
        let entry = entry.map_err(failed)?;
        let on_the_way = missing.iter().find(|path| path.starts_with(entry.path()));
        if count >= ENTRIES {
            let mount_path = missing.iter().find(|path| path.starts_with(directory));
            return Err(ContainerError::TooManyEntries {
                mount_path: mount_path.map_or_else(PathBuf::new, |path| path.to_path_buf()),
                directory: directory.to_owned(),
            });
        }
        let shown = copy.join(entry.file_name());
        match on_the_way {
            Some(_) => {
                fs::create_dir(&shown).map_err(|source| root_error("make", &shown, source))?;
                mirror(&entry.path(), &shown, missing)?;
            }
            None => show(&entry, &shown)?,
        }
    }
    // Last, so that a directory without write permission can be filled.
    let permissions = fs::metadata(directory).map_err(failed)?.permissions();
    fs::set_permissions(copy, permissions).map_err(|source| root_error("set the mode of", copy, source))
}

/// Shows one entry: a symlink copied, everything else bound. One that vanishes meanwhile is left out.
fn show(entry: &fs::DirEntry, shown: &Path) -> Result<(), ContainerError> {
    let path = entry.path();
    let kind = entry.file_type().map_err(|source| root_error("look at", &path, source))?;
    let made = if kind.is_symlink() {
        fs::read_link(&path).and_then(|target| symlink(target, shown))
    } else if kind.is_dir() {
        fs::create_dir(shown)
    } else {
        fs::File::create_new(shown).map(drop)
    };
    made.map_err(|source| root_error("make", shown, source))?;
    if kind.is_symlink() {
        return Ok(());
    }
    match bind_tree(&path, shown) {
        Err(MountError::Call { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

/// The same path below another root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn root_error(step: &'static str, path: &Path, source: io::Error) -> ContainerError {
    ContainerError::Root { step, path: path.to_owned(), source }
}
