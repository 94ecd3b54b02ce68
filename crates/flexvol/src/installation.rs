//! Installing and removing drivers so that nobody who looks at the plugin directory ever sees half of one.
//!
//! A driver is built in `.VENDOR~DRIVER.tmp`, a plugin directory of its own under a name that hosts do not look at, its
//! `init` is tried there, and then it is renamed into place. It is removed by renaming it to a hidden name first. What a
//! crash leaves behind has one of these names and is cleaned up by the next installation or removal.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_host::contract::DriverName;
use flexvolume_host::os::lock::{Lock, LockError};
use flexvolume_host::os::{atomic, failpoint};
use serde::Serialize;
use thiserror::Error;

/// What an installation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Installed {
    /// The driver is new.
    New,
    /// It replaced another program.
    Upgraded,
    /// The same program was there already.
    Unchanged,
}

/// A driver cannot be installed or removed.
#[derive(Debug, Error)]
pub(crate) enum InstallError {
    #[error("{step} {}: {source}", .path.display())]
    File { step: &'static str, path: PathBuf, source: io::Error },
    #[error("the driver's program {}: {source}", .path.display())]
    Program { path: PathBuf, source: io::Error },
    #[error("{} is not a file: give the driver's program", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is in the way: it is not a directory; move it out of the way", .0.display())]
    InTheWay(PathBuf),
    #[error("{} holds files that are not the driver's program: {}; move them away first", .directory.display(), .files.join(", "))]
    ForeignFiles { directory: PathBuf, files: Vec<String> },
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// A driver on its way into a plugin directory.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    plugin_dir: &'a Path,
    name: &'a DriverName,
    lock: Lock,
}

impl<'a> Installation<'a> {
    /// Begins: makes the plugin directory if need be, keeps other installers out, cleans up behind one that crashed.
    ///
    /// # Errors
    /// [`InstallError`].
    pub(crate) fn begin(plugin_dir: &'a Path, name: &'a DriverName) -> Result<Self, InstallError> {
        atomic::create_directories(plugin_dir, 0o755)
            .map_err(failed("make the plugin directory", plugin_dir))?;
        let lock = Lock::acquire(&plugin_dir.join(".flexvol-install.lock"), Duration::from_secs(30))?;
        let installation = Self { plugin_dir, name, lock };
        match installation.clean() {
            Ok(()) => Ok(installation),
            Err(error) => {
                installation.lock.discard()?;
                Err(error)
            }
        }
    }

    /// The plugin directory in which the driver is built.
    pub(crate) fn staging(&self) -> PathBuf {
        self.plugin_dir.join(format!(".{}.tmp", self.name.directory()))
    }

    /// The driver's directory when it is in place.
    fn place(&self) -> PathBuf {
        self.plugin_dir.join(self.name.directory())
    }

    /// The program when it is in place.
    pub(crate) fn program(&self) -> PathBuf {
        self.place().join(self.name.executable())
    }

    /// Copies the program to where it can be tried, durably, mode 0755.
    ///
    /// # Errors
    /// [`InstallError`]; what was begun is cleaned up by [`Installation::end`].
    pub(crate) fn stage(&self, file: &Path) -> Result<(), InstallError> {
        let unreadable = |source| InstallError::Program { path: file.to_owned(), source };
        let mut source = File::open(file).map_err(unreadable)?;
        if !source.metadata().map_err(unreadable)?.is_file() {
            return Err(InstallError::NotAFile(file.to_owned()));
        }
        let directory = self.staging().join(self.name.directory());
        fs::create_dir_all(&directory).map_err(failed("make", &directory))?;
        let path = directory.join(self.name.executable());
        let mut options = File::options();
        let mut copy =
            options.write(true).create_new(true).mode(0o755).open(&path).map_err(failed("make", &path))?;
        failpoint::hit("install.created");
        io::copy(&mut source, &mut copy).map_err(failed("copy to", &path))?;
        // Whatever the umask says: a driver that only its installer can run is of no use.
        copy.set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed("set the mode of", &path))?;
        copy.sync_all().map_err(failed("write", &path))?;
        atomic::sync_directory(&directory).map_err(failed("write", &directory))?;
        failpoint::hit("install.staged");
        Ok(())
    }

    /// Puts what was staged into place, in one step.
    ///
    /// # Errors
    /// [`InstallError`]; what was in place is as it was.
    pub(crate) fn publish(&self) -> Result<Installed, InstallError> {
        let staged = self.staging().join(self.name.directory());
        let (place, program) = (self.place(), self.program());
        let staged_program = staged.join(self.name.executable());
        let installed = match fs::metadata(&place) {
            Ok(there) if !there.is_dir() => return Err(InstallError::InTheWay(place)),
            Ok(_) if program.is_dir() => return Err(InstallError::InTheWay(program)),
            Ok(_) if same_program(&staged_program, &program) => return Ok(Installed::Unchanged),
            Ok(_) => {
                fs::rename(&staged_program, &program).map_err(failed("rename into", &program))?;
                atomic::sync_directory(&place).map_err(failed("write", &place))?;
                Installed::Upgraded
            }
            Err(_) => {
                fs::rename(&staged, &place).map_err(failed("rename into", &place))?;
                Installed::New
            }
        };
        failpoint::hit("install.published");
        atomic::sync_directory(self.plugin_dir).map_err(failed("write", self.plugin_dir))?;
        Ok(installed)
    }

    /// Ends: deletes what was staged or hidden, lets other installers in.
    ///
    /// # Errors
    /// [`InstallError`].
    pub(crate) fn end(self) -> Result<(), InstallError> {
        let cleaned = self.clean();
        self.lock.discard()?;
        cleaned
    }

    /// Takes the driver away in one step; [`Installation::end`] deletes it.
    ///
    /// # Errors
    /// [`InstallError`], with nothing done, if there are files that are not the driver's.
    pub(crate) fn hide(&self) -> Result<(), InstallError> {
        let place = self.place();
        if !fs::symlink_metadata(&place).map_err(failed("look at", &place))?.is_dir() {
            return Err(InstallError::InTheWay(place));
        }
        refuse_foreign_files(&place, self.name)?;
        let hidden = self.hidden();
        fs::rename(&place, &hidden).map_err(failed("rename to", &hidden))?;
        atomic::sync_directory(self.plugin_dir).map_err(failed("write", self.plugin_dir))?;
        failpoint::hit("remove.hidden");
        Ok(())
    }

    fn hidden(&self) -> PathBuf {
        self.plugin_dir.join(format!(".{}.removed", self.name.directory()))
    }

    /// Deletes what this or an earlier installation or removal of the driver left under hidden names: the program and
    /// empty directories, nothing else.
    fn clean(&self) -> Result<(), InstallError> {
        let staging = self.staging();
        for directory in [staging.join(self.name.directory()), self.hidden()] {
            if !directory.is_dir() {
                continue;
            }
            refuse_foreign_files(&directory, self.name)?;
            let program = directory.join(self.name.executable());
            remove_if_there(fs::remove_file(&program)).map_err(failed("remove", &program))?;
            remove_if_there(fs::remove_dir(&directory)).map_err(failed("remove", &directory))?;
        }
        remove_if_there(fs::remove_dir(&staging)).map_err(failed("remove", &staging))?;
        atomic::sync_directory(self.plugin_dir).map_err(failed("write", self.plugin_dir))
    }
}

fn remove_if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn refuse_foreign_files(directory: &Path, name: &DriverName) -> Result<(), InstallError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        if entry.file_name() != name.executable() || entry.path().is_dir() {
            files.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files.sort();
    if files.is_empty() {
        return Ok(());
    }
    Err(InstallError::ForeignFiles { directory: directory.to_owned(), files })
}

/// Whether both are files with the same bytes, and the one in place may be executed by all. In doubt, no.
fn same_program(staged: &Path, there: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(there) else { return false };
    let executable = metadata.is_file() && metadata.permissions().mode() & 0o7777 == 0o755;
    executable && same_bytes(staged, there).unwrap_or(false)
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        one.by_ref().take(64 << 10).read_to_end(&mut left)?;
        other.by_ref().take(64 << 10).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { step, path, source }
}
