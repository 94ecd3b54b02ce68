//! The other end of the socket: what `flexvol status`, `wait`, `events` and `retry` ask with.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::http::encode;
use super::{server, state};
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, STEP_FAILED};

/// How long the agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far more than 100,000 volumes need.
const ANSWER_LIMIT: u64 = 256 << 20;

/// Asks the agent of this root for a document, `None` if there is no agent.
///
/// # Errors
/// When the agent does not answer, or not with that document.
pub(crate) fn find<T: DeserializeOwned>(root: &Path, query: &Query<'_>) -> Result<Option<T>, Failure> {
    match send(root, query) {
        Ok(answer) => read(&answer).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(Failure::says(STEP_FAILED, format_args!("the agent does not answer: {error}"))),
    }
}

/// Asks the agent of this root for a document.
///
/// # Errors
/// When there is no agent, or it does not answer with that document.
pub(crate) fn ask<T: DeserializeOwned>(root: &Path, query: &Query<'_>) -> Result<T, Failure> {
    find(root, query)?.ok_or_else(|| {
        let words =
            "no agent works below that root; start it (`flexvol agent --manifests DIR`) or give its --root";
        Failure::says(NOT_FOUND, format_args!("{}: {words}", root.display()))
    })
}

/// A question to the agent.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    /// `GET` or `POST`, and the path.
    pub(crate) target: (&'static str, &'static str),
    /// Keys and values.
    pub(crate) pairs: Vec<(&'static str, &'a str)>,
}

fn send(root: &Path, query: &Query<'_>) -> io::Result<Vec<u8>> {
    let (_handle, path) = server::short_path(&state::directory(root))?;
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (method, path) = query.target;
    let pairs: Vec<_> = query.pairs.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    write!(stream, "{method} {path}?{} HTTP/1.1\r\nHost: flexvol\r\n\r\n", pairs.join("&"))?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(answer)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    let strange =
        |why: &str| Failure::says(STEP_FAILED, format_args!("the agent's answer is not understood: {why}"));
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| strange("it has no head"))?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let body = &answer[end + 4..];
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        let code = if status.starts_with('4') { BAD_INPUT } else { STEP_FAILED };
        return Err(Failure::says(code, String::from_utf8_lossy(body).trim()));
    }
    serde_json::from_slice(body).map_err(|error| strange(&error.to_string()))
}
