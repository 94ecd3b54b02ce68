//! Who else has mounted a directory, asked mount by mount.
//!
//! The kernel writes a mount table of thousands of lines in milliseconds. Asked for numbers only, it answers for all of
//! them in a fraction of that, and the few mounts of the one file system that matters are looked at closely.

use std::ffi::OsStr;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use linux_raw_sys::general::{
    STATMOUNT_MNT_POINT, STATMOUNT_MNT_ROOT, STATMOUNT_SB_BASIC, STATX_MNT_ID_UNIQUE, statmount,
};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::kernel::{list_mounts, stat_mount};

/// Ids that one call fetches.
const PAGE: usize = 4096;
/// Room for a mount's two paths; doubled when it is too little, up to the most.
const ROOM: usize = 2048;
const MOST_ROOM: usize = 1 << 20;
/// As much of the answer as has the device's number.
const DEVICE_ROOM: usize = offset_of!(statmount, sb_magic);
/// The same for the number of its kind.
const MAGIC_ROOM: usize = offset_of!(statmount, sb_flags);

/// Major and minor number.
type Device = (u32, u32);

/// Which file system the mounts of the namespace show, by ascending id.
///
/// The kernel gives an id once and never again, and a mount never changes its file system: what was learned stays true.
/// It is kept for as long as the mount is there.
static KNOWN: Mutex<Vec<(u64, Device)>> = Mutex::new(Vec::new());

/// Where else the directory is mounted that is mounted at `path`.
///
/// # Errors
/// Whatever the kernel says; also when nothing is mounted at `path`, or another path is its real name.
pub(crate) fn ask(path: &Path) -> io::Result<Vec<PathBuf>> {
    let own = id_of(path)?;
    let (device, place) = (device_of(own)?, Place::of(own)?);
    if place.mount_point != path {
        return Err(Errno::NOTDIR.into());
    }
    let mut found = Vec::new();
    for id in mounts_of(device)? {
        match Place::of(id) {
            Ok(other) if other.root == place.root && other.mount_point != path => {
                found.push(other.mount_point);
            }
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The id of the mount whose root is at `path`.
fn id_of(path: &Path) -> io::Result<u64> {
    let how = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    let status = rustix::fs::statx(CWD, path, how, StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE))?;
    let is_root = status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    if status.stx_mask & STATX_MNT_ID_UNIQUE != 0 && is_root {
        Ok(status.stx_mnt_id)
    } else {
        Err(Errno::OPNOTSUPP.into())
    }
}

/// The mounts of one file system.
fn mounts_of(device: Device) -> io::Result<Vec<u64>> {
    let ids = all_ids()?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut before = std::mem::take(&mut *known).into_iter().peekable();
    for id in ids {
        while before.next_if(|(old, _)| *old < id).is_some() {}
        let mount = match before.next_if(|(old, _)| *old == id) {
            Some(mount) => mount,
            None => match device_of(id) {
                Ok(device) => (id, device),
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            },
        };
        known.push(mount);
    }
    Ok(known.iter().filter(|(_, other)| *other == device).map(|(id, _)| *id).collect())
}

/// Ascending. As they are asked for in that order, none that is there all the time is missed.
fn all_ids() -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    loop {
        let (start, after) = (ids.len(), ids.last().copied().unwrap_or_default());
        ids.resize(start + PAGE, 0);
        let count = list_mounts(after, &mut ids[start..])?;
        ids.truncate(start + count);
        if count < PAGE {
            return Ok(ids);
        }
    }
}

/// Unmounted since it was listed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The number of the file system's kind, as statfs(2) has it; the file system is not asked.
pub(crate) fn magic_of(id: u64) -> io::Result<u64> {
    let mut answer = [0; MAGIC_ROOM];
    stat_mount(id, STATMOUNT_SB_BASIC, &mut answer)?;
    expect(&answer, STATMOUNT_SB_BASIC)?;
    Ok(u64::from_ne_bytes(bytes(&answer, offset_of!(statmount, sb_magic))))
}

fn device_of(id: u64) -> io::Result<Device> {
    let mut answer = [0; DEVICE_ROOM];
    stat_mount(id, STATMOUNT_SB_BASIC, &mut answer)?;
    expect(&answer, STATMOUNT_SB_BASIC)?;
    Ok((
        number(&answer, offset_of!(statmount, sb_dev_major)),
        number(&answer, offset_of!(statmount, sb_dev_minor)),
    ))
}

/// The two paths of a mount, as they are.
struct Place {
    /// The directory of the file system that is mounted.
    root: PathBuf,
    mount_point: PathBuf,
}

impl Place {
    fn of(id: u64) -> io::Result<Self> {
        const WANTED: u32 = STATMOUNT_MNT_ROOT | STATMOUNT_MNT_POINT;
        let mut answer = vec![0; size_of::<statmount>() + ROOM];
        while let Err(error) = stat_mount(id, WANTED, &mut answer) {
            if Errno::from_io_error(&error) != Some(Errno::OVERFLOW) || answer.len() > MOST_ROOM {
                return Err(error);
            }
            answer.resize(answer.len() * 2, 0);
        }
        expect(&answer, WANTED)?;
        Ok(Self {
            root: path(&answer, offset_of!(statmount, mnt_root))?,
            mount_point: path(&answer, offset_of!(statmount, mnt_point))?,
        })
    }
}

/// Has the kernel filled in what was wanted?
fn expect(answer: &[u8], wanted: u32) -> io::Result<()> {
    let given = u64::from_ne_bytes(bytes(answer, offset_of!(statmount, mask)));
    if given & u64::from(wanted) == u64::from(wanted) { Ok(()) } else { Err(Errno::OPNOTSUPP.into()) }
}

fn number(answer: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes(answer, at))
}

fn bytes<const N: usize>(answer: &[u8], at: usize) -> [u8; N] {
    answer.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

/// The string whose place stands at `field`.
fn path(answer: &[u8], field: usize) -> io::Result<PathBuf> {
    let start =
        usize::try_from(number(answer, field)).ok().and_then(|at| at.checked_add(size_of::<statmount>()));
    let text = start.and_then(|start| answer.get(start..)).unwrap_or_default();
    match text.iter().position(|byte| *byte == 0) {
        Some(end) => Ok(OsStr::from_bytes(&text[..end]).into()),
        None => Err(Errno::PROTO.into()),
    }
}

#[cfg(test)]
mod tests;
