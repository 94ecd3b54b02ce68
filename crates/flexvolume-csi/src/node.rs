//! `csi.v1.Node`: what the node can do, figures and growth of its volumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flexvolume_host::lifecycle::Resize;
use tonic::Status;

use crate::bridge::Bridge;
use crate::convert::{self, lifecycle_status};
use crate::messages::{
    CapacityRange, NodeCapability, NodeExpandVolumeRequest, NodeExpandVolumeResponse,
    NodeGetCapabilitiesResponse, NodeGetInfoResponse, NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse,
    NodeRpc, NodeRpcType, Topology, UsageUnit, VolumeUsage,
};
use crate::record::Published;
use crate::settings::Attach;

impl Bridge {
    /// `NodeGetCapabilities`.
    ///
    /// # Errors
    /// UNAVAILABLE when the driver is missing or fails.
    pub(crate) fn node_capabilities(&self) -> Result<NodeGetCapabilitiesResponse, Status> {
        let plugin = self.plugin()?;
        let mut types = Vec::new();
        if self.attach(&plugin) != Attach::Off {
            types.push(NodeRpcType::StageUnstageVolume);
        }
        types.extend([NodeRpcType::GetVolumeStats, NodeRpcType::SingleNodeMultiWriter]);
        if self.expands(&plugin) {
            types.push(NodeRpcType::ExpandVolume);
        }
        if self.takes_mount_group() {
            types.push(NodeRpcType::VolumeMountGroup);
        }
        let capability = |rpc: NodeRpcType| NodeCapability { rpc: Some(NodeRpc { r#type: rpc.into() }) };
        Ok(NodeGetCapabilitiesResponse { capabilities: types.into_iter().map(capability).collect() })
    }

    /// `NodeGetInfo`: the node's id is the node's name, which `attach` and `detach` are told.
    pub(crate) fn node_info(&self) -> NodeGetInfoResponse {
        NodeGetInfoResponse {
            node_id: self.around.host.node.clone(),
            max_volumes_per_node: 0,
            accessible_topology: self.is_local().then(|| self.topology()),
        }
    }

    /// Where volumes of this node can be used: here.
    pub(crate) fn topology(&self) -> Topology {
        let key = format!("topology.{}/node", self.name);
        Topology { segments: BTreeMap::from([(key, self.around.host.node.clone())]) }
    }

    /// `NodeGetVolumeStats`.
    ///
    /// # Errors
    /// As the specification has it; UNAVAILABLE when the file system does not answer.
    pub(crate) fn volume_stats(
        &self,
        request: &NodeGetVolumeStatsRequest,
    ) -> Result<NodeGetVolumeStatsResponse, Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        let place = self.place(id, &request.volume_path)?;
        let figures = self.watchdog.figures(&place)?;
        let signed = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
        let usage = |(available, total, used), unit: UsageUnit| VolumeUsage {
            available: signed(available),
            total: signed(total),
            used: signed(used),
            unit: unit.into(),
        };
        Ok(NodeGetVolumeStatsResponse {
            usage: vec![
                usage((figures.available, figures.capacity, figures.used), UsageUnit::Bytes),
                usage((figures.inodes_free, figures.inodes, figures.inodes_used), UsageUnit::Inodes),
            ],
            volume_condition: None,
        })
    }

    /// Where a volume is, if it is at this path.
    fn place(&self, id: &str, volume_path: &str) -> Result<PathBuf, Status> {
        if volume_path.is_empty() {
            return Err(Status::invalid_argument("volume_path is missing"));
        }
        if self.published_at(id, volume_path).is_some() {
            return Ok(PathBuf::from(volume_path));
        }
        match self.staged.get(id) {
            Some(staged) if staged.staging_path == Path::new(volume_path) => Ok(staged.device_mount_path),
            _ => Err(Status::not_found("the volume is not at this path of this node")),
        }
    }

    fn published_at(&self, id: &str, volume_path: &str) -> Option<Published> {
        self.published.get(volume_path.trim_end_matches('/')).filter(|published| published.volume_id == id)
    }

    /// `NodeExpandVolume`: `expandvolume`, then `expandfs`.
    ///
    /// # Errors
    /// As the specification has it.
    pub(crate) fn expand_on_node(
        &self,
        request: &NodeExpandVolumeRequest,
    ) -> Result<NodeExpandVolumeResponse, Status> {
        let id = convert::id("volume_id", &request.volume_id)?;
        if request.volume_path.is_empty() {
            return Err(Status::invalid_argument("volume_path is missing"));
        }
        let published = match self.published_at(id, &request.volume_path) {
            Some(published) => published,
            None => self.any_published(id, &request.volume_path)?,
        };
        if !self.expands(&*self.plugin()?) {
            return Err(does_not_grow());
        }
        let size = wanted_size(request.capacity_range.as_ref())?;
        let Some(size) = size else { return Ok(NodeExpandVolumeResponse { capacity_bytes: 0 }) };
        let capacity = |place: &Path| self.watchdog.figures(place).ok().map(|figures| figures.capacity);
        let wanted = Resize {
            pod: &published.pod,
            volume: published.volume.as_str(),
            size: u64::try_from(size).unwrap_or_default(),
            capacity: &capacity,
        };
        match self.manager.resize(&wanted) {
            Ok(_) => Ok(NodeExpandVolumeResponse { capacity_bytes: size }),
            Err(error) => Err(lifecycle_status(&error)),
        }
    }

    /// A use of a volume that is asked about by the path where it is staged.
    fn any_published(&self, id: &str, volume_path: &str) -> Result<Published, Status> {
        self.place(id, volume_path)?;
        let uses = self.published.find(|published| published.volume_id == id);
        uses.into_iter().next().ok_or_else(|| {
            Status::failed_precondition("the volume is staged but not published: it grows when a pod uses it")
        })
    }
}

pub(crate) fn does_not_grow() -> Status {
    Status::unimplemented("volumes of this driver do not grow (`expansion` in the configuration)")
}

/// The size that is asked for; `None` when the volume may stay as it is.
pub(crate) fn wanted_size(range: Option<&CapacityRange>) -> Result<Option<i64>, Status> {
    let Some(range) = range else { return Ok(None) };
    let (required, limit) = (range.required_bytes, range.limit_bytes);
    if required < 0 || limit < 0 {
        return Err(Status::invalid_argument("a size is negative"));
    }
    if limit > 0 && required > limit {
        return Err(Status::out_of_range("limit_bytes is less than required_bytes"));
    }
    Ok(Some(if required > 0 { required } else { limit }).filter(|size| *size > 0))
}
