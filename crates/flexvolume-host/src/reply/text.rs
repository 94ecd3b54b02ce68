//! Making what a driver printed fit for a person's eyes: bounded, without control characters, without secrets.

use std::fmt::Write as _;

/// The most bytes of a driver's own text in a message.
pub(super) const MESSAGE_LIMIT: usize = 2048;

/// What follows such a key on its line may be a secret.
const SECRET_KEY: &str = "kubernetes.io/secret";

/// One line for a message.
pub(crate) fn line(text: &str) -> String {
    legible(text.trim_end().as_bytes()).replace(['\n', '\t'], " ")
}

/// Several lines for diagnostics: the first and last bytes of `pieces`, joined.
pub(super) fn block(pieces: &[&[u8]]) -> String {
    legible(&pieces_within(pieces, MESSAGE_LIMIT))
}

/// The pieces one after the other; in the middle of more than `limit` bytes some are left out, up to the end of a line.
fn pieces_within(pieces: &[&[u8]], limit: usize) -> Vec<u8> {
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    if total <= limit {
        return pieces.concat();
    }
    let mut head = Vec::new();
    for piece in pieces {
        let room = limit / 2 - head.len();
        head.extend(piece.iter().take(room));
        if head.len() >= limit / 2 {
            break;
        }
    }
    let mut tail: Vec<u8> = Vec::new();
    for piece in pieces.iter().rev() {
        let room = limit / 2 - tail.len();
        tail.extend(piece.iter().rev().take(room));
        if tail.len() >= limit / 2 {
            break;
        }
    }
    tail.reverse();
    let line_start = tail.iter().position(|&byte| byte == b'\n').map_or(tail.len(), |at| at + 1);
    let tail = tail.get(line_start..).unwrap_or_default();
    let omitted = total - head.len() - tail.len();
    [head.as_slice(), format!("\n({omitted} bytes left out)\n").as_bytes(), tail].concat()
}

/// Escape sequences of terminals are removed, other control characters shown as escapes, line ends and tabs kept, and
/// what may be a secret is left out.
fn legible(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let harmless = text.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~' | b'\n'));
    if harmless && !text.contains(SECRET_KEY) {
        return shorten(text.into_owned());
    }
    let lines: Vec<String> = text.split('\n').map(legible_line).collect();
    shorten(lines.join("\n"))
}

fn legible_line(line: &str) -> String {
    let (shown, secret) =
        line.split_once(SECRET_KEY).map_or((line, ""), |(front, _)| (front, "(secrets left out)"));
    let mut legible = String::with_capacity(shown.len());
    let mut letters = shown.trim_end_matches('\r').chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.next_if_eq(&'[').is_some() => {
                // Parameters, then one final letter (ECMA-48 control sequence).
                while letters.next_if(|next| matches!(next, '\u{20}'..='\u{3f}')).is_some() {}
                let _ = letters.next_if(|next| matches!(next, '\u{40}'..='\u{7e}'));
            }
            '\t' => legible.push('\t'),
            letter if letter.is_control() || changes_direction(letter) => {
                let _ = write!(legible, "{}", letter.escape_unicode());
            }
            letter => legible.push(letter),
        }
    }
    legible + secret
}

/// Characters that break a line or reorder what a terminal shows.
fn changes_direction(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Cuts at a character.
fn shorten(mut text: String) -> String {
    const LIMIT: usize = 2 * MESSAGE_LIMIT;
    if text.len() > LIMIT {
        let end = text.floor_char_boundary(LIMIT);
        let omitted = text.len() - end;
        text.truncate(end);
        let _ = write!(text, " ({omitted} bytes left out)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_commanded() {
        assert_eq!(line("\u{1b}[1;31mred\u{1b}[0m\u{7}\r\nnext\u{202e}"), "red\\u{7} next\\u{202e}");
    }

    #[test]
    fn long_text_keeps_both_ends() {
        let long = format!("first\n{}\nlast", "x".repeat(100_000));
        let shown = block(&[long.as_bytes()]);
        assert!(shown.starts_with("first\nx") && shown.ends_with("\nlast"), "{shown}");
        assert!(shown.len() < 3000);
        assert!(line(&"\u{1}".repeat(100_000)).len() < 5000);
    }

    #[test]
    fn secrets_are_left_out() {
        let echo = br#"args: {"kubernetes.io/fsType":"","kubernetes.io/secret/password":"czNjcmV0"}"#;
        let shown = block(&[echo, b"\nnext"]);
        assert!(!shown.contains("czNjcmV0") && shown.ends_with("\nnext"), "{shown}");
    }
}
