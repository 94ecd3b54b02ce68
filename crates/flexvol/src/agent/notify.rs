//! What the service manager is told (`sd_notify(3)`); nothing where there is none.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceState {
    /// It works.
    Ready,
    /// It is ending.
    Stopping,
    /// It still goes round.
    Alive,
}

impl ServiceState {
    fn message(self) -> &'static [u8] {
        match self {
            ServiceState::Ready => b"READY=1",
            ServiceState::Stopping => b"STOPPING=1",
            ServiceState::Alive => b"WATCHDOG=1",
        }
    }
}

/// Tells the service manager, if there is one.
pub(super) fn tell(state: &ServiceState) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state.message()) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// Tells the service manager now and then that the loop still goes round, if it wants to know.
#[derive(Debug)]
pub(super) struct Watchdog {
    interval: Option<Duration>,
    told: Instant,
}

impl Watchdog {
    /// As the service manager asks for it: three times in the time after which it would step in.
    pub(super) fn new() -> Self {
        let wanted = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Self { interval: wanted.map(|wanted| Duration::from_micros(wanted) / 3), told: Instant::now() }
    }

    /// The loop has gone round.
    pub(super) fn pat(&mut self) {
        if self.interval.is_some_and(|interval| self.told.elapsed() >= interval) {
            self.told = Instant::now();
            tell(&ServiceState::Alive);
        }
    }
}

fn send(socket: &OsString, message: &[u8]) -> io::Result<()> {
    let name = socket.as_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}
