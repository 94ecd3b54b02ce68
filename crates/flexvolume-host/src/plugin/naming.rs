//! The names under which kubelet and the controllers file volumes.

use std::collections::BTreeMap;

use flexvolume::{Access, PodUid, VolumeName};

use super::{PluginError, VolumePlugin};
use crate::spec::{Source, VolumeSpec};

impl VolumePlugin {
    /// The unique name of a volume: `<driver>/<volume>` for an attachable driver, `<driver>/<pod uid>-<volume>`
    /// otherwise (Kubernetes v1.37 `pkg/volume/util/util.go`).
    ///
    /// # Errors
    /// [`PluginError`] when `getvolumename` fails, which only an attachable driver is asked.
    pub fn unique_name(&self, spec: &VolumeSpec, pod: &PodUid) -> Result<String, PluginError> {
        if self.capabilities().attach {
            let failed = |error: PluginError| PluginError::NoUniqueName {
                volume: spec.name.to_string(),
                source: error.into(),
            };
            return Ok(format!("{}/{}", self.name(), self.volume_name(spec).map_err(failed)?));
        }
        Ok(format!("{}/{pod}-{}", self.name(), spec.name))
    }

    /// The volume as far as it can be known from its directory: an inline volume with a name and a driver.
    #[must_use]
    pub fn construct_volume_spec(&self, volume: &VolumeName) -> VolumeSpec {
        VolumeSpec {
            name: volume.clone(),
            driver: self.name().to_string(),
            fs_type: String::new(),
            access: Access::ReadWrite,
            options: BTreeMap::new(),
            secret: None,
            source: Source::Inline,
        }
    }
}

/// Splits the unique name of an attachable volume into driver and volume, as the attach/detach controller does after a
/// restart: a driver without a vendor cannot be split off.
#[must_use]
pub fn split_unique_name(unique: &str) -> Option<(&str, &str)> {
    let (second_slash, _) = unique.match_indices('/').nth(1)?;
    Some((&unique[..second_slash], &unique[second_slash + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_name_has_three_parts() {
        assert_eq!(split_unique_name("acme/disk/data"), Some(("acme/disk", "data")));
        assert_eq!(split_unique_name("acme/disk/a/b"), Some(("acme/disk", "a/b")));
        assert_eq!(split_unique_name("lvm/data"), None);
        assert_eq!(split_unique_name(""), None);
    }
}
