//! As much of HTTP/1.1 as the socket needs: one request a connection, no body in it, small bounds everywhere.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};

use serde::Serialize;

/// Request line and headers together.
const HEAD_LIMIT: u64 = 8 << 10;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Response {
    /// A line for a person.
    pub(super) fn says(status: u16, words: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{words}\n").into_bytes() }
    }

    /// A document for a program.
    pub(super) fn json(document: &impl Serialize) -> Self {
        match serde_json::to_vec(document) {
            Ok(body) => Self { status: 200, kind: "application/json", body },
            Err(error) => Self::says(500, &error.to_string()),
        }
    }

    /// Figures in the text format of Prometheus.
    pub(super) fn figures(text: String) -> Self {
        Self { status: 200, kind: "text/plain; version=0.0.4; charset=utf-8", body: text.into_bytes() }
    }

    fn write(&self, mut out: impl Write) -> io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        let (status, kind, length) = (self.status, self.kind, self.body.len());
        write!(
            out,
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        out.write_all(&self.body)?;
        out.flush()
    }
}

/// Serves one request. What is no request is answered with 400.
pub(super) fn serve<S: Read + Write>(
    mut stream: S,
    answer: impl FnOnce(&Request) -> Response,
) -> io::Result<()> {
    let response = match read_request(&mut stream)? {
        Some(request) => answer(&request),
        None => Response::says(400, "not a request that is understood here"),
    };
    response.write(&mut stream)
}

/// `None` if it is none.
fn read_request(stream: impl Read) -> io::Result<Option<Request>> {
    let mut head = BufReader::new(stream.take(HEAD_LIMIT));
    let mut line = String::new();
    let first = read_line(&mut head, &mut line)?.then(|| line.clone());
    let Some(request) = first.as_deref().and_then(parse_request_line) else { return Ok(None) };
    loop {
        line.clear();
        // The head must end: half a request is none.
        if !read_line(&mut head, &mut line)? {
            return Ok(None);
        }
        if line.is_empty() {
            return Ok(Some(request));
        }
    }
}

/// Whether there was a whole line of text; it is left without its end.
fn read_line(head: &mut impl BufRead, line: &mut String) -> io::Result<bool> {
    match head.read_line(line) {
        Ok(_) if line.ends_with('\n') => {
            line.truncate(line.trim_end_matches(['\r', '\n']).len());
            Ok(true)
        }
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
        Err(error) => Err(error),
    }
}

fn parse_request_line(line: &str) -> Option<Request> {
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") || words.next().is_some() || !target.starts_with('/') {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut pairs = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.insert(decode(key)?, decode(value)?);
    }
    Some(Request { method: method.to_owned(), path: path.to_owned(), query: pairs })
}

/// `%XX` becomes its byte.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

/// Everything but letters, digits and `-._~` as `%XX`.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Request> {
        read_request(bytes).unwrap()
    }

    #[test]
    fn a_request_is_read_with_its_query() {
        let request =
            read(b"GET /v1/status?pod=a%20b&volume=x%2Fy HTTP/1.1\r\nHost: flexvol\r\n\r\n").unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/status"));
        assert_eq!((request.query["pod"].as_str(), request.query["volume"].as_str()), ("a b", "x/y"));
        assert!(read(b"GET / HTTP/1.0\n\n").is_some());
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 9000], b"\r\n\r\n"].concat();
        let cases: [&[u8]; 9] = [
            b"",
            b"GET / HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost: x\r\n",
            b"GET /a b HTTP/1.1\r\n\r\n",
            b"GET x HTTP/1.1\r\n\r\n",
            b"\xff\xff / HTTP/1.1\r\n\r\n",
            b"GET /?a=%zz HTTP/1.1\r\n\r\n",
            b"GET /?a=%e HTTP/1.1\r\n\r\n",
            &long,
        ];
        for case in cases {
            assert_eq!(read(case), None, "{}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["", "a b/c", "ä%\n&=?", "plain-._~"] {
            assert_eq!(decode(&encode(text)).unwrap(), text);
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let mut bytes = Vec::new();
        Response::says(404, "no").write(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 404 Not Found\r\n")
                && text.ends_with("Content-Length: 3\r\nConnection: close\r\n\r\nno\n"),
            "{text}"
        );
    }
}
