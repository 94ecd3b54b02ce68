//! What the bridge remembers of its own doings: one small JSON file each, written before the act.
//!
//! The host library has records of what drivers did. These say for whom: which target belongs to which volume, and
//! what was asked for, so that a repeated call is told from another one. They never hold a secret.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flexvolume_host::os::atomic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tonic::Status;

/// A record cannot be read or written.
#[derive(Debug, Error)]
#[error("{step} {}: {source}", .file.display())]
pub struct BookError {
    step: &'static str,
    file: PathBuf,
    source: io::Error,
}

impl From<BookError> for Status {
    fn from(error: BookError) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// What a record is found by.
pub(crate) trait Entry: Clone + Serialize + DeserializeOwned {
    /// Unique among the entries of a book.
    fn key(&self) -> String;
}

/// Records of one kind: all in memory, each in a file.
#[derive(Debug)]
pub(crate) struct Book<E> {
    directory: PathBuf,
    entries: Mutex<BTreeMap<String, E>>,
}

impl<E> Default for Book<E> {
    /// An empty one in no directory.
    fn default() -> Self {
        Self { directory: PathBuf::new(), entries: Mutex::default() }
    }
}

impl<E: Entry> Book<E> {
    /// Opens the book in `directory`, which is made if need be. A file that cannot be read is set aside, with a warning:
    /// what it was about is found by the paths in the next call.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, BookError> {
        atomic::create_directories(&directory, 0o700).map_err(failed("make the directory", &directory))?;
        let mut entries = BTreeMap::new();
        let listing = fs::read_dir(&directory).map_err(failed("list", &directory))?;
        for file in listing.flatten().map(|file| file.path()) {
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = fs::read(&file).map_err(failed("read", &file))?;
            match serde_json::from_slice::<E>(&bytes) {
                Ok(entry) => drop(entries.insert(entry.key(), entry)),
                Err(error) => set_aside(&file, &error),
            }
        }
        Ok(Self { directory, entries: Mutex::new(entries) })
    }

    /// The entry of this key.
    pub(crate) fn get(&self, key: &str) -> Option<E> {
        self.entries().get(key).cloned()
    }

    /// All of them that fit.
    pub(crate) fn find(&self, fits: impl Fn(&E) -> bool) -> Vec<E> {
        self.entries().values().filter(|entry| fits(entry)).cloned().collect()
    }

    /// Puts an entry down, durably, in the place of one of the same key.
    pub(crate) fn put(&self, entry: E) -> Result<(), BookError> {
        let key = entry.key();
        let file = self.file(&key);
        let bytes =
            serde_json::to_vec(&entry).map_err(|error| failed("write", &file)(io::Error::other(error)))?;
        atomic::write(&file, &bytes).map_err(failed("write", &file))?;
        self.entries().insert(key, entry);
        Ok(())
    }

    /// Forgets an entry.
    pub(crate) fn remove(&self, key: &str) -> Result<(), BookError> {
        if self.entries().contains_key(key) {
            let file = self.file(key);
            atomic::remove(&file).map_err(failed("remove", &file))?;
            self.entries().remove(key);
        }
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, E>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{}.json", short_digest(key)))
    }
}

fn failed(step: &'static str, file: &Path) -> impl FnOnce(io::Error) -> BookError {
    let file = file.to_owned();
    move |source| BookError { step, file, source }
}

fn set_aside(file: &Path, error: &serde_json::Error) {
    tracing::warn!(file = %file.display(), %error, "a record is damaged and set aside");
    let _ = fs::rename(file, file.with_extension("corrupt"));
}

/// Any text as 32 characters that are safe in a file name.
pub(crate) fn short_digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
