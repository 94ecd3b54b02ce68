//! The child: the system calls that can wait for a server.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use zeroize::Zeroizing;

use super::job::{How, Job, Reply, Step};
use super::{AccessTimes, Attributes, FileSystem, NetworkMount, Permission, Refusal};
use super::{Subdirectory, subdirectory};
use crate::kernel;
use crate::mount::Access;

/// The argument by which this program knows that it is the child.
pub(super) const WORD: &str = "network-mount-child";

/// No job is longer: it has to fit into a pipe.
const LONGEST_JOB: u64 = 64 << 10;

/// Lines kept of a log.
const LOG_LINES: usize = 16;

/// The first thing in the `main` of a program that uses [`NetworkMounter`](super::NetworkMounter): `None` says that this
/// process is no child. Otherwise the job is done, and its exit code is here.
#[must_use]
pub fn child_entry() -> Option<ExitCode> {
    (std::env::args_os().nth(1)? == WORD).then(|| match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn serve() -> io::Result<()> {
    // Nobody is left to end us when our parent is gone.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    io::stdin().take(LONGEST_JOB).read_to_end(&mut bytes)?;
    let job = Job::decode(&bytes).ok_or(io::ErrorKind::InvalidInput)?;
    let reply = match perform(&job) {
        Ok(attempt) => Reply::Done { attempt },
        Err(refusal) => Reply::Failed(refusal),
    };
    io::stdout().write_all(&reply.encode())
}

fn perform(job: &Job) -> Result<usize, Refusal> {
    match job {
        Job::Mount { mount, target } => mount_at(mount, target),
        Job::Unmount { target, how } => {
            let unmounted = match how {
                How::Plainly => unmount(target, UnmountFlags::empty()),
                How::WrittenBack => {
                    write_back(target);
                    unmount(target, UnmountFlags::empty())
                }
                How::ByForce => unmount(target, UnmountFlags::FORCE),
                How::Lazily => unmount(target, UnmountFlags::DETACH),
                How::Aside => set_aside(target),
            };
            unmounted.map(|()| 0).map_err(refused(Step::Unmount, ""))
        }
        Job::Tell { target, text } => tell(target, text).map(|()| 0).map_err(refused(Step::Tell, "")),
        Job::Look { target } => look(target).map(|()| 0).map_err(refused(Step::Look, "")),
    }
}

fn unmount(target: &Path, flags: UnmountFlags) -> Result<(), Errno> {
    #[expect(clippy::disallowed_methods, reason = "the one file that unmounts network file systems")]
    let unmounted = rustix::mount::unmount(target, flags | UnmountFlags::NOFOLLOW);
    unmounted
}

fn tell(target: &Path, text: &str) -> Result<(), Errno> {
    let file = rustix::fs::open(target, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes()).map(|_| ())
}

/// An unmount that is killed loses what is not written back, so that comes before it. What the server does not take now
/// (ESTALE, EIO, EACCES) it will not take later either.
fn write_back(target: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let _ = rustix::fs::open(target, flags, Mode::empty()).and_then(rustix::fs::syncfs);
}

/// Takes it out of the tree, and leaves the end of its file system to the kernel's own threads: cifs waits there for its
/// server in a way that no signal ends (`flush_workqueue` in `cifs_kill_sb`, Linux 6.1), and whoever unmounted it last
/// would wait too. The root of a mount is opened without a word to the server.
fn set_aside(target: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let root = rustix::fs::open(target, flags, Mode::empty())?;
    let kept = kernel::keep_open(root.as_fd())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOSYS))?;
    drop(root);
    unmount(target, UnmountFlags::DETACH)?;
    drop(kept);
    Ok(())
}

/// Past the cache: the attributes, and an entry of the directory, which some servers refuse when they still give those.
fn look(target: &Path) -> Result<(), Errno> {
    let how = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    rustix::fs::statx(CWD, target, how, StatxFlags::TYPE | StatxFlags::MODE)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(target, flags, Mode::empty())?;
    match Dir::new(directory)?.next() {
        // A directory that only its owner may read is well.
        None | Some(Ok(_) | Err(Errno::ACCESS | Errno::PERM)) => Ok(()),
        Some(Err(errno)) => Err(errno),
    }
}

fn refused(step: Step, subject: &str) -> impl FnOnce(Errno) -> Refusal {
    let subject = subject.to_owned();
    move |errno| Refusal { step, subject, errno: errno.raw_os_error(), attempt: 0, log: Vec::new() }
}

fn mount_at(mount: &NetworkMount, target: &Path) -> Result<usize, Refusal> {
    // Opened first: whoever puts a symlink in its place meanwhile gains nothing.
    let mut onto = open_target(target)?;
    let (attempt, made) = first_that_works(mount)?;
    let wrong = |refusal: Refusal| Refusal { attempt, ..refusal };
    let tree = match &mount.subdirectory {
        None => made,
        Some(subdirectory) => narrow(&made, subdirectory).map_err(wrong)?,
    };
    for _ in 0..mount.replaces {
        unmount(target, UnmountFlags::DETACH).map_err(refused(Step::Unmount, "")).map_err(wrong)?;
        onto = open_target(target).map_err(wrong)?;
    }
    attach(&tree, onto.as_fd()).map_err(refused(Step::Attach, "")).map_err(wrong)?;
    Ok(attempt)
}

fn open_target(target: &Path) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(target, flags, Mode::empty()).map_err(refused(Step::Target, ""))
}

fn first_that_works(mount: &NetworkMount) -> Result<(usize, OwnedFd), Refusal> {
    let mut last = refused(Step::FileSystem, "")(Errno::INVAL);
    for (attempt, file_system) in mount.attempts.iter().enumerate() {
        match make(file_system, mount.attributes) {
            Ok(made) => return Ok((attempt, made)),
            Err(refusal) => last = Refusal { attempt, ..refusal },
        }
        if !mount.go_on.contains(&last.errno) {
            break;
        }
    }
    Err(last)
}

/// Makes a mount that is not in the tree yet.
fn make(file_system: &FileSystem, attributes: Attributes) -> Result<OwnedFd, Refusal> {
    let subject = &*file_system.fs_type;
    let mut messages = KernelLog::open(&file_system.log_words);
    let context = rustix::mount::fsopen(subject, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(refused(Step::FileSystem, subject))?;
    let made = configure(&context, file_system).and_then(|()| {
        rustix::mount::fsconfig_create(context.as_fd()).map_err(refused(Step::Create, ""))?;
        let flags = attribute_flags(attributes);
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .map_err(refused(Step::Mount, ""))
    });
    made.map_err(|refusal| {
        let mut log = context_log(context);
        log.extend(messages.lines());
        log.truncate(LOG_LINES);
        Refusal { log, ..refusal }
    })
}

fn configure(context: &OwnedFd, file_system: &FileSystem) -> Result<(), Refusal> {
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", &*file_system.source)
        .map_err(refused(Step::Setting, "source"))?;
    for setting in &file_system.settings {
        let key = setting.raw_key();
        let set = match setting.raw_value() {
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), key),
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), key, value),
        };
        set.map_err(refused(Step::Setting, &setting.key()))?;
    }
    Ok(())
}

fn attribute_flags(attributes: Attributes) -> MountAttrFlags {
    let mut flags = match attributes.access_times {
        AccessTimes::Relative => MountAttrFlags::MOUNT_ATTR_RELATIME,
        AccessTimes::Never => MountAttrFlags::MOUNT_ATTR_NOATIME,
        AccessTimes::Always => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        AccessTimes::FilesOnly => MountAttrFlags::MOUNT_ATTR_RELATIME | MountAttrFlags::MOUNT_ATTR_NODIRATIME,
    };
    flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, attributes.access == Access::ReadOnly);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, attributes.set_user_id == Permission::Refused);
    flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, attributes.devices == Permission::Refused);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, attributes.programs == Permission::Refused);
    flags
}

/// What the file system wrote into its context: a message each read, with `e `, `w ` or `i ` in front.
fn context_log(context: OwnedFd) -> Vec<String> {
    let mut file = File::from(context);
    let mut lines = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count) = file.read(&mut buffer) {
        let Some(message) = buffer.get(..count).filter(|message| !message.is_empty()) else { break };
        let text = String::from_utf8_lossy(message);
        let text = text.trim_end();
        lines.push(text.get(2..).unwrap_or(text).to_owned());
        if lines.len() >= LOG_LINES {
            break;
        }
    }
    lines
}

/// The kernel's log from now on, where it may be read.
struct KernelLog<'a> {
    file: Option<File>,
    words: &'a [String],
}

impl<'a> KernelLog<'a> {
    fn open(words: &'a [String]) -> Self {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = (!words.is_empty()).then(|| rustix::fs::open("/dev/kmsg", flags, Mode::empty()));
        let file = opened.and_then(Result::ok).map(File::from);
        let file = file.and_then(|mut file| file.seek(SeekFrom::End(0)).ok().map(|_| file));
        Self { file, words }
    }

    /// The lines that came with one of the words: a record each read, `priority,number,time,flags;text`.
    fn lines(&mut self) -> Vec<String> {
        let Some(file) = &mut self.file else { return Vec::new() };
        let mut lines = Vec::new();
        let mut buffer = [0; 8192];
        for _ in 0..1000 {
            let count = match file.read(&mut buffer) {
                // Records that were overwritten before we came.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::PIPE) => continue,
                Ok(count) if count > 0 => count,
                _ => break,
            };
            let record = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
            let text = record.split_once(';').map_or("", |(_, text)| text.lines().next().unwrap_or(""));
            if self.words.iter().any(|word| text.contains(word.as_str())) {
                lines.push(text.to_owned());
            }
        }
        lines
    }
}

/// A mount of a directory of a mount that is not in the tree yet.
///
/// Before Linux 6.15 only what is in a tree can be cloned, so it is put into the tree of a namespace that nobody else
/// sees and that goes with the call.
fn narrow(made: &OwnedFd, subdirectory: &Subdirectory) -> Result<OwnedFd, Refusal> {
    let home = subdirectory::namespace().map_err(refused(Step::Namespace, ""))?;
    if !subdirectory::is_single() {
        return Err(refused(Step::Namespace, "with a single thread")(Errno::INVAL));
    }
    kernel::unshare(UnshareFlags::NEWNS).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::PERM);
        refused(Step::Namespace, "")(errno)
    })?;
    let tree = narrow_inside(made, subdirectory);
    subdirectory::enter(&home).map_err(refused(Step::Namespace, ""))?;
    tree
}

fn narrow_inside(made: &OwnedFd, subdirectory: &Subdirectory) -> Result<OwnedFd, Refusal> {
    // Not private: an unmount by the host must still come here, for as long as this takes.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(refused(Step::Namespace, ""))?;
    // Anywhere will do, and the root is there; the target may be on a dead server itself.
    let onto = open_target(Path::new("/"))?;
    attach(made, onto.as_fd()).map_err(refused(Step::Namespace, ""))?;
    let opened =
        subdirectory.open(made).map_err(|(part, errno)| refused(Step::Subdirectory, &part)(errno))?;
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(opened.as_fd(), "", clone).map_err(refused(Step::Subdirectory, ""))
}

fn attach(tree: &OwnedFd, onto: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree.as_fd(), "", onto, "", flags)
}
