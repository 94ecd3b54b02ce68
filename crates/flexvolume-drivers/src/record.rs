//! What we know about a volume, written before we act.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use flexvolume_os::atomic;
use flexvolume_os::filesystem::FsType;
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Result, VolumeError, at};
use crate::request::{Allocation, Erase, ImageRequest};

/// The version of the record that this program writes.
pub(crate) const VERSION: u32 = 1;

/// No record of ours is longer.
const LIMIT: u64 = 64 << 10;

/// Where a volume stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Being made: nobody has used it, so it may be wiped and made again.
    Creating,
    /// In use or ready for use: never formatted, whatever any probe says.
    Ready,
    /// Being removed: its data is given up.
    Removing,
}

/// The record of one volume, `<volume>.json` beside its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    /// The driver.
    pub(crate) owner: String,
    pub(crate) id: String,
    pub(crate) state: State,
    /// Bytes when it was made: what the manifest's `size` said, and still says after the volume has grown.
    pub(crate) created_size: u64,
    /// Bytes now.
    pub(crate) size: u64,
    #[serde(with = "fs_type_name")]
    pub(crate) fs_type: FsType,
    /// Of the file system; also names the attempt that makes it.
    pub(crate) uuid: String,
    pub(crate) allocation: Allocation,
    /// Seconds since 1970, for people who look for forgotten volumes.
    pub(crate) created: u64,
    /// The mode that the root directory shall have; gone when it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root_mode: Option<u32>,
    /// What the file system fills, when the image has grown while it was not mounted: the next mount makes it larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filled: Option<u64>,
    /// The volume that it was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// What happens to the data when it is removed.
    #[serde(default, skip_serializing_if = "Erase::is_none")]
    pub(crate) erase: Erase,
    /// The mount dir that an ephemeral volume belongs to, encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mount_dir: Option<String>,
}

impl Record {
    /// The record of a volume that is about to be made.
    pub(crate) fn creating(owner: &str, request: &ImageRequest, mount_dir: Option<String>) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            version: VERSION,
            owner: owner.to_owned(),
            id: request.id.as_str().to_owned(),
            state: State::Creating,
            created_size: request.size,
            size: request.size,
            fs_type: request.fs_type,
            uuid: random_uuid()?,
            allocation: request.allocation,
            created: now.as_secs(),
            root_mode: request.root_mode,
            filled: None,
            source: request.source.as_ref().map(|source| source.as_str().to_owned()),
            erase: request.erase,
            mount_dir,
        })
    }
}

pub(crate) fn random_uuid() -> Result<String> {
    let source = Path::new("/proc/sys/kernel/random/uuid");
    let text = std::fs::read_to_string(source).map_err(at("read a random UUID from", source))?;
    Ok(text.trim().to_owned())
}

mod fs_type_name {
    use flexvolume_os::filesystem::FsType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(fs_type: &FsType, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(fs_type.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(text: D) -> Result<FsType, D::Error> {
        let name = String::deserialize(text)?;
        FsType::parse(&name).ok_or_else(|| D::Error::custom(format!("unknown file system {name:?}")))
    }
}

/// Reads a record, `None` when there is none. A file that is not a record is never "none".
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let cannot_know = |why: String| VolumeError::CannotKnow { path: path.to_owned(), why };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(cannot_know(format!("cannot be opened: {error}"))),
        Ok(descriptor) => File::from(descriptor),
    };
    let bytes = read_bounded(file).map_err(|error| cannot_know(format!("cannot be read: {error}")))?;
    let damaged = |why: String| {
        cannot_know(format!(
            "is not a record of this version ({why}): restore it, or move it and what it describes away by hand"
        ))
    };
    let header: Header = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if header.version != VERSION {
        return Err(damaged(format!("version {}", header.version)));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a record durably; a crash leaves the old one or the new one.
pub(crate) fn store<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let bytes =
        serde_json::to_vec(record).map_err(|error| at("write record", path)(io::Error::other(error)))?;
    atomic::write(path, &bytes).map_err(at("write record", path))
}

/// Removes a record durably; absent is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    atomic::remove(path).map_err(at("remove record", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use flexvolume::Access;

    use super::*;
    use crate::pool::VolumeId;

    fn record() -> Record {
        let request = ImageRequest {
            directory: PathBuf::from("/pool"),
            id: VolumeId::parse("data").unwrap(),
            size: 64 << 20,
            fs_type: FsType::Xfs,
            allocation: Allocation::Thin,
            access: Access::ReadWrite,
            root_mode: None,
            source: None,
            erase: crate::request::Erase::None,
        };
        Record::creating("flexvol/loop", &request, None).unwrap()
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.json");
        assert_eq!(load::<Record>(&path).unwrap(), None);
        let written = Record { mount_dir: Some("~pods~x".to_owned()), ..record() };
        store(&path, &written).unwrap();
        assert_eq!(load(&path).unwrap(), Some(written));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(load::<Record>(&path).unwrap(), None);
    }

    #[test]
    fn the_format_on_disk_is_stable() {
        let record = Record { uuid: "u".to_owned(), created: 7, ..record() };
        let expected = concat!(
            r#"{"version":1,"owner":"flexvol/loop","id":"data","state":"creating","created_size":67108864,"#,
            r#""size":67108864,"fs_type":"xfs","uuid":"u","allocation":"thin","created":7}"#
        );
        assert_eq!(serde_json::to_string(&record).unwrap(), expected);
    }

    #[test]
    fn each_record_has_a_uuid_of_its_own() {
        let (one, other) = (record(), record());
        assert_ne!(one.uuid, other.uuid);
        assert_eq!(one.uuid.len(), 36);
    }

    #[test]
    fn what_is_no_record_is_never_an_absent_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.json");
        let newer = serde_json::to_string(&record()).unwrap().replace("\"version\":1", "\"version\":2");
        let other_fs = serde_json::to_string(&record()).unwrap().replace("xfs", "zfs");
        let long = format!("{}{}", " ".repeat(70_000), serde_json::to_string(&record()).unwrap());
        for damaged in ["", "{", "null", "{}", "{\"version\":1}", "\u{0}\u{0}", &newer, &other_fs, &long] {
            std::fs::write(&path, damaged).unwrap();
            let error = load::<Record>(&path).unwrap_err();
            assert!(matches!(error, VolumeError::CannotKnow { .. }), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(load::<Record>(&path), Err(VolumeError::CannotKnow { .. })));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(load::<Record>(&path), Err(VolumeError::CannotKnow { .. })));
    }
}
