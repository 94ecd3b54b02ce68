//! What this node knows about a volume, written before we act.
//!
//! `unmountdevice` and `detach` get no options, and a server cannot keep notes for us. So one file for each export that is
//! connected here, or that this node has made a file system on: `nbd/volumes/<short name>.json` in the state directory.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flexvolume_os::filesystem::FsType;
use flexvolume_os::lock::Lock;
use flexvolume_os::socket::{Place, SocketName};
use flexvolume_os::{atomic, nbd};
use serde::{Deserialize, Serialize};

use super::address::{Address, Target};
use super::error::{NbdError, Result};
use super::request::NbdRequest;
use crate::error::{VolumeError, at};
use crate::pool::{PATIENCE, encode, short_name};
use crate::record;

/// One export on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// What the host calls the volume.
    pub(crate) volume: String,
    address: String,
    export: String,
    pub(crate) request_timeout: u64,
    pub(crate) reconnect_timeout: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<Contents>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<Connection>,
    /// Where it is mounted, or was about to be; encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mounted_at: Option<String>,
    /// When the server was found gone, in seconds since 1970; gone when it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost_since: Option<u64>,
    /// The file system shall fill the device at the next mount.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) grow: bool,
}

/// The file system on the export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) state: State,
    fs_type: String,
    pub(crate) uuid: String,
    /// Seconds since 1970.
    pub(crate) since: u64,
}

/// Where a file system stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// This node has begun to make it, on an export that was proven blank.
    Creating,
    /// This node has made it.
    Made,
    /// It was there.
    Found,
}

/// A connection that the kernel holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// The kernel compares it; of this connection and no other.
    pub(crate) identifier: String,
    /// The number of the device, once it is known. The identifier says whether it is still ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    /// Bytes of the device.
    pub(crate) size: u64,
    socket: Socket,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Socket {
    cookie: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<(SocketAddr, SocketAddr)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unix: Option<u32>,
}

impl From<SocketName> for Socket {
    fn from(name: SocketName) -> Self {
        let (tcp, unix) = match name.place {
            Place::Tcp { local, peer } => (Some((local, peer)), None),
            Place::Unix(inode) => (None, Some(inode)),
        };
        Self { cookie: name.cookie, tcp, unix }
    }
}

impl Connection {
    pub(crate) fn new(size: u64, socket: SocketName) -> Result<Self> {
        let identifier = format!("flexvol:{}", record::random_uuid()?);
        Ok(Self { identifier, index: None, size, socket: socket.into() })
    }

    /// The kernel has another socket of ours now.
    pub(crate) fn continues_with(&mut self, socket: SocketName) {
        self.socket = socket.into();
    }

    /// The socket that the kernel had last, as far as we know.
    pub(crate) fn socket(&self) -> Option<SocketName> {
        let place = match (self.socket.tcp, self.socket.unix) {
            (Some((local, peer)), _) => Place::Tcp { local, peer },
            (None, Some(inode)) => Place::Unix(inode),
            (None, None) => return None,
        };
        Some(SocketName { place, cookie: self.socket.cookie })
    }

    /// The device that has this connection now, `None` when no device has: after a restart, or a disconnection.
    pub(crate) fn device(&self) -> Result<Option<u32>> {
        let look = |index| nbd::identifier(index).map_err(at("read the identifier of", &nbd::device(index)));
        if let Some(index) = self.index
            && look(index)?.as_ref() == Some(&self.identifier)
        {
            return Ok(Some(index));
        }
        let connected = nbd::connected().map_err(at("list", Path::new("/sys/block")))?;
        Ok(connected.into_iter().find(|(_, found)| *found == self.identifier).map(|(index, _)| index))
    }
}

impl Contents {
    pub(crate) fn new(state: State, fs_type: FsType, uuid: String) -> Self {
        Self { state, fs_type: fs_type.as_str().to_owned(), uuid, since: now() }
    }

    /// `None` for a type of a later version.
    pub(crate) fn fs_type(&self) -> Option<FsType> {
        FsType::parse(&self.fs_type)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Record {
    /// Of an export that nothing is known about.
    pub(crate) fn new(request: &NbdRequest) -> Self {
        Self {
            version: record::VERSION,
            volume: request.volume.clone(),
            address: request.target.address.to_string(),
            export: request.target.export.clone(),
            request_timeout: request.request_timeout.as_secs(),
            reconnect_timeout: request.reconnect_timeout.as_secs(),
            contents: None,
            connection: None,
            mounted_at: None,
            lost_since: None,
            grow: false,
        }
    }

    /// `None` when the record has been tampered with.
    pub(crate) fn target(&self) -> Option<Target> {
        Some(Target { address: Address::parse(&self.address).ok()?, export: self.export.clone() })
    }

    fn is_of(&self, target: &Target) -> bool {
        self.address == target.address.to_string() && self.export == target.export
    }

    /// Remembers where it is about to be mounted.
    pub(crate) fn mount_at(&mut self, path: &Path) {
        self.mounted_at = Some(encode(path.as_os_str().as_bytes()));
    }

    /// Whether it was to be mounted there.
    pub(crate) fn is_mounted_at(&self, path: &Path) -> bool {
        self.mounted_at.as_deref() == Some(&*encode(path.as_os_str().as_bytes()))
    }
}

/// All records of this node.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    /// In the directory `nbd/volumes` of `state`.
    pub(crate) fn new(state: &Path) -> Self {
        Self { directory: state.join("nbd/volumes") }
    }

    fn file(&self, target: &Target, suffix: &str) -> PathBuf {
        // Neither part holds a newline that the other could be taken for: an address has none.
        let name = format!("{}\n{}", target.address, target.export);
        self.directory.join(format!("{}{suffix}", short_name(Path::new(&name))))
    }

    /// The record's file, for messages.
    pub(crate) fn path(&self, target: &Target) -> PathBuf {
        self.file(target, ".json")
    }

    /// Keeps other calls away from the export on this node, in whatever process, until dropped.
    pub(crate) fn lock(&self, target: &Target) -> Result<Lock> {
        atomic::create_directories(&self.directory, 0o700).map_err(at("make directory", &self.directory))?;
        Ok(Lock::acquire(&self.file(target, ".lock"), PATIENCE)?)
    }

    pub(crate) fn load(&self, target: &Target) -> Result<Option<Record>> {
        let path = self.path(target);
        let Some(found) = record::load::<Record>(&path)? else { return Ok(None) };
        if found.is_of(target) {
            return Ok(Some(found));
        }
        let why =
            format!("is the record of {:?} of {}, whose short name is the same", found.export, found.address);
        Err(NbdError::Volume(VolumeError::CannotKnow { path, why }))
    }

    pub(crate) fn store(&self, target: &Target, written: &Record) -> Result<()> {
        Ok(record::store(&self.path(target), written)?)
    }

    pub(crate) fn remove(&self, target: &Target) -> Result<()> {
        Ok(record::remove(&self.path(target))?)
    }

    /// Every record that can be read; what cannot is left out.
    pub(crate) fn all(&self) -> Vec<(Target, Record)> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let records = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let found = (path.extension()? == "json").then(|| record::load::<Record>(&path).ok()?)??;
            Some((found.target()?, found))
        });
        records.collect()
    }
}
