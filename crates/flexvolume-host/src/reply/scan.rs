//! Cutting a stream into objects and the text between them (rules 1 and 13).

use super::syntax::{self, Front, Machine, Words};

/// A piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A whole object; with `Words::Python` it is JSON but for the bare words `True`, `False`, `None`.
    Object(&'a [u8], Words),
    /// A broken object and what it owns: everything up to the next line whose first byte is `{`, so that nothing nested
    /// in an object that was cut off is taken for a reply.
    Broken(&'a [u8]),
    /// Anything else that is more than white space.
    Text(&'a [u8]),
    /// Too many broken objects that each look whole for long: the rest was not searched.
    Tangled(&'a [u8]),
}

/// The pieces of a stream, in order.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    /// What has not been handed out.
    rest: &'a [u8],
    /// The object that ends the text before it.
    next: Option<Piece<'a>>,
    /// How many bytes may still be read in vain. Objects that fail are read again from the next line on, which would
    /// cost quadratic time for lines that each begin an object nested in the one before.
    patience: usize,
    machine: Machine,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(stream: &'a [u8]) -> Self {
        Self {
            rest: stream,
            next: None,
            patience: stream.len().saturating_mul(4).saturating_add(65_536),
            machine: Machine::new(Words::Python),
        }
    }

    /// The next object and the number of bytes before it.
    fn find(&mut self) -> Option<(usize, Piece<'a>)> {
        let mut from = 0;
        loop {
            let at = from + position(self.rest.get(from..)?, b'{')?;
            let here = self.rest.get(at..)?;
            match self.machine.front(here) {
                Front::Object { length, words } => {
                    return Some((at, Piece::Object(here.get(..length)?, words)));
                }
                Front::Broken { .. } if !begins_like_an_object(here) => from = at + 1,
                Front::Broken { read } => match self.patience.checked_sub(read) {
                    Some(left) => {
                        self.patience = left;
                        return Some((at, Piece::Broken(here.get(..owned_by_broken(here))?)));
                    }
                    None => return Some((at, Piece::Tangled(here))),
                },
            }
        }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (front, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        front
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            if let Some(piece) = self.next.take() {
                let (Piece::Object(bytes, _)
                | Piece::Broken(bytes)
                | Piece::Text(bytes)
                | Piece::Tangled(bytes)) = piece;
                self.take(bytes.len());
                return Some(piece);
            }
            if self.rest.is_empty() {
                return None;
            }
            let (before, object) =
                self.find().map_or((self.rest.len(), None), |(at, piece)| (at, Some(piece)));
            self.next = object;
            let text = self.take(before);
            if !is_blank(text) {
                return Some(Piece::Text(text));
            }
        }
    }
}

/// A brace is the beginning of an object if a quote follows; any other is text, as in `${DIR}`.
fn begins_like_an_object(text: &[u8]) -> bool {
    let inside = text.get(1..).unwrap_or_default();
    let first = inside.iter().find(|&&byte| !syntax::is_space(byte));
    matches!(first, Some(b'"' | b'\''))
}

fn owned_by_broken(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(line_end) = text.get(at..).and_then(|rest| position(rest, b'\n')) {
        at += line_end + 1;
        if text.get(at) == Some(&b'{') {
            return at;
        }
    }
    text.len()
}

/// Whether `text` is nothing but white space.
pub(super) fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|&byte| syntax::is_space(byte))
}

/// Where `byte` first occurs. `contains` looks at several bytes at once, which plain iteration does not.
fn position(text: &[u8], byte: u8) -> Option<usize> {
    const BLOCK: usize = 256;
    let block = text.chunks(BLOCK).position(|block| block.contains(&byte))?;
    let start = block * BLOCK;
    text.get(start..)?.iter().position(|&other| other == byte).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(stream: &str) -> Vec<Piece<'_>> {
        Pieces::of(stream.as_bytes()).collect()
    }

    #[test]
    fn objects_are_told_from_text() {
        let found = pieces("a {x} ${Y} {\"b\":{\"c\":1}}[{}] z\n");
        let wanted: [Piece<'_>; 5] = [
            Piece::Text(b"a {x} ${Y} "),
            Piece::Object(b"{\"b\":{\"c\":1}}", Words::Json),
            Piece::Text(b"["),
            Piece::Object(b"{}", Words::Json),
            Piece::Text(b"] z\n"),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_broken_object_owns_all_up_to_the_next_line_with_a_brace() {
        let found = pieces("{ \"a\": {\"b\":1}\n  {\"c\":2}\n{\"d\":3}\n {'e'");
        let wanted: [Piece<'_>; 3] = [
            Piece::Broken(b"{ \"a\": {\"b\":1}\n  {\"c\":2}\n"),
            Piece::Object(b"{\"d\":3}", Words::Json),
            Piece::Broken(b"{'e'"),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn capital_words_are_seen() {
        assert_eq!(pieces("{\"a\":True}"), [Piece::Object(b"{\"a\":True}", Words::Python)]);
        assert_eq!(pieces("{\"a\":\"True\"}"), [Piece::Object(b"{\"a\":\"True\"}", Words::Json)]);
        assert_eq!(pieces("{\"a\":Truely}"), [Piece::Broken(b"{\"a\":Truely}")]);
    }

    #[test]
    fn patience_ends_before_time_does() {
        let stream = "{\"a\":\n".repeat(100_000);
        let last = pieces(&stream).pop();
        assert!(matches!(last, Some(Piece::Tangled(_))));
    }

    #[test]
    fn whatever_the_bytes_the_pieces_are_all_but_white_space() {
        let stream = "x{{\"a\":1}}\n\n{\"b\n{\"c\":[1,2]} {";
        let length: usize = Pieces::of(stream.as_bytes())
            .map(|piece| match piece {
                Piece::Object(bytes, _)
                | Piece::Broken(bytes)
                | Piece::Text(bytes)
                | Piece::Tangled(bytes) => bytes.len(),
            })
            .sum();
        assert_eq!(length, stream.len() - 2 + 2);
    }
}
