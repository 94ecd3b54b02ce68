//! The options of a call-out, from the volume, the pod and the Secret.

use std::collections::BTreeMap;

use flexvolume::{Options, PodReference, Secret};

use super::PluginError;
use crate::spec::{Pod, SecretReference, VolumeSpec};
use crate::{SecretError, VolumeHost};

/// What every call-out with options is told.
pub(super) fn of_volume(spec: &VolumeSpec) -> Options {
    Options {
        fs_type: spec.fs_type.clone(),
        access: spec.access,
        volume_name: spec.name.as_str().to_owned(),
        user: spec.options.clone(),
        ..Options::default()
    }
}

/// What `mount` is told in addition: the pod, the Secret, the group.
pub(super) fn of_mount(
    host: &VolumeHost,
    spec: &VolumeSpec,
    pod: &Pod,
    fs_group: Option<i64>,
) -> Result<Options, PluginError> {
    let pod_reference = PodReference {
        name: pod.name.clone(),
        namespace: pod.namespace.clone(),
        uid: pod.uid.as_str().to_owned(),
        service_account: pod.service_account.clone(),
    };
    Ok(Options { pod: Some(pod_reference), fs_group, secrets: secrets(host, spec, pod)?, ..of_volume(spec) })
}

/// The volume's Secret. A reference without a name, or without any namespace, means none (Kubernetes v1.37
/// `pkg/volume/flexvolume/util.go`).
fn secrets(host: &VolumeHost, spec: &VolumeSpec, pod: &Pod) -> Result<BTreeMap<String, Secret>, PluginError> {
    let Some(SecretReference { namespace, name }) = &spec.secret else { return Ok(BTreeMap::new()) };
    let namespace = namespace.as_deref().filter(|given| !given.is_empty()).unwrap_or(&pod.namespace);
    if name.is_empty() || namespace.is_empty() {
        return Ok(BTreeMap::new());
    }
    let failed = |source: SecretError| PluginError::Secret {
        namespace: namespace.to_owned(),
        name: name.clone(),
        source,
    };
    let secret = host.secrets.secret(namespace, name).map_err(failed)?;
    if secret.kind == spec.driver {
        return Ok(secret.data);
    }
    Err(PluginError::SecretKind {
        namespace: namespace.to_owned(),
        name: name.clone(),
        driver: spec.driver.clone(),
        kind: secret.kind,
    })
}
