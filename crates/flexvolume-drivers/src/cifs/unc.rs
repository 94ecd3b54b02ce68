//! Names of shares as manifests write them: `//server/share/directory`, `\\server\share`.

use flexvolume_os::network_mount::Subdirectory;
use flexvolume_os::reach::{Host, HostError};
use thiserror::Error;

/// A share, and what below it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unc {
    /// The server.
    pub server: Host,
    /// The share, without separators.
    pub share: String,
    /// A directory in the share.
    pub directory: Option<Subdirectory>,
}

/// Text that names no share.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UncError {
    /// There are not two slashes in front.
    #[error("it must begin with two slashes, such as \"//files.example.com/data\"")]
    Front,
    /// Nothing follows the server.
    #[error("it must name a share behind the server, such as \"//files.example.com/data\"")]
    NoShare,
    /// A part is empty, `.` or `..`.
    #[error("it must be without `.`, `..` and empty parts")]
    Part,
    /// It has a character that no name has.
    #[error("it has a control character")]
    Control,
    /// The server is none.
    #[error("the server: {0}")]
    Host(#[from] HostError),
}

impl Unc {
    /// Reads `//server/share`, perhaps with a directory of the share behind it. Slashes of both kinds do.
    ///
    /// # Errors
    /// [`UncError`].
    pub fn parse(text: &str) -> Result<Self, UncError> {
        let text = text.replace('\\', "/");
        let rest = text.strip_prefix("//").filter(|rest| !rest.starts_with('/')).ok_or(UncError::Front)?;
        let (server, rest) = rest.split_once('/').ok_or(UncError::NoShare)?;
        Self::of(Host::parse(server)?, rest)
    }

    /// The share that `text` names at a server, `data` or `/data/directory`. Slashes of both kinds do.
    ///
    /// # Errors
    /// [`UncError`].
    pub fn of(server: Host, text: &str) -> Result<Self, UncError> {
        if text.contains(char::is_control) {
            return Err(UncError::Control);
        }
        let text = text.replace('\\', "/");
        let inner = text.trim_matches('/');
        let (share, directory) =
            inner.split_once('/').map_or((inner, None), |(share, directory)| (share, Some(directory)));
        match share {
            "" => return Err(UncError::NoShare),
            "." | ".." => return Err(UncError::Part),
            _ => {}
        }
        let directory = directory.map(|text| Subdirectory::parse(text).ok_or(UncError::Part)).transpose()?;
        Ok(Self { server, share: share.to_owned(), directory })
    }

    /// Server and share, as they stand in the mount table. An IPv6 address has no brackets there.
    #[must_use]
    pub fn source(&self) -> String {
        let server = self.server.to_string();
        format!("//{}/{}", server.trim_start_matches('[').trim_end_matches(']'), self.share)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_ways_of_writing_are_read() {
        for (text, source, directory) in [
            ("//files.example.com/data", "//files.example.com/data", None),
            (r"\\files\data", "//files/data", None),
            ("//10.0.0.1/data/", "//10.0.0.1/data", None),
            ("//[fd00::1]/odd, \"name\"/a b/c", "//fd00::1/odd, \"name\"", Some("a b/c")),
            (r"\\fd00::1\data\a\b\", "//fd00::1/data", Some("a/b")),
            ("//a.file.core.windows.net/x$", "//a.file.core.windows.net/x$", None),
        ] {
            let unc = Unc::parse(text).unwrap();
            assert_eq!(unc.source(), source);
            assert_eq!(unc.directory.map(|directory| directory.path()).as_deref(), directory);
        }
        let unc = Unc::of(Host::parse("files").unwrap(), "/data/papers").unwrap();
        assert_eq!((unc.source().as_str(), unc.share.as_str()), ("//files/data", "data"));
    }

    #[test]
    fn what_names_no_share_is_refused() {
        for (text, wanted) in [
            ("", UncError::Front),
            ("files:/data", UncError::Front),
            ("/files/data", UncError::Front),
            ("///files/data", UncError::Front),
            ("//files", UncError::NoShare),
            ("//files//", UncError::NoShare),
            ("//files/..", UncError::Part),
            ("//files/data/../other", UncError::Part),
            (r"//files/data\..\other", UncError::Part),
            ("//files/data/x//y", UncError::Part),
            ("//files/da\nta", UncError::Control),
            ("//files/da\0ta", UncError::Control),
        ] {
            assert_eq!(Unc::parse(text), Err(wanted), "{text:?}");
        }
        for bad in ["///x", "//a,b/data", "//a b/data", "//-o/data", "//fe80::1%eth0/data"] {
            assert!(Unc::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_names_one_share_and_is_read_again(text in r#"(//|\\\\)[a-z.:\[\]/\\,\n" ]{0,40}"#) {
            if let Ok(unc) = Unc::parse(&text) {
                let source = unc.source();
                prop_assert_eq!(source.matches('/').count(), 3);
                prop_assert!(!source.contains(['\\', '\n', '\0', '[', ']']) || unc.share.contains(['[', ']']));
                let again = Unc::parse(&source).unwrap();
                prop_assert_eq!((again.server, again.share), (unc.server, unc.share));
            }
        }
    }
}
