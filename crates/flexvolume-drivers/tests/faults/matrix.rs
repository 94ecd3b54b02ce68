//! The matrix: what is done to a volume, what goes wrong meanwhile, and what must hold then.

/// A step in the life of a volume: one call-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `waitforattach` of a volume that is not there.
    Create,
    /// `mountdevice` of a volume that is there and has data.
    Mount,
    /// `expandfs` of a mounted volume.
    Grow,
    /// `unmountdevice`.
    Unmount,
    /// `mount` of an ephemeral volume, which makes it.
    Publish,
    /// `unmount` of an ephemeral volume, which removes it.
    Delete,
}

pub(crate) const STEPS: [Step; 6] =
    [Step::Create, Step::Mount, Step::Grow, Step::Unmount, Step::Publish, Step::Delete];

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Create => "create",
            Step::Mount => "mount",
            Step::Grow => "grow",
            Step::Unmount => "unmount",
            Step::Publish => "publish",
            Step::Delete => "delete",
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    DriverKilled,
    ToolKilled,
    NoSpace,
    IoError,
    LockHeld,
    DeviceAbsent,
    DuplicateGroup,
    OtherOwner,
    ForeignContents,
    Restart,
    TwoCallers,
    Busy,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::DriverKilled => "driver-killed",
            Fault::ToolKilled => "tool-killed",
            Fault::NoSpace => "no-space",
            Fault::IoError => "io-error",
            Fault::LockHeld => "lock-held",
            Fault::DeviceAbsent => "device-absent",
            Fault::DuplicateGroup => "duplicate-group",
            Fault::OtherOwner => "other-owner",
            Fault::ForeignContents => "foreign-contents",
            Fault::Restart => "restart",
            Fault::TwoCallers => "two-callers",
            Fault::Busy => "busy",
        }
    }
}

/// What must hold. Always, besides: no byte of a previous owner is visible, no own byte is lost, no foreign volume is
/// changed, nothing is left over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// The call may fail. When the fault is gone, the next call succeeds, and so does the one after it.
    Converges,
    /// The call fails with all of these words and changes nothing; when the fault is gone, the next call succeeds.
    Refuses(&'static [&'static str]),
    /// The call succeeds in spite of the fault.
    Succeeds,
    /// There is no such case, because …
    Never(&'static str),
}

/// A fault, and what is expected of each step.
pub(crate) struct Row {
    pub(crate) fault: Fault,
    /// What is done, for the document.
    pub(crate) how: &'static str,
    /// In the order of `STEPS`.
    pub(crate) cells: [Expect; STEPS.len()],
}

use Expect::{Converges, Never, Refuses, Succeeds};

const NEW: &str = "there is no volume yet";
const NOT_LOOKED_AT: &str = "the call does not look at it";

/// The driver `loop`, and `loop-ephemeral` for the last two steps.
pub(crate) const LOOP: &[Row] = &[
    Row {
        fault: Fault::DriverKilled,
        how: "SIGKILL at each of the driver's fail points",
        cells: [Converges; 6],
    },
    Row {
        fault: Fault::ToolKilled,
        how: "each tool that the call starts is ended by SIGKILL: before its first instruction, at its 1st and 16th write, and after it has done its work",
        cells: [
            Converges,
            Converges,
            Converges,
            Never("no tool is started"),
            Converges,
            Never("no tool is started"),
        ],
    },
    Row {
        fault: Fault::NoSpace,
        how: "the pool's disk has 0, 4 KiB, 64 KiB, 1 MiB or all but 4 KiB of the volume's size left",
        cells: [Converges, Converges, Converges, Succeeds, Converges, Succeeds],
    },
    Row {
        fault: Fault::IoError,
        how: "the disk below answers with errors",
        cells: [Never("below a file is another file system, which has its own tests"); 6],
    },
    Row {
        fault: Fault::LockHeld,
        how: "another process holds the volume's lock for a second",
        cells: [Succeeds, Succeeds, Succeeds, Succeeds, Succeeds, Succeeds],
    },
    Row {
        fault: Fault::DeviceAbsent,
        how: "the image of a volume whose record says `ready` is away",
        cells: [
            Refuses(&["cannot know", "is missing, but its record says ready", "bring the image back"]),
            Refuses(&["cannot know", "is missing, but its record says ready", "bring the image back"]),
            Refuses(&["cannot know", "is missing, but its record says ready", "bring the image back"]),
            Refuses(&["not ours", "which is no volume of this driver", "bring that back"]),
            Refuses(&["cannot know", "is missing, but its record says ready", "bring the image back"]),
            Refuses(&["data.img"]),
        ],
    },
    Row {
        fault: Fault::DuplicateGroup,
        how: "two volume groups of one name",
        cells: [Never("there are no volume groups"); 6],
    },
    Row {
        fault: Fault::OtherOwner,
        how: "the record of the volume says that another driver made it",
        cells: [
            Refuses(&["not ours", "belongs to the driver \"somebody/else\""]),
            Refuses(&["not ours", "belongs to the driver \"somebody/else\""]),
            Refuses(&["not ours", "belongs to the driver \"somebody/else\""]),
            Never(NOT_LOOKED_AT),
            Refuses(&["not ours", "belongs to the driver \"somebody/else\""]),
            Refuses(&["not ours", "belongs to the driver \"somebody/else\""]),
        ],
    },
    Row {
        fault: Fault::ForeignContents,
        how: "create, publish: an image without a record is in the volume's place; otherwise the file system in the image \
            has another UUID than the record",
        cells: [
            Refuses(&["not ours", "has no record beside it"]),
            Refuses(&["not ours", "but its record says"]),
            Never("the file system is mounted"),
            Never(NOT_LOOKED_AT),
            Refuses(&["not ours", "has no record beside it"]),
            Never("what is in it is given up"),
        ],
    },
    Row {
        fault: Fault::Restart,
        how: "the machine stopped while the volume was mounted: no mount, no device, and the journal is not empty",
        cells: [Succeeds, Succeeds, Converges, Succeeds, Succeeds, Succeeds],
    },
    Row { fault: Fault::TwoCallers, how: "four calls at once", cells: [Succeeds; 6] },
    Row {
        fault: Fault::Busy,
        how: "mount, publish: something else is mounted at the mount dir; grow: the volume is being written to; unmount, \
            delete: a file is open",
        cells: [
            Never(NEW),
            Refuses(&["is the mount point of foreign"]),
            Succeeds,
            Refuses(&["is still in use", "fuser"]),
            Refuses(&["is the mount point of foreign"]),
            Refuses(&["is still in use", "fuser"]),
        ],
    },
];

const SAYS_TWO: Expect = Refuses(&["cannot know", "there are 2 volume groups vg0", "vgrename"]);
const SAYS_AWAY: Expect = Refuses(&["cannot know", "there is no volume group vg0", "is its disk attached?"]);
const IN_USE: &str = "the disk of a mounted volume answers with errors when it goes: see io-error";

/// The driver `lvm`, and `lvm-ephemeral` for the last two steps.
pub(crate) const LVM: &[Row] = &[
    Row {
        fault: Fault::DriverKilled,
        how: "SIGKILL at each of the driver's fail points",
        cells: [Converges; 6],
    },
    Row {
        fault: Fault::ToolKilled,
        how: "each tool that the call starts is ended by SIGKILL: before its first instruction, at its 8th and 24th \
            `ioctl` (LVM) or 1st and 16th write (others), and after it has done its work",
        cells: [Converges, Converges, Converges, Never("no tool is started"), Converges, Converges],
    },
    Row {
        fault: Fault::NoSpace,
        how: "the volume group has no extent left, or one of the two that are needed",
        cells: [
            Refuses(&["volume group vg0 has no room", "bytes are needed and"]),
            Succeeds,
            Refuses(&["volume group vg0 has no room", "bytes are needed and"]),
            Succeeds,
            Refuses(&["volume group vg0 has no room", "bytes are needed and"]),
            Succeeds,
        ],
    },
    Row {
        fault: Fault::IoError,
        how: "the disk answers with errors: everywhere, everywhere but for LVM's metadata, or in the last mebibyte of the \
            volume only",
        cells: [Converges; 6],
    },
    Row {
        fault: Fault::LockHeld,
        how: "another process holds the lock of the volume, or LVM's lock of the group, for a second",
        cells: [Succeeds; 6],
    },
    Row {
        fault: Fault::DeviceAbsent,
        how: "the disk of the group is away",
        cells: [SAYS_AWAY, SAYS_AWAY, Never(IN_USE), Never(IN_USE), SAYS_AWAY, Never(IN_USE)],
    },
    Row {
        fault: Fault::DuplicateGroup,
        how: "another disk has a group of the same name, with a volume of the same name",
        cells: [SAYS_TWO, SAYS_TWO, SAYS_TWO, Succeeds, SAYS_TWO, SAYS_TWO],
    },
    Row {
        fault: Fault::OtherOwner,
        how: "the tags of the volume say that another driver made it; create: or it has none",
        cells: [
            Refuses(&["not ours", "nothing was changed"]),
            Refuses(&["not ours", "belongs to the driver \"somebody\""]),
            Refuses(&["not ours", "belongs to the driver \"somebody\""]),
            Never(NOT_LOOKED_AT),
            Refuses(&["not ours", "belongs to the driver \"somebody\""]),
            Never("a volume that says it is somebody's is left where it is, and the mount dir is free"),
        ],
    },
    Row {
        fault: Fault::ForeignContents,
        how: "create, publish: where the volume will lie there is an ext4, xfs, btrfs, LUKS, RAID, partition table or ISO 9660 \
            of a previous owner; otherwise the file system has another UUID than the tags",
        cells: [
            Succeeds,
            Refuses(&["not ours", "but its tags say"]),
            Never("the file system is mounted"),
            Never(NOT_LOOKED_AT),
            Succeeds,
            Never("what is in it is given up"),
        ],
    },
    Row {
        fault: Fault::Restart,
        how: "the machine started anew: no mount, and the volume is not active",
        cells: [Succeeds, Succeeds, Converges, Succeeds, Succeeds, Succeeds],
    },
    Row { fault: Fault::TwoCallers, how: "four calls at once", cells: [Succeeds; 6] },
    Row {
        fault: Fault::Busy,
        how: "mount, publish: something else is mounted at the mount dir; grow: the volume is being written to; unmount, \
            delete: a file is open",
        cells: [
            Never(NEW),
            Refuses(&["is the mount point of foreign"]),
            Succeeds,
            Refuses(&["is still in use", "fuser"]),
            Refuses(&["is the mount point of foreign"]),
            Refuses(&["is still in use", "fuser"]),
        ],
    },
];

/// A word that a filter can be matched with: `loop create driver-killed`.
pub(crate) fn case_name(subject: &str, step: Step, fault: Fault) -> String {
    format!("{subject}/{}/{}", step.name(), fault.name())
}
