//! The Secrets of the manifests as they are now.

use std::sync::{Arc, Mutex, PoisonError};

use flexvolume_host::{SecretError, SecretObject, SecretSource};

use crate::secrets::ManifestSecrets;

/// Secrets that can be replaced while volumes are being mounted.
#[derive(Debug, Clone, Default)]
pub(super) struct CurrentSecrets(Arc<Mutex<ManifestSecrets>>);

impl CurrentSecrets {
    /// Namespaces and names of those that volumes may have been mounted with as they are no longer.
    pub(super) fn replace(&self, secrets: ManifestSecrets) -> Vec<(String, String)> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = secrets.not_as_in(&current).cloned().collect();
        *current = secrets;
        changed
    }
}

impl SecretSource for CurrentSecrets {
    fn secret(&self, namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).secret(namespace, name)
    }
}
