//! What is remembered of a volume: enough to undo everything without manifest and driver options.

use std::collections::{BTreeMap, BTreeSet};

use flexvolume::{Access, DriverName, PodUid, VolumeName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Phase;
use super::file_name::digest;
use crate::Reading;
use crate::spec::{FsGroupChangePolicy, MounterArguments, Pod, SecretReference, Source, VolumeSpec};

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// What was found at a directory after the driver had said that it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Found {
    /// Nobody has looked: the call has not come back yet.
    #[default]
    Unknown,
    /// A mount.
    Mount,
    /// A directory on which nothing is mounted: some drivers only fill it.
    Directory,
    /// A symlink: some drivers replace the directory by one.
    Symlink,
}

/// A volume's description; of a Secret only the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    name: VolumeName,
    driver: String,
    fs_type: String,
    read_only: bool,
    options: BTreeMap<String, String>,
    secret: Option<SecretReference>,
    source: Source,
}

impl From<&VolumeSpec> for Spec {
    fn from(spec: &VolumeSpec) -> Self {
        Self {
            name: spec.name.clone(),
            driver: spec.driver.clone(),
            fs_type: spec.fs_type.clone(),
            read_only: spec.access == Access::ReadOnly,
            options: spec.options.clone(),
            secret: spec.secret.clone(),
            source: spec.source.clone(),
        }
    }
}

impl Spec {
    /// Whether a driver would be told the same about the device. Access is each pod's own matter.
    pub(super) fn asks_for_the_same(&self, other: &Self) -> bool {
        (&self.driver, &self.fs_type, &self.options) == (&other.driver, &other.fs_type, &other.options)
    }

    /// All that is known of a volume whose record is lost.
    pub(crate) fn bare(driver: &DriverName, volume: &VolumeName) -> Self {
        Self {
            name: volume.clone(),
            driver: driver.as_str().to_owned(),
            fs_type: String::new(),
            read_only: false,
            options: BTreeMap::new(),
            secret: None,
            source: Source::PersistentVolume { mode: None, capacity: None },
        }
    }

    /// The volume as it was described.
    pub(crate) fn to_volume(&self) -> VolumeSpec {
        VolumeSpec {
            name: self.name.clone(),
            driver: self.driver.clone(),
            fs_type: self.fs_type.clone(),
            access: if self.read_only { Access::ReadOnly } else { Access::ReadWrite },
            options: self.options.clone(),
            secret: self.secret.clone(),
            source: self.source.clone(),
        }
    }

    /// Whether the volume is one that pods share by its name.
    pub(super) fn is_persistent(&self) -> bool {
        matches!(self.source, Source::PersistentVolume { .. })
    }
}

/// What became of the wishes to grow a volume. Nothing of it is in records of volumes that nobody wanted to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Growth {
    /// The size, in bytes, of the last resize that came to its end.
    pub(super) done: Option<u64>,
    /// The size of a resize that was begun and has not come to its end: volume and file system may have it already.
    pub(super) wanted: Option<u64>,
}

impl Growth {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The device of an attachable volume on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) driver: DriverName,
    /// The name under which the driver knows it ([`VolumeSpec::device_name`]).
    pub(super) volume: VolumeName,
    pub(super) spec: Spec,
    pub(super) phase: Phase,
    /// The node's name at `attach`, which `detach` must repeat.
    pub(super) node: String,
    /// What `attach` answered; every `waitforattach` gets it.
    pub(super) attached: String,
    /// What `waitforattach` answered.
    pub(super) device: String,
    pub(super) found: Found,
    /// The pods that hold it: those that have a publish record.
    pub(super) pods: BTreeSet<PodUid>,
    pub(super) boot: String,
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Growth::is_nothing")]
    pub(super) growth: Growth,
    #[serde(default, skip_serializing_if = "Attacher::is_this_node")]
    pub(super) attacher: Attacher,
}

/// Who calls `attach` and `detach` for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Attacher {
    /// This host, on the way of a pod.
    #[default]
    ThisNode,
    /// A controller; here it is neither attached nor detached.
    Controller,
}

impl Attacher {
    fn is_this_node(&self) -> bool {
        *self == Self::ThisNode
    }
}

/// A volume of one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Publish {
    pub(super) driver: DriverName,
    pub(super) volume: VolumeName,
    /// `None` when the record was lost and this one was made from a directory.
    pub(super) spec: Option<Spec>,
    pub(super) pod: PodRecord,
    pub(super) pod_volume: String,
    /// Its place among the pod's volumes; they are taken down in the opposite order.
    pub(super) position: usize,
    pub(super) fs_group: Option<i64>,
    pub(super) fs_group_change_policy: FsGroupChangePolicy,
    /// The device that it stands on.
    pub(super) device: Option<VolumeName>,
    pub(super) phase: Phase,
    pub(super) found: Found,
    pub(super) boot: String,
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Growth::is_nothing")]
    pub(super) growth: Growth,
}

/// The pod of a publish record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PodRecord {
    pub(super) uid: PodUid,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) service_account: String,
}

impl From<&Pod> for PodRecord {
    fn from(pod: &Pod) -> Self {
        Self {
            uid: pod.uid.clone(),
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            service_account: pod.service_account.clone(),
        }
    }
}

impl PodRecord {
    /// The pod.
    pub(super) fn to_pod(&self) -> Pod {
        let Self { uid, name, namespace, service_account } = self.clone();
        Pod { uid, name, namespace, service_account }
    }
}

impl Publish {
    /// Takes over how the volume is to be set up.
    pub(super) fn set_arguments(&mut self, arguments: MounterArguments) {
        self.fs_group = arguments.fs_group;
        self.fs_group_change_policy = arguments.fs_group_change_policy;
    }

    /// The name that no other volume of the driver has, as far as is known.
    pub(super) fn own_name(&self, reading: Reading) -> VolumeName {
        let spec = self.spec.as_ref().map(Spec::to_volume);
        let own = spec.and_then(|spec| spec.device_name(&self.pod.uid, reading).ok());
        own.unwrap_or_else(|| self.volume.clone())
    }
}

/// A kind of record.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// The volume that it is about, as its file is named.
    fn key(&self) -> (&DriverName, &VolumeName);
    /// Sets what is begun or done now.
    fn set_phase(&mut self, phase: Phase);
    /// Sets why the last call failed.
    fn set_error(&mut self, error: String);
    /// The last call did not fail.
    fn clear_error(&mut self);
    /// What became of the wishes to grow it.
    fn growth(&mut self) -> &mut Growth;
}

impl Record for Device {
    fn key(&self) -> (&DriverName, &VolumeName) {
        (&self.driver, &self.volume)
    }
    fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }
    fn set_error(&mut self, error: String) {
        self.error = Some(error);
    }
    fn clear_error(&mut self) {
        self.error = None;
    }
    fn growth(&mut self) -> &mut Growth {
        &mut self.growth
    }
}

impl Record for Publish {
    fn key(&self) -> (&DriverName, &VolumeName) {
        (&self.driver, &self.volume)
    }
    fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }
    fn set_error(&mut self, error: String) {
        self.error = Some(error);
    }
    fn clear_error(&mut self) {
        self.error = None;
    }
    fn growth(&mut self) -> &mut Growth {
        &mut self.growth
    }
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Illegible {
    /// Written by another version: to be left alone.
    #[error(
        "it has format {0}, and this version of flexvol reads only format {FORMAT}; use the version that wrote it"
    )]
    Format(u64),
    /// Not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// The order of the fields is that of the file: the record comes last, so that its bytes can be told from the rest.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    /// Counts the writes of this record.
    generation: u64,
    /// Of the generation and the bytes of the record.
    checksum: String,
    record: T,
}

const BEFORE_RECORD: &[u8] = br#","record":"#;
const AFTER_RECORD: &[u8] = b"}\n";

/// The bytes of a record's file.
pub(super) fn encode(record: &impl Record, generation: u64) -> Result<Vec<u8>, serde_json::Error> {
    let checksum = checksum(generation, &serde_json::to_vec(record)?);
    let mut bytes = serde_json::to_vec(&Envelope { format: FORMAT, generation, checksum, record })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The record and its generation.
pub(super) fn decode<T: Record>(bytes: &[u8]) -> Result<(T, u64), Illegible> {
    let damaged = |error: serde_json::Error| Illegible::Damaged(error.to_string());
    let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format != u64::from(FORMAT) {
        return Err(Illegible::Format(format));
    }
    let envelope: Envelope<T> = serde_json::from_slice(bytes).map_err(damaged)?;
    let checksum = record_bytes(bytes).map(|record| checksum(envelope.generation, record));
    if checksum.as_ref() != Some(&envelope.checksum) {
        return Err(Illegible::Damaged("its checksum does not fit".to_owned()));
    }
    Ok((envelope.record, envelope.generation))
}

fn record_bytes(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes.windows(BEFORE_RECORD.len()).position(|window| window == BEFORE_RECORD)?;
    bytes[start + BEFORE_RECORD.len()..].strip_suffix(AFTER_RECORD)
}

fn checksum(generation: u64, record: &[u8]) -> String {
    let mut bytes = generation.to_le_bytes().to_vec();
    bytes.extend_from_slice(record);
    format!("{:032x}", digest(&bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn device() -> Device {
        let spec = VolumeSpec {
            name: VolumeName::parse("pv-1").unwrap(),
            driver: "example.com/loop".to_owned(),
            fs_type: "ext4".to_owned(),
            access: Access::ReadOnly,
            options: BTreeMap::from([("size".to_owned(), "1Gi".to_owned())]),
            secret: Some(SecretReference { namespace: None, name: "key".to_owned() }),
            source: Source::PersistentVolume { mode: None, capacity: Some(1) },
        };
        Device {
            driver: DriverName::parse("example.com/loop").unwrap(),
            volume: spec.name.clone(),
            spec: Spec::from(&spec),
            phase: Phase::DeviceMounted,
            node: "node-1".to_owned(),
            attached: "/dev/loop1".to_owned(),
            device: "/dev/loop1".to_owned(),
            found: Found::Mount,
            pods: BTreeSet::from([PodUid::parse("uid-1").unwrap()]),
            boot: "boot-1".to_owned(),
            error: None,
            growth: Growth::default(),
            attacher: Attacher::ThisNode,
        }
    }

    pub(in super::super) fn publish() -> Publish {
        Publish {
            driver: device().driver,
            volume: device().volume,
            spec: Some(device().spec),
            pod: PodRecord {
                uid: PodUid::parse("uid-1").unwrap(),
                name: "pod".to_owned(),
                namespace: "default".to_owned(),
                service_account: String::new(),
            },
            pod_volume: "data".to_owned(),
            position: 0,
            fs_group: None,
            fs_group_change_policy: FsGroupChangePolicy::Always,
            device: Some(device().volume),
            phase: Phase::Mounted,
            found: Found::Mount,
            boot: "boot-1".to_owned(),
            error: None,
            growth: Growth::default(),
        }
    }

    #[test]
    fn records_come_back_as_they_were() {
        assert_eq!(decode(&encode(&device(), 3).unwrap()), Ok((device(), 3)));
        assert_eq!(decode(&encode(&publish(), 1).unwrap()), Ok((publish(), 1)));
    }

    #[test]
    fn a_volume_comes_back_from_its_record_as_it_was() {
        let volume = device().spec.to_volume();
        assert_eq!(Spec::from(&volume), device().spec);
        assert_eq!((volume.access, volume.fs_type.as_str()), (Access::ReadOnly, "ext4"));
    }

    #[test]
    fn the_bytes_of_format_1_are_pinned() {
        let text = String::from_utf8(encode(&device(), 3).unwrap()).unwrap();
        let expected = concat!(
            r#"{"format":1,"generation":3,"checksum":"CHECKSUM","record":{"driver":"example.com/loop","volume":"pv-1","#,
            r#""spec":{"name":"pv-1","driver":"example.com/loop","fs_type":"ext4","read_only":true,"#,
            r#""options":{"size":"1Gi"},"secret":{"namespace":null,"name":"key"},"#,
            r#""source":{"PersistentVolume":{"mode":null,"capacity":1}}},"phase":"device-mounted","node":"node-1","#,
            r#""attached":"/dev/loop1","device":"/dev/loop1","found":"mount","pods":["uid-1"],"boot":"boot-1","#,
            r#""error":null}}"#,
            "\n"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let checksum = value["checksum"].as_str().unwrap();
        assert_eq!(text, expected.replace("CHECKSUM", checksum));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let bytes = encode(&publish(), 7).unwrap();
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            decode::<Publish>(&flipped).unwrap_err();
            decode::<Publish>(&bytes[..position]).unwrap_err();
        }
    }

    #[test]
    fn another_format_is_told_apart_from_damage_whatever_else_it_holds() {
        assert_eq!(decode::<Device>(br#"{"format":2,"new":[]}"#), Err(Illegible::Format(2)));
        assert!(matches!(decode::<Device>(b"\0\0\0\0"), Err(Illegible::Damaged(_))));
        assert!(matches!(decode::<Device>(b""), Err(Illegible::Damaged(_))));
    }
}
