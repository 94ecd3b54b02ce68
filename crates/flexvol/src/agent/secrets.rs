//! The Secrets of the manifests as they are now.

use std::sync::{Arc, Mutex, PoisonError};

use flexvolume_host::{SecretError, SecretObject, SecretSource};

use crate::secrets::ManifestSecrets;

/// Secrets that can be replaced while volumes are being mounted.
#[derive(Debug, Clone, Default)]
pub(super) struct CurrentSecrets(Arc<Mutex<ManifestSecrets>>);

impl CurrentSecrets {
    pub(super) fn replace(&self, secrets: ManifestSecrets) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = secrets;
    }
}

impl SecretSource for CurrentSecrets {
    fn secret(&self, namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).secret(namespace, name)
    }
}
