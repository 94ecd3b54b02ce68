//! A registered driver and what a host does with it, under the names of Kubernetes' volume interfaces.

mod attach;
mod attributes;
mod device;
mod directory;
mod driver_call;
mod error;
mod expand;
mod extension;
mod format;
mod invocation;
pub(crate) mod mount_check;
mod mounter;
mod naming;
mod options;
mod ownership;
mod ownership_walk;
mod redaction;
mod serial;
pub(crate) mod shape;
mod strict;
mod strict_format;
mod unmounter;
mod v1;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flexvolume::{Call, Capabilities, DriverName, PodUid, Verb, VolumeName};

pub use self::attach::Attachments;
pub use self::attributes::{Attributes, Metrics};
pub use self::error::PluginError;
pub use self::expand::{Expander, FileSystemPlace, Sizes};
pub use self::invocation::Invocation;
pub use self::mounter::Mounter;
pub use self::naming::split_unique_name;
pub use self::ownership::{OwnershipError, give_to_group};
pub use self::unmounter::Unmounter;

use self::driver_call::{Answer, Executable};
use crate::reply::Run;
use crate::settings::{DriverSettings, Protocol};
use crate::spec::{Pod, VolumeSpec};
use crate::{VolumeHost, paths};

/// Whether an idempotent step did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did.
    Changed,
    /// It was so already.
    Unchanged,
}

/// A driver that has answered `init` and has no name yet: Kubernetes looks at the name afterwards.
pub(crate) struct Initialised {
    executable: Executable,
    capabilities: Capabilities,
    message: String,
}

impl Initialised {
    /// Runs `init` of the driver at `executable`.
    ///
    /// # Errors
    /// [`PluginError`] when the driver cannot be run, fails, or declares null capabilities, which crash Kubernetes.
    pub(crate) fn new(
        host: Arc<VolumeHost>,
        executable: PathBuf,
        settings: Arc<DriverSettings>,
    ) -> Result<Self, PluginError> {
        let executable = Executable::new(host, executable, settings);
        let (capabilities, message) = executable.init()?;
        Ok(Self { executable, capabilities, message })
    }

    pub(crate) fn into_plugin(self, name: DriverName) -> VolumePlugin {
        let Self { executable, capabilities, message } = self;
        VolumePlugin { name, executable, capabilities, message }
    }
}

/// A registered driver (the seed's `VolumePlugin`).
pub struct VolumePlugin {
    name: DriverName,
    executable: Executable,
    capabilities: Capabilities,
    message: String,
}

impl VolumePlugin {
    /// [`Initialised::new`] with a name that is known to be good.
    pub(crate) fn load(
        host: Arc<VolumeHost>,
        name: DriverName,
        executable: PathBuf,
        settings: Arc<DriverSettings>,
    ) -> Result<Self, PluginError> {
        Ok(Initialised::new(host, executable, settings)?.into_plugin(name))
    }

    /// `vendor/driver`.
    #[must_use]
    pub fn name(&self) -> &DriverName {
        &self.name
    }

    /// The executable.
    #[must_use]
    pub fn executable(&self) -> &Path {
        self.executable.path()
    }

    /// What the driver can do: what `init` declared, where the settings do not say otherwise.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let attach = self.settings().attaches(self.capabilities.attach);
        Capabilities { attach, ..self.capabilities }
    }

    /// What `init` declared.
    #[must_use]
    pub fn declared_capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What `init` said beside that: empty, or words for people, such as the driver's version.
    #[must_use]
    pub fn init_message(&self) -> &str {
        &self.message
    }

    /// Runs `init` once more, for a person who wants to see the answer.
    pub fn ask_init(&self) -> Run {
        self.executable.ask_init()
    }

    /// Runs the driver with a verb that no driver knows ([`crate::reply::tolerant::NONSENSE`]).
    pub fn ask_nonsense(&self) -> Run {
        self.executable.talk_nonsense()
    }

    /// The settings that the driver is run with.
    #[must_use]
    pub fn settings(&self) -> &Arc<DriverSettings> {
        self.executable.settings()
    }

    /// How long a call-out of the driver may take.
    pub(crate) fn deadline(&self, verb: Verb) -> Duration {
        self.executable.usual_deadline(verb)
    }

    /// Whether the driver speaks the contract of Kubernetes 1.5, in which the device goes from call to call.
    pub(crate) fn speaks_v1(&self) -> bool {
        self.settings().protocol.value == Protocol::V1
    }

    /// The attachable side, when the driver has one (the seed's `AttachableVolumePlugin`).
    #[must_use]
    pub fn attachable(self: &Arc<Self>) -> Option<AttachablePlugin> {
        self.capabilities().attach.then(|| AttachablePlugin { plugin: Arc::clone(self) })
    }

    /// For mounting a volume for a pod.
    #[must_use]
    pub fn mounter(self: &Arc<Self>, spec: &VolumeSpec, pod: &Pod) -> Mounter {
        Mounter::new(Arc::clone(self), spec.clone(), pod.clone())
    }

    /// For unmounting it, which needs no spec.
    #[must_use]
    pub fn unmounter(self: &Arc<Self>, volume: &VolumeName, pod: &PodUid) -> Unmounter {
        let mount_dir = paths::mount_dir(&self.host().root, pod, &self.name, volume);
        Unmounter::new(Arc::clone(self), mount_dir, volume.clone())
    }

    /// The name of the volume, by which its device mount path is found: always that of the spec. The driver is asked
    /// all the same, and its failure counts (Kubernetes v1.37 `pkg/volume/flexvolume/plugin.go`).
    ///
    /// # Errors
    /// [`PluginError`] when `getvolumename` fails.
    pub fn volume_name(&self, spec: &VolumeSpec) -> Result<VolumeName, PluginError> {
        self.call(&Call::GetVolumeName { options: options::of_volume(spec) })?;
        Ok(spec.name.clone())
    }

    /// The device mount path of a volume.
    ///
    /// # Errors
    /// [`PluginError`] when `getvolumename` fails.
    pub(crate) fn device_mount_path(&self, spec: &VolumeSpec) -> Result<PathBuf, PluginError> {
        let name = self.volume_name(spec).map_err(|error| PluginError::NoDeviceMountPath(error.into()))?;
        let root = &self.host().root;
        if root.as_os_str().is_empty() {
            // A controller has no directories; what it passes to `expandvolume` is relative to nothing.
            return Ok(Path::new(self.name.as_str()).join("mounts").join(name.as_str()));
        }
        Ok(paths::device_mount_path(root, &self.name, &name))
    }

    fn host(&self) -> &VolumeHost {
        self.executable.host()
    }

    fn call(&self, call: &Call) -> Result<Answer, PluginError> {
        self.call_on(call, "")
    }

    /// A call on a volume of which the device is known; some drivers want to be told it.
    fn call_on(&self, call: &Call, device: &str) -> Result<Answer, PluginError> {
        self.call_for(serial::volume_of(call), call, device)
    }

    /// A call that changes the volume of this name, or none.
    fn call_for(&self, volume: Option<&OsStr>, call: &Call, device: &str) -> Result<Answer, PluginError> {
        let turn = self.wait_for_turn_on(volume)?;
        let answer = self.executable.call_on(call, device);
        turn.end();
        answer
    }

    fn call_within(&self, call: &Call, deadline: Duration) -> Result<Answer, PluginError> {
        let turn = self.wait_for_turn(call)?;
        let answer = self.executable.call_within(call, deadline);
        turn.end();
        answer
    }

    /// Logs that the host does a step itself.
    fn using_default(&self, step: &'static str) {
        tracing::debug!(driver = %self.name, step, "not supported by the driver: using the default");
    }
}

impl fmt::Debug for VolumePlugin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VolumePlugin")
            .field("name", &self.name)
            .field("executable", &self.executable())
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

/// The attachable side of a plugin (the seed's `AttachableVolumePlugin` and `DeviceMountableVolumePlugin`, with their
/// attacher, detacher, device mounter and device unmounter).
#[derive(Debug)]
pub struct AttachablePlugin {
    plugin: Arc<VolumePlugin>,
}

#[cfg(test)]
mod tests;
