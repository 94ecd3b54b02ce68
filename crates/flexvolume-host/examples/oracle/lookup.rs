//! What a step names: its volume, its pod, its plugin.

use std::sync::Arc;

use flexvolume_host::contract::{Access, DriverName, PodUid, VolumeName};
use flexvolume_host::plugin::{AttachablePlugin, VolumePlugin};
use flexvolume_host::spec::{
    FsGroupChangePolicy, MounterArguments, Pod, SecretReference, Source, VolumeMode, VolumeSpec,
};

use crate::operations::{Call, Done, Stop, host};
use crate::scenario;

impl Call<'_, '_> {
    pub(crate) fn volume(&self) -> Done<&scenario::Volume> {
        self.world.scenario.volume(&self.step.volume).map_err(Stop::Scenario)
    }

    pub(crate) fn spec(&self) -> Done<VolumeSpec> {
        spec(self.volume()?)
    }

    pub(crate) fn pod(&self) -> Done<(Pod, MounterArguments)> {
        let pod = self.world.scenario.pod(&self.step.pod).map_err(Stop::Scenario)?;
        let fs_group_change_policy = match pod.fs_group_change_policy.as_str() {
            "OnRootMismatch" => FsGroupChangePolicy::OnRootMismatch,
            _ => FsGroupChangePolicy::Always,
        };
        let arguments = MounterArguments { fs_group: pod.fs_group, fs_group_change_policy };
        let pod = Pod {
            uid: PodUid::parse(pod.uid.clone()).map_err(host)?,
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            service_account: pod.service_account.clone(),
        };
        Ok((pod, arguments))
    }

    pub(crate) fn node(&self) -> String {
        self.step.node.clone().unwrap_or_else(|| self.world.scenario.node.clone())
    }

    fn driver_name(&self) -> Done<String> {
        if self.step.driver.is_empty() {
            Ok(self.volume()?.driver.clone())
        } else {
            Ok(self.step.driver.clone())
        }
    }

    pub(crate) fn plugin_by_name(&mut self) -> Done<Arc<VolumePlugin>> {
        let name = self.driver_name()?;
        let unknown = || Stop::Host(format!("no volume plugin matched name: {name}"));
        let registry = self.world.registry(self.step.role).ok_or_else(unknown)?;
        match DriverName::parse(name.clone()) {
            Ok(name) => registry.find_by_name(&name).map_err(host),
            Err(_) => {
                registry.refresh();
                Err(unknown())
            }
        }
    }

    pub(crate) fn plugin_by_spec(&mut self) -> Done<Arc<VolumePlugin>> {
        let not_flex = self.volume()?.not_flex;
        let unknown = || Stop::Host("no volume plugin matched".to_owned());
        let registry = self.world.registry(self.step.role).ok_or_else(unknown)?;
        if not_flex {
            registry.refresh();
            return Err(unknown());
        }
        // A name that is none is refused here; the look-up is made all the same.
        match self.spec() {
            Ok(spec) => registry.find_by_spec(&spec).map_err(host),
            Err(stop) => {
                registry.refresh();
                Err(stop)
            }
        }
    }

    pub(crate) fn attachable(&mut self) -> Done<AttachablePlugin> {
        let plugin = self.plugin_by_spec()?;
        plugin.attachable().ok_or_else(|| host("oracle: the plugin is not attachable"))
    }

    pub(crate) fn device_mountable(&mut self) -> Done<AttachablePlugin> {
        let plugin = self.plugin_by_spec()?;
        plugin.attachable().ok_or_else(|| host("oracle: the plugin is not device-mountable"))
    }

    pub(crate) fn device_mountable_by_name(&mut self) -> Done<AttachablePlugin> {
        let plugin = self.plugin_by_name()?;
        plugin.attachable().ok_or_else(|| host("oracle: the plugin is not device-mountable"))
    }
}

/// A volume of the scenario as the host knows volumes.
pub(crate) fn spec(volume: &scenario::Volume) -> Done<VolumeSpec> {
    let long =
        volume.long_options.iter().map(|(key, repeat)| (key.clone(), repeat.text.repeat(repeat.times)));
    let reference = |secret: &scenario::SecretRef| SecretReference {
        namespace: Some(secret.namespace.clone()).filter(|namespace| volume.pv && !namespace.is_empty()),
        name: secret.name.clone(),
    };
    let mode = match volume.volume_mode.as_str() {
        "" => None,
        "Block" => Some(VolumeMode::Block),
        _ => Some(VolumeMode::Filesystem),
    };
    Ok(VolumeSpec {
        name: VolumeName::parse(volume.name.clone()).map_err(host)?,
        driver: volume.driver.clone(),
        fs_type: volume.fs_type.clone(),
        access: if volume.read_only { Access::ReadOnly } else { Access::ReadWrite },
        options: volume.options.clone().into_iter().chain(long).collect(),
        secret: volume.secret_ref.as_ref().map(reference),
        source: if volume.pv { Source::PersistentVolume { mode, capacity: None } } else { Source::Inline },
    })
}
