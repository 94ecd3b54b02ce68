//! One look at the plugin directories: which drivers are where, and in which version. Nothing is run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use flexvolume::DriverName;

use super::changes::{Changes, Interest};
use super::slot::Stamp;
use super::{Broken, Shadowed};

/// What a look brought.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The drivers, each where it is found first.
    pub(super) drivers: BTreeMap<DriverName, Sight>,
    /// Drivers that another one of the same name hides.
    pub(super) shadowed: Vec<Shadowed>,
    /// Plugin directories that cannot be read, directories whose names no driver can have.
    pub(super) broken: Vec<Broken>,
}

/// What is in the place of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// Its program.
    Program(Stamp),
    /// Its directory, but no program that could be looked at.
    NoProgram {
        /// The directory.
        directory: PathBuf,
        /// Why there is none.
        why: String,
    },
}

impl Look {
    /// Looks at these plugin directories, the first one wins, and leaves watches of all that mattered.
    pub(super) fn at(plugin_dirs: &[PathBuf], changes: &mut Changes) -> Self {
        let mut look = Self::default();
        changes.begin_look();
        for plugin_dir in plugin_dirs {
            // Watched before it is read: what comes in between is seen twice rather than never.
            watch_plugin_dir(plugin_dir, changes);
            let found = match driver_directories(plugin_dir) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    look.broken.push(Broken { directory: plugin_dir.clone(), why: unreadable(&error) });
                    continue;
                }
            };
            for (file_name, directory) in found {
                match DriverName::from_directory(&file_name) {
                    Ok(name) => look.add(name, directory, changes),
                    Err(error) => look.broken.push(Broken { directory, why: error.to_string() }),
                }
            }
        }
        changes.end_look();
        look
    }

    fn add(&mut self, name: DriverName, directory: PathBuf, changes: &mut Changes) {
        changes.watch(&directory, Interest::name(name.executable()));
        let program = directory.join(name.executable());
        watch_target(&program, changes);
        let sight = match Stamp::of(&program) {
            Ok(stamp) => Sight::Program(stamp),
            Err(error) => Sight::NoProgram { why: no_program(&name, &error), directory },
        };
        match (self.drivers.get(&name), &sight) {
            (None | Some(Sight::NoProgram { .. }), Sight::Program(_)) | (None, _) => {
                self.drivers.insert(name, sight);
            }
            (Some(Sight::Program(winner)), Sight::Program(hidden)) => {
                let (directory, by) = (hidden.directory().to_owned(), winner.directory().to_owned());
                self.shadowed.push(Shadowed { name, directory, by });
            }
            (Some(_), Sight::NoProgram { .. }) => {}
        }
    }
}

/// The directory, or, where it is missing, the nearest one above that could bring it.
fn watch_plugin_dir(plugin_dir: &Path, changes: &mut Changes) {
    changes.watch(plugin_dir, Interest::All);
    let mut below = plugin_dir;
    while let (Some(above), Some(name)) = (below.parent(), below.file_name()) {
        changes.watch(above, Interest::name(name));
        if above.is_dir() {
            break;
        }
        below = above;
    }
}

/// A program that is a link changes where the link leads.
fn watch_target(program: &Path, changes: &mut Changes) {
    if !program.is_symlink() {
        return;
    }
    if let Ok(target) = program.canonicalize()
        && let (Some(directory), Some(name)) = (target.parent(), target.file_name())
    {
        changes.watch(directory, Interest::name(name));
    }
}

/// The directories in a plugin directory that may be drivers: hidden ones are an installer's work in progress.
pub(super) fn driver_directories(plugin_dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(plugin_dir)? {
        let entry = entry?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        if !file_name.starts_with('.') && entry.path().is_dir() {
            found.push((file_name, entry.path()));
        }
    }
    Ok(found)
}

/// Why a plugin directory brings no drivers.
pub(super) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotADirectory => "it is not a directory: give a plugin directory".to_owned(),
        _ => format!("it cannot be read ({error}): drivers in it are not found"),
    }
}

/// Why a driver's directory holds no driver.
pub(super) fn no_program(name: &DriverName, error: &io::Error) -> String {
    if error.kind() == ErrorKind::NotFound {
        format!("it holds no program {:?}; an installer may be at work", name.executable())
    } else {
        format!("its program {:?}: {error}", name.executable())
    }
}
