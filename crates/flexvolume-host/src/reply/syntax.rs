//! The grammar of Go's JSON package (`encoding/json/scanner.go`, Go 1.26) as a machine that takes one byte at a time:
//! the same language, the same limit of depth, the same texts, and no recursion.

use std::fmt;

/// Go's limit of nesting.
const MAX_DEPTH: usize = 10_000;

/// Which bare words are values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// `true`, `false`, `null`.
    Json,
    /// Also `True`, `False`, `None`.
    Python,
}

/// Why bytes are not one JSON value; its text is Go's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// They end too early.
    End,
    /// A byte that cannot stand where it stands.
    Byte(u8, Context),
}

/// What was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// In Go's words.
    Place(&'static str),
    /// Inside this bare word, whose next letter was expected.
    Word(&'static str, char),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SyntaxError::End => f.write_str("unexpected end of JSON input"),
            SyntaxError::Byte(byte, context) => {
                write!(f, "invalid character '{}' ", Quoted(byte))?;
                match context {
                    Context::Place(place) => f.write_str(place),
                    Context::Word(word, letter) => write!(f, "in literal {word} (expecting '{letter}')"),
                }
            }
        }
    }
}

/// A byte as Go's `strconv.Quote` shows the character of that number.
struct Quoted(u8);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\'' => f.write_str("\\'"),
            b'\\' => f.write_str("\\\\"),
            0x07 => f.write_str("\\a"),
            0x08 => f.write_str("\\b"),
            0x0b => f.write_str("\\v"),
            0x0c => f.write_str("\\f"),
            b'\n' => f.write_str("\\n"),
            b'\r' => f.write_str("\\r"),
            b'\t' => f.write_str("\\t"),
            byte @ (0..0x20 | 0x7f) => write!(f, "\\x{byte:02x}"),
            byte @ (0x80..=0xa0 | 0xad) => write!(f, "\\u{byte:04x}"),
            byte => write!(f, "{}", char::from(byte)),
        }
    }
}

/// White space between tokens.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Checks that `bytes` are one value with nothing but white space around it.
pub(super) fn check(bytes: &[u8]) -> Result<(), SyntaxError> {
    let mut machine = Machine::new(Words::Json);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        machine.step(byte)?;
        at += 1;
        at += machine.idle(bytes.get(at..).unwrap_or_default());
    }
    machine.end()
}

/// An object at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// It has this many bytes; `words` tells whether it is JSON, or would be but for `True`, `False`, `None`.
    Object { length: usize, words: Words },
    /// It is broken; so many bytes were read to find out.
    Broken { read: usize },
}

/// How many bytes at the front neither end a string nor need a closer look.
fn plain(bytes: &[u8]) -> usize {
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    leading(bytes, special)
}

/// How many bytes at the front are none of the `special` ones. Whole blocks are tested without a branch for each byte,
/// which compilers turn into vector instructions.
fn leading(bytes: &[u8], special: impl Fn(u8) -> bool) -> usize {
    const BLOCK: usize = 16;
    let mut at = 0;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>())
        && !block.iter().fold(false, |found, &byte| found | special(byte))
    {
        at += BLOCK;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&byte| special(byte)).unwrap_or(rest.len())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    /// An object whose key is being read.
    Key,
    /// An object whose value is being read.
    Member,
    Array,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    AfterValue,
    /// After the whole value.
    Top,
    String,
    Escape,
    /// So many hexadecimal digits of `\uXXXX` are missing.
    Hex(u8),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// A bare word of which so many letters were read.
    Word(&'static str, usize),
}

/// The machine; it can be used again, which spares an allocation for each object.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    open: Vec<Container>,
    allowed: Words,
    seen: Words,
}

type Step = Result<(), SyntaxError>;

fn refuse(byte: u8, place: &'static str) -> Step {
    Err(SyntaxError::Byte(byte, Context::Place(place)))
}

impl Machine {
    pub(super) fn new(allowed: Words) -> Self {
        Self { state: State::Value, open: Vec::new(), allowed, seen: Words::Json }
    }

    /// Reads the object at the front of `bytes`.
    pub(super) fn front(&mut self, bytes: &[u8]) -> Front {
        self.state = State::Value;
        self.open.clear();
        self.seen = Words::Json;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.step(byte).is_err() {
                break;
            }
            at += 1;
            if self.state == State::Top {
                return Front::Object { length: at, words: self.seen };
            }
            at += self.idle(bytes.get(at..).unwrap_or_default());
        }
        Front::Broken { read: at }
    }

    /// How many bytes at the front of `bytes` would change nothing.
    fn idle(&self, bytes: &[u8]) -> usize {
        match self.state {
            State::String => plain(bytes),
            State::Value | State::Top if bytes.first().is_some_and(|&byte| is_space(byte)) => {
                leading(bytes, |byte| !is_space(byte))
            }
            _ => 0,
        }
    }

    fn goto(&mut self, state: State) -> Step {
        self.state = state;
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::String => self.string(byte),
            State::Value | State::ValueOrClose | State::Key | State::KeyOrClose | State::AfterValue
                if is_space(byte) =>
            {
                Ok(())
            }
            State::Value => self.value(byte),
            State::ValueOrClose if byte == b']' => self.close(),
            State::ValueOrClose => self.value(byte),
            State::KeyOrClose if byte == b'}' => self.close(),
            State::Key | State::KeyOrClose if byte == b'"' => self.goto(State::String),
            State::Key | State::KeyOrClose => refuse(byte, "looking for beginning of object key string"),
            State::AfterValue => self.after_value(byte),
            State::Top if is_space(byte) => Ok(()),
            State::Top => refuse(byte, "after top-level value"),
            State::Escape => self.escape(byte),
            State::Hex(left) => self.hex(byte, left),
            State::Word(word, read) => self.word(byte, word, read),
            _ => self.number(byte),
        }
    }

    /// What Go does at the end: it offers one more space.
    fn end(&mut self) -> Step {
        if self.state != State::Top {
            self.step(b' ')?;
        }
        if self.state == State::Top { Ok(()) } else { Err(SyntaxError::End) }
    }

    fn value(&mut self, byte: u8) -> Step {
        match byte {
            b'{' => self.push(byte, Container::Key, State::KeyOrClose),
            b'[' => self.push(byte, Container::Array, State::ValueOrClose),
            b'"' => self.goto(State::String),
            b'-' => self.goto(State::Minus),
            b'0' => self.goto(State::Zero),
            b'1'..=b'9' => self.goto(State::Integer),
            b't' => self.goto(State::Word("true", 1)),
            b'f' => self.goto(State::Word("false", 1)),
            b'n' => self.goto(State::Word("null", 1)),
            b'T' | b'F' | b'N' if self.allowed == Words::Python => {
                self.seen = Words::Python;
                let word = match byte {
                    b'T' => "True",
                    b'F' => "False",
                    _ => "None",
                };
                self.goto(State::Word(word, 1))
            }
            _ => refuse(byte, "looking for beginning of value"),
        }
    }

    fn push(&mut self, byte: u8, container: Container, state: State) -> Step {
        if self.open.len() >= MAX_DEPTH {
            return refuse(byte, "exceeded max depth");
        }
        self.open.push(container);
        self.goto(state)
    }

    fn close(&mut self) -> Step {
        self.open.pop();
        self.goto(if self.open.is_empty() { State::Top } else { State::AfterValue })
    }

    fn after_value(&mut self, byte: u8) -> Step {
        match (self.open.last_mut(), byte) {
            (Some(container @ Container::Key), b':') => {
                *container = Container::Member;
                self.goto(State::Value)
            }
            (Some(container @ Container::Member), b',') => {
                *container = Container::Key;
                self.goto(State::Key)
            }
            (Some(Container::Array), b',') => self.goto(State::Value),
            (Some(Container::Member), b'}') | (Some(Container::Array), b']') => self.close(),
            (Some(Container::Key), _) => refuse(byte, "after object key"),
            (Some(Container::Member), _) => refuse(byte, "after object key:value pair"),
            (Some(Container::Array), _) => refuse(byte, "after array element"),
            (None, _) => refuse(byte, "after top-level value"),
        }
    }

    /// After the last byte of a scalar.
    fn scalar(&mut self) -> Step {
        self.goto(if self.open.is_empty() { State::Top } else { State::AfterValue })
    }

    fn string(&mut self, byte: u8) -> Step {
        match byte {
            b'"' => self.scalar(),
            b'\\' => self.goto(State::Escape),
            0..0x20 => refuse(byte, "in string literal"),
            _ => Ok(()),
        }
    }

    fn escape(&mut self, byte: u8) -> Step {
        match byte {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.goto(State::String),
            b'u' => self.goto(State::Hex(4)),
            _ => refuse(byte, "in string escape code"),
        }
    }

    fn hex(&mut self, byte: u8, left: u8) -> Step {
        if !byte.is_ascii_hexdigit() {
            return refuse(byte, "in \\u hexadecimal character escape");
        }
        self.goto(if left == 1 { State::String } else { State::Hex(left - 1) })
    }

    fn word(&mut self, byte: u8, word: &'static str, read: usize) -> Step {
        match word.as_bytes().get(read) {
            Some(&letter) if letter != byte => {
                Err(SyntaxError::Byte(byte, Context::Word(word, char::from(letter))))
            }
            _ if read + 1 < word.len() => self.goto(State::Word(word, read + 1)),
            _ => self.scalar(),
        }
    }

    fn number(&mut self, byte: u8) -> Step {
        match (self.state, byte) {
            (State::Minus, b'0') => self.goto(State::Zero),
            (State::Minus, b'1'..=b'9') => self.goto(State::Integer),
            (State::Minus, _) => refuse(byte, "in numeric literal"),
            (State::Integer, b'0'..=b'9') => Ok(()),
            (State::Integer | State::Zero, b'.') => self.goto(State::Point),
            (State::Point, b'0'..=b'9') => self.goto(State::Fraction),
            (State::Point, _) => refuse(byte, "after decimal point in numeric literal"),
            (State::Fraction, b'0'..=b'9') => Ok(()),
            (State::Integer | State::Zero | State::Fraction, b'e' | b'E') => self.goto(State::Exponent),
            (State::Exponent, b'+' | b'-') => self.goto(State::ExponentSign),
            (State::Exponent | State::ExponentSign, b'0'..=b'9') => self.goto(State::ExponentDigits),
            (State::Exponent | State::ExponentSign, _) => refuse(byte, "in exponent of numeric literal"),
            (State::ExponentDigits, b'0'..=b'9') => Ok(()),
            _ => {
                self.scalar()?;
                self.step(byte)
            }
        }
    }
}
