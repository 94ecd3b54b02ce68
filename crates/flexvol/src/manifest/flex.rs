//! `flexVolume` in a pod or a persistent volume.

use std::collections::BTreeMap;

use super::documents::{flag, text_or};
use super::error::{ManifestError, Problem};
use super::node::At;

/// `flexVolume` of a pod or of a persistent volume.
#[derive(Clone)]
pub(super) struct FlexDocument<'a> {
    pub(super) driver: At<'a>,
    pub(super) fs_type: &'a str,
    pub(super) read_only: bool,
    pub(super) options: BTreeMap<String, String>,
    pub(super) secret: Option<SecretReferenceDocument<'a>>,
}

#[derive(Clone)]
pub(super) struct SecretReferenceDocument<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

pub(super) fn flex_document<'a>(at: &At<'a>) -> Result<FlexDocument<'a>, ManifestError> {
    let driver = at.required("driver")?;
    if driver.text()?.is_empty() {
        return Err(driver.error(Problem::Missing));
    }
    let mut options = BTreeMap::new();
    if let Some(map) = at.get("options")? {
        for (key, value) in map.entries()? {
            if is_reserved(key) {
                return Err(value.error(Problem::ReservedKey));
            }
            options.insert(key.to_owned(), value.text()?.to_owned());
        }
    }
    Ok(FlexDocument {
        driver,
        fs_type: text_or(at, "fsType", "")?,
        read_only: flag(at, "readOnly")?,
        options,
        secret: secret_reference(at)?,
    })
}

/// `secretRef`; one without a name means no Secret, as in Kubernetes.
fn secret_reference<'a>(flex: &At<'a>) -> Result<Option<SecretReferenceDocument<'a>>, ManifestError> {
    let Some(at) = flex.get("secretRef")? else { return Ok(None) };
    let (namespace, name) = (text_or(&at, "namespace", "")?, text_or(&at, "name", "")?);
    Ok((!name.is_empty()).then_some(SecretReferenceDocument { namespace, name }))
}

/// Kubernetes' rule (v1.37 `pkg/apis/core/validation`): what stands before the first slash, in lower case and with a dot
/// before it, must not end in `.kubernetes.io` or `.k8s.io`.
fn is_reserved(key: &str) -> bool {
    let namespace = key.split('/').next().unwrap_or(key).to_lowercase();
    let dotted = format!(".{namespace}");
    dotted.ends_with(".kubernetes.io") || dotted.ends_with(".k8s.io")
}
