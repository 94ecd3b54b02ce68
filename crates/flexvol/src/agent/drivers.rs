//! The plugin directories, watched: what the watcher tells, in the words of the reconciler.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use flexvolume_host::contract::DriverName;
use flexvolume_host::plugin::VolumePlugin;
use flexvolume_host::reconcile::{Attaching, DriverState};
use flexvolume_host::registry::{Broken, DriverEvent, WatchError, Watcher};

use super::Message;
use crate::session::Session;

/// How long a driver that is being installed must be left alone before it is asked.
const SETTLE: Duration = Duration::from_millis(200);
/// How long the watcher may go without being asked.
const PATIENCE: Duration = Duration::from_secs(600);
/// A little longer than an `init` of a healthy driver: then those are missing that nobody has spoken of.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// Something new about a driver.
#[derive(Debug)]
pub(super) enum DriverNews {
    /// A driver is so now.
    Is(DriverName, DriverState),
    /// A directory cannot be one of a driver.
    BrokenDirectory(String),
    /// All that were there at the start have been asked; these are there, and some of them may take their time.
    Discovered(BTreeSet<DriverName>),
}

/// Watches in a thread of its own, from now on.
pub(super) fn watch(session: &Session, messages: Sender<Message>) -> Result<(), WatchError> {
    let watcher = session.registry.watch(SETTLE)?;
    let plugin_dirs = session.plugin_dirs.clone();
    thread::Builder::new()
        .name("drivers".to_owned())
        .spawn(move || follow(watcher, &plugin_dirs, &messages))
        .map_err(WatchError::Watch)?;
    Ok(())
}

fn follow(mut watcher: Watcher, plugin_dirs: &[PathBuf], messages: &Sender<Message>) {
    let begun = std::time::Instant::now();
    let mut discovered = false;
    loop {
        let patience = if discovered { PATIENCE } else { FIRST_LOOK / 10 };
        let events = match watcher.poll(patience) {
            Ok(events) => events,
            Err(error) => {
                tracing::error!(%error, "the plugin directories cannot be watched for a moment");
                thread::sleep(FIRST_LOOK);
                continue;
            }
        };
        let mut news: Vec<_> = events.into_iter().map(news).collect();
        if !discovered && (!watcher.is_busy() || begun.elapsed() >= FIRST_LOOK) {
            discovered = true;
            news.push(DriverNews::Discovered(installed(plugin_dirs)));
        }
        for news in news {
            if messages.send(Message::Driver(news)).is_err() {
                return;
            }
        }
    }
}

fn news(event: DriverEvent) -> DriverNews {
    match event {
        DriverEvent::Added(plugin) | DriverEvent::Updated(plugin) => {
            DriverNews::Is(plugin.name().clone(), ready(&plugin))
        }
        DriverEvent::Removed(name) => DriverNews::Is(name, DriverState::Missing),
        DriverEvent::Broken(Broken { directory, why }) => match name_of(&directory) {
            Some(name) => DriverNews::Is(name, DriverState::Broken(why)),
            None => DriverNews::BrokenDirectory(format!("{}: {why}", directory.display())),
        },
        other => DriverNews::BrokenDirectory(format!("{other:?}")),
    }
}

fn ready(plugin: &Arc<VolumePlugin>) -> DriverState {
    DriverState::Ready(if plugin.attachable().is_some() { Attaching::Yes } else { Attaching::No })
}

fn name_of(directory: &Path) -> Option<DriverName> {
    DriverName::from_directory(directory.file_name()?.to_str()?).ok()
}

/// The drivers that have a directory.
fn installed(plugin_dirs: &[PathBuf]) -> BTreeSet<DriverName> {
    let listings = plugin_dirs.iter().filter_map(|plugin_dir| std::fs::read_dir(plugin_dir).ok());
    listings.flatten().flatten().filter_map(|entry| name_of(&entry.path())).collect()
}
