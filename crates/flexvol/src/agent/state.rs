//! What the agent keeps on disk: which file asked for which pod, and that it is the only agent of this root.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_host::os::atomic;
use flexvolume_host::os::lock::{Lock, LockError};
use flexvolume_host::paths::state_dir;
use serde::{Deserialize, Serialize};

use super::manifests::{Memory, Owners};
use crate::failure::{Failure, REFUSED};

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// The agent's directory, which no other agent uses.
#[derive(Debug)]
pub(super) struct State {
    directory: PathBuf,
    owners: Owners,
    _only: Lock,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    /// The manifest file of each pod, by the pod's uid.
    pods: Owners,
}

/// The agent's directory below a root.
pub(super) fn directory(root: &Path) -> PathBuf {
    state_dir(root).join("agent")
}

impl State {
    /// Makes the directory and keeps other agents out.
    pub(super) fn open(root: &Path) -> Result<Self, Failure> {
        let directory = directory(root);
        atomic::create_directories(root, 0o750)?;
        atomic::create_directories(&directory, 0o700)?;
        let only = Lock::acquire(&directory.join("lock"), Duration::ZERO).map_err(|error| match error {
            LockError::Held { .. } => Failure::says(
                REFUSED,
                format_args!("another agent works below {}; end it first", root.display()),
            ),
            error => Failure::new(REFUSED, error),
        })?;
        Ok(Self { directory, owners: Owners::new(), _only: only })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What an earlier agent knew.
    pub(super) fn remember(&mut self) -> Memory {
        let file = self.directory.join("pods.json");
        let lost = |why: String| {
            Memory::Lost(format!(
                "{}: {why}; until all manifests are in order nothing is unmounted",
                file.display()
            ))
        };
        match std::fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::Known(Owners::new()),
            Err(error) => lost(error.to_string()),
            Ok(bytes) => match serde_json::from_slice::<Document>(&bytes) {
                Ok(document) if document.format == FORMAT => {
                    self.owners.clone_from(&document.pods);
                    Memory::Known(document.pods)
                }
                Ok(document) => lost(format!("has format {}, not {FORMAT}", document.format)),
                Err(error) => lost(error.to_string()),
            },
        }
    }

    /// Puts down which file asks for which pod, before anything is done for it.
    pub(super) fn keep(&mut self, owners: &Owners) -> io::Result<()> {
        if self.owners == *owners {
            return Ok(());
        }
        let document = Document { format: FORMAT, pods: owners.clone() };
        let bytes = serde_json::to_vec(&document).map_err(io::Error::from)?;
        atomic::write(&self.directory.join("pods.json"), &bytes)?;
        self.owners.clone_from(owners);
        Ok(())
    }
}
