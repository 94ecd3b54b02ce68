//! The objects of all manifests, and how they refer to each other.

use std::collections::BTreeMap;

use flexvolume_host::spec::VolumeSpec;

use super::documents::{
    ClaimDocument, Object, ObjectName, PersistentVolumeDocument, SecretDocument, objects,
};
use super::error::{ManifestError, Place, Problem};
use super::node::At;
use super::pod::PodIdentity;
use super::read::Document;

/// The objects that pods refer to.
#[derive(Default)]
pub(super) struct Objects<'a> {
    pub(super) pods: Vec<PodIdentity<'a>>,
    pub(super) persistent_volumes: BTreeMap<String, PersistentVolumeDocument<'a>>,
    pub(super) claims: BTreeMap<ObjectName, ClaimDocument<'a>>,
    pub(super) secrets: BTreeMap<ObjectName, SecretDocument<'a>>,
    pub(super) ignored: Vec<String>,
}

impl<'a> Objects<'a> {
    /// Reads the objects of all documents.
    ///
    /// # Errors
    /// Every object that cannot be read, or is there twice.
    pub(super) fn collect(documents: &'a [Document]) -> Result<Self, Vec<ManifestError>> {
        let (known, errors) = Self::gather(documents);
        if errors.is_empty() { Ok(known) } else { Err(errors) }
    }

    /// Reads the objects of all documents, and says what cannot be read or is there twice. The first one counts.
    pub(super) fn gather(documents: &'a [Document]) -> (Self, Vec<ManifestError>) {
        let (mut known, mut errors) = (Self::default(), Vec::new());
        let add = |object| known.add(object).unwrap_or_else(|error| errors.push(error));
        let unreadable = each(documents, add);
        errors.extend(unreadable);
        (known, errors)
    }

    fn add(&mut self, object: Object<'a>) -> Result<(), ManifestError> {
        match object {
            Object::Pod(at) => {
                let pod = PodIdentity::read(at)?;
                if let Some(first) = self.pods.iter().find(|known| known.object == pod.object) {
                    return Err(duplicate(&pod.at, first.at.place()));
                }
                self.pods.push(pod);
            }
            Object::PersistentVolume(at) => {
                let volume = PersistentVolumeDocument::read(at)?;
                let name = volume.name.text()?.to_owned();
                insert(&mut self.persistent_volumes, name, volume, |volume| &volume.at)?;
            }
            Object::Claim(at) => {
                let claim = ClaimDocument::read(at)?;
                insert(&mut self.claims, claim.object.clone(), claim, |claim| &claim.at)?;
            }
            Object::Secret(at) => {
                let secret = SecretDocument::read(at)?;
                insert(&mut self.secrets, secret.object.clone(), secret, |secret| &secret.at)?;
            }
            Object::Other { kind, at } => self.ignored.push(format!("{kind} at {}", at.place())),
        }
        Ok(())
    }

    /// The claim of this name.
    pub(super) fn claim(&self, at: &At<'_>, name: &ObjectName) -> Result<&ClaimDocument<'a>, ManifestError> {
        self.claims.get(name).ok_or_else(|| at.error(Problem::NoClaim(name.to_string())))
    }

    /// The persistent volume that a claim is bound to.
    pub(super) fn bound(
        &self,
        claim: &ClaimDocument<'a>,
    ) -> Result<&PersistentVolumeDocument<'a>, ManifestError> {
        let Some(volume_name) = &claim.volume_name else {
            let mut reserved = self.persistent_volumes.values();
            let reserved = reserved.find(|volume| volume.claim.as_ref() == Some(&claim.object));
            return reserved.ok_or_else(|| claim.at.error(Problem::UnboundClaim));
        };
        let name = volume_name.text()?;
        let Some(volume) = self.persistent_volumes.get(name) else {
            return Err(volume_name.error(Problem::NoPersistentVolume(name.to_owned())));
        };
        match &volume.claim {
            Some(other) if *other != claim.object => Err(volume_name
                .error(Problem::ClaimedByOther { volume: name.to_owned(), other: other.to_string() })),
            _ => Ok(volume),
        }
    }

    /// The Secret must be there and of the driver's type, said now rather than in the middle of a mount.
    pub(super) fn check_secret(
        &self,
        spec: &VolumeSpec,
        at: &At<'_>,
        pod_namespace: &str,
    ) -> Result<(), ManifestError> {
        let Some(reference) = &spec.secret else { return Ok(()) };
        let namespace = reference.namespace.as_deref().unwrap_or(pod_namespace).to_owned();
        let wanted = ObjectName { namespace, name: reference.name.clone() };
        match self.secrets.get(&wanted) {
            None => Err(at.error(Problem::NoSecret(wanted.to_string()))),
            Some(secret) if secret.kind != spec.driver => Err(secret.at.error(Problem::SecretType {
                secret: wanted.to_string(),
                found: secret.kind.clone(),
                driver: spec.driver.clone(),
            })),
            Some(_) => Ok(()),
        }
    }
}

/// Hands on every object; answers what cannot be read.
pub(super) fn each<'a>(documents: &'a [Document], mut take: impl FnMut(Object<'a>)) -> Vec<ManifestError> {
    let mut errors = Vec::new();
    for document in documents {
        match objects(document) {
            Ok(found) => found.into_iter().for_each(&mut take),
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn insert<'a, K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    at: impl Fn(&V) -> &At<'a>,
) -> Result<(), ManifestError> {
    if let Some(first) = map.get(&key) {
        return Err(duplicate(at(&value), at(first).place()));
    }
    map.insert(key, value);
    Ok(())
}

fn duplicate(second: &At<'_>, first: &Place) -> ManifestError {
    let object = second.place().object.clone();
    let first = Place { object: String::new(), ..first.clone() };
    second.error(Problem::DuplicateObject { object, first: first.to_string() })
}
