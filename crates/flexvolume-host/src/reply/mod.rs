//! Reading what a driver printed: `strict` as Kubernetes does, `tolerant` as it takes.

pub mod strict;
pub mod tolerant;

use flexvolume::{Capabilities, Verb};
use flexvolume_os::runner::{Output, StartError};

/// The call-out that was made, or the nonsense verb by which a host learns how a driver answers unknown verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A call-out.
    Call(Verb),
    /// A verb that no driver knows.
    Nonsense,
}

/// What came back from the process.
pub type Run = Result<Output, StartError>;

/// The fields of a reply that a host uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// `message`.
    pub message: String,
    /// `device`; empty when absent.
    pub device: String,
    /// `volumeName`; empty when absent.
    pub volume_name: String,
    /// `attached`.
    pub attached: bool,
    /// `volumeNewSize`.
    pub new_size: i64,
    /// `capabilities`, defaults filled in; `None` when the driver said null (strict), or at other calls than `init`.
    pub capabilities: Option<Capabilities>,
}

/// A rule of `drivers.md` §3 by its number, 1 to 21.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule(pub u8);
