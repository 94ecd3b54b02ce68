//! When nothing has happened for a while: memory that much work at once has needed goes back to the system.

use std::time::{Duration, Instant};

use flexvolume_host::os::memory;

/// Work comes in crowds, and the next one would need it again.
const QUIET: Duration = Duration::from_secs(5);

/// How long nothing has happened.
#[derive(Debug)]
pub(super) struct Rest {
    since: Instant,
    worked: bool,
}

impl Rest {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), worked: true }
    }

    /// Something happens.
    pub(super) fn disturb(&mut self) {
        *self = Self::new();
    }

    /// Nothing happens.
    pub(super) fn go_on(&mut self) {
        if self.worked && self.since.elapsed() >= QUIET {
            memory::give_back();
            self.worked = false;
        }
    }
}
