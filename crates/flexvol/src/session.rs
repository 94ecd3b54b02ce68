//! The flags made into what the commands work with: host, registry, volume manager.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use flexvolume_host::contract::NodeName;
use flexvolume_host::lifecycle::VolumeManager;
use flexvolume_host::os::System;
use flexvolume_host::os::runner::Runner;
use flexvolume_host::registry::Registry;
use flexvolume_host::settings::Settings;
use flexvolume_host::{Deadlines, SecretSource, VolumeHost};

use crate::args::Global;
use crate::failure::{BAD_INPUT, Failure};
use crate::output::Output;
use crate::progress::ProgressRunner;

/// What the commands work with.
pub(crate) struct Session {
    pub(crate) host: Arc<VolumeHost>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) plugin_dirs: Vec<PathBuf>,
    pub(crate) output: Output,
}

impl Session {
    /// Makes the session of these flags. Nothing is created or called.
    ///
    /// # Errors
    /// When a flag has no sensible value.
    pub(crate) fn new(global: &Global, secrets: impl SecretSource + 'static) -> Result<Self, Failure> {
        let host = Arc::new(VolumeHost {
            root: absolute(&global.root)?,
            node: node_name(global)?,
            system: system(global),
            secrets: Arc::new(secrets),
            reading: global.reading.into(),
            deadlines: Deadlines::default(),
            settings: Arc::new(settings(global)?),
        });
        let plugin_dirs = global.plugin_dir.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
        let registry = Arc::new(Registry::new(Arc::clone(&host), plugin_dirs.clone()));
        Ok(Self { host, registry, plugin_dirs, output: Output { format: global.output } })
    }

    /// The same with another runner, made of this one.
    pub(crate) fn with_runner(self, wrap: impl FnOnce(Arc<dyn Runner>) -> Arc<dyn Runner>) -> Self {
        let system =
            System { runner: wrap(Arc::clone(&self.host.system.runner)), ..self.host.system.clone() };
        let host = Arc::new(VolumeHost { system, ..VolumeHost::clone(&self.host) });
        let registry = Arc::new(Registry::new(Arc::clone(&host), self.plugin_dirs.clone()));
        Self { host, registry, ..self }
    }

    /// Mounts and unmounts.
    pub(crate) fn manager(&self) -> VolumeManager {
        VolumeManager::new(Arc::clone(&self.host), Arc::clone(&self.registry))
    }
}

/// Drivers get absolute paths only, whatever directory we were started in.
fn absolute(directory: &PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(directory)
        .map_err(|error| Failure::says(BAD_INPUT, format_args!("{}: {error}", directory.display())))
}

fn settings(global: &Global) -> Result<Settings, Failure> {
    let settings = Settings::in_directory(absolute(&global.settings_dir)?);
    Ok(match global.deadline {
        Some(deadline) => settings.with_deadline(deadline),
        None => settings,
    })
}

/// `--node`, or the host name, in lower case as kubelet has it.
fn node_name(global: &Global) -> Result<String, Failure> {
    let name = match &global.node {
        Some(name) => name.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_lowercase(),
    };
    let name = NodeName::parse(name).map_err(|error| Failure::new(BAD_INPUT, error))?;
    Ok(name.to_string())
}

/// This machine; slow calls are announced where somebody may be watching.
fn system(global: &Global) -> System {
    let mut system = System::host();
    if global.verbose > 0 || std::io::stderr().is_terminal() {
        system.runner = Arc::new(ProgressRunner::new(system.runner));
    }
    system
}
