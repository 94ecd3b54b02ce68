//! What a driver answered in the suite, and how it reads.

use flexvolume_os::runner::Ended;

use crate::Reading;
use crate::reply::tolerant::{self, NONSENSE, Probe};
use crate::reply::{Asked, Fields, Run, strict};

/// The most characters of a driver's own text in a finding.
const SHOWN: usize = 400;

/// One call and what came back.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// What was called, for a person: the verb and a path, never the options.
    pub(super) call: String,
    pub(super) asked: Asked<'static>,
    pub(super) run: Run,
}

/// How a host goes on after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Success(Fields),
    /// Success with a reason to doubt it: what it is worth shows in the state.
    Claimed(Fields),
    NotSupported,
    Failed {
        why: String,
        /// Whether the driver itself said so, in a reply with a status.
        replied: bool,
    },
}

impl Meaning {
    /// Whether the driver says that it is done, be it to be believed or not.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Meaning::Success(_) | Meaning::Claimed(_))
    }
}

impl Answer {
    /// What a host of this reading makes of it; `probe` is the answer to a nonsense verb.
    pub(super) fn meaning(&self, reading: Reading, probe: Option<&Run>) -> Meaning {
        match reading {
            Reading::Strict => self.strictly(),
            Reading::Tolerant => self.tolerantly(probe),
        }
    }

    fn strictly(&self) -> Meaning {
        use strict::Outcome;
        let failed = |why: String, replied| Meaning::Failed { why, replied };
        match strict::read(self.asked, &self.run) {
            Outcome::Success(fields) => Meaning::Success(fields),
            Outcome::NotSupported => Meaning::NotSupported,
            Outcome::Failed(why) => failed(why, true),
            Outcome::Unreadable(why) => {
                failed(format!("the reply cannot be read: {why}; printed: {}", self.printed()), false)
            }
            Outcome::ExecError(why) => failed(format!("Success, but {why}"), true),
            Outcome::TimedOut => failed("no answer until the deadline".to_owned(), false),
        }
    }

    fn tolerantly(&self, probe: Option<&Run>) -> Meaning {
        use tolerant::Outcome;
        let probe = probe.map(|run| Probe { verb: NONSENSE, run });
        let understanding = tolerant::read(self.asked, &self.run, probe);
        match understanding.outcome {
            Outcome::Success(fields) => Meaning::Success(fields),
            Outcome::Claimed(fields) => Meaning::Claimed(fields),
            Outcome::NotSupported => Meaning::NotSupported,
            Outcome::Failed(failure) => {
                Meaning::Failed { why: failure.to_string(), replied: understanding.replied }
            }
        }
    }

    /// Everything that was printed.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.run {
            Ok(output) if output.combined.bytes.is_empty() => {
                [output.stdout.bytes.as_slice(), &output.stderr.bytes].concat()
            }
            Ok(output) => output.combined.bytes.clone(),
            Err(_) => Vec::new(),
        }
    }

    /// The same for a person.
    pub(super) fn printed(&self) -> String {
        match (&self.run, self.bytes()) {
            (Err(error), _) => error.to_string(),
            (Ok(_), bytes) if bytes.is_empty() => "nothing".to_owned(),
            (Ok(_), bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// How the process ended, for a person.
    pub(super) fn ended(&self) -> String {
        match &self.run {
            Err(error) => error.to_string(),
            Ok(output) => match output.ended {
                Ended::Exited(code) => format!("exit status {code}"),
                Ended::Signaled(signal) => format!("signal {signal}"),
                Ended::TimedOut => "stopped at the deadline".to_owned(),
            },
        }
    }
}

/// One bounded line without control characters and without `secrets`.
pub(super) fn shown(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret, "<secret>");
    }
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes in all)", line.get(..end).unwrap_or_default(), line.len()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_bounded_line_without_secrets() {
        let secrets = ["hunter2".to_owned()];
        assert_eq!(shown("pw hunter2\n\u{1b}[31mred ", &secrets), "pw <secret>  [31mred");
        let long = shown(&"é".repeat(1000), &secrets);
        assert!(long.chars().count() < 430 && long.ends_with("… (2000 bytes in all)"), "{long}");
    }
}
