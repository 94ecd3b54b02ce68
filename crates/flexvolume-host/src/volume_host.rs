//! What a plugin is given of its surroundings (the seed's `VolumeHost`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use flexvolume::{Encoding, Secret};
use flexvolume_os::System;
use thiserror::Error;

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
#[derive(Debug, Clone)]
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
