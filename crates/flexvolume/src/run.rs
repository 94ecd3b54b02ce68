//! A driver's `main`.

use std::fs::File;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::dispatch::{Invocation, respond};
use crate::redact::Redactor;
use crate::{Driver, Reply};

/// Runs one call-out: reads the arguments, calls `driver`, answers with one JSON document on standard output, and
/// ends with exit code 0.
///
/// It is the whole of a driver's `main`: nothing protects what is done before it is called, so leave all work, also
/// what could fail in setting up the driver, to the driver's methods.
///
/// While the driver works, its standard output and standard error lead to `/dev/null`: nothing that it prints, nor a
/// child, nor a daemon that outlives it, can get between the host and the reply. (Kubernetes reads both streams as one
/// text, and waits until the last process has closed them.)
///
/// * The exit code is 0 also after a failure: on any other one Kubernetes logs the arguments, secrets included.
/// * A panic, on any thread, ends the process at once with a `Failure` that gives the panic's message and place.
///   Destructors do not run, whether the driver is built to unwind or to abort: what a test build does, the shipped
///   driver does. Do not count on `catch_unwind`.
/// * Secrets of the options are replaced in the messages of failures and panics.
/// * An unknown call-out is answered with `Not supported`, as the contract asks for the sake of later ones.
#[expect(clippy::needless_pass_by_value, reason = "the one call of a main: `run(MyDriver)`")]
pub fn run(driver: impl Driver) -> ExitCode {
    let outlet = match Outlet::take_standard_output() {
        Ok(outlet) => Arc::new(outlet),
        Err(error) => {
            let reply = Reply::failure(format!("cannot set the standard streams aside: {error}"));
            // Nobody is left to tell if this fails too.
            let _ = std::io::stdout().write_all(line(&reply).as_bytes());
            return ExitCode::SUCCESS;
        }
    };
    let for_panics = Arc::clone(&outlet);
    std::panic::set_hook(Box::new(move |panic| for_panics.answer_panic(panic)));
    let reply = match Invocation::parse(std::env::args_os().skip(1).collect()) {
        Ok(asked) => respond(&driver, &asked, outlet.redactor.get_or_init(|| Redactor::of(&asked))),
        Err(refusal) => refusal.reply(),
    };
    outlet.send(&reply);
    ExitCode::SUCCESS
}

/// The way to the host, which takes one reply.
struct Outlet {
    stream: File,
    answered: AtomicBool,
    /// Set as soon as the options have been read; before that no secret is known, nor used.
    redactor: OnceLock<Redactor>,
}

impl Outlet {
    /// Moves standard output to a descriptor that no child inherits, and points both streams at `/dev/null`.
    fn take_standard_output() -> Result<Self, Errno> {
        let stream = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(Self { stream: stream.into(), answered: AtomicBool::new(false), redactor: OnceLock::new() })
    }

    /// Writes the reply, unless another thread already has.
    fn send(&self, reply: &Reply) {
        if !self.answered.swap(true, Ordering::SeqCst) {
            // The host may be gone, or have closed the pipe (the standard library ignores SIGPIPE).
            let _ = (&self.stream).write_all(line(reply).as_bytes());
        }
    }

    /// Ends the process: after the hook an aborting build would die by a signal, and the host log the arguments.
    fn answer_panic(&self, panic: &PanicHookInfo<'_>) {
        self.send(&Reply::failure(self.describe(panic)));
        std::process::exit(0);
    }

    fn describe(&self, panic: &PanicHookInfo<'_>) -> String {
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        match (self.redactor.get(), panic.payload_as_str()) {
            (Some(redactor), Some(message)) => {
                redactor.clean(&format!("the driver panicked{place}: {message}"))
            }
            // Without the secrets at hand the message cannot be cleaned.
            _ => format!("the driver panicked{place}"),
        }
    }
}

fn line(reply: &Reply) -> String {
    let mut text = reply.to_json();
    text.push('\n');
    text
}
