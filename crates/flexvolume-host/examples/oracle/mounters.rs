//! The scenario's mounters: a mount table in memory, and programs that only say that they mounted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use flexvolume_host::os::command::{Command, Streams};
use flexvolume_host::os::mount::{
    Access, FileSystemMount, MountError, MountPoint, Mounter, SystemMounter, UnmountCheck,
};
use flexvolume_host::os::mountinfo::{Mount, MountTable};
use flexvolume_host::os::runner::{Output, Runner};

use crate::recorder::{Effect, MountEffect, Recorder, RecordingRunner};

/// A mount table in memory. Its quirks are those of the fake mounter of Kubernetes' `mount-utils`.
pub(crate) struct FakeMounter {
    recorder: Arc<Recorder>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Device and path.
    mounts: Vec<(PathBuf, PathBuf)>,
    check_errors: BTreeMap<PathBuf, i32>,
    mount_errors: BTreeMap<PathBuf, String>,
    unmount_errors: BTreeMap<PathBuf, String>,
}

struct How<'a> {
    fstype: &'a str,
    options: &'a [&'a str],
}

impl FakeMounter {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody else mounts.
    pub(crate) fn appear(&self, device: &str, path: &Path) {
        self.state().mounts.push((device.into(), path.to_owned()));
    }

    /// Somebody else unmounts.
    pub(crate) fn vanish(&self, path: &Path) {
        self.state().mounts.retain(|(_, mounted)| mounted != path);
    }

    /// Looks at `path` fail from now on, or no longer.
    pub(crate) fn fail_checks(&self, path: &Path, errno: Option<i32>) {
        match errno {
            Some(errno) => drop(self.state().check_errors.insert(path.to_owned(), errno)),
            None => drop(self.state().check_errors.remove(path)),
        }
    }

    pub(crate) fn fail_mounts(&self, path: &Path, message: &str) {
        self.state().mount_errors.insert(path.to_owned(), message.to_owned());
    }

    pub(crate) fn fail_unmounts(&self, path: &Path, message: &str) {
        self.state().unmount_errors.insert(path.to_owned(), message.to_owned());
    }

    fn add(&self, source: &Path, target: &Path, how: &How<'_>) -> Result<(), MountError> {
        let hide = |path: &Path| self.recorder.hide(&path.to_string_lossy());
        let mount = MountEffect {
            source: hide(source),
            target: hide(target),
            fstype: how.fstype.to_owned(),
            options: how.options.iter().map(|&option| option.to_owned()).collect(),
        };
        self.recorder.add(Effect::Mounted { mount });
        let mut state = self.state();
        if let Some(message) = state.mount_errors.get(target) {
            return Err(error("mount", target, io::Error::other(message.clone())));
        }
        let device = match state.mounts.iter().find(|(_, path)| path == source) {
            Some((device, _)) if how.options == ["bind"] => device.clone(),
            _ => source.to_owned(),
        };
        state.mounts.push((device, real(target)));
        Ok(())
    }
}

impl Mounter for FakeMounter {
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        self.add(source, target, &How { fstype: "auto", options: &["bind"] })
    }

    fn make_read_only(&self, _target: &Path) -> Result<(), MountError> {
        Ok(())
    }

    fn mount(&self, mount: &FileSystemMount, target: &Path) -> Result<(), MountError> {
        let options = [access(mount), "defaults"];
        self.add(&mount.source, target, &How { fstype: &mount.fs_type, options: &options })
    }

    fn unmount(&self, target: &Path) -> Result<(), MountError> {
        self.recorder.add(Effect::Unmounted { unmount: self.recorder.hide(&target.to_string_lossy()) });
        let mut state = self.state();
        if let Some(message) = state.unmount_errors.get(target) {
            return Err(error("unmount", target, io::Error::other(message.clone())));
        }
        let target = real(target);
        state.mounts.retain(|(_, path)| *path != target);
        Ok(())
    }

    fn unmount_forced(&self, target: &Path) -> Result<(), MountError> {
        self.unmount(target)
    }

    fn unmount_lazy(&self, target: &Path) -> Result<(), MountError> {
        self.unmount(target)
    }

    fn mount_point(&self, path: &Path) -> Result<MountPoint, MountError> {
        let state = self.state();
        let found = match state.check_errors.get(path) {
            Some(errno) => Err(io::Error::from_raw_os_error(*errno)),
            None => fs::metadata(path),
        };
        match found {
            Ok(_) if state.mounts.iter().any(|(_, mounted)| *mounted == real(path)) => Ok(MountPoint::Yes),
            Ok(_) => Ok(MountPoint::No),
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(MountPoint::Absent),
            Err(failed) => match failed.raw_os_error() {
                Some(errno) if is_corrupted(errno) => Ok(MountPoint::Dead(errno)),
                _ => Err(error("stat", path, failed)),
            },
        }
    }

    fn table(&self) -> Result<MountTable, MountError> {
        let state = self.state();
        let mut devices: Vec<&PathBuf> = state.mounts.iter().map(|(device, _)| device).collect();
        devices.sort();
        devices.dedup();
        let mut mounts = vec![line(1, (0, 0), Path::new("/"), Path::new("/"))];
        for ((device, path), id) in state.mounts.iter().zip(2..) {
            let number = devices.iter().zip(1..).find(|(known, _)| *known == &device).map_or(0, |(_, id)| id);
            // The source of a bind mount that is no mount point is a directory of the root's file system.
            let (number, root) = match device.starts_with(self.recorder.root()) {
                true => (0, device.as_path()),
                false => (number, Path::new("/")),
            };
            mounts.push(line(id, (0, number), root, path));
        }
        Ok(MountTable::new(mounts))
    }
}

fn line(id: u32, device: (u32, u32), root: &Path, mount_point: &Path) -> Mount {
    Mount {
        id,
        parent: 0,
        device,
        root: root.to_owned(),
        mount_point: mount_point.to_owned(),
        options: Vec::new(),
        fs_type: "fake".to_owned(),
        source: root.to_owned(),
        super_options: Vec::new(),
    }
}

fn access(mount: &FileSystemMount) -> &'static str {
    match mount.access {
        Access::ReadWrite => "rw",
        Access::ReadOnly => "ro",
    }
}

/// Errors of a mount that does not answer.
fn is_corrupted(errno: i32) -> bool {
    use rustix::io::Errno;
    [Errno::NOTCONN, Errno::STALE, Errno::IO, Errno::ACCESS, Errno::HOSTDOWN, Errno::WOULDBLOCK, Errno::NODEV]
        .contains(&Errno::from_raw_os_error(errno))
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn error(step: &'static str, target: &Path, source: io::Error) -> MountError {
    MountError::Call { step, target: target.to_owned(), source }
}

/// Mounts with the programs that Kubernetes' `mount-utils` mounts with. The scenario's only answer; nothing is mounted.
pub(crate) struct ExecMounter {
    runner: RecordingRunner,
    unmount_check: UnmountCheck,
    systemd: OnceLock<bool>,
}

impl ExecMounter {
    /// Tries `umount` on a directory that is no mount point, as Kubernetes does at start.
    pub(crate) fn new(runner: RecordingRunner) -> io::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let mut mounter = Self { runner, unmount_check: UnmountCheck::ByCaller, systemd: OnceLock::new() };
        if let Err((_, said)) = mounter.try_run("umount", &[&scratch.path().to_string_lossy()])
            && said.contains("not mounted")
        {
            mounter.unmount_check = UnmountCheck::ByUnmount;
        }
        mounter.runner.recorder.take();
        Ok(mounter)
    }

    fn try_run(&self, tool: &str, arguments: &[&str]) -> Result<Output, (String, String)> {
        let command =
            Command::new(tool, Duration::from_secs(60)).arguments(arguments).streams(Streams::Shared);
        match self.runner.run(&command) {
            Ok(output) if output.ended.is_success() => Ok(output),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.combined.bytes).into_owned();
                Err((format!("{:?}", output.ended), said))
            }
            Err(error) => Err((error.to_string(), String::new())),
        }
    }

    fn run(&self, tool: &str, arguments: &[&str], target: &Path) -> Result<(), MountError> {
        match self.try_run(tool, arguments) {
            Ok(_) => Ok(()),
            Err((why, said)) => Err(error("mount or unmount", target, io::Error::other(why + ": " + &said))),
        }
    }

    fn has_systemd(&self) -> bool {
        *self.systemd.get_or_init(|| {
            let probe = ["--description=Kubernetes systemd probe", "--scope", "true"];
            self.try_run("systemd-run", &probe).is_ok()
        })
    }
}

impl Mounter for ExecMounter {
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
        self.run("mount", &["-t", "auto", "-o", "bind", &from, &to], target)?;
        // Kubernetes repeats the mount flags of the source here; the scenarios run where there are none.
        rustix::fs::statvfs(source).map_err(|errno| error("statfs", source, errno.into()))?;
        self.run("mount", &["-t", "auto", "-o", "bind,remount", &from, &to], target)
    }

    fn make_read_only(&self, _target: &Path) -> Result<(), MountError> {
        Ok(())
    }

    fn mount(&self, mount: &FileSystemMount, target: &Path) -> Result<(), MountError> {
        let (from, to) = (mount.source.to_string_lossy(), target.to_string_lossy());
        let options = format!("{},defaults", access(mount));
        let arguments = ["-t", &mount.fs_type, "-o", &options, &from, &to];
        if !self.has_systemd() {
            return self.run("mount", &arguments, target);
        }
        let description = format!("--description=Kubernetes transient mount for {to}");
        let scope: [&str; 4] = [&description, "--scope", "--", "mount"];
        self.run("systemd-run", &[&scope[..], &arguments[..]].concat(), target)
    }

    fn unmount(&self, target: &Path) -> Result<(), MountError> {
        match self.try_run("umount", &[&target.to_string_lossy()]) {
            Err((_, said))
                if self.unmount_check == UnmountCheck::ByUnmount && said.contains("not mounted") =>
            {
                Ok(())
            }
            Err((why, said)) => Err(error("unmount", target, io::Error::other(why + ": " + &said))),
            Ok(_) => Ok(()),
        }
    }

    fn unmount_forced(&self, target: &Path) -> Result<(), MountError> {
        self.unmount(target)
    }

    fn unmount_lazy(&self, target: &Path) -> Result<(), MountError> {
        self.unmount(target)
    }

    fn unmount_check(&self) -> UnmountCheck {
        self.unmount_check
    }

    fn mount_point(&self, path: &Path) -> Result<MountPoint, MountError> {
        SystemMounter.mount_point(path)
    }

    fn table(&self) -> Result<MountTable, MountError> {
        SystemMounter.table()
    }
}
