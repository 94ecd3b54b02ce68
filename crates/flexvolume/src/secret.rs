//! Values that must not be seen.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that no log, error, record or debug print may show; wiped when dropped.
///
/// There is no `Display` and no `Serialize`; [`Secret::expose`] is the one way to the bytes, so that every use can
/// be found by its name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes. Hand them to the one who needs them and to nobody else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn no_debug_print_shows_it() {
        let options = Options {
            secrets: [("password".to_owned(), Secret::new("swordfish"))].into(),
            ..Options::default()
        };
        let printed = format!("{options:?} {:#?}", options.secrets);
        assert!(printed.contains("password") && printed.contains("Secret(redacted)"), "{printed}");
        assert!(!printed.contains("swordfish") && !printed.contains("115"), "{printed}");
    }
}
