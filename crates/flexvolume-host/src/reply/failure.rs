//! Why a call counts as failed.

use std::fmt;

use flexvolume_os::runner::{Ended, StartError};

use super::text;

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The driver's own message, byte for byte, or what happened instead of one. May be empty, and may hold anything
    /// that a driver can print: show people the failure's `Display`, which is bounded and harmless.
    pub message: String,
    /// Whether a reply with a status was found at all.
    pub replied: bool,
    /// Why.
    pub cause: Cause,
}

/// A field of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub enum Field {
    Device,
    VolumeName,
    Attached,
    Capabilities,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Device => "device",
            Field::VolumeName => "volumeName",
            Field::Attached => "attached",
            Field::Capabilities => "capabilities",
        })
    }
}

/// Why a call counts as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The driver said so, with this status.
    Said(String),
    /// It said both Success and Not supported.
    Contradiction,
    /// Its replies give two values of one field.
    TwoValues(Field),
    /// A field that the call uses is of this type.
    WrongType(Field, &'static str),
    /// A device, in a reply that is JSON only after a repair.
    RepairedDevice,
    /// Success, but with this end.
    Unconfirmed(Ended),
    /// Success or Not supported, but more was printed than was kept.
    CutOff,
    /// Not supported, but stopped at the deadline.
    Stopped,
    /// A reply with a status that is not JSON.
    Broken,
    /// Too many broken replies to look through.
    Tangled,
    /// No reply.
    NoReply(Ended),
    /// The program did not start.
    NotStarted(StartError),
}

impl Failure {
    /// The driver's own words.
    pub(super) fn said(status: String, message: String) -> Self {
        Self { message, replied: true, cause: Cause::Said(status) }
    }

    /// What happened instead; `printed` is what a person should see of the output.
    pub(super) fn from_cause(cause: Cause, printed: &str) -> Self {
        let replied = !matches!(cause, Cause::Tangled | Cause::NoReply(_) | Cause::NotStarted(_));
        let printed = text::line(printed);
        let message = if printed.is_empty() { cause.to_string() } else { format!("{cause}: {printed}") };
        Self { message, replied, cause }
    }
}

/// One bounded line without control characters.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Said(status) if self.message.is_empty() => {
                write!(f, "the driver answered {:?} and gave no reason", text::line(status))
            }
            _ => f.write_str(&text::line(&self.message)),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Said(status) => write!(f, "the driver answered {:?}", text::line(status)),
            Cause::Contradiction => f.write_str("the driver answered both Success and Not supported"),
            Cause::TwoValues(field) => write!(f, "the driver's replies give two values of {field}"),
            Cause::WrongType(field, kind) => write!(f, "the driver's {field} has the wrong type: {kind}"),
            Cause::RepairedDevice => f.write_str("the driver names a device in a reply that is not JSON"),
            Cause::Unconfirmed(ended) => write!(f, "the driver answered Success but {}", End(*ended)),
            Cause::CutOff => {
                f.write_str("the driver printed more than is kept, so its reply cannot be trusted")
            }
            Cause::Stopped => f.write_str("the driver had to be stopped at its deadline"),
            Cause::Broken => f.write_str("the driver's reply is not JSON"),
            Cause::Tangled => f.write_str("the driver's output is too tangled to be searched for a reply"),
            Cause::NoReply(ended) => write!(f, "the driver gave no reply and {}", End(*ended)),
            Cause::NotStarted(error) => error.fmt(f),
        }
    }
}

/// An end, as the continuation of a sentence.
struct End(Ended);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ended::Exited(code) => write!(f, "exited with status {code}"),
            Ended::Signaled(signal) => write!(f, "was ended by signal {signal}"),
            Ended::TimedOut => f.write_str("had to be stopped at its deadline"),
        }
    }
}
