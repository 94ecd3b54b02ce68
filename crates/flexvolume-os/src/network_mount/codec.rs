//! Fields of bytes, one after the other, each with its length in front: `3:abc,`.

use zeroize::Zeroizing;

/// Puts fields together.
#[derive(Default)]
pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(super) fn bytes(mut self, field: &[u8]) -> Self {
        // Growing would leave a copy behind that nobody wipes.
        let mut larger = Zeroizing::new(Vec::with_capacity(self.0.len() + field.len() + 24));
        larger.extend_from_slice(&self.0);
        larger.extend_from_slice(format!("{}:", field.len()).as_bytes());
        larger.extend_from_slice(field);
        larger.push(b',');
        self.0 = larger;
        self
    }

    pub(super) fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    pub(super) fn number(self, field: impl ToString + Copy) -> Self {
        self.text(&field.to_string())
    }

    /// A count and then each of them.
    pub(super) fn list<T>(self, items: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        let counted = self.number(items.len());
        items.iter().fold(counted, write)
    }

    pub(super) fn done(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// Takes fields apart; `None` for anything that no [`Writer`] wrote.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let colon = self.0.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&self.0[..colon]).ok()?.parse().ok()?;
        let rest = &self.0[colon + 1..];
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest.strip_prefix(b",")?;
        Some(field)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        std::str::from_utf8(self.bytes()?).ok()?.parse().ok()
    }

    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count: usize = self.number()?;
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back(fields: Vec<Vec<u8>>) {
            let bytes = Writer::default().list(&fields, |out, field| out.bytes(field)).done();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.list(|each| each.bytes().map(<[u8]>::to_vec)), Some(fields));
            prop_assert!(reader.bytes().is_none());
        }

        #[test]
        fn foreign_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.bytes().is_some() {}
            let _ = Reader::new(&bytes).list(|each| each.number::<u32>());
        }
    }
}
