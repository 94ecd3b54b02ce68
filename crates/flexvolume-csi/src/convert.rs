//! From requests to volumes, and from errors to codes.

use std::collections::BTreeMap;

use flexvolume_host::contract::{Access, DriverName, PodUid, VolumeName};
use flexvolume_host::lifecycle::LifecycleError;
use flexvolume_host::registry::RegistryError;
use flexvolume_host::spec::{Pod, Source, VolumeSpec};
use tonic::Status;

use crate::book::short_digest;
use crate::messages::{Mode, VolumeCapability};
use crate::target::Target;

/// The specification allows 128 bytes; names of persistent volumes can have 253.
const LONGEST_ID: usize = 1024;
/// The key under which a controller's device reaches the node.
pub(crate) const DEVICE_KEY: &str = "flexvolume.device";
/// Keys of Kubernetes' own components, which no driver knows.
const KUBERNETES_KEYS: [&str; 2] = ["csi.storage.k8s.io/", "storage.kubernetes.io/"];
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";

/// How a volume shall be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) fs_type: String,
    pub(crate) access: Access,
    pub(crate) mode: Mode,
    pub(crate) fs_group: Option<i64>,
}

/// Refuses an id that is missing or absurd.
pub(crate) fn id<'a>(field: &'static str, id: &'a str) -> Result<&'a str, Status> {
    match id {
        "" => Err(Status::invalid_argument(format!("{field} is missing"))),
        id if id.len() > LONGEST_ID => {
            Err(Status::invalid_argument(format!("{field} has {} bytes; {LONGEST_ID} are enough", id.len())))
        }
        id => Ok(id),
    }
}

/// Reads a capability; `field` names it in errors.
pub(crate) fn usage(capability: Option<&VolumeCapability>, read_only: bool) -> Result<Use, Status> {
    let missing = || Status::invalid_argument("volume_capability is missing");
    let capability = capability.ok_or_else(missing)?;
    if capability.block.is_some() {
        return Err(Status::invalid_argument(
            "a FlexVolume driver has no raw block volumes: set volumeMode to Filesystem",
        ));
    }
    let mount = capability.mount.as_ref().ok_or_else(missing)?;
    let mode = mode(capability)?;
    let mut access = if read_only || is_reader_only(mode) { Access::ReadOnly } else { Access::ReadWrite };
    for flag in &mount.mount_flags {
        match flag.as_str() {
            "ro" => access = Access::ReadOnly,
            "rw" => {}
            // The flag itself may be a secret.
            _ => {
                return Err(Status::invalid_argument(
                    "a FlexVolume driver takes no mountOptions but ro and rw: put what it needs into the volume's attributes",
                ));
            }
        }
    }
    let fs_group = match mount.volume_mount_group.as_str() {
        "" => None,
        group => {
            Some(group.parse().map_err(|_| Status::invalid_argument("volume_mount_group is no number"))?)
        }
    };
    Ok(Use { fs_type: mount.fs_type.clone(), access, mode, fs_group })
}

fn mode(capability: &VolumeCapability) -> Result<Mode, Status> {
    let number = capability.access_mode.as_ref().map_or(0, |mode| mode.mode);
    match Mode::try_from(number) {
        Ok(Mode::Unknown) => Err(Status::invalid_argument("access_mode is missing")),
        Ok(mode) => Ok(mode),
        Err(_) => Err(Status::invalid_argument(format!("access mode {number} is not known"))),
    }
}

fn is_reader_only(mode: Mode) -> bool {
    matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly)
}

/// The name by which a driver knows the volume of this id: the id itself, which for a migrated volume is the old
/// persistent volume's name, or a digest where the id could not be part of a path.
pub(crate) fn volume_name(id: &str) -> Result<VolumeName, Status> {
    VolumeName::parse(id)
        .or_else(|_| VolumeName::parse(format!("csi-{}", short_digest(id))))
        .map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The options that are for the driver.
pub(crate) fn options(context: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_ours = |key: &String| KUBERNETES_KEYS.iter().any(|prefix| key.starts_with(prefix));
    context.iter().filter(|(key, _)| !is_ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether a volume belongs to its pod.
pub(crate) fn is_ephemeral(context: &BTreeMap<String, String>) -> bool {
    context.get(EPHEMERAL).is_some_and(|value| value == "true")
}

/// A volume by its id.
pub(crate) fn spec(
    driver: &DriverName,
    (id, context): (&str, &BTreeMap<String, String>),
    wanted: &Use,
) -> Result<VolumeSpec, Status> {
    Ok(VolumeSpec {
        name: volume_name(id)?,
        driver: driver.to_string(),
        fs_type: wanted.fs_type.clone(),
        access: wanted.access,
        options: options(context),
        secret: None,
        source: Source::PersistentVolume { mode: None, capacity: None },
    })
}

/// An inline volume, which is named by the pod: kubelet gives the name as the directory of the target.
pub(crate) fn inline(mut spec: VolumeSpec, target: &Target) -> Result<VolumeSpec, Status> {
    let parts = target.parts();
    let name = parts.len().checked_sub(2).and_then(|position| parts.get(position)).copied();
    let name = name.unwrap_or_default();
    spec.name = VolumeName::parse(name).map_err(|error| Status::invalid_argument(error.to_string()))?;
    spec.source = Source::Inline;
    Ok(spec)
}

/// The pod that a volume is published for: as kubelet tells it (`podInfoOnMount`), or as the target path does.
pub(crate) fn pod(context: &BTreeMap<String, String>, target: &Target) -> Result<Pod, Status> {
    let said = |key: &str| context.get(&format!("csi.storage.k8s.io/{key}")).cloned().unwrap_or_default();
    let uid = Some(said("pod.uid")).filter(|uid| !uid.is_empty());
    Ok(Pod {
        uid: match uid {
            Some(uid) => PodUid::parse(uid).map_err(|error| Status::invalid_argument(error.to_string()))?,
            None => pod_uid_of(target)?,
        },
        name: said("pod.name"),
        namespace: said("pod.namespace"),
        service_account: said("serviceAccount.name"),
    })
}

/// `pods/<uid>/volumes/…`, or a name of our own.
pub(crate) fn pod_uid_of(target: &Target) -> Result<PodUid, Status> {
    let uid = match target.parts().as_slice() {
        ["pods", uid, "volumes", ..] => PodUid::parse(*uid),
        _ => PodUid::parse(format!("csi-{}", short_digest(&target.path().to_string_lossy()))),
    };
    uid.map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The code of an error of the host library. Kubelet takes everything but a few codes for "nothing is in progress and
/// nothing is left", so those few are for everything of which that is not sure.
pub(crate) fn lifecycle_status(error: &LifecycleError) -> Status {
    let text = error.to_string();
    match error {
        LifecycleError::Lock(_) => Status::aborted(text),
        LifecycleError::Step { cleanup, .. } if !cleanup.is_empty() => Status::unavailable(text),
        LifecycleError::Step { step: "find the driver", .. } => Status::failed_precondition(text),
        LifecycleError::NoVolume { .. } => Status::not_found(text),
        LifecycleError::Shrink { .. } => Status::out_of_range(text),
        LifecycleError::Collision { .. } | LifecycleError::Foreign { .. } => {
            Status::failed_precondition(text)
        }
        LifecycleError::Record(_) | LifecycleError::MountTable(_) => Status::unavailable(text),
        _ => Status::internal(text),
    }
}

/// The code of a driver that is missing or broken.
pub(crate) fn registry_status(error: &RegistryError) -> Status {
    Status::unavailable(error.to_string())
}

/// The codes that kubelet takes for "nothing is in progress" (Kubernetes v1.37 `pkg/volume/csi/csi_client.go`).
pub(crate) fn is_final(code: tonic::Code) -> bool {
    use tonic::Code::{Aborted, Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable};
    !matches!(code, Cancelled | DeadlineExceeded | Unavailable | ResourceExhausted | Aborted)
}
