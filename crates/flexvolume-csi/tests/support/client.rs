//! A client of the bridge: one call of gRPC over a Unix socket, with as little in between as can be.

use std::path::Path;

use flexvolume_csi::messages::Empty;
use h2::client::{SendRequest, handshake};
use prost::Message;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use tokio::net::UnixStream;

/// The status of an answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The number of the code.
    pub(crate) code: i32,
    /// The message, decoded.
    pub(crate) message: String,
}

/// One connection.
#[derive(Clone)]
pub(crate) struct Client {
    sender: SendRequest<Bytes>,
}

/// What a call comes to.
pub(crate) type Answer<A> = Result<A, Refusal>;

impl Client {
    /// Connects; the connection lives as long as the runtime.
    pub(crate) async fn connect(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let (sender, connection) = handshake(stream).await.map_err(std::io::Error::other)?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// A call of `/service/method`.
    pub(crate) async fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> Answer<A> {
        let bytes = self.raw(method, request.encode_to_vec().into()).await?;
        Ok(A::decode(bytes).expect("an answer that cannot be read"))
    }

    /// A call that answers nothing.
    pub(crate) async fn tell(&self, method: &str, request: &impl Message) -> Answer<()> {
        self.call::<Empty>(method, request).await.map(|_| ())
    }

    /// A call with any bytes for a message; answers the bytes of the message.
    pub(crate) async fn raw(&self, method: &str, message: Bytes) -> Answer<Bytes> {
        let broken = |error: h2::Error| Refusal { code: -1, message: error.to_string() };
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("http://localhost/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let mut sender = self.sender.clone().ready().await.map_err(broken)?;
        let (response, mut body) = sender.send_request(request, false).map_err(broken)?;
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).expect("a size"));
        framed.put(message);
        // The other end may refuse before it has read everything.
        let _ = send(&mut body, framed.freeze()).await;
        let response = response.await.map_err(broken)?;
        let head = response.headers().clone();
        let mut stream = response.into_body();
        let mut answer = BytesMut::new();
        while let Some(piece) = stream.data().await {
            let piece = piece.map_err(broken)?;
            let _ = stream.flow_control().release_capacity(piece.len());
            answer.put(piece);
        }
        let trailers = stream.trailers().await.map_err(broken)?.unwrap_or(head);
        match refusal(&trailers) {
            Some(refusal) => Err(refusal),
            None => Ok(answer.freeze().slice(5..)),
        }
    }
}

async fn send(body: &mut h2::SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let Some(room) = std::future::poll_fn(|context| body.poll_capacity(context)).await else { break };
        let room = room?.min(bytes.len());
        body.send_data(bytes.split_to(room), false)?;
    }
    body.send_data(Bytes::new(), true)
}

fn refusal(trailers: &http::HeaderMap) -> Option<Refusal> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let code = text("grpc-status").parse().unwrap_or(-2);
    (code != 0).then(|| Refusal { code, message: percent_decoded(text("grpc-message")) })
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
