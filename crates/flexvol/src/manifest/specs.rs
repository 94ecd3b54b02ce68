//! Volume specs: from `flexVolume` in a pod, or through a claim.

use flexvolume_host::Reading;
use flexvolume_host::contract::{Access, VolumeName};
use flexvolume_host::spec::{SecretReference, Source, VolumeMode, VolumeSpec};

use super::documents::ObjectName;
use super::error::{ManifestError, Place, Problem};
use super::flex::FlexDocument;
use super::objects::Objects;
use super::pod::ClaimUse;

/// Makes specs of what documents say. Each comes with the place where its driver is named.
pub(super) struct Specs<'o, 'a> {
    pub(super) objects: &'o Objects<'a>,
    pub(super) reading: Reading,
}

impl Specs<'_, '_> {
    /// The spec of a volume that the pod itself describes.
    pub(super) fn inline(
        &self,
        name: VolumeName,
        flex: &FlexDocument<'_>,
    ) -> Result<(VolumeSpec, Place), ManifestError> {
        // An inline `secretRef` has no namespace: it is the pod's.
        let secret = flex.secret.as_ref();
        let secret = secret.map(|secret| SecretReference { namespace: None, name: secret.name.to_owned() });
        let spec = VolumeSpec { access: access(flex.read_only), secret, ..spec(name, flex, Source::Inline)? };
        Ok((spec, flex.driver.place().clone()))
    }

    /// The spec of the persistent volume that a claim is bound to.
    pub(super) fn of_claim(
        &self,
        claim: &ClaimUse<'_>,
        namespace: &str,
    ) -> Result<(VolumeSpec, Place), ManifestError> {
        let name = ObjectName { namespace: namespace.to_owned(), name: claim.name.to_owned() };
        let volume = self.objects.bound(self.objects.claim(&claim.at, &name)?)?;
        let volume_name = volume.name.text()?;
        let flex = volume.source.as_ref().map_err(|kind| {
            claim.at.error(Problem::NotFlexVolume { volume: volume_name.to_owned(), kind: kind.clone() })
        })?;
        if volume.mode == Some(VolumeMode::Block) {
            return Err(claim.at.error(Problem::BlockMode(volume_name.to_owned())));
        }
        let name = VolumeName::parse(volume_name).map_err(|error| volume.name.error(error))?;
        let source = Source::PersistentVolume { mode: volume.mode, capacity: volume.capacity };
        // Kubernetes ignores the persistent volume's own `readOnly`; the tolerant reading takes either word for it.
        let read_only = claim.read_only || (self.reading == Reading::Tolerant && flex.read_only);
        let secret = flex.secret.as_ref().map(|secret| SecretReference {
            namespace: (!secret.namespace.is_empty()).then(|| secret.namespace.to_owned()),
            name: secret.name.to_owned(),
        });
        let spec = VolumeSpec { access: access(read_only), secret, ..spec(name, flex, source)? };
        Ok((spec, flex.driver.place().clone()))
    }
}

fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::ReadWrite }
}

fn spec(name: VolumeName, flex: &FlexDocument<'_>, source: Source) -> Result<VolumeSpec, ManifestError> {
    Ok(VolumeSpec {
        name,
        driver: flex.driver.text()?.to_owned(),
        fs_type: flex.fs_type.to_owned(),
        access: Access::ReadWrite,
        options: flex.options.clone(),
        secret: None,
        source,
    })
}
