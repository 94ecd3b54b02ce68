//! Directories below what a server exports, where anybody may have planted symlinks.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::codec::{Reader, Writer};

/// What a directory gets that is made because it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Making {
    /// Its permissions, exactly.
    pub mode: u32,
    /// Its owner, `None` for whom the server takes us for.
    pub owner: Option<u32>,
    /// Its group.
    pub group: Option<u32>,
}

/// A relative path of plain names. No symlink is followed in it, and nothing leads out of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subdirectory {
    parts: Vec<String>,
    making: Option<Making>,
}

impl Subdirectory {
    /// Reads `a/b`; slashes in front and behind are dropped. `None` if a part is empty, `.` or `..`, or has a NUL byte.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<String> = text.trim_matches('/').split('/').map(str::to_owned).collect();
        let plain = |part: &String| !matches!(&**part, "" | "." | "..") && !part.contains('\0');
        parts.iter().all(plain).then_some(Self { parts, making: None })
    }

    /// Makes what is missing of it.
    #[must_use]
    pub fn made(self, making: Making) -> Self {
        Self { making: Some(making), ..self }
    }

    /// The path, without slashes at the ends.
    #[must_use]
    pub fn path(&self) -> String {
        self.parts.join("/")
    }

    /// Opens it below `root`; the error names the part that is in the way.
    pub(super) fn open(&self, root: &OwnedFd) -> Result<OwnedFd, (String, Errno)> {
        let mut reached = beneath(root, ".", OFlags::PATH).map_err(|errno| (self.path(), errno))?;
        for part in &self.parts {
            let opened = match (beneath(&reached, part, OFlags::PATH), self.making) {
                (Err(Errno::NOENT), Some(making)) => make(&reached, part, making),
                (other, _) => other,
            };
            reached = opened.map_err(|errno| (part.clone(), errno))?;
        }
        Ok(reached)
    }

    pub(super) fn encode(&self, out: Writer) -> Writer {
        let id = |out: Writer, id: &u32| out.number(*id);
        out.list(&self.parts, |out, part| out.text(part)).list(self.making.as_slice(), |out, making| {
            out.number(making.mode).list(making.owner.as_slice(), id).list(making.group.as_slice(), id)
        })
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Option<Self> {
        let parts = input.list(Reader::text)?.join("/");
        let making = input.list(|input| {
            let mode = input.number()?;
            let owner = input.list(Reader::number)?.pop();
            Some(Making { mode, owner, group: input.list(Reader::number)?.pop() })
        })?;
        Some(Self { making: making.into_iter().next(), ..Self::parse(&parts)? })
    }
}

fn beneath(root: &OwnedFd, part: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(root.as_fd(), part, flags, Mode::empty(), resolve)
}

/// Another node may make it at the same time; then that one decides what it is like.
fn make(parent: &OwnedFd, part: &str, making: Making) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(parent, part, Mode::from_raw_mode(0o700)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return beneath(parent, part, OFlags::PATH),
        Err(errno) => return Err(errno),
    }
    let made = beneath(parent, part, OFlags::RDONLY)?;
    let settled = settle(&made, making);
    if let Err(errno) = settled {
        // Nobody has been told of it yet; what is not empty any more stays.
        let _ = rustix::fs::unlinkat(parent, part, rustix::fs::AtFlags::REMOVEDIR);
        return Err(errno);
    }
    beneath(parent, part, OFlags::PATH)
}

fn settle(made: &OwnedFd, making: Making) -> Result<(), Errno> {
    if making.owner.is_some() || making.group.is_some() {
        rustix::fs::fchown(made, making.owner.map(Uid::from_raw), making.group.map(Gid::from_raw))?;
    }
    // Last: a change of the owner takes set-group-id away.
    rustix::fs::fchmod(made, Mode::from_raw_mode(making.mode))
}

/// This process's mount namespace, to come back to.
pub(super) fn namespace() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, Path::new("/proc/self/ns/mnt"), flags, Mode::empty())
}

/// Back to a namespace of [`namespace`].
pub(super) fn enter(namespace: &OwnedFd) -> Result<(), Errno> {
    let kind = Some(rustix::thread::LinkNameSpaceType::Mount);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)
}

/// Whether this process can leave its namespace: only one with a single thread may.
pub(super) fn is_single() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn open(root: &Path, text: &str, making: Option<Making>) -> Result<OwnedFd, (String, Errno)> {
        let root = OwnedFd::from(std::fs::File::open(root).unwrap());
        Subdirectory { making, ..Subdirectory::parse(text).unwrap() }.open(&root)
    }

    #[test]
    fn only_plain_names_make_a_path() {
        assert_eq!(Subdirectory::parse("/a/b c/").unwrap().path(), "a/b c");
        for bad in ["", "/", "..", "a/..", "a//b", "./a", "a/../b", "a\0b"] {
            assert_eq!(Subdirectory::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn symlinks_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("tenant/real")).unwrap();
        symlink(outside.path(), root.path().join("tenant/absolute")).unwrap();
        symlink("..", root.path().join("tenant/climbing")).unwrap();
        symlink("real", root.path().join("tenant/inside")).unwrap();
        open(root.path(), "tenant/real", None).unwrap();
        for bad in ["tenant/absolute", "tenant/climbing", "tenant/inside", "tenant/absolute/x"] {
            let making = Some(Making { mode: 0o777, owner: None, group: None });
            for making in [None, making] {
                let (part, errno) = open(root.path(), bad, making).unwrap_err();
                assert!(matches!(errno, Errno::LOOP | Errno::NOTDIR | Errno::XDEV), "{part} {errno}");
            }
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_missing_is_made_with_its_mode_and_only_then() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("there")).unwrap();
        std::fs::set_permissions(root.path().join("there"), PermissionsExt::from_mode(0o711)).unwrap();
        let (part, errno) = open(root.path(), "there/a/b", None).unwrap_err();
        assert_eq!((&*part, errno), ("a", Errno::NOENT));
        let making = Some(Making { mode: 0o2770, owner: None, group: None });
        open(root.path(), "there/a/b", making).unwrap();
        let mode = |name: &str| root.path().join(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("there"), mode("there/a"), mode("there/a/b")), (0o711, 0o2770, 0o2770));
    }
}
