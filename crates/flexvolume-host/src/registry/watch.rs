//! Changes below a directory, by inotify: the events that Kubernetes' watcher (fsnotify) reports.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It was made, or moved here.
    Created,
    /// It was deleted.
    Removed,
    /// It was written, moved away, or its attributes were changed.
    Touched,
}

/// A watch of directories.
pub(super) struct Watch {
    inotify: OwnedFd,
    directories: BTreeMap<i32, PathBuf>,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, directories: BTreeMap::new() })
    }

    /// Watches `path` and all directories below it; what is no directory, or vanishes meanwhile, is left out. Links
    /// are not followed.
    pub(super) fn add_recursively(&mut self, path: &Path) {
        if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            return;
        }
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::ATTRIB
            | WatchFlags::MODIFY
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF;
        match inotify::add_watch(&self.inotify, path, events) {
            Ok(descriptor) => drop(self.directories.insert(descriptor, path.to_owned())),
            Err(errno) => {
                tracing::error!(directory = %path.display(), %errno, "changes here will not be noticed");
            }
        }
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            self.add_recursively(&entry.path());
        }
    }

    /// What has happened since the last call, in order.
    pub(super) fn changes(&mut self) -> Vec<(PathBuf, Change)> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut changes = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK) => return changes,
                Err(errno) => {
                    tracing::error!(%errno, "changes of the plugin directory are lost");
                    return changes;
                }
            };
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let found = note(&mut self.directories, event.wd(), event.events(), name);
            changes.extend(found);
        }
    }
}

/// Translates one event and forgets directories that are gone.
fn note(
    directories: &mut BTreeMap<i32, PathBuf>,
    descriptor: i32,
    events: ReadFlags,
    name: Option<&OsStr>,
) -> Option<(PathBuf, Change)> {
    if events.contains(ReadFlags::QUEUE_OVERFLOW) {
        tracing::error!("too many changes of the plugin directory at once: some are lost");
        return None;
    }
    let directory = directories.get(&descriptor)?.clone();
    if events.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
        directories.remove(&descriptor);
        return None;
    }
    if events.contains(ReadFlags::DELETE_SELF) {
        directories.remove(&descriptor);
        // The directory above reports it as well.
        let parent_reports =
            directories.values().any(|watched| Some(watched.as_path()) == directory.parent());
        return (!parent_reports).then_some((directory, Change::Removed));
    }
    if events.contains(ReadFlags::MOVE_SELF) {
        // Its new path is not known.
        directories.remove(&descriptor);
        return Some((directory, Change::Touched));
    }
    let path = name.map_or_else(|| directory.clone(), |name| directory.join(name));
    let change = if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
        Change::Created
    } else if events.contains(ReadFlags::DELETE) {
        Change::Removed
    } else {
        Change::Touched
    };
    Some((path, change))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_below_is_reported_in_order() {
        let base = tempfile::tempdir().unwrap();
        let (driver, program) = (base.path().join("a~b"), base.path().join("a~b/b"));
        fs::create_dir(&driver).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.add_recursively(base.path());
        assert_eq!(watch.changes(), []);
        fs::write(&program, "").unwrap();
        fs::remove_file(&program).unwrap();
        fs::remove_dir(&driver).unwrap();
        let seen = watch.changes();
        assert_eq!(seen.first(), Some(&(program.clone(), Change::Created)));
        assert_eq!(seen[seen.len() - 2..], [(program, Change::Removed), (driver, Change::Removed)]);
    }

    #[test]
    fn the_end_of_the_watched_directory_is_reported() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("exec");
        fs::create_dir(&directory).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.add_recursively(&directory);
        fs::remove_dir(&directory).unwrap();
        assert_eq!(watch.changes().last(), Some(&(directory.clone(), Change::Removed)));
    }
}
