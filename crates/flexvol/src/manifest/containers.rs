//! The containers of a pod: what is mounted where.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use flexvolume_host::contract::Access;

use super::error::{ManifestError, Problem};
use super::node::At;
use super::pod::{ContainerDocument, MountDocument};

/// A container of a pod.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// `volumeMounts`.
    pub mounts: Vec<ContainerMount>,
    /// `env` entries that have a plain value.
    pub environment: Vec<(String, String)>,
    /// Names of `env` entries that Kubernetes would compute (`valueFrom`).
    pub computed_environment: Vec<String>,
}

/// A volume in a container.
#[derive(Debug)]
pub struct ContainerMount {
    /// `volumes[].name`.
    pub pod_volume: String,
    /// `mountPath`.
    pub mount_path: PathBuf,
    /// `subPath`.
    pub sub_path: Option<PathBuf>,
    /// `readOnly`.
    pub access: Access,
}

/// Checks a container against the names of the pod's volumes.
pub(super) fn container_plan(
    document: &ContainerDocument<'_>,
    volumes: &BTreeSet<&str>,
) -> Result<Container, ManifestError> {
    let mut taken = BTreeSet::new();
    let mut mounts = Vec::new();
    for mount in &document.mounts {
        let planned = container_mount(mount, volumes)?;
        if !taken.insert(planned.mount_path.clone()) {
            return Err(mount.mount_path.error(Problem::DuplicateMountPath));
        }
        mounts.push(planned);
    }
    let (plain, computed): (Vec<_>, Vec<_>) =
        document.environment.iter().partition(|(_, value)| value.is_some());
    let plain = plain.into_iter().map(|(name, value)| ((*name).to_owned(), value.unwrap_or("").to_owned()));
    Ok(Container {
        name: document.name.to_owned(),
        mounts,
        environment: plain.collect(),
        computed_environment: computed.into_iter().map(|(name, _)| (*name).to_owned()).collect(),
    })
}

fn container_mount(
    mount: &MountDocument<'_>,
    volumes: &BTreeSet<&str>,
) -> Result<ContainerMount, ManifestError> {
    let name = mount.name.text()?;
    if !volumes.contains(name) {
        return Err(mount.name.error(Problem::UnknownVolume(name.to_owned())));
    }
    Ok(ContainerMount {
        pod_volume: name.to_owned(),
        mount_path: mount_path(&mount.mount_path)?,
        sub_path: mount.sub_path.as_ref().map(sub_path).transpose()?.flatten(),
        access: if mount.read_only { Access::ReadOnly } else { Access::ReadWrite },
    })
}

/// An absolute path without `..`, not the root.
fn mount_path(at: &At<'_>) -> Result<PathBuf, ManifestError> {
    let text = at.text()?;
    let refuse = || at.error(Problem::MountPath(text.to_owned()));
    let relative = Path::new(text).strip_prefix("/").map_err(|_| refuse())?;
    let plain = plain_components(relative).ok_or_else(refuse)?;
    if plain.as_os_str().is_empty() { Err(refuse()) } else { Ok(Path::new("/").join(plain)) }
}

/// A relative path without `..`; empty means the volume itself.
fn sub_path(at: &At<'_>) -> Result<Option<PathBuf>, ManifestError> {
    let text = at.text()?;
    let plain = plain_components(Path::new(text));
    let plain = plain.ok_or_else(|| at.error(Problem::SubPath(text.to_owned())))?;
    Ok((!plain.as_os_str().is_empty()).then_some(plain))
}

/// The names of a relative path; `None` if it climbs, is absolute, or cannot be a path.
fn plain_components(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if !name.as_encoded_bytes().contains(&0) => plain.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(plain)
}
