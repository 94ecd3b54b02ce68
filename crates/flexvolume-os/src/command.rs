//! A command as a value.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

/// When a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfRun {
    /// When the program itself has exited, plus a short time to drain what is in the pipes. A daemon that it left
    /// behind may hold the pipes for ever.
    Exit,
    /// When every holder of the pipes has closed them, as Kubernetes waits; still bounded by the deadline.
    /// There, TERM is followed by KILL after ten seconds, and a program that exits with code 0 after TERM counts as
    /// having ended by itself.
    EndOfFile,
}

/// How the two output streams are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// A pipe each; `Output::combined` is the order in which the pieces arrived. Of two that are there at once, that of
    /// standard error comes first: programs warn and then answer.
    Apart,
    /// A pipe each, for callers who do not look at `Output::combined`: it has the pieces in no order. What is printed may
    /// stay in the pipes for a few milliseconds, which spares a short run the wake-ups.
    Unordered,
    /// One pipe for both, as Kubernetes does: all bytes are in `Output::combined`, in the order of writing.
    Shared,
}

/// What becomes of a program that is not done at its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtDeadline {
    /// It is ended, with its whole process group.
    End,
    /// It is left alone: half of its work would be worse than all of it late. The run is over for the caller, as
    /// [`TimedOut`](crate::runner::Ended::TimedOut); the program lives on, also when the caller ends. It writes to a file in
    /// memory and not to a pipe, which could break under it: all it printed is in `Output::combined`.
    Leave,
}

/// A program, its arguments, and the bounds of its run.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) deadline: Duration,
    pub(crate) at_deadline: AtDeadline,
    pub(crate) limit: usize,
    pub(crate) end: EndOfRun,
    pub(crate) streams: Streams,
    /// Never shown.
    pub(crate) input: Zeroizing<Vec<u8>>,
}

/// One argument, and whether it may be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) text: OsString,
    pub(crate) secret: Visibility,
}

/// Whether an argument may appear in errors, logs and debug prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    Shown,
    Redacted,
}

impl Command {
    /// A run of `program` that is over by `deadline` whatever happens. There is no run without one.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, deadline: Duration) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            deadline,
            at_deadline: AtDeadline::End,
            limit: 1 << 20,
            end: EndOfRun::Exit,
            streams: Streams::Apart,
            input: Zeroizing::default(),
        }
    }

    /// Appends an argument.
    #[must_use]
    pub fn argument(mut self, text: impl Into<OsString>) -> Self {
        self.arguments.push(Argument { text: text.into(), secret: Visibility::Shown });
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn arguments<I: IntoIterator<Item = impl Into<OsString>>>(self, texts: I) -> Self {
        texts.into_iter().fold(self, Command::argument)
    }

    /// Appends an argument that is never shown.
    #[must_use]
    pub fn secret_argument(mut self, text: impl Into<OsString>) -> Self {
        self.arguments.push(Argument { text: text.into(), secret: Visibility::Redacted });
        self
    }

    /// Sets a variable of the environment, on top of the inherited ones.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives the program these bytes on standard input, instead of nothing: the way for secrets, which are never shown.
    /// They go through a pipe that must hold them all, so at most 64 KiB less a page.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets what becomes of the program at the deadline (default [`AtDeadline::End`]).
    #[must_use]
    pub fn at_deadline(mut self, at_deadline: AtDeadline) -> Self {
        self.at_deadline = at_deadline;
        self
    }

    /// Keeps at most so many bytes of each stream (default 1 MiB); the rest is read and counted.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets when the run is over.
    #[must_use]
    pub fn end(mut self, end: EndOfRun) -> Self {
        self.end = end;
        self
    }

    /// Sets how the streams are connected.
    #[must_use]
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The arguments, secret ones included: for runners only.
    pub fn raw_arguments(&self) -> impl Iterator<Item = &OsStr> {
        self.arguments.iter().map(|argument| argument.text.as_os_str())
    }

    /// The arguments as they may be shown: secret ones as `<redacted>`.
    pub fn shown_arguments(&self) -> impl Iterator<Item = &OsStr> {
        self.arguments.iter().map(|argument| match argument.secret {
            Visibility::Shown => argument.text.as_os_str(),
            Visibility::Redacted => OsStr::new("<redacted>"),
        })
    }

    /// The deadline.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.program.display())?;
        for argument in &self.arguments {
            match argument.secret {
                Visibility::Shown => write!(out, " {:?}", argument.text)?,
                Visibility::Redacted => out.write_str(" <redacted>")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("/bin/driver", Duration::from_secs(1))
            .argument("mount")
            .argument("a b\n")
            .secret_argument("hunter2")
            .variable("TOKEN", "hunter2")
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let shown = r#"/bin/driver "mount" "a b\n" <redacted>"#;
        assert_eq!(command().to_string(), shown);
        assert_eq!(format!("{:?}", command()), shown);
        assert_eq!(format!("{:#?}", command()), shown);
        assert_eq!(command().shown_arguments().collect::<Vec<_>>(), ["mount", "a b\n", "<redacted>"]);
    }

    #[test]
    fn the_runner_sees_everything() {
        assert_eq!(command().raw_arguments().collect::<Vec<_>>(), ["mount", "a b\n", "hunter2"]);
        assert_eq!(command().environment, [("TOKEN".into(), "hunter2".into())]);
    }
}
