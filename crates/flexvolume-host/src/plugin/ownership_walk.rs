//! The walk that hands a tree to a group, by several threads at once.
//!
//! Everything is reached through open directories, and no name in them is followed: whoever swaps a file or a directory
//! for a symlink meanwhile cannot lead the change out of the volume.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use flexvolume_os::beneath::set_mode;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::path::DecInt;

use super::OwnershipError;

/// The group may read and write; in directories it may also search, and new files get the group.
const FILE_BITS: u32 = 0o660;
pub(super) const DIRECTORY_BITS: u32 = 0o2770;
/// Set-user-id, set-group-id, sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// How many files are handed to a thread at once.
const PORTION: usize = 512;
/// From so many files on, more than one thread pays.
const FEW: usize = 2048;
/// When a long walk first says how far it is, and how often from then on.
const FIRST_REPORT: Duration = Duration::from_secs(1);
const REPORT: Duration = Duration::from_secs(5);

/// What a file or directory that cannot be looked at means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The end, as in Kubernetes.
    EndsTheWalk,
    /// An error in the end, and nothing for the others.
    IsPassedOver,
}

/// Gives everything at and below `root` to the group; `None` leaves the groups and changes the permissions only.
pub(super) fn change(root: &Path, group: Option<Gid>, unreadable: Unreadable) -> Result<(), OwnershipError> {
    let failed =
        |errno: Errno| OwnershipError::Files { failed: 1, first: root.to_owned(), source: errno.into() };
    let walk = Walk {
        group,
        unreadable,
        descriptors: rustix::fs::open("/proc/self/fd", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed)?,
        queue: Mutex::default(),
        news: Condvar::new(),
        stopped: AtomicBool::new(false),
        seen: AtomicUsize::new(0),
        tally: Mutex::new(Tally { failed: 0, first: None, next_report: Instant::now() + FIRST_REPORT }),
    };
    let name = CString::new(root.as_os_str().as_bytes()).map_err(|_| failed(Errno::INVAL))?;
    walk.push([Task::Directory(None, name)]);
    // In the strict reading what an error leaves undone must not depend on luck.
    let helpers = match unreadable {
        Unreadable::EndsTheWalk => 0,
        Unreadable::IsPassedOver => thread::available_parallelism().map_or(1, NonZero::get).min(8) - 1,
    };
    thread::scope(|scope| walk.work(Some((scope, helpers))));
    let tally = walk.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    match tally.first {
        Some((first, source)) => Err(OwnershipError::Files { failed: tally.failed, first, source }),
        None => Ok(()),
    }
}

/// A directory whose entries are being changed; it comes last.
struct Level {
    parent: Option<Arc<Level>>,
    name: CString,
    directory: OwnedFd,
    found: Found,
    /// Tasks in it that are not done.
    pending: AtomicUsize,
}

/// What a file was before.
#[derive(Clone, Copy)]
struct Found {
    kind: FileType,
    mode: u32,
    group: u32,
}

impl From<Stat> for Found {
    fn from(status: Stat) -> Self {
        let (kind, mode) = (FileType::from_raw_mode(status.st_mode), status.st_mode & 0o7777);
        Self { kind, mode, group: status.st_gid }
    }
}

impl Found {
    /// The permissions that it gets.
    fn wanted(self) -> u32 {
        match self.kind {
            FileType::Directory => self.mode | DIRECTORY_BITS,
            FileType::Symlink => self.mode,
            _ => self.mode | FILE_BITS,
        }
    }
}

enum Task {
    /// A directory to open, or the root of the walk, whatever it is.
    Directory(Option<Arc<Level>>, CString),
    Files(Arc<Level>, Vec<CString>),
}

#[derive(Default)]
struct Queue {
    /// The latest goes first, so that few directories are open at a time.
    tasks: Vec<Task>,
    /// Tasks that were pushed and are not done.
    open: usize,
}

struct Tally {
    failed: u64,
    first: Option<(PathBuf, io::Error)>,
    next_report: Instant,
}

struct Walk {
    group: Option<Gid>,
    unreadable: Unreadable,
    /// Leads from a descriptor that only names a file to the file itself.
    descriptors: OwnedFd,
    queue: Mutex<Queue>,
    news: Condvar,
    stopped: AtomicBool,
    seen: AtomicUsize,
    tally: Mutex<Tally>,
}

impl Walk {
    /// Does tasks until there are none; calls for help when there are many files.
    fn work<'scope, 'env>(&'env self, mut help: Option<(&'scope Scope<'scope, 'env>, usize)>) {
        while let Some(task) = self.next() {
            if !self.stopped.load(Ordering::Relaxed) {
                self.perform(&task);
            }
            if let Task::Directory(Some(level), _) | Task::Files(level, _) = task {
                self.done(level);
            }
            self.finish_one();
            if self.seen.load(Ordering::Relaxed) > FEW
                && let Some((scope, helpers)) = help.take()
            {
                for _ in 0..helpers {
                    scope.spawn(|| self.work(None));
                }
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut queue = self.queue();
        loop {
            if let Some(task) = queue.tasks.pop() {
                return Some(task);
            }
            if queue.open == 0 {
                return None;
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn push(&self, tasks: impl IntoIterator<Item = Task>) {
        let mut queue = self.queue();
        let before = queue.tasks.len();
        queue.tasks.extend(tasks);
        queue.open += queue.tasks.len() - before;
        drop(queue);
        self.news.notify_all();
    }

    fn finish_one(&self) {
        let mut queue = self.queue();
        queue.open -= 1;
        if queue.open == 0 {
            self.news.notify_all();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, task: &Task) {
        match task {
            Task::Directory(parent, name) => self.enter(parent.as_ref(), name),
            Task::Files(level, names) => {
                for name in names {
                    if self.stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    self.visit(Some(level), name, level.directory.as_fd());
                }
                self.report(names.len());
            }
        }
    }

    fn enter(&self, parent: Option<&Arc<Level>>, name: &CStr) {
        let above = parent.map_or(CWD, |level| level.directory.as_fd());
        let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(above, name, readable, Mode::empty()) {
            Ok(directory) => match self.list(parent, name, directory) {
                Ok(tasks) => self.push(tasks),
                Err(errno) => self.cannot_look(parent, name, errno),
            },
            // It has become something else, or the root is something else.
            Err(Errno::NOTDIR | Errno::LOOP) => self.visit(parent, name, above),
            Err(errno) => self.cannot_look(parent, name, errno),
        }
    }

    /// The tasks of a directory. Its own turn comes when they are done.
    fn list(&self, parent: Option<&Arc<Level>>, name: &CStr, directory: OwnedFd) -> Result<Vec<Task>, Errno> {
        let found = Found::from(rustix::fs::fstat(&directory)?);
        let (mut directories, mut files) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            match (entry.file_name().to_bytes(), entry.file_type()) {
                (b"." | b"..", _) => {}
                (_, FileType::Directory) => directories.push(entry.file_name().to_owned()),
                _ => files.push((entry.ino(), entry.file_name().to_owned())),
            }
        }
        // In the order in which they lie on the disk.
        files.sort_unstable_by_key(|(inode, _)| *inode);
        let files: Vec<_> = files.into_iter().map(|(_, name)| name).collect();
        let portions = files.chunks(PORTION);
        let pending = directories.len() + portions.len();
        if let Some(parent) = parent {
            parent.pending.fetch_add(1, Ordering::Relaxed);
        }
        let (parent, name) = (parent.cloned(), name.to_owned());
        let level =
            Arc::new(Level { parent, name, directory, found, pending: AtomicUsize::new(pending.max(1)) });
        if pending == 0 {
            self.done(level);
            return Ok(Vec::new());
        }
        let directories = directories.into_iter().map(|name| Task::Directory(Some(Arc::clone(&level)), name));
        let portions = portions.map(|names| Task::Files(Arc::clone(&level), names.to_vec()));
        Ok(directories.chain(portions).collect())
    }

    /// One task less in a directory; after the last one it is changed itself, and is done in the one above.
    fn done(&self, level: Arc<Level>) {
        let mut level = Some(level);
        while let Some(current) = level {
            if current.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            if !self.stopped.load(Ordering::Relaxed)
                && let Err(errno) = self.change_directory(&current)
            {
                self.record(current.parent.as_ref(), &current.name, errno);
            }
            level = current.parent.clone();
        }
    }

    fn change_directory(&self, level: &Level) -> Result<(), Errno> {
        let wanted = level.found.wanted();
        if self.is_right(level.found, wanted) {
            return Ok(());
        }
        rustix::fs::fchown(&level.directory, None, self.group)?;
        rustix::fs::fchmod(&level.directory, Mode::from_raw_mode(wanted))
    }

    /// Changes what is no directory; a directory that was not known as one becomes a task.
    fn visit(&self, parent: Option<&Arc<Level>>, name: &CStr, above: BorrowedFd<'_>) {
        match rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW).map(Found::from) {
            Ok(found) if found.kind == FileType::Directory => {
                if let Some(parent) = parent {
                    parent.pending.fetch_add(1, Ordering::Relaxed);
                }
                self.push([Task::Directory(parent.cloned(), name.to_owned())]);
            }
            Ok(found) => match self.change_file(above, name, found) {
                // Whoever uses the volume may delete meanwhile.
                Err(Errno::NOENT) if self.unreadable == Unreadable::IsPassedOver => {}
                Err(errno) => self.record(parent, name, errno),
                Ok(()) => {}
            },
            Err(errno) => self.cannot_look(parent, name, errno),
        }
    }

    /// Kubernetes goes on to the permissions when the group cannot be given. Opening a file to the wrong group would be
    /// worse than leaving it as it is.
    fn change_file(&self, above: BorrowedFd<'_>, name: &CStr, found: Found) -> Result<(), Errno> {
        let wanted = found.wanted();
        if self.is_right(found, wanted) {
            return Ok(());
        }
        // By name is quickest. Whoever puts another file of the volume in its place meanwhile has that one get these
        // permissions, which is harmless unless they let a program act for its owner.
        if found.mode & SPECIAL_BITS != 0 {
            return self.change_opened(above, name);
        }
        rustix::fs::chownat(above, name, None, self.group, AtFlags::SYMLINK_NOFOLLOW)?;
        if found.kind == FileType::Symlink || set_mode(above, name, Mode::from_raw_mode(wanted)).is_ok() {
            return Ok(());
        }
        // An older kernel, or a sandbox that does not know the call.
        self.change_opened(above, name)
    }

    /// Through a descriptor: what is looked at is what is changed.
    fn change_opened(&self, above: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let here = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = rustix::fs::openat(above, name, here, Mode::empty())?;
        let found = Found::from(rustix::fs::fstat(&entry)?);
        rustix::fs::chownat(&entry, "", None, self.group, AtFlags::EMPTY_PATH)?;
        if found.kind == FileType::Symlink {
            return Ok(());
        }
        let (number, mode) = (DecInt::from_fd(&entry), Mode::from_raw_mode(found.wanted()));
        rustix::fs::chmodat(&self.descriptors, number.as_c_str(), mode, AtFlags::empty())
    }

    fn is_right(&self, found: Found, wanted: u32) -> bool {
        found.mode == wanted && self.group.is_none_or(|group| group.as_raw() == found.group)
    }

    fn cannot_look(&self, parent: Option<&Arc<Level>>, name: &CStr, errno: Errno) {
        match (self.unreadable, errno) {
            (Unreadable::EndsTheWalk, _) => self.stopped.store(true, Ordering::Relaxed),
            // Whoever uses the volume may delete meanwhile.
            (Unreadable::IsPassedOver, Errno::NOENT) if parent.is_some() => return,
            (Unreadable::IsPassedOver, _) => {}
        }
        self.record(parent, name, errno);
    }

    fn record(&self, parent: Option<&Arc<Level>>, name: &CStr, errno: Errno) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.failed += 1;
        if tally.first.is_none() {
            tally.first = Some((path_of(parent, name), errno.into()));
        }
    }

    fn report(&self, more: usize) {
        let seen = self.seen.fetch_add(more, Ordering::Relaxed) + more;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= tally.next_report {
            tally.next_report = now + REPORT;
            tracing::info!(files = seen, "still giving the volume to the pod's group");
        }
    }
}

fn path_of(parent: Option<&Arc<Level>>, name: &CStr) -> PathBuf {
    let mut names = vec![name];
    let mut above = parent;
    while let Some(level) = above {
        names.push(&level.name);
        above = level.parent.as_ref();
    }
    names.into_iter().rev().map(|name| OsStr::from_bytes(name.to_bytes())).collect()
}
