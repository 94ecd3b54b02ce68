//! The only file that starts programs.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::command::Command;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The program exited with this code.
    Exited(i32),
    /// The program was ended by this signal.
    Signaled(i32),
    /// The deadline passed and the whole process group was ended.
    TimedOut,
}

impl Ended {
    /// Exit code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Ended::Exited(0)
    }
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
    /// A directory of that name.
    #[error("it is a directory")]
    Directory,
    /// EACCES.
    #[error("it is not executable (file mode, or a file system mounted noexec)")]
    NotExecutable,
    /// The script's `#!` line names a program that does not exist.
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
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn run(&self, command: &Command) -> Result<Output, StartError> {
        todo!("{command}")
    }
}
