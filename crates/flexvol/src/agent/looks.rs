//! Looks at the mount table, when the kernel says that it has changed. And looks at everything now
//! and then: what another program has left behind since we started.
//!
//! In threads of their own, because there may be many thousand lines and records, and nobody else may wait for that.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::lifecycle::VolumeManager;
use rustix::event::{PollFd, PollFlags, poll};

use super::Message;

/// Looks are at least this far apart.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// How often everything is looked at.
const BETWEEN_STOCKS: Duration = Duration::from_secs(300);
/// And so many times as long as the last one took.
const SHARE: u32 = 20;

/// Tells which volumes are mounted each time that the mount table has changed from now on.
pub(super) fn watch_mount_table(
    manager: &Arc<VolumeManager>,
    messages: Sender<Message>,
) -> std::io::Result<()> {
    let table = File::open("/proc/self/mountinfo")?;
    let manager = Arc::clone(manager);
    thread::Builder::new()
        .name("mount-table".to_owned())
        .spawn(move || follow(&table, &manager, &messages))?;
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

fn follow(table: &File, manager: &VolumeManager, messages: &Sender<Message>) {
    let mut pause = BETWEEN_LOOKS;
    loop {
        let mut polled = [PollFd::new(table, PollFlags::PRI)];
        if poll(&mut polled, None).is_err() {
            continue;
        }
        // Where something was mounted more will be, most often, and what works on that needs the processors now.
        thread::sleep(pause);
        let begun = Instant::now();
        let message = match manager.mounted_volumes() {
            Ok(mounted) => Message::MountTable(mounted),
            Err(error) => Message::NoMountTable(error.to_string()),
        };
        if messages.send(message).is_err() {
            return;
        }
        pause = BETWEEN_LOOKS.max(begun.elapsed() * SHARE);
    }
}
