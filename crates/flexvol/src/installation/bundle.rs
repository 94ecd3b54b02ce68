//! What is to be installed: a driver's program and the files beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use flexvolume_host::contract::DriverName;

use super::digest::{Facts, KnownFacts};
use super::ledger::Release;
use super::{InstallError, failed};

/// The most files that a driver may bring, its program included.
const MOST_FILES: usize = 10_000;

/// A driver before it is installed.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    pub(crate) name: DriverName,
    /// By their places below the driver's directory. The program is among them.
    pub(crate) files: BTreeMap<String, Source>,
}

/// A file of it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// With the mode that it will have.
    pub(crate) facts: Facts,
}

/// A driver of a directory, or why what is there is none.
pub(crate) type Found = Result<Bundle, (PathBuf, InstallError)>;

impl Bundle {
    /// A program alone.
    pub(crate) fn of_program(name: DriverName, file: &Path) -> Result<Self, InstallError> {
        let mut bundle = Self { name, files: BTreeMap::new() };
        let program = bundle.name.executable().to_owned();
        bundle.add(program, file, &mut KnownFacts::default()).map_err(|error| match error {
            InstallError::File { path, source, .. } => InstallError::Program { path, source },
            other => other,
        })?;
        Ok(bundle)
    }

    /// A driver's directory, laid out as it will be. Hidden files are left out; links are followed, since a ConfigMap
    /// shows its files as links.
    fn of_directory(
        name: DriverName,
        directory: &Path,
        known: &mut KnownFacts,
    ) -> Result<Self, InstallError> {
        let mut bundle = Self { name, files: BTreeMap::new() };
        bundle.add_directory("", directory, known)?;
        if bundle.files.contains_key(bundle.name.executable()) {
            return Ok(bundle);
        }
        let program = bundle.name.executable().to_owned();
        Err(InstallError::NoProgram { directory: directory.to_owned(), program })
    }

    /// All drivers in a directory: each directory `vendor~driver` in it, and, with a vendor, each file as that vendor's
    /// driver of the file's name.
    ///
    /// # Errors
    /// When the directory itself cannot be read.
    pub(crate) fn all_in(
        directory: &Path,
        vendor: Option<&str>,
        known: &mut KnownFacts,
    ) -> Result<Vec<Found>, InstallError> {
        let mut found = Vec::new();
        for (file_name, path) in visible_entries(directory)? {
            let bundle = if path.is_dir() {
                DriverName::from_directory(&file_name)
                    .map_err(InstallError::from)
                    .and_then(|name| Self::of_directory(name, &path, known))
            } else if let Some(vendor) = vendor {
                DriverName::parse(format!("{vendor}/{file_name}")).map_err(InstallError::from).and_then(
                    |name| {
                        let mut bundle = Self { name, files: BTreeMap::new() };
                        bundle.add(bundle.name.executable().to_owned(), &path, known)?;
                        Ok(bundle)
                    },
                )
            } else {
                continue;
            };
            found.push(bundle.map_err(|error| (path, error)));
        }
        Ok(found)
    }

    /// The facts of the program.
    pub(crate) fn program(&self) -> Option<&Facts> {
        self.files.get(self.name.executable()).map(|source| &source.facts)
    }

    /// Whether a release consists of the same files.
    pub(crate) fn has_files_of(&self, release: &Release) -> bool {
        let files = self.files.iter().map(|(place, source)| (place, &source.facts));
        files.eq(&release.files)
    }

    fn add_directory(
        &mut self,
        below: &str,
        directory: &Path,
        known: &mut KnownFacts,
    ) -> Result<(), InstallError> {
        // A link to a directory above would lead round in circles.
        if below.split('/').count() > 16 || self.files.len() > MOST_FILES {
            return Err(InstallError::TooMuch(directory.to_owned()));
        }
        for (file_name, path) in visible_entries(directory)? {
            if path.is_dir() {
                self.add_directory(&format!("{below}{file_name}/"), &path, known)?;
            } else {
                self.add(format!("{below}{file_name}"), &path, known)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, place: String, path: &Path, known: &mut KnownFacts) -> Result<(), InstallError> {
        let mut facts = known.of_target(path).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => InstallError::NotAFile(path.to_owned()),
            _ => failed("open", path)(error),
        })?;
        // Whatever the source says: a driver that only its installer can run is of no use. A file beside it may be for
        // the eyes of its owner only, and stays so.
        facts.mode = if place == self.name.executable() { 0o755 } else { facts.mode & 0o755 };
        self.files.insert(place, Source { path: path.to_owned(), facts });
        Ok(())
    }
}

fn visible_entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, InstallError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        let path = entry.path();
        match entry.file_name().into_string() {
            Ok(name) if name.starts_with('.') => {}
            Ok(name) => entries.push((name, path)),
            Err(_) => return Err(InstallError::NotText(path)),
        }
    }
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn directories_and_flat_files_are_drivers_and_the_rest_is_told() {
        let base = tempfile::tempdir().unwrap();
        let at = |below: &str| base.path().join(below);
        write(&at("a.b~c/c"), "c", 0o600);
        write(&at("a.b~c/lib/key"), "key", 0o600);
        write(&at("a.b~c/.hidden"), "", 0o600);
        write(&at("..data/flat"), "flat", 0o644);
        symlink("..data/flat", at("flat")).unwrap();
        fs::create_dir(at("a.b~none")).unwrap();
        fs::create_dir(at("Upper~x")).unwrap();
        let found = Bundle::all_in(base.path(), Some("v.w"), &mut KnownFacts::default()).unwrap();
        let words: Vec<String> = found
            .iter()
            .map(|found| match found {
                Ok(bundle) => {
                    let files = bundle.files.iter();
                    let files: Vec<_> =
                        files.map(|(place, source)| format!("{place} {:o}", source.facts.mode)).collect();
                    format!("{}: {}", bundle.name, files.join(", "))
                }
                Err((path, error)) => format!("{}: {}", path.file_name().unwrap().display(), error)
                    .replace(&base.path().display().to_string(), ""),
            })
            .collect();
        assert_eq!(words.len(), 4, "{words:?}");
        assert!(words[0].starts_with("Upper~x: driver name"), "{words:?}");
        assert_eq!(words[1], "a.b/c: c 755, lib/key 600");
        assert!(words[2].starts_with("a.b~none: /a.b~none holds no program \"none\""), "{words:?}");
        assert_eq!(words[3], "v.w/flat: flat 755");
        let without = Bundle::all_in(base.path(), None, &mut KnownFacts::default()).unwrap();
        assert_eq!(without.len(), 3);
    }

    #[test]
    fn a_circle_of_links_ends() {
        let base = tempfile::tempdir().unwrap();
        write(&base.path().join("a.b~c/c"), "c", 0o755);
        symlink(".", base.path().join("a.b~c/again")).unwrap();
        let found = Bundle::all_in(base.path(), None, &mut KnownFacts::default()).unwrap();
        assert!(matches!(found[..], [Err((_, InstallError::TooMuch(_)))]), "{found:?}");
    }
}
