//! Changes to a file system that is there: another UUID for a copy, so that both can be mounted; protection from other
//! machines.

use std::path::Path;
use std::time::Duration;

use super::{FilesystemError, FsType, leaves_sound_ext4, refused, run, succeeded};
use crate::runner::Runner;
use crate::tools;

/// Gives the unmounted file system on `image`, a file or a device, this UUID. An ext4 is checked first, whose journal
/// that replays; XFS and btrfs must have been unmounted cleanly.
///
/// # Errors
/// [`FilesystemError`]; the copy must be thrown away then.
pub fn set_uuid(
    runner: &dyn Runner,
    (fs_type, image): (FsType, &Path),
    uuid: &str,
    deadline: Duration,
) -> Result<(), FilesystemError> {
    if fs_type == FsType::Ext4 {
        // tune2fs refuses one that was not checked completely, since every checksum in it changes.
        let output =
            run(runner, tools::E2FSCK, deadline, |command| command.arguments(["-f", "-p"]).argument(image))?;
        if !leaves_sound_ext4(output.ended) {
            return Err(refused(tools::E2FSCK, image, &output));
        }
    }
    let (tool, words) = match fs_type {
        FsType::Ext4 => (tools::TUNE2FS, ["-U", uuid]),
        FsType::Xfs => (tools::XFS_ADMIN, ["-U", uuid]),
        // -M changes the one field by which the kernel tells file systems apart; -U would rewrite every block.
        FsType::Btrfs => (tools::BTRFSTUNE, ["-M", uuid]),
    };
    let output = run(runner, tool, deadline, |command| command.arguments(words).argument(image))?;
    succeeded(tool, image, &output)
}

/// Gives the unmounted, clean ext4 on `device` multi-mount protection (`tune2fs -O mmp`): from then on a mount is refused
/// while another machine has it mounted, and takes some seconds longer after a crash.
///
/// # Errors
/// [`FilesystemError`]; the file system is as it was.
pub fn protect_from_other_hosts(
    runner: &dyn Runner,
    device: &Path,
    deadline: Duration,
) -> Result<(), FilesystemError> {
    let words = ["-O", "mmp"];
    let output = run(runner, tools::TUNE2FS, deadline, |command| command.arguments(words).argument(device))?;
    succeeded(tools::TUNE2FS, device, &output)
}
