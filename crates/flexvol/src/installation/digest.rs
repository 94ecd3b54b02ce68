//! What a file holds, in 64 digits.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digest(String);

impl Digest {
    /// Reads 64 hexadecimal digits, with or without `sha256:` before them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        let well_formed = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        well_formed.then_some(Self(digits))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough to tell versions apart by eye.
    pub(crate) fn short(&self) -> String {
        format!("sha256:{}", self.0.get(..12).unwrap_or(&self.0))
    }
}

/// A file's content and who may do what with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Facts {
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    pub(crate) mode: u32,
}

impl Facts {
    /// Looks at a file. A link, a directory or anything else is `InvalidInput`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if !std::fs::symlink_metadata(path)?.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        Self::of_target(path)
    }

    /// Looks at a file, links followed.
    pub(crate) fn of_target(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let (sha256, size) = copy(&mut file, &mut io::sink())?;
        Ok(Self { sha256, size, mode: metadata.mode() & 0o7777 })
    }
}

/// Copies everything; answers what and how much it was.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let bytes = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(bytes);
        to.write_all(bytes)?;
        size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }
    let mut digits = String::with_capacity(64);
    for byte in hash.finalize() {
        // A string takes everything.
        let _ = write!(digits, "{byte:02x}");
    }
    Ok((Digest(digits), size))
}

/// Facts of files that were looked at before and have not been touched since.
#[derive(Debug, Default)]
pub(crate) struct KnownFacts(HashMap<PathBuf, (Touched, Facts)>);

type Touched = (u64, u64, u64, (i64, i64), (i64, i64));

impl KnownFacts {
    /// [`Facts::of`], without reading a file twice.
    pub(crate) fn of(&mut self, path: &Path) -> io::Result<Facts> {
        self.look(path, &std::fs::symlink_metadata(path)?, Facts::of)
    }

    /// [`Facts::of_target`], without reading a file twice.
    pub(crate) fn of_target(&mut self, path: &Path) -> io::Result<Facts> {
        self.look(path, &std::fs::metadata(path)?, Facts::of_target)
    }

    fn look(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        look: impl Fn(&Path) -> io::Result<Facts>,
    ) -> io::Result<Facts> {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let touched = (metadata.dev(), metadata.ino(), metadata.size(), modified, changed);
        match self.0.get(path) {
            Some((known, facts)) if *known == touched => Ok(facts.clone()),
            _ => {
                let facts = look(path)?;
                self.0.insert(path.to_owned(), (touched, facts.clone()));
                Ok(facts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_sha256sum() {
        let (digest, size) = copy(&mut &b"abc"[..], &mut io::sink()).unwrap();
        assert_eq!(digest.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((size, digest.short().as_str()), (3, "sha256:ba7816bf8f01"));
        assert_eq!(Digest::parse(&format!("sha256:{}", digest.as_str().to_uppercase())), Some(digest));
        assert_eq!(Digest::parse("ba7816"), None);
    }

    #[test]
    fn a_file_is_read_again_when_it_was_touched_and_a_link_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("a"), directory.path().join("link"));
        std::fs::write(&file, "one").unwrap();
        let mut known = KnownFacts::default();
        let one = known.of(&file).unwrap();
        assert_eq!(known.of(&file).unwrap(), one);
        std::fs::write(&file, "another").unwrap();
        assert_ne!(known.of(&file).unwrap(), one);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        known.of(&link).unwrap_err();
        assert_eq!(known.of_target(&link).unwrap().size, 7);
    }
}
