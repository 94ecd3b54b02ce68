//! Mounts of network file systems, whose server may vanish at any moment.
//!
//! Every system call that can wait for a server runs in a child process of our own, which is killed at a deadline: the
//! kernel ends such a wait for a killed process and for nobody else. What came of it is decided by the mount table, also
//! after a kill: on Linux 6.1 an `umount2` of the last NFSv4 mount of a silent server hangs for ever, and the mount is gone.
//!
//! The child is this program, started once more ([`child_entry`] takes over in its `main`) with the job on standard
//! input, so that a secret is in no argument, no variable and no file. A file system is made with `fsopen`, `fsconfig` and
//! `fsmount` (Linux 5.2): each setting is a string of its own, which no comma can leave, and whether set-user-id programs
//! and devices work is a property of the mount that no setting reaches.
//!
//! Nothing here looks at a file on a network mount from this process.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::System;
use crate::command::Command;
use crate::mount::{Access, MountError};
use crate::mountinfo::Mount;
use crate::runner::{Ended, StartError};

mod child;
mod codec;
mod job;
mod setting;
mod subdirectory;
mod unmounting;

pub use child::child_entry;
pub use job::Step;
pub use setting::{Setting, SettingError};
pub use subdirectory::{Making, Subdirectory};
pub use unmounting::{Server, Unmounted, Unmounting};

use job::{Job, Reply};

/// What is mounted: each of `attempts` in turn, until one works.
#[derive(Debug, Clone)]
pub struct NetworkMount {
    /// The same place by several protocols, the best one first.
    pub attempts: Vec<FileSystem>,
    /// The error numbers after which the next attempt is made; any other one is final.
    pub go_on: Vec<i32>,
    /// Properties of the mount itself.
    pub attributes: Attributes,
    /// A directory below what the file system's source names, instead of that.
    pub subdirectory: Option<Subdirectory>,
    /// So many mounts are taken off the target, in use or not, once the new one is made and before it is put there.
    pub replaces: usize,
}

/// A file system and its settings.
#[derive(Debug, Clone)]
pub struct FileSystem {
    /// `nfs4`, `nfs`, `cifs`.
    pub fs_type: String,
    /// What stands in the mount table as its source: `server:/export`, `//server/share`.
    pub source: CString,
    /// Its settings, in this order.
    pub settings: Vec<Setting>,
    /// Words of the kernel's log; lines with one of them that come during the mount explain a failure.
    pub log_words: Vec<String>,
}

/// Whether something works through a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It does.
    Granted,
    /// It does not.
    Refused,
}

/// When reading changes access times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessTimes {
    /// If the last one is older than a change, or a day (`relatime`).
    #[default]
    Relative,
    /// Never (`noatime`).
    Never,
    /// Always (`strictatime`).
    Always,
    /// As [`AccessTimes::Relative`], but never for directories (`nodiratime`).
    FilesOnly,
}

/// Properties of a mount that its file system cannot change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Read-only or not; the file system may be shared with mounts of the other kind.
    pub access: Access,
    /// Set-user-id and set-group-id bits (`nosuid` when refused).
    pub set_user_id: Permission,
    /// Device files (`nodev` when refused).
    pub devices: Permission,
    /// Programs (`noexec` when refused).
    pub programs: Permission,
    /// Access times.
    pub access_times: AccessTimes,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            set_user_id: Permission::Refused,
            devices: Permission::Refused,
            programs: Permission::Granted,
            access_times: AccessTimes::Relative,
        }
    }
}

/// What the kernel said no to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{}: {}{}", .step.as_str(), with(" ", .subject), std::io::Error::from_raw_os_error(*.errno), with(": ", &.log.join("; ")))]
pub struct Refusal {
    /// The step.
    pub step: Step,
    /// The setting, or the part of the path, that it was about; may be empty.
    pub subject: String,
    /// The error number.
    pub errno: i32,
    /// Which of the attempts it was.
    pub attempt: usize,
    /// What the file system wrote about it, where it wrote something.
    pub log: Vec<String>,
}

fn with(separator: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{separator}{text}") }
}

/// A mount or unmount of a network file system that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkMountError {
    /// The kernel refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It took too long and was ended; nothing is mounted (or everything still is).
    #[error("{step} {}: no answer within {}s", .target.display(), .waited.as_secs())]
    Deadline {
        /// `mount at`, `unmount`.
        step: &'static str,
        /// The target.
        target: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// Programs use what is to be unmounted, and the server answers.
    #[error("{} is in use by a program on this node: end it, then call again", .target.display())]
    Busy {
        /// The target.
        target: PathBuf,
    },
    /// The server answers, and what was written is not there yet.
    #[error(
        "what was written to {} is still on its way to the server after {}s; nothing is lost, call again",
        .target.display(), .waited.as_secs()
    )]
    Writing {
        /// The target.
        target: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// Something is mounted that is not what was asked for.
    #[error("{} is the mount point of {actual}, which this driver did not mount: unmount it first", .target.display())]
    Other {
        /// The target.
        target: PathBuf,
        /// Type and source of what is mounted.
        actual: String,
    },
    /// The child could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The child ended without an answer.
    #[error("{step} {}: the child process {ended} without an answer", .target.display())]
    Child {
        /// `mount at`, `unmount`.
        step: &'static str,
        /// The target.
        target: PathBuf,
        /// `exited with 1`, `was ended by signal 9`.
        ended: String,
    },
    /// The mount table cannot be read.
    #[error(transparent)]
    Table(#[from] MountError),
}

/// Mounts and unmounts.
#[derive(Debug)]
pub struct NetworkMounter<'a> {
    system: &'a System,
    program: PathBuf,
}

/// Which of the attempts was mounted, `None` if the child did not live to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mounted(pub Option<usize>);

/// How a mount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Its server answered.
    Well,
    /// Its server answered with this error number (ESTALE, EIO, EHOSTDOWN).
    Sick(i32),
    /// Its server did not answer in time.
    Silent,
}

/// What the child came back with.
enum Run {
    Answered(Reply),
    Late,
}

impl<'a> NetworkMounter<'a> {
    /// With this program as the child, whose `main` calls [`child_entry`].
    #[must_use]
    pub fn new(system: &'a System) -> Self {
        Self::with_child(system, "/proc/self/exe")
    }

    /// With another program as the child.
    #[must_use]
    pub fn with_child(system: &'a System, program: impl Into<PathBuf>) -> Self {
        Self { system, program: program.into() }
    }

    /// Mounts at `target`, a real directory, unless it takes longer than `deadline`.
    ///
    /// # Errors
    /// [`NetworkMountError`]; nothing is mounted then.
    pub fn mount(
        &self,
        mount: &NetworkMount,
        target: &Path,
        deadline: Duration,
    ) -> Result<Mounted, NetworkMountError> {
        let before = self.stack(target)?.len().saturating_sub(mount.replaces);
        let old: Vec<_> = self.stack(target)?.into_iter().map(|mount| mount.id).collect();
        let job = Job::Mount { mount: mount.clone(), target: target.to_owned() };
        let run = self.run(&job, deadline);
        // Whatever became of the child: is it there?
        let appeared = self.stack(target)?.into_iter().nth(before).is_some_and(|found| {
            let kin = mount.attempts.iter().any(|attempt| is_kin(&attempt.fs_type, &found.fs_type));
            kin && !old.contains(&found.id)
        });
        let (step, target) = (job.step(), target.to_owned());
        match (run, appeared) {
            (Ok(Run::Answered(Reply::Done { attempt })), true) => Ok(Mounted(Some(attempt))),
            (Ok(Run::Late) | Err(_), true) => Ok(Mounted(None)),
            (Ok(Run::Answered(Reply::Failed(refusal))), _) => Err(refusal.into()),
            (Ok(Run::Answered(Reply::Done { .. })), false) => {
                let ended = "found nothing in the mount table".to_owned();
                Err(NetworkMountError::Child { step, target, ended })
            }
            (Ok(Run::Late), false) => Err(NetworkMountError::Deadline { step, target, waited: deadline }),
            (Err(error), false) => Err(error),
        }
    }

    /// Asks the server of the mount at `target` whether it is still there, past every cache.
    ///
    /// # Errors
    /// [`NetworkMountError`] when the question cannot be put.
    pub fn look(&self, target: &Path, patience: Duration) -> Result<Health, NetworkMountError> {
        match self.run(&Job::Look { target: target.to_owned() }, patience)? {
            Run::Answered(Reply::Done { .. }) => Ok(Health::Well),
            Run::Answered(Reply::Failed(refusal)) => Ok(Health::Sick(refusal.errno)),
            Run::Late => Ok(Health::Silent),
        }
    }

    /// What is mounted at `path`, by the mount table alone; the last one is on top. The path's parent may lead through
    /// symlinks.
    ///
    /// # Errors
    /// [`NetworkMountError::Table`].
    pub fn stack(&self, path: &Path) -> Result<Vec<Mount>, NetworkMountError> {
        let table = self.system.mounter.table()?;
        Ok(table.at(&real(path)).cloned().collect())
    }

    /// The other mounts that share the file system of `mount`: what is done to it by force is done to them.
    ///
    /// # Errors
    /// [`NetworkMountError::Table`].
    pub fn neighbours(&self, mount: &Mount) -> Result<Vec<Mount>, NetworkMountError> {
        let table = self.system.mounter.table()?;
        let shares = |other: &&Mount| other.device == mount.device && other.id != mount.id;
        Ok(table.mounts().iter().filter(shares).cloned().collect())
    }

    /// Writes `text` into a file of the kernel that may have a server asked before it takes it.
    ///
    /// # Errors
    /// [`NetworkMountError`]; at the deadline the kernel may still do what it was told.
    pub fn tell(&self, file: &Path, text: &str, deadline: Duration) -> Result<(), NetworkMountError> {
        let job = Job::Tell { target: file.to_owned(), text: text.to_owned() };
        match self.run(&job, deadline)? {
            Run::Answered(Reply::Done { .. }) => Ok(()),
            Run::Answered(Reply::Failed(refusal)) => Err(refusal.into()),
            Run::Late => Err(NetworkMountError::Deadline {
                step: "write to",
                target: file.to_owned(),
                waited: deadline,
            }),
        }
    }

    fn run(&self, job: &Job, deadline: Duration) -> Result<Run, NetworkMountError> {
        let command = Command::new(&self.program, deadline).argument(child::WORD).input(job.encode());
        let output = self.system.runner.run(&command)?;
        let ended = match (Reply::decode(&output.stdout.bytes), output.ended) {
            (Some(reply), _) => return Ok(Run::Answered(reply)),
            (None, Ended::TimedOut) => return Ok(Run::Late),
            (None, Ended::Exited(code)) => format!("exited with {code}"),
            (None, Ended::Signaled(signal)) => format!("was ended by signal {signal}"),
        };
        let (step, target) = (job.step(), job.target().to_owned());
        Err(NetworkMountError::Child { step, target, ended })
    }
}

/// The kernel shows `nfs` mounts of version 4 as `nfs4`, and `smb3` is `cifs`.
fn is_kin(asked: &str, found: &str) -> bool {
    let family = |name: &str| match name {
        "nfs4" => "nfs".to_owned(),
        "smb3" => "cifs".to_owned(),
        other => other.to_owned(),
    };
    family(asked) == family(found)
}

/// The path without symlinks, whose last part is not looked at: that may be on a dead server.
fn real(path: &Path) -> PathBuf {
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}
