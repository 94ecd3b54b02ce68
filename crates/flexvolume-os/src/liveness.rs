//! Whether a mounted file system still answers.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;

/// How long an answer may take. One whose daemon is gone answers at once; one that is slow is not dead.
const PATIENCE: Duration = Duration::from_secs(1);

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
