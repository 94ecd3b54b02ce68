//! The steps of a scenario: calls of the host, each with one look-up of its plugin, and changes of the world.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_host::contract::{Access, PodUid, VolumeName};
use flexvolume_host::plugin::{AttachablePlugin, Attachments, Mounter, split_unique_name};
use flexvolume_host::registry::Started;
use flexvolume_host::spec::MounterArguments;
use serde_json::{Value, json};

use crate::expansion;
use crate::lookup::spec;
use crate::scenario::{Op, Step};
use crate::world::World;

/// What a step returned.
pub(crate) struct Outcome {
    pub(crate) result: Value,
    pub(crate) error: Option<String>,
}

/// How a step ends early: the host says no, or the scenario is wrong.
pub(crate) enum Stop {
    Host(String),
    Scenario(String),
}

pub(crate) type Done<T> = Result<T, Stop>;

/// For errors of the host.
pub(crate) fn host(error: impl Into<Box<dyn Error>>) -> Stop {
    Stop::Host(error.into().to_string())
}

/// A result with or without an error beside it.
pub(crate) fn both<T, E: ToString>(result: Result<T, E>, value: impl FnOnce(Option<T>) -> Value) -> Outcome {
    match result {
        Ok(done) => Outcome { result: value(Some(done)), error: None },
        Err(error) => Outcome { result: value(None), error: Some(error.to_string()) },
    }
}

fn plain(result: Value) -> Outcome {
    Outcome { result, error: None }
}

/// Performs a step.
pub(crate) fn perform(world: &mut World<'_>, step: &Step) -> Result<Outcome, String> {
    let mut call = Call { world, step };
    match call.perform() {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Host(error)) => Ok(Outcome { result: Value::Null, error: Some(error) }),
        Err(Stop::Scenario(why)) => Err(why),
    }
}

/// A step in its world.
pub(crate) struct Call<'a, 'b> {
    pub(crate) world: &'a mut World<'b>,
    pub(crate) step: &'a Step,
}

impl Call<'_, '_> {
    fn perform(&mut self) -> Done<Outcome> {
        match self.step.op {
            Op::Probe => self.probe(),
            Op::Restart => self.world.restart(self.step.role),
            Op::Shell => self.world.shell(&self.step.script).map_err(Stop::Scenario)?,
            Op::Mounted | Op::Unmounted | Op::FailCheck | Op::FailMount | Op::FailUnmount => {
                self.change_mounts()?;
            }
            Op::Secrets => self.world.set_secrets(&self.step.secrets),
            Op::Stat => return Ok(plain(json!(self.world.recorder.stat(&self.world.path(&self.step.path))))),
            Op::Tree => return self.tree(),
            Op::SplitUniqueName => return Ok(self.split_unique_name()),
            Op::Find => return self.find(),
            Op::FindBySpec => return self.find_by_spec(),
            Op::FindExpandable => return expansion::find(self),
            Op::ExpandDevice => return expansion::expand_device(self),
            Op::ExpandFs => return expansion::expand_file_system(self),
            Op::GetVolumeName => return self.volume_name(),
            Op::UniqueName => return self.unique_name(),
            Op::ConstructSpec => return self.construct_spec(),
            Op::CanAttach => return self.attachable().map(|_| plain(json!({"can": true}))),
            Op::Attach | Op::WaitForAttach => return self.attach(),
            Op::VolumesAreAttached => return self.volumes_are_attached(),
            Op::Detach => return self.detach(),
            Op::CanDeviceMount => return self.device_mountable().map(|_| plain(json!({"can": true}))),
            Op::GetDeviceMountPath => return self.device_mount_path(),
            Op::MountDevice => return self.mount_device(),
            Op::UnmountDevice => return self.unmount_device(),
            Op::GetDeviceMountRefs => return self.device_mount_references(),
            Op::SetUp => return self.set_up(),
            Op::TearDown => return self.tear_down(),
            Op::GetAttributes => return self.attributes(),
            Op::GetMetrics => return self.metrics(),
        }
        Ok(plain(Value::Null))
    }

    fn probe(&mut self) {
        if let Some((registry, Started::Before)) = self.world.start(self.step.role) {
            registry.refresh();
        }
    }

    fn change_mounts(&self) -> Done<()> {
        let fake = self.world.fake.as_ref();
        let fake = fake.ok_or_else(|| Stop::Scenario("this step needs the fake mounter".to_owned()))?;
        let path = self.world.path(&self.step.path);
        match self.step.op {
            Op::Mounted => fake.appear(&self.step.device, &path),
            Op::Unmounted => fake.vanish(&path),
            Op::FailMount => fake.fail_mounts(&path, &self.step.message),
            Op::FailUnmount => fake.fail_unmounts(&path, &self.step.message),
            _ => fake.fail_checks(&path, errno(&self.step.errno).map_err(Stop::Scenario)?),
        }
        Ok(())
    }

    fn tree(&self) -> Done<Outcome> {
        let base = self.world.path(&self.step.path);
        let mut entries = Vec::new();
        let walked = self.walk(&base, &base, &mut entries);
        Ok(both(walked, |_| json!({"entries": entries})))
    }

    fn walk(&self, base: &Path, path: &Path, entries: &mut Vec<Value>) -> Result<(), String> {
        let is_directory = fs::symlink_metadata(path).map_err(|error| error.to_string())?.is_dir();
        let mut stat = self.world.recorder.stat(path);
        let below = path.strip_prefix(base).unwrap_or(path).to_string_lossy();
        stat.path = Some(if below.is_empty() { ".".to_owned() } else { below.into_owned() });
        entries.push(json!(stat));
        if !is_directory {
            return Ok(());
        }
        let children = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut children: Vec<PathBuf> =
            children.map_err(|error| error.to_string())?.iter().map(fs::DirEntry::path).collect();
        children.sort();
        children.iter().try_for_each(|child| self.walk(base, child, entries))
    }

    fn find(&mut self) -> Done<Outcome> {
        let plugin = self.plugin_by_name()?;
        let attach = plugin.capabilities().attach;
        Ok(plain(json!({
            "name": plugin.name().as_str(),
            "attachable": attach,
            "deviceMountable": attach,
            "requiresFSResize": plugin.expander().requires_fs_resize(),
            // What no FlexVolume plugin is or is not.
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "block": false,
            "deletable": false,
            "expandable": true,
            "provisionable": false,
            "recyclable": false,
            "requiresRemount": false,
            "selinuxContextMount": false,
            "supportsMountOption": false,
        })))
    }

    fn find_by_spec(&mut self) -> Done<Outcome> {
        let plugin = self.plugin_by_spec()?;
        Ok(plain(json!({"name": plugin.name().as_str()})))
    }

    fn volume_name(&mut self) -> Done<Outcome> {
        let plugin = self.plugin_by_spec()?;
        let name = plugin.volume_name(&self.spec()?);
        Ok(both(name, |name| json!({"name": name.map_or(String::new(), String::from)})))
    }

    fn unique_name(&mut self) -> Done<Outcome> {
        let plugin = self.plugin_by_spec()?;
        let pod = match plugin.capabilities().attach {
            true => PodUid::parse("none").map_err(host)?,
            false => self.pod()?.0.uid,
        };
        let name = plugin.unique_name(&self.spec()?, &pod);
        Ok(both(name, |name| json!({"name": name.unwrap_or_default()})))
    }

    fn split_unique_name(&self) -> Outcome {
        let unique = &self.step.name;
        let parts = split_unique_name(unique)
            .ok_or_else(|| format!("cannot split volume unique name {unique} to plugin/volume components"));
        both(parts, |parts| {
            let (plugin, name) = parts.unwrap_or_default();
            json!({"plugin": plugin, "name": name})
        })
    }

    fn construct_spec(&mut self) -> Done<Outcome> {
        let plugin = self.plugin_by_name()?;
        let volume = VolumeName::parse(self.step.name.clone()).map_err(host)?;
        let rebuilt = plugin.construct_volume_spec(&volume);
        let flex = json!({"driver": rebuilt.driver});
        Ok(plain(json!({
            "name": rebuilt.name.as_str(),
            "pv": null,
            "readOnly": rebuilt.access == Access::ReadOnly,
            "volume": {"name": rebuilt.name.as_str(), "flexVolume": flex},
        })))
    }

    fn attach(&mut self) -> Done<Outcome> {
        let plugin = self.attachable()?;
        let spec = self.spec()?;
        let device = match (self.step.op, self.step.timeout_ms) {
            (Op::Attach, _) => plugin.attach(&spec, &self.node()),
            (_, 0) => plugin.wait_for_attach(&spec, &self.step.device),
            (_, limit) => {
                plugin.wait_for_attach_within(&spec, &self.step.device, Duration::from_millis(limit))
            }
        };
        Ok(both(device, |device| json!({"device": device.unwrap_or_default()})))
    }

    fn volumes_are_attached(&mut self) -> Done<Outcome> {
        let names = if self.step.volumes.is_empty() {
            vec![self.volume()?.name.clone()]
        } else {
            self.step.volumes.clone()
        };
        let mut specs = Vec::with_capacity(names.len());
        for name in &names {
            specs.push(spec(self.world.scenario.volume(name).map_err(Stop::Scenario)?)?);
        }
        let registry = self.world.registry(self.step.role).ok_or_else(|| host("no volume plugin matched"))?;
        let plugin = registry.find_by_spec(&specs[0]).map_err(host)?;
        let plugin = plugin.attachable().ok_or_else(|| host("oracle: the plugin is not attachable"))?;
        let attached = plugin.volumes_are_attached(&specs.iter().collect::<Vec<_>>(), &self.node());
        Ok(both(attached, |attached| match attached {
            Some(Attachments::Known(attached)) => {
                json!({"attached": names.into_iter().zip(attached).collect::<BTreeMap<_, _>>()})
            }
            Some(Attachments::Unknown) | None => json!({"attached": null}),
        }))
    }

    fn detach(&mut self) -> Done<Outcome> {
        let plugin = self.plugin_by_name()?;
        let plugin = plugin.attachable().ok_or_else(|| host("oracle: the plugin is not attachable"))?;
        let name = match self.step.name.as_str() {
            "" => plugin.plugin().volume_name(&self.spec()?).map_err(host)?.into(),
            name => name.to_owned(),
        };
        Ok(both(plugin.detach(&name, &self.node()), |_| Value::Null))
    }

    fn device_mount_path(&mut self) -> Done<Outcome> {
        let plugin = self.device_mountable()?;
        let path = plugin.device_mount_path(&self.spec()?);
        Ok(both(path, |path| json!({"path": path.unwrap_or_default()})))
    }

    /// The path of the step, or the one that the plugin gives, as kubelet asks for it.
    fn path_or_given(&self, plugin: &AttachablePlugin) -> Done<PathBuf> {
        if self.step.path.is_empty() {
            return plugin.device_mount_path(&self.spec()?).map_err(host);
        }
        Ok(self.world.path(&self.step.path))
    }

    fn after<E: ToString>(&self, done: Result<impl Sized, E>, path: &Path) -> Outcome {
        both(done, |_| json!({"path": path, "after": self.world.recorder.stat(path)}))
    }

    fn mount_device(&mut self) -> Done<Outcome> {
        let plugin = self.device_mountable()?;
        let path = self.path_or_given(&plugin)?;
        Ok(self.after(plugin.mount_device(&self.spec()?, &self.step.device, &path), &path))
    }

    fn unmount_device(&mut self) -> Done<Outcome> {
        let plugin = self.device_mountable_by_name()?;
        let path = self.path_or_given(&plugin)?;
        Ok(self.after(plugin.unmount_device(&path), &path))
    }

    fn device_mount_references(&mut self) -> Done<Outcome> {
        let plugin = self.device_mountable_by_name()?;
        let path = self.world.path(&self.step.path);
        let references = plugin.device_mount_references(&path);
        // Go writes a list that was never made as null; the real mounter makes one for a path that is gone.
        let made = self.world.fake.is_none() && !path.exists();
        let references = references.map(|found| Some(found).filter(|found| made || !found.is_empty()));
        Ok(both(references, |found| json!({"refs": found.flatten()})))
    }

    fn mounter(&mut self) -> Done<(Mounter, MounterArguments)> {
        let plugin = self.plugin_by_spec()?;
        let (pod, arguments) = self.pod()?;
        Ok((plugin.mounter(&self.spec()?, &pod), arguments))
    }

    fn set_up(&mut self) -> Done<Outcome> {
        let (mounter, arguments) = self.mounter()?;
        Ok(self.after(mounter.set_up(arguments), mounter.path()))
    }

    fn tear_down(&mut self) -> Done<Outcome> {
        let plugin = self.plugin_by_name()?;
        let name = match self.step.name.as_str() {
            "" => self.volume()?.name.clone(),
            name => name.to_owned(),
        };
        let pod = self.world.scenario.pod(&self.step.pod).map_err(Stop::Scenario)?;
        let volume = VolumeName::parse(name).map_err(host)?;
        let unmounter = plugin.unmounter(&volume, &PodUid::parse(pod.uid.clone()).map_err(host)?);
        Ok(self.after(unmounter.tear_down(), unmounter.path()))
    }

    fn attributes(&mut self) -> Done<Outcome> {
        let attributes = self.mounter()?.0.attributes();
        Ok(plain(json!({
            "readOnly": attributes.read_only,
            "managed": attributes.managed,
            "selinuxRelabel": attributes.selinux_relabel,
        })))
    }

    fn metrics(&mut self) -> Done<Outcome> {
        match self.mounter()?.0.metrics() {
            Ok(Some(_)) => Ok(plain(json!({
                "present": ["available", "capacity", "used", "inodes", "inodesFree", "inodesUsed"],
            }))),
            Ok(None) => Err(host("metrics are not supported for MetricsNil Volumes")),
            Err(error) => Err(host(error)),
        }
    }
}

fn errno(name: &str) -> Result<Option<i32>, String> {
    use rustix::io::Errno;
    let errno = match name {
        "" => return Ok(None),
        "ENOTCONN" => Errno::NOTCONN,
        "ESTALE" => Errno::STALE,
        "EIO" => Errno::IO,
        "EACCES" => Errno::ACCESS,
        "EPERM" => Errno::PERM,
        "ENOENT" => Errno::NOENT,
        "ENOTDIR" => Errno::NOTDIR,
        other => return Err(format!("unknown errno {other:?}")),
    };
    Ok(Some(errno.raw_os_error()))
}
