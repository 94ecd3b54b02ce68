//! The kernel's network block devices, through its generic netlink family `nbd` (Linux `include/uapi/linux/nbd-netlink.h`).
//!
//! Whoever has shaken hands with a server gives the socket to the kernel, which keeps it: no process stays behind. Each
//! connection carries an identifier, which the kernel shows and compares; since a device number is used again as soon as
//! its connection is gone, the identifier, and never the number, says whose device it is.
//!
//! The kernel has no guard of its own: [`Nbd::disconnect`] takes the device away from a mounted file system too. Claim
//! the device for yourself first (`O_EXCL`).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink;
use thiserror::Error;

use crate::netlink::{Message, Socket};

/// The family that knows the others, and what is asked of it.
mod control {
    pub(super) const FAMILY: u16 = 0x10;
    pub(super) const GET_FAMILY: u8 = 3;
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
}

const CONNECT: u8 = 1;
const DISCONNECT: u8 = 2;
const RECONFIGURE: u8 = 3;

/// `NBD_ATTR_*`.
mod attribute {
    pub(super) const INDEX: u16 = 1;
    pub(super) const SIZE: u16 = 2;
    pub(super) const BLOCK_SIZE: u16 = 3;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const SERVER_FLAGS: u16 = 5;
    pub(super) const SOCKETS: u16 = 7;
    pub(super) const DEAD_CONNECTION_TIMEOUT: u16 = 8;
    pub(super) const IDENTIFIER: u16 = 10;
    /// Within `SOCKETS`: one of them, and within that its descriptor.
    pub(super) const SOCKET: u16 = 1;
    pub(super) const DESCRIPTOR: u16 = 1;
}

/// In front of the attributes of an answer: `struct genlmsghdr`.
const FRONT: usize = 4;

/// Why a call to the kernel failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NbdError {
    /// The kernel does not know network block devices.
    #[error(
        "the kernel has no network block devices: run `modprobe nbd` as root on the node, outside of a container"
    )]
    NoModule,
    /// The caller may not.
    #[error("{step}: needs root (CAP_SYS_ADMIN)")]
    Forbidden {
        /// The step, such as `connect a network block device`.
        step: &'static str,
    },
    /// The kernel said no.
    #[error("{step}: {source}")]
    Call {
        /// The step.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// A device to be: what the server has told, and how long it is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// Bytes.
    pub size: u64,
    /// The smallest unit of reading and writing, a power of two from 512 to the size of a page.
    pub block_size: u64,
    /// The transmission flags of the protocol, as the server sent them.
    pub server_flags: u16,
    /// How long a request may take before the connection counts as dead.
    pub request_timeout: Duration,
    /// How long requests wait for another connection when this one is dead; then they fail.
    pub reconnect_timeout: Duration,
    /// Whose device it is.
    pub identifier: &'a str,
    /// Connected to the server, after the handshake.
    pub socket: BorrowedFd<'a>,
}

/// A change to a device that is connected.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Another socket in place of one that is dead. While none is dead nothing happens.
    Socket(BorrowedFd<'a>),
    /// Another size in bytes.
    Size(u64),
}

/// The way to the kernel's family.
#[derive(Debug)]
pub struct Nbd {
    socket: Socket,
    family: u16,
}

impl Nbd {
    /// Finds the family.
    ///
    /// # Errors
    /// [`NbdError::NoModule`] when the module is not loaded.
    pub fn open() -> Result<Self, NbdError> {
        const STEP: &str = "look for the kernel's network block devices";
        let call = |source| NbdError::Call { step: STEP, source };
        let mut socket = Socket::open(netlink::GENERIC).map_err(call)?;
        let family = match family(&mut socket, "nbd") {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Err(NbdError::NoModule),
            other => other.map_err(call),
        }?;
        Ok(Self { socket, family })
    }

    /// Connects a device of the kernel's choice and answers its number.
    ///
    /// # Errors
    /// [`NbdError`]; nothing is connected then.
    pub fn connect(&mut self, connection: &Connection<'_>) -> Result<u32, NbdError> {
        const STEP: &str = "connect a network block device";
        let message = with_socket(Message::generic(self.family, CONNECT), connection.socket)
            .number64(attribute::SIZE, connection.size)
            .number64(attribute::BLOCK_SIZE, connection.block_size)
            .number64(attribute::SERVER_FLAGS, connection.server_flags.into())
            .number64(attribute::TIMEOUT, connection.request_timeout.as_secs())
            .number64(attribute::DEAD_CONNECTION_TIMEOUT, connection.reconnect_timeout.as_secs())
            .text(attribute::IDENTIFIER, connection.identifier);
        let answers = self.socket.ask(message).map_err(refused(STEP))?;
        let index = answers.iter().find_map(|answer| answer.attributes(FRONT).number(attribute::INDEX));
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "the kernel does not say which");
        index.map(u32::from_ne_bytes).ok_or_else(|| NbdError::Call { step: STEP, source: unknown() })
    }

    /// Changes a device, if its identifier is this one.
    ///
    /// # Errors
    /// [`NbdError`]; EINVAL when the device has another identifier or is not connected.
    pub fn change(&mut self, index: u32, identifier: &str, change: Change<'_>) -> Result<(), NbdError> {
        let message = Message::generic(self.family, RECONFIGURE)
            .number32(attribute::INDEX, index)
            .text(attribute::IDENTIFIER, identifier);
        let message = match change {
            Change::Socket(socket) => with_socket(message, socket),
            Change::Size(bytes) => message.number64(attribute::SIZE, bytes),
        };
        self.socket.ask(message).map(drop).map_err(refused("change a network block device"))
    }

    /// Ends the connection; whatever waits for the server fails. A device without one is fine.
    ///
    /// # Errors
    /// [`NbdError`].
    pub fn disconnect(&mut self, index: u32) -> Result<(), NbdError> {
        let message = Message::generic(self.family, DISCONNECT).number32(attribute::INDEX, index);
        self.socket.ask(message).map(drop).map_err(refused("disconnect a network block device"))
    }
}

/// The number of a generic family.
fn family(socket: &mut Socket, name: &str) -> io::Result<u16> {
    let message = Message::generic(control::FAMILY, control::GET_FAMILY).text(control::FAMILY_NAME, name);
    let answers = socket.ask(message)?;
    let number = answers.iter().find_map(|answer| answer.attributes(FRONT).number(control::FAMILY_ID));
    number.map(u16::from_ne_bytes).ok_or_else(|| Errno::NOENT.into())
}

fn with_socket(message: Message, socket: BorrowedFd<'_>) -> Message {
    let descriptor = socket.as_raw_fd().cast_unsigned();
    message.nested(attribute::SOCKETS, |sockets| {
        sockets.nested(attribute::SOCKET, |one| one.number32(attribute::DESCRIPTOR, descriptor))
    })
}

fn refused(step: &'static str) -> impl FnOnce(io::Error) -> NbdError {
    move |source| match Errno::from_io_error(&source) {
        Some(Errno::PERM | Errno::ACCESS) => NbdError::Forbidden { step },
        _ => NbdError::Call { step, source },
    }
}

/// `/dev/nbdN`.
#[must_use]
pub fn device(index: u32) -> PathBuf {
    PathBuf::from(format!("/dev/nbd{index}"))
}

/// The number in `/dev/nbdN` or `nbdN`, `None` for anything else.
#[must_use]
pub fn index_of(device: &Path) -> Option<u32> {
    let name = device.strip_prefix("/dev").unwrap_or(device).to_str()?.strip_prefix("nbd")?;
    // No sign, no zero in front: one name for one number.
    name.parse().ok().filter(|number: &u32| number.to_string() == name)
}

/// The identifier of the connection that the device has now, `None` when it has none (Linux 5.14 or later shows it).
///
/// # Errors
/// The system's error.
pub fn identifier(index: u32) -> io::Result<Option<String>> {
    match fs::read(format!("/sys/block/nbd{index}/backend")) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Absent, or vanished while it was read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::NODEV)
}

/// The devices that are connected, with their identifiers.
///
/// # Errors
/// The system's error.
pub fn connected() -> io::Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let name = entry?.file_name();
        if let Some(index) = index_of(Path::new(&name))
            && let Some(identifier) = identifier(index)?
        {
            found.push((index, identifier));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_s_own_names_are_devices() {
        assert_eq!(index_of(Path::new("/dev/nbd0")), Some(0));
        assert_eq!(index_of(Path::new("nbd127")), Some(127));
        for other in ["/dev/nbd", "/dev/nbd01", "/dev/nbd+1", "/dev/nbd0p1", "/dev/sda", "/dev/nbd/0", ""] {
            assert_eq!(index_of(Path::new(other)), None, "{other}");
        }
        assert_eq!(index_of(&device(12)), Some(12));
    }

    #[test]
    fn families_are_found_by_name() {
        let mut socket = Socket::open(netlink::GENERIC).unwrap();
        assert_eq!(family(&mut socket, "nlctrl").unwrap(), control::FAMILY);
        let error = family(&mut socket, "no-such-thing").unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOENT));
        // The socket is of use after an error.
        assert_eq!(family(&mut socket, "nlctrl").unwrap(), control::FAMILY);
    }

    #[test]
    fn a_device_that_is_not_there_has_no_identifier() {
        assert_eq!(identifier(4_000_000_000).unwrap(), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_socket_goes_by_its_descriptor() {
        let file = fs::File::open("/dev/null").unwrap();
        let number = u8::try_from(file.as_raw_fd()).unwrap();
        let bytes = with_socket(Message::generic(27, CONNECT), std::os::fd::AsFd::as_fd(&file));
        let expected = [16, 0, 7, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, number, 0, 0, 0];
        assert_eq!(bytes.finish(1).unwrap()[20..], expected);
    }
}
