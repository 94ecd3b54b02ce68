//! Where the host finds Secrets: in the manifests that were given.

use std::collections::BTreeMap;

use flexvolume_host::{SecretError, SecretObject, SecretSource};

/// The Secrets of manifests, by namespace and name.
#[derive(Debug, Default)]
pub struct ManifestSecrets(BTreeMap<(String, String), SecretObject>);

impl FromIterator<((String, String), SecretObject)> for ManifestSecrets {
    fn from_iter<I: IntoIterator<Item = ((String, String), SecretObject)>>(secrets: I) -> Self {
        Self(secrets.into_iter().collect())
    }
}

impl SecretSource for ManifestSecrets {
    fn secret(&self, namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        let found = self.0.get(&(namespace.to_owned(), name.to_owned()));
        found.cloned().ok_or_else(|| SecretError::NotFound { name: name.to_owned() })
    }
}
