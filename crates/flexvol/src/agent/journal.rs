//! What has happened, for people: a log line each, and the last few thousand in bounded files.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flexvolume_host::reconcile::VolumeKey;
use serde::{Deserialize, Serialize};

use super::calls::CallRecord;

/// A file has at most so many bytes before the next one is begun; one old file is kept.
const FILE_LIMIT: u64 = 2 << 20;
/// So many are at hand without reading files.
const RECENT: usize = 500;
/// A message is cut there: a driver may have said much.
const MESSAGE_LIMIT: usize = 4 << 10;

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// Counts the events of this agent's root.
    pub(crate) number: u64,
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
    /// The call-out, of a driver call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<String>,
    /// How the driver ended: `exit 1`, `signal 9`, `deadline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
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

    pub(super) fn of_call(record: CallRecord) -> Self {
        let event = match &record.volume {
            Some(key) => Self::of_volume("Call", key),
            None => Self::new("Call"),
        };
        let event = Self {
            driver: Some(record.driver),
            call: Some(record.verb),
            ended: Some(record.ended),
            ..event.saying(&record.stderr)
        };
        event.took(record.took)
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
    number: u64,
    recent: VecDeque<Event>,
}

/// The files of the journal in the agent's directory, the older one first.
pub(super) fn files(directory: &Path) -> [PathBuf; 2] {
    [directory.join("events.old.jsonl"), directory.join("events.jsonl")]
}

impl Journal {
    /// Goes on with the numbers of an earlier agent.
    pub(super) fn new(directory: &Path) -> Self {
        let [_, path] = files(directory);
        let number = read(directory).iter().map(|event| event.number).max().unwrap_or(0);
        Self { path, file: None, written: 0, failed: false, number, recent: VecDeque::new() }
    }

    /// Tells it. A full disk costs the event and nothing else.
    pub(super) fn tell(&mut self, mut event: Event) {
        event.time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        self.number += 1;
        event.number = self.number;
        log(&event);
        let kept = self.write(&event);
        if let (Err(error), false) = (&kept, self.failed) {
            tracing::warn!(%error, file = %self.path.display(), "events are not kept");
        }
        self.failed = kept.is_err();
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
    }

    /// The events after that number, the oldest first, as far as they are kept.
    pub(super) fn after(&self, number: u64) -> Vec<Event> {
        let first = self.recent.front().map_or(u64::MAX, |event| event.number);
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let older = if number + 1 < first { read(directory) } else { Vec::new() };
        let older = older.into_iter().filter(|event| event.number > number && event.number < first);
        let recent = self.recent.iter().filter(|event| event.number > number).cloned();
        older.chain(recent).collect()
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

fn log(event: &Event) {
    let (pod, volume) = (event.pod.as_deref(), event.volume.as_deref());
    let (driver, file) = (event.driver.as_deref(), event.file.as_deref());
    let Event { reason, message, call, ended, .. } = event;
    match (call, ended) {
        (Some(call), Some(ended)) => {
            tracing::debug!(
                pod,
                volume,
                driver,
                milliseconds = event.milliseconds,
                "{call}: {ended} {message}"
            );
        }
        _ if is_bad(reason) => tracing::warn!(pod, volume, driver, file, "{reason}: {message}"),
        _ => tracing::info!(pod, volume, driver, file, "{reason}: {message}"),
    }
}

fn is_bad(reason: &str) -> bool {
    ["Failed", "Broken", "Missing", "Invalid", "Sick"].iter().any(|word| reason.contains(word))
}

/// The events of the files, the oldest first; lines that are none are left out.
fn read(directory: &Path) -> Vec<Event> {
    let texts = files(directory).map(|file| std::fs::read_to_string(file).unwrap_or_default());
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_through_restarts_and_half_lines() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(directory.path());
        journal.tell(Event::new("One"));
        let [_, file] = files(directory.path());
        OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"number\": 9, \"rea").unwrap();
        let mut journal = Journal::new(directory.path());
        journal.tell(Event::new("Two").saying("words"));
        let told: Vec<_> = journal.after(0).into_iter().map(|event| (event.number, event.reason)).collect();
        assert_eq!(told, [(1, "One".to_owned()), (2, "Two".to_owned())]);
        assert_eq!(journal.after(1).len(), 1);
        assert_eq!(journal.after(7).len(), 0);
    }

    #[test]
    fn the_files_are_bounded_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(directory.path());
        let long = "x".repeat(2 * MESSAGE_LIMIT);
        for _ in 0..1500 {
            journal.tell(Event::new("Long").saying(&long));
        }
        for file in files(directory.path()) {
            let metadata = std::fs::metadata(&file).unwrap();
            assert!(metadata.len() <= FILE_LIMIT + 2 * MESSAGE_LIMIT as u64, "{}", metadata.len());
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
        }
        let events = journal.after(0);
        assert!(events.len() < 1500 && events.len() > RECENT, "{}", events.len());
        assert!(events.windows(2).all(|two| two[0].number + 1 == two[1].number));
        assert_eq!(events.last().unwrap().number, 1500);
    }
}
