//! What a driver prints of the Secrets that it was given goes no further.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexvolume::{Call, Options};
use flexvolume_os::runner::Output;

use crate::reply::{Cause, Failure, Run};

const REDACTED: &str = "<redacted>";

/// The texts that must not be shown.
pub(super) struct Redaction {
    secrets: Vec<Vec<u8>>,
}

impl Redaction {
    /// The Secrets of a call: as the driver gets them, in base64, and as it uses them, line by line.
    pub(super) fn of(call: &Call) -> Self {
        call.options().map_or(Self { secrets: Vec::new() }, Self::of_options)
    }

    /// The same, of the options of any call.
    pub(super) fn of_options(options: &Options) -> Self {
        let mut secrets = Vec::new();
        for secret in options.secrets.values() {
            let bytes = secret.expose();
            secrets.push(STANDARD.encode(bytes).into_bytes());
            secrets.extend(bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()));
        }
        secrets.retain(|secret| !secret.is_empty());
        // A secret that contains another one goes first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// The text of a failure. The driver's own message keeps all but the secrets; of other output with a secret in it
    /// nothing is shown, since it was already cut and escaped for people.
    pub(super) fn failure(&self, failure: &Failure, run: &Run) -> String {
        if self.secrets.is_empty() {
            return failure.to_string();
        }
        match &failure.cause {
            Cause::Said(status) => {
                let (message, cause) = (self.text(&failure.message), Cause::Said(self.text(status)));
                Failure { message, cause, replied: failure.replied }.to_string()
            }
            _ if run.as_ref().is_ok_and(|output| self.is_in(output)) => {
                format!("{} (what it printed is not shown, since it holds a secret)", failure.cause)
            }
            _ => self.text(&failure.to_string()),
        }
    }

    /// The text without the secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter().filter_map(|secret| std::str::from_utf8(secret).ok()) {
            text = text.replace(secret, REDACTED);
        }
        text
    }

    /// Whether the driver has printed one.
    pub(super) fn is_in(&self, output: &Output) -> bool {
        let streams = [&output.stdout.bytes, &output.stderr.bytes, &output.combined.bytes];
        let holds =
            |stream: &[u8], secret: &[u8]| stream.windows(secret.len()).any(|window| window == secret);
        streams.into_iter().any(|stream| self.secrets.iter().any(|secret| holds(stream, secret)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use flexvolume::{Options, Secret};

    use super::*;

    fn redaction(values: &[&str]) -> Redaction {
        let secrets: BTreeMap<_, _> = values
            .iter()
            .enumerate()
            .map(|(number, value)| (number.to_string(), Secret::new(value.as_bytes())))
            .collect();
        Redaction::of(&Call::Mount {
            path: PathBuf::new(),
            options: Options { secrets, ..Options::default() },
        })
    }

    #[test]
    fn a_secret_is_taken_out_in_all_its_forms() {
        let redaction = redaction(&["hunter2\n", "-----KEY-----\nabcdefgh\n"]);
        let base64 = STANDARD.encode("hunter2\n");
        let text = redaction.text(&format!("login hunter2 ({base64}) with abcdefgh failed"));
        assert_eq!(text, "login <redacted> (<redacted>) with <redacted> failed");
    }

    #[test]
    fn the_longer_of_two_secrets_goes_first() {
        assert_eq!(redaction(&["pass", "password"]).text("my password"), "my <redacted>");
    }

    #[test]
    fn without_secrets_nothing_changes() {
        assert_eq!(redaction(&[]).text("as it is"), "as it is");
        assert_eq!(redaction(&["", "\n"]).text("as it is"), "as it is");
        assert_eq!(Redaction::of(&Call::Init).text("as it is"), "as it is");
    }
}
