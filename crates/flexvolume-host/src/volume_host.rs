//! What a plugin is given of its surroundings (the seed's `VolumeHost`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flexvolume::{Encoding, Secret, Verb};
use flexvolume_os::System;
use thiserror::Error;

use crate::settings::Settings;

/// How drivers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// Exactly as Kubernetes v1.37 does.
    Strict,
    /// As it takes to run every real driver, without ever turning a failure into a success.
    #[default]
    Tolerant,
}

impl Reading {
    /// How options are written for a driver.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        match self {
            Reading::Strict => Encoding::Kubernetes,
            Reading::Tolerant => Encoding::Escaped,
        }
    }
}

/// A Kubernetes Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretObject {
    /// Its `type`; must equal the driver's name.
    pub kind: String,
    /// Its data, decoded.
    pub data: BTreeMap<String, Secret>,
}

/// Why a Secret cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// There is none of that name.
    #[error("secrets {name:?} not found")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The source gave no answer.
    #[error("secret {namespace}/{name}: {why}")]
    Unavailable {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The cause.
        why: String,
    },
}

/// Where Secrets come from.
pub trait SecretSource: Send + Sync {
    /// Reads a Secret, afresh at each mount.
    ///
    /// # Errors
    /// [`SecretError`].
    fn secret(&self, namespace: &str, name: &str) -> Result<SecretObject, SecretError>;
}

/// How long things may take. Kubernetes bounds `waitforattach` alone; here nothing runs without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// `init`, and the other questions that change nothing: `getvolumename`, `isattached`.
    pub question: Duration,
    /// `waitforattach`, as long as kubelet waits.
    pub wait_for_attach: Duration,
    /// Every other call-out. Generous: real drivers upload in `unmount` and format in `mountdevice`.
    pub call: Duration,
    /// How long another process may keep a volume or a pod to itself before we give up.
    pub lock: Duration,
}

impl Deadlines {
    /// The deadline of a call-out.
    #[must_use]
    pub fn of(&self, verb: Verb) -> Duration {
        match verb {
            Verb::Init | Verb::GetVolumeName | Verb::IsAttached => self.question,
            Verb::WaitForAttach => self.wait_for_attach,
            _ => self.call,
        }
    }
}

impl Default for Deadlines {
    /// 30 seconds, 10 minutes, 5 minutes; 5 minutes for locks.
    fn default() -> Self {
        Self {
            question: Duration::from_secs(30),
            wait_for_attach: Duration::from_secs(600),
            call: Duration::from_secs(300),
            lock: Duration::from_secs(300),
        }
    }
}

/// The surroundings of the plugins.
#[derive(Clone)]
pub struct VolumeHost {
    /// kubelet's root directory, or ours: everything that the host makes is below it.
    pub root: PathBuf,
    /// The name of this node.
    pub node: String,
    /// Programs and mounts.
    pub system: System,
    /// Secrets.
    pub secrets: Arc<dyn SecretSource>,
    /// How drivers are read.
    pub reading: Reading,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// What is set per driver.
    pub settings: Arc<Settings>,
}

impl fmt::Debug for VolumeHost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VolumeHost")
            .field("root", &self.root)
            .field("node", &self.node)
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}
