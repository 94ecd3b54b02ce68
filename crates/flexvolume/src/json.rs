//! Writes a JSON object of strings exactly as Go does.

/// Which characters of a string are written as `\uXXXX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// Go's `encoding/json` with its default HTML escaping (Go 1.22 and later: `\b` and `\f` are short).
    Go,
    /// Also white space, every control character and the backslash, so that no byte of the text means anything to
    /// a shell's word splitting or to an `echo` that interprets escapes.
    Shell,
}

/// Appends `text` in quotes.
pub(crate) fn push_string(out: &mut String, text: &str, escapes: Escapes) {
    out.push('"');
    for character in text.chars() {
        push_character(out, character, escapes);
    }
    out.push('"');
}

fn push_character(out: &mut String, character: char, escapes: Escapes) {
    let shell = escapes == Escapes::Shell;
    match character {
        '"' => out.push_str("\\\""),
        ' ' | '\\' if shell => push_code(out, character),
        character if shell && character.is_control() => push_code(out, character),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => push_code(out, character),
        _ => out.push(character),
    }
}

/// Appends `\u` and four hexadecimal digits; only for characters of the basic plane.
fn push_code(out: &mut String, character: char) {
    let code = u32::from(character);
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from_digit((code >> shift) & 0xf, 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str, escapes: Escapes) -> String {
        let mut out = String::new();
        push_string(&mut out, text, escapes);
        out
    }

    #[test]
    fn go_escapes_what_go_escapes_and_nothing_else() {
        let text =
            "\"\\/<>&\u{2028}\u{2029}\n\r\t\u{8}\u{c}\0\u{1}\u{1b}\u{1f}\u{7f}\u{80} é\u{feff}🚀\u{fffd}";
        let expected = "\"\\\"\\\\/\\u003c\\u003e\\u0026\\u2028\\u2029\\n\\r\\t\\b\\f\\u0000\\u0001\\u001b\\u001f\
                        \u{7f}\u{80} é\u{feff}🚀\u{fffd}\"";
        assert_eq!(quoted(text, Escapes::Go), expected);
    }

    #[test]
    fn shell_escapes_leave_nothing_that_a_shell_would_change() {
        let text = "a b\tc\nd\\e\u{7f}\u{85}é<";
        assert_eq!(
            quoted(text, Escapes::Shell),
            "\"a\\u0020b\\u0009c\\u000ad\\u005ce\\u007f\\u0085é\\u003c\""
        );
    }

    #[test]
    fn every_character_of_the_basic_plane_reads_back() {
        let text: String = ('\0'..='\u{ffff}').collect();
        for escapes in [Escapes::Go, Escapes::Shell] {
            let read: String = serde_json::from_str(&quoted(&text, escapes)).unwrap();
            assert!(read == text, "{escapes:?}");
        }
    }
}
