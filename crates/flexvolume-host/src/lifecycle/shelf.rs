//! A directory of records, one file each.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvolume::{DriverName, PodUid, VolumeName};
use flexvolume_os::atomic;
use thiserror::Error;

use super::failure::{Failure, at};
use super::file_name;
use super::record::{self, Device, Illegible, Publish, Record};
use super::{Phase, UnreadableRecord};
use crate::paths;

const RECORD: &str = "json";
const SET_ASIDE: &str = "corrupt";
/// Why a record is not used that is under another name.
const WAS_SET_ASIDE: &str = "it was found damaged and set aside; remove it when its volume is in order";

/// A record that cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The system's error.
    #[error("{step} {}: {source}", .file.display())]
    File {
        /// `read record`, `write record` …
        step: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another version wrote it. It stays as it is.
    #[error("record {}: {why}", .file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// The formats, and what to do.
        why: String,
    },
    /// Its file holds the record of another volume.
    #[error("record {} is about volume {found}, not {wanted}; move it away", .file.display())]
    Other {
        /// The file.
        file: PathBuf,
        /// The volume that was looked for.
        wanted: VolumeName,
        /// The volume that it is about.
        found: VolumeName,
    },
}

/// The records of one kind in one directory.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    place: Arc<ShelfPlace>,
    kind: PhantomData<T>,
}

#[derive(Debug, PartialEq, Eq)]
struct ShelfPlace {
    root: PathBuf,
    directory: PathBuf,
}

/// A record that is kept on a shelf.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept<T> {
    pub(super) record: T,
    generation: u64,
    place: Arc<ShelfPlace>,
}

impl<T: Record> Kept<T> {
    /// How often it was written.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes the record, durably, before its step is begun.
    pub(super) fn save(&mut self) -> Result<(), RecordError> {
        let ShelfPlace { root, directory } = &*self.place;
        let (driver, volume) = self.record.key();
        let file = file_in(directory, driver, volume);
        let failed = |source| RecordError::File { step: "write record", file: file.clone(), source };
        let generation = self.generation.saturating_add(1);
        let bytes = record::encode(&self.record, generation).map_err(|error| failed(error.into()))?;
        let written = match atomic::write(&file, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(root, directory).and_then(|()| atomic::write(&file, &bytes))
            }
            written => written,
        };
        written.map_err(failed)?;
        self.generation = generation;
        Ok(())
    }

    /// Writes the record with the phase that is begun now.
    pub(super) fn advance(&mut self, phase: Phase) -> Result<(), Failure> {
        self.record.set_phase(phase);
        self.save().map_err(at("write the record"))
    }

    /// The same on the way back, which must not stop because the disk is full: the older record leads to the same end.
    pub(super) fn retreat(&mut self, phase: Phase) {
        if let Err(failure) = self.advance(phase) {
            tracing::warn!(%failure, "the record is not up to date");
        }
    }

    /// Puts a failure on record, for `status`; it is on its way to the caller, so trouble here is only logged.
    pub(super) fn note<V>(&mut self, result: Result<V, Failure>) -> Result<V, Failure> {
        if let Err(failure) = &result {
            self.record.set_error(failure.to_string());
            if let Err(error) = self.save() {
                tracing::warn!(%error, "a failure could not be put on record");
            }
        }
        result
    }

    /// Removes the record: everything is undone.
    pub(super) fn forget(&mut self) -> Result<(), Failure> {
        let (driver, volume) = self.record.key();
        let shelf = Shelf::<T> { place: Arc::clone(&self.place), kind: PhantomData };
        shelf.forget(driver, volume).map_err(at("remove the record"))?;
        self.generation = 0;
        Ok(())
    }
}

/// All records of a directory, and those that could not be used.
#[derive(Debug)]
pub(super) struct Inventory<T> {
    pub(super) records: Vec<Kept<T>>,
    pub(super) unreadable: Vec<UnreadableRecord>,
}

impl UnreadableRecord {
    /// Whether it is where records are looked for, so that its volume cannot be worked on.
    pub(super) fn is_in_the_way(&self) -> bool {
        is_record(&self.file)
    }
}

/// `<root>/flexvol/volumes`: the devices.
pub(super) fn devices(root: &Path) -> Shelf<Device> {
    Shelf::at(root, paths::state_dir(root).join("volumes"))
}

/// `<root>/flexvol/publishes`: a directory for each pod.
fn publishes_dir(root: &Path) -> PathBuf {
    paths::state_dir(root).join("publishes")
}

/// `<root>/flexvol/publishes/<uid>`: the volumes of a pod.
pub(super) fn publishes(root: &Path, pod: &PodUid) -> Shelf<Publish> {
    Shelf::at(root, publishes_dir(root).join(file_name::of_pod(pod)))
}

/// The records of all pods, one pod after the other.
pub(super) fn all_publishes(
    root: &Path,
) -> Result<impl Iterator<Item = Result<Inventory<Publish>, RecordError>>, RecordError> {
    let pods = entries(&publishes_dir(root))?.into_iter();
    Ok(pods.map(move |directory| Shelf::at(root, directory).inventory()))
}

impl<T: Record> Shelf<T> {
    fn at(root: &Path, directory: PathBuf) -> Self {
        Self { place: Arc::new(ShelfPlace { root: root.to_owned(), directory }), kind: PhantomData }
    }

    /// A record that was never written.
    pub(super) fn new_record(&self, record: T) -> Kept<T> {
        Kept { record, generation: 0, place: Arc::clone(&self.place) }
    }

    /// The record of a volume. A damaged one is set aside under another name, and counts as absent from then on.
    /// Only for those who hold the lock of the volume.
    pub(super) fn read(
        &self,
        driver: &DriverName,
        volume: &VolumeName,
    ) -> Result<Option<Kept<T>>, RecordError> {
        let file = file_in(&self.place.directory, driver, volume);
        match self.load(&file) {
            Ok(Some(kept)) if kept.record.key() != (driver, volume) => {
                let found = kept.record.key().1.clone();
                Err(RecordError::Other { file, wanted: volume.clone(), found })
            }
            Ok(kept) => Ok(kept),
            Err(Trouble::Illegible(Illegible::Damaged(_))) => set_aside(&file).map(|_| None),
            Err(Trouble::Illegible(newer)) => Err(RecordError::Format { file, why: newer.to_string() }),
            Err(Trouble::File(source)) => Err(RecordError::File { step: "read record", file, source }),
        }
    }

    /// Removes the directory if nothing is left in it.
    pub(super) fn remove_directory_if_empty(&self) {
        let _ = fs::remove_dir(&self.place.directory);
    }

    /// Whether there is no directory, and so no record.
    pub(super) fn is_gone(&self) -> bool {
        !self.place.directory.exists()
    }

    /// All records, without touching any.
    pub(super) fn inventory(&self) -> Result<Inventory<T>, RecordError> {
        let mut inventory = Inventory { records: Vec::new(), unreadable: Vec::new() };
        for file in entries(&self.place.directory)? {
            match self.sort(&file) {
                Ok(kept) => inventory.records.extend(kept),
                Err(why) => inventory.unreadable.push(UnreadableRecord { file, why }),
            }
        }
        Ok(inventory)
    }

    /// The record in a file, none if the file is none of ours, or why it is not used.
    fn sort(&self, file: &Path) -> Result<Option<Kept<T>>, String> {
        let name = name_of(file);
        if is_temporary(file) {
            Ok(None)
        } else if is_record(file) {
            self.load(file).map_err(|trouble| trouble.to_string())
        } else if name.contains(&format!(".{RECORD}.{SET_ASIDE}")) {
            Err(WAS_SET_ASIDE.to_owned())
        } else {
            Err("it is not a record; move it away".to_owned())
        }
    }

    fn load(&self, file: &Path) -> Result<Option<Kept<T>>, Trouble> {
        let bytes = match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let (record, generation) = record::decode(&bytes)?;
        Ok(Some(Kept { generation, ..self.new_record(record) }))
    }

    /// All records, with damaged ones set aside and what crashes have left of records that never came to be removed. Only
    /// for those who hold the lock of all volumes in the directory.
    pub(super) fn clean_inventory(&self) -> Result<Inventory<T>, RecordError> {
        let mut inventory = Inventory { records: Vec::new(), unreadable: Vec::new() };
        for file in entries(&self.place.directory)? {
            if is_temporary(&file) {
                fs::remove_file(&file).map_err(|source| RecordError::File {
                    step: "remove",
                    file,
                    source,
                })?;
                continue;
            }
            let sorted = match is_record(&file).then(|| self.load(&file)) {
                Some(Err(Trouble::Illegible(Illegible::Damaged(_)))) => {
                    let why = WAS_SET_ASIDE.to_owned();
                    inventory.unreadable.push(UnreadableRecord { file: set_aside(&file)?, why });
                    continue;
                }
                Some(loaded) => loaded.map_err(|trouble| trouble.to_string()),
                None => self.sort(&file),
            };
            match sorted {
                Ok(kept) => inventory.records.extend(kept),
                Err(why) => inventory.unreadable.push(UnreadableRecord { file, why }),
            }
        }
        Ok(inventory)
    }

    /// Removes what a crash may have left of the first record of a volume that has none.
    pub(super) fn forget(&self, driver: &DriverName, volume: &VolumeName) -> Result<(), RecordError> {
        let file = file_in(&self.place.directory, driver, volume);
        atomic::remove(&file).map_err(|source| RecordError::File { step: "remove record", file, source })
    }
}

/// The entries of a directory, sorted; none if it does not exist.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let failed = |source| RecordError::File { step: "list records in", file: directory.to_owned(), source };
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut entries = Vec::new();
    for entry in listing {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Makes a directory of ours: the root as kubelet makes it, what is ours for root alone.
pub(super) fn make_directory(root: &Path, directory: &Path) -> io::Result<()> {
    match atomic::create_directory(directory, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            atomic::create_directories(root, 0o750)?;
            atomic::create_directories(directory, 0o700)
        }
        made => made,
    }
}

/// Why there is no record in a file.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Illegible(#[from] Illegible),
}

fn name_of(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn is_record(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == RECORD) && !name_of(file).starts_with('.')
}

/// What [`atomic::write`] works on.
fn is_temporary(file: &Path) -> bool {
    name_of(file).starts_with('.') && name_of(file).ends_with(".tmp")
}

fn file_in(directory: &Path, driver: &DriverName, volume: &VolumeName) -> PathBuf {
    directory.join(format!("{}.{RECORD}", file_name::of_volume(driver, volume)))
}

/// Gives a damaged record another name, which it answers; earlier ones of the same name are kept as well.
fn set_aside(file: &Path) -> Result<PathBuf, RecordError> {
    let mut number = 1_u32;
    loop {
        let ending = if number == 1 { String::new() } else { format!(".{number}") };
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{SET_ASIDE}{ending}"));
        let aside = PathBuf::from(name);
        if fs::symlink_metadata(&aside).is_err() {
            let failed =
                |source| RecordError::File { step: "set aside record", file: file.to_owned(), source };
            fs::rename(file, &aside).map_err(failed)?;
            tracing::warn!(file = %aside.display(), "a damaged record was set aside");
            return Ok(aside);
        }
        number = number.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::device;
    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf<Device>) {
        let root = tempfile::tempdir().unwrap();
        let shelf = devices(root.path());
        (root, shelf)
    }

    fn read(shelf: &Shelf<Device>) -> Result<Option<Kept<Device>>, RecordError> {
        shelf.read(&device().driver, &device().volume)
    }

    fn the_file(shelf: &Shelf<Device>) -> PathBuf {
        file_in(&shelf.place.directory, &device().driver, &device().volume)
    }

    #[test]
    fn a_record_is_kept_with_its_generation_until_it_is_removed() {
        let (_root, shelf) = shelf();
        assert!(read(&shelf).unwrap().is_none());
        let mut kept = shelf.new_record(device());
        kept.save().unwrap();
        kept.save().unwrap();
        assert_eq!(kept.generation(), 2);
        let read_back = read(&shelf).unwrap().unwrap();
        assert_eq!((&read_back.record, read_back.generation()), (&device(), 2));
        kept.forget().unwrap();
        assert!(read(&shelf).unwrap().is_none());
        kept.forget().unwrap();
    }

    #[test]
    fn damaged_records_are_set_aside_one_after_another_and_shown() {
        let (_root, shelf) = shelf();
        for _ in 0..2 {
            shelf.new_record(device()).save().unwrap();
            fs::write(the_file(&shelf), b"{\"format\":1").unwrap();
            assert!(read(&shelf).unwrap().is_none());
        }
        let unreadable = shelf.inventory().unwrap().unreadable;
        let names: Vec<_> = unreadable.iter().map(|record| record.file.to_str().unwrap()).collect();
        assert!(names[0].ends_with(".json.corrupt") && names[1].ends_with(".json.corrupt.2"), "{names:?}");
    }

    #[test]
    fn a_record_of_another_format_is_refused_and_stays() {
        let (_root, shelf) = shelf();
        shelf.new_record(device()).save().unwrap();
        fs::write(the_file(&shelf), b"{\"format\":9}").unwrap();
        let error = read(&shelf).unwrap_err();
        assert!(matches!(error, RecordError::Format { .. }), "{error}");
        assert!(error.to_string().contains("format 9"), "{error}");
        assert_eq!(fs::read(the_file(&shelf)).unwrap(), b"{\"format\":9}");
        assert_eq!(shelf.inventory().unwrap().unreadable.len(), 1);
    }

    #[test]
    fn a_look_at_all_records_changes_none_not_even_damaged_ones() {
        let (_root, shelf) = shelf();
        shelf.new_record(device()).save().unwrap();
        fs::write(the_file(&shelf).with_file_name("x.json"), b"no").unwrap();
        fs::write(the_file(&shelf).with_file_name(".y.json.tmp"), b"half").unwrap();
        let inventory = shelf.inventory().unwrap();
        assert_eq!((inventory.records.len(), inventory.unreadable.len()), (1, 1));
        assert!(the_file(&shelf).with_file_name("x.json").exists());
    }

    #[test]
    fn a_record_in_the_wrong_file_is_not_believed() {
        let (_root, shelf) = shelf();
        shelf.new_record(device()).save().unwrap();
        let other = VolumeName::parse("pv-2").unwrap();
        fs::rename(the_file(&shelf), file_in(&shelf.place.directory, &device().driver, &other)).unwrap();
        let error = shelf.read(&device().driver, &other).unwrap_err();
        assert!(matches!(error, RecordError::Other { .. }), "{error}");
    }

    #[test]
    fn records_are_for_root_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (_root, shelf) = shelf();
        shelf.new_record(device()).save().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&the_file(&shelf)), mode(&shelf.place.directory)), (0o600, 0o700));
    }
}
