//! The NBD protocol up to the point where the kernel takes over: fixed newstyle handshake, one read, goodbye.
//!
//! Everything is big-endian (`doc/proto.md` of the NBD project). The server is not trusted: every length that it sends is
//! bounded, every number of replies too, and what it calls itself is never printed as it is.

use std::io::{self, Read, Write};

use thiserror::Error;

use super::refusal::Refusal;

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OLD_STYLE: u64 = 0x0000_4202_8186_1253;
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;

/// Of the server's greeting and of our answer: fixed newstyle, and no 124 zero bytes.
const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;

const OPTION_ABORT: u32 = 2;
const OPTION_LIST: u32 = 3;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;

const REPLY_ACK: u32 = 1;
const REPLY_SERVER: u32 = 2;
const REPLY_INFO: u32 = 3;
const REPLY_ERROR: u32 = 1 << 31;

const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

const COMMAND_READ: u32 = 0;
const COMMAND_DISCONNECT: u32 = 2;

/// The longest name of an export (`doc/proto.md`: strings are at most 4096 bytes).
pub const LONGEST_NAME: usize = 4096;

/// No reply that we ask for is longer: two strings with their lengths.
const LONGEST_REPLY: u32 = 16 << 10;

/// More replies than this to one question are not for us.
const MOST_REPLIES: usize = 4096;

/// An export as the server describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// Bytes.
    pub size: u64,
    /// Transmission flags.
    pub flags: u16,
    /// The smallest unit of reading and writing, when the server says one.
    pub minimum_block: Option<u32>,
}

impl Export {
    const READ_ONLY: u16 = 1 << 1;

    /// Whether the server refuses to write.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags & Self::READ_ONLY != 0
    }

    /// The flags, with a promise not to write.
    #[must_use]
    pub fn read_only_flags(&self) -> u16 {
        self.flags | Self::READ_ONLY
    }
}

/// What is wanted of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// To read and write it from now on.
    Use,
    /// To know what it is.
    Look,
}

/// Why there is no export.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something else answers.
    #[error("what answers there is no NBD server; is the port right?")]
    NotNbd,
    /// The server is too old.
    #[error(
        "the server speaks a dialect that is too old ({0}); nbd-server 3.15, qemu-nbd and nbdkit speak a newer one"
    )]
    OldStyle(&'static str),
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server breaks the protocol.
    #[error("the server breaks the NBD protocol: {0}")]
    Broken(&'static str),
    /// A read failed at the server.
    #[error("the server cannot read the export (its error is {0})")]
    Read(u32),
}

type Result<T> = std::result::Result<T, ProtocolError>;

/// Greets and is greeted.
///
/// # Errors
/// [`ProtocolError`].
pub fn greet(stream: &mut (impl Read + Write)) -> Result<()> {
    let magic = number64(stream)?;
    if magic != MAGIC {
        return Err(ProtocolError::NotNbd);
    }
    match number64(stream)? {
        OPTION_MAGIC => {}
        OLD_STYLE => return Err(ProtocolError::OldStyle("oldstyle negotiation")),
        _ => return Err(ProtocolError::NotNbd),
    }
    let flags = number16(stream)?;
    if flags & FIXED_NEWSTYLE == 0 {
        return Err(ProtocolError::OldStyle("newstyle negotiation that is not \"fixed\""));
    }
    let ours = u32::from(FIXED_NEWSTYLE | flags & NO_ZEROES);
    Ok(stream.write_all(&ours.to_be_bytes())?)
}

/// Asks for an export, after [`greet`]. With [`Intent::Use`] the connection is the export's from then on.
///
/// # Errors
/// [`ProtocolError`].
pub fn choose(stream: &mut (impl Read + Write), name: &str, intent: Intent) -> Result<Export> {
    let option = if intent == Intent::Use { OPTION_GO } else { OPTION_INFO };
    let length = u32::try_from(name.len()).map_err(|_| ProtocolError::Broken("a name is too long"))?;
    let mut data = length.to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    // One wish: the block sizes.
    data.extend([0, 1]);
    data.extend(INFO_BLOCK_SIZE.to_be_bytes());
    send_option(stream, option, &data)?;
    let mut size_and_flags = None;
    let mut minimum_block = None;
    for _ in 0..MOST_REPLIES {
        let reply = reply(stream, option)?;
        match reply.kind {
            REPLY_ACK => {
                let (size, flags) =
                    size_and_flags.ok_or(ProtocolError::Broken("it does not tell the size"))?;
                return Ok(Export { size, flags, minimum_block });
            }
            REPLY_INFO => match info(&reply.data)? {
                Info::Export { size, flags } => size_and_flags = Some((size, flags)),
                Info::BlockSize { minimum } => minimum_block = Some(minimum),
                Info::Other => {}
            },
            kind => return Err(refused(kind, &reply.data)),
        }
    }
    Err(ProtocolError::Broken("it does not come to an end"))
}

/// The names of the exports, after [`greet`]; no more than `most` of them are kept.
///
/// # Errors
/// [`ProtocolError`]; a server may refuse to tell.
pub fn list(stream: &mut (impl Read + Write), most: usize) -> Result<Vec<String>> {
    send_option(stream, OPTION_LIST, &[])?;
    let mut names = Vec::new();
    for _ in 0..MOST_REPLIES {
        let reply = reply(stream, OPTION_LIST)?;
        match reply.kind {
            REPLY_ACK => return Ok(names),
            REPLY_SERVER => {
                let cut_short = ProtocolError::Broken("the name of an export is cut short");
                let name = prefixed(&reply.data).ok_or(cut_short)?;
                if names.len() < most {
                    names.push(String::from_utf8_lossy(name).into_owned());
                }
            }
            kind => return Err(refused(kind, &reply.data)),
        }
    }
    Err(ProtocolError::Broken("its list does not come to an end"))
}

/// Says goodbye instead of choosing an export. The server may close without an answer.
pub fn abort(stream: &mut (impl Read + Write)) {
    let _ = send_option(stream, OPTION_ABORT, &[]).and_then(|()| reply(stream, OPTION_ABORT));
}

/// Says goodbye after an export was chosen, so that the server does not take the client for lost.
pub fn disconnect(stream: &mut impl Write) {
    let _ = stream.write_all(&request(COMMAND_DISCONNECT, 0, 0));
}

/// Reads from the export that was chosen.
///
/// # Errors
/// [`ProtocolError`].
pub fn read(stream: &mut (impl Read + Write), offset: u64, buffer: &mut [u8]) -> Result<()> {
    let length = u32::try_from(buffer.len()).map_err(|_| ProtocolError::Broken("too much is asked for"))?;
    stream.write_all(&request(COMMAND_READ, offset, length))?;
    if number32(stream)? != SIMPLE_REPLY_MAGIC {
        return Err(ProtocolError::Broken("a reply to a read begins with a wrong number"));
    }
    let error = number32(stream)?;
    if number64(stream)? != COOKIE {
        return Err(ProtocolError::Broken("it answers a question that was not asked"));
    }
    if error != 0 {
        return Err(ProtocolError::Read(error));
    }
    Ok(stream.read_exact(buffer)?)
}

/// We ask one question at a time.
const COOKIE: u64 = 0x666c_6578_766f_6c31;

/// `command` in the lower half, no flags in the upper one.
fn request(command: u32, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
    bytes.extend(command.to_be_bytes());
    bytes.extend(COOKIE.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

fn send_option(stream: &mut impl Write, option: u32, data: &[u8]) -> Result<()> {
    let length = u32::try_from(data.len()).map_err(|_| ProtocolError::Broken("a question is too long"))?;
    let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(data);
    // At once: some servers read it in one piece.
    Ok(stream.write_all(&bytes)?)
}

struct Reply {
    kind: u32,
    data: Vec<u8>,
}

fn reply(stream: &mut impl Read, option: u32) -> Result<Reply> {
    if number64(stream)? != REPLY_MAGIC {
        return Err(ProtocolError::Broken("a reply begins with a wrong number"));
    }
    if number32(stream)? != option {
        return Err(ProtocolError::Broken("it answers a question that was not asked"));
    }
    let kind = number32(stream)?;
    let length = number32(stream)?;
    if length > LONGEST_REPLY {
        return Err(ProtocolError::Broken("a reply is too long"));
    }
    let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut data)?;
    Ok(Reply { kind, data })
}

fn refused(kind: u32, data: &[u8]) -> ProtocolError {
    match kind & REPLY_ERROR {
        0 => ProtocolError::Broken("a reply is of an unknown kind"),
        _ => Refusal::new(kind & !REPLY_ERROR, data).into(),
    }
}

enum Info {
    Export { size: u64, flags: u16 },
    BlockSize { minimum: u32 },
    Other,
}

fn info(data: &[u8]) -> Result<Info> {
    let cut_short = || ProtocolError::Broken("what it says of the export has the wrong length");
    let (kind, rest) = data.split_first_chunk().ok_or_else(cut_short)?;
    match u16::from_be_bytes(*kind) {
        INFO_EXPORT => {
            let (size, flags) = rest.split_first_chunk().ok_or_else(cut_short)?;
            let flags = flags.try_into().map_err(|_| cut_short())?;
            Ok(Info::Export { size: u64::from_be_bytes(*size), flags: u16::from_be_bytes(flags) })
        }
        INFO_BLOCK_SIZE => {
            let minimum = rest.first_chunk().filter(|_| rest.len() == 12).ok_or_else(cut_short)?;
            Ok(Info::BlockSize { minimum: u32::from_be_bytes(*minimum) })
        }
        _ => Ok(Info::Other),
    }
}

/// Bytes whose length stands in front of them.
fn prefixed(data: &[u8]) -> Option<&[u8]> {
    let (length, rest) = data.split_first_chunk()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn bytes<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn number16(stream: &mut impl Read) -> Result<u16> {
    bytes(stream).map(u16::from_be_bytes)
}

fn number32(stream: &mut impl Read) -> Result<u32> {
    bytes(stream).map(u32::from_be_bytes)
}

fn number64(stream: &mut impl Read) -> Result<u64> {
    bytes(stream).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests;
