//! The files of a hand-over.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flexvolume_os::atomic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Attachment, Desired, FORMAT, Reported};
use crate::lifecycle::{node_file_name, volume_file_name};

/// A file is not read further: ours have a few hundred bytes and the volume's options.
const LONGEST: u64 = 1 << 20;

/// A file of a hand-over cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// The system's error.
    #[error("{step} {}: {source}", .file.display())]
    File {
        /// `read`, `write` …
        step: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is damaged, or another version wrote it, or it is about something else. It stays as it is.
    #[error("{}: {why}; find out who wrote it, and move it away if it is of no use", .file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// Where they are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

/// What is common to both files.
trait Content: Serialize + DeserializeOwned {
    fn format(&self) -> u32;
    fn of(&self) -> &Attachment;
}

impl Content for Desired {
    fn format(&self) -> u32 {
        self.format
    }
    fn of(&self) -> &Attachment {
        &self.of
    }
}

impl Content for Reported {
    fn format(&self) -> u32 {
        self.format
    }
    fn of(&self) -> &Attachment {
        &self.of
    }
}

/// Whose file.
#[derive(Debug, Clone, Copy)]
enum Side {
    Desired,
    Reported,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Desired => "desired",
            Side::Reported => "reported",
        }
    }
}

impl Files {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn desired(&self, of: &Attachment) -> Result<Option<Desired>, HandOverError> {
        read_of(&self.file(of, Side::Desired), of)
    }

    pub(super) fn reported(&self, of: &Attachment) -> Result<Option<Reported>, HandOverError> {
        read_of(&self.file(of, Side::Reported), of)
    }

    pub(super) fn write_desired(&self, desired: &Desired) -> Result<(), HandOverError> {
        write(&self.file(&desired.of, Side::Desired), desired)
    }

    pub(super) fn write_reported(&self, reported: &Reported) -> Result<(), HandOverError> {
        write(&self.file(&reported.of, Side::Reported), reported)
    }

    pub(super) fn remove_desired(&self, of: &Attachment) -> Result<(), HandOverError> {
        remove(&self.file(of, Side::Desired))
    }

    pub(super) fn remove_reported(&self, of: &Attachment) -> Result<(), HandOverError> {
        remove(&self.file(of, Side::Reported))
    }

    pub(super) fn reports_changed(&self, node: &str) -> Option<SystemTime> {
        let place = self.directory.join(node_file_name(node)).join(Side::Reported.name());
        fs::metadata(place).and_then(|metadata| metadata.modified()).ok()
    }

    /// The directories of all nodes. Of a node whose wishes cannot be listed nothing is known.
    pub(super) fn nodes(&self) -> Result<Vec<PathBuf>, HandOverError> {
        let listing = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing.map_err(failed("list", &self.directory))?,
        };
        let directories = listing.flatten().map(|entry| entry.path()).filter(|place| place.is_dir());
        Ok(directories.collect())
    }

    /// When the wishes of any node have changed last, one entry for each node.
    pub(super) fn wishes_changed(&self) -> Vec<Option<SystemTime>> {
        let changed = |node: &PathBuf| {
            fs::metadata(node.join(Side::Desired.name())).and_then(|metadata| metadata.modified()).ok()
        };
        self.nodes().unwrap_or_default().iter().map(changed).collect()
    }

    /// What a node's volumes are, and the files that cannot be used.
    pub(super) fn of_node(
        &self,
        node: &Path,
    ) -> Result<(BTreeSet<Attachment>, Vec<HandOverError>), HandOverError> {
        let (mut found, mut unusable) = (BTreeSet::new(), Vec::new());
        let wishes = names(&node.join(Side::Desired.name()))?;
        for file in &wishes {
            take::<Desired>(self, (file, Side::Desired), (&mut found, &mut unusable));
        }
        // The report comes into being after the wish.
        let reports = node.join(Side::Reported.name());
        for file in if reports.is_dir() { names(&reports)? } else { Vec::new() } {
            take::<Reported>(self, (&file, Side::Reported), (&mut found, &mut unusable));
        }
        Ok((found, unusable))
    }

    fn file(&self, of: &Attachment, side: Side) -> PathBuf {
        let name = format!("{}.json", volume_file_name(&of.driver, &of.volume));
        self.directory.join(node_file_name(&of.node)).join(side.name()).join(name)
    }
}

/// Adds what a file is about, if it is in its place.
fn take<C: Content>(
    files: &Files,
    (file, side): (&Path, Side),
    (found, unusable): (&mut BTreeSet<Attachment>, &mut Vec<HandOverError>),
) {
    match read::<C>(file) {
        Ok(Some(content)) if files.file(content.of(), side) == file => {
            found.insert(content.of().clone());
        }
        Ok(Some(_)) => unusable.push(misplaced(file)),
        Ok(None) => {}
        Err(error) => unusable.push(error),
    }
}

fn names(directory: &Path) -> Result<Vec<PathBuf>, HandOverError> {
    let listing = fs::read_dir(directory).map_err(failed("list", directory))?;
    let files = listing.flatten().map(|entry| entry.path());
    Ok(files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect())
}

fn failed(step: &'static str, file: &Path) -> impl FnOnce(io::Error) -> HandOverError {
    let file = file.to_owned();
    move |source| HandOverError::File { step, file, source }
}

fn misplaced(file: &Path) -> HandOverError {
    HandOverError::Format { file: file.to_owned(), why: "is about another volume or node".to_owned() }
}

fn read_of<C: Content>(file: &Path, of: &Attachment) -> Result<Option<C>, HandOverError> {
    let content: Option<C> = read(file)?;
    match content {
        Some(content) if content.of() != of => Err(misplaced(file)),
        content => Ok(content),
    }
}

fn read<C: Content>(file: &Path) -> Result<Option<C>, HandOverError> {
    let mut bytes = Vec::new();
    let read = match fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.and_then(|opened| opened.take(LONGEST).read_to_end(&mut bytes)),
    };
    read.map_err(failed("read", file))?;
    let wrong = |why: String| HandOverError::Format { file: file.to_owned(), why };
    let content: C = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("is damaged: {error}")))?;
    if content.format() != FORMAT {
        return Err(wrong(format!("has format {}, and this version knows {FORMAT}", content.format())));
    }
    Ok(Some(content))
}

fn write<C: Content>(file: &Path, content: &C) -> Result<(), HandOverError> {
    let bytes =
        serde_json::to_vec(content).map_err(|error| failed("write", file)(io::Error::other(error)))?;
    if let Some(directory) = file.parent() {
        atomic::create_directories(directory, 0o700).map_err(failed("make", directory))?;
    }
    atomic::write(file, &bytes).map_err(failed("write", file))
}

fn remove(file: &Path) -> Result<(), HandOverError> {
    match file.parent().map(Path::exists) {
        Some(true) => atomic::remove(file).map_err(failed("remove", file)),
        _ => Ok(()),
    }
}
