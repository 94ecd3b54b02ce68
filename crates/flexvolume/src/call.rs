//! The call-outs.

use std::path::PathBuf;

use thiserror::Error;

use crate::{Options, OptionsError, Verb};

mod argv;

/// One invocation of a driver: the verb and its arguments, as Kubernetes v1.37 passes them
/// (`pkg/volume/flexvolume/driver-call.go` and the files beside it).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// `init`: is the driver usable, and what can it do?
    Init,
    /// `getvolumename <options>`.
    GetVolumeName {
        /// The volume.
        options: Options,
    },
    /// `attach <options> <node>`: make the device available to the node. May run on another machine.
    Attach {
        /// The volume.
        options: Options,
        /// The node.
        node: String,
    },
    /// `waitforattach <device> <options>`: on the node, until the device is there.
    WaitForAttach {
        /// What `attach` answered; may be empty.
        device: String,
        /// The volume.
        options: Options,
    },
    /// `isattached <options> <node>`.
    IsAttached {
        /// The volume.
        options: Options,
        /// The node.
        node: String,
    },
    /// `mountdevice <device mount path> <device> <options>`: mount once per node.
    MountDevice {
        /// The device mount path.
        path: PathBuf,
        /// What `waitforattach` answered; may be empty.
        device: String,
        /// The volume.
        options: Options,
    },
    /// `mount <mount dir> <options>`: mount for one pod.
    Mount {
        /// The mount dir.
        path: PathBuf,
        /// The volume, the pod and its secrets.
        options: Options,
    },
    /// `unmount <mount dir>`.
    Unmount {
        /// The mount dir.
        path: PathBuf,
    },
    /// `unmountdevice <device mount path>`.
    UnmountDevice {
        /// The device mount path.
        path: PathBuf,
    },
    /// `detach <volume name> <node>`: the name is the persistent volume's or the pod volume's, never a device.
    Detach {
        /// The volume name.
        volume: String,
        /// The node.
        node: String,
    },
    /// `expandvolume <options> <device mount path> <new size> <old size>`.
    ExpandVolume {
        /// The volume.
        options: Options,
        /// The device mount path.
        path: PathBuf,
        /// Bytes wanted.
        new_size: u64,
        /// Bytes so far.
        old_size: u64,
    },
    /// `expandfs <options> <device> <mount dir> <new size> <old size>`.
    ExpandFs {
        /// The volume.
        options: Options,
        /// The device; may be empty.
        device: String,
        /// The mount dir of the pod.
        path: PathBuf,
        /// Bytes wanted.
        new_size: u64,
        /// Bytes so far.
        old_size: u64,
    },
}

/// Why arguments are not a call-out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// No arguments at all.
    #[error("no call-out given")]
    Missing,
    /// A verb that this contract does not have; a driver answers it with `Not supported`. Holds the verb if it is one
    /// short plain word, else an ellipsis.
    #[error("unknown call-out {0:?}")]
    UnknownVerb(String),
    /// Too few or too many arguments, or one of the wrong kind.
    #[error("arguments of {verb}: {why}", verb = .verb.as_str())]
    Arguments {
        /// The call-out.
        verb: Verb,
        /// What is wrong, without the arguments.
        why: String,
    },
    /// The options cannot be read.
    #[error("{verb}: {source}", verb = .verb.as_str())]
    Options {
        /// The call-out.
        verb: Verb,
        /// Why.
        source: OptionsError,
    },
}

impl Call {
    /// The verb.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Call::Init => Verb::Init,
            Call::GetVolumeName { .. } => Verb::GetVolumeName,
            Call::Attach { .. } => Verb::Attach,
            Call::WaitForAttach { .. } => Verb::WaitForAttach,
            Call::IsAttached { .. } => Verb::IsAttached,
            Call::MountDevice { .. } => Verb::MountDevice,
            Call::Mount { .. } => Verb::Mount,
            Call::Unmount { .. } => Verb::Unmount,
            Call::UnmountDevice { .. } => Verb::UnmountDevice,
            Call::Detach { .. } => Verb::Detach,
            Call::ExpandVolume { .. } => Verb::ExpandVolume,
            Call::ExpandFs { .. } => Verb::ExpandFs,
        }
    }

    /// The options, if the call-out has any.
    #[must_use]
    pub fn options(&self) -> Option<&Options> {
        match self {
            Call::GetVolumeName { options }
            | Call::Attach { options, .. }
            | Call::WaitForAttach { options, .. }
            | Call::IsAttached { options, .. }
            | Call::MountDevice { options, .. }
            | Call::Mount { options, .. }
            | Call::ExpandVolume { options, .. }
            | Call::ExpandFs { options, .. } => Some(options),
            Call::Init | Call::Unmount { .. } | Call::UnmountDevice { .. } | Call::Detach { .. } => None,
        }
    }
}
