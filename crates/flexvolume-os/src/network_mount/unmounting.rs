//! Unmounting, whether the server is there or not.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::job::{How, Job, Reply};
use super::{NetworkMountError, NetworkMounter, Run, is_kin};
use crate::mountinfo::Mount;

/// How long a server that answers may take for what was written last.
const WRITING: Duration = Duration::from_secs(18);
/// How long one that answers may take for an unmount.
const ANSWERING: Duration = Duration::from_secs(8);
/// How long one that does not answer gets for each step. All of them are five at most.
const SILENT: Duration = Duration::from_millis(1500);
/// How long it gets for the step that asks no server: what takes that long is a node with too much to do.
const ASIDE: Duration = Duration::from_secs(4);
/// How long given-up requests take to let go of the mount.
const LETTING_GO: Duration = Duration::from_millis(1500);
/// Between two looks.
const TICK: Duration = Duration::from_millis(200);
/// No more mounts than this are taken off one directory.
const HIGHEST_STACK: usize = 16;

/// Whether the server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// It answers: nothing may be given up.
    Answers,
    /// It does not: nothing can be saved.
    Silent,
}

/// How to unmount.
pub struct Unmounting<'a> {
    /// Which mounts are this driver's.
    pub is_ours: &'a dyn Fn(&Mount) -> bool,
    /// Finds out whether the server of a mount is there; takes at most two seconds.
    pub server: &'a dyn Fn(&Mount) -> Server,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmounted {
    /// Nothing: nothing was mounted.
    Already,
    /// It was unmounted and nothing was given up, unless the server was silent.
    Plainly,
    /// Requests that waited for a silent server were given up.
    ByForce,
    /// It is out of the tree; programs that still use it keep it alive.
    Lazily,
}

/// How one step ended.
enum Stepped {
    Gone,
    Busy,
    Late,
}

impl NetworkMounter<'_> {
    /// Unmounts what this driver has mounted at `target`, in a time that does not depend on the server: ten seconds at
    /// most if it is silent, half a minute if it answers.
    ///
    /// From a server that answers nothing is taken away: what was written is written back first, and a mount in use stays.
    /// With a silent one, the waiting requests are given up only if no other mount shares its file system, since they
    /// would lose theirs; otherwise the mount is detached.
    ///
    /// # Errors
    /// [`NetworkMountError`]; then it is mounted still.
    pub fn unmount(
        &self,
        target: &Path,
        unmounting: &Unmounting<'_>,
    ) -> Result<Unmounted, NetworkMountError> {
        let mut done = Unmounted::Already;
        for _ in 0..HIGHEST_STACK {
            let Some(top) = self.stack(target)?.pop() else { return Ok(done) };
            if !(unmounting.is_ours)(&top) {
                let actual = format!("{} ({})", top.source.display(), top.fs_type);
                return Err(NetworkMountError::Other { target: target.to_owned(), actual });
            }
            let how = match (unmounting.server)(&top) {
                Server::Answers => self.unmount_answering(target, &top)?,
                Server::Silent => self.unmount_silent(target, &top)?,
            };
            done = done.max(how);
        }
        Err(NetworkMountError::Busy { target: target.to_owned() })
    }

    fn unmount_answering(&self, target: &Path, top: &Mount) -> Result<Unmounted, NetworkMountError> {
        let last = self.neighbours(top)?.is_empty();
        let (how, deadline) =
            if last { (How::WrittenBack, WRITING + ANSWERING) } else { (How::Plainly, ANSWERING) };
        match self.step(target, top, (how, deadline))? {
            Stepped::Gone => Ok(Unmounted::Plainly),
            Stepped::Busy => Err(NetworkMountError::Busy { target: target.to_owned() }),
            Stepped::Late if last => {
                Err(NetworkMountError::Writing { target: target.to_owned(), waited: deadline })
            }
            Stepped::Late => {
                let target = target.to_owned();
                Err(NetworkMountError::Deadline { step: "unmount", target, waited: ANSWERING })
            }
        }
    }

    fn unmount_silent(&self, target: &Path, top: &Mount) -> Result<Unmounted, NetworkMountError> {
        if is_kin("cifs", &top.fs_type) && self.set_aside(target, top)? {
            return Ok(Unmounted::Lazily);
        }
        if let Stepped::Gone = self.step(target, top, (How::Plainly, SILENT))? {
            return Ok(Unmounted::Plainly);
        }
        if self.neighbours(top)?.is_empty() && self.force(target, top)? {
            return Ok(Unmounted::ByForce);
        }
        match self.step(target, top, (How::Lazily, SILENT))? {
            Stepped::Gone => Ok(Unmounted::Lazily),
            Stepped::Busy => Err(NetworkMountError::Busy { target: target.to_owned() }),
            Stepped::Late => {
                let target = target.to_owned();
                Err(NetworkMountError::Deadline { step: "unmount", target, waited: SILENT })
            }
        }
    }

    /// Whether it is out of the tree. Where it cannot be done so, such as without `io_uring`, the other ways are left.
    fn set_aside(&self, target: &Path, top: &Mount) -> Result<bool, NetworkMountError> {
        match self.step(target, top, (How::Aside, ASIDE)) {
            Ok(stepped) => Ok(matches!(stepped, Stepped::Gone)),
            Err(NetworkMountError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the waiting requests up, which a forced unmount does even where it then finds the mount in use; whoever
    /// waited for them lets go a moment later.
    fn force(&self, target: &Path, top: &Mount) -> Result<bool, NetworkMountError> {
        if let Stepped::Gone = self.step(target, top, (How::ByForce, SILENT))? {
            return Ok(true);
        }
        let end = Instant::now() + LETTING_GO;
        while Instant::now() < end {
            std::thread::sleep(TICK);
            if let Stepped::Gone = self.step(target, top, (How::Plainly, SILENT))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn step(
        &self,
        target: &Path,
        top: &Mount,
        (how, deadline): (How, Duration),
    ) -> Result<Stepped, NetworkMountError> {
        let job = Job::Unmount { target: target.to_owned(), how };
        let run = self.run(&job, deadline);
        // The table decides, whatever became of the child.
        if self.stack(target)?.iter().all(|mount| mount.id != top.id) {
            return Ok(Stepped::Gone);
        }
        match run? {
            Run::Answered(Reply::Failed(refusal)) if refusal.errno == Errno::BUSY.raw_os_error() => {
                Ok(Stepped::Busy)
            }
            Run::Answered(Reply::Failed(refusal)) => Err(refusal.into()),
            Run::Answered(Reply::Done { .. }) | Run::Late => Ok(Stepped::Late),
        }
    }
}
