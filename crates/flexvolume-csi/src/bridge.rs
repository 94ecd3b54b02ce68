//! One FlexVolume driver as a CSI driver: what all its services share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flexvolume_host::VolumeHost;
use flexvolume_host::contract::DriverName;
use flexvolume_host::lifecycle::VolumeManager;
use flexvolume_host::plugin::VolumePlugin;
use flexvolume_host::registry::Registry;
use tonic::Status;

use crate::book::{Book, BookError};
use crate::convert::{self, Use, registry_status};
use crate::flight::Flights;
use crate::messages::VolumeCapability;
use crate::metrics::Metrics;
use crate::name::CsiName;
use crate::record::{AttachedVolume, Provisioned, Published, StagedVolume};
use crate::secrets::SecretDesk;
use crate::settings::{Attach, Expansion, FsGroup, Provisioning, Settings};
use crate::stats::Watchdog;

/// Driver runs at the same time, for one driver: one that hangs must not take the threads of another.
const AT_ONCE: usize = 64;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Mode {
    /// The services of a node.
    Node,
    /// The services of a controller.
    Controller,
    /// Both, on one machine.
    All,
}

impl Mode {
    pub(crate) fn is_node(self) -> bool {
        self != Self::Controller
    }

    pub(crate) fn is_controller(self) -> bool {
        self != Self::Node
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Controller => "controller",
            Self::All => "all",
        }
    }
}

/// What the process was given.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) host: Arc<VolumeHost>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) desk: SecretDesk,
    /// Where records are kept that mean nothing after a reboot.
    pub(crate) records: PathBuf,
    pub(crate) kubelet_root: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) metrics: Arc<Metrics>,
}

/// One driver.
pub(crate) struct Bridge {
    pub(crate) name: CsiName,
    pub(crate) driver: DriverName,
    pub(crate) settings: Settings,
    pub(crate) around: Surroundings,
    pub(crate) manager: VolumeManager,
    pub(crate) flights: Flights,
    pub(crate) published: Book<Published>,
    pub(crate) staged: Book<StagedVolume>,
    pub(crate) provisioned: Book<Provisioned>,
    pub(crate) attached: Book<AttachedVolume>,
    pub(crate) watchdog: Watchdog,
    /// Held between the look for conflicting uses of a volume and the record of a new one.
    pub(crate) admission: Mutex<()>,
}

impl Bridge {
    /// Opens the books of a driver.
    ///
    /// # Errors
    /// [`BookError`].
    pub(crate) fn open(
        (name, driver): (CsiName, DriverName),
        settings: Settings,
        around: Surroundings,
    ) -> Result<Self, BookError> {
        let books = books_of(&around.host.root, &name);
        let fleeting = books_of(&around.records, &name);
        Ok(Self {
            published: Book::open(fleeting.join("published"))?,
            staged: Book::open(fleeting.join("staged"))?,
            provisioned: Book::open(books.join("volumes"))?,
            attached: Book::open(books.join("attached"))?,
            ..Self::without_books((name, driver), settings, around)
        })
    }

    /// A driver that is asked about, and does nothing.
    pub(crate) fn without_books(
        (name, driver): (CsiName, DriverName),
        settings: Settings,
        around: Surroundings,
    ) -> Self {
        Self {
            manager: VolumeManager::new(Arc::clone(&around.host), Arc::clone(&around.registry)),
            flights: Flights::new(AT_ONCE),
            published: Book::default(),
            staged: Book::default(),
            provisioned: Book::default(),
            attached: Book::default(),
            watchdog: Watchdog::default(),
            admission: Mutex::default(),
            name,
            driver,
            settings,
            around,
        }
    }

    /// The driver as it is installed now.
    ///
    /// # Errors
    /// UNAVAILABLE when it is missing or fails.
    pub(crate) fn plugin(&self) -> Result<Arc<VolumePlugin>, Status> {
        self.around.registry.find_by_name(&self.driver).map_err(|error| registry_status(&error))
    }

    /// Where and whether volumes are attached.
    pub(crate) fn attach(&self, plugin: &VolumePlugin) -> Attach {
        match (plugin.capabilities().attach, self.settings.attach) {
            (false, _) => Attach::Off,
            (true, Some(attach)) => attach,
            (true, None) if self.is_local() => Attach::Node,
            (true, None) => Attach::Controller,
        }
    }

    /// Whether volumes can grow.
    pub(crate) fn expands(&self, plugin: &VolumePlugin) -> bool {
        let capabilities = plugin.capabilities();
        match self.settings.expansion {
            Expansion::Auto => capabilities.attach || !capabilities.requires_fs_resize,
            Expansion::On => true,
            Expansion::Off => false,
        }
    }

    /// How a volume shall be used, if the driver is good for that.
    ///
    /// # Errors
    /// INVALID_ARGUMENT.
    pub(crate) fn usage(
        &self,
        capability: Option<&VolumeCapability>,
        read_only: bool,
    ) -> Result<Use, Status> {
        let usage = convert::usage(capability, read_only)?;
        if self.settings.allows(usage.mode) {
            return Ok(usage);
        }
        let text = format!(
            "volumes of {} are not for access mode {:?}: choose another accessMode (`access-modes` in the configuration)",
            self.driver, usage.mode
        );
        Err(Status::invalid_argument(text))
    }

    /// Whether the bridge is told to hand the group to the driver.
    pub(crate) fn takes_mount_group(&self) -> bool {
        self.settings.fs_group != FsGroup::Kubelet
    }

    /// Whether a volume is made on one node and can be used there alone.
    pub(crate) fn is_local(&self) -> bool {
        self.settings.provisioning == Provisioning::Exec
    }

    /// The attributes of a volume: as the caller gives them, or as the bridge knows them that has made the volume.
    pub(crate) fn context(&self, id: &str, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let is_for_drivers = !crate::convert::options(given).is_empty();
        match self.provisioned.get(id) {
            Some(volume) if !is_for_drivers => {
                let mut context = volume.context;
                context.extend(given.clone());
                context
            }
            _ => given.clone(),
        }
    }

    /// Whether volumes are provisioned here.
    pub(crate) fn provisions(&self) -> bool {
        self.settings.provisioning != Provisioning::Off
    }
}

/// Where the books of a driver are, below the root or the directory of records.
pub(crate) fn books_of(directory: &Path, name: &CsiName) -> PathBuf {
    directory.join("csi").join(name.as_str())
}
