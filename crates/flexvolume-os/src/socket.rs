//! Whether a stream socket that somebody else holds, such as the kernel, is still connected (sock_diag(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::netlink;
use rustix::net::sockopt::socket_cookie;

use crate::netlink::{Message, Socket};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const ALL_STATES: u32 = u32::MAX;
/// `TCP_ESTABLISHED`, of unix sockets too.
const ESTABLISHED: u8 = 1;
/// `UNIX_DIAG_SHUTDOWN`, behind `struct unix_diag_msg`.
const UNIX_SHUTDOWN: u16 = 6;
const UNIX_FRONT: usize = 16;

/// Names a socket for as long as it exists, in whosever hands; never another one that has the same port later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketName {
    /// Where the kernel looks for it.
    pub place: Place,
    /// The kernel's number for this very socket, unique since boot.
    pub cookie: u64,
}

/// Where the kernel looks for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// TCP, by its two ends.
    Tcp {
        /// This end.
        local: SocketAddr,
        /// The server's.
        peer: SocketAddr,
    },
    /// A unix socket, by its inode number.
    Unix(u32),
}

/// The state of a connection, as far as the kernel has noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Both ends are there. A peer that has fallen silent is noticed only when something is sent.
    Connected,
    /// One end has closed, or the socket is gone.
    Broken,
}

impl SocketName {
    /// The name of a TCP socket of ours.
    ///
    /// # Errors
    /// The system's error.
    pub fn tcp(stream: &TcpStream) -> io::Result<Self> {
        let place = Place::Tcp { local: stream.local_addr()?, peer: stream.peer_addr()? };
        Ok(Self { place, cookie: socket_cookie(stream.as_fd())? })
    }

    /// The name of a unix socket of ours.
    ///
    /// # Errors
    /// The system's error.
    pub fn unix(stream: &UnixStream) -> io::Result<Self> {
        let inode = rustix::fs::fstat(stream)?.st_ino;
        let inode = u32::try_from(inode).map_err(|_| Errno::RANGE)?;
        Ok(Self { place: Place::Unix(inode), cookie: socket_cookie(stream.as_fd())? })
    }

    /// Asks the kernel.
    ///
    /// # Errors
    /// The system's error; `Unsupported` when this kernel cannot tell (it lacks the module `tcp_diag` or `unix_diag`).
    pub fn link(&self) -> io::Result<Link> {
        match self.state() {
            // No such socket; or one with another cookie.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::STALE) => Ok(Link::Broken),
            // No such socket, or nobody who could tell.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => match self.place.witness() {
                Ok(Link::Connected) => Ok(Link::Broken),
                _ => Err(io::ErrorKind::Unsupported.into()),
            },
            other => other,
        }
    }

    fn state(&self) -> io::Result<Link> {
        let answers = Socket::open(netlink::SOCK_DIAG)?.ask(self.question())?;
        let connected = answers.first().is_some_and(|answer| {
            let state = answer.payload.get(1).copied();
            let shutdown = match self.place {
                Place::Tcp { .. } => [0],
                Place::Unix(_) => answer.attributes(UNIX_FRONT).number(UNIX_SHUTDOWN).unwrap_or([0]),
            };
            state == Some(ESTABLISHED) && shutdown == [0]
        });
        Ok(if connected { Link::Connected } else { Link::Broken })
    }

    fn question(&self) -> Message {
        // Low half first, in whatever byte order.
        let halves = [self.cookie & u64::from(u32::MAX), self.cookie >> 32];
        let cookie = halves.map(|half| u32::try_from(half).unwrap_or(u32::MAX).to_ne_bytes()).concat();
        let all = ALL_STATES.to_ne_bytes();
        let front = match self.place {
            Place::Tcp { local, peer } => [&tcp_front(local, peer)[..], &cookie].concat(),
            Place::Unix(inode) => {
                [&[AF_UNIX, 0, 0, 0], &all[..], &inode.to_ne_bytes(), &[0; 4], &cookie].concat()
            }
        };
        Message::new(SOCK_DIAG_BY_FAMILY, &front)
    }
}

/// Whether this kernel can tell the state of TCP and unix sockets; loads the modules for it.
///
/// # Errors
/// The system's error.
pub fn probe() -> io::Result<()> {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for place in [Place::Tcp { local: nowhere, peer: nowhere }, Place::Unix(0)] {
        place.witness()?;
    }
    Ok(())
}

impl Place {
    /// What the kernel says of a socket of this kind that is surely connected.
    fn witness(self) -> io::Result<Link> {
        match self {
            Place::Tcp { .. } => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let stream = TcpStream::connect(listener.local_addr()?)?;
                SocketName::tcp(&stream)?.state()
            }
            Place::Unix(_) => {
                let (stream, _other) = UnixStream::pair()?;
                SocketName::unix(&stream)?.state()
            }
        }
    }
}

/// `struct inet_diag_req_v2` up to the cookie: ports and addresses in network byte order.
fn tcp_front(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let (family, scope) = match local {
        SocketAddr::V4(_) => (AF_INET, 0),
        SocketAddr::V6(local) => (AF_INET6, local.scope_id()),
    };
    let mut front = vec![family, IPPROTO_TCP, 0, 0];
    front.extend(ALL_STATES.to_ne_bytes());
    front.extend(local.port().to_be_bytes());
    front.extend(peer.port().to_be_bytes());
    for end in [local, peer] {
        let mut address = [0; 16];
        match end.ip() {
            IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => address = ip.octets(),
        }
        front.extend(address);
    }
    front.extend(scope.to_ne_bytes());
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None` where the kernel was built without the answers.
    fn link(name: &SocketName) -> Option<Link> {
        match name.link() {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            other => Some(other.unwrap()),
        }
    }

    #[test]
    fn a_tcp_socket_is_connected_until_an_end_closes() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                eprintln!("skipped: a_tcp_socket_is_connected_until_an_end_closes: no {address}");
                continue;
            };
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (theirs, _) = listener.accept().unwrap();
            let name = SocketName::tcp(&ours).unwrap();
            let Some(link_now) = link(&name) else {
                eprintln!("skipped: a_tcp_socket_is_connected_until_an_end_closes: no sock_diag");
                return;
            };
            assert_eq!(link_now, Link::Connected);
            let other = SocketName { cookie: name.cookie + 1, ..name };
            assert_eq!(other.link().unwrap(), Link::Broken);
            drop(theirs);
            while name.link().unwrap() == Link::Connected {}
            drop(ours);
            assert_eq!(name.link().unwrap(), Link::Broken);
        }
    }

    #[test]
    fn a_unix_socket_is_connected_until_an_end_closes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let name = SocketName::unix(&ours).unwrap();
        let Some(link_now) = link(&name) else {
            eprintln!("skipped: a_unix_socket_is_connected_until_an_end_closes: no sock_diag");
            return;
        };
        assert_eq!(link_now, Link::Connected);
        assert_eq!(SocketName { cookie: name.cookie + 1, ..name }.link().unwrap(), Link::Broken);
        drop(theirs);
        assert_eq!(name.link().unwrap(), Link::Broken);
        drop(ours);
        assert_eq!(name.link().unwrap(), Link::Broken);
    }
}
