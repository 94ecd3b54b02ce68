//! Takes secrets out of text that leaves the driver.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::Secret;

/// What stands in place of a secret.
const REDACTED: &str = "<redacted>";
/// A shorter text is no secret, and to replace it would make messages unreadable.
const SHORTEST: usize = 4;
/// A line of a longer secret; shorter ones are words such as `true`.
const SHORTEST_LINE: usize = 8;
/// A message longer than this is a tool's output gone wild; hosts cut it anyway.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// The texts in which the secrets of one call-out can show.
#[derive(Debug, Default)]
pub(crate) struct Redactor(Vec<Zeroizing<String>>);

impl Redactor {
    /// Knows each secret as it is, without the white space around it (a line end, mostly), each of its lines, as
    /// `{:?}` prints it as text and as bytes, and in base64.
    pub(crate) fn new(secrets: &BTreeMap<String, Secret>) -> Self {
        let mut texts = Vec::new();
        for secret in secrets.values() {
            let bytes = secret.expose();
            if let Ok(text) = std::str::from_utf8(bytes) {
                push(&mut texts, text, SHORTEST);
                push(&mut texts, text.trim(), SHORTEST);
                push(&mut texts, &text.escape_debug().to_string(), SHORTEST);
                for line in text.lines() {
                    push(&mut texts, line.trim(), SHORTEST_LINE);
                }
            }
            if bytes.len() >= SHORTEST {
                push(&mut texts, STANDARD.encode(bytes).trim_end_matches('='), SHORTEST);
                push(&mut texts, format!("{bytes:?}").trim_matches(['[', ']']), SHORTEST);
            }
        }
        // A secret may be part of another one: the longest goes first.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        Self(texts)
    }

    /// `message` without any of the secrets, and of bearable length.
    pub(crate) fn clean(&self, message: &str) -> String {
        let mut message = Cow::Borrowed(message);
        for text in &self.0 {
            if message.contains(text.as_str()) {
                message = Cow::Owned(message.replace(text.as_str(), REDACTED));
            }
        }
        if message.len() > LONGEST_MESSAGE {
            let end = message.floor_char_boundary(LONGEST_MESSAGE);
            return format!("{} … ({} bytes in all)", &message[..end], message.len());
        }
        message.into_owned()
    }
}

fn push(texts: &mut Vec<Zeroizing<String>>, text: &str, shortest: usize) {
    if text.len() >= shortest {
        texts.push(Zeroizing::new(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secrets: &[&[u8]]) -> Redactor {
        let named = secrets.iter().enumerate().map(|(i, bytes)| (i.to_string(), Secret::new(*bytes)));
        Redactor::new(&named.collect())
    }

    #[test]
    fn a_secret_goes_in_all_its_forms() {
        let clean = |text: &str| redactor(&[b"sword\"fish\n"]).clean(text);
        assert_eq!(clean("login sword\"fish failed"), "login <redacted> failed");
        assert_eq!(clean("a sword\"fish\n b"), "a <redacted> b");
        assert_eq!(clean(&format!("{:?}", "sword\"fish\n")), "\"<redacted>\"");
        assert_eq!(clean(&format!("{:?}", b"sword\"fish\n")), "[<redacted>]");
        assert_eq!(clean("got c3dvcmQiZmlzaAo= there"), "got <redacted>= there");
    }

    #[test]
    fn a_secret_inside_another_one_leaves_nothing_of_it() {
        let clean = redactor(&[b"hunter2", b"xhunter2x"]).clean("xhunter2x hunter2");
        assert_eq!(clean, "<redacted> <redacted>");
    }

    #[test]
    fn lines_of_a_key_file_go_too() {
        let clean =
            redactor(&[b"[client]\n  key = AQBhunter2==\n"]).clean("bad line key = AQBhunter2== in keyring");
        assert_eq!(clean, "bad line <redacted> in keyring");
    }

    #[test]
    fn short_secrets_do_not_tear_messages_apart() {
        assert_eq!(redactor(&[b"a", b"", b"ab\n"]).clean("a table"), "a table");
    }

    #[test]
    fn bytes_that_are_not_text_go_in_base64() {
        assert_eq!(redactor(&[b"\xff\xfe\xfd\xfc"]).clean("x //79/A== y"), "x <redacted>== y");
    }

    #[test]
    fn a_message_is_cut_at_a_character() {
        let long = "é".repeat(LONGEST_MESSAGE);
        let clean = redactor(&[]).clean(&long);
        assert!(
            clean.len() < LONGEST_MESSAGE + 40 && clean.ends_with("… (32768 bytes in all)"),
            "{}",
            clean.len()
        );
    }
}
