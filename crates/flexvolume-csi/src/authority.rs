//! Clients that call a Unix socket by its path.
//!
//! Kubelet asks a registration socket with the path of the socket, percent-encoded, as the `:authority` of its requests
//! (Kubernetes v1.37, observed; before v1.26 it did so at every socket of a driver). That is no authority by the book
//! of URIs, and the HTTP/2 library ends such a stream with PROTOCOL_ERROR, which no setting changes. So the authority
//! is replaced before the library sees it: header blocks are decoded and written anew, in the plainest form that there
//! is, and all other frames pass as they are. What cannot be understood passes too; the library judges it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use loona_hpack::Decoder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// What every client means who calls a Unix socket.
const AUTHORITY: &[u8] = b"localhost";
/// What comes first on a connection.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
/// Length, type, flags and stream.
const FRAME_HEADER: usize = 9;
/// The largest frame, unless a server allows more.
const LARGEST_FRAME: usize = 16 << 10;
/// The largest header block that is looked at; the library refuses more as well.
const LARGEST_BLOCK: usize = 16 << 10;
/// The size of the decoder's table, unless a server allows another.
const TABLE: usize = 4096;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A connection of which the reader gets requests with an authority that is one.
pub(crate) struct Renamed<S> {
    stream: S,
    rewriter: Rewriter,
}

impl<S> Renamed<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, rewriter: Rewriter::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Renamed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rewriter.ready.is_empty() {
            let mut space = [0; 4096];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                this.rewriter.pass_everything();
                break;
            }
            this.rewriter.take(read.filled());
        }
        let ready = &mut this.rewriter.ready;
        let some = ready.len().min(out.remaining());
        out.put_slice(&ready[..some]);
        ready.drain(..some);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Renamed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Connected for Renamed<S> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// A header block that may come in several frames.
struct Block {
    /// The first frame's stream, with its reserved bit.
    stream: [u8; 4],
    end_stream: u8,
    fields: Vec<u8>,
    /// The frames as they came.
    frames: Vec<u8>,
}

/// Bytes of a client in, bytes for the library out.
struct Rewriter {
    preface: usize,
    raw: Vec<u8>,
    ready: Vec<u8>,
    /// `None` once something was not understood: from then on everything passes.
    decoder: Option<Decoder<'static>>,
    block: Option<Block>,
}

impl Rewriter {
    fn new() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(TABLE);
        Self { preface: PREFACE, raw: Vec::new(), ready: Vec::new(), decoder: Some(decoder), block: None }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        let preface = self.preface.min(self.raw.len());
        self.preface -= preface;
        self.ready.extend(self.raw.drain(..preface));
        while self.decoder.is_some() {
            let Some(length) = frame_length(&self.raw) else { break };
            if length > FRAME_HEADER + LARGEST_FRAME {
                self.pass_everything();
            } else if self.raw.len() < length {
                break;
            } else {
                let frame: Vec<u8> = self.raw.drain(..length).collect();
                self.frame(frame);
            }
        }
        if self.decoder.is_none() {
            self.ready.append(&mut self.raw);
        }
    }

    /// Gives up: what is held back and all that follows passes as it came.
    fn pass_everything(&mut self) {
        self.decoder = None;
        if let Some(block) = self.block.take() {
            self.ready.extend(block.frames);
        }
        self.ready.append(&mut self.raw);
    }

    fn frame(&mut self, frame: Vec<u8>) {
        let (kind, flags) = (frame[3], frame[4]);
        let fields = match (kind, &self.block) {
            (HEADERS, None) => fields_of(&frame),
            (CONTINUATION, Some(block)) if frame[5..FRAME_HEADER] == block.stream => {
                Some(&frame[FRAME_HEADER..])
            }
            (_, None) => {
                self.ready.extend(frame);
                return;
            }
            (_, Some(_)) => None,
        };
        let fields = fields.map(<[u8]>::to_vec);
        let stream = [frame[5], frame[6], frame[7], frame[8]];
        let block = self.block.get_or_insert_with(|| Block {
            stream,
            end_stream: flags & END_STREAM,
            fields: Vec::new(),
            frames: Vec::new(),
        });
        block.frames.extend(&frame);
        match fields {
            Some(fields) if block.fields.len() + fields.len() <= LARGEST_BLOCK => block.fields.extend(fields),
            _ => return self.pass_everything(),
        }
        if flags & END_HEADERS != 0 {
            self.finish_block();
        }
    }

    fn finish_block(&mut self) {
        let (Some(decoder), Some(block)) = (&mut self.decoder, &self.block) else { return };
        let fields = decoder.decode(&block.fields).ok().map(|fields| written(&fields));
        match fields.filter(|fields| fields.len() <= LARGEST_FRAME) {
            Some(fields) => {
                let length = u32::try_from(fields.len()).unwrap_or(u32::MAX).to_be_bytes();
                self.ready.extend(&length[1..]);
                self.ready.extend([HEADERS, END_HEADERS | block.end_stream]);
                self.ready.extend(block.stream);
                self.ready.extend(fields);
                self.block = None;
            }
            None => self.pass_everything(),
        }
    }
}

/// How long the first frame is, header included.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let [high, middle, low, ..] = *bytes else { return None };
    let length = u32::from_be_bytes([0, high, middle, low]);
    (bytes.len() >= FRAME_HEADER).then(|| FRAME_HEADER + usize::try_from(length).unwrap_or(usize::MAX))
}

/// The fields in a HEADERS frame, without padding and priority.
fn fields_of(frame: &[u8]) -> Option<&[u8]> {
    let flags = frame[4];
    let mut rest = &frame[FRAME_HEADER..];
    let mut padding = 0;
    if flags & PADDED != 0 {
        let (length, after) = rest.split_first()?;
        (padding, rest) = (usize::from(*length), after);
    }
    if flags & PRIORITY != 0 {
        rest = rest.get(5..)?;
    }
    rest.get(..rest.len().checked_sub(padding)?)
}

/// Header fields as literals that no table needs to know (RFC 7541, 6.2.2).
fn written(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        write_string(&mut block, name);
        write_string(&mut block, if name == b":authority" { AUTHORITY } else { value });
    }
    block
}

fn write_string(block: &mut Vec<u8>, text: &[u8]) {
    const PREFIX: usize = 0x7f;
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    if text.len() < PREFIX {
        block.push(byte(text.len()));
    } else {
        block.push(byte(PREFIX));
        let mut rest = text.len() - PREFIX;
        while rest >= 0x80 {
            block.push(byte(rest % 0x80) | 0x80);
            rest /= 0x80;
        }
        block.push(byte(rest));
    }
    block.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
