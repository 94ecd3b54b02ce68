//! Questions to a SCSI disk itself, past what the kernel remembers of it.

use std::fs::File;
use std::io;
use std::time::Duration;

use crate::kernel::{self, ScsiRead};

const PATIENCE: Duration = Duration::from_secs(10);
/// A disk to which something has happened says so once, instead of carrying out a command: it was reset, or its
/// reservations have changed.
const ATTENTION: u8 = 6;
const TRIES: usize = 4;
/// No page of identities is longer in practice.
const LONGEST_PAGE: u8 = 252;

/// What the disk says of who it is: page 0x83 of its vital product data, as it comes. To be compared with
/// [`Disk::page`](crate::iscsi::Disk::page), which is what the kernel remembers.
///
/// # Errors
/// The system's; also when the disk refuses.
pub fn identity(device: &File) -> io::Result<Vec<u8>> {
    let mut space = [0; LONGEST_PAGE as usize];
    let answer = read(device, &mut [0x12, 1, 0x83, 0, LONGEST_PAGE, 0], &mut space)?;
    if answer.status != 0 || answer.transport != 0 {
        return Err(io::Error::other(format!("the disk answers with status {:#x}", answer.status)));
    }
    let [_, _, high, low, ..] = space;
    let length = usize::from(u16::from_be_bytes([high, low])) + 4;
    Ok(space.get(..length.min(answer.length)).unwrap_or_default().to_vec())
}

/// Has the disk carry out a command that reads.
pub(crate) fn read(device: &File, command: &mut [u8], space: &mut [u8]) -> io::Result<ScsiRead> {
    let mut answer = kernel::scsi_read(device, command, (space, PATIENCE))?;
    for _ in 0..TRIES {
        if answer.sense != Some(ATTENTION) {
            break;
        }
        answer = kernel::scsi_read(device, command, (space, PATIENCE))?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_says_nothing() {
        assert!(identity(&tempfile::tempfile().unwrap()).is_err());
    }
}
