//! What the targets share: runs of drivers out of bytes, and a second opinion on JSON.

use std::time::Duration;

use flexvolume_host::contract::Verb;
use flexvolume_host::os::runner::{Captured, Ended, Output, Pipes};
use flexvolume_host::reply::Run;

pub mod model;

/// A run that ended so and has printed this.
pub fn run(ended: Ended, stdout: &[u8], stderr: &[u8]) -> Run {
    let captured = |bytes: &[u8]| Captured { bytes: bytes.to_vec(), omitted: 0 };
    Ok(Output {
        ended,
        core: Default::default(),
        stdout: captured(stdout),
        stderr: captured(stderr),
        combined: captured(&[stdout, stderr].concat()),
        duration: Duration::ZERO,
        pipes: Pipes::Closed,
    })
}

/// The call-out that a byte stands for. Letters, so that a corpus can be read: `a` is the first.
pub fn verb(byte: u8) -> Verb {
    Verb::ALL[usize::from(byte.wrapping_sub(b'a')) % Verb::ALL.len()]
}

/// The end that a byte stands for: `0` to `9` exit so, `s` a signal, `t` the deadline.
pub fn ended(byte: u8) -> Ended {
    match byte {
        b's' => Ended::Signaled(9),
        b't' => Ended::TimedOut,
        b'0'..=b'9' => Ended::Exited(i32::from(byte - b'0')),
        other => Ended::Exited(i32::from(other & 3)),
    }
}

/// The bytes before and after the first 0xff, which no text holds.
pub fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}
