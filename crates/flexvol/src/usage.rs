//! How full volumes are, asked so that one that does not answer holds nobody up.
//!
//! `statfs` on a file system whose server is gone may not come back. So another process asks, which is ended at its
//! deadline: this program again, as the hidden command `statfs`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flexvolume_host::os::command::Command;
use flexvolume_host::os::runner::{Ended, Runner};
use flexvolume_host::plugin::Metrics;
use thiserror::Error;

/// How long a volume may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many volumes are asked at a time: a dead server may have many.
const AT_A_TIME: usize = 8;

/// Why there are no figures of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NoFigures {
    /// The driver says that the figures of the mount dir are not the volume's.
    #[error("the driver does not declare supportsMetrics")]
    NotSupported,
    /// The driver is not there.
    #[error("{0}")]
    NoDriver(String),
    /// It is not mounted.
    #[error("not mounted")]
    NotMounted,
    /// Too late.
    #[error("no answer within {}", humantime::format_duration(PATIENCE))]
    NoAnswer,
    /// It answered with an error, or the process could not be had.
    #[error("{0}")]
    Failed(String),
}

/// Asks for the figures of file systems through processes of their own.
pub(crate) struct Surveyor<'a> {
    runner: &'a dyn Runner,
    worker: PathBuf,
}

impl<'a> Surveyor<'a> {
    /// One that starts this program again.
    pub(crate) fn new(runner: &'a dyn Runner) -> Self {
        Self { runner, worker: "/proc/self/exe".into() }
    }

    /// The figures of the file system at a directory.
    ///
    /// # Errors
    /// [`NoFigures`].
    pub(crate) fn figures(&self, directory: &Path) -> Result<Metrics, NoFigures> {
        let command = Command::new(&self.worker, PATIENCE).argument("statfs").argument(directory);
        let output = self.runner.run(&command).map_err(|error| NoFigures::Failed(error.to_string()))?;
        match output.ended {
            Ended::TimedOut => Err(NoFigures::NoAnswer),
            Ended::Exited(0) => serde_json::from_slice(&output.stdout.bytes)
                .map_err(|error| NoFigures::Failed(format!("the worker's answer cannot be read: {error}"))),
            _ => Err(NoFigures::Failed(String::from_utf8_lossy(&output.stderr.bytes).trim().to_owned())),
        }
    }

    /// The figures of several, a few at a time, in the same order. What is an error already stays it.
    pub(crate) fn all(&self, directories: &[Result<&Path, NoFigures>]) -> Vec<Result<Metrics, NoFigures>> {
        let (next, found) =
            (AtomicUsize::new(0), Mutex::new(vec![Err(NoFigures::NoAnswer); directories.len()]));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(directory) = directories.get(number) else { return };
                let figures = directory.clone().and_then(|directory| self.figures(directory));
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(place) = found.get_mut(number) {
                    *place = figures;
                }
            }
        };
        thread::scope(|scope| (0..AT_A_TIME.min(directories.len())).for_each(|_| drop(scope.spawn(work))));
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A size for people: three digits and a unit of 1024.
pub(crate) fn shown(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, "");
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        (rest, whole, unit) = (whole % 1024, whole / 1024, next);
    }
    let tenths = rest * 10 / 1024;
    if unit.is_empty() || whole >= 100 || tenths == 0 {
        format!("{whole}{unit}")
    } else {
        format!("{whole}.{tenths}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use flexvolume_host::os::runner::SystemRunner;

    use super::*;

    /// A worker that does this.
    fn worker(script: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("worker");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, file)
    }

    #[test]
    fn a_volume_that_does_not_answer_is_given_up_and_the_others_are_not() {
        let answer = r#"{"available":1,"capacity":2,"used":1,"inodes":3,"inodesFree":2,"inodesUsed":1}"#;
        let (_kept, worker) = worker(&format!("[ \"$2\" = /hung ] && exec sleep 60\necho '{answer}'"));
        let surveyor = Surveyor { runner: &SystemRunner, worker };
        let begun = Instant::now();
        let hung = Ok(Path::new("/hung"));
        let found = surveyor.all(&[hung.clone(), Ok(Path::new("/fine")), Err(NoFigures::NotMounted), hung]);
        assert!(begun.elapsed() < 3 * PATIENCE, "both are waited for at once");
        assert_eq!(found[0], Err(NoFigures::NoAnswer));
        assert_eq!(found[1].as_ref().unwrap().inodes_free, 2);
        assert_eq!(found[2], Err(NoFigures::NotMounted));
        assert_eq!(found[3], Err(NoFigures::NoAnswer));
        assert_eq!(NoFigures::NoAnswer.to_string(), "no answer within 2s");
    }

    #[test]
    fn a_worker_that_fails_says_why() {
        let (_kept, worker) = worker("echo 'permission denied' >&2; exit 1");
        let surveyor = Surveyor { runner: &SystemRunner, worker };
        let failed = surveyor.figures(Path::new("/x")).unwrap_err();
        assert_eq!(failed, NoFigures::Failed("permission denied".to_owned()));
    }

    #[test]
    fn sizes_are_shown_short() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1Ki"),
            (1536, "1.5Ki"),
            (64 << 20, "64Mi"),
            (u64::MAX, "15.9Ei"),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }
}
