//! Where the host library finds the secrets of a call while the call runs, and no longer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use flexvolume_host::contract::{DriverName, Secret};
use flexvolume_host::spec::SecretReference;
use flexvolume_host::{SecretError, SecretObject, SecretSource};

/// Not a namespace of Kubernetes: what is here came with a call.
const NAMESPACE: &str = "call";

/// The secrets of the calls that run.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecretDesk(Arc<Mutex<HashMap<String, SecretObject>>>);

/// The secrets of one call; gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Deposit {
    desk: SecretDesk,
    name: Option<String>,
}

impl SecretDesk {
    /// Keeps secrets for `driver` under `name`.
    pub(crate) fn deposit(&self, driver: &DriverName, name: &str, data: BTreeMap<String, Secret>) -> Deposit {
        if data.is_empty() {
            return Deposit { desk: self.clone(), name: None };
        }
        let object = SecretObject { kind: driver.to_string(), data };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), object);
        Deposit { desk: self.clone(), name: Some(name.to_owned()) }
    }
}

impl Deposit {
    /// How a volume refers to them; `None` if there are none.
    pub(crate) fn reference(&self) -> Option<SecretReference> {
        let name = self.name.clone()?;
        Some(SecretReference { namespace: Some(NAMESPACE.to_owned()), name })
    }
}

impl Drop for Deposit {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.desk.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }
}

impl SecretSource for SecretDesk {
    fn secret(&self, _: &str, name: &str) -> Result<SecretObject, SecretError> {
        let desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        desk.get(name).cloned().ok_or_else(|| SecretError::NotFound { name: name.to_owned() })
    }
}
