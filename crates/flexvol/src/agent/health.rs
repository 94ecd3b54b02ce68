//! Mounts that do not answer: a FUSE daemon that died, a server that is gone.
//!
//! Asking them may never come back, so another process asks, many at a time, and is ended when one does not answer: this
//! program again, as the hidden command `probe-mounts`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use flexvolume_host::os::command::Command;
use flexvolume_host::os::runner::{Ended, Runner};
use flexvolume_host::paths;
use flexvolume_host::reconcile::VolumeKey;

use super::Message;
use super::api::Question;

/// How long a mount may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many are asked by one process.
const AT_A_TIME: usize = 250;
/// What the process prints of a mount that answers.
pub(crate) const ANSWERS: &str = "ok";

/// The volumes that do not answer, and how.
pub(super) type Sick = BTreeMap<VolumeKey, String>;

/// Looks after the mounts.
pub(super) struct Nurse {
    pub(super) root: PathBuf,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) worker: PathBuf,
    pub(super) messages: Sender<Message>,
    pub(super) interval: Duration,
}

impl Nurse {
    /// Asks all mounted volumes from time to time, in a thread of its own.
    pub(super) fn start(self) -> std::io::Result<()> {
        thread::Builder::new().name("health".to_owned()).spawn(move || {
            loop {
                thread::sleep(self.interval);
                let (answer, answers) = channel();
                if self.messages.send(Message::Question(Question::Mounted(answer))).is_err() {
                    return;
                }
                let Ok(mounted) = answers.recv() else { continue };
                if self.messages.send(Message::Health(self.round(&mounted))).is_err() {
                    return;
                }
            }
        })?;
        Ok(())
    }

    /// Those of the volumes that do not answer.
    fn round(&self, volumes: &[VolumeKey]) -> Sick {
        let mut sick = Sick::new();
        let mut rest = volumes;
        while !rest.is_empty() {
            let (some, _) = rest.split_at(rest.len().min(AT_A_TIME));
            let answers = self.ask(some);
            let asked = answers.len().max(1).min(some.len());
            for (key, answer) in some.iter().zip(answers) {
                if let Err(why) = answer {
                    sick.insert(key.clone(), why);
                }
            }
            rest = &rest[asked..];
        }
        sick
    }

    /// The answers of as many as have been asked, at least of one.
    fn ask(&self, volumes: &[VolumeKey]) -> Vec<Result<(), String>> {
        let place = |key: &VolumeKey| paths::mount_dir(&self.root, &key.pod, &key.driver, &key.volume);
        let command = Command::new(&self.worker, PATIENCE).argument("probe-mounts");
        let run = self.runner.run(&command.arguments(volumes.iter().map(place)));
        let output = match run {
            Ok(output) => output,
            Err(error) => {
                tracing::warn!(%error, "mounts cannot be asked whether they answer");
                return volumes.iter().map(|_| Ok(())).collect();
            }
        };
        let text = String::from_utf8_lossy(&output.stdout.bytes);
        let line = |line: &str| if line == ANSWERS { Ok(()) } else { Err(line.to_owned()) };
        let mut answers: Vec<_> = text.lines().map(line).collect();
        if answers.len() < volumes.len() {
            let ended = output.ended;
            answers.push(match ended {
                Ended::TimedOut => Err(format!("no answer within {}", humantime::format_duration(PATIENCE))),
                // Not the mount's fault.
                Ended::Exited(_) | Ended::Signaled(_) => Ok(()),
            });
        }
        answers
    }
}

/// Asks one mount; may never come back.
pub(crate) fn probe(directory: &Path) -> Result<(), String> {
    match rustix::fs::statfs(directory) {
        // It was unmounted meanwhile: that is seen elsewhere.
        Ok(_) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(std::io::Error::from(errno).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use flexvolume_host::contract::{DriverName, PodUid, VolumeName};
    use flexvolume_host::os::runner::SystemRunner;

    use super::*;

    fn keys(count: usize) -> Vec<VolumeKey> {
        let key = |number: usize| VolumeKey {
            pod: PodUid::parse(format!("pod-{number}")).unwrap(),
            driver: DriverName::parse("example.com/memory").unwrap(),
            volume: VolumeName::parse("data").unwrap(),
        };
        (0..count).map(key).collect()
    }

    fn sick(script: &str, count: usize) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        let worker = place.path().join("worker");
        std::fs::write(
            &worker,
            format!("#!/bin/sh\nshift\nfor place; do case $place in {script} *) echo ok ;; esac; done\n"),
        )
        .unwrap();
        std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (messages, _inbox) = channel();
        let interval = Duration::ZERO;
        let nurse =
            Nurse { root: "/root".into(), runner: Arc::new(SystemRunner), worker, messages, interval };
        nurse.round(&keys(count)).into_iter().map(|(key, why)| format!("{}: {why}", key.pod)).collect()
    }

    #[test]
    fn those_that_hang_or_fail_are_told_and_the_others_are_asked_all_the_same() {
        let script =
            "*/pod-1/*) echo 'not connected' ;; */pod-3/*) exec sleep 60 ;; */pod-5/*) echo stale ;;";
        assert_eq!(sick(script, 7), ["pod-1: not connected", "pod-3: no answer within 2s", "pod-5: stale"]);
    }

    #[test]
    fn many_are_asked_in_several_processes_and_a_worker_that_dies_blames_nobody() {
        assert_eq!(sick("*/pod-299/*) echo bad ;;", 600), ["pod-299: bad"]);
        assert_eq!(sick("*/pod-1/*) exit 3 ;;", 4), Vec::<String>::new());
    }

    #[test]
    fn a_directory_that_answers_is_well() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(probe(place.path()), Ok(()));
        assert_eq!(probe(&place.path().join("gone")), Ok(()));
    }
}
