//! The directory of manifests, watched: which files have come, changed and gone, and what they hold.
//!
//! A file is read when its writer has closed it or moved it here. Where that was not seen (it was there before us, events
//! were lost, it is a link) the kernel is asked whether anybody has it open for writing; where it cannot tell (on a
//! network) the file is read once it has been left alone for a while. Events only say when to look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use flexvolume_host::os::writers::{self, Writers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::news::News;

/// How long a file must be left alone that nobody is known to have finished.
const SETTLE: Duration = Duration::from_millis(500);
/// How often to look although nothing was heard.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);
/// The same while the directory cannot be watched or read.
const LOOK_WITHOUT_WATCH: Duration = Duration::from_secs(1);
/// The largest manifest file, as for `flexvol mount`.
const FILE_LIMIT: u64 = 4 << 20;
/// More files than this are not a directory of manifests.
const MOST_FILES: usize = 100_000;

/// What tells two states of a file apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What is known of a file.
#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    since: Instant,
    /// Whether it was read with this stamp.
    read: Read,
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    Yes,
    NotYet,
}

/// The watched directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    inotify: Option<OwnedFd>,
    watch: Option<i32>,
    files: BTreeMap<String, Seen>,
    /// Written to by somebody who has not closed them.
    being_written: BTreeSet<String>,
    /// Closed or moved here since the last look.
    finished: BTreeSet<String>,
    /// When everything was looked at.
    looked: Option<Instant>,
    /// Of which something was heard, or which must be looked at again.
    pending: BTreeSet<String>,
    /// Whether what was heard is not all that happened.
    deaf: bool,
}

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        if let Err(error) = &inotify {
            tracing::warn!(%error, "the manifests cannot be watched: changes are noticed a second late");
        }
        Self {
            path,
            inotify: inotify.ok(),
            watch: None,
            files: BTreeMap::new(),
            being_written: BTreeSet::new(),
            finished: BTreeSet::new(),
            looked: None,
            pending: BTreeSet::new(),
            deaf: true,
        }
    }

    /// Waits until there is reason to look, and looks.
    ///
    /// # Errors
    /// When the directory cannot be read: then nothing is known, and least of all that files are gone.
    pub(super) fn next_news(&mut self) -> io::Result<Vec<(String, News)>> {
        if let (Some(looked), false) = (self.looked, self.deaf) {
            self.wait(looked);
        }
        self.watch();
        self.note_events();
        let all_due = self.looked.is_none_or(|looked| looked.elapsed() >= self.interval());
        if self.deaf || all_due { self.look_at_all() } else { Ok(self.look_at_pending()) }
    }

    /// How often to look at everything.
    fn interval(&self) -> Duration {
        if self.watch.is_some() { LOOK_ANYWAY } else { LOOK_WITHOUT_WATCH }
    }

    fn wait(&self, looked: Instant) {
        let mut left = self.interval().saturating_sub(looked.elapsed());
        if !self.pending.is_empty() {
            left = left.min(SETTLE / 5);
        }
        let Some(inotify) = &self.inotify else { return std::thread::sleep(left) };
        let timeout = Timespec::try_from(left).ok();
        // Woken too early it looks once more.
        let _ = poll(&mut [PollFd::new(inotify, PollFlags::IN)], timeout.as_ref());
    }

    /// Watches what is at the path now: it may be another directory than before.
    fn watch(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let watch = inotify::add_watch(inotify, &self.path, events).ok();
        if let Some(old) = self.watch.filter(|old| Some(*old) != watch) {
            // It ended with its directory, most often.
            let _ = inotify::remove_watch(inotify, old);
        }
        if self.watch != watch {
            self.being_written.clear();
            self.deaf = true;
        }
        self.watch = watch;
    }

    fn note_events(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = Reader::new(inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            let (events, watch) = (event.events(), event.wd());
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.being_written.clear();
                self.finished.clear();
                self.deaf = true;
            }
            let name = event.file_name().and_then(|name| name.to_str().ok());
            let Some(name) = name.filter(|_| Some(watch) == self.watch) else { continue };
            if !counts(name) {
                // A link to a directory may have been replaced, through which many manifests are reached.
                self.deaf |= events.contains(ReadFlags::MOVED_TO);
                continue;
            }
            self.pending.insert(name.to_owned());
            if events.contains(ReadFlags::MODIFY) {
                self.finished.remove(name);
                self.being_written.insert(name.to_owned());
            } else if !events.contains(ReadFlags::CREATE) {
                self.being_written.remove(name);
                if events.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
                    self.finished.insert(name.to_owned());
                }
            }
        }
    }

    fn look_at_all(&mut self) -> io::Result<Vec<(String, News)>> {
        let names = match names(&self.path) {
            Ok(names) => names,
            Err(error) => {
                // Not again at once.
                (self.looked, self.deaf) = (Some(Instant::now()), false);
                return Err(error);
            }
        };
        self.pending = self.files.keys().cloned().chain(names).collect();
        let news = self.look_at_pending();
        (self.looked, self.deaf) = (Some(Instant::now()), false);
        Ok(news)
    }

    fn look_at_pending(&mut self) -> Vec<(String, News)> {
        let mut news = Vec::new();
        for name in std::mem::take(&mut self.pending) {
            news.extend(self.look_at(&name).map(|found| (name, found)));
        }
        self.finished.clear();
        news
    }

    fn look_at(&mut self, name: &str) -> Option<News> {
        let file = self.path.join(name);
        let stamp = match std::fs::metadata(&file) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) => return self.unreadable(name, &error),
        };
        let is_new = !self.files.contains_key(name);
        let now = Instant::now();
        let first_look = self.looked.is_none();
        let seen = self.files.entry(name.to_owned()).or_insert_with(|| Seen {
            // What was there before us and is not quite new was not begun just now.
            since: if first_look && is_old(&stamp) { now.checked_sub(SETTLE).unwrap_or(now) } else { now },
            stamp: stamp.clone(),
            read: Read::NotYet,
        });
        if seen.stamp != stamp {
            (seen.stamp, seen.since, seen.read) = (stamp.clone(), now, Read::NotYet);
        }
        if seen.read == Read::Yes {
            return None;
        }
        let settled = self.finished.contains(name)
            || (!self.being_written.contains(name) && seen.since.elapsed() >= SETTLE);
        if !settled {
            if !self.being_written.contains(name) {
                let closed = self.read(name, &stamp, Wanted::IfClosed);
                if closed.is_some() {
                    return closed;
                }
                self.pending.insert(name.to_owned());
            }
            return is_new.then_some(News::Unfinished);
        }
        self.read(name, &stamp, Wanted::Anyway)
    }

    fn read(&mut self, name: &str, stamp: &Stamp, wanted: Wanted) -> Option<News> {
        match read(&self.path.join(name)) {
            Ok(Contents { writers: Writers::Perhaps, .. }) if wanted == Wanted::IfClosed => None,
            Ok(Contents { text, stamp: read, .. }) if read == *stamp => {
                if let Some(seen) = self.files.get_mut(name) {
                    seen.read = Read::Yes;
                }
                Some(text.map_or_else(|why| News::Unusable(format!("{name}: {why}")), News::Text))
            }
            // Changed while it was read: once more.
            Ok(_) => {
                self.pending.insert(name.to_owned());
                None
            }
            Err(error) => self.unreadable(name, &error),
        }
    }

    /// A link that leads nowhere, a file that went away meanwhile, or one that we may not read.
    fn unreadable(&mut self, name: &str, error: &io::Error) -> Option<News> {
        if error.kind() == io::ErrorKind::NotFound && std::fs::symlink_metadata(self.path.join(name)).is_err()
        {
            return self.files.remove(name).map(|_| News::Removed);
        }
        // It stays so until something is heard of it, or everything is looked at again.
        Some(News::Unusable(format!("{name}: cannot be read: {error}")))
    }
}

/// Whether a file is wanted that somebody may be writing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    IfClosed,
    Anyway,
}

/// Whether a file was last written more than a while ago, as far as the clock can be believed.
fn is_old(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(stamp.modified.0);
    !(-1..=1).contains(&age)
}

/// Whether a file is a manifest by its name: `*.yaml`, `*.yml`, `*.json`, not hidden.
fn counts(name: &str) -> bool {
    !name.starts_with('.') && [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}

/// The names of the files that count.
fn names(directory: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if counts(&name) {
            names.insert(name);
        }
        if names.len() > MOST_FILES {
            return Err(io::Error::other(format!("has more than {MOST_FILES} manifests")));
        }
    }
    Ok(names)
}

/// What was read of a file.
struct Contents {
    /// The text, or why there is none.
    text: Result<String, String>,
    /// The state that was read.
    stamp: Stamp,
    /// Who was writing when it had been read.
    writers: Writers,
}

/// Never waits, as opening a pipe would.
fn read(file: &Path) -> io::Result<Contents> {
    let without_waiting = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(file)?;
    let before = file.metadata()?;
    if !before.is_file() {
        let text = Err("is not a file".to_owned());
        return Ok(Contents { text, stamp: Stamp::of(&before), writers: Writers::Perhaps });
    }
    if before.len() > FILE_LIMIT {
        let why = format!("has more than {FILE_LIMIT} bytes; a manifest for flexvol needs far less");
        return Ok(Contents { text: Err(why), stamp: Stamp::of(&before), writers: Writers::Perhaps });
    }
    let (text, writers) = (read_text(&file)?, writers::of(&file));
    Ok(Contents { text, stamp: Stamp::of(&file.metadata()?), writers })
}

fn read_text(file: &File) -> io::Result<Result<String, String>> {
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned()))
}
