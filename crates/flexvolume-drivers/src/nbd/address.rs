//! Where a server is, and which export of it is meant.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use flexvolume_os::reach::Host;

use crate::remote_disk::RemoteDisk;

/// The port of NBD.
pub(crate) const PORT: u16 = 10809;

/// A unix socket's path is no longer (unix(7): `sun_path`, less its zero byte).
const LONGEST_SOCKET: usize = 107;

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: Host, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// Reads what [`Display`](fmt::Display) writes, which is also what a person writes: `host`, `host:port`,
    /// `[address]:port`, `unix:/path`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path);
        }
        let is_address = text.parse::<std::net::Ipv6Addr>().is_ok();
        match text.rsplit_once(':') {
            Some((host, port)) if !is_address && !text.ends_with(']') => Self::tcp(host, Some(port)),
            _ => Self::tcp(text, None),
        }
    }

    pub(crate) fn tcp(host: &str, port: Option<&str>) -> Result<Self, String> {
        // A name is the same in capitals; an address is written anew.
        let host = Host::parse(&host.to_ascii_lowercase()).map_err(|error| error.to_string())?;
        let port = match port {
            None => PORT,
            Some(text) => parse_port(text).ok_or("a port is a number from 1 to 65535")?,
        };
        Ok(Self::Tcp { host, port })
    }

    pub(crate) fn unix(path: &str) -> Result<Self, String> {
        let plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
        let socket = Path::new(path);
        if !socket.is_absolute() || !socket.components().all(plain) || path.contains('\0') {
            return Err("a socket is an absolute path without `..`".to_owned());
        }
        if path.len() > LONGEST_SOCKET {
            return Err(format!("the path of a socket has at most {LONGEST_SOCKET} bytes"));
        }
        Ok(Self::Unix(socket.components().collect()))
    }
}

/// Digits only: `+1` and ` 1` are slips.
fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } => write!(out, "{host}:{port}"),
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// One export of one server: what a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: Address,
    /// Empty is the server's default export.
    pub(crate) export: String,
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted: a name may have any character.
        write!(out, "export {:?} of {}", self.export, self.address)
    }
}

impl RemoteDisk for Target {
    /// Neither part holds a newline that the other could be taken for: an address has none.
    fn identity(&self) -> String {
        format!("{}\n{}", self.address, self.export)
    }

    fn of_identity(text: &str) -> Option<Self> {
        let (address, export) = text.split_once('\n')?;
        Some(Self { address: Address::parse(address).ok()?, export: export.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_one_way() {
        for (text, written) in [
            ("Storage.Example", "storage.example:10809"),
            ("10.0.0.7:1000", "10.0.0.7:1000"),
            ("::1", "[::1]:10809"),
            ("[::1]", "[::1]:10809"),
            ("[FD00:0::1]:7", "[fd00::1]:7"),
            ("fd00:0:0::1", "[fd00::1]:10809"),
            ("unix:/run//nbd.sock", "unix:/run/nbd.sock"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(Address::parse(written).unwrap(), address);
        }
    }

    #[test]
    fn an_identity_leads_back_to_the_export() {
        for (server, export) in [("storage", ""), ("::1", "a\nb"), ("unix:/run/nbd.sock", "\n")] {
            let target = Target { address: Address::parse(server).unwrap(), export: export.to_owned() };
            assert_eq!(Target::of_identity(&target.identity()), Some(target));
        }
        assert_eq!(Target::of_identity("storage"), None);
        assert_eq!(Target::of_identity("a b\nexport"), None);
    }

    #[test]
    fn what_names_no_server_is_refused() {
        let long = format!("unix:/{}", "x".repeat(107));
        for text in [
            "",
            "a b",
            "host:0",
            "host:65536",
            "host:+1",
            "host:",
            ":1",
            "a\nb",
            "a,b",
            "a\\b",
            "fe80::1%eth0",
            "[::1]:x",
            "[::1",
            "unix:",
            "unix:run",
            "unix:/a/../b",
            "unix:/a\0b",
            &long,
            "-x",
            "host:1:2",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
