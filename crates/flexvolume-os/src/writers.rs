//! Whether somebody is writing a file at this moment.

use std::fs::File;
use std::io;

use rustix::fs::AtFlags;

use crate::{kernel, liveness};

/// Who has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Nobody: what was read of it is not half of something.
    None,
    /// Somebody, or it cannot be known: the file lies on a network, or is another user's and we may not ask.
    Perhaps,
}

/// Asks the kernel for a lease on the file, which it gives only while nobody can write (fcntl(2), `F_SETLEASE`), and
/// gives it back at once. `file` must be open for reading only.
///
/// Whoever opens the file for writing within these microseconds waits for so long, or gets EWOULDBLOCK if it does not want
/// to wait.
#[must_use]
pub fn of(file: &File) -> Writers {
    let is_local = || -> io::Result<bool> {
        let how = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let status = rustix::fs::statx(file, c"", how, liveness::WITH_MOUNT_ID)?;
        Ok(liveness::answers_by_itself(&status))
    };
    // Writers on other machines are not seen.
    if is_local().unwrap_or(false) && kernel::can_lease(file).is_ok() {
        Writers::None
    } else {
        Writers::Perhaps
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_has_no_writers_once_the_last_one_has_closed_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut writer = File::create(&path).unwrap();
        writer.write_all(b"half").unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(of(&reader), Writers::Perhaps);
        drop(writer);
        if of(&reader) == Writers::Perhaps {
            eprintln!("skipped: a_file_has_no_writers: needs a local file system with leases");
            return;
        }
        let again = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(of(&reader), Writers::Perhaps);
        drop(again);
        assert_eq!(of(&reader), Writers::None);
    }

    #[test]
    fn of_what_the_kernel_makes_up_nothing_is_known() {
        assert_eq!(of(&File::open("/proc/self/status").unwrap()), Writers::Perhaps);
    }

    #[test]
    fn a_writer_that_comes_meanwhile_hurts_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for _ in 0..2000 {
                    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
                }
            });
            // A broken lease sends a signal, which ends a process unless it is one that nobody minds.
            while !writing.is_finished() {
                let _ = of(&reader);
            }
        });
        assert_eq!(reader.metadata().unwrap().len(), 2000);
    }
}
