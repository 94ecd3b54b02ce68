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

impl ManifestSecrets {
    /// The namespaces and names of those that were otherwise before, or are gone now; not of new ones.
    pub(crate) fn not_as_in<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = &'a (String, String)> + 'a {
        let differs =
            |(name, object): &(&(String, String), &SecretObject)| self.0.get(*name) != Some(*object);
        before.0.iter().filter(differs).map(|(name, _)| name)
    }
}

impl SecretSource for ManifestSecrets {
    fn secret(&self, namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        let found = self.0.get(&(namespace.to_owned(), name.to_owned()));
        found.cloned().ok_or_else(|| SecretError::NotFound { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use flexvolume_host::contract::Secret;

    use super::*;

    fn secrets(of: &[(&str, &str)]) -> ManifestSecrets {
        let object = |(name, value): &(&str, &str)| {
            let data = BTreeMap::from([("password".to_owned(), Secret::new(*value))]);
            let object = SecretObject { kind: "example.com/memory".to_owned(), data };
            (("default".to_owned(), (*name).to_owned()), object)
        };
        of.iter().map(object).collect()
    }

    #[test]
    fn what_is_changed_or_gone_is_told_apart_from_what_is_new_or_the_same() {
        let before = secrets(&[("same", "1"), ("changed", "1"), ("gone", "1")]);
        let now = secrets(&[("same", "1"), ("changed", "2"), ("new", "1")]);
        let names: Vec<_> = now.not_as_in(&before).map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["changed", "gone"]);
        assert_eq!(before.not_as_in(&before).count(), 0);
        assert_eq!(now.not_as_in(&ManifestSecrets::default()).count(), 0);
    }
}
