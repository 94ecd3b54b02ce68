//! Netlink: questions to the kernel, as messages on a socket (netlink(7)).
//!
//! A message is a header, what its family wants in front (for generic netlink a command), and attributes. Everything is
//! in the byte order of the machine. Answers come from the kernel, yet no length in them is believed.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

mod message;

pub use message::{Answer, Attributes, Message, attributes, split};

/// How long the kernel may take to answer. It does so while the question is sent.
const DEADLINE: Duration = Duration::from_secs(10);

/// More datagrams than this in answer to one question are not for us.
const MOST_DATAGRAMS: usize = 64;

/// No answer that we ask for is longer.
const LONGEST: usize = 32 << 10;

/// A socket to one part of the kernel.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket for this protocol, such as `rustix::net::netlink::GENERIC`.
    ///
    /// # Errors
    /// The system's error; EPROTONOSUPPORT when the kernel has no such part.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let socket =
            net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE))?;
        net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks, and gives what the kernel answered before it acknowledged.
    ///
    /// # Errors
    /// The error number that the kernel answers with; `InvalidData` for an answer that is none.
    pub fn ask(&mut self, message: Message) -> io::Result<Vec<Answer>> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence)?;
        net::sendto(&self.socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; LONGEST];
        for _ in 0..MOST_DATAGRAMS {
            let bytes = self.receive(&mut buffer)?;
            for answer in split(bytes)?.into_iter().filter(|answer| answer.sequence == self.sequence) {
                match answer.error()? {
                    None => answers.push(answer),
                    Some(0) => return Ok(answers),
                    Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel does not come to an end"))
    }

    fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = loop {
            match net::recv(&self.socket, &mut *buffer, RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
                Ok((_, length)) => break length,
            }
        };
        buffer
            .get(..length)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an answer is too long"))
    }
}
