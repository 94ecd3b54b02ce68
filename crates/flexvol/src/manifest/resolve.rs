//! From documents to the pods that flexvol works on: claims followed, Secrets found, everything checked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use flexvolume_host::contract::{PodUid, VolumeName};
use flexvolume_host::lifecycle::PodVolume;
use flexvolume_host::spec::{MounterArguments, Pod};
use flexvolume_host::{Reading, SecretObject};

use super::containers::{Container, container_plan};
use super::documents::Object;
use super::error::{ManifestError, Place, Problem};
use super::objects::{Objects, each};
use super::pod::{PodDocument, PodIdentity, VolumeDocument, VolumeSource};
use super::read::Document;
use super::specs::Specs;
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
    /// How many objects there are that pods can refer to: claims, persistent volumes, Secrets.
    pub referents: usize,
}

/// A pod and what is to be mounted for it.
#[derive(Debug)]
pub struct PodPlan {
    /// Where it stands.
    pub place: Place,
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

/// Resolves documents into pods with their volumes.
///
/// # Errors
/// Every error of the manifests, at least one per object that is wrong.
pub fn workload(documents: &[Document], reading: Reading) -> Result<Workload, Vec<ManifestError>> {
    // What refers to an object that could not be read would only be told that it is not there: so these errors first.
    let objects = Objects::collect(documents)?;
    let (workload, errors) = of_objects(objects, reading);
    if errors.is_empty() { Ok(workload) } else { Err(errors) }
}

/// Resolves as many pods as can be, for somebody who must go on with those that are in order. Of objects that are there
/// twice the first one counts.
pub fn resolve(documents: &[Document], reading: Reading) -> (Workload, Vec<ManifestError>) {
    let (objects, mut errors) = Objects::gather(documents);
    let (workload, of_pods) = of_objects(objects, reading);
    errors.extend(of_pods);
    (workload, errors)
}

fn of_objects(objects: Objects<'_>, reading: Reading) -> (Workload, Vec<ManifestError>) {
    let specs = Specs { objects: &objects, reading };
    let (mut pods, mut errors, mut uids) = (Vec::new(), Vec::new(), BTreeMap::new());
    for identity in &objects.pods {
        match PodPlan::new(identity, &specs) {
            Ok(plan) => match uids.entry(plan.pod.uid.clone()) {
                Entry::Vacant(free) => {
                    free.insert(identity.object.to_string());
                    pods.push(plan);
                }
                Entry::Occupied(taken) => {
                    let at = identity.uid.as_ref().unwrap_or(&identity.at);
                    errors.push(at.error(Problem::DuplicateUid { other: taken.get().clone() }));
                }
            },
            Err(mut of_pod) => errors.append(&mut of_pod),
        }
    }
    let referents = objects.claims.len() + objects.persistent_volumes.len() + objects.secrets.len();
    let secrets = objects.secrets.into_iter().map(|(name, secret)| {
        ((name.namespace, name.name), SecretObject { kind: secret.kind, data: secret.data })
    });
    (Workload { pods, secrets: secrets.collect(), ignored: objects.ignored, referents }, errors)
}

/// The pods alone, without their volumes: what is needed to unmount them.
///
/// # Errors
/// Every pod without a usable name or uid.
pub fn pods(documents: &[Document]) -> Result<Vec<(PodUid, String)>, Vec<ManifestError>> {
    let (mut pods, mut errors) = (Vec::new(), Vec::new());
    let unreadable = each(documents, |object| {
        let Object::Pod(at) = object else { return };
        match PodIdentity::read(at).and_then(|id| Ok((pod_uid(&id)?, id.object.to_string()))) {
            Ok(pod) => pods.push(pod),
            Err(error) => errors.push(error),
        }
    });
    errors.extend(unreadable);
    if errors.is_empty() { Ok(pods) } else { Err(errors) }
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

impl PodPlan {
    fn new(identity: &PodIdentity<'_>, specs: &Specs<'_, '_>) -> Result<Self, Vec<ManifestError>> {
        let one = |error| vec![error];
        let uid = pod_uid(identity).map_err(one)?;
        let document = PodDocument::read(&identity.at).map_err(one)?;
        let mut plan = Self {
            place: identity.at.place().clone(),
            pod: Pod {
                uid,
                name: identity.object.name.clone(),
                namespace: identity.object.namespace.clone(),
                service_account: document.service_account,
            },
            arguments: MounterArguments {
                fs_group: document.fs_group,
                fs_group_change_policy: document.fs_group_change_policy,
            },
            volumes: Vec::new(),
            drivers: BTreeMap::new(),
            other_volumes: BTreeMap::new(),
            containers: Vec::new(),
        };
        let mut errors = Vec::new();
        for volume in &document.volumes {
            plan.add_volume(volume, specs).unwrap_or_else(|error| errors.push(error));
        }
        let names = document.volumes.iter().filter_map(|volume| volume.name.text().ok()).collect();
        for container in &document.containers {
            match container_plan(container, &names) {
                Ok(container) => plan.containers.push(container),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(plan) } else { Err(errors) }
    }

    fn add_volume(
        &mut self,
        volume: &VolumeDocument<'_>,
        specs: &Specs<'_, '_>,
    ) -> Result<(), ManifestError> {
        let name = VolumeName::parse(volume.name.text()?).map_err(|error| volume.name.error(error))?;
        let pod_volume = name.to_string();
        let taken = self.volumes.iter().any(|known| known.pod_volume == pod_volume);
        if taken || self.other_volumes.contains_key(&pod_volume) {
            return Err(volume.name.error(Problem::DuplicateVolume(pod_volume)));
        }
        let (spec, driver) = match &volume.source {
            VolumeSource::Other(kind) => {
                self.other_volumes.insert(pod_volume, kind.clone());
                return Ok(());
            }
            VolumeSource::Flex(flex) => specs.inline(name, flex)?,
            VolumeSource::Claim(claim) => specs.of_claim(claim, &self.pod.namespace)?,
        };
        specs.objects.check_secret(&spec, &volume.at, &self.pod.namespace)?;
        self.drivers.insert(pod_volume.clone(), driver);
        self.volumes.push(PodVolume { pod_volume, spec });
        Ok(())
    }
}
