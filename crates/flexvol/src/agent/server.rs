//! The socket, and the port for figures: who may connect, and how many at a time.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::api::Api;
use super::http;

/// So many connections at a time; another one is closed at once.
const MOST_CONNECTIONS: usize = 16;
/// How long a client may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(5);

const NAME: &str = "agent.sock";

/// The socket by a path that is short however deep the directory lies: a socket's path has at most 107 bytes. The file
/// must be kept open while the path is used.
pub(super) fn short_path(directory: &Path) -> io::Result<(File, PathBuf)> {
    let handle = File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())).join(NAME);
    Ok((handle, path))
}

/// Serves the socket in the agent's directory from now on. The directory is root's alone, the socket has mode 0600, and
/// whoever connects must be root or the user that we run as.
pub(super) fn serve_socket(directory: &Path, api: Api) -> io::Result<()> {
    let (_handle, path) = short_path(directory)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let crowd = Crowd::default();
    thread::Builder::new().name("socket".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) if is_trusted(&stream) => crowd.serve(stream, &api),
                Ok(_) => tracing::warn!("another user has tried to use the agent's socket"),
                Err(error) => rest_after(&error),
            }
        }
    })?;
    Ok(())
}

/// Serves figures on a loopback port from now on.
pub(super) fn serve_port(address: SocketAddr, api: Api) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let crowd = Crowd::default();
    thread::Builder::new().name("port".to_owned()).spawn(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => crowd.serve(stream, &api),
                Err(error) => rest_after(&error),
            }
        }
    })?;
    Ok(())
}

fn is_trusted(stream: &UnixStream) -> bool {
    let us = rustix::process::geteuid();
    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd());
    peer.is_ok_and(|peer| peer.uid.is_root() || peer.uid == us)
}

/// Out of descriptors, most likely: others need a moment to give some back.
fn rest_after(error: &io::Error) {
    tracing::warn!(%error, "a connection was not accepted");
    thread::sleep(Duration::from_millis(100));
}

trait Stream: Read + Write + Send + 'static {
    fn set_patience(&self) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn set_patience(&self) -> io::Result<()> {
        self.set_read_timeout(Some(PATIENCE)).and(self.set_write_timeout(Some(PATIENCE)))
    }
}

impl Stream for std::net::TcpStream {
    fn set_patience(&self) -> io::Result<()> {
        self.set_read_timeout(Some(PATIENCE)).and(self.set_write_timeout(Some(PATIENCE)))
    }
}

/// The connections that are being served.
#[derive(Default)]
struct Crowd(Arc<AtomicUsize>);

/// One of them.
struct Member(Arc<AtomicUsize>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Crowd {
    fn serve(&self, stream: impl Stream, api: &Api) {
        let member = Member(Arc::clone(&self.0));
        if self.0.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS || stream.set_patience().is_err() {
            return;
        }
        let api = api.clone();
        let served = thread::Builder::new().name("request".to_owned()).spawn(move || {
            let _member = member;
            if let Err(error) = http::serve(stream, |request| api.answer(request)) {
                tracing::debug!(%error, "a client went away");
            }
        });
        if let Err(error) = served {
            tracing::warn!(%error, "no thread for a request");
        }
    }
}
