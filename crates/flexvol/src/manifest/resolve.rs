//! From documents to the pods that flexvol works on: claims followed, Secrets found, everything checked.

use std::collections::BTreeMap;

use flexvolume_host::Reading;
use flexvolume_host::contract::{Access, PodUid, VolumeName};
use flexvolume_host::lifecycle::PodVolume;
use flexvolume_host::spec::{MounterArguments, Pod, SecretReference, Source, VolumeMode, VolumeSpec};

use super::containers::{Container, container_plan};
use super::documents::{
    ClaimDocument, Object, ObjectName, PersistentVolumeDocument, SecretDocument, objects,
};
use super::error::{ManifestError, Place, Problem};
use super::flex::FlexDocument;
use super::node::At;
use super::pod::{PodDocument, PodIdentity, VolumeDocument, VolumeSource};
use super::read::Document;
use crate::secrets::ManifestSecrets;

/// What the manifests ask for.
#[derive(Debug, Default)]
pub struct Workload {
    /// The pods, in the order of the files.
    pub pods: Vec<PodPlan>,
    /// The Secrets.
    pub secrets: ManifestSecrets,
    /// Objects of other kinds, which were left alone: `Service default/web at app.yaml:3`.
    pub ignored: Vec<String>,
}

/// A pod and what is to be mounted for it.
#[derive(Debug)]
pub struct PodPlan {
    /// The pod.
    pub pod: Pod,
    /// Its FlexVolume volumes.
    pub volumes: Vec<PodVolume>,
    /// Where each volume's driver is named, by the volume's name in the pod.
    pub drivers: BTreeMap<String, Place>,
    /// Its volumes of other kinds: name and kind.
    pub other_volumes: BTreeMap<String, String>,
    /// fsGroup and its policy.
    pub arguments: MounterArguments,
    /// Its containers, init containers and ephemeral containers, in this order.
    pub containers: Vec<Container>,
}

/// The objects that pods refer to.
#[derive(Default)]
struct Objects<'a> {
    pods: Vec<PodIdentity<'a>>,
    persistent_volumes: BTreeMap<String, PersistentVolumeDocument<'a>>,
    claims: BTreeMap<ObjectName, ClaimDocument<'a>>,
    secrets: BTreeMap<ObjectName, SecretDocument<'a>>,
    ignored: Vec<String>,
}

/// Resolves documents into pods with their volumes.
///
/// # Errors
/// Every error of the manifests, at least one per object that is wrong.
pub fn workload(documents: &[Document], reading: Reading) -> Result<Workload, Vec<ManifestError>> {
    let mut errors = Vec::new();
    let objects = collect(documents, &mut errors);
    if !errors.is_empty() {
        // What refers to an object that could not be read would only be told that it is not there.
        return Err(errors);
    }
    let mut pods = Vec::new();
    let mut uids = BTreeMap::new();
    for identity in &objects.pods {
        match plan(identity, &objects, reading) {
            Ok(plan) => {
                let name = identity.object.to_string();
                if let Some(other) = uids.insert(plan.pod.uid.clone(), name) {
                    let at = identity.uid.as_ref().unwrap_or(&identity.at);
                    errors.push(at.error(Problem::DuplicateUid { other }));
                }
                pods.push(plan);
            }
            Err(mut of_pod) => errors.append(&mut of_pod),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let secrets = objects.secrets.into_iter().map(|(name, secret)| {
        ((name.namespace, name.name), flexvolume_host::SecretObject { kind: secret.kind, data: secret.data })
    });
    Ok(Workload { pods, secrets: secrets.collect(), ignored: objects.ignored })
}

/// The pods alone, without their volumes: what is needed to unmount them.
///
/// # Errors
/// Every pod without a usable name or uid.
pub fn pods(documents: &[Document]) -> Result<Vec<(PodUid, String)>, Vec<ManifestError>> {
    let (mut pods, mut errors) = (Vec::new(), Vec::new());
    for document in documents {
        match objects(document) {
            Ok(found) => {
                for object in found {
                    let Object::Pod(at) = object else { continue };
                    match PodIdentity::read(at).and_then(|id| Ok((pod_uid(&id)?, id.object.to_string()))) {
                        Ok(pod) => pods.push(pod),
                        Err(error) => errors.push(error),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(pods) } else { Err(errors) }
}

fn collect<'a>(documents: &'a [Document], errors: &mut Vec<ManifestError>) -> Objects<'a> {
    let mut known = Objects::default();
    for document in documents {
        match objects(document) {
            Ok(found) => {
                for object in found {
                    known.add(object).unwrap_or_else(|error| errors.push(error));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    known
}

impl<'a> Objects<'a> {
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

    /// The persistent volume that a claim is bound to.
    fn bound(&self, claim: &ClaimDocument<'a>) -> Result<&PersistentVolumeDocument<'a>, ManifestError> {
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

/// `metadata.uid`, or `NAMESPACE.NAME` for a pod that was written by hand: a namespace has no dots, so two pods never
/// get one uid.
fn pod_uid(identity: &PodIdentity<'_>) -> Result<PodUid, ManifestError> {
    match &identity.uid {
        Some(uid) => PodUid::parse(uid.text()?).map_err(|error| uid.error(error)),
        None => {
            let derived = format!("{}.{}", identity.object.namespace, identity.object.name);
            PodUid::parse(derived).map_err(|error| identity.at.error(error))
        }
    }
}

fn plan(
    identity: &PodIdentity<'_>,
    objects: &Objects<'_>,
    reading: Reading,
) -> Result<PodPlan, Vec<ManifestError>> {
    let one = |error| vec![error];
    let uid = pod_uid(identity).map_err(one)?;
    let document = PodDocument::read(&identity.at).map_err(one)?;
    let pod = Pod {
        uid,
        name: identity.object.name.clone(),
        namespace: identity.object.namespace.clone(),
        service_account: document.service_account,
    };
    let arguments = MounterArguments {
        fs_group: document.fs_group,
        fs_group_change_policy: document.fs_group_change_policy,
    };
    let mut plan = PodPlan {
        pod,
        volumes: Vec::new(),
        drivers: BTreeMap::new(),
        other_volumes: BTreeMap::new(),
        arguments,
        containers: Vec::new(),
    };
    let mut errors = Vec::new();
    for volume in &document.volumes {
        plan.add_volume(volume, objects, reading).unwrap_or_else(|error| errors.push(error));
    }
    let names = document.volumes.iter().filter_map(|volume| volume.name.text().ok()).collect();
    for container in &document.containers {
        let container = container_plan(container, &names);
        container.map(|container| plan.containers.push(container)).unwrap_or_else(|error| errors.push(error));
    }
    if errors.is_empty() { Ok(plan) } else { Err(errors) }
}

impl PodPlan {
    fn add_volume(
        &mut self,
        volume: &VolumeDocument<'_>,
        objects: &Objects<'_>,
        reading: Reading,
    ) -> Result<(), ManifestError> {
        let name = VolumeName::parse(volume.name.text()?).map_err(|error| volume.name.error(error))?;
        let taken = self.volumes.iter().any(|known| known.pod_volume == name.as_str());
        if taken || self.other_volumes.contains_key(name.as_str()) {
            return Err(volume.name.error(Problem::DuplicateVolume(name.to_string())));
        }
        let namespace = self.pod.namespace.clone();
        let (spec, driver) = match &volume.source {
            VolumeSource::Other(kind) => {
                self.other_volumes.insert(name.to_string(), kind.clone());
                return Ok(());
            }
            VolumeSource::Flex(flex) => (inline_spec(name.clone(), flex)?, flex.driver.place().clone()),
            VolumeSource::Claim { at, name, read_only } => {
                let claim = ObjectName { namespace, name: (*name).to_owned() };
                persistent_spec(at, &claim, *read_only, (objects, reading))?
            }
        };
        check_secret(&spec, &volume.at, &self.pod.namespace, objects)?;
        self.drivers.insert(name.to_string(), driver);
        self.volumes.push(PodVolume { pod_volume: name.to_string(), spec });
        Ok(())
    }
}

fn inline_spec(name: VolumeName, flex: &FlexDocument<'_>) -> Result<VolumeSpec, ManifestError> {
    // An inline `secretRef` has no namespace: it is the pod's.
    let secret = flex.secret.as_ref();
    let secret = secret.map(|secret| SecretReference { namespace: None, name: secret.name.to_owned() });
    let access = if flex.read_only { Access::ReadOnly } else { Access::ReadWrite };
    Ok(VolumeSpec { secret, ..spec(name, flex, access, Source::Inline)? })
}

fn persistent_spec(
    at: &At<'_>,
    claim: &ObjectName,
    read_only: bool,
    (objects, reading): (&Objects<'_>, Reading),
) -> Result<(VolumeSpec, Place), ManifestError> {
    let Some(document) = objects.claims.get(claim) else {
        return Err(at.error(Problem::NoClaim(claim.to_string())));
    };
    let volume = objects.bound(document)?;
    let volume_name = volume.name.text()?;
    let flex = volume.source.as_ref().map_err(|kind| {
        at.error(Problem::NotFlexVolume { volume: volume_name.to_owned(), kind: kind.clone() })
    })?;
    if volume.mode == Some(VolumeMode::Block) {
        return Err(at.error(Problem::BlockMode(volume_name.to_owned())));
    }
    // Kubernetes ignores the persistent volume's own `readOnly`; the tolerant reading takes either word for it.
    let read_only = read_only || (reading == Reading::Tolerant && flex.read_only);
    let access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
    let name = VolumeName::parse(volume_name).map_err(|error| volume.name.error(error))?;
    let source = Source::PersistentVolume { mode: volume.mode, capacity: volume.capacity };
    let secret = flex.secret.as_ref().map(|secret| SecretReference {
        namespace: (!secret.namespace.is_empty()).then(|| secret.namespace.to_owned()),
        name: secret.name.to_owned(),
    });
    Ok((VolumeSpec { secret, ..spec(name, flex, access, source)? }, flex.driver.place().clone()))
}

fn spec(
    name: VolumeName,
    flex: &FlexDocument<'_>,
    access: Access,
    source: Source,
) -> Result<VolumeSpec, ManifestError> {
    Ok(VolumeSpec {
        name,
        driver: flex.driver.text()?.to_owned(),
        fs_type: flex.fs_type.to_owned(),
        access,
        options: flex.options.clone(),
        secret: None,
        source,
    })
}

/// The Secret must be there and of the driver's type, said now rather than in the middle of a mount.
fn check_secret(
    spec: &VolumeSpec,
    at: &At<'_>,
    pod_namespace: &str,
    objects: &Objects<'_>,
) -> Result<(), ManifestError> {
    let Some(reference) = &spec.secret else { return Ok(()) };
    let namespace = reference.namespace.as_deref().unwrap_or(pod_namespace).to_owned();
    let wanted = ObjectName { namespace, name: reference.name.clone() };
    match objects.secrets.get(&wanted) {
        None => Err(at.error(Problem::NoSecret(wanted.to_string()))),
        Some(secret) if secret.kind != spec.driver => Err(secret.at.error(Problem::SecretType {
            secret: wanted.to_string(),
            found: secret.kind.clone(),
            driver: spec.driver.clone(),
        })),
        Some(_) => Ok(()),
    }
}
