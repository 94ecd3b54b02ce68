//! What a broken object still tells (rule 13): the words of its quoted `status`, never a Success.

use std::borrow::Cow;

use super::answer::Word;
use super::json;
use super::syntax::is_space;

/// What was found in a broken object and in what it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// No status, or an echo of the options: text.
    Text,
    /// The statuses: a failure if there is one.
    Words(Words),
}

/// The statuses of a broken object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Words {
    /// How many there are.
    pub(super) count: usize,
    /// The first word that is a failure.
    pub(super) failure: Option<String>,
    /// Not supported, before a second brace: it belongs to the object itself.
    pub(super) not_supported: bool,
    /// A Success, or a Not supported that may be nested: nothing can be made of it.
    pub(super) unusable: bool,
}

/// Looks through a broken object. Every quote is tried as the beginning of a key, because in a broken object nobody
/// knows which ones open.
pub(super) fn read(text: &[u8]) -> Broken {
    let second_brace = text.iter().skip(1).position(|&byte| byte == b'{').map_or(text.len(), |at| at + 1);
    let mut words = Words::default();
    let quotes = text.iter().enumerate().filter(|(_, byte)| matches!(byte, b'"' | b'\''));
    for (at, _) in quotes {
        let Some(here) = text.get(at..) else { continue };
        if at < second_brace && is_option_key(here) {
            return Broken::Text;
        }
        let Some(word) = status(here) else { continue };
        words.count += 1;
        match Word::of(&word) {
            Word::Other(word) => words.failure = words.failure.take().or(Some(word)),
            Word::NotSupported { .. } if at < second_brace => words.not_supported = true,
            Word::NotSupported { .. } | Word::Success => words.unusable = true,
        }
    }
    if words.count == 0 { Broken::Text } else { Broken::Words(words) }
}

/// Whether a key of the options is at the front: then the object is an echo of them.
fn is_option_key(text: &[u8]) -> bool {
    /// Longer than any key that a host sends.
    const WINDOW: usize = 512;
    let inside = text.get(1..).unwrap_or_default();
    inside.starts_with(b"kubernetes.io/") && quoted_key(text, WINDOW).is_some()
}

/// The quoted value, if a quoted `status` is at the front.
fn status(text: &[u8]) -> Option<Cow<'_, str>> {
    /// `status` with every letter escaped, and its quotes.
    const WINDOW: usize = 38;
    let (key, value) = quoted_key(text, WINDOW)?;
    if !json::folds_to(&json::unquote(key), "status") {
        return None;
    }
    quoted(skip_space(value)).map(json::unquote)
}

/// The quoted key at the front, which is followed by a colon, and what follows that.
fn quoted_key(text: &[u8], window: usize) -> Option<(&[u8], &[u8])> {
    let key = quoted(text.get(..window).unwrap_or(text))?;
    let after = skip_space(text.get(key.len() + 2..)?);
    Some((key, after.strip_prefix(b":")?))
}

/// What stands between the quote at the front, single or double, and the next one of its kind.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let (&quote, inside) = text.split_first()?;
    if !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let mut at = 0;
    loop {
        match *inside.get(at)? {
            byte if byte == quote => return inside.get(..at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn skip_space(text: &[u8]) -> &[u8] {
    let blank = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    text.get(blank..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        match read(text.as_bytes()) {
            Broken::Words(words) => words,
            Broken::Text => Words::default(),
        }
    }

    #[test]
    fn a_failure_counts_at_any_depth() {
        assert_eq!(words(r#"{"a":{"b":{"STATUS" : 'Failed'"#).failure.as_deref(), Some("Failed"));
        assert_eq!(words(r#"{"status":"Success","x":{"status":"Error"}"#).failure.as_deref(), Some("Error"));
    }

    #[test]
    fn not_supported_counts_before_a_second_brace_only() {
        assert!(words("{'status': 'not supported'}").not_supported);
        let nested = words(r#"{"error":{"status":"Not supported"},"mess"#);
        assert!(!nested.not_supported && nested.unusable);
    }

    #[test]
    fn success_is_never_taken() {
        let found = words(r#"{"status":"Success","message":"a "b""}"#);
        assert_eq!(found, Words { count: 1, unusable: true, ..Words::default() });
    }

    #[test]
    fn what_is_cut_or_escaped_or_not_quoted_is_no_status() {
        for text in [r#"{"status":"Succ"#, r#"{"status": Failure"#, r#"{"m":"{\"status\":\"Failure\"}" x}"#] {
            assert_eq!(read(text.as_bytes()), Broken::Text, "{text}");
        }
    }

    #[test]
    fn a_broken_echo_of_the_options_is_text() {
        let echo = r#"{"kubernetes.io/fsType":"ext4","status":"Failed","x"#;
        assert_eq!(read(echo.as_bytes()), Broken::Text);
        let quoting = r#"{"status":"Failed","message":"bad: {"kubernetes.io/fsType":""}"}"#;
        assert_eq!(words(quoting).failure.as_deref(), Some("Failed"));
    }
}
