//! A mount table in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::lock;
use crate::mount::{Access, FileSystemMount, MountError, MountPoint, Mounter};
use crate::mountinfo::{Mount, MountTable};

/// What a [`FakeMounter`] can be told to fail at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of its name; Unmount is all three")]
pub enum Operation {
    Bind,
    MakeReadOnly,
    Mount,
    Unmount,
    MountPoint,
}

/// Mounts in memory: targets must be real directories (the fake looks at the file system for that), later mounts lie on
/// earlier ones, what has mounts below it is busy, and bind mounts show the file system of their source in the table.
/// File contents do not appear at the target.
#[derive(Debug, Clone, Default)]
pub struct FakeMounter {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    mounts: Vec<Mount>,
    failures: HashMap<(Operation, PathBuf), i32>,
    dead: HashMap<PathBuf, i32>,
    last_id: u32,
    last_minor: u32,
}

impl FakeMounter {
    /// Nothing is mounted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this operation fails at this path with this errno.
    pub fn fail(&self, operation: Operation, path: impl Into<PathBuf>, errno: i32) {
        lock(&self.world).failures.insert((operation, path.into()), errno);
    }

    /// From now on the mount at this path is dead: a look at it gives this errno.
    pub fn kill(&self, path: impl Into<PathBuf>, errno: i32) {
        lock(&self.world).dead.insert(path.into(), errno);
    }

    /// Nothing fails any more, and nothing is dead.
    pub fn heal(&self) {
        let mut world = lock(&self.world);
        world.failures.clear();
        world.dead.clear();
    }

    fn unmount_at(&self, target: &Path, below: Below) -> Result<(), MountError> {
        const STEP: &str = "unmount";
        let mut world = lock(&self.world);
        world.may(Operation::Unmount, STEP, target)?;
        if !world.mounts.iter().any(|mount| mount.mount_point == target) {
            return Err(failed(STEP, target, Errno::INVAL));
        }
        let covered = |mount: &Mount| mount.mount_point != target && mount.mount_point.starts_with(target);
        match below {
            Below::IsBusy if world.mounts.iter().any(covered) => {
                return Err(failed(STEP, target, Errno::BUSY));
            }
            Below::IsBusy => {}
            Below::GoesToo => world.mounts.retain(|mount| !covered(mount)),
        }
        if let Some(top) = world.mounts.iter().rposition(|mount| mount.mount_point == target) {
            world.mounts.remove(top);
        }
        world.dead.remove(target);
        Ok(())
    }
}

/// What an unmount does about mounts below.
#[derive(Clone, Copy)]
enum Below {
    IsBusy,
    GoesToo,
}

impl World {
    fn may(&self, operation: Operation, step: &'static str, path: &Path) -> Result<(), MountError> {
        match self.failures.get(&(operation, path.to_owned())) {
            Some(errno) => Err(failed(step, path, Errno::from_raw_os_error(*errno))),
            None => Ok(()),
        }
    }

    fn push(&mut self, mut mount: Mount) {
        self.last_id += 1;
        mount.id = self.last_id;
        self.mounts.push(mount);
    }

    /// The file system that `path` lies on, and where in it.
    fn origin(&self, path: &Path) -> Mount {
        let above = self.mounts.iter().rev().filter(|mount| path.starts_with(&mount.mount_point));
        let Some(mount) = above.max_by_key(|mount| mount.mount_point.components().count()) else {
            return blank((254, 0), path, "ext4", "/dev/vda");
        };
        let rest = path.strip_prefix(&mount.mount_point).unwrap_or(Path::new(""));
        let root = if rest.as_os_str().is_empty() { mount.root.clone() } else { mount.root.join(rest) };
        Mount { root, ..mount.clone() }
    }

    /// The same source has the same number, as long as it is mounted.
    fn device_of(&mut self, source: &Path) -> (u32, u32) {
        if source.is_absolute()
            && let Some(mount) = self.mounts.iter().find(|mount| mount.source == source)
        {
            return mount.device;
        }
        self.last_minor += 1;
        (0, self.last_minor)
    }
}

impl Mounter for FakeMounter {
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        const STEP: &str = "bind mount at";
        let mut world = lock(&self.world);
        world.may(Operation::Bind, STEP, target)?;
        real_directory(STEP, target)?;
        let source = source.canonicalize().map_err(|_| failed(STEP, source, Errno::NOENT))?;
        let origin = world.origin(&source);
        world.push(Mount { mount_point: target.to_owned(), ..origin });
        Ok(())
    }

    fn make_read_only(&self, target: &Path) -> Result<(), MountError> {
        const STEP: &str = "make read-only the mount at";
        let mut world = lock(&self.world);
        world.may(Operation::MakeReadOnly, STEP, target)?;
        let mount = world.mounts.iter_mut().rev().find(|mount| mount.mount_point == target);
        let Some(mount) = mount else { return Err(failed(STEP, target, Errno::INVAL)) };
        mount.options = vec!["ro".to_owned()];
        Ok(())
    }

    fn mount(&self, mount: &FileSystemMount, target: &Path) -> Result<(), MountError> {
        const STEP: &str = "mount a file system at";
        let mut world = lock(&self.world);
        world.may(Operation::Mount, STEP, target)?;
        real_directory(STEP, target)?;
        let device = world.device_of(&mount.source);
        let access = match mount.access {
            Access::ReadWrite => "rw",
            Access::ReadOnly => "ro",
        };
        let mut new = blank(device, Path::new("/"), &mount.fs_type, &mount.source);
        new.mount_point = target.to_owned();
        new.options = vec![access.to_owned()];
        new.super_options = std::iter::once(access.to_owned()).chain(mount.data.iter().cloned()).collect();
        world.push(new);
        Ok(())
    }

    fn unmount(&self, target: &Path) -> Result<(), MountError> {
        self.unmount_at(target, Below::IsBusy)
    }

    fn unmount_forced(&self, target: &Path) -> Result<(), MountError> {
        self.unmount_at(target, Below::IsBusy)
    }

    fn unmount_lazy(&self, target: &Path) -> Result<(), MountError> {
        self.unmount_at(target, Below::GoesToo)
    }

    fn mount_point(&self, path: &Path) -> Result<MountPoint, MountError> {
        let world = lock(&self.world);
        world.may(Operation::MountPoint, "look at", path)?;
        let mounted = world.mounts.iter().any(|mount| mount.mount_point == path);
        match (mounted, world.dead.get(path)) {
            (true, Some(errno)) => Ok(MountPoint::Dead(*errno)),
            (true, None) => Ok(MountPoint::Yes),
            (false, _) if path.symlink_metadata().is_ok() => Ok(MountPoint::No),
            (false, _) => Ok(MountPoint::Absent),
        }
    }

    fn table(&self) -> Result<MountTable, MountError> {
        Ok(MountTable::new(lock(&self.world).mounts.clone()))
    }
}

fn blank(device: (u32, u32), root: &Path, fs_type: &str, source: impl Into<PathBuf>) -> Mount {
    Mount {
        id: 0,
        parent: 1,
        device,
        root: root.to_owned(),
        mount_point: PathBuf::new(),
        options: vec!["rw".to_owned()],
        fs_type: fs_type.to_owned(),
        source: source.into(),
        super_options: vec!["rw".to_owned()],
    }
}

fn real_directory(step: &'static str, target: &Path) -> Result<(), MountError> {
    match target.symlink_metadata() {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => {
            Err(MountError::Target { target: target.to_owned(), why: "it is not a directory, or a symlink" })
        }
        Err(_) => Err(failed(step, target, Errno::NOENT)),
    }
}

fn failed(step: &'static str, target: &Path, errno: Errno) -> MountError {
    MountError::Call { step, target: target.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn directory(&self, name: &str) -> PathBuf {
            let path = self.0.path().canonicalize().unwrap().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        }
    }

    fn disk(source: &str) -> FileSystemMount {
        FileSystemMount {
            source: source.into(),
            fs_type: "ext4".into(),
            access: Access::ReadWrite,
            data: vec!["noload".into()],
        }
    }

    fn errno(result: Result<(), MountError>) -> Option<i32> {
        match result.unwrap_err() {
            MountError::Call { source, .. } => source.raw_os_error(),
            MountError::Target { .. } => None,
        }
    }

    #[test]
    fn mounts_stack_and_leave_from_the_top() {
        let (place, mounter) = (Place::new(), FakeMounter::new());
        let target = place.directory("target");
        mounter.mount(&disk("/dev/a"), &target).unwrap();
        mounter.mount(&disk("/dev/b"), &target).unwrap();
        assert_eq!(mounter.mount_point(&target).unwrap(), MountPoint::Yes);
        assert_eq!(mounter.table().unwrap().top(&target).unwrap().source, Path::new("/dev/b"));
        mounter.unmount(&target).unwrap();
        assert_eq!(mounter.table().unwrap().top(&target).unwrap().source, Path::new("/dev/a"));
        mounter.unmount(&target).unwrap();
        assert_eq!(mounter.mount_point(&target).unwrap(), MountPoint::No);
        assert_eq!(errno(mounter.unmount(&target)), Some(22));
        assert_eq!(mounter.mount_point(&target.join("none")).unwrap(), MountPoint::Absent);
    }

    #[test]
    fn a_bind_shows_the_file_system_of_its_source_and_is_a_reference() {
        let (place, mounter) = (Place::new(), FakeMounter::new());
        let (device_mount, pod) = (place.directory("device"), place.directory("pod"));
        mounter.mount(&disk("/dev/a"), &device_mount).unwrap();
        mounter.bind(&device_mount, &pod).unwrap();
        mounter.make_read_only(&pod).unwrap();
        let table = mounter.table().unwrap();
        assert_eq!(table.references(&device_mount), [table.top(&pod).unwrap()]);
        assert!(table.top(&pod).unwrap().is_read_only() && !table.top(&device_mount).unwrap().is_read_only());
    }

    #[test]
    fn what_has_mounts_below_is_busy_unless_it_is_detached() {
        let (place, mounter) = (Place::new(), FakeMounter::new());
        let (above, below) = (place.directory("a"), place.directory("a/b"));
        mounter.mount(&disk("/dev/a"), &above).unwrap();
        mounter.mount(&disk("/dev/b"), &below).unwrap();
        assert_eq!(errno(mounter.unmount(&above)), Some(16));
        mounter.unmount_lazy(&above).unwrap();
        assert!(mounter.table().unwrap().mounts().is_empty());
    }

    #[test]
    fn only_real_directories_are_targets() {
        let (place, mounter) = (Place::new(), FakeMounter::new());
        let real = place.directory("real");
        let link = real.with_file_name("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(errno(mounter.bind(&real, &link)), None);
        assert_eq!(errno(mounter.bind(&real, &real.join("none"))), Some(2));
    }

    #[test]
    fn it_fails_and_dies_where_it_is_told() {
        let (place, mounter) = (Place::new(), FakeMounter::new());
        let target = place.directory("target");
        mounter.fail(Operation::Mount, &target, 5);
        assert_eq!(errno(mounter.mount(&disk("/dev/a"), &target)), Some(5));
        mounter.heal();
        mounter.mount(&disk("/dev/a"), &target).unwrap();
        mounter.kill(&target, 116);
        assert_eq!(mounter.mount_point(&target).unwrap(), MountPoint::Dead(116));
        mounter.unmount(&target).unwrap();
        assert_eq!(mounter.mount_point(&target).unwrap(), MountPoint::No);
    }
}
