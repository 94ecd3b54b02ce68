//! Whether a server can be reached, with the causes told apart that a person acts on differently.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use thiserror::Error;

/// A server as it stands in options: a name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Address(IpAddr),
    Name(String),
}

/// Text that names no server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("it is neither a host name nor an address: {0}")]
pub struct HostError(&'static str);

impl Host {
    /// Reads a name, an IPv4 address, or an IPv6 address with or without brackets. An IPv6 address with a zone (`%eth0`)
    /// is refused: it means something else on each node.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>()
            && (bare.is_none() || address.is_ipv6())
        {
            return Ok(Self(Place::Address(address)));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match text {
            "" => Err(HostError("it is empty")),
            _ if text.contains('%') => Err(HostError("an address with a zone is another one on each node")),
            _ if text.len() > 253 => Err(HostError("it has more than 253 characters")),
            _ if !text.bytes().all(plain) => {
                Err(HostError("a name consists of letters, digits, `-`, `_` and `.`"))
            }
            _ if text.starts_with(['-', '.']) => Err(HostError("it begins with `-` or `.`")),
            _ => Ok(Self(Place::Name(text.to_owned()))),
        }
    }

    /// Its addresses, without asking anybody if it is one.
    ///
    /// # Errors
    /// [`Unreachable::NoName`], [`Unreachable::NoAnswerForName`].
    pub fn resolve(&self, patience: Duration) -> Result<Vec<IpAddr>, Unreachable> {
        let name = match &self.0 {
            Place::Address(address) => return Ok(vec![*address]),
            Place::Name(name) => name.clone(),
        };
        let unknown = |why: String| Unreachable::NoName { name: name.clone(), why };
        let (sender, receiver) = mpsc::channel();
        let asked = name.clone();
        // The library's question has no deadline; in the worst case the thread stays until the process ends.
        let question = move || {
            let answer = (asked.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            // The receiver may have given up.
            let _ = sender.send(answer);
        };
        let asking = thread::Builder::new().spawn(question).map_err(|error| unknown(error.to_string()))?;
        let answer = receiver
            .recv_timeout(patience)
            .map_err(|_| Unreachable::NoAnswerForName { name: name.clone(), waited: patience })?;
        // Gone before we go on: some calls want a process with one thread.
        let _ = asking.join();
        let mut addresses: Vec<IpAddr> = Vec::new();
        for found in answer.map_err(|error| unknown(error.to_string()))? {
            if !addresses.contains(&found.ip()) {
                addresses.push(found.ip());
            }
        }
        if addresses.is_empty() { Err(unknown("it has no address".to_owned())) } else { Ok(addresses) }
    }
}

impl fmt::Display for Host {
    /// As it stands in the source of a mount: an IPv6 address in brackets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Address(IpAddr::V6(address)) => write!(out, "[{address}]"),
            Place::Address(address) => write!(out, "{address}"),
            Place::Name(name) => out.write_str(name),
        }
    }
}

/// Why a server cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// Nobody knows the name.
    #[error(
        "the name {name} does not resolve ({why}): is it spelled right, and does this node's DNS know it?"
    )]
    NoName {
        /// The name.
        name: String,
        /// What the resolver said.
        why: String,
    },
    /// The name server does not answer.
    #[error("no answer for the name {name} within {}s: is this node's DNS server reachable?", .waited.as_secs())]
    NoAnswerForName {
        /// The name.
        name: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The machine answers, and nobody listens.
    #[error("{address} refuses connections: the machine is up, but no server listens on this port")]
    Refused {
        /// Address and port.
        address: SocketAddr,
    },
    /// Nothing comes back.
    #[error("{address} does not answer within {}s: is the machine up, and does a firewall drop packets?", .waited.as_secs())]
    Silent {
        /// Address and port.
        address: SocketAddr,
        /// How long we waited.
        waited: Duration,
    },
    /// No way leads there.
    #[error(
        "there is no route from this node to {address} ({why}): check the address and this node's network"
    )]
    NoRoute {
        /// Address and port.
        address: SocketAddr,
        /// What the kernel said.
        why: String,
    },
}

/// Connects to the first address that answers, in all within `patience`.
///
/// # Errors
/// [`Unreachable`] for the last address.
pub fn connect(addresses: &[IpAddr], port: u16, patience: Duration) -> Result<TcpStream, Unreachable> {
    let start = Instant::now();
    let mut last = None;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for ip in addresses {
        let address = SocketAddr::new(*ip, port);
        let share = patience.saturating_sub(start.elapsed()) / left.max(1);
        left = left.saturating_sub(1);
        match TcpStream::connect_timeout(&address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(explain(address, &error, share)),
        }
    }
    Err(last.unwrap_or(Unreachable::NoName { name: String::new(), why: "it has no address".to_owned() }))
}

fn explain(address: SocketAddr, error: &io::Error, waited: Duration) -> Unreachable {
    match (error.kind(), Errno::from_io_error(error)) {
        (io::ErrorKind::ConnectionRefused, _) => Unreachable::Refused { address },
        (io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock, _) => {
            // In whole seconds, as it is shown.
            let waited = Duration::from_secs((waited + Duration::from_millis(500)).as_secs().max(1));
            Unreachable::Silent { address, waited }
        }
        _ => Unreachable::NoRoute { address, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn names_and_addresses_are_read() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1"),
            ("fd00::1", "[fd00::1]"),
            ("[fd00::1]", "[fd00::1]"),
            ("nas-1.example_x.com", "nas-1.example_x.com"),
        ] {
            assert_eq!(Host::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", "a b", "a\nb", "a,b", "a/b", "a:b", "[10.0.0.1]", "[x]", "fe80::1%eth0", "-x", ".x"] {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_port_that_nobody_listens_on_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        connect(&[open.ip()], open.port(), PATIENCE).unwrap();
        // A port that was open a moment ago may be somebody else's by now; the lowest one is nobody's.
        let address = SocketAddr::new(open.ip(), 1);
        let error = connect(&[address.ip()], address.port(), PATIENCE).unwrap_err();
        assert_eq!(error, Unreachable::Refused { address });
    }

    #[test]
    fn an_address_needs_no_name_server() {
        let host = Host::parse("[::1]").unwrap();
        assert_eq!(host.resolve(Duration::ZERO).unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn causes_are_told_apart() {
        let address: SocketAddr = "192.0.2.1:2049".parse().unwrap();
        let errno = |errno: Errno| explain(address, &errno.into(), PATIENCE);
        assert!(matches!(errno(Errno::NETUNREACH), Unreachable::NoRoute { .. }));
        assert!(matches!(errno(Errno::HOSTUNREACH), Unreachable::NoRoute { .. }));
        assert!(matches!(errno(Errno::TIMEDOUT), Unreachable::Silent { .. }));
        assert!(matches!(errno(Errno::CONNREFUSED), Unreachable::Refused { .. }));
    }
}
