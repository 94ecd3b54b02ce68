//! `NodePublishVolume` and `NodeUnpublishVolume`: `mount`, bound to the target; and back.
//!
//! A driver mounts where kubelet's own plugin would have had it mount, below the bridge's root, because real drivers
//! parse that path, and because the host library knows how to undo everything there. The target gets a bind mount.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use flexvolume_host::contract::{Access, PodUid, VolumeName};
use flexvolume_host::lifecycle::{PodVolume, VolumeKey};
use flexvolume_host::os::mount::Mounter;
use flexvolume_host::plugin::VolumePlugin;
use flexvolume_host::spec::{FsGroupChangePolicy, MounterArguments, Pod, VolumeSpec};
use tonic::Status;

use crate::bridge::Bridge;
use crate::convert::{self, Use, is_final, lifecycle_status};
use crate::messages::{Mode, NodePublishVolumeRequest, NodeUnpublishVolumeRequest};
use crate::record::Published;
use crate::secrets::Deposit;
use crate::settings::{Attach, FsGroup};
use crate::stage::{StagePlace, terms};
use crate::target::{Target, TargetError, is_same_directory};

/// A volume that shall be at a target.
struct Wanted {
    usage: Use,
    target: Target,
    spec: VolumeSpec,
    pod: Pod,
    entry: Published,
}

impl Bridge {
    /// `NodePublishVolume`; `secrets` were taken out of the request.
    ///
    /// # Errors
    /// As the specification has it.
    pub(crate) fn publish(
        &self,
        request: &NodePublishVolumeRequest,
        secrets: &Deposit,
    ) -> Result<(), Status> {
        let mut wanted = self.wanted(request)?;
        let plugin = self.plugin()?;
        let was_known = self.admit(&wanted.entry)?;
        let set_up = self.stage_and_set_up(&plugin, request, (&mut wanted, secrets));
        if set_up.is_err() && !was_known {
            self.forget_failed(&wanted, &set_up)?;
        }
        set_up
    }

    /// Puts a new use of a volume down, unless it is refused; answers whether it was known.
    fn admit(&self, entry: &Published) -> Result<bool, Status> {
        let _admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_conflicts(entry)?;
        let was_known = self.published.get(&entry.target.to_string_lossy()).is_some();
        if !was_known {
            self.published.put(entry.clone())?;
        }
        Ok(was_known)
    }

    fn stage_and_set_up(
        &self,
        plugin: &VolumePlugin,
        request: &NodePublishVolumeRequest,
        (wanted, secrets): (&mut Wanted, &Deposit),
    ) -> Result<(), Status> {
        if self.attach(plugin) != Attach::Off && !wanted.entry.ephemeral {
            let stage = PathBuf::from(&request.staging_target_path);
            let id = request.volume_id.as_str();
            let staged = self.staged.get(id);
            let (stage, agreed) = match staged {
                Some(staged) => (staged.staging_path, staged.terms),
                None => (stage, wanted.entry.terms.clone()),
            };
            let place = StagePlace { id, staging_path: stage, publish_context: &request.publish_context };
            self.stage_device(plugin, place, (&wanted.spec, &agreed))?;
        }
        wanted.spec.secret = secrets.reference();
        self.set_up(wanted)
    }

    fn wanted(&self, request: &NodePublishVolumeRequest) -> Result<Wanted, Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        if request.target_path.is_empty() {
            return Err(Status::invalid_argument("target_path is missing"));
        }
        let usage = self.usage(request.volume_capability.as_ref(), request.readonly)?;
        let target = Target::parse(&self.around.kubelet_root, ("target_path", request.target_path.as_str()))?;
        let context = &self.context(id, &request.volume_context);
        let ephemeral = convert::is_ephemeral(context);
        let mut spec = convert::spec(&self.driver, (id, context), &usage)?;
        if ephemeral {
            spec = convert::inline(spec, &target)?;
        }
        let pod = convert::pod(context, &target)?;
        let entry = Published {
            volume_id: id.to_owned(),
            target: target.path(),
            pod: pod.uid.clone(),
            volume: spec.name.clone(),
            terms: terms(&usage, context),
            alone: usage.mode == Mode::SingleNodeSingleWriter,
            ephemeral,
        };
        Ok(Wanted { usage, target, spec, pod, entry })
    }

    /// Another volume at the target, the same one in another way, or a second use of what may be used once.
    fn refuse_conflicts(&self, entry: &Published) -> Result<(), Status> {
        if let Some(known) = self.published.get(&entry.target.to_string_lossy()) {
            if known.volume_id != entry.volume_id {
                return Err(Status::already_exists("another volume is published at this target"));
            }
            if known.terms != entry.terms {
                return Err(Status::already_exists(
                    "the volume is published at this target with another capability, access or context",
                ));
            }
        }
        let elsewhere =
            self.published.find(|other| other.volume_id == entry.volume_id && other.target != entry.target);
        match elsewhere.iter().find(|other| other.alone || entry.alone) {
            None => Ok(()),
            Some(other) => Err(Status::failed_precondition(format!(
                "one writer alone may have the volume, and it is published at {}",
                other.target.display()
            ))),
        }
    }

    fn set_up(&self, wanted: &Wanted) -> Result<(), Status> {
        let mounter = &*self.around.host.system.mounter;
        let volume = PodVolume { pod_volume: wanted.spec.name.to_string(), spec: wanted.spec.clone() };
        let arguments = MounterArguments {
            fs_group: wanted.usage.fs_group,
            fs_group_change_policy: match self.settings.fs_group {
                FsGroup::Driver => FsGroupChangePolicy::Never,
                FsGroup::Kubelet | FsGroup::Both => FsGroupChangePolicy::OnRootMismatch,
            },
        };
        let mounted = self
            .manager
            .mount(&wanted.pod, &[volume], arguments)
            .map_err(|error| lifecycle_status(&error))?;
        let source = mounted.first().map(|mounted| mounted.mount_dir.clone()).unwrap_or_default();
        let bound = self.bind(mounter, &source, wanted);
        if let Err(error) = bound {
            let undone = self.unmount(&wanted.pod.uid, &wanted.spec.name);
            let status = Status::from(error);
            return Err(match undone {
                Ok(_) => status,
                Err(undo) => Status::unavailable(format!(
                    "{}; undoing it failed too: {}",
                    status.message(),
                    undo.message()
                )),
            });
        }
        Ok(())
    }

    fn bind(&self, mounter: &dyn Mounter, source: &Path, wanted: &Wanted) -> Result<(), TargetError> {
        if wanted.target.is_mounted(mounter)? {
            if is_same_directory(source, &wanted.target.path()) {
                return Ok(());
            }
            // What was bound is not what is mounted now, as after the driver's mount had died.
            wanted.target.remove(mounter)?;
        }
        wanted.target.bind(source)?;
        if wanted.usage.access == Access::ReadOnly {
            mounter.make_read_only(&wanted.target.path())?;
        }
        Ok(())
    }

    fn forget_failed(&self, wanted: &Wanted, set_up: &Result<(), Status>) -> Result<(), Status> {
        wanted.target.remove_if_empty();
        // Kubelet will not come back for what it takes for undone, and for that alone.
        if set_up.as_ref().is_err_and(|status| is_final(status.code())) {
            self.published.remove(&key(&wanted.target))?;
        }
        Ok(())
    }

    /// `NodeUnpublishVolume`.
    ///
    /// # Errors
    /// As the specification has it.
    pub(crate) fn unpublish(&self, request: &NodeUnpublishVolumeRequest) -> Result<(), Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        if request.target_path.is_empty() {
            return Err(Status::invalid_argument("target_path is missing"));
        }
        let target = Target::parse(&self.around.kubelet_root, ("target_path", request.target_path.as_str()))?;
        let (pod, volume) = match self.published.get(&key(&target)) {
            Some(known) if known.volume_id == id => (known.pod, known.volume),
            Some(_) => return Err(Status::not_found("another volume is published at this target")),
            None => (convert::pod_uid_of(&target)?, self.name_on_disk(id, &target)?),
        };
        target.remove(&*self.around.host.system.mounter)?;
        let sharing = self
            .published
            .find(|other| (&other.pod, &other.volume) == (&pod, &volume) && other.target != target.path());
        if sharing.is_empty() {
            self.unmount(&pod, &volume)?;
        }
        Ok(self.published.remove(&key(&target))?)
    }

    fn unmount(&self, pod: &PodUid, volume: &VolumeName) -> Result<(), Status> {
        let key = VolumeKey { pod: pod.clone(), driver: self.driver.clone(), volume: volume.clone() };
        match self.manager.unmount_one(&key) {
            Ok(_) => Ok(()),
            Err(errors) => Err(errors.first().map_or_else(|| Status::internal("unmount"), lifecycle_status)),
        }
    }

    /// The name of a volume of which the record is lost. An inline volume has the name of its directory.
    fn name_on_disk(&self, id: &str, target: &Target) -> Result<VolumeName, Status> {
        let parts = target.parts();
        let inline = parts.len().checked_sub(2).and_then(|position| parts.get(position));
        match inline {
            Some(name) if id.starts_with("csi-") && id.len() == 68 => convert::volume_name(name),
            _ => convert::volume_name(id),
        }
    }
}

fn key(target: &Target) -> String {
    target.path().to_string_lossy().into_owned()
}
