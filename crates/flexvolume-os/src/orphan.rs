//! Programs that outlive the one who started them.
//!
//! Who is killed while a program runs gives up all locks, but the program goes on. Whoever takes over must let it end
//! before doing the same again.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

/// How long a process group that was killed may take to go.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// An interpreter and one argument may stand before a script's name.
const BEFORE_THE_PROGRAM: usize = 2;

/// A program that leads a process group of its own, as the runner starts them all.
#[derive(Debug)]
pub struct Orphan {
    leader: Pid,
    process: OwnedFd,
    arguments: Vec<OsString>,
}

/// How an orphan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    ByItself,
    /// It was killed, with its process group.
    Killed,
    /// Not even by that: it hangs in the kernel.
    NotAtAll,
}

/// The running programs of this file name. What cannot be seen (another user's, a hidden `/proc`) is not there.
#[must_use]
pub fn running(program: &Path) -> Vec<Orphan> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter_map(Pid::from_raw).filter_map(|leader| look_at(leader, program)).collect()
}

fn look_at(leader: Pid, program: &Path) -> Option<Orphan> {
    arguments(leader, program)?;
    // From here on the number cannot mean another process without our noticing: look again.
    let process = rustix::process::pidfd_open(leader, PidfdFlags::empty()).ok()?;
    let arguments = arguments(leader, program)?;
    (rustix::process::getpgid(Some(leader)) == Ok(leader)).then_some(Orphan { leader, process, arguments })
}

/// The arguments that follow the program's name, if the process runs it.
fn arguments(process: Pid, program: &Path) -> Option<Vec<OsString>> {
    let line = fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero())).ok()?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let mut words = line.split(|byte| *byte == 0);
    words.by_ref().take(1 + BEFORE_THE_PROGRAM).find(|word| *word == program.as_os_str().as_bytes())?;
    Some(words.map(|word| OsString::from_vec(word.to_vec())).collect())
}

impl Orphan {
    /// The arguments that follow the program's name. They may hold secrets.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Waits for its end, and ends it with its process group when `patience` is over.
    #[must_use]
    pub fn end(self, patience: Duration) -> End {
        if self.ends_within(patience) {
            return End::ByItself;
        }
        // It lives this moment, so the number is its group's and nobody else's.
        let _ = rustix::process::kill_process_group(self.leader, Signal::KILL);
        if self.ends_within(KILL_GRACE) { End::Killed } else { End::NotAtAll }
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            let timeout = Timespec::try_from(left).ok();
            let mut polled = [PollFd::new(&self.process, PollFlags::IN)];
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(_) => {}
                Ok(_) => return true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Stdio};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn script() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        fs::write(&path, "#!/bin/sh -u\nread -r line\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    }

    #[expect(clippy::disallowed_methods, reason = "the test is about a program that another one has started")]
    fn start(program: &Path, group: Option<i32>) -> Child {
        let mut command = std::process::Command::new(program);
        command.args(["mount", "/a b"]).stdin(Stdio::piped());
        if let Some(group) = group {
            command.process_group(group);
        }
        let begun = Instant::now();
        // Another test may be starting a program this moment, whose process holds the script open for writing until it
        // has become that program.
        let child = loop {
            match command.spawn() {
                Err(error)
                    if error.kind() == std::io::ErrorKind::ExecutableFileBusy
                        && begun.elapsed() < PATIENCE =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => break other.unwrap(),
            }
        };
        let line = format!("/proc/{}/cmdline", child.id());
        while !fs::read_to_string(&line).unwrap().contains("/a b") && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }

    #[test]
    fn a_program_is_found_with_its_arguments_and_waited_for() {
        let (_directory, path) = script();
        let mut child = start(&path, Some(0));
        let mut found = running(&path);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].arguments(), ["mount", "/a b"]);
        let orphan = found.remove(0);
        drop(child.stdin.take());
        assert_eq!(orphan.end(PATIENCE), End::ByItself);
        child.wait().unwrap();
        assert!(running(&path).is_empty());
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let (_directory, path) = script();
        let mut child = start(&path, Some(0));
        let orphan = running(&path).remove(0);
        assert_eq!(orphan.end(Duration::from_millis(50)), End::Killed);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
    }

    #[test]
    fn neither_the_members_of_another_group_nor_other_programs_are_found() {
        let (_directory, path) = script();
        let mut child = start(&path, None);
        assert!(running(&path).is_empty());
        assert!(running(Path::new("/nonexistent/program")).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
