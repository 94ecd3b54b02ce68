//! Every call of a driver, as it is made: what, for which volume, how it ended, how long it took.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use flexvolume_host::os::command::Command;
use flexvolume_host::os::runner::{Ended, Output, Runner, StartError};
use flexvolume_host::reconcile::VolumeKey;

use super::Message;

/// So much of the end of standard error is kept.
const TAIL: usize = 1 << 10;

thread_local! {
    /// The volume that this thread works on.
    static VOLUME: RefCell<Option<VolumeKey>> = const { RefCell::new(None) };
}

/// From now on this thread works on that volume.
pub(super) fn this_thread_works_on(key: &VolumeKey) {
    VOLUME.with(|volume| *volume.borrow_mut() = Some(key.clone()));
}

/// A call.
#[derive(Debug, Clone, Default)]
pub(super) struct CallRecord {
    pub(super) volume: Option<VolumeKey>,
    pub(super) driver: String,
    pub(super) verb: String,
    /// How it ended, in a few words.
    pub(super) ended: String,
    /// A bad exit, a signal, or a passed deadline.
    pub(super) failed: bool,
    pub(super) took: Duration,
    /// The end of what it wrote to standard error.
    pub(super) stderr: String,
}

/// Runs programs through another runner, and tells of those that are drivers.
pub(super) struct RecordingRunner {
    inner: Arc<dyn Runner>,
    messages: Sender<Message>,
    plugin_dirs: Vec<std::path::PathBuf>,
}

impl RecordingRunner {
    pub(super) fn new(
        inner: Arc<dyn Runner>,
        messages: Sender<Message>,
        plugin_dirs: Vec<std::path::PathBuf>,
    ) -> Self {
        Self { inner, messages, plugin_dirs }
    }

    /// `vendor/driver`, if the program is one: its directory says so.
    fn driver_of(&self, command: &Command) -> Option<String> {
        let directory = command.program().parent()?;
        let is_driver = self.plugin_dirs.iter().any(|plugin_dir| directory.parent() == Some(plugin_dir));
        let name = flexvolume_host::contract::DriverName::from_directory(directory.file_name()?.to_str()?);
        name.ok().filter(|_| is_driver).map(|name| name.to_string())
    }
}

impl Runner for RecordingRunner {
    fn run(&self, command: &Command) -> Result<Output, StartError> {
        let begun = Instant::now();
        let result = self.inner.run(command);
        if let Some(driver) = self.driver_of(command) {
            let record = CallRecord {
                volume: VOLUME.with(|volume| volume.borrow().clone()),
                driver,
                verb: command.raw_arguments().next().unwrap_or_default().to_string_lossy().into_owned(),
                took: begun.elapsed(),
                ..ended(&result, carries_secret(command))
            };
            // Nobody listens any more: the process ends.
            let _ = self.messages.send(Message::Called(Box::new(record)));
        }
        result
    }
}

/// A driver that was given a secret may have printed it.
fn carries_secret(command: &Command) -> bool {
    command.raw_arguments().zip(command.shown_arguments()).any(|(raw, shown)| raw != shown)
}

fn ended(result: &Result<Output, StartError>, secret: bool) -> CallRecord {
    let (ended, failed, stderr) = match result {
        Err(error) => (error.to_string(), true, String::new()),
        Ok(output) => {
            let (words, failed) = match output.ended {
                Ended::Exited(code) => (format!("exit {code}"), code != 0),
                Ended::Signaled(signal) => (format!("signal {signal}"), true),
                Ended::TimedOut => ("deadline".to_owned(), true),
            };
            let stderr = if secret && !output.stderr.bytes.is_empty() {
                "(not shown: the call carried a secret)".to_owned()
            } else {
                tail(&output.stderr.bytes)
            };
            (words, failed, stderr)
        }
    };
    CallRecord { ended, failed, stderr, ..CallRecord::default() }
}

fn tail(bytes: &[u8]) -> String {
    let end = &bytes[bytes.len().saturating_sub(TAIL)..];
    String::from_utf8_lossy(end).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use flexvolume_host::os::runner::SystemRunner;

    use super::*;

    fn record_of(directory: &str, secret: bool) -> Option<CallRecord> {
        let place = tempfile::tempdir().unwrap();
        let (messages, inbox) = channel();
        let runner = RecordingRunner::new(Arc::new(SystemRunner), messages, vec![place.path().to_owned()]);
        let program = place.path().join(directory).join("driver");
        std::fs::create_dir(program.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let command =
            Command::new(program, Duration::from_secs(20)).argument("-c").argument("echo $0 >&2; exit 3");
        let command = if secret { command.secret_argument("hunter2") } else { command.argument("plain") };
        runner.run(&command).unwrap();
        match inbox.try_recv() {
            Ok(Message::Called(record)) => Some(*record),
            _ => None,
        }
    }

    #[test]
    fn a_driver_s_call_is_told_with_its_end() {
        let record = record_of("example.com~driver", false).unwrap();
        assert_eq!((record.driver.as_str(), record.verb.as_str()), ("example.com/driver", "-c"));
        assert_eq!((record.ended.as_str(), record.failed, record.stderr.as_str()), ("exit 3", true, "plain"));
    }

    #[test]
    fn what_a_call_with_a_secret_printed_is_not_kept() {
        let record = record_of("example.com~driver", true).unwrap();
        assert!(!format!("{record:?}").contains("hunter2"), "{record:?}");
    }

    #[test]
    fn other_programs_are_not_told() {
        assert!(record_of("-", false).is_none());
    }
}
