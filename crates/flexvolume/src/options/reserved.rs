//! The keys that Kubernetes reserves (v1.37 `pkg/volume/flexvolume/driver-call.go`).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{Access, Options, OptionsError, PodReference};
use crate::Secret;

pub(super) const PREFIX: &str = "kubernetes.io/";
pub(super) const FS_TYPE: &str = "kubernetes.io/fsType";
pub(super) const READ_WRITE: &str = "kubernetes.io/readwrite";
pub(super) const VOLUME_NAME: &str = "kubernetes.io/pvOrVolumeName";
pub(super) const POD_NAME: &str = "kubernetes.io/pod.name";
pub(super) const POD_NAMESPACE: &str = "kubernetes.io/pod.namespace";
pub(super) const POD_UID: &str = "kubernetes.io/pod.uid";
pub(super) const SERVICE_ACCOUNT: &str = "kubernetes.io/serviceAccount.name";
/// Sent since Kubernetes 1.15.
pub(super) const FS_GROUP: &str = "kubernetes.io/mounterArgs.FsGroup";
/// Sent up to Kubernetes 1.14, and the documented spelling to this day.
pub(super) const OLD_FS_GROUP: &str = "kubernetes.io/fsGroup";
pub(super) const SECRET_PREFIX: &str = "kubernetes.io/secret/";

/// What writes the padding accepts its absence: a person who calls a driver by hand may leave it out.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Options {
    /// Files one entry of the map under its field. Keys must come in ascending order: the current spelling of the
    /// fsGroup key is the greater one and so wins over the old one.
    pub(super) fn insert(&mut self, key: String, value: String) -> Result<(), OptionsError> {
        match key.as_str() {
            FS_TYPE => self.fs_type = value,
            VOLUME_NAME => self.volume_name = value,
            READ_WRITE => self.access = access(&value)?,
            POD_NAME => self.pod_mut().name = value,
            POD_NAMESPACE => self.pod_mut().namespace = value,
            POD_UID => self.pod_mut().uid = value,
            SERVICE_ACCOUNT => self.pod_mut().service_account = value,
            FS_GROUP | OLD_FS_GROUP => self.fs_group = Some(fs_group(key, &value)?),
            _ => match key.strip_prefix(SECRET_PREFIX).map(str::to_owned) {
                Some(name) => {
                    self.secrets.insert(name, secret(key, Zeroizing::new(value))?);
                }
                None => {
                    self.user.insert(key, value);
                }
            },
        }
        Ok(())
    }

    fn pod_mut(&mut self) -> &mut PodReference {
        self.pod.get_or_insert_default()
    }
}

/// Anything but `ro` and `rw` is refused: to guess `rw` could write to what was to be read only.
fn access(value: &str) -> Result<Access, OptionsError> {
    match value {
        "rw" => Ok(Access::ReadWrite),
        "ro" => Ok(Access::ReadOnly),
        _ => Err(OptionsError::Value { key: READ_WRITE.to_owned(), why: "is neither \"ro\" nor \"rw\"" }),
    }
}

fn fs_group(key: String, value: &str) -> Result<i64, OptionsError> {
    value.parse().map_err(|_| OptionsError::Value { key, why: "is not a group id" })
}

#[expect(clippy::needless_pass_by_value, reason = "the encoded secret is wiped here")]
fn secret(key: String, value: Zeroizing<String>) -> Result<Secret, OptionsError> {
    match BASE64.decode(value.as_bytes()) {
        Ok(bytes) => Ok(Secret::new(bytes)),
        Err(_) => Err(OptionsError::Value { key, why: "is not base64" }),
    }
}
