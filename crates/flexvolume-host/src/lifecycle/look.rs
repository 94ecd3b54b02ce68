//! What is really there: the facts that decide what remains to be done.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flexvolume_os::mount::{MountError, MountPoint, Mounter};

use super::failure::Failure;
use super::record::Found;

/// What is at a mount dir or device mount path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// A mount that answers.
    Mounted,
    /// A mount that does not answer.
    Dead,
    /// A directory that is no mount.
    Directory,
    /// A file, a socket or the like.
    File,
    /// A symlink.
    Symlink,
    /// Nothing.
    Absent,
}

impl Seen {
    /// As a record remembers it.
    pub(super) fn found(self) -> Found {
        match self {
            Seen::Mounted | Seen::Dead => Found::Mount,
            Seen::Directory => Found::Directory,
            Seen::Symlink => Found::Symlink,
            Seen::Absent | Seen::File => Found::Unknown,
        }
    }
}

/// Asks the kernel; no file system that could hang is touched.
pub(super) fn look(mounter: &dyn Mounter, place: &Path) -> Result<Seen, MountError> {
    Ok(match mounter.mount_point(place)? {
        MountPoint::Yes => Seen::Mounted,
        MountPoint::Dead(_) => Seen::Dead,
        MountPoint::Absent => Seen::Absent,
        MountPoint::No => kind(place),
    })
}

/// Of something that is no mount, and so is on the file system of the root.
fn kind(place: &Path) -> Seen {
    match fs::symlink_metadata(place) {
        Ok(metadata) if metadata.is_symlink() => Seen::Symlink,
        Ok(metadata) if !metadata.is_dir() => Seen::File,
        _ => Seen::Directory,
    }
}

/// Refuses a symlink anywhere between `root` and `place`: what is mounted or removed there would be elsewhere. The
/// root itself may be one, or lie below one. Refuses also what another user could replace by a symlink between this look
/// and the driver's.
pub(super) fn refuse_symlinked_parents(root: &Path, place: &Path) -> Result<(), String> {
    for parent in place.ancestors().skip(1).take_while(|parent| parent.starts_with(root)) {
        let at_root = parent == root;
        let metadata = if at_root { fs::metadata(parent) } else { fs::symlink_metadata(parent) };
        let Ok(metadata) = metadata else { continue };
        if metadata.is_symlink() {
            return Err(symlink_refusal(parent));
        }
        if is_open_to_others(&metadata) {
            return Err(format!(
                "{} can be written by others than root, who could have volumes mounted elsewhere; take that away \
                 (chown root, chmod go-w)",
                parent.display()
            ));
        }
    }
    Ok(())
}

/// Whether somebody but root and us may change what is in a directory.
fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    let us = rustix::process::geteuid().as_raw();
    let mode = metadata.mode();
    let foreign_owner = metadata.uid() != 0 && metadata.uid() != us;
    let foreign_group = mode & 0o020 != 0 && metadata.gid() != 0;
    foreign_owner || foreign_group || mode & 0o002 != 0
}

/// Why a symlink is not used, and what to do.
pub(super) fn symlink_refusal(link: &Path) -> String {
    let target = fs::read_link(link).map_or_else(|_| "?".to_owned(), |target| target.display().to_string());
    format!(
        "{} is a symlink to {target}: nothing is mounted, unmounted or removed through it; remove the link",
        link.display()
    )
}

/// The path as the mount table has it, when the root is a symlink or lies below one.
pub(super) fn in_table(root: &Path, place: &Path) -> PathBuf {
    match (fs::canonicalize(root), place.strip_prefix(root)) {
        (Ok(real), Ok(below)) => real.join(below),
        _ => place.to_owned(),
    }
}

/// Refuses a device mount that somebody else uses: the same directory of the same file system is mounted elsewhere,
/// as kubelet does before `unmountdevice` (Kubernetes v1.37 `pkg/volume/util/operationexecutor`).
pub(super) fn refuse_references(mounter: &dyn Mounter, root: &Path, place: &Path) -> Result<(), Failure> {
    const STEP: &str = "unmountdevice";
    let references = mounter.references(&in_table(root, place)).map_err(super::failure::at(STEP))?;
    let below_root = place.strip_prefix(root).unwrap_or(place);
    // A root that is mounted at two places shows each mount below it twice.
    let foreign: HashSet<_> = references
        .into_iter()
        .filter(|mount_point| !mount_point.ends_with(below_root))
        .map(|mount_point| mount_point.display().to_string())
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let mut foreign: Vec<_> = foreign.into_iter().collect();
    foreign.sort_unstable();
    let cause = format!(
        "the device mount path {} is still mounted at {}; unmount that first",
        place.display(),
        foreign.join(", ")
    );
    Err(Failure::new(STEP, cause))
}

/// Identifies this run of the kernel: what an earlier one had mounted or attached is gone.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_symlink_below_the_root_is_refused_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("pods")).unwrap();
        symlink("/etc", root.join("pods/uid")).unwrap();
        let error = refuse_symlinked_parents(&root, &root.join("pods/uid/volumes/a~b/c")).unwrap_err();
        assert!(error.contains("pods/uid is a symlink to /etc"), "{error}");
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused_and_named() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let pods = root.join("pods");
        fs::create_dir_all(pods.join("uid")).unwrap();
        let set = |place: &Path, mode| fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
        for open in [&root, &pods] {
            set(open, 0o757);
            let error = refuse_symlinked_parents(&root, &pods.join("uid/volumes/a~b/c")).unwrap_err();
            assert!(error.contains(&format!("{} can be written", open.display())), "{error}");
            set(open, 0o755);
        }
        refuse_symlinked_parents(&root, &pods.join("uid/volumes/a~b/c")).unwrap();
    }

    #[test]
    fn a_root_that_is_a_symlink_is_fine_and_resolved_for_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        fs::create_dir_all(real.join("pods/uid")).unwrap();
        let root = directory.path().join("root");
        symlink(&real, &root).unwrap();
        refuse_symlinked_parents(&root, &root.join("pods/uid/volumes")).unwrap();
        let real = fs::canonicalize(&real).unwrap();
        assert_eq!(in_table(&root, &root.join("pods/x")), real.join("pods/x"));
    }

    #[test]
    fn this_boot_has_an_id() {
        assert_eq!(boot_id().len(), 36);
        assert_eq!(boot_id(), boot_id());
    }
}
