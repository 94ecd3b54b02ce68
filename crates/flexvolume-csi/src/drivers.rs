//! The drivers that a process serves: those it was told, or those that are installed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use flexvolume_host::contract::DriverName;
use flexvolume_host::os::lock::Lock;
use flexvolume_host::registry::{DriverEvent, Registry};
use tokio::sync::{mpsc, watch};

use crate::bridge::{Bridge, Surroundings, books_of};
use crate::config::Config;
use crate::failure::Failure;
use crate::name::CsiName;
use crate::registration::Registration;
use crate::serve::{Ending, serve};

/// How long an installer is given to finish a driver.
const SETTLE: Duration = Duration::from_millis(100);
/// How long the watcher waits at a time.
const POLL: Duration = Duration::from_secs(60);
/// How long a bridge that was killed is given to let go of its lock: a driver that it was just starting holds that too,
/// until the program runs.
const LET_GO: Duration = Duration::from_secs(2);

/// The drivers that are served now.
pub(crate) struct Drivers {
    around: Surroundings,
    config: Config,
    endpoint: Option<PathBuf>,
    ending: Ending,
    served: BTreeMap<DriverName, Served>,
}

struct Served {
    bridge: Arc<Bridge>,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _lock: Lock,
}

impl Drivers {
    /// None yet. With an `endpoint` the one driver is served there and not registered.
    pub(crate) fn new(
        around: Surroundings,
        config: Config,
        endpoint: Option<PathBuf>,
        ending: Ending,
    ) -> Self {
        Self { around, config, endpoint, ending, served: BTreeMap::new() }
    }

    /// Begins to serve a driver.
    ///
    /// # Errors
    /// [`Failure`] when it has no name for CSI, another bridge serves it, or its records cannot be read.
    pub(crate) fn start(&mut self, driver: &DriverName) -> Result<(), Failure> {
        if self.served.contains_key(driver) {
            return Ok(());
        }
        let name = self.config.name_of(driver)?;
        let books = books_of(&self.around.host.root, &name);
        flexvolume_host::os::atomic::create_directories(&books, 0o700)
            .map_err(Failure::system("make the directory", &books))?;
        let lock_file = books.join(format!("{}.lock", self.around.mode.as_str()));
        let lock = Lock::acquire(&lock_file, LET_GO)?;
        let settings = self.config.settings_of(driver);
        let bridge = Bridge::open((name.clone(), driver.clone()), settings, self.around.clone())?;
        let bridge = Arc::new(bridge);
        let (stop, stopped) = watch::channel(false);
        let socket = self.socket(&name);
        let mut tasks = vec![tokio::spawn(serve(socket.clone(), Arc::clone(&bridge), stopped.clone()))];
        if let Some(registry) = self.registration_socket(&name) {
            let registration = Registration { name: name.clone(), endpoint: socket.clone() };
            tasks.push(tokio::spawn(serve(registry, Arc::new(registration), stopped)));
        }
        tracing::info!(%driver, %name, socket = %socket.display(), "serving");
        self.served.insert(driver.clone(), Served { bridge, stop, tasks, _lock: lock });
        Ok(())
    }

    fn socket(&self, name: &CsiName) -> PathBuf {
        match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None if self.around.mode.is_node() => {
                self.around.kubelet_root.join("plugins").join(name.as_str()).join("csi.sock")
            }
            None => books_of(&self.around.host.root, name).join("controller.sock"),
        }
    }

    fn registration_socket(&self, name: &CsiName) -> Option<PathBuf> {
        let registered = self.endpoint.is_none() && self.around.mode.is_node();
        registered.then(|| self.around.kubelet_root.join("plugins_registry").join(format!("{name}-reg.sock")))
    }

    /// Ends to serve a driver that is gone, unless volumes of it are still here: they are waited for.
    fn stop(&mut self, driver: &DriverName) {
        let in_use = |served: &Served| {
            !served.bridge.published.find(|_| true).is_empty()
                || !served.bridge.staged.find(|_| true).is_empty()
                || served.bridge.flights.count() > 0
        };
        match self.served.get(driver) {
            None => {}
            Some(served) if in_use(served) => {
                tracing::warn!(%driver, "the driver is gone, but volumes of it are in use: put it back to unmount them");
            }
            Some(served) => {
                tracing::info!(%driver, "the driver is gone and no longer served");
                let _ = served.stop.send(true);
                self.served.remove(driver);
            }
        }
    }

    /// Serves what is installed, until told to end.
    pub(crate) async fn follow(&mut self, mut events: mpsc::UnboundedReceiver<DriverEvent>) {
        let ending = self.ending.clone();
        let end = crate::serve::ended(ending);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                event = events.recv() => match event {
                    Some(event) => self.take_note(event),
                    None => return,
                },
            }
        }
    }

    fn take_note(&mut self, event: DriverEvent) {
        match event {
            DriverEvent::Added(plugin) => {
                if let Err(error) = self.start(plugin.name()) {
                    tracing::error!(driver = %plugin.name(), %error, "cannot be served");
                }
            }
            DriverEvent::Updated(plugin) => {
                tracing::info!(driver = %plugin.name(), "the driver was replaced");
            }
            DriverEvent::Removed(driver) => self.stop(&driver),
            DriverEvent::Broken(broken) => {
                tracing::error!(directory = %broken.directory.display(), why = broken.why, "cannot be used");
            }
            _ => {}
        }
    }

    /// Ends everything in order.
    pub(crate) async fn end(self) {
        for served in self.served.into_values() {
            let _ = served.stop.send(true);
            for task in served.tasks {
                let _ = task.await;
            }
        }
    }
}

/// Watches the plugin directories on a thread of its own.
///
/// # Errors
/// [`Failure::Watch`].
pub(crate) fn watch(registry: &Arc<Registry>) -> Result<mpsc::UnboundedReceiver<DriverEvent>, Failure> {
    let mut watcher = registry.watch(SETTLE)?;
    let (sender, events) = mpsc::unbounded_channel();
    let watching = move || {
        while !sender.is_closed() {
            match watcher.poll(POLL) {
                Ok(told) => told.into_iter().for_each(|event| drop(sender.send(event))),
                Err(error) => {
                    tracing::error!(%error, "the plugin directories cannot be watched");
                    thread::sleep(POLL);
                }
            }
        }
    };
    thread::Builder::new()
        .name("watcher".to_owned())
        .spawn(watching)
        .map_err(Failure::system("start a thread for", "the watcher"))?;
    Ok(events)
}
