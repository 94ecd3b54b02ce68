//! Taking a driver away, and what a crash left. Nothing is deleted that was not installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flexvolume_host::os::{atomic, failpoint};

use super::digest::Facts;
use super::ledger::{Entry, Release};
use super::{InstallError, Installation, failed, remove_if_there};

/// Whose program may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Any: the driver was named by a person.
    Any,
    /// Only one that was installed as it is.
    Ours,
}

impl Installation<'_> {
    /// Takes the driver away: its program first, then the files that were installed beside it. `Err` with nothing done
    /// if there are other files. One that is half gone is fine.
    ///
    /// # Errors
    /// [`InstallError`].
    pub(crate) fn remove(mut self, whose: Program) -> Result<(), InstallError> {
        let removed = self.take_away(whose);
        let ended = self.end();
        removed?;
        ended
    }

    fn take_away(&mut self, whose: Program) -> Result<(), InstallError> {
        let place = self.place();
        match fs::symlink_metadata(&place) {
            Ok(there) if !there.is_dir() => return Err(InstallError::InTheWay(place)),
            Ok(_) => self.remove_files(&place, whose)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", &place)(error)),
        }
        self.write_entry(Entry::default())
    }

    fn remove_files(&self, place: &Path, whose: Program) -> Result<(), InstallError> {
        let entry = self.entry();
        let program = self.name.executable();
        let foreign = foreign_files(place, |name, path| {
            if path.is_dir() {
                return entry.fills(name);
            }
            let named = name == program && whose == Program::Any;
            named || Facts::of(path).is_ok_and(|facts| entry.owns(name, &facts))
        })?;
        refuse(place, foreign)?;
        let path = place.join(program);
        remove_if_there(fs::remove_file(&path)).map_err(failed("remove", &path))?;
        atomic::sync_directory(place).map_err(failed("write", place))?;
        failpoint::hit("remove.program");
        remove_places(place, entry.places().map(String::as_str))?;
        remove_if_there(fs::remove_dir(place)).map_err(failed("remove", place))?;
        atomic::sync_directory(self.plugin_dir).map_err(failed("write", self.plugin_dir))?;
        failpoint::hit("remove.removed");
        Ok(())
    }

    /// Deletes what this or an earlier installation of the driver has left where it was staged.
    pub(super) fn clean(&self) -> Result<(), InstallError> {
        let (staging, staged) = (self.staging(), self.staged());
        if !staging.is_dir() {
            return Ok(());
        }
        if staged.is_dir() {
            let entry = self.entry();
            let mut ours: BTreeSet<&str> = entry.places().map(String::as_str).collect();
            ours.insert(self.name.executable());
            let foreign =
                foreign_files(
                    &staged,
                    |name, path| {
                        if path.is_dir() { entry.fills(name) } else { ours.contains(name) }
                    },
                )?;
            refuse(&staged, foreign)?;
            remove_places(&staged, ours.into_iter())?;
            remove_if_there(fs::remove_dir(&staged)).map_err(failed("remove", &staged))?;
        }
        remove_if_there(fs::remove_dir(&staging)).map_err(failed("remove", &staging))?;
        atomic::sync_directory(self.plugin_dir).map_err(failed("write", self.plugin_dir))
    }

    /// After an installation that did not reach its end: writes down what of both versions is in place.
    pub(super) fn settle(&mut self) -> Result<(), InstallError> {
        let Entry { current, next: Some(next) } = self.entry() else { return Ok(()) };
        if self.is_in_place(&next.files) && current.is_none() {
            return self.write_entry(Entry { current: Some(next), next: None });
        }
        let place = self.place();
        let entry = Entry { current: current.clone(), next: Some(next.clone()) };
        let mut files = BTreeMap::new();
        for name in entry.places() {
            if let Ok(facts) = Facts::of(&place.join(name))
                && entry.owns(name, &facts)
            {
                files.insert(name.clone(), facts);
            }
        }
        if files.is_empty() && current.is_none() {
            return self.write_entry(Entry::default());
        }
        // The program decides which version it is.
        let program = files.get(self.name.executable());
        let is_next = program.is_some() && program == next.files.get(self.name.executable());
        let of = if is_next { next } else { current.unwrap_or(next) };
        self.write_entry(Entry { current: Some(Release { files, ..of }), next: None })
    }

    /// Deletes the files of the version before that the new one does not have; those that were changed stay.
    pub(super) fn drop_files_without(&self, next: &Release, current: &Release) -> Result<(), InstallError> {
        let place = self.place();
        let dropped = current.files.iter().filter(|(name, facts)| {
            let there = Facts::of(&place.join(name));
            !next.files.contains_key(*name) && there.is_ok_and(|there| there.sha256 == facts.sha256)
        });
        remove_places(&place, dropped.map(|(name, _)| name.as_str()))
    }
}

/// Removes files, and the directories below `directory` that held them, if they are empty then.
fn remove_places<'a>(directory: &Path, places: impl Iterator<Item = &'a str>) -> Result<(), InstallError> {
    let mut above = BTreeSet::new();
    for place in places {
        let path = directory.join(place);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotADirectory => {
                remove_if_there(Err(error)).map_err(failed("remove", &path))?;
            }
            _ => failpoint::hit("remove.file"),
        }
        above.extend(Path::new(place).ancestors().skip(1).map(Path::to_owned));
    }
    // The deepest ones first.
    for place in above.iter().rev().filter(|place| !place.as_os_str().is_empty()) {
        // One that is not empty holds somebody else's files.
        let _ = fs::remove_dir(directory.join(place));
    }
    Ok(())
}

/// The files and empty directories below a directory that are not ours. Other file systems are not entered: what is mounted is not ours.
fn foreign_files(directory: &Path, ours: impl Fn(&str, &Path) -> bool) -> Result<Vec<String>, InstallError> {
    let device = fs::symlink_metadata(directory).map_err(failed("look at", directory))?.dev();
    let mut foreign = Vec::new();
    let mut left = vec![(String::new(), directory.to_owned())];
    while let Some((below, directory)) = left.pop() {
        for (name, path) in entries(&directory)? {
            let place = format!("{below}{name}");
            let metadata = fs::symlink_metadata(&path).map_err(failed("look at", &path))?;
            let mounted = metadata.dev() != device;
            if metadata.is_dir() && !mounted && !entries(&path)?.is_empty() {
                left.push((format!("{place}/"), path));
            } else if mounted || !ours(&place, &path) {
                foreign.push(place);
            }
        }
    }
    foreign.sort();
    Ok(foreign)
}

fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, InstallError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(entries)
}

fn refuse(directory: &Path, files: Vec<String>) -> Result<(), InstallError> {
    if files.is_empty() {
        return Ok(());
    }
    Err(InstallError::ForeignFiles { directory: directory.to_owned(), files })
}
