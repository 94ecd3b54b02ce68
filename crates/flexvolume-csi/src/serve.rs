//! Sockets and what is served at them, for as long as the process lives.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::authority::Renamed;
use crate::rpc::{Endpoint, Routes};
use crate::socket::Socket;

/// How often to look whether a socket is still there: kubelet's directories can be wiped.
const LOOK: Duration = Duration::from_secs(1);
/// Before a socket that could not be opened is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long calls that run may take when the bridge ends; what they do goes on record all the same.
const GRACE: Duration = Duration::from_secs(5);
/// Calls at once on one connection. More wait at the other end.
const STREAMS: u32 = 1024;

/// Says when to end.
pub(crate) type Ending = watch::Receiver<bool>;

/// Waits for the end.
pub(crate) async fn ended(mut ending: Ending) {
    // An error means that nobody is left who could say it.
    let _ = ending.wait_for(|ends| *ends).await;
}

/// Serves at a socket until told to end, and opens it again when somebody has removed it.
pub(crate) async fn serve<R: Routes>(path: PathBuf, routes: Arc<R>, ending: Ending) {
    while !*ending.borrow() {
        match Socket::listen(&path) {
            Ok((socket, listener)) => serve_once(socket, listener, (&routes, &ending)).await,
            Err(error) => {
                tracing::error!(socket = %path.display(), %error, "cannot listen");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = ended(ending.clone()) => {}
                }
            }
        }
    }
}

/// Serves until told to end or until the socket is gone. Calls that run then go on by themselves.
async fn serve_once<R: Routes>(socket: Socket, listener: UnixListener, (routes, ending): (&Arc<R>, &Ending)) {
    let (stop, stopped) = watch::channel(false);
    let server = Server::builder().max_concurrent_streams(STREAMS).serve_with_incoming_shutdown(
        Endpoint(Arc::clone(routes)),
        UnixListenerStream::new(listener).map(|accepted| accepted.map(Renamed::new)),
        ended(stopped),
    );
    let mut server = tokio::spawn(server);
    tokio::select! {
        served = &mut server => {
            if let Ok(Err(error)) = served {
                tracing::error!(%error, "the server failed");
            }
            tokio::time::sleep(PAUSE).await;
        }
        () = gone(&socket) => {
            let _ = stop.send(true);
        }
        () = ended(ending.clone()) => {
            let _ = stop.send(true);
            let _ = tokio::time::timeout(GRACE, server).await;
        }
    }
}

async fn gone(socket: &Socket) {
    while socket.is_there() {
        tokio::time::sleep(LOOK).await;
    }
    tracing::warn!("a socket was removed; opening it again");
}

/// The path of a socket as `CSI_ENDPOINT` gives it.
///
/// # Errors
/// When it is not the absolute path of a socket of this machine.
pub(crate) fn endpoint_path(endpoint: &str) -> io::Result<PathBuf> {
    let path = Path::new(endpoint.strip_prefix("unix://").unwrap_or(endpoint));
    if path.is_absolute() && path.extension().is_some_and(|extension| extension == "sock") {
        return Ok(path.to_owned());
    }
    Err(io::Error::other("an endpoint is the absolute path of a socket: unix:///….sock"))
}
