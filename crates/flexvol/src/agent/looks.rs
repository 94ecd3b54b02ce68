//! Looks at the mount table, when the kernel says that it has changed: whether somebody has unmounted a volume.

use std::fs::File;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::lifecycle::VolumeManager;
use flexvolume_host::reconcile::Reconciler;
use rustix::event::{PollFd, PollFlags, poll};

use super::Message;
use super::journal::{Event, Journal};
use super::run_loop::notice_event;

/// Looks are at least this far apart.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// And so many times as long as the last one took: the mount table may have many thousand lines.
const SHARE: u32 = 20;

/// When to look next.
#[derive(Debug, Default)]
pub(super) struct Looks {
    due: Option<Instant>,
    pause: Duration,
    last: Option<Instant>,
}

/// Tells of changes of the mount table from now on, by a thread of its own.
pub(super) fn watch_mount_table(messages: Sender<Message>) -> std::io::Result<()> {
    let table = File::open("/proc/self/mountinfo")?;
    thread::Builder::new().name("mount-table".to_owned()).spawn(move || {
        loop {
            let mut polled = [PollFd::new(&table, PollFlags::PRI)];
            if poll(&mut polled, None).is_err() {
                continue;
            }
            if messages.send(Message::MountTable).is_err() {
                return;
            }
            // However many mounts there are in a row, one message is enough.
            thread::sleep(BETWEEN_LOOKS / 2);
        }
    })?;
    Ok(())
}

impl Looks {
    pub(super) fn mount_table_changed(&mut self) {
        let earliest = self.last.map_or_else(Instant::now, |last| last + self.pause);
        self.due.get_or_insert(earliest);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks, if it is time.
    pub(super) fn take(
        &mut self,
        reconciler: &mut Reconciler,
        manager: &VolumeManager,
        journal: &mut Journal,
    ) {
        let begun = Instant::now();
        if self.due.is_none_or(|due| due > begun) {
            return;
        }
        let mounted: Vec<_> = reconciler.mounted().collect();
        match manager.not_mounted(&mounted) {
            Ok(lost) => {
                for key in lost {
                    if let Some(notice) = reconciler.lost(key, begun) {
                        journal.tell(notice_event(&notice));
                    }
                }
            }
            Err(error) => journal.tell(Event::new("MountTableFailed").saying(&error.to_string())),
        }
        let took = begun.elapsed();
        (self.due, self.last) = (None, Some(Instant::now()));
        self.pause = BETWEEN_LOOKS.max(took * SHARE);
    }
}
