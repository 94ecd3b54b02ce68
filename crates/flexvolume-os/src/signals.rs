//! Signals that this process lives through, because it has something to clean up.

use std::io;

use rustix::process::Signal;

use crate::kernel;

/// What a person or a service manager ends a program with.
const CAUGHT: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// From [`Signals::catch`] on, SIGINT, SIGTERM, SIGHUP and SIGQUIT no longer end this process but are kept to be asked
/// for. One that is ignored stays ignored, as `nohup` wants it. Programs that are started get the usual behaviour.
#[derive(Debug)]
pub struct Signals(());

impl Signals {
    /// Catches them for the rest of the process's life.
    ///
    /// # Errors
    /// The system's error.
    pub fn catch() -> io::Result<Self> {
        CAUGHT.into_iter().try_for_each(kernel::catch_signal)?;
        Ok(Self(()))
    }

    /// A signal that came since it was asked for last, by its number.
    #[must_use]
    pub fn take(&self) -> Option<i32> {
        self.take_signal().map(Signal::as_raw)
    }

    pub(crate) fn take_signal(&self) -> Option<Signal> {
        CAUGHT.into_iter().find(|signal| kernel::take_caught(*signal))
    }
}
