//! This machine, for storage programs.

pub mod atomic;
pub mod beneath;
pub mod block;
mod capture;
pub mod command;
pub mod failpoint;
#[cfg(feature = "fake")]
pub mod fake;
pub mod filesystem;
mod kernel;
mod liveness;
pub mod lock;
pub mod loop_device;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
pub mod runner;
pub mod signals;
mod start_failure;
pub mod tools;

use std::fmt;
use std::sync::Arc;

/// What drivers and host receive instead of reaching for the machine themselves.
#[derive(Clone)]
pub struct System {
    /// Runs programs.
    pub runner: Arc<dyn runner::Runner>,
    /// Mounts and reads the mount table.
    pub mounter: Arc<dyn mount::Mounter>,
}

impl System {
    /// This machine.
    #[must_use]
    pub fn host() -> Self {
        Self { runner: Arc::new(runner::SystemRunner), mounter: Arc::new(mount::SystemMounter) }
    }
}

impl fmt::Debug for System {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("System")
    }
}
