//! A sign that it is time to look at the plugin directories again, by inotify.
//!
//! What happened is not kept: the watcher looks at the directories themselves, so that nothing is lost when the kernel
//! drops events, and nothing is believed that is no longer so.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Which names in a directory matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interest {
    /// All.
    All,
    /// These: in a driver's directory only its program, so that a driver that writes there wakes nobody.
    Names(BTreeSet<OsString>),
}

impl Interest {
    pub(super) fn name(name: impl Into<OsString>) -> Self {
        Self::Names(BTreeSet::from([name.into()]))
    }

    fn add(&mut self, other: Interest) {
        match (self, other) {
            (Self::All, _) => {}
            (Self::Names(names), Self::Names(others)) => names.extend(others),
            (all, Self::All) => *all = Self::All,
        }
    }

    fn covers(&self, name: Option<&OsStr>) -> bool {
        match (self, name) {
            // Without a name it is about the directory itself.
            (Self::All, _) | (_, None) => true,
            (Self::Names(names), Some(name)) => names.contains(name),
        }
    }
}

/// Watches of directories.
#[derive(Debug)]
pub(super) struct Changes {
    inotify: OwnedFd,
    watched: BTreeMap<i32, Interest>,
    /// The watches of the look that is under way.
    fresh: BTreeMap<i32, Interest>,
    /// Directories that cannot be watched, and why.
    pub(super) unwatched: BTreeMap<PathBuf, Errno>,
}

impl Changes {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let (watched, fresh, unwatched) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { inotify, watched, fresh, unwatched })
    }

    /// Becomes readable when something happens.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Begins a look: what is not asked for again before [`Changes::end_look`] is no longer watched.
    pub(super) fn begin_look(&mut self) {
        self.fresh.clear();
    }

    /// Watches a directory, links followed. One that is not there is no error.
    pub(super) fn watch(&mut self, directory: &Path, interest: Interest) {
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, directory, events) {
            Ok(descriptor) => {
                self.unwatched.remove(directory);
                match self.fresh.get_mut(&descriptor) {
                    Some(known) => known.add(interest),
                    None => drop(self.fresh.insert(descriptor, interest)),
                }
            }
            Err(Errno::NOENT | Errno::NOTDIR) => drop(self.unwatched.remove(directory)),
            Err(errno) => {
                if self.unwatched.insert(directory.to_owned(), errno).is_none() {
                    tracing::warn!(directory = %directory.display(), %errno, "changes here are noticed late");
                }
            }
        }
    }

    /// Ends a look.
    pub(super) fn end_look(&mut self) {
        for descriptor in self.watched.keys().filter(|descriptor| !self.fresh.contains_key(descriptor)) {
            // Most often it ended with its directory.
            let _ = inotify::remove_watch(&self.inotify, *descriptor);
        }
        self.watched = std::mem::take(&mut self.fresh);
    }

    /// Whether something has happened since this was asked last that is worth a look.
    pub(super) fn any(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut any = false;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK) => return any,
                Err(errno) => {
                    tracing::warn!(%errno, "events of the plugin directories are lost");
                    return true;
                }
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                any = true;
            } else if let Some(interest) = self.watched.get(&event.wd()) {
                any |= interest.covers(event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn watching(directory: &Path, interest: Interest) -> Changes {
        let mut changes = Changes::new().unwrap();
        look(&mut changes, directory, interest);
        changes
    }

    fn look(changes: &mut Changes, directory: &Path, interest: Interest) {
        changes.begin_look();
        changes.watch(directory, interest);
        changes.end_look();
    }

    #[test]
    fn only_names_of_interest_and_the_directory_itself_are_worth_a_look() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("a~b");
        fs::create_dir(&directory).unwrap();
        let mut changes = watching(&directory, Interest::name("b"));
        assert!(!changes.any());
        fs::write(directory.join("log"), "x").unwrap();
        assert!(!changes.any());
        fs::write(directory.join("b"), "x").unwrap();
        assert!(changes.any());
        assert!(!changes.any());
        fs::rename(&directory, base.path().join("away")).unwrap();
        assert!(changes.any());
    }

    #[test]
    fn interests_in_the_same_directory_add_up() {
        let base = tempfile::tempdir().unwrap();
        let mut changes = Changes::new().unwrap();
        changes.begin_look();
        changes.watch(base.path(), Interest::name("one"));
        changes.watch(base.path(), Interest::name("two"));
        changes.end_look();
        fs::write(base.path().join("two"), "").unwrap();
        assert!(changes.any());
        look(&mut changes, base.path(), Interest::name("one"));
        fs::write(base.path().join("two"), "x").unwrap();
        assert!(!changes.any(), "what was not asked for again is forgotten");
    }

    #[test]
    fn lost_events_are_worth_a_look() {
        let limit: usize =
            fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        if limit > 100_000 {
            eprintln!("skipped: lost_events_are_worth_a_look: the queue holds {limit} events");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let mut changes = watching(base.path(), Interest::name("nothing"));
        let files = ["a", "b"].map(|name| base.path().join(name));
        for file in &files {
            fs::write(file, "").unwrap();
        }
        // Two names in turn: equal events that follow each other are one.
        for _ in 0..=limit / 2 {
            for file in &files {
                fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        assert!(changes.any());
    }
}
