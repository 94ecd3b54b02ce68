//! Installing and removing drivers so that nobody who looks at the plugin directory ever sees half of one.
//!
//! A driver is built in `.VENDOR~DRIVER.tmp`, a plugin directory of its own under a name that hosts do not look at, its
//! `init` is tried there, and then it is put into place: a new one by renaming its directory, an upgrade by renaming
//! file after file, the program last. It is removed program first, because kubelet takes a rename for a change and would
//! ask the driver for ever. What is ours is written down before it is there, so that a crash leaves nothing behind that
//! the next installation or removal does not clean up.

pub(crate) mod bundle;
pub(crate) mod digest;
pub(crate) mod kubelet;
pub(crate) mod ledger;
pub(crate) mod pass;
pub(crate) mod plugin_dir;
pub(crate) mod removal;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_host::contract::{DriverName, NameError};
use flexvolume_host::os::lock::{Lock, LockError};
use flexvolume_host::os::{atomic, failpoint};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::bundle::{Bundle, Source};
use self::digest::Facts;
use self::ledger::{Entry, Ledger, Release};

/// What an installation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Installed {
    /// The driver is new.
    New,
    /// It replaced another program, or other files beside it.
    Upgraded,
    /// The same files were there already.
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
    #[error("the name of {} is not text", .0.display())]
    NotText(PathBuf),
    #[error("{} holds no program {program:?}", .directory.display())]
    NoProgram { directory: PathBuf, program: String },
    #[error("{} holds more directories or files than a driver has; is a link leading in circles?", .0.display())]
    TooMuch(PathBuf),
    #[error("{} has changed while it was copied: try again", .0.display())]
    SourceChanged(PathBuf),
    #[error("{} is in the way: it is not a directory; move it out of the way", .0.display())]
    InTheWay(PathBuf),
    #[error("{} holds other files than were installed: {}; move them away first", .directory.display(), .files.join(", "))]
    ForeignFiles { directory: PathBuf, files: Vec<String> },
    #[error("{} was not installed as it is now: move it away, or replace it with --force", .0.display())]
    Changed(PathBuf),
    #[error("{} is damaged ({why}): nobody knows any more what was installed; move it away, then install again", .path.display())]
    Ledger { path: PathBuf, why: String },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What is done about a file in place that was changed by hand, or by an installer that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// The program is replaced, for that is asked for; files beside it are not.
    KeepFiles,
    /// All are replaced.
    Replace,
}

/// A driver on its way into a plugin directory, or out of it.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    plugin_dir: &'a Path,
    name: &'a DriverName,
    ledger: Ledger,
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
        let ledger = match Ledger::read(plugin_dir) {
            Ok(ledger) => ledger,
            Err(error) => {
                lock.discard()?;
                return Err(error);
            }
        };
        let mut installation = Self { plugin_dir, name, ledger, lock };
        match installation.clean().and_then(|()| installation.settle()) {
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

    fn staged(&self) -> PathBuf {
        self.staging().join(self.name.directory())
    }

    /// The driver's directory when it is in place.
    fn place(&self) -> PathBuf {
        self.plugin_dir.join(self.name.directory())
    }

    /// The program when it is in place.
    pub(crate) fn program(&self) -> PathBuf {
        self.place().join(self.name.executable())
    }

    fn entry(&self) -> Entry {
        self.ledger.drivers.get(self.name).cloned().unwrap_or_default()
    }

    fn write_entry(&mut self, entry: Entry) -> Result<(), InstallError> {
        let before = self.ledger.drivers.get(self.name);
        if before == Some(&entry) || (before.is_none() && entry == Entry::default()) {
            return Ok(());
        }
        if entry == Entry::default() {
            self.ledger.drivers.remove(self.name);
        } else {
            self.ledger.drivers.insert(self.name.clone(), entry);
        }
        self.ledger.write(self.plugin_dir)?;
        failpoint::hit("install.written-down");
        Ok(())
    }

    /// Copies the files to where the driver can be tried, durably.
    ///
    /// # Errors
    /// [`InstallError`]; what was begun is cleaned up by [`Installation::end`].
    pub(crate) fn stage(&mut self, bundle: &Bundle, installed_by: &str) -> Result<(), InstallError> {
        let files =
            bundle.files.iter().map(|(place, source)| (place.clone(), source.facts.clone())).collect();
        let next =
            Release { installed_by: installed_by.to_owned(), version: None, capabilities: None, files };
        self.write_entry(Entry { next: Some(next), ..self.entry() })?;
        let directory = self.staged();
        fs::create_dir_all(&directory).map_err(failed("make", &directory))?;
        for (place, source) in &bundle.files {
            stage_file(source, &directory.join(place))?;
        }
        atomic::sync_directory(&directory).map_err(failed("write", &directory))?;
        failpoint::hit("install.staged");
        Ok(())
    }

    /// Adds what `init` said to what is written down of the driver that is staged.
    pub(crate) fn note(&mut self, note: impl FnOnce(&mut Release)) {
        if let Some(next) = self.ledger.drivers.get_mut(self.name).and_then(|entry| entry.next.as_mut()) {
            note(next);
        }
    }

    /// Puts what was staged into place. The program changes in one step.
    ///
    /// # Errors
    /// [`InstallError`]; the program in place is then as it was.
    pub(crate) fn publish(&mut self, strangers: Strangers) -> Result<Installed, InstallError> {
        let Entry { current, next: Some(next) } = self.entry() else { return Ok(Installed::Unchanged) };
        let place = self.place();
        let installed = match fs::metadata(&place) {
            Ok(there) if !there.is_dir() => return Err(InstallError::InTheWay(place)),
            Ok(_) if self.is_in_place(&next.files) => Installed::Unchanged,
            Ok(_) => {
                self.refuse_changed(&next, strangers)?;
                self.replace_files(&next)?;
                Installed::Upgraded
            }
            Err(_) => {
                let staged = self.staged();
                fs::rename(&staged, &place).map_err(failed("rename into", &place))?;
                Installed::New
            }
        };
        failpoint::hit("install.published");
        atomic::sync_directory(self.plugin_dir).map_err(failed("write", self.plugin_dir))?;
        if let Some(current) = &current {
            self.drop_files_without(&next, current)?;
        }
        self.write_entry(Entry { current: Some(next), next: None })?;
        Ok(installed)
    }

    fn is_in_place(&self, files: &BTreeMap<String, Facts>) -> bool {
        let place = self.place();
        files.iter().all(|(name, facts)| Facts::of(&place.join(name)).is_ok_and(|there| there == *facts))
    }

    /// The files beside the program that somebody else has put or changed.
    fn refuse_changed(&self, next: &Release, strangers: Strangers) -> Result<(), InstallError> {
        let (place, entry) = (self.place(), self.entry());
        for name in next.files.keys() {
            let path = place.join(name);
            match Facts::of(&path) {
                Ok(facts) => {
                    let ours = entry.owns(name, &facts) || name == self.name.executable();
                    if !ours && strangers == Strangers::KeepFiles {
                        return Err(InstallError::Changed(path));
                    }
                }
                Err(_) if path.is_dir() => return Err(InstallError::InTheWay(path)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// File after file, the program last: what it needs is there before it.
    fn replace_files(&self, next: &Release) -> Result<(), InstallError> {
        let (staged, place) = (self.staged(), self.place());
        let program = self.name.executable();
        let beside = next.files.keys().filter(|name| *name != program).map(String::as_str);
        for name in beside.chain([program]) {
            let path = place.join(name);
            let directory = path.parent().unwrap_or(&place);
            atomic::create_directories(directory, 0o755).map_err(failed("make", directory))?;
            fs::rename(staged.join(name), &path).map_err(failed("rename into", &path))?;
            atomic::sync_directory(directory).map_err(failed("write", directory))?;
            failpoint::hit("install.replaced");
        }
        Ok(())
    }

    /// Ends: cleans up what was staged, lets other installers in.
    ///
    /// # Errors
    /// [`InstallError`].
    pub(crate) fn end(mut self) -> Result<(), InstallError> {
        let cleaned = self.clean().and_then(|()| self.settle());
        self.lock.discard()?;
        cleaned
    }
}

/// Copies one file, durably, and makes sure that it is the one that was looked at.
fn stage_file(source: &Source, path: &Path) -> Result<(), InstallError> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).map_err(failed("make", directory))?;
    let mut from = File::open(&source.path).map_err(failed("open", &source.path))?;
    let mut options = File::options();
    let mut to = options
        .write(true)
        .create_new(true)
        .mode(0o700 & source.facts.mode)
        .open(path)
        .map_err(failed("make", path))?;
    failpoint::hit("install.created");
    let (sha256, _) = digest::copy(&mut from, &mut to).map_err(failed("copy to", path))?;
    if sha256 != source.facts.sha256 {
        return Err(InstallError::SourceChanged(source.path.clone()));
    }
    // Whatever the umask says.
    let mode = fs::Permissions::from_mode(source.facts.mode);
    to.set_permissions(mode).map_err(failed("set the mode of", path))?;
    to.sync_all().map_err(failed("write", path))
}

fn remove_if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(crate) fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { step, path, source }
}

#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod tests;
