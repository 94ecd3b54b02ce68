//! The names of the call-outs.

/// The name of a call-out, spelled as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the call-out of its name, described at `Call`")]
pub enum Verb {
    Init,
    GetVolumeName,
    Attach,
    WaitForAttach,
    IsAttached,
    MountDevice,
    Mount,
    Unmount,
    UnmountDevice,
    Detach,
    ExpandVolume,
    ExpandFs,
}

impl Verb {
    /// All of them, in the order of a volume's life.
    pub const ALL: [Verb; 12] = [
        Verb::Init,
        Verb::GetVolumeName,
        Verb::Attach,
        Verb::WaitForAttach,
        Verb::IsAttached,
        Verb::MountDevice,
        Verb::Mount,
        Verb::Unmount,
        Verb::UnmountDevice,
        Verb::Detach,
        Verb::ExpandVolume,
        Verb::ExpandFs,
    ];

    /// The spelling on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Init => "init",
            Verb::GetVolumeName => "getvolumename",
            Verb::Attach => "attach",
            Verb::WaitForAttach => "waitforattach",
            Verb::IsAttached => "isattached",
            Verb::MountDevice => "mountdevice",
            Verb::Mount => "mount",
            Verb::Unmount => "unmount",
            Verb::UnmountDevice => "unmountdevice",
            Verb::Detach => "detach",
            Verb::ExpandVolume => "expandvolume",
            Verb::ExpandFs => "expandfs",
        }
    }

    /// The call-out of this exact spelling.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    /// The arguments that follow the verb, for a person.
    #[must_use]
    pub fn arguments(self) -> &'static str {
        match self {
            Verb::Init => "",
            Verb::GetVolumeName => "<options>",
            Verb::Attach | Verb::IsAttached => "<options> <node>",
            Verb::WaitForAttach => "<device> <options>",
            Verb::MountDevice => "<device mount path> <device> <options>",
            Verb::Mount => "<mount dir> <options>",
            Verb::Unmount => "<mount dir>",
            Verb::UnmountDevice => "<device mount path>",
            Verb::Detach => "<volume name> <node>",
            Verb::ExpandVolume => "<options> <device mount path> <new size> <old size>",
            Verb::ExpandFs => "<options> <device> <mount dir> <new size> <old size>",
        }
    }
}
