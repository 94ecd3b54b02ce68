//! Where a demo can run, from the best to the least.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::keeper::MARK;
use crate::process;

/// What is allowed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Place {
    /// Root with loop devices: volumes on disk.
    Loop,
    /// A user and mount namespace: volumes in memory.
    Memory,
    /// No mounts at all: plain directories.
    Scratch,
}

impl Place {
    /// The argument that stands for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Place::Loop => "loop",
            Place::Memory => "memory",
            Place::Scratch => "scratch",
        }
    }

    /// The drivers that are shown.
    pub(super) fn drivers(self) -> &'static [&'static str] {
        match self {
            Place::Loop => &["loop", "loop-ephemeral"],
            Place::Memory => &["memory"],
            Place::Scratch => &["scratch"],
        }
    }

    /// What is shown, and what is not.
    pub(super) fn announcement(self) -> &'static str {
        match self {
            Place::Loop => {
                "Root with loop devices: showing the drivers loop and loop-ephemeral, in a private mount namespace."
            }
            Place::Memory => {
                "No root or no loop devices here: showing the driver memory in a user and mount namespace. \
                 Not shown: volumes on disk, data that outlives the pod."
            }
            Place::Scratch => {
                "Neither loop devices nor user namespaces here: showing the driver scratch, which mounts nothing. \
                 Not shown: mounts, an enforced size, containers with their own view, data that outlives the pod."
            }
        }
    }

    /// The start of a command that runs `program` there.
    pub(super) fn command(self, flexvol: &Path, program: &Path) -> Command {
        let mut command = match self {
            Place::Loop => Command::new("unshare"),
            Place::Memory => Command::new(flexvol),
            Place::Scratch => return Command::new(program),
        };
        match self {
            Place::Loop => command.args(["--mount", "--propagation", "private"]),
            Place::Memory | Place::Scratch => command.args(["in-user-namespace", "--"]),
        };
        command.arg(program);
        command
    }
}

/// Tries what is possible, best first. Each trial is the real thing in small.
pub(super) fn choose(flexvol: &Path, folder: &Path) -> Result<Place> {
    if works(
        Command::new("sh")
            .args(["-c", "test \"$(id -u)\" = 0 && test -w /dev/loop-control && unshare --mount true"]),
    ) {
        if !process::is_installed("mkfs.ext4") {
            bail!("mkfs.ext4 is missing: install the package e2fsprogs");
        }
        if works(trial(Place::Loop, flexvol).arg(LOOP_TRIAL).current_dir(folder).env(MARK, folder)) {
            return Ok(Place::Loop);
        }
    }
    if works(trial(Place::Memory, flexvol).arg(MEMORY_TRIAL).current_dir(folder).env(MARK, folder)) {
        return Ok(Place::Memory);
    }
    Ok(Place::Scratch)
}

const LOOP_TRIAL: &str = "PATH=$PATH:/usr/sbin:/sbin; mkdir -p trial && truncate -s 1M trial.img && mkfs.ext4 -q trial.img \
    && mount -o loop trial.img trial && umount trial && rm trial.img && rmdir trial";
const MEMORY_TRIAL: &str = "mkdir -p trial && mount -t tmpfs none trial && umount trial && rmdir trial";

fn trial(place: Place, flexvol: &Path) -> Command {
    let mut command = place.command(flexvol, Path::new("sh"));
    command.arg("-c");
    command
}

fn works(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null());
    process::output(command).is_ok_and(|output| output.status.success())
}
