//! Whether a mounted file system still answers.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use linux_raw_sys::general::{RAMFS_MAGIC, STATX_MNT_ID_UNIQUE, TMPFS_MAGIC};
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags};
use rustix::io::Errno;

use crate::references;

/// How long an answer may take. One whose daemon is gone answers at once; one that is slow is not dead.
const PATIENCE: Duration = Duration::from_secs(1);

/// By this in its mask statx(2) answers the id that [`answers_by_itself`] needs (Linux 6.8; older ones ignore it).
pub(crate) const WITH_MOUNT_ID: StatxFlags = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);

/// Whether nobody stands behind the mount who could be gone: the kernel alone answers.
pub(crate) fn answers_by_itself(answer: &Statx) -> bool {
    // A block device has a major number, and no daemon.
    if answer.stx_dev_major != 0 {
        return true;
    }
    let known = answer.stx_mask & STATX_MNT_ID_UNIQUE != 0;
    let in_memory = [TMPFS_MAGIC, RAMFS_MAGIC].map(u64::from);
    known && references::magic_of(answer.stx_mnt_id).is_ok_and(|magic| in_memory.contains(&magic))
}

/// Asks the file system itself, past every cache. An error is its answer; silence is none, and counts as alive: nobody
/// may be unmounted for being slow.
///
/// The question is asked on a thread of its own, since it blocks for as long as the server likes; in the worst case the
/// thread stays until then.
pub(crate) fn ask(path: &Path) -> Result<(), Errno> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    let question = move || {
        let how = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        // The receiver may have given up.
        let _ = sender.send(rustix::fs::statx(CWD, &path, how, StatxFlags::TYPE | StatxFlags::MODE));
    };
    // No thread, no question: the cached answer stands.
    let Ok(asking) = thread::Builder::new().spawn(question) else { return Ok(()) };
    match receiver.recv_timeout(PATIENCE) {
        Ok(answer) => {
            // Gone before we go on: a namespace can only be left by a process with one thread.
            let _ = asking.join();
            answer.map(|_| ())
        }
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str) -> Statx {
        rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE | WITH_MOUNT_ID).unwrap()
    }

    #[test]
    fn nobody_stands_behind_memory_and_disks_but_perhaps_behind_the_rest() {
        let mut memory = seen("/dev/shm");
        let is_tmpfs = rustix::fs::statfs("/dev/shm").is_ok_and(|found| found.f_type == TMPFS_MAGIC.into());
        if memory.stx_mask & STATX_MNT_ID_UNIQUE == 0 || !is_tmpfs {
            eprintln!("skipped: nobody_stands_behind_memory: needs Linux 6.8 and a tmpfs at /dev/shm");
            return;
        }
        assert!(answers_by_itself(&memory));
        assert!(!answers_by_itself(&seen("/proc")));
        memory.stx_mask = 0;
        assert!(!answers_by_itself(&memory), "without its id nothing is known");
        memory.stx_dev_major = 8;
        assert!(answers_by_itself(&memory));
    }
}
