//! The external programs, where they are looked for, and the packages that have them.

use std::path::PathBuf;

/// An external program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its file name.
    pub name: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

impl Tool {
    /// Looks in `PATH` and then in the usual directories, since a daemon may have no `PATH`.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        todo!()
    }
}
