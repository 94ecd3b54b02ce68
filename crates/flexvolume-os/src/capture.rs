//! Follows a started program to its end: one poll(2) over its exit and its output, without threads.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::command::{AtDeadline, Command, EndOfRun, Streams};
use crate::runner::{Captured, Core, Ended, Output, Pipes, StartFailure, Started};

/// How long the output is followed after the program has exited, if somebody else still holds a pipe.
const DRAIN: Duration = Duration::from_millis(100);
/// How long the group has between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_millis(500);
/// The same where the run goes as Kubernetes has it.
const KUBERNETES_GRACE: Duration = Duration::from_secs(10);
/// How long a killed program may take to go. Longer only in uninterruptible sleep, on a dead disk or server.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// How often KILL is repeated for members that were forked while it was sent.
const KILL_ROUNDS: u32 = 50;
/// The pause between two looks where nothing wakes us.
const TICK: Duration = Duration::from_millis(5);
/// How long output whose order nobody asks for is left in the pipes, at first. Most drivers answer and end sooner: being
/// woken once, for the exit, costs less than being woken for each line. Nor may it be shorter: a timer that goes off
/// before the kernel's next tick has to be programmed, which took 13 of the 200 microseconds of a whole call.
const AT_FIRST: Duration = Duration::from_millis(5);
/// A deadline that means none.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which stream a pipe carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipe {
    Stdout,
    Stderr,
    Both,
}

/// Programs that were left alone or that KILL could not end in time, to be reaped by a later run.
static UNREAPED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Follows the program to its end or its deadline.
pub(crate) fn follow(started: Started, command: &Command, start: Instant) -> Result<Output, StartFailure> {
    reap_earlier();
    let mut run = Run::new(started, command);
    let deadline = start + command.deadline.min(FOR_EVER);
    let until = match command.end {
        EndOfRun::Exit => Until::Exit,
        EndOfRun::EndOfFile => Until::All,
    };
    if command.streams != Streams::Apart {
        run.await_quick_exit(deadline);
    }
    let in_time = run.advance(until, deadline);
    let ended = match in_time {
        Reached::Yes => {
            let _ = run.advance(Until::All, Instant::now() + DRAIN);
            Ended::from(run.reap()?)
        }
        Reached::No if command.at_deadline == AtDeadline::Leave => Ended::TimedOut,
        Reached::No => run.end_group(command.end),
    };
    run.read_file();
    Ok(run.output(ended, start))
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The exit of the program.
    Exit,
    /// The exit of the program and the end of file of its pipes.
    All,
}

/// Whether it came in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
}

/// A program on its way.
struct Run {
    child: Child,
    group: Option<Pid>,
    /// Readable when the program has exited. Absent once it has, and where the kernel gives none.
    exit: Option<OwnedFd>,
    exited: bool,
    pipes: Vec<(Pipe, OwnedFd)>,
    /// Where the program prints instead.
    file: Option<File>,
    limit: usize,
    stdout: Captured,
    stderr: Captured,
    combined: Captured,
}

impl Run {
    fn new(started: Started, command: &Command) -> Self {
        // The program is not reaped before we do it, so the number cannot belong to another process.
        let group = i32::try_from(started.child.id()).ok().and_then(Pid::from_raw);
        // Without one (too many open files, an old kernel) the exit is looked for every few milliseconds.
        let exit = group.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        Self {
            child: started.child,
            group,
            exit,
            exited: false,
            pipes: started.pipes,
            file: started.file,
            limit: command.limit,
            stdout: Captured::default(),
            stderr: Captured::default(),
            combined: Captured::default(),
        }
    }

    /// Sleeps until the program has exited, or has run for a moment. So long does one wait that fills a pipe.
    fn await_quick_exit(&mut self, deadline: Instant) {
        let Some(exit) = &self.exit else { return };
        let left = AT_FIRST.min(deadline.saturating_duration_since(Instant::now()));
        let timeout = Timespec::try_from(left).ok();
        if rustix::event::poll(&mut [PollFd::new(exit, PollFlags::IN)], timeout.as_ref()) == Ok(1) {
            (self.exit, self.exited) = (None, true);
        }
    }

    /// Moves output and waits until it has what it waits for.
    fn advance(&mut self, until: Until, deadline: Instant) -> Reached {
        loop {
            let done = self.exited && (until == Until::Exit || self.pipes.is_empty());
            if done {
                return Reached::Yes;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Reached::No;
            }
            self.step(left);
        }
    }

    /// Waits for the next event and deals with it.
    fn step(&mut self, left: Duration) {
        let blind = self.exit.is_none() && !self.exited;
        let events = self.poll(if blind { left.min(TICK) } else { left });
        if events.get(self.pipes.len()).is_some_and(|exit| !exit.is_empty()) {
            (self.exit, self.exited) = (None, true);
        }
        let pipes = std::mem::take(&mut self.pipes);
        let quiet = PollFlags::empty();
        for (position, pipe) in pipes.into_iter().enumerate() {
            if self.read(&pipe, *events.get(position).unwrap_or(&quiet)) == Pipes::Held {
                self.pipes.push(pipe);
            }
        }
        if blind && !matches!(self.child.try_wait(), Ok(None)) {
            self.exited = true;
        }
    }

    /// What the pipes, and last the exit, have to say.
    fn poll(&self, left: Duration) -> Vec<PollFlags> {
        let pipes = self.pipes.iter().map(|(_, pipe)| pipe);
        let mut polled: Vec<_> =
            pipes.chain(&self.exit).map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(left).ok();
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) => polled.iter().map(PollFd::revents).collect(),
            // EINTR: the caller looks at the time and comes back. ENOMEM: as well, after a moment.
            Err(Errno::INTR) => Vec::new(),
            Err(_) => {
                std::thread::sleep(TICK.min(left));
                Vec::new()
            }
        }
    }

    /// Reads from a pipe that has something, once while there may be more, else to its end; says which.
    fn read(&mut self, (pipe, descriptor): &(Pipe, OwnedFd), events: PollFlags) -> Pipes {
        let mut buffer = [0_u8; 4 << 10];
        while !events.is_empty() {
            let count = match rustix::io::read(descriptor.as_fd(), &mut buffer) {
                Ok(0) => return Pipes::Closed,
                Ok(count) => count,
                Err(Errno::INTR | Errno::AGAIN) => break,
                Err(_) => return Pipes::Closed,
            };
            let piece = &buffer[..count];
            match pipe {
                Pipe::Stdout => keep(&mut self.stdout, piece, self.limit),
                Pipe::Stderr => keep(&mut self.stderr, piece, self.limit),
                Pipe::Both => {}
            }
            keep(&mut self.combined, piece, self.limit);
            if !events.contains(PollFlags::HUP) {
                break;
            }
        }
        Pipes::Held
    }

    /// Takes over what the program has printed to its file so far.
    fn read_file(&mut self) {
        let Some(file) = &self.file else { return };
        // Opened anew: the program, which may still be writing, has its place in the same open file.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let Ok(mut reader) = File::open(path) else { return };
        let mut buffer = [0_u8; 4 << 10];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            keep(&mut self.combined, &buffer[..count], self.limit);
        }
    }

    fn reap(&mut self) -> Result<ExitStatus, StartFailure> {
        self.child.wait().map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::CHILD) => StartFailure::StatusLost,
            _ => StartFailure::Errno(error.raw_os_error().unwrap_or_default()),
        })
    }

    /// The deadline has passed: TERM, a moment, KILL, for the program and all of its group.
    ///
    /// Kubernetes believes a program that then exits with code 0, or had done so before while another process held its
    /// pipes.
    fn end_group(&mut self, end: EndOfRun) -> Ended {
        let grace = match end {
            EndOfRun::Exit => TERM_GRACE,
            EndOfRun::EndOfFile => KUBERNETES_GRACE,
        };
        let _ = self.signal(Signal::TERM);
        let in_time = self.advance(Until::All, Instant::now() + grace);
        // While the program is not reaped its number is taken, so this cannot hit a stranger's group.
        let _ = self.signal(Signal::KILL);
        // It may have moved to another group.
        let _ = self.child.kill();
        let _ = self.advance(Until::Exit, Instant::now() + KILL_GRACE);
        let mut ended = Ended::TimedOut;
        if self.exited {
            let succeeded = self.child.wait().is_ok_and(|status| status.success());
            if end == EndOfRun::EndOfFile && in_time == Reached::Yes && succeeded {
                ended = Ended::Exited(0);
            }
            self.kill_stragglers();
        }
        let _ = self.advance(Until::All, Instant::now() + DRAIN);
        ended
    }

    /// KILL until nobody is left. The kernel hands out process numbers in turn, so within these milliseconds ours is not
    /// given to a new group once the old one is gone.
    fn kill_stragglers(&self) {
        for _ in 0..KILL_ROUNDS {
            if self.signal(Signal::KILL) == Err(Errno::SRCH) {
                return;
            }
            std::thread::sleep(TICK);
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Errno> {
        self.group.map_or(Err(Errno::SRCH), |group| rustix::process::kill_process_group(group, signal))
    }

    fn output(mut self, ended: Ended, start: Instant) -> Output {
        let core = match ended {
            // It has been reaped; its status is remembered.
            Ended::Signaled(_) if self.child.wait().is_ok_and(|status| status.core_dumped()) => Core::Dumped,
            _ => Core::None,
        };
        let pipes = if self.pipes.is_empty() { Pipes::Closed } else { Pipes::Held };
        if !self.exited
            && let Ok(mut unreaped) = UNREAPED.lock()
        {
            unreaped.push(self.child);
        }
        Output {
            ended,
            core,
            stdout: self.stdout,
            stderr: self.stderr,
            combined: self.combined,
            duration: start.elapsed(),
            pipes,
        }
    }
}

/// Keeps what fits below the limit and counts the rest.
fn keep(captured: &mut Captured, piece: &[u8], limit: usize) {
    let room = limit.saturating_sub(captured.bytes.len());
    let (kept, rest) = piece.split_at(room.min(piece.len()));
    captured.bytes.extend_from_slice(kept);
    captured.omitted = captured.omitted.saturating_add(u64::try_from(rest.len()).unwrap_or(u64::MAX));
}

fn reap_earlier() {
    if let Ok(mut unreaped) = UNREAPED.lock()
        && !unreaped.is_empty()
    {
        unreaped.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::start_all;

    #[test]
    fn without_a_handle_on_the_exit_it_is_looked_for() {
        let command = Command::new("sh", Duration::from_secs(20))
            .arguments(["-c", "echo x; exec >&- 2>&-; sleep 0.1; exit 4"]);
        let mut run = Run::new(start_all(&command).unwrap(), &command);
        run.exit = None;
        assert!(run.advance(Until::All, Instant::now() + command.deadline) == Reached::Yes);
        assert_eq!(Ended::from(run.reap().unwrap()), Ended::Exited(4));
        assert_eq!(run.stdout.bytes, b"x\n");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut captured = Captured::default();
        for piece in ["ab", "cdef", "g"] {
            keep(&mut captured, piece.as_bytes(), 3);
        }
        assert_eq!(captured, Captured { bytes: b"abc".to_vec(), omitted: 4 });
    }
}
