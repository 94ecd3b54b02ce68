//! Questions to a server by ONC RPC (RFC 5531), in the clear and over TCP: is it there, what does it speak, what does it
//! export? Everything that comes back is foreign.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use flexvolume_os::reach::{self, Unreachable};
use thiserror::Error;

/// No answer that we ask for is longer.
const LONGEST: usize = 1 << 20;

/// A version of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) number: u32,
    pub(super) version: u32,
}

pub(super) const NFS_4: Program = Program { number: 100_003, version: 4 };
pub(super) const NFS_3: Program = Program { number: 100_003, version: 3 };
pub(super) const MOUNT_3: Program = Program { number: 100_005, version: 3 };
pub(super) const STATUS: Program = Program { number: 100_024, version: 1 };
const PORT_MAPPER: Program = Program { number: 100_000, version: 2 };
/// The port of the port mapper.
pub(super) const PORT_MAPPER_PORT: u16 = 111;

/// Why a question has no answer.
#[derive(Debug, Error)]
pub(super) enum RpcError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("the connection failed: {0}")]
    Broken(#[from] io::Error),
    /// Other versions than the one asked for.
    #[error("it speaks versions {0} to {1}")]
    Versions(u32, u32),
    #[error("it has no such program")]
    NoProgram,
    #[error("it refuses to answer us")]
    Denied,
    #[error("its answer makes no sense")]
    Garbage,
}

type Result<T> = std::result::Result<T, RpcError>;

/// A server, and how long it may take for one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) patience: Duration,
}

impl Peer {
    /// Calls a procedure; answers the bytes of its result.
    pub(super) fn call(self, program: Program, procedure: u32, arguments: &[u8]) -> Result<Vec<u8>> {
        let mut stream = reach::connect(&[self.address], self.port, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        stream.write_all(&request(program, procedure, arguments))?;
        let reply = read_record(&mut stream)?;
        result(&reply).map(<[u8]>::to_vec)
    }

    /// The procedure that every program has, and that does nothing.
    pub(super) fn ping(self, program: Program) -> Result<()> {
        self.call(program, 0, &[]).map(|_| ())
    }

    /// The TCP port on which the port mapper says a program listens, `None` for nowhere.
    pub(super) fn port_of(self, program: Program) -> Result<Option<u16>> {
        const GET_PORT: u32 = 3;
        const TCP: u32 = 6;
        let mut arguments = Vec::new();
        [program.number, program.version, TCP, 0].iter().for_each(|word| put(&mut arguments, *word));
        let answer = self.call(PORT_MAPPER, GET_PORT, &arguments)?;
        let port = Xdr(&answer).word().ok_or(RpcError::Garbage)?;
        Ok(u16::try_from(port).ok().filter(|port| *port != 0))
    }

    /// Whether a minor version of NFSv4 is spoken, by a request that asks for nothing (RFC 8881, section 16.2).
    pub(super) fn speaks_minor(self, minor: u32) -> Result<bool> {
        const COMPOUND: u32 = 1;
        const MINOR_VERSION_MISMATCH: u32 = 10_021;
        let mut arguments = Vec::new();
        [0, minor, 0].iter().for_each(|word| put(&mut arguments, *word));
        let answer = self.call(NFS_4, COMPOUND, &arguments)?;
        Ok(Xdr(&answer).word().ok_or(RpcError::Garbage)? != MINOR_VERSION_MISMATCH)
    }

    /// The directories that the mount daemon says are exported, and to whom.
    pub(super) fn exports(self) -> Result<Vec<Export>> {
        const EXPORT: u32 = 5;
        let answer = self.call(MOUNT_3, EXPORT, &[])?;
        exports(&answer).ok_or(RpcError::Garbage)
    }
}

/// A directory that is exported; to everybody if there are no groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Export {
    pub(super) directory: String,
    pub(super) groups: Vec<String>,
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

/// One record in one fragment: a call without credentials.
fn request(program: Program, procedure: u32, arguments: &[u8]) -> Vec<u8> {
    const CALL: u32 = 0;
    const RPC_VERSION: u32 = 2;
    let mut body = Vec::new();
    let transaction = std::process::id();
    for word in [transaction, CALL, RPC_VERSION, program.number, program.version, procedure, 0, 0, 0, 0] {
        put(&mut body, word);
    }
    body.extend_from_slice(arguments);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX) & 0x7fff_ffff;
    let mut record = (length | 0x8000_0000).to_be_bytes().to_vec();
    record.extend_from_slice(&body);
    record
}

fn read_record(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut record = Vec::new();
    loop {
        let mut mark = [0; 4];
        stream.read_exact(&mut mark)?;
        let mark = u32::from_be_bytes(mark);
        let length = usize::try_from(mark & 0x7fff_ffff).map_err(|_| RpcError::Garbage)?;
        let start = record.len();
        if start.saturating_add(length) > LONGEST {
            return Err(RpcError::Garbage);
        }
        record.resize(start + length, 0);
        stream.read_exact(&mut record[start..])?;
        if mark & 0x8000_0000 != 0 {
            return Ok(record);
        }
    }
}

/// The part of a reply that belongs to the procedure.
fn result(reply: &[u8]) -> Result<&[u8]> {
    let mut words = Xdr(reply);
    let header = words.word().zip(words.word()).zip(words.word());
    let ((_, kind), state) = header.ok_or(RpcError::Garbage)?;
    match (kind, state) {
        (1, 0) => {}
        (1, 1) => return Err(RpcError::Denied),
        _ => return Err(RpcError::Garbage),
    }
    // The verifier.
    words.word().and_then(|_| words.opaque()).ok_or(RpcError::Garbage)?;
    match words.word() {
        Some(0) => Ok(words.0),
        Some(1) => Err(RpcError::NoProgram),
        Some(2) => {
            let (low, high) = words.word().zip(words.word()).ok_or(RpcError::Garbage)?;
            Err(RpcError::Versions(low, high))
        }
        Some(_) => Err(RpcError::Denied),
        None => Err(RpcError::Garbage),
    }
}

fn exports(answer: &[u8]) -> Option<Vec<Export>> {
    let mut words = Xdr(answer);
    let mut exports = Vec::new();
    while words.word()? == 1 {
        let directory = words.text()?;
        let mut groups = Vec::new();
        while words.word()? == 1 {
            groups.push(words.text()?);
        }
        exports.push(Export { directory, groups });
    }
    Some(exports)
}

/// Data as RFC 4506 lays it out: words of four bytes.
struct Xdr<'a>(&'a [u8]);

impl<'a> Xdr<'a> {
    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*word))
    }

    fn opaque(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.word()?).ok()?;
        let (field, rest) = self.0.split_at_checked(length)?;
        let padding = length.next_multiple_of(4) - length;
        self.0 = rest.get(padding..)?;
        Some(field)
    }

    /// Text that can be shown.
    fn text(&mut self) -> Option<String> {
        let text = String::from_utf8_lossy(self.opaque()?).into_owned();
        Some(text.chars().map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn replies_are_told_apart() {
        let accepted = |rest: &[u32]| [words(&[7, 1, 0, 0, 0]), words(rest)].concat();
        assert_eq!(result(&accepted(&[0, 42])).unwrap(), words(&[42]));
        assert!(matches!(result(&accepted(&[2, 3, 4])), Err(RpcError::Versions(3, 4))));
        assert!(matches!(result(&accepted(&[1])), Err(RpcError::NoProgram)));
        assert!(matches!(result(&words(&[7, 1, 1, 0])), Err(RpcError::Denied)));
        assert!(matches!(result(&words(&[7, 0, 0])), Err(RpcError::Garbage)));
    }

    #[test]
    fn exports_are_a_list_of_lists() {
        let mut answer = words(&[1, 5]);
        answer.extend_from_slice(b"/a\nbc\0\0\0");
        answer.extend(words(&[1, 2]));
        answer.extend_from_slice(b"*x\0\0");
        answer.extend(words(&[0, 0]));
        let export = Export { directory: "/a\u{fffd}bc".to_owned(), groups: vec!["*x".to_owned()] };
        assert_eq!(exports(&answer), Some(vec![export]));
        assert_eq!(exports(&answer[..12]), None);
    }

    #[test]
    fn a_server_that_answers_nonsense_is_not_believed_and_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = Peer { address: address.ip(), port: address.port(), patience: Duration::from_secs(1) };
        let serving = std::thread::spawn(move || {
            // A record of two gigabytes; one that never comes.
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&[0xff; 8]).unwrap();
            let held = listener.accept().unwrap();
            (held, listener)
        });
        assert!(matches!(peer.ping(NFS_4), Err(RpcError::Garbage)));
        assert!(matches!(peer.ping(NFS_4), Err(RpcError::Broken(_))));
        drop(serving.join());
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_no_danger(bytes: Vec<u8>) {
            let _ = result(&bytes);
            let _ = exports(&bytes);
        }
    }
}
