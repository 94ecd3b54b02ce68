//! The matrix: what is done to a mount, what becomes of its server meanwhile, and what must hold then.

use crate::table::Expect;

/// A step in the life of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `mount`, with the fault there before.
    Mount,
    /// `unmount` of a mount that was well before the fault.
    Unmount,
    /// The fault comes and goes while it is mounted; then it must serve again, healed if need be.
    Return,
}

pub(crate) const STEPS: [Step; 3] = [Step::Mount, Step::Unmount, Step::Return];

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Mount => "mount",
            Step::Unmount => "unmount",
            Step::Return => "return",
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Stopped,
    Crashed,
    Silent,
    LinkCut,
    Missing,
    Replaced,
    Denied,
    NoName,
    WrongSecret,
    Busy,
    DirtyPages,
    BlockedWriter,
    WorkingDirectory,
    DriverKilled,
    Rebooted,
    Fifty,
    LinkInExport,
    Climbing,
    LinkAsTarget,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Stopped => "server-stopped",
            Fault::Crashed => "server-crashed",
            Fault::Silent => "server-silent",
            Fault::LinkCut => "link-cut",
            Fault::Missing => "export-missing",
            Fault::Replaced => "export-replaced",
            Fault::Denied => "access-denied",
            Fault::NoName => "no-such-name",
            Fault::WrongSecret => "wrong-secret",
            Fault::Busy => "in-use",
            Fault::DirtyPages => "dirty-pages",
            Fault::BlockedWriter => "blocked-writer",
            Fault::WorkingDirectory => "cwd-inside",
            Fault::DriverKilled => "driver-killed",
            Fault::Rebooted => "rebooted",
            Fault::Fifty => "fifty-mounts",
            Fault::LinkInExport => "symlink-in-export",
            Fault::Climbing => "dot-dot",
            Fault::LinkAsTarget => "symlink-as-target",
        }
    }

    /// Whether the server is silent, so that an unmount must come back in ten seconds.
    pub(crate) fn is_silence(self) -> bool {
        use Fault::{BlockedWriter, DirtyPages, Fifty, LinkCut, Silent, WorkingDirectory};
        matches!(self, Silent | LinkCut | DirtyPages | BlockedWriter | WorkingDirectory | Fifty)
    }
}

/// A fault, and what is expected of each step.
pub(crate) struct Row {
    pub(crate) fault: Fault,
    /// What is done, for the document.
    pub(crate) how: &'static str,
    /// In the order of `STEPS`.
    pub(crate) cells: [Expect; STEPS.len()],
    /// Whether it runs before every change, too.
    pub(crate) length: Length,
}

/// When a row runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Quick,
    Full,
}
