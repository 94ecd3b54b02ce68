//! A connection to a server, until the kernel takes it over.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use flexvolume_os::reach;
use flexvolume_os::socket::SocketName;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::address::{Address, Target};
use super::error::{NbdError, Result, at, of_address, of_server};
use super::protocol::{self, Export, Intent};

/// Between two tries on a unix socket whose server has its hands full.
const TICK: Duration = Duration::from_millis(20);

/// No server wants larger units.
const BLOCK: usize = 4096;

/// A connection whose every step ends in time.
#[derive(Debug)]
pub(crate) struct Session {
    stream: Stream,
    until: Instant,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Session {
    /// Connects and greets; this and all that follows ends within `patience`.
    pub(crate) fn open(address: &Address, patience: Duration) -> Result<Self> {
        let until = Instant::now() + patience;
        let stream = match address {
            Address::Tcp { host, port } => {
                let addresses = host.resolve(patience)?;
                let left = until.saturating_duration_since(Instant::now());
                let stream = reach::connect(&addresses, *port, left)?;
                // Requests are small and wait for their answers.
                stream.set_nodelay(true).map_err(|error| of_address(address)(error.into()))?;
                Stream::Tcp(stream)
            }
            Address::Unix(socket) => Stream::Unix(connect_unix(socket, until)?),
        };
        let mut session = Self { stream, until };
        protocol::greet(&mut session).map_err(of_address(address))?;
        Ok(session)
    }

    /// Asks for the export, to use it or to look at it.
    pub(crate) fn choose(&mut self, target: &Target, intent: Intent) -> Result<Export> {
        protocol::choose(self, &target.export, intent).map_err(of_server(target))
    }

    /// What the kernel calls this socket, also when it has it.
    pub(crate) fn name(&self) -> io::Result<SocketName> {
        match &self.stream {
            Stream::Tcp(stream) => SocketName::tcp(stream),
            Stream::Unix(stream) => SocketName::unix(stream),
        }
    }

    /// Makes the socket fit for the kernel, which would take our deadlines for its own and call an idle server dead.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        self.deadlines(None)?;
        if let Stream::Tcp(stream) = &self.stream {
            // A peer that is gone is noticed though nobody reads or writes.
            sockopt::set_socket_keepalive(stream, true)?;
            sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
        }
        Ok(())
    }

    /// Leaves an export that was chosen, in the words of the protocol.
    pub(crate) fn leave(mut self) {
        protocol::disconnect(&mut self);
    }

    /// Leaves before an export was chosen.
    pub(crate) fn abort(mut self) {
        protocol::abort(&mut self);
    }

    fn deadlines(&self, deadline: Option<Duration>) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(deadline)?;
                stream.set_write_timeout(deadline)
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(deadline)?;
                stream.set_write_timeout(deadline)
            }
        }
    }

    /// Gives the next step what is left of the time.
    fn hurry(&self) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { self.deadlines(Some(left)) }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hurry()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hurry()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// connect(2) of a unix socket waits without a limit while the server accepts nobody; EAGAIN does not.
fn connect_unix(socket: &Path, until: Instant) -> Result<UnixStream> {
    let failed = |error: io::Error| NbdError::NoSocket { socket: socket.to_owned(), source: error };
    let address = SocketAddrUnix::new(socket).map_err(|error| failed(error.into()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let descriptor = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(at("make a socket for", socket))?;
    loop {
        match net::connect(&descriptor, &address) {
            Ok(()) => break,
            Err(Errno::AGAIN) if Instant::now() < until => std::thread::sleep(TICK),
            Err(error) => return Err(failed(error.into())),
        }
    }
    let stream = UnixStream::from(descriptor);
    stream.set_nonblocking(false).map_err(failed)?;
    Ok(stream)
}

/// An export as something to read at offsets, for who knows where a superblock lies.
pub(crate) struct Reader<'a>(pub(crate) std::cell::RefCell<&'a mut Session>);

impl std::os::unix::fs::FileExt for Reader<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Whole blocks, which every server gives.
        let begin = offset - offset % BLOCK as u64;
        let skipped = usize::try_from(offset - begin).map_err(io::Error::other)?;
        let mut blocks = vec![0; (skipped + buffer.len()).next_multiple_of(BLOCK)];
        protocol::read(&mut **self.0.borrow_mut(), begin, &mut blocks).map_err(io::Error::other)?;
        let wanted = blocks.get(skipped..skipped + buffer.len()).unwrap_or_default();
        buffer.copy_from_slice(wanted);
        Ok(buffer.len())
    }

    /// Nothing of a user's is ever written past the kernel.
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
