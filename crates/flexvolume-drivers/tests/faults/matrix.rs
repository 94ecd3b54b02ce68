//! The matrix: what is done to a volume, what goes wrong meanwhile, and what must hold then.
//! Always, besides: no byte of a previous owner is visible, no own byte is lost, no foreign volume is changed, nothing is left over.

use crate::table::Expect;

/// A step in the life of a volume: one call-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `waitforattach` of a volume that is not there.
    Create,
    /// The same, spread over two disks.
    Striped,
    /// The same, on two disks at once.
    Raid1,
    /// The same, with blocks that are taken when they are written; from a thin pool that is made too.
    Thin,
    /// `waitforattach` of a volume that begins as a copy of the neighbour.
    Copy,
    /// `waitforattach` of a volume that begins as a snapshot of one in the same thin pool.
    Snapshot,
    /// `mountdevice` of a volume that is there and has data.
    Mount,
    /// `expandfs` of a mounted volume.
    Grow,
    /// `unmountdevice`.
    Unmount,
    /// `deletevolume` of a volume whose data is erased first.
    DeleteVolume,
    /// `mount` of an ephemeral volume, which makes it.
    Publish,
    /// `unmount` of an ephemeral volume, which removes it.
    Delete,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Create => "create",
            Step::Striped => "striped",
            Step::Raid1 => "raid1",
            Step::Thin => "thin",
            Step::Copy => "copy",
            Step::Snapshot => "snapshot",
            Step::Mount => "mount",
            Step::Grow => "grow",
            Step::Unmount => "unmount",
            Step::DeleteVolume => "deletevolume",
            Step::Publish => "publish",
            Step::Delete => "delete",
        }
    }

    /// Whether it makes a volume that stays.
    pub(crate) fn makes(self) -> bool {
        matches!(self, Step::Create | Step::Striped | Step::Raid1 | Step::Thin) || self.copies()
    }

    /// Whether the new volume begins with what another one has.
    pub(crate) fn copies(self) -> bool {
        matches!(self, Step::Copy | Step::Snapshot)
    }

    /// Whether it is about a pod's own volume.
    pub(crate) fn ephemeral(self) -> bool {
        matches!(self, Step::Publish | Step::Delete)
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
    /// Whether it can only befall a volume that is there, also where the step makes one.
    pub(crate) fn needs_volume(self) -> bool {
        matches!(self, Fault::DeviceAbsent | Fault::OtherOwner | Fault::Restart)
    }

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

/// A fault, and what is expected of each step.
pub(crate) struct Row {
    pub(crate) fault: Fault,
    /// What is done, for the document.
    pub(crate) how: &'static str,
    /// In the order of the steps.
    pub(crate) cells: &'static [Expect],
}

/// What is done with the volumes of a driver.
pub(crate) struct Matrix {
    pub(crate) steps: &'static [Step],
    pub(crate) rows: &'static [Row],
}

impl Matrix {
    /// Every cell: its step, its fault, and what is expected.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (Step, Fault, Expect)> {
        self.rows.iter().flat_map(|row| {
            assert_eq!(row.cells.len(), self.steps.len(), "{}: a cell for each step", row.fault.name());
            self.steps.iter().zip(row.cells).map(|(step, expect)| (*step, row.fault, *expect))
        })
    }
}

use Expect::{Converges, Never, Refuses, Succeeds};

const NEW: &str = "there is no volume yet";
const NOT_LOOKED_AT: &str = "the call does not look at it";
const NO_TOOL: &str = "no tool is started";
const GIVEN_UP: &str = "what is in it is given up";
const COPIED: &str = "all of it is written over with the source";
const IS_MOUNTED: &str = "the file system is mounted";
const MOUNT_POINT_OF_ANOTHER: Expect = Refuses(&["is the mount point of foreign"]);
const IN_USE: Expect = Refuses(&["is still in use", "fuser"]);

/// The driver `loop`, and `loop-ephemeral` for the last two steps.
pub(crate) const LOOP: Matrix = Matrix {
    steps: &[
        Step::Create,
        Step::Thin,
        Step::Copy,
        Step::Mount,
        Step::Grow,
        Step::Unmount,
        Step::DeleteVolume,
        Step::Publish,
        Step::Delete,
    ],
    rows: LOOP_ROWS,
};

const IMAGE_MISSING: Expect =
    Refuses(&["cannot know", "is missing, but its record says ready", "bring the image back"]);
const RECORD_OF_ANOTHER: Expect = Refuses(&["not ours", "belongs to the driver \"somebody/else\""]);
const NO_RECORD: Expect = Refuses(&["not ours", "has no record beside it"]);

const LOOP_ROWS: &[Row] = &[
    Row {
        fault: Fault::DriverKilled,
        how: "SIGKILL at each of the driver's fail points",
        cells: &[Converges; 9],
    },
    Row {
        fault: Fault::ToolKilled,
        how: "each tool that the call starts is ended by SIGKILL: before its first instruction, at its 1st and 16th write, and after it has done its work",
        cells: &[
            Converges,
            Converges,
            Converges,
            Converges,
            Converges,
            Never(NO_TOOL),
            Never(NO_TOOL),
            Converges,
            Never(NO_TOOL),
        ],
    },
    Row {
        fault: Fault::NoSpace,
        how: "the pool's disk has 0, 4 KiB, 64 KiB, 1 MiB or all but 4 KiB of the volume's size left",
        cells: &[
            // What is erased first must be on record as being removed, for which there may be no block.
            Converges, Converges, Converges, Converges, Converges, Succeeds, Converges, Converges, Succeeds,
        ],
    },
    Row {
        fault: Fault::IoError,
        how: "the disk below answers with errors",
        cells: &[Never("below a file is another file system, which has its own tests"); 9],
    },
    Row {
        fault: Fault::LockHeld,
        how: "another process holds the volume's lock for a second",
        cells: &[Succeeds; 9],
    },
    Row {
        fault: Fault::DeviceAbsent,
        how: "the image of a volume whose record says `ready` is away",
        cells: &[
            IMAGE_MISSING,
            IMAGE_MISSING,
            IMAGE_MISSING,
            IMAGE_MISSING,
            IMAGE_MISSING,
            Refuses(&["not ours", "which is no volume of this driver", "bring that back"]),
            IMAGE_MISSING,
            IMAGE_MISSING,
            Refuses(&["data.img"]),
        ],
    },
    Row {
        fault: Fault::DuplicateGroup,
        how: "two volume groups of one name",
        cells: &[Never("there are no volume groups"); 9],
    },
    Row {
        fault: Fault::OtherOwner,
        how: "the record of the volume says that another driver made it",
        cells: &[
            RECORD_OF_ANOTHER,
            RECORD_OF_ANOTHER,
            RECORD_OF_ANOTHER,
            RECORD_OF_ANOTHER,
            RECORD_OF_ANOTHER,
            Never(NOT_LOOKED_AT),
            RECORD_OF_ANOTHER,
            RECORD_OF_ANOTHER,
            RECORD_OF_ANOTHER,
        ],
    },
    Row {
        fault: Fault::ForeignContents,
        how: "create, thin, copy, publish: an image without a record is in the volume's place; otherwise the file system in \
            the image has another UUID than the record",
        cells: &[
            NO_RECORD,
            NO_RECORD,
            NO_RECORD,
            Refuses(&["not ours", "but its record says"]),
            Never(IS_MOUNTED),
            Never(NOT_LOOKED_AT),
            Never(GIVEN_UP),
            NO_RECORD,
            Never(GIVEN_UP),
        ],
    },
    Row {
        fault: Fault::Restart,
        how: "the machine stopped while the volume was mounted: no mount, no device, and the journal is not empty",
        cells: &[Succeeds, Succeeds, Succeeds, Succeeds, Converges, Succeeds, Succeeds, Succeeds, Succeeds],
    },
    Row { fault: Fault::TwoCallers, how: "four calls at once", cells: &[Succeeds; 9] },
    Row {
        fault: Fault::Busy,
        how: "mount, publish: something else is mounted at the mount dir; grow: the volume is being written to; unmount, \
            delete: a file is open; deletevolume: the volume is mounted",
        cells: &[
            Never(NEW),
            Never(NEW),
            Never(NEW),
            MOUNT_POINT_OF_ANOTHER,
            Succeeds,
            IN_USE,
            Refuses(&["unmount"]),
            MOUNT_POINT_OF_ANOTHER,
            IN_USE,
        ],
    },
];

const TWO: Expect = Refuses(&["cannot know", "there are 2 volume groups vg0", "vgrename"]);
const AWAY: Expect = Refuses(&["cannot know", "there is no volume group vg0", "is its disk attached?"]);
const IN_USE_AWAY: &str = "the disk of a mounted volume answers with errors when it goes: see io-error";
const NO_ROOM: Expect = Refuses(&["volume group vg0 has no room", "bytes are needed and"]);
const TAGS_OF_ANOTHER: Expect = Refuses(&["not ours", "belongs to the driver \"somebody\""]);
const NAME_OF_ANOTHER: Expect = Refuses(&["not ours", "nothing was changed"]);

/// The driver `lvm`, and `lvm-ephemeral` for the last two steps.
pub(crate) const LVM: Matrix = Matrix {
    steps: &[
        Step::Create,
        Step::Striped,
        Step::Raid1,
        Step::Thin,
        Step::Copy,
        Step::Snapshot,
        Step::Mount,
        Step::Grow,
        Step::Unmount,
        Step::DeleteVolume,
        Step::Publish,
        Step::Delete,
    ],
    rows: LVM_ROWS,
};

const LVM_ROWS: &[Row] = &[
    Row {
        fault: Fault::DriverKilled,
        how: "SIGKILL at each of the driver's fail points",
        cells: &[Converges; 12],
    },
    Row {
        fault: Fault::ToolKilled,
        how: "each tool that the call starts is ended by SIGKILL: before its first instruction, at its 8th and 24th \
            `ioctl` (LVM) or 1st and 16th write (others), and after it has done its work",
        cells: &[
            Converges,
            Converges,
            Converges,
            Converges,
            Converges,
            Converges,
            Converges,
            Converges,
            Never(NO_TOOL),
            Converges,
            Converges,
            Converges,
        ],
    },
    Row {
        fault: Fault::NoSpace,
        how: "the volume group has no extent left, or one where more are needed; snapshot: its thin pool has no block left",
        cells: &[
            NO_ROOM,
            NO_ROOM,
            NO_ROOM,
            NO_ROOM,
            NO_ROOM,
            Refuses(&["is a thin pool that is", "% full", "lvextend"]),
            Succeeds,
            NO_ROOM,
            Succeeds,
            Succeeds,
            NO_ROOM,
            Succeeds,
        ],
    },
    Row {
        fault: Fault::IoError,
        how: "the disk answers with errors: everywhere, everywhere but for LVM's metadata, or in the last mebibyte of the \
            volume only",
        cells: &[Converges; 12],
    },
    Row {
        fault: Fault::LockHeld,
        how: "another process holds the lock of the volume, or LVM's lock of the group, for a second",
        cells: &[Succeeds; 12],
    },
    Row {
        fault: Fault::DeviceAbsent,
        how: "the disks of the group are away",
        cells: &[
            AWAY,
            AWAY,
            AWAY,
            AWAY,
            AWAY,
            AWAY,
            AWAY,
            Never(IN_USE_AWAY),
            Never(IN_USE_AWAY),
            AWAY,
            AWAY,
            Never(IN_USE_AWAY),
        ],
    },
    Row {
        fault: Fault::DuplicateGroup,
        how: "another disk has a group of the same name, with a volume of the same name",
        cells: &[TWO, TWO, TWO, TWO, TWO, TWO, TWO, TWO, Succeeds, TWO, TWO, TWO],
    },
    Row {
        fault: Fault::OtherOwner,
        how: "the tags of the volume say that another driver made it; create: or it has none",
        cells: &[
            NAME_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            Never(NOT_LOOKED_AT),
            TAGS_OF_ANOTHER,
            TAGS_OF_ANOTHER,
            Never("a volume that says it is somebody's is left where it is, and the mount dir is free"),
        ],
    },
    Row {
        fault: Fault::ForeignContents,
        how: "create, striped, raid1, publish: where the volume will lie there is an ext4, xfs, btrfs, LUKS, RAID, partition \
            table or ISO 9660 of a previous owner; otherwise the file system has another UUID than the tags",
        cells: &[
            Succeeds,
            Succeeds,
            Succeeds,
            Never("a thin pool zeroes a block before it gives it to a volume"),
            Never(COPIED),
            Never("it has the blocks of its source"),
            Refuses(&["not ours", "but its tags say"]),
            Never(IS_MOUNTED),
            Never(NOT_LOOKED_AT),
            Never(GIVEN_UP),
            Succeeds,
            Never(GIVEN_UP),
        ],
    },
    Row {
        fault: Fault::Restart,
        how: "the machine started anew: no mount, and the volume is not active",
        cells: &[
            Succeeds, Succeeds, Succeeds, Succeeds, Succeeds, Succeeds, Succeeds, Converges, Succeeds,
            Succeeds, Succeeds, Succeeds,
        ],
    },
    Row { fault: Fault::TwoCallers, how: "four calls at once", cells: &[Succeeds; 12] },
    Row {
        fault: Fault::Busy,
        how: "mount, publish: something else is mounted at the mount dir; grow: the volume is being written to; unmount, \
            delete: a file is open; deletevolume: the volume is mounted",
        cells: &[
            Never(NEW),
            Never(NEW),
            Never(NEW),
            Never(NEW),
            Never(NEW),
            Never(NEW),
            MOUNT_POINT_OF_ANOTHER,
            Succeeds,
            IN_USE,
            Refuses(&["is still in use", "unmount"]),
            MOUNT_POINT_OF_ANOTHER,
            IN_USE,
        ],
    },
];
