//! A word to the person who waits for a slow driver.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use flexvolume_host::os::command::Command;
use flexvolume_host::os::runner::{Output, Runner, StartError};

/// How long a call may take before it is announced.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs programs through another runner and announces, on standard error, those that take longer than a second.
pub(crate) struct ProgressRunner {
    inner: Arc<dyn Runner>,
}

impl ProgressRunner {
    pub(crate) fn new(inner: Arc<dyn Runner>) -> Self {
        Self { inner }
    }
}

impl Runner for ProgressRunner {
    fn run(&self, command: &Command) -> Result<Output, StartError> {
        let (done, ended) = channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PATIENCE) {
                    announce(command);
                }
            });
            let result = self.inner.run(command);
            drop(done);
            result
        })
    }
}

/// Program and verb only: the options may be long, and may hold what nobody should read.
fn announce(command: &Command) {
    let verb = command.raw_arguments().next().unwrap_or_default().to_string_lossy().into_owned();
    let deadline = humantime::format_duration(command.deadline());
    let program = command.program().display();
    let _ = writeln!(anstream::stderr(), "flexvol: waiting for {program} {verb} (at most {deadline})");
}
