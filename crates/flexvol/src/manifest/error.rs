//! What is wrong with a manifest, where, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use flexvolume_host::contract::{BytesError, NameError};
use thiserror::Error;

/// Where in the manifests something stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; `None` in JSON files, which are read without lines.
    pub line: Option<u32>,
    /// The object, such as `Pod default/web`; empty for the file as a whole.
    pub object: String,
    /// The field, such as `spec.volumes[0].flexVolume.driver`; empty for the object as a whole.
    pub field: String,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        if !self.object.is_empty() {
            write!(out, ": {}", self.object)?;
        }
        if !self.field.is_empty() {
            write!(out, ": {}", self.field)?;
        }
        Ok(())
    }
}

/// An error in a manifest. Never holds a value of a Secret or of an option.
#[derive(Debug, Error)]
#[error("{place}: {problem}")]
pub struct ManifestError {
    /// Where.
    pub place: Box<Place>,
    /// What, and the remedy.
    pub problem: Box<Problem>,
}

impl ManifestError {
    pub(super) fn new(place: Place, problem: impl Into<Problem>) -> Self {
        Self { place: Box::new(place), problem: Box::new(problem.into()) }
    }
}

/// What is wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the text of each is its description")]
pub enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("has more than {limit} bytes; a manifest for flexvol needs far less")]
    TooLarge { limit: u64 },
    #[error("is not UTF-8 text")]
    NotText,
    #[error("syntax error: {0}")]
    Syntax(String),
    #[error("must be {expected}, but is {found}")]
    Type { expected: &'static str, found: &'static str },
    #[error("must be text, but is {found}: Kubernetes takes only text here, so put the value in quotes")]
    NotQuoted { found: &'static str },
    #[error("is required")]
    Missing,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(
        "is a reserved option key: the namespaces kubernetes.io and k8s.io belong to the host; rename the option"
    )]
    ReservedKey,
    #[error("has {} volume sources ({}); a volume has exactly one", .0.len(), .0.join(", "))]
    SeveralSources(Vec<String>),
    #[error("has no volume source; flexvol handles flexVolume and persistentVolumeClaim")]
    NoSource,
    #[error("is a second volume of the name {0:?} in this pod; rename one of them")]
    DuplicateVolume(String),
    #[error("is a second {object}; the first is at {first}")]
    DuplicateObject { object: String, first: String },
    #[error("is the uid of {other} too; a pod's uid names its directories, so it must be unique")]
    DuplicateUid { other: String },
    #[error("the claim {0} is not in the given manifests; add the file that has it (-f)")]
    NoClaim(String),
    #[error(
        "the claim has no persistent volume yet; set spec.volumeName of the claim, or spec.claimRef of a PersistentVolume in the given manifests"
    )]
    UnboundClaim,
    #[error("the persistent volume {0} is not in the given manifests; add the file that has it (-f)")]
    NoPersistentVolume(String),
    #[error("the persistent volume {volume} is reserved for the claim {other} by its spec.claimRef")]
    ClaimedByOther { volume: String, other: String },
    #[error(
        "the persistent volume {volume} is of the kind {kind}, not flexVolume; flexvol handles flexVolume only"
    )]
    NotFlexVolume { volume: String, kind: String },
    #[error(
        "the persistent volume {0} has volumeMode: Block; FlexVolume has no raw block volumes, use volumeMode: Filesystem"
    )]
    BlockMode(String),
    #[error("must be Filesystem, but is {0:?}")]
    VolumeMode(String),
    #[error("must be Always or OnRootMismatch, but is {0:?}")]
    ChangePolicy(String),
    #[error("the Secret {0} is not in the given manifests; add the file that has it (-f)")]
    NoSecret(String),
    #[error(
        "the Secret {secret} has the type {found:?}, but FlexVolume hands a Secret only to the driver that its type names: set `type: {driver}` in the Secret"
    )]
    SecretType { secret: String, found: String, driver: String },
    #[error("is not base64")]
    NotBase64,
    #[error("{0}")]
    Quantity(BytesError),
    #[error("mounts the volume {0:?}, which spec.volumes does not list")]
    UnknownVolume(String),
    #[error("must be an absolute path without `..` and other than /, but is {0:?}")]
    MountPath(String),
    #[error("must be a relative path without `..`, but is {0:?}")]
    SubPath(String),
    #[error("subPathExpr is not supported; write the path out as subPath")]
    SubPathExpression,
    #[error("cannot stand in a process's environment: it contains NUL, or its name contains =")]
    Environment,
    #[error("is the mountPath of another volumeMount of this container too")]
    DuplicateMountPath,
}
