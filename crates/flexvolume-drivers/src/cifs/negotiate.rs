//! The one exchange of SMB for which nobody needs a name: which dialect, signing or not, encryption or not, and what time
//! it is (MS-SMB2, 2.2.3 and 2.2.4).

use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use thiserror::Error;

/// An answer has some hundred bytes.
const LONGEST: usize = 64 << 10;
/// The header of every message.
const HEADER: usize = 64;
/// The fixed part of an answer, behind the header.
const BODY: usize = 64;
/// More contexts than any server has.
const MOST_CONTEXTS: u16 = 64;

const PREAUTH_INTEGRITY: u16 = 1;
const ENCRYPTION: u16 = 2;
/// AES-128-GCM, AES-128-CCM, AES-256-GCM, AES-256-CCM.
const CIPHERS: [u16; 4] = [2, 1, 4, 3];
/// `SMB2_NEGOTIATE_SIGNING_REQUIRED`.
const SIGNING_REQUIRED: u16 = 2;
/// `SMB2_GLOBAL_CAP_ENCRYPTION`, of 3.0 and 3.0.2.
const CAN_ENCRYPT: u32 = 0x40;

/// From 1601, where its clock begins, to 1970, in seconds.
const EPOCH: u64 = 11_644_473_600;

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// 2.0.2, which the driver does not use.
    V2_0_2,
    /// 2.1.
    V2_1,
    /// 3.0.
    V3_0,
    /// 3.0.2.
    V3_0_2,
    /// 3.1.1.
    V3_1_1,
}

impl Dialect {
    /// All of them, the best one first.
    pub const ALL: [Self; 5] = [Self::V3_1_1, Self::V3_0_2, Self::V3_0, Self::V2_1, Self::V2_0_2];

    /// Its number in messages.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::V2_0_2 => 0x0202,
            Self::V2_1 => 0x0210,
            Self::V3_0 => 0x0300,
            Self::V3_0_2 => 0x0302,
            Self::V3_1_1 => 0x0311,
        }
    }

    /// As in `vers=`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2_0_2 => "2.0.2",
            Self::V2_1 => "2.1",
            Self::V3_0 => "3.0",
            Self::V3_0_2 => "3.0.2",
            Self::V3_1_1 => "3.1.1",
        }
    }
}

/// What a server offers for one dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The dialect that it chose.
    pub dialect: Dialect,
    /// Whether every message must be signed.
    pub signing: Signing,
    /// Whether messages can be encrypted.
    pub encryption: Encryption,
    /// The server's clock, if it tells.
    pub time: Option<SystemTime>,
}

/// What a server says of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// They are possible.
    Possible,
    /// They are a must.
    Required,
}

/// What a server says of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// It can.
    Possible,
    /// It cannot.
    Impossible,
}

/// Why there is no offer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NegotiateError {
    /// The connection failed.
    #[error("the connection fails: {0}")]
    Io(#[from] io::Error),
    /// Something else answers, or a server that is too old.
    #[error("what answers there is no server of SMB 2 or 3; is the port right?")]
    NotSmb,
    /// The server has none of the dialects.
    #[error("the server has none of the dialects that were offered")]
    NoDialect,
    /// The server refuses to talk at all.
    #[error("the server refuses to negotiate (status {0:#010x})")]
    Refused(u32),
    /// The server breaks the protocol.
    #[error("the server breaks the SMB protocol: {0}")]
    Broken(&'static str),
}

type Result<T> = std::result::Result<T, NegotiateError>;

/// Asks for one of these dialects, on a connection that is of no use afterwards.
///
/// # Errors
/// [`NegotiateError`].
pub fn ask(stream: &mut (impl Read + Write), dialects: &[Dialect]) -> Result<Offer> {
    stream.write_all(&question(dialects))?;
    let front: [u8; 4] = take(stream)?;
    let [kind, length @ ..] = front;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if kind != 0 || length < 4 {
        return Err(NegotiateError::NotSmb);
    }
    if length > LONGEST {
        return Err(NegotiateError::Broken("its answer is too long"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).map_err(closed)?;
    read(&answer)
}

fn take<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map_err(closed)?;
    Ok(bytes)
}

/// A server that knows no SMB 2 closes the connection.
fn closed(error: io::Error) -> NegotiateError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => NegotiateError::NotSmb,
        _ => error.into(),
    }
}

fn question(dialects: &[Dialect]) -> Vec<u8> {
    let count = u16::try_from(dialects.len()).unwrap_or(0);
    let mut message = Vec::from(*b"\xfeSMB");
    message.extend(64_u16.to_le_bytes());
    // Credit charge, status, command 0, one credit; flags, next command, message, process, tree, session, signature.
    message.extend([0; 8]);
    message.extend(1_u16.to_le_bytes());
    message.resize(HEADER, 0);
    message.extend(36_u16.to_le_bytes());
    message.extend(count.to_le_bytes());
    // Signing is possible; nothing reserved.
    message.extend([1, 0, 0, 0]);
    message.extend(CAN_ENCRYPT.to_le_bytes());
    message.extend(*b"flexvol doctor  ");
    let newest = dialects.contains(&Dialect::V3_1_1);
    let end = HEADER + 36 + 2 * dialects.len();
    let contexts = if newest { end.next_multiple_of(8) } else { 0 };
    message.extend(u32::try_from(contexts).unwrap_or(0).to_le_bytes());
    message.extend(if newest { 2_u32 } else { 0 }.to_le_bytes());
    message.extend(dialects.iter().flat_map(|dialect| dialect.number().to_le_bytes()));
    if newest {
        message.resize(contexts, 0);
        // SHA-512, and a salt of 32 bytes, which need not be secret.
        let hash = [&[1, 0, 32, 0, 1, 0][..], &[0x5a; 32]].concat();
        context(&mut message, PREAUTH_INTEGRITY, &hash);
        message.resize(message.len().next_multiple_of(8), 0);
        let ciphers = CIPHERS.iter().flat_map(|cipher| cipher.to_le_bytes());
        context(&mut message, ENCRYPTION, &[4, 0].into_iter().chain(ciphers).collect::<Vec<_>>());
    }
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&length[..], &message].concat()
}

fn context(message: &mut Vec<u8>, kind: u16, data: &[u8]) {
    message.extend(kind.to_le_bytes());
    message.extend(u16::try_from(data.len()).unwrap_or(0).to_le_bytes());
    message.extend([0; 4]);
    message.extend(data);
}

/// Reads an answer, without the length in front.
///
/// # Errors
/// [`NegotiateError`].
pub fn read(answer: &[u8]) -> Result<Offer> {
    const NOT_SUPPORTED: u32 = 0xc000_00bb;
    const SHORT: NegotiateError = NegotiateError::Broken("its answer is too short");
    if answer.get(..4) != Some(b"\xfeSMB") {
        return Err(NegotiateError::NotSmb);
    }
    match u32::from_le_bytes(bytes(answer, 8).ok_or(SHORT)?) {
        0 => {}
        NOT_SUPPORTED => return Err(NegotiateError::NoDialect),
        status => return Err(NegotiateError::Refused(status)),
    }
    if u16::from_le_bytes(bytes(answer, 12).ok_or(SHORT)?) != 0 {
        return Err(NegotiateError::Broken("it answers another question"));
    }
    let body = answer.get(HEADER..).filter(|body| body.len() >= BODY).ok_or(SHORT)?;
    let short = |at| bytes(body, at).map(u16::from_le_bytes).ok_or(SHORT);
    let number = short(4)?;
    let dialect = Dialect::ALL.into_iter().find(|dialect| dialect.number() == number);
    let dialect = dialect.ok_or(NegotiateError::Broken("it chose a dialect that was not offered"))?;
    let signing = if short(2)? & SIGNING_REQUIRED == 0 { Signing::Possible } else { Signing::Required };
    let capabilities = u32::from_le_bytes(bytes(body, 24).ok_or(SHORT)?);
    let encrypts = match dialect {
        Dialect::V2_0_2 | Dialect::V2_1 => false,
        Dialect::V3_0 | Dialect::V3_0_2 => capabilities & CAN_ENCRYPT != 0,
        Dialect::V3_1_1 => {
            let first = u32::from_le_bytes(bytes(body, 60).ok_or(SHORT)?);
            has_cipher(answer, first, short(6)?)
        }
    };
    let encryption = if encrypts { Encryption::Possible } else { Encryption::Impossible };
    let time = time(u64::from_le_bytes(bytes(body, 40).ok_or(SHORT)?));
    Ok(Offer { dialect, signing, encryption, time })
}

/// Whether one of the contexts, of which the first one begins there, chooses a cipher. One that leads out of the answer
/// chooses nothing.
fn has_cipher(answer: &[u8], first: u32, count: u16) -> bool {
    let mut rest = usize::try_from(first).ok().and_then(|first| answer.get(first..));
    for _ in 0..count.min(MOST_CONTEXTS) {
        let Some(context) = rest else { return false };
        let (Some(kind), Some(length)) = (bytes(context, 0), bytes(context, 2)) else { return false };
        let length = usize::from(u16::from_le_bytes(length));
        if u16::from_le_bytes(kind) == ENCRYPTION {
            return bytes(context, 10).is_some_and(|cipher| length >= 4 && u16::from_le_bytes(cipher) != 0);
        }
        rest = context.get((8 + length).next_multiple_of(8)..);
    }
    false
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at + N)?.try_into().ok()
}

/// Of tenths of a microsecond since 1601; a server may tell none.
fn time(ticks: u64) -> Option<SystemTime> {
    let since = Duration::from_nanos((ticks % 10_000_000) * 100);
    let seconds = (ticks / 10_000_000).checked_sub(EPOCH)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + since)
}

#[cfg(test)]
mod tests;
