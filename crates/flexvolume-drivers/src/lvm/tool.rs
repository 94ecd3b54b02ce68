//! Runs the commands of LVM: reads with a deadline, changes that are never ended half-way.

use std::path::Path;
use std::time::Duration;

use flexvolume_os::System;
use flexvolume_os::command::{AtDeadline, Command};
use flexvolume_os::runner::{Ended, Output, Runner, StartFailure};
use flexvolume_os::tools::LVM;

use super::error::{LvmError, Result};
use super::tags::Owner;

/// How much of what a command printed is repeated in an error.
const TAIL: usize = 800;

/// A report on a full volume group: 1,337 volumes with our tags are less than 1 MiB of JSON.
const REPORT_LIMIT: usize = 16 << 20;

/// How long is waited for LVM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a read, which is ended then. A held lock of the group, or a disk that does not answer, takes all of it.
    pub(crate) read: Duration,
    /// For a change, which goes on then.
    pub(crate) change: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { read: Duration::from_secs(30), change: Duration::from_secs(120) }
    }
}

/// LVM on this machine, for one driver.
#[derive(Clone, Copy)]
pub(crate) struct Lvm<'a> {
    pub(crate) runner: &'a dyn Runner,
    pub(crate) patience: Patience,
    /// The driver.
    pub(crate) owner: Owner,
}

/// LVM and the rest of the machine.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) lvm: Lvm<'a>,
    pub(crate) system: &'a System,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(system: &'a System, owner: Owner) -> Self {
        let lvm = Lvm { runner: &*system.runner, patience: Patience::default(), owner };
        Self { lvm, system }
    }
}

/// A read that gave no report.
#[derive(Debug)]
pub(crate) enum NoReport {
    /// It could not even be made.
    Failed(LvmError),
    /// No answer in time: somebody holds the lock, or a disk does not answer.
    TimedOut,
    /// LVM said no; holds its words.
    Refused(String),
}

impl Lvm<'_> {
    /// Runs a command that changes nothing, and gives its standard output.
    pub(crate) fn read(&self, arguments: &[&str]) -> std::result::Result<Vec<u8>, NoReport> {
        let command = command(arguments, self.patience.read).limit(REPORT_LIMIT);
        let output = self.run(&command).map_err(NoReport::Failed)?;
        match output.ended {
            Ended::Exited(0) => Ok(output.stdout.bytes),
            Ended::TimedOut => Err(NoReport::TimedOut),
            Ended::Exited(_) | Ended::Signaled(_) => Err(NoReport::Refused(tail(&output))),
        }
    }

    /// Runs a command that changes `subject`, to its end if that comes in time.
    pub(crate) fn change(&self, subject: &str, verb: &'static str, arguments: &[&str]) -> Result<()> {
        let all: Vec<&str> = std::iter::once(verb).chain(arguments.iter().copied()).collect();
        let output = self.run(&command(&all, self.patience.change).at_deadline(AtDeadline::Leave))?;
        let ended = match output.ended {
            Ended::Exited(0) => return Ok(()),
            Ended::TimedOut => {
                let (subject, waited) = (subject.to_owned(), self.patience.change);
                return Err(LvmError::Unfinished { command: verb, subject, waited });
            }
            Ended::Exited(code) => format!("exit code {code}"),
            Ended::Signaled(signal) => format!("signal {signal}"),
        };
        Err(LvmError::Command { command: verb, subject: subject.to_owned(), ended, text: tail(&output) })
    }

    fn run(&self, command: &Command) -> Result<Output> {
        self.runner.run(command).map_err(|error| match error.reason {
            StartFailure::Missing => LvmError::ToolMissing { program: LVM.name, package: LVM.package },
            _ => error.into(),
        })
    }
}

fn command(arguments: &[&str], deadline: Duration) -> Command {
    let verb = arguments.first().copied().unwrap_or_default();
    Command::new(LVM.program(), deadline)
        .argument(verb)
        .arguments(without_udev(Path::new("/run/udev/control")))
        .arguments(arguments.iter().skip(1))
        .variable("LC_ALL", "C")
        .variable("LVM_SUPPRESS_FD_WARNINGS", "1")
}

/// Where udev runs it must make the links in `/dev`, or it and LVM would race; where it does not, LVM would wait for it
/// in vain ("not found: device not cleared").
fn without_udev(control: &Path) -> &'static [&'static str] {
    if control.exists() { &[] } else { &["--config", "activation{udev_sync=0 udev_rules=0}"] }
}

/// The end of what a command printed, on one line.
pub(crate) fn tail(output: &Output) -> String {
    let bytes = &output.combined.bytes;
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use flexvolume_os::fake::{FakeRunner, output};

    use super::*;

    fn lvm(runner: &FakeRunner) -> Lvm<'_> {
        Lvm { runner, patience: Patience::default(), owner: Owner::Lvm }
    }

    #[test]
    fn a_read_may_be_ended_and_a_change_never() {
        let runner = FakeRunner::new();
        let all = command(&["lvs", "vg0"], Duration::from_secs(1));
        assert_eq!(all, all.clone().at_deadline(AtDeadline::End));
        runner.on("lvm", |command| {
            let left = command.clone().at_deadline(AtDeadline::Leave);
            assert_eq!(*command, left);
            let mut output = output(0, "");
            output.ended = Ended::TimedOut;
            Some(Ok(output))
        });
        let error =
            lvm(&runner).change("vg0/fv.a", "lvchange", &["-ay", "vg0/fv.a"]).unwrap_err().to_string();
        assert!(error.contains("is not done after 120s and goes on by itself"), "{error}");
    }

    #[test]
    fn what_lvm_says_is_in_the_error() {
        let runner = FakeRunner::new();
        runner.always("lvm", output(5, "  insufficient free space\n\n  (3 extents)\n"));
        let error = lvm(&runner).change("vg0/fv.a", "lvcreate", &[]).unwrap_err().to_string();
        assert_eq!(error, "lvcreate vg0/fv.a: exit code 5: insufficient free space; (3 extents)");
        assert!(
            matches!(lvm(&runner).read(&["lvs"]), Err(NoReport::Refused(text)) if text.contains("(3 extents)"))
        );
        runner.cannot_start("lvm", StartFailure::Missing);
        let error = lvm(&runner).change("vg0/fv.a", "lvcreate", &[]).unwrap_err().to_string();
        assert!(error.contains("install the package lvm2"), "{error}");
    }

    #[test]
    fn udev_is_left_in_charge_where_it_runs() {
        assert_eq!(without_udev(Path::new("/")), [""; 0]);
        assert_eq!(without_udev(Path::new("/no/such")).len(), 2);
    }
}
