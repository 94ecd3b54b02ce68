//! What goes over a netlink socket, as bytes.

use std::io;

use rustix::io::Errno;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
/// The type of an answer that holds an error number, zero for "done".
const ERROR: u16 = 2;
/// The two upper bits of an attribute's type are flags.
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;

/// A question, built from front to back.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
    /// A value was longer than an attribute can be.
    too_long: bool,
}

impl Message {
    /// A question of this type, with what the family wants in front of the attributes.
    #[must_use]
    pub fn new(kind: u16, front: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
        // Sequence number and port; the kernel knows the port itself.
        bytes.extend([0; 8]);
        bytes.extend(front);
        Self { bytes, too_long: false }
    }

    /// A question to a generic family (`struct genlmsghdr`).
    #[must_use]
    pub fn generic(family: u16, command: u8) -> Self {
        const VERSION: u8 = 1;
        Self::new(family, &[command, VERSION, 0, 0])
    }

    /// An attribute of 32 bits.
    #[must_use]
    pub fn number32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// An attribute of 64 bits.
    #[must_use]
    pub fn number64(self, kind: u16, value: u64) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// A text, with the zero byte that the kernel wants at its end.
    #[must_use]
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), b"\0"].concat())
    }

    /// Attributes within an attribute.
    #[must_use]
    pub fn nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; ATTRIBUTE_HEADER]);
        let mut whole = inner(self);
        whole.head(start, kind | NESTED);
        whole
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; ATTRIBUTE_HEADER]);
        self.bytes.extend(value);
        self.head(start, kind);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Writes the header of the attribute that reaches from `start` to the end.
    fn head(&mut self, start: usize, kind: u16) {
        let Ok(length) = u16::try_from(self.bytes.len() - start) else {
            self.too_long = true;
            return;
        };
        let head = length.to_ne_bytes().into_iter().chain(kind.to_ne_bytes());
        self.bytes.splice(start..start + ATTRIBUTE_HEADER, head);
    }

    /// The bytes, with this sequence number.
    ///
    /// # Errors
    /// EMSGSIZE: an attribute is too long.
    pub fn finish(mut self, sequence: u32) -> io::Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).ok().filter(|_| !self.too_long).ok_or(Errno::MSGSIZE)?;
        self.bytes.splice(0..4, length.to_ne_bytes());
        self.bytes.splice(8..12, sequence.to_ne_bytes());
        Ok(self.bytes)
    }
}

/// One message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its type.
    pub kind: u16,
    /// The question that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Answer {
    /// The error number in it, zero for "done"; `None` when it is another kind of answer.
    ///
    /// # Errors
    /// `InvalidData` when it is cut short.
    pub fn error(&self) -> io::Result<Option<i32>> {
        if self.kind != ERROR {
            return Ok(None);
        }
        let number = self.payload.first_chunk().ok_or_else(cut_short)?;
        Ok(Some(i32::from_ne_bytes(*number).saturating_neg()))
    }

    /// The attributes that follow `front` bytes of the family's own.
    #[must_use]
    pub fn attributes(&self, front: usize) -> Attributes<'_> {
        attributes(self.payload.get(front..).unwrap_or_default())
    }
}

/// The messages of a datagram.
///
/// # Errors
/// `InvalidData` when a length in it cannot be true.
pub fn split(mut bytes: &[u8]) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let payload = bytes.get(HEADER..length).ok_or_else(cut_short)?.to_vec();
        let sequence = u32::from_ne_bytes([s0, s1, s2, s3]);
        answers.push(Answer { kind: u16::from_ne_bytes([k0, k1]), sequence, payload });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    if bytes.is_empty() { Ok(answers) } else { Err(cut_short()) }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer of the kernel is cut short")
}

/// The attributes of a message; ends at one whose length cannot be true.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
}

/// The attributes in these bytes.
#[must_use]
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { bytes }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this type.
    #[must_use]
    pub fn value(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The same, as a number of so many bytes.
    #[must_use]
    pub fn number<const N: usize>(self, kind: u16) -> Option<[u8; N]> {
        self.value(kind)?.try_into().ok()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1] = *self.bytes.first_chunk::<ATTRIBUTE_HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.bytes.get(ATTRIBUTE_HEADER..length)?;
        self.bytes = self.bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & TYPE_MASK, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_message_has_these_bytes() {
        let message = Message::generic(0x1f, 1)
            .number32(1, 7)
            .number64(2, 0x0102_0304_0506_0708)
            .text(10, "abcd")
            .nested(7, |outer| outer.nested(1, |item| item.number32(1, 5)));
        let expected = [
            68, 0, 0, 0, 0x1f, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0, // header
            1, 1, 0, 0, // command
            8, 0, 1, 0, 7, 0, 0, 0, // number32
            12, 0, 2, 0, 8, 7, 6, 5, 4, 3, 2, 1, // number64
            9, 0, 10, 0, b'a', b'b', b'c', b'd', 0, 0, 0, 0, // text, padded
            16, 0, 7, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 5, 0, 0, 0, // nested
        ];
        assert_eq!(message.finish(9).unwrap(), expected);
    }

    #[test]
    fn a_value_that_is_too_long_is_an_error_and_not_another_value() {
        let error = Message::new(1, &[]).text(1, &"x".repeat(70_000)).finish(1).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::MSGSIZE));
        Message::new(1, &[]).text(1, &"x".repeat(60_000)).finish(1).unwrap();
    }

    #[test]
    fn an_error_is_told_from_an_answer() {
        let answer = |kind, payload: &[u8]| Answer { kind, sequence: 1, payload: payload.to_vec() };
        assert_eq!(answer(ERROR, &(-22_i32).to_ne_bytes()).error().unwrap(), Some(22));
        assert_eq!(answer(ERROR, &[0; 20]).error().unwrap(), Some(0));
        assert_eq!(answer(31, &[]).error().unwrap(), None);
        answer(ERROR, &[0; 3]).error().unwrap_err();
        assert_eq!(answer(ERROR, &i32::MIN.to_ne_bytes()).error().unwrap(), Some(i32::MAX));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u32, text in "[a-z]{0,40}", sequence: u32) {
            let bytes = Message::generic(31, 2).number32(1, number).text(2, &text).finish(sequence).unwrap();
            let answers = split(&bytes).unwrap();
            prop_assert_eq!(answers.len(), 1);
            prop_assert_eq!(answers[0].sequence, sequence);
            let found = answers[0].attributes(4);
            prop_assert_eq!(found.clone().number(1).map(u32::from_ne_bytes), Some(number));
            let with_zero = format!("{text}\0");
            prop_assert_eq!(found.value(2), Some(with_zero.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_read_beyond_them(bytes: Vec<u8>) {
            if let Ok(answers) = split(&bytes) {
                let payloads: usize = answers.iter().map(|answer| answer.payload.len() + HEADER).sum();
                prop_assert!(payloads <= bytes.len());
            }
            let values: usize = attributes(&bytes).map(|(_, value)| value.len() + ATTRIBUTE_HEADER).sum();
            prop_assert!(values <= bytes.len());
        }
    }
}
