//! `CreateVolume` and `DeleteVolume`.

use std::collections::BTreeMap;

use flexvolume_host::contract::{Options, VolumeDescription, VolumeState};
use flexvolume_host::plugin::PluginError;
use tonic::Status;

use crate::bridge::{Bridge, Mode};
use crate::convert;
use crate::messages::{CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, Topology, Volume};
use crate::node::wanted_size;
use crate::record::Provisioned;
use crate::settings::Provisioning;
use crate::substitute::substitute;

/// Parameters of the storage class that are for Kubernetes' own components.
const KUBERNETES: &str = "csi.storage.k8s.io/";
/// The option that gives a driver the size of a new volume.
const SIZE: &str = "size";

impl Bridge {
    /// `CreateVolume`.
    ///
    /// # Errors
    /// As the specification has it.
    pub(crate) fn create_volume(
        &self,
        request: &CreateVolumeRequest,
    ) -> Result<CreateVolumeResponse, Status> {
        let name = convert::id("name", &request.name)?;
        if request.volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities is missing"));
        }
        let mut usages = Vec::new();
        for capability in &request.volume_capabilities {
            usages.push(self.usage(Some(capability), false)?);
        }
        if request.volume_content_source.is_some() {
            return Err(Status::invalid_argument(
                "a volume cannot be made from another one or from a snapshot",
            ));
        }
        self.refuse_other_topology(request)?;
        let size = wanted_size(request.capacity_range.as_ref())?;
        let fs_type = usages.first().map_or("", |usage| usage.fs_type.as_str());
        let wanted = self.described(name, request, size.unwrap_or(0));
        if let Some(known) = self.provisioned.get(name) {
            refuse_other(&known, &wanted, request)?;
            if known.made {
                return Ok(self.created(&known));
            }
        } else {
            self.provisioned.put(wanted.clone())?;
        }
        let made = match self.settings.provisioning {
            Provisioning::Off => return Err(Status::unimplemented("provisioning is off for this driver")),
            Provisioning::Template => Provisioned { made: true, ..wanted },
            Provisioning::Exec => self.make(wanted, fs_type)?,
        };
        self.provisioned.put(made.clone())?;
        Ok(self.created(&made))
    }

    fn described(&self, name: &str, request: &CreateVolumeRequest, capacity: i64) -> Provisioned {
        let metadata = request.parameters.iter().filter(|(key, _)| key.starts_with(KUBERNETES));
        let mut known: BTreeMap<String, String> =
            metadata.map(|(key, value)| (key[KUBERNETES.len()..].to_owned(), value.clone())).collect();
        known.insert("name".to_owned(), name.to_owned());
        if capacity > 0 {
            known.insert(SIZE.to_owned(), capacity.to_string());
        }
        let mut parameters = self.settings.parameters.clone();
        let own = request.parameters.iter().filter(|(key, _)| !key.starts_with(KUBERNETES));
        parameters.extend(own.map(|(key, value)| (key.clone(), value.clone())));
        let context =
            parameters.iter().map(|(key, value)| (key.clone(), substitute(value, &known))).collect();
        Provisioned { volume_id: name.to_owned(), capacity, parameters, context, made: false }
    }

    /// Has the driver make the volume, and takes over what it says of it.
    fn make(&self, mut wanted: Provisioned, fs_type: &str) -> Result<Provisioned, Status> {
        if wanted.capacity > 0 {
            wanted.context.insert(SIZE.to_owned(), wanted.capacity.to_string());
        }
        let options = Options {
            volume_name: convert::volume_name(&wanted.volume_id)?.to_string(),
            fs_type: fs_type.to_owned(),
            user: wanted.context.clone(),
            ..Options::default()
        };
        let made = self.plugin()?.create_volume(options).map_err(|error| {
            // Nothing of the volume is left after a failure: that is the call-out's promise.
            match self.provisioned.remove(&wanted.volume_id) {
                Ok(()) => administration_status(&error),
                Err(_) => Status::unavailable(error.to_string()),
            }
        })?;
        let size = made.size.and_then(|size| i64::try_from(size).ok());
        Ok(Provisioned {
            capacity: size.unwrap_or(wanted.capacity),
            context: context_of(&made, &wanted),
            made: true,
            ..wanted
        })
    }

    fn created(&self, volume: &Provisioned) -> CreateVolumeResponse {
        let accessible_topology = if self.is_local() { vec![self.topology()] } else { Vec::new() };
        let volume = Volume {
            capacity_bytes: volume.capacity,
            volume_id: volume.volume_id.clone(),
            volume_context: volume.context.clone(),
            accessible_topology,
        };
        CreateVolumeResponse { volume: Some(volume) }
    }

    /// A volume of this node is of no use to a pod that can only run elsewhere.
    fn refuse_other_topology(&self, request: &CreateVolumeRequest) -> Result<(), Status> {
        let Some(requirement) = &request.accessibility_requirements else { return Ok(()) };
        let here = self.topology();
        let is_here = |topology: &Topology| {
            here.segments.iter().all(|(key, value)| topology.segments.get(key).is_none_or(|at| at == value))
        };
        if !self.is_local() || requirement.requisite.is_empty() || requirement.requisite.iter().any(is_here) {
            return Ok(());
        }
        Err(Status::resource_exhausted("the volume must be on another node than this one"))
    }

    /// `DeleteVolume`.
    ///
    /// # Errors
    /// FAILED_PRECONDITION while the volume is in use.
    pub(crate) fn delete_volume(&self, request: &DeleteVolumeRequest) -> Result<(), Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        let Some(volume) = self.provisioned.get(id) else { return Ok(()) };
        // Another process may be the node here: what it does is not in the books of this one, and the driver knows.
        let is_here = || {
            !self.published.find(|other| other.volume_id == id).is_empty() || self.staged.get(id).is_some()
        };
        let is_attached =
            || !self.attached.find(|other| other.volume_id == id && other.device.is_some()).is_empty();
        let used = (self.around.mode == Mode::All && is_here()) || is_attached();
        if used {
            return Err(Status::failed_precondition("the volume is still in use"));
        }
        if self.settings.provisioning == Provisioning::Exec {
            let options = Options {
                volume_name: convert::volume_name(id)?.to_string(),
                user: volume.context.clone(),
                ..Options::default()
            };
            self.plugin()?.delete_volume(options).map_err(|error| administration_status(&error))?;
        }
        Ok(self.provisioned.remove(id)?)
    }
}

/// A driver says how its volume is named in a manifest; the rest of what was asked for stays.
fn context_of(made: &VolumeDescription, wanted: &Provisioned) -> BTreeMap<String, String> {
    if made.state == VolumeState::Creating || made.options.is_empty() {
        return wanted.context.clone();
    }
    let mut context = wanted.context.clone();
    context.extend(made.options.clone());
    context
}

/// A volume of this name that is not what is wanted.
fn refuse_other(
    known: &Provisioned,
    wanted: &Provisioned,
    request: &CreateVolumeRequest,
) -> Result<(), Status> {
    let limit = request.capacity_range.as_ref().map_or(0, |range| range.limit_bytes);
    let has_room = known.capacity >= wanted.capacity && (limit == 0 || known.capacity <= limit);
    let fits = if known.made { has_room } else { known.capacity == wanted.capacity };
    if fits && known.parameters == wanted.parameters {
        return Ok(());
    }
    Err(Status::already_exists(format!(
        "volume {} exists with {} bytes or with other parameters",
        known.volume_id, known.capacity
    )))
}

fn administration_status(error: &PluginError) -> Status {
    match error {
        PluginError::NoAdministration { .. } => Status::failed_precondition(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}
