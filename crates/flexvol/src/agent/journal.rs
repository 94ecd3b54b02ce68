//! What has happened, for people: a log line each, and the last few thousand in bounded files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flexvolume_host::reconcile::VolumeKey;
use serde::{Deserialize, Serialize};

/// A file has at most so many bytes before the next one is begun; one old file is kept.
const FILE_LIMIT: u64 = 2 << 20;
/// A message is cut there: a driver may have said much.
const MESSAGE_LIMIT: usize = 4 << 10;

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// When, by the wall clock, in UTC.
    pub(crate) time: String,
    /// A word for programs, such as `Mounted` or `MountFailed`.
    pub(crate) reason: String,
    /// The pod's uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<String>,
    /// The volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) volume: Option<String>,
    /// The driver's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) driver: Option<String>,
    /// The manifest file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// What a person should read; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) milliseconds: Option<u64>,
}

impl Event {
    pub(super) fn new(reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Self::default() }
    }

    pub(super) fn of_volume(reason: &str, key: &VolumeKey) -> Self {
        Self {
            pod: Some(key.pod.to_string()),
            volume: Some(key.volume.to_string()),
            driver: Some(key.driver.to_string()),
            ..Self::new(reason)
        }
    }

    pub(super) fn saying(mut self, message: &str) -> Self {
        let end = message.floor_char_boundary(MESSAGE_LIMIT);
        message[..end].clone_into(&mut self.message);
        self
    }

    pub(super) fn took(mut self, duration: Duration) -> Self {
        self.milliseconds = u64::try_from(duration.as_millis()).ok();
        self
    }
}

/// The files.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    failed: bool,
}

/// The files of the journal in the agent's directory, the older one first.
pub(super) fn files(directory: &Path) -> [PathBuf; 2] {
    [directory.join("events.old.jsonl"), directory.join("events.jsonl")]
}

impl Journal {
    pub(super) fn new(directory: &Path) -> Self {
        let [_, path] = files(directory);
        Self { path, file: None, written: 0, failed: false }
    }

    /// Tells it. A full disk costs the event and nothing else.
    pub(super) fn tell(&mut self, mut event: Event) {
        event.time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let (pod, volume) = (event.pod.as_deref(), event.volume.as_deref());
        let (driver, file) = (event.driver.as_deref(), event.file.as_deref());
        if is_bad(&event.reason) {
            tracing::warn!(pod, volume, driver, file, "{}: {}", event.reason, event.message);
        } else {
            tracing::info!(pod, volume, driver, file, "{}: {}", event.reason, event.message);
        }
        let kept = self.write(&event);
        if let (Err(error), false) = (&kept, self.failed) {
            tracing::warn!(%error, file = %self.path.display(), "events are not kept");
        }
        self.failed = kept.is_err();
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.written > FILE_LIMIT {
            self.file = None;
            let [old, current] = files(self.path.parent().unwrap_or(Path::new("/")));
            std::fs::rename(current, old)?;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        file.write_all(&line)?;
        self.written += line.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    fn open(&mut self) -> io::Result<File> {
        let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let mut options = OpenOptions::new();
        let mut file =
            options.append(true).create(true).mode(0o600).custom_flags(no_link).open(&self.path)?;
        self.written = file.metadata()?.len();
        // A process that was killed may have left half a line.
        if self.written > 0 {
            file.write_all(b"\n")?;
        }
        Ok(file)
    }
}

fn is_bad(reason: &str) -> bool {
    ["Failed", "Broken", "Missing", "Invalid", "Sick"].iter().any(|word| reason.contains(word))
}
