//! What this node knows about the link to an export, written before we act.

use std::net::SocketAddr;
use std::path::Path;

use flexvolume_os::nbd;
use flexvolume_os::socket::{Place, SocketName};
use serde::{Deserialize, Serialize};

use super::address::Target;
use super::error::{Result, at};
use super::request::NbdRequest;
use crate::{record, remote_disk};

/// One export on this node.
pub(crate) type Record = remote_disk::Record<ExportLink>;
/// All records of this node.
pub(crate) type Shelf = remote_disk::Shelf<Target, ExportLink>;

/// How this node is connected to an export, if it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExportLink {
    pub(crate) request_timeout: u64,
    pub(crate) reconnect_timeout: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<Connection>,
    /// When the server was found gone, in seconds since 1970; gone when it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost_since: Option<u64>,
}

impl ExportLink {
    fn new(request: &NbdRequest) -> Self {
        Self {
            request_timeout: request.request_timeout.as_secs(),
            reconnect_timeout: request.reconnect_timeout.as_secs(),
            connection: None,
            lost_since: None,
        }
    }

    /// Bytes of the device; zero without one.
    pub(crate) fn size(&self) -> u64 {
        self.connection.as_ref().map(|connection| connection.size).unwrap_or_default()
    }
}

/// The record of an export that nothing is known about.
pub(crate) fn new_record(request: &NbdRequest) -> Record {
    Record::new(&request.volume, &request.target, ExportLink::new(request))
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
