//! Locks of NFSv3, for which a daemon must run on this node.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::rpc::{PORT_MAPPER_PORT, Peer, STATUS};

/// This machine answers at once or not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether locks between nodes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Daemon {
    /// `rpc.statd` is registered.
    Runs,
    /// It is not; a program that locks a file would wait for ever (measured on Linux 6.1).
    Missing,
}

/// Asks this node's port mapper, as the kernel would.
pub(super) fn status_daemon() -> Daemon {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let peer = Peer { address, port: PORT_MAPPER_PORT, patience: PATIENCE };
    match peer.port_of(STATUS) {
        Ok(Some(_)) => Daemon::Runs,
        Ok(None) | Err(_) => Daemon::Missing,
    }
}
