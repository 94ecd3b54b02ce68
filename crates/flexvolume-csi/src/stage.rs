//! `NodeStageVolume` and `NodeUnstageVolume`: `waitforattach` and `mountdevice`, and back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flexvolume_host::contract::PodUid;
use flexvolume_host::lifecycle::{Attachment, Stage};
use flexvolume_host::plugin::VolumePlugin;
use flexvolume_host::spec::{Pod, VolumeSpec};
use tonic::Status;

use crate::bridge::Bridge;
use crate::convert::{self, DEVICE_KEY, Use, is_final, lifecycle_status};
use crate::messages::{NodeStageVolumeRequest, NodeUnstageVolumeRequest};
use crate::record::StagedVolume;
use crate::settings::Attach;
use crate::target::Target;

/// The holder of devices that are staged. No pod has such a uid.
const HOLDER: &str = "csi-stage";

/// Which volume is staged, for which directory of kubelet's, and what a controller said of it.
pub(crate) struct StagePlace<'a> {
    pub(crate) id: &'a str,
    pub(crate) staging_path: PathBuf,
    pub(crate) publish_context: &'a BTreeMap<String, String>,
}

impl Bridge {
    /// `NodeStageVolume`.
    ///
    /// # Errors
    /// As the specification has it.
    pub(crate) fn stage(&self, request: &NodeStageVolumeRequest) -> Result<(), Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        if request.staging_target_path.is_empty() {
            return Err(Status::invalid_argument("staging_target_path is missing"));
        }
        let usage = self.usage(request.volume_capability.as_ref(), false)?;
        let place = ("staging_target_path", request.staging_target_path.as_str());
        let staging = Target::parse(&self.around.kubelet_root, place)?.path();
        let plugin = self.plugin()?;
        let context = self.context(id, &request.volume_context);
        let terms = terms(&usage, &context);
        if let Some(known) = self.staged.get(id)
            && known.staging_path == staging
            && known.terms != terms
        {
            return Err(Status::already_exists(
                "the volume is staged there with another capability or context",
            ));
        }
        let spec = convert::spec(&self.driver, (id, &context), &usage)?;
        let place = StagePlace { id, staging_path: staging, publish_context: &request.publish_context };
        self.stage_device(&plugin, place, (&spec, &terms))
    }

    /// Makes the device of a volume ready, and remembers it for whoever comes with nothing but its id.
    pub(crate) fn stage_device(
        &self,
        plugin: &VolumePlugin,
        StagePlace { id, staging_path, publish_context }: StagePlace<'_>,
        (spec, terms): (&VolumeSpec, &str),
    ) -> Result<(), Status> {
        let attachment = match self.attach(plugin) {
            Attach::Off => return Ok(()),
            Attach::Node => Attachment::Here,
            Attach::Controller => Attachment::ByController {
                device: publish_context.get(DEVICE_KEY).map_or("", String::as_str),
            },
        };
        let entry = StagedVolume {
            volume_id: id.to_owned(),
            staging_path,
            device: spec.name.clone(),
            device_mount_path: PathBuf::new(),
            terms: terms.to_owned(),
        };
        self.stage_recorded(entry, &Stage { holder: &holder()?, spec, attachment })
    }

    fn stage_recorded(&self, entry: StagedVolume, wanted: &Stage<'_>) -> Result<(), Status> {
        let known = self.staged.get(&entry.volume_id);
        if known.is_none() {
            self.staged.put(entry.clone())?;
        }
        match self.manager.stage(wanted) {
            Ok(ready) => {
                let entry = StagedVolume { device_mount_path: ready.device_mount_path, ..entry };
                if known.as_ref() != Some(&entry) {
                    self.staged.put(entry)?;
                }
                Ok(())
            }
            Err(error) => {
                let status = lifecycle_status(&error);
                // What could not be undone stays in the book.
                if known.is_none() && is_final(status.code()) {
                    self.staged.remove(&entry.volume_id)?;
                }
                Err(status)
            }
        }
    }

    /// `NodeUnstageVolume`.
    ///
    /// # Errors
    /// As the specification has it.
    pub(crate) fn unstage(&self, request: &NodeUnstageVolumeRequest) -> Result<(), Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        if request.staging_target_path.is_empty() {
            return Err(Status::invalid_argument("staging_target_path is missing"));
        }
        let known = self.staged.get(id);
        let device = match &known {
            Some(staged) => staged.device.clone(),
            None => convert::volume_name(id)?,
        };
        self.manager
            .unstage(&self.driver, &device, &holder()?.uid)
            .map_err(|error| lifecycle_status(&error))?;
        Ok(self.staged.remove(id)?)
    }
}

fn holder() -> Result<Pod, Status> {
    let uid = PodUid::parse(HOLDER).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Pod { uid, name: String::new(), namespace: String::new(), service_account: String::new() })
}

/// What was asked for, without what may differ between two calls that mean the same.
pub(crate) fn terms(usage: &Use, context: &BTreeMap<String, String>) -> String {
    let options = convert::options(context);
    crate::book::short_digest(&format!("{usage:?}{options:?}"))
}
