//! The control folder: what the guest is told, and where it answers. `vm/guest/init` reads it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::quote;
use crate::workspace::root;

/// A folder of this machine that the guest sees at the same path.
#[derive(Debug, Clone)]
pub(super) struct Share {
    /// Its absolute path.
    pub(super) folder: PathBuf,
    /// What the guest may do.
    pub(super) access: Access,
}

/// What the guest may do with a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Whether udevd runs in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Udev {
    Running,
    Absent,
}

/// What the guest is told.
#[derive(Debug)]
pub(super) struct Orders<'a> {
    pub(super) shares: &'a [Share],
    pub(super) disks: usize,
    pub(super) udev: Udev,
    pub(super) environment: &'a [(String, String)],
    pub(super) command: &'a [OsString],
}

/// The control folder.
#[derive(Debug)]
pub(super) struct Control {
    folder: PathBuf,
}

impl Control {
    /// Makes the folder, which must be new.
    pub(super) fn new(folder: PathBuf, orders: &Orders<'_>) -> Result<Self> {
        let guest = folder.join("guest");
        fs::create_dir_all(&guest).with_context(|| format!("cannot make {}", guest.display()))?;
        for entry in fs::read_dir(root().join("vm/guest")).context("cannot read vm/guest")? {
            let file = entry?.path();
            let copy = guest.join(file.file_name().unwrap_or_default());
            fs::copy(&file, copy).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        let control = Self { folder };
        control.write("config", &config(orders))?;
        control.write("command", &command(orders))?;
        Ok(control)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the command was started.
    pub(super) fn started(&self) -> bool {
        self.folder.join("started").exists()
    }

    /// The command's exit status, if it has ended.
    pub(super) fn status(&self) -> Option<u8> {
        fs::read_to_string(self.folder.join("status")).ok()?.trim().parse().ok()
    }
}

/// The tag by which the guest mounts a share.
pub(super) fn tag(number: usize) -> String {
    format!("share{number}")
}

fn config(orders: &Orders<'_>) -> String {
    let udev = if orders.udev == Udev::Running { "yes" } else { "no" };
    let mut text = format!("UDEV={udev} DISKS={}\nmounts() {{\n", orders.disks);
    for (number, share) in orders.shares.iter().enumerate() {
        let access = if share.access == Access::Read { "ro" } else { "rw" };
        let _ = writeln!(text, "  share {} {} {access}", tag(number), word(share.folder.as_os_str()));
    }
    text + "  :\n}\n"
}

fn command(orders: &Orders<'_>) -> String {
    let mut text = String::new();
    for (name, value) in orders.environment {
        let _ = writeln!(text, "export {name}={}", quote(value));
    }
    let _ = writeln!(text, "cd {} || exit", word(root().as_os_str()));
    let words: Vec<_> = orders.command.iter().map(|argument| word(argument)).collect();
    text + "exec " + &words.join(" ") + "\n"
}

fn word(text: &OsStr) -> String {
    quote(&text.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_is_told_in_words_for_its_shell() {
        let shares = [Share { folder: "/a b".into(), access: Access::Read }];
        let orders = Orders {
            shares: &shares,
            disks: 2,
            udev: Udev::Absent,
            environment: &[("A".to_owned(), "it's".to_owned())],
            command: &["printf".into(), "%s\\n".into(), "$HOME".into()],
        };
        assert_eq!(config(&orders), "UDEV=no DISKS=2\nmounts() {\n  share share0 '/a b' ro\n  :\n}\n");
        let command = command(&orders);
        assert!(command.starts_with("export A='it'\\''s'\ncd "), "{command}");
        assert!(command.ends_with("\nexec printf '%s\\n' '$HOME'\n"), "{command}");
    }
}
