//! This machine, for storage programs: run programs, mount, make file systems, attach loop devices, keep files and
//! locks that survive a crash.
//!
//! It knows nothing of FlexVolume. Drivers and host receive a [`System`] and ask it; tests hand them a system of the two
//! fakes instead (`fake`, behind the feature of that name).
//!
//! # Guarantees
//!
//! - Only [`runner`] starts programs. Each has a deadline, a process group that is ended whole when the deadline passes,
//!   bounded output, no descriptor of ours, and an error that says why it did not start.
//! - Only [`mount`] and the child of [`network_mount`] mount. A mount never lands on what a symlink leads to, and a dead or slow server never holds up the
//!   question whether something is mounted.
//! - What is on a device is never guessed: [`filesystem::probe`] tells "nothing known" from "cannot know".
//! - [`atomic::write`] leaves the old file or the new one, also after a power cut.
//!
//! # Assumptions
//!
//! Linux 5.8 or later, `/proc` and `/sys`. Paths are used as they are given: whoever has a root puts it in front.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use flexvolume_os::System;
//! use flexvolume_os::command::Command;
//! use flexvolume_os::runner::Ended;
//!
//! let system = System::host();
//! let command = Command::new("sh", Duration::from_secs(10)).arguments(["-c", "echo out; echo err >&2; exit 3"]);
//! let output = system.runner.run(&command)?;
//! assert_eq!(output.ended, Ended::Exited(3));
//! assert_eq!((output.stdout.bytes.as_slice(), output.stderr.bytes.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
//! # Ok::<(), flexvolume_os::runner::StartError>(())
//! ```

pub mod atomic;
pub mod beneath;
pub mod block;
mod capture;
pub mod command;
pub mod failpoint;
#[cfg(feature = "fake")]
pub mod fake;
pub mod filesystem;
pub mod iscsi;
mod kernel;
mod liveness;
pub mod lock;
pub mod loop_device;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
pub mod nbd;
pub mod netlink;
pub mod network_mount;
pub mod orphan;
pub mod reach;
mod references;
pub mod reservation;
pub mod runner;
pub mod scsi;
pub mod signals;
pub mod socket;
mod start_failure;
pub mod tools;
pub mod writers;

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
