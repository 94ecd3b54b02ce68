//! `csi.v1.Controller`: `attach` and `detach`, and what there is to know of volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use flexvolume_host::contract::Options;
use flexvolume_host::plugin::AttachablePlugin;
use flexvolume_host::spec::VolumeSpec;
use tonic::Status;

use crate::book::Entry as _;
use crate::bridge::{Bridge, Mode};
use crate::convert::{self, DEVICE_KEY};
use crate::flight::Scope;
use crate::messages::{
    Confirmed, ControllerCapability, ControllerExpandVolumeRequest, ControllerExpandVolumeResponse,
    ControllerGetCapabilitiesResponse, ControllerPublishVolumeRequest, ControllerPublishVolumeResponse,
    ControllerRpc, ControllerRpcType, ControllerUnpublishVolumeRequest, CreateVolumeRequest,
    DeleteVolumeRequest, Empty, GetCapacityRequest, GetCapacityResponse, Int64Value,
    ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, take_secrets,
};
use crate::node::{does_not_grow, wanted_size};
use crate::record::{AttachedVolume, Provisioned};
use crate::rpc::{Answering, Call};
use crate::service::{Work, whole};
use crate::settings::Attach;
use crate::stage::terms;

impl Bridge {
    pub(crate) fn controller(self: Arc<Self>, method: &str, call: Call) -> Result<Answering, Call> {
        Ok(match method {
            "ControllerGetCapabilities" => call
                .answer(|_: Empty| self.asking("ControllerGetCapabilities", Self::controller_capabilities)),
            "ControllerPublishVolume" => call.answer(|request: ControllerPublishVolumeRequest| {
                let about = whole("ControllerPublishVolume", &request.volume_id);
                self.fly(about, request, |bridge, mut request| {
                    drop(take_secrets(&mut request.secrets));
                    bridge.controller_publish(&request)
                })
            }),
            "ControllerUnpublishVolume" => call.answer(|request: ControllerUnpublishVolumeRequest| {
                let about = whole("ControllerUnpublishVolume", &request.volume_id);
                self.fly(about, request, |bridge, request| {
                    bridge.controller_unpublish(&request).map(|()| Empty {})
                })
            }),
            "ValidateVolumeCapabilities" => call
                .answer(|request: ValidateVolumeCapabilitiesRequest| async move { self.validate(request) }),
            "ControllerExpandVolume" => call.answer(|request: ControllerExpandVolumeRequest| {
                let about = whole("ControllerExpandVolume", &request.volume_id);
                self.fly(about, request, |bridge, request| bridge.controller_expand(&request))
            }),
            _ if self.provisions() => return self.provisioner(method, call),
            _ => return Err(call),
        })
    }

    fn provisioner(self: Arc<Self>, method: &str, call: Call) -> Result<Answering, Call> {
        Ok(match method {
            "CreateVolume" => call.answer(|request: CreateVolumeRequest| {
                let about = whole("CreateVolume", &request.name);
                self.fly(about, request, |bridge, mut request| {
                    drop(take_secrets(&mut request.secrets));
                    bridge.create_volume(&request)
                })
            }),
            "DeleteVolume" => call.answer(|request: DeleteVolumeRequest| {
                let about = whole("DeleteVolume", &request.volume_id);
                self.fly(about, request, |bridge, request| bridge.delete_volume(&request).map(|()| Empty {}))
            }),
            "GetCapacity" if self.is_local() => call.answer(|request: GetCapacityRequest| {
                let about =
                    Work { method: "GetCapacity", volume: "\0capacity".to_owned(), scope: Scope::Volume };
                self.fly(about, request, |bridge, request| bridge.capacity(&request))
            }),
            _ => return Err(call),
        })
    }

    fn controller_capabilities(&self) -> Result<ControllerGetCapabilitiesResponse, Status> {
        let plugin = self.plugin()?;
        let mut types = Vec::new();
        if self.provisions() {
            types.push(ControllerRpcType::CreateDeleteVolume);
        }
        if self.expands(&plugin) {
            types.push(ControllerRpcType::ExpandVolume);
        }
        if self.is_local() {
            types.push(ControllerRpcType::GetCapacity);
        }
        if self.attach(&plugin) == Attach::Controller {
            types.extend([ControllerRpcType::PublishUnpublishVolume, ControllerRpcType::PublishReadonly]);
        }
        types.push(ControllerRpcType::SingleNodeMultiWriter);
        let capability =
            |rpc: ControllerRpcType| ControllerCapability { rpc: Some(ControllerRpc { r#type: rpc.into() }) };
        Ok(ControllerGetCapabilitiesResponse { capabilities: types.into_iter().map(capability).collect() })
    }

    /// A volume exists if the bridge has made it, or if somebody has described it. Where the bridge makes no volumes it
    /// cannot know, and the driver will say.
    fn exists(&self, id: &str, context: &BTreeMap<String, String>) -> Result<(), Status> {
        if !self.provisions() || !context.is_empty() || self.provisioned.get(id).is_some() {
            return Ok(());
        }
        Err(Status::not_found("there is no such volume"))
    }

    fn controller_publish(
        &self,
        request: &ControllerPublishVolumeRequest,
    ) -> Result<ControllerPublishVolumeResponse, Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        let node = convert::id("node_id", &request.node_id)?;
        let usage = self.usage(request.volume_capability.as_ref(), request.readonly)?;
        self.exists(id, &request.volume_context)?;
        // One machine that is both knows all the nodes there are.
        if self.around.mode == Mode::All && node != self.around.host.node {
            return Err(Status::not_found(format!("there is no node {:?}", clipped(node))));
        }
        let plugin = self.plugin()?;
        let attachable = plugin.attachable().filter(|_| self.attach(&plugin) == Attach::Controller);
        let Some(attachable) = attachable else {
            return Err(Status::unimplemented("volumes of this driver are not attached by a controller"));
        };
        let context = self.context(id, &request.volume_context);
        let spec = convert::spec(&self.driver, (id, &context), &usage)?;
        let entry = AttachedVolume {
            volume_id: id.to_owned(),
            node: node.to_owned(),
            volume: spec.name.clone(),
            terms: terms(&usage, &context),
            device: None,
        };
        let device = self.attach_once(&attachable, &spec, entry)?;
        let publish_context = BTreeMap::from([(DEVICE_KEY.to_owned(), device)]);
        Ok(ControllerPublishVolumeResponse { publish_context })
    }

    /// `attach`, unless its answer is on record.
    fn attach_once(
        &self,
        attachable: &AttachablePlugin,
        spec: &VolumeSpec,
        entry: AttachedVolume,
    ) -> Result<String, Status> {
        match self.attached.get(&entry.key()) {
            Some(known) if known.terms != entry.terms => {
                return Err(Status::already_exists("the volume is attached to this node in another way"));
            }
            Some(AttachedVolume { device: Some(device), .. }) => return Ok(device),
            _ => self.attached.put(entry.clone())?,
        }
        let device = attachable
            .attach(spec, &entry.node)
            .map_err(|error| Status::internal(format!("attach: {error}")))?;
        self.attached.put(AttachedVolume { device: Some(device.clone()), ..entry })?;
        Ok(device)
    }

    fn controller_unpublish(&self, request: &ControllerUnpublishVolumeRequest) -> Result<(), Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        let plugin = self.plugin()?;
        let Some(attachable) = plugin.attachable() else { return Ok(()) };
        let mut attached = self.attached.find(|entry| {
            entry.volume_id == id && (request.node_id.is_empty() || entry.node == request.node_id)
        });
        if attached.is_empty() && !request.node_id.is_empty() && self.around.mode == Mode::Controller {
            // The record may be lost, or be another replica's: the driver knows.
            attached.push(AttachedVolume {
                volume_id: id.to_owned(),
                node: request.node_id.clone(),
                volume: convert::volume_name(id)?,
                terms: String::new(),
                device: None,
            });
        }
        for entry in attached {
            let device = entry.device.as_deref().unwrap_or_default();
            attachable
                .detach_device(entry.volume.as_str(), device, &entry.node)
                .map_err(|error| Status::internal(format!("detach: {error}")))?;
            self.attached.remove(&entry.key())?;
        }
        Ok(())
    }

    fn validate(
        &self,
        request: ValidateVolumeCapabilitiesRequest,
    ) -> Result<ValidateVolumeCapabilitiesResponse, Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        if request.volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities is missing"));
        }
        self.exists(id, &request.volume_context)?;
        for capability in &request.volume_capabilities {
            if let Err(status) = self.usage(Some(capability), false) {
                let message = status.message().to_owned();
                return Ok(ValidateVolumeCapabilitiesResponse { confirmed: None, message });
            }
        }
        let confirmed = Confirmed {
            volume_context: request.volume_context,
            volume_capabilities: request.volume_capabilities,
            parameters: request.parameters,
            mutable_parameters: BTreeMap::new(),
        };
        Ok(ValidateVolumeCapabilitiesResponse { confirmed: Some(confirmed), message: String::new() })
    }

    /// The node does it: its driver is where the volume is.
    fn controller_expand(
        &self,
        request: &ControllerExpandVolumeRequest,
    ) -> Result<ControllerExpandVolumeResponse, Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        if request.capacity_range.is_none() {
            return Err(Status::invalid_argument("capacity_range is missing"));
        }
        if !self.expands(&*self.plugin()?) {
            return Err(does_not_grow());
        }
        let size = wanted_size(request.capacity_range.as_ref())?.unwrap_or(0);
        let mut capacity_bytes = size;
        if let Some(volume) = self.provisioned.get(id) {
            capacity_bytes = size.max(volume.capacity);
            if capacity_bytes != volume.capacity {
                self.provisioned.put(Provisioned { capacity: capacity_bytes, ..volume })?;
            }
        }
        Ok(ControllerExpandVolumeResponse { capacity_bytes, node_expansion_required: true })
    }

    fn capacity(&self, request: &GetCapacityRequest) -> Result<GetCapacityResponse, Status> {
        let mut user = self.settings.parameters.clone();
        user.extend(convert::options(&request.parameters));
        let options = Options { user, ..Options::default() };
        let room = self
            .plugin()?
            .capacity(options)
            .map_err(|error| Status::internal(format!("getcapacity: {error}")))?;
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(GetCapacityResponse {
            available_capacity: signed(room.free),
            maximum_volume_size: Some(Int64Value { value: signed(room.free) }),
            minimum_volume_size: room.minimum_volume.map(|least| Int64Value { value: signed(least) }),
        })
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(100).collect()
}
