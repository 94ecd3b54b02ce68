//! The members of an object whose syntax has been checked, with Go's reading of strings and keys.

use std::borrow::Cow;

use super::syntax::is_space;

/// A value, as far as a reader needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// What stands between the quotes.
    String(&'a [u8]),
    Number(&'a [u8]),
    /// The whole object, with its braces.
    Object(&'a [u8]),
    Array,
}

impl Value<'_> {
    /// The kind, in Go's words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Object(_) => "object",
            Value::Array => "array",
        }
    }
}

/// The value at the front of `text` and what follows it; `True`, `False` and `None` are values too.
pub(super) fn value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let text = skip_space(text);
    match *text.first()? {
        b'"' => {
            let (inside, rest) = string(text)?;
            Some((Value::String(inside), rest))
        }
        b'{' => {
            let (object, rest) = text.split_at_checked(container_length(text))?;
            Some((Value::Object(object), rest))
        }
        b'[' => Some((Value::Array, text.get(container_length(text)..)?)),
        _ => {
            let length = text.iter().position(|&byte| ends_scalar(byte)).unwrap_or(text.len());
            let (scalar, rest) = text.split_at_checked(length)?;
            Some((self::scalar(scalar), rest))
        }
    }
}

fn scalar(text: &[u8]) -> Value<'_> {
    match text {
        b"true" | b"True" => Value::Bool(true),
        b"false" | b"False" => Value::Bool(false),
        b"null" | b"None" => Value::Null,
        number => Value::Number(number),
    }
}

fn ends_scalar(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b',' | b'}' | b']')
}

/// The inside of the string at the front, and what follows its closing quote.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        match *inside.get(at)? {
            b'"' => return Some((inside.get(..at)?, inside.get(at + 1..)?)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The length of the object or array at the front: a count of brackets, because its syntax is known to be good.
fn container_length(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let after = text.get(at..).and_then(string).map_or(0, |(_, rest)| rest.len());
                at = text.len() - after;
                continue;
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn skip_space(text: &[u8]) -> &[u8] {
    let blank = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    text.get(blank..).unwrap_or_default()
}

/// The members of an object, in order, duplicates included.
#[derive(Debug, Clone)]
pub(super) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// Of `object`, which begins with its brace.
    pub(super) fn of(object: &'a [u8]) -> Self {
        Self { rest: object.get(1..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = skip_space(self.rest);
        let text = skip_space(text.strip_prefix(b",").unwrap_or(text));
        let (key, after) = string(text)?;
        let (value, rest) = value(skip_space(after).strip_prefix(b":")?)?;
        self.rest = rest;
        Some((unquote(key), value))
    }
}

/// Whether Go takes `key` for the field `name`, which is ASCII: any case, and the two characters beyond ASCII that fold
/// to an ASCII letter, U+017F and U+212A.
pub(super) fn folds_to(key: &str, name: &str) -> bool {
    if key.is_ascii() {
        key.eq_ignore_ascii_case(name)
    } else {
        key.chars().map(fold).eq(name.chars().map(fold))
    }
}

fn fold(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// The text of a string from what stands between its quotes: invalid UTF-8 and lone surrogates become U+FFFD.
pub(super) fn unquote(inside: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(inside) {
        Ok(text) if !text.contains('\\') => Cow::Borrowed(text),
        _ => Cow::Owned(unquote_slowly(inside)),
    }
}

fn unquote_slowly(inside: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = inside;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let (before, escape) = rest.split_at(at);
        push_lossy(&mut text, before);
        let (letter, length) = unescape(escape);
        text.push(letter);
        rest = escape.get(length..).unwrap_or_default();
    }
    push_lossy(&mut text, rest);
    text
}

/// Go replaces each byte that belongs to no character, where Rust's standard replacement joins some.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// The character of the escape at the front, and the length of the escape.
fn unescape(escape: &[u8]) -> (char, usize) {
    let letter = match escape.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unit(escape),
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (letter, 2)
}

fn unescape_unit(escape: &[u8]) -> (char, usize) {
    let Some(first) = code_unit(escape) else { return (char::REPLACEMENT_CHARACTER, 6) };
    if let Some(letter) = char::from_u32(first) {
        return (letter, 6);
    }
    let second = escape.get(6..).and_then(code_unit);
    match (first, second) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
            let scalar = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// The number in `\uXXXX`.
fn code_unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.get(..6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_as_go_reads_them() {
        assert_eq!(unquote(br"a\n\u0041\/"), "a\nA/");
        assert_eq!(unquote(br"\ud83d\ude00"), "\u{1f600}");
        assert_eq!(unquote(br"\ud83d\ud83d\ude00"), "\u{fffd}\u{1f600}");
        assert_eq!(unquote(br"\ude00x"), "\u{fffd}x");
        assert_eq!(unquote(br"\ud83d\u0041"), "\u{fffd}A");
        assert_eq!(unquote(b"\xf0\x9f\x98"), "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(unquote(b"caf\xe9"), "caf\u{fffd}");
    }

    #[test]
    fn keys_fold_as_in_go() {
        assert!(folds_to("\u{17f}TATUS", "status"));
        assert!(folds_to("\u{212a}ey", "key"));
        assert!(folds_to("DEVICE", "device"));
        assert!(!folds_to("dev\u{131}ce", "device"));
        assert!(!folds_to("statu", "status"));
    }

    #[test]
    fn members_come_in_order_with_duplicates() {
        let object = br#"{ "a" : [1,{"x":"]}"}] , "b":{"c":"}"},"a":True, "":-1.5e3}"#;
        let members: Vec<_> = Members::of(object).collect();
        assert_eq!(
            members,
            [
                ("a".into(), Value::Array),
                ("b".into(), Value::Object(br#"{"c":"}"}"#)),
                ("a".into(), Value::Bool(true)),
                ("".into(), Value::Number(b"-1.5e3")),
            ]
        );
    }
}
