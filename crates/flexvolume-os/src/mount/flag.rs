//! Flags of a mount, as opposed to options of its file system.

use rustix::mount::MountFlags;

/// What a mount may be forbidden, or spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the flag of its name in mount(2)")]
pub enum MountFlag {
    NoSuid,
    NoDev,
    NoExec,
    NoAtime,
    NoDirAtime,
}

impl MountFlag {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NoSuid, Self::NoDev, Self::NoExec, Self::NoAtime, Self::NoDirAtime];

    /// `nosuid`, `nodev`, `noexec`, `noatime`, `nodiratime`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuid => "nosuid",
            Self::NoDev => "nodev",
            Self::NoExec => "noexec",
            Self::NoAtime => "noatime",
            Self::NoDirAtime => "nodiratime",
        }
    }

    fn bits(self) -> MountFlags {
        match self {
            Self::NoSuid => MountFlags::NOSUID,
            Self::NoDev => MountFlags::NODEV,
            Self::NoExec => MountFlags::NOEXEC,
            Self::NoAtime => MountFlags::NOATIME,
            Self::NoDirAtime => MountFlags::NODIRATIME,
        }
    }
}

/// Takes the flags out of a list of options, as mount(8) does: to the file system itself they mean nothing.
pub(super) fn split(options: &[String]) -> (MountFlags, Vec<&str>) {
    let flag = |option: &str| MountFlag::ALL.into_iter().find(|flag| flag.as_str() == option);
    let flags = options.iter().filter_map(|option| flag(option)).map(MountFlag::bits).collect();
    (flags, options.iter().map(String::as_str).filter(|option| flag(option).is_none()).collect())
}
