//! The only file that starts programs.
#![expect(clippy::disallowed_methods, reason = "this is the one file that starts programs")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, kill_process, pidfd_open};
use rustix::termios::tcgetpgrp;
use thiserror::Error;

use crate::capture::{self, Pipe};
use crate::command::{AtDeadline, Command, Streams};
use crate::kernel;
use crate::signals::Signals;
use crate::start_failure;

/// Pauses before the program that is being written is tried again: a quarter of a second in all.
const TEXT_BUSY_PAUSES: [u64; 7] = [2, 4, 8, 16, 32, 64, 128];

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The program exited with this code.
    Exited(i32),
    /// The program was ended by this signal.
    Signaled(i32),
    /// The deadline passed. The whole process group was ended, or left alone if the command wants that
    /// ([`AtDeadline::Leave`]).
    TimedOut,
}

impl Ended {
    /// Exit code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Ended::Exited(0)
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited(code),
            (None, signal) => Ended::Signaled(signal.unwrap_or_default()),
        }
    }
}

/// What the kernel wrote of the memory of a program that a signal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Core {
    /// Nothing.
    #[default]
    None,
    /// A core dump, to a file or a program that collects them.
    Dumped,
}

/// What was kept of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// The first bytes, up to the command's limit.
    pub bytes: Vec<u8>,
    /// How many bytes more were read and dropped.
    pub omitted: u64,
}

/// Whether something still held the pipes when the run was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pipes {
    /// Every holder had closed them.
    #[default]
    Closed,
    /// A process that the program left behind still holds them.
    Held,
}

/// What a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// Whether the signal that ended it left a dump.
    pub core: Core,
    /// Standard output; empty with `Streams::Shared`.
    pub stdout: Captured,
    /// Standard error; empty with `Streams::Shared`.
    pub stderr: Captured,
    /// Both, in order of arrival.
    pub combined: Captured,
    /// From start to end.
    pub duration: Duration,
    /// Whether a process left behind held the pipes.
    pub pipes: Pipes,
}

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot start {}: {reason}", .program.display())]
pub struct StartError {
    /// The program.
    pub program: PathBuf,
    /// Why.
    pub reason: StartFailure,
}

/// The causes that a person can act on, told apart.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartFailure {
    /// ENOENT on the program itself.
    #[error("it does not exist")]
    Missing,
    /// ENOENT on a symlink that leads nowhere.
    #[error("it is a symlink to {}, which does not exist", .0.display())]
    DanglingLink(PathBuf),
    /// A directory of that name.
    #[error("it is a directory")]
    Directory,
    /// EACCES.
    #[error("it is not executable (file mode, or a file system mounted noexec)")]
    NotExecutable,
    /// The script's `#!` line, or the program's own header, names an interpreter or loader that does not exist.
    #[error("its interpreter {} does not exist", .0.display())]
    MissingInterpreter(PathBuf),
    /// ENOEXEC.
    #[error("it is neither a program for this machine nor a script with a #! line")]
    NotAProgram,
    /// ETXTBSY, also after a few more tries.
    #[error("it is being written (text file busy)")]
    BeingWritten,
    /// E2BIG.
    #[error("its arguments are too long: one argument may have at most 131071 bytes")]
    ArgumentsTooLong,
    /// A NUL byte in the program's name, an argument or a variable: the system cannot pass it on.
    #[error("its name, an argument or a variable contains a NUL byte")]
    NulByte,
    /// The working directory that was asked for.
    #[error("its working directory {} cannot be entered", .0.display())]
    WorkingDirectory(PathBuf),
    /// It ran, but this process ignores SIGCHLD, so the kernel threw the exit status away.
    #[error("it ran, but its exit status is lost because this process was started with SIGCHLD ignored")]
    StatusLost,
    /// Anything else, by errno.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Errno(i32),
}

/// Runs programs.
pub trait Runner: Send + Sync {
    /// Runs `command` to its end or its deadline.
    ///
    /// # Errors
    /// [`StartError`] if it could not be started. Everything after the start is in [`Output`].
    fn run(&self, command: &Command) -> Result<Output, StartError>;
}

/// The runner of this machine: own process group, standard input from `/dev/null`, no inherited descriptors, TERM and
/// then KILL for the whole group at the deadline.
///
/// A program with [`AtDeadline::Leave`] gets no signal at all.
///
/// A process that the program left behind lives on when the program ends in time: FUSE and NBD drivers leave their
/// daemons. At the deadline it goes with the group, unless it moved to a session of its own; then
/// [`Output::pipes`] may tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn run(&self, command: &Command) -> Result<Output, StartError> {
        close_inherited_descriptors();
        let start = Instant::now();
        let started = start_all(command).map_err(|error| StartError {
            program: command.program.clone(),
            reason: start_failure::explain(&command.program, command.directory.as_deref(), &error),
        })?;
        capture::follow(started, command, start)
            .map_err(|reason| StartError { program: command.program.clone(), reason })
    }
}

/// A program that has just been started, and our ends of its pipes.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) pipes: Vec<(Pipe, OwnedFd)>,
    /// Where a program prints that may be left alone.
    pub(crate) file: Option<File>,
}

pub(crate) fn start_all(command: &Command) -> io::Result<Started> {
    let mut prepared = prepare(&command.program, command.raw_arguments());
    prepared.envs(command.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &command.directory {
        prepared.current_dir(directory);
    }
    // A process group keeps std on posix_spawn(3); `pre_exec` would force a fork, which copies all page tables.
    prepared.stdin(input(command)?).process_group(0);
    if command.at_deadline == AtDeadline::Leave {
        let file = File::from(rustix::fs::memfd_create(c"output", MemfdFlags::CLOEXEC)?);
        let child = spawn(prepared.stdout(file.try_clone()?).stderr(file.try_clone()?))?;
        return Ok(Started { child, pipes: Vec::new(), file: Some(file) });
    }
    match command.streams {
        Streams::Apart | Streams::Unordered => {
            let mut child = spawn(prepared.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
            let stdout = child.stdout.take().map(|pipe| (Pipe::Stdout, pipe.into()));
            let stderr = child.stderr.take().map(|pipe| (Pipe::Stderr, pipe.into()));
            Ok(Started { child, pipes: stderr.into_iter().chain(stdout).collect(), file: None })
        }
        Streams::Shared => {
            let (ours, theirs) = io::pipe()?;
            let child = spawn(prepared.stdout(theirs.try_clone()?).stderr(theirs))?;
            Ok(Started { child, pipes: vec![(Pipe::Both, ours.into())], file: None })
        }
    }
    // Our copies of the program's ends close here, with `prepared`: otherwise the end of file never comes.
}

/// What the program reads: a pipe that holds everything already, so that nobody has to write while it runs.
fn input(command: &Command) -> io::Result<Stdio> {
    if command.input.is_empty() {
        return Ok(Stdio::null());
    }
    let (theirs, mut ours) = io::pipe()?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    ours.write_all(&command.input)?;
    Ok(theirs.into())
}

/// Starts it, again for a moment while it is being written: a driver is often run right after it was installed, and a
/// thread that forks at the wrong time holds a copy of the writer's descriptor.
fn spawn(prepared: &mut std::process::Command) -> io::Result<Child> {
    for pause in TEXT_BUSY_PAUSES {
        match prepared.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(pause));
            }
            other => return other,
        }
    }
    prepared.spawn()
}

fn prepare<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a OsStr>) -> std::process::Command {
    let mut prepared = std::process::Command::new(program);
    prepared.args(arguments);
    prepared
}

/// A program that a person sits in front of: on our own standard streams, in our process group, without a deadline.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The program; a name without a slash is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables on top of the inherited environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Attached {
    /// Runs it and waits for it, through any signal: those that were caught are passed on to it, so that it ends first
    /// and we can clean up behind it. SIGINT and SIGQUIT of a terminal reach it by themselves.
    ///
    /// # Errors
    /// [`StartError`] if it could not be started.
    pub fn run(&self, signals: &Signals) -> Result<Ended, StartError> {
        let failed = |error: &io::Error| start_error(&self.program, error);
        let mut child = spawn(&mut self.prepare()).map_err(|error| failed(&error))?;
        follow_attached(&mut child, signals).map(Ended::from).map_err(|error| failed(&error))
    }

    /// Becomes the program: same process, same streams. Comes back only if that fails.
    #[must_use]
    pub fn replace_process(&self) -> StartError {
        start_error(&self.program, &self.prepare().exec())
    }

    fn prepare(&self) -> std::process::Command {
        close_inherited_descriptors();
        let mut prepared = prepare(&self.program, self.arguments.iter().map(OsString::as_os_str));
        prepared.envs(self.environment.iter().map(|(name, value)| (name, value)));
        prepared
    }
}

fn follow_attached(child: &mut Child, signals: &Signals) -> io::Result<ExitStatus> {
    /// A signal that comes between the question for it and the wait is seen this much later.
    const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let pid = Pid::from_child(child);
    // Without one (too many open files, an old kernel) no signal is passed on, but nobody is left alone either.
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return child.wait() };
    loop {
        while let Some(signal) = signals.take_signal() {
            let typed = matches!(signal, Signal::INT | Signal::QUIT) && in_terminal_foreground();
            if !typed {
                // It may have ended by itself this moment.
                let _ = kill_process(pid, signal);
            }
        }
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return child.wait(),
        }
    }
}

/// Whether the terminal sends our whole process group what is typed: the program in it gets its own.
fn in_terminal_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp())
}

fn start_error(program: &Path, error: &io::Error) -> StartError {
    StartError { program: program.to_owned(), reason: start_failure::explain(program, None, error) }
}

/// Marks, once, every descriptor above 2 that this process was born with: whoever started us may have forgotten a lock,
/// a socket or a device, and a daemon that a driver leaves behind would keep it open for ever. What std opens is
/// marked from the start.
fn close_inherited_descriptors() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for number in numbers.filter(|number| *number > 2) {
            // Closed meanwhile (as the listing itself): nothing to mark.
            let _ = kernel::close_on_exec(number);
        }
    });
}

#[cfg(test)]
mod tests;
