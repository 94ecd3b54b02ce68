//! The objects of a document, and the few fields of PersistentVolume, PersistentVolumeClaim and Secret that matter.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexvolume_host::contract::{Bytes, Secret};
use flexvolume_host::spec::VolumeMode;

use super::error::{ManifestError, Problem};
use super::flex::{FlexDocument, flex_document};
use super::node::At;
use super::read::Document;

/// Keys of a persistent volume's spec that are volume sources (Kubernetes v1.37 `PersistentVolumeSource`).
const PERSISTENT_SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// An object of a kind that flexvol knows, or the words for one that it does not.
pub(super) enum Object<'a> {
    Pod(At<'a>),
    PersistentVolume(At<'a>),
    Claim(At<'a>),
    Secret(At<'a>),
    Other { kind: String, at: At<'a> },
}

/// Namespace and name; a persistent volume has no namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectName {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// The objects of a document; those of a list one by one.
pub(super) fn objects(document: &Document) -> Result<Vec<Object<'_>>, ManifestError> {
    let at = At::document(&document.file, &document.root);
    let Some(kind) = at.get("kind")? else {
        return if at.entries()?.is_empty() { Ok(Vec::new()) } else { Err(at.missing("kind")) };
    };
    let kind = kind.text()?;
    match kind.strip_suffix("List") {
        Some(item_kind) => at.items("items")?.into_iter().map(|item| list_item(item, item_kind)).collect(),
        None => Ok(vec![object(at, kind)?]),
    }
}

/// An item of `kind: List` says its own kind; one of `kind: PodList` may leave it out.
fn list_item<'a>(item: At<'a>, item_kind: &str) -> Result<Object<'a>, ManifestError> {
    match item.get("kind")? {
        Some(kind) => object(item, kind.text()?),
        None if item_kind.is_empty() => Err(item.missing("kind")),
        None => object(item, item_kind),
    }
}

fn object<'a>(at: At<'a>, kind: &str) -> Result<Object<'a>, ManifestError> {
    let core =
        at.get("apiVersion")?.map(|version| version.text()).transpose()?.is_none_or(|text| text == "v1");
    Ok(match kind {
        "Pod" if core => Object::Pod(at),
        "PersistentVolume" if core => Object::PersistentVolume(at),
        "PersistentVolumeClaim" if core => Object::Claim(at),
        "Secret" if core => Object::Secret(at),
        other => Object::Other { kind: other.to_owned(), at },
    })
}

/// Namespace (`default` when absent) and name of an object.
pub(super) fn name_of(at: &At<'_>) -> Result<ObjectName, ManifestError> {
    let metadata = at.required("metadata")?;
    let name = text_or(&metadata, "name", "")?;
    if name.is_empty() {
        return Err(metadata.missing("name"));
    }
    let namespace = match text_or(&metadata, "namespace", "")? {
        "" => "default",
        namespace => namespace,
    };
    Ok(ObjectName { namespace: namespace.to_owned(), name: name.to_owned() })
}

pub(super) fn text_or<'a>(at: &At<'a>, key: &str, default: &'a str) -> Result<&'a str, ManifestError> {
    at.get(key)?.map_or(Ok(default), |value| value.text())
}

pub(super) fn flag(at: &At<'_>, key: &str) -> Result<bool, ManifestError> {
    at.get(key)?.map_or(Ok(false), |value| value.boolean())
}

/// A persistent volume.
pub(super) struct PersistentVolumeDocument<'a> {
    pub(super) at: At<'a>,
    pub(super) name: At<'a>,
    pub(super) claim: Option<ObjectName>,
    /// The kind of the source and, for `flexVolume`, its fields.
    pub(super) source: Result<FlexDocument<'a>, String>,
    pub(super) mode: Option<VolumeMode>,
    pub(super) capacity: Option<u64>,
}

impl<'a> PersistentVolumeDocument<'a> {
    pub(super) fn read(at: At<'a>) -> Result<Self, ManifestError> {
        let object = name_of(&at)?;
        let at = at.in_object(format!("PersistentVolume {}", object.name));
        let spec = at.required("spec")?;
        Ok(Self {
            name: at.required("metadata")?.required("name")?,
            claim: claim_reference(&spec)?,
            source: persistent_source(&spec)?,
            mode: volume_mode(&spec)?,
            capacity: capacity(&spec)?,
            at,
        })
    }
}

fn claim_reference(spec: &At<'_>) -> Result<Option<ObjectName>, ManifestError> {
    let Some(reference) = spec.get("claimRef")? else { return Ok(None) };
    let namespace = text_or(&reference, "namespace", "default")?.to_owned();
    Ok(Some(ObjectName { namespace, name: reference.required("name")?.text()?.to_owned() }))
}

fn persistent_source<'a>(spec: &At<'a>) -> Result<Result<FlexDocument<'a>, String>, ManifestError> {
    let is_source = |(key, _): &(&str, At<'_>)| PERSISTENT_SOURCES.contains(key);
    let sources: Vec<_> = spec.entries()?.into_iter().filter(is_source).collect();
    match sources.as_slice() {
        [] => Err(spec.error(Problem::NoSource)),
        [("flexVolume", flex)] => Ok(Ok(flex_document(flex)?)),
        [(kind, _)] => Ok(Err((*kind).to_owned())),
        several => {
            let kinds = several.iter().map(|(kind, _)| (*kind).to_owned()).collect();
            Err(spec.error(Problem::SeveralSources(kinds)))
        }
    }
}

fn volume_mode(spec: &At<'_>) -> Result<Option<VolumeMode>, ManifestError> {
    let Some(mode) = spec.get("volumeMode")? else { return Ok(None) };
    match mode.text()? {
        "Filesystem" => Ok(Some(VolumeMode::Filesystem)),
        "Block" => Ok(Some(VolumeMode::Block)),
        other => Err(mode.error(Problem::VolumeMode(other.to_owned()))),
    }
}

fn capacity(spec: &At<'_>) -> Result<Option<u64>, ManifestError> {
    let Some(capacity) = spec.get("capacity")? else { return Ok(None) };
    let Some(storage) = capacity.get("storage")? else { return Ok(None) };
    let bytes = Bytes::parse(&storage.quantity_text()?).map(u64::from);
    bytes.map(Some).map_err(|why| storage.error(Problem::Quantity(why)))
}

/// A claim.
pub(super) struct ClaimDocument<'a> {
    pub(super) at: At<'a>,
    pub(super) object: ObjectName,
    pub(super) volume_name: Option<At<'a>>,
}

impl<'a> ClaimDocument<'a> {
    pub(super) fn read(at: At<'a>) -> Result<Self, ManifestError> {
        let object = name_of(&at)?;
        let at = at.in_object(format!("PersistentVolumeClaim {object}"));
        let volume_name = at.required("spec")?.get("volumeName")?;
        let volume_name = volume_name.filter(|name| !name.text().is_ok_and(str::is_empty));
        Ok(Self { at, object, volume_name })
    }
}

/// A Secret.
pub(super) struct SecretDocument<'a> {
    pub(super) at: At<'a>,
    pub(super) object: ObjectName,
    pub(super) kind: String,
    pub(super) data: BTreeMap<String, Secret>,
}

impl<'a> SecretDocument<'a> {
    pub(super) fn read(at: At<'a>) -> Result<Self, ManifestError> {
        let object = name_of(&at)?;
        let at = at.in_object(format!("Secret {object}"));
        let kind = text_or(&at, "type", "Opaque")?.to_owned();
        let mut data = BTreeMap::new();
        if let Some(encoded) = at.get("data")? {
            for (key, value) in encoded.entries()? {
                data.insert(key.to_owned(), decode(&value)?);
            }
        }
        if let Some(plain) = at.get("stringData")? {
            for (key, value) in plain.entries()? {
                data.insert(key.to_owned(), Secret::new(value.text()?));
            }
        }
        Ok(Self { at, object, kind, data })
    }
}

/// Standard base64; line breaks inside, as `base64` writes them, are fine.
fn decode(value: &At<'_>) -> Result<Secret, ManifestError> {
    let text: String = value.text()?.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).map(Secret::new).map_err(|_| value.error(Problem::NotBase64))
}
