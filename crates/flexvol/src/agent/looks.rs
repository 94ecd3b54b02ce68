//! Looks at the mount table, when the kernel says that it has changed: what has vanished from it. And looks at everything
//! now and then: what another program has left behind since we started.
//!
//! In threads of their own, because there may be many thousand lines and records, and nobody else may wait for that.

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
/// How often everything is looked at.
const BETWEEN_STOCKS: Duration = Duration::from_secs(300);
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

/// Takes stock from time to time: a command that died may have left volumes behind.
pub(super) fn take_stock_now_and_then(
    manager: &Arc<VolumeManager>,
    messages: Sender<Message>,
) -> std::io::Result<()> {
    let manager = Arc::clone(manager);
    thread::Builder::new().name("stock".to_owned()).spawn(move || {
        loop {
            thread::sleep(BETWEEN_STOCKS);
            let message = match manager.inventory() {
                Ok(inventory) => Message::Stock(Box::new(inventory)),
                Err(error) => {
                    tracing::warn!(%error, "it cannot be told whether volumes were left behind");
                    continue;
                }
            };
            if messages.send(message).is_err() {
                return;
            }
        }
    })?;
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
