//! What a server says when it says no.

use std::fmt;

/// How much of a server's own words is repeated.
const LONGEST_TEXT: usize = 200;

/// The kinds of refusal (`NBD_REP_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The server does not know the question.
    Unsupported,
    /// It does not want to.
    Policy,
    /// It finds the question malformed.
    Invalid,
    /// Its machine cannot.
    Platform,
    /// It wants TLS first.
    TlsRequired,
    /// It has no such export.
    UnknownExport,
    /// It is about to end.
    ShuttingDown,
    /// It insists on its block sizes.
    BlockSizeRequired,
    /// The question is too long for it.
    TooBig,
    /// A number of a later version of the protocol.
    Other(u32),
}

/// A refusal, in the server's words too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its kind.
    pub kind: Kind,
    /// What the server added, harmless to print.
    pub text: String,
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The refusal of this number, with what came along.
    #[must_use]
    pub fn new(number: u32, data: &[u8]) -> Self {
        let kind = match number {
            1 => Kind::Unsupported,
            2 => Kind::Policy,
            3 => Kind::Invalid,
            4 => Kind::Platform,
            5 => Kind::TlsRequired,
            6 => Kind::UnknownExport,
            7 => Kind::ShuttingDown,
            8 => Kind::BlockSizeRequired,
            9 => Kind::TooBig,
            other => Kind::Other(other),
        };
        let text = String::from_utf8_lossy(data);
        let text = text.trim().chars().take(LONGEST_TEXT).flat_map(char::escape_debug).collect();
        Self { kind, text }
    }

    /// The cause, and what to do next.
    fn sentence(&self) -> &'static str {
        match self.kind {
            Kind::Unsupported => {
                "the server is too old for this (it does not know NBD_OPT_GO): use nbd-server 3.15 or later, qemu-nbd or nbdkit"
            }
            Kind::Policy => {
                "the server does not allow it: another client may have the export, or this node is not on the server's list"
            }
            Kind::Invalid => "the server takes the question for malformed: is the name of the export right?",
            Kind::Platform => "the server's machine cannot serve this export",
            Kind::TlsRequired => {
                "the server wants TLS, which the kernel's client cannot do: run a TLS proxy on the node and give its unix socket in the option \"socket\""
            }
            Kind::UnknownExport => {
                "the server has no export of this name; `flexvol doctor` with the server's address lists those it has"
            }
            Kind::ShuttingDown => "the server is shutting down: try again when it is back",
            Kind::BlockSizeRequired => "the server insists on block sizes that it did not name",
            Kind::TooBig => "the name of the export is too long for the server",
            Kind::Other(_) => "the server refuses",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.sentence())?;
        if let Kind::Other(number) = self.kind {
            write!(out, " (error {number})")?;
        }
        if !self.text.is_empty() {
            write!(out, " (in its words: {})", self.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_a_sentence_of_its_own() {
        let mut sentences: Vec<_> = (0..12).map(|number| Refusal::new(number, b"").to_string()).collect();
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), 12);
        assert!(sentences.iter().all(|text| text.len() > 20 && !text.ends_with('.')), "{sentences:?}");
    }

    #[test]
    fn what_a_server_says_is_short_and_on_one_line() {
        let text = Refusal::new(2, b"no\n\x1b[31m\xff\"{}").to_string();
        assert!(text.ends_with(r#"(in its words: no\n\u{1b}[31m�\"{})"#), "{text}");
        assert!(Refusal::new(2, &[b'x'; 5000]).text.len() == LONGEST_TEXT);
    }
}
