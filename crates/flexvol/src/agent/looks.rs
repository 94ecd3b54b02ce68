//! Looks at the mount table, when the kernel says that it has changed: what has vanished from it.
//!
//! In a thread of its own, because the table may have many thousand lines, and nobody else may wait for that.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::lifecycle::VolumeManager;
use flexvolume_host::reconcile::VolumeKey;
use rustix::event::{PollFd, PollFlags, poll};

use super::Message;

/// Looks are at least this far apart.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// And so many times as long as the last one took.
const SHARE: u32 = 20;

/// Tells of volumes that vanish from the mount table from now on.
pub(super) fn watch_mount_table(
    manager: &Arc<VolumeManager>,
    messages: Sender<Message>,
) -> std::io::Result<()> {
    let table = File::open("/proc/self/mountinfo")?;
    let seen = manager.mounted_volumes().unwrap_or_default();
    let manager = Arc::clone(manager);
    thread::Builder::new()
        .name("mount-table".to_owned())
        .spawn(move || follow(&table, &manager, (seen, &messages)))?;
    Ok(())
}

fn follow(
    table: &File,
    manager: &VolumeManager,
    (mut seen, messages): (BTreeSet<VolumeKey>, &Sender<Message>),
) {
    loop {
        let mut polled = [PollFd::new(table, PollFlags::PRI)];
        if poll(&mut polled, None).is_err() {
            continue;
        }
        let begun = Instant::now();
        let message = match manager.mounted_volumes() {
            Ok(now) => {
                let vanished: Vec<_> = seen.difference(&now).cloned().collect();
                seen = now;
                (!vanished.is_empty()).then_some(Message::Vanished(vanished))
            }
            Err(error) => Some(Message::NoMountTable(error.to_string())),
        };
        if message.is_some_and(|message| messages.send(message).is_err()) {
            return;
        }
        thread::sleep(BETWEEN_LOOKS.max(begun.elapsed() * SHARE));
    }
}
