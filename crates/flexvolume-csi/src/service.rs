//! The methods of a driver's socket by their paths.

use std::sync::Arc;
use std::time::Instant;

use prost::Message;
use tonic::{Code, Status};

use crate::bridge::Bridge;
use crate::flight::{Scope, Subject, fingerprint};
use crate::messages::{
    Empty, NodeExpandVolumeRequest, NodeGetVolumeStatsRequest, NodePublishVolumeRequest,
    NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, take_secrets,
};
use crate::rpc::{Answering, Call, Observer, Routes};

impl Observer for Bridge {
    fn ended(&self, method: &str, status: &Result<(), Status>, begun: Instant) {
        let took = begun.elapsed();
        let code = status.as_ref().map_or_else(Status::code, |()| Code::Ok);
        self.around.metrics.count((self.driver.as_str(), method), code_name(code), took);
        let (driver, took) = (&self.driver, humantime::format_duration(whole_milliseconds(took)).to_string());
        match status {
            Ok(()) => tracing::debug!(%driver, method, took, "answered"),
            Err(status) => {
                tracing::warn!(%driver, method, took, code = code_name(code), "{}", status.message());
            }
        }
    }
}

fn whole_milliseconds(took: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// The name of a code as the specification of gRPC has it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

impl Routes for Bridge {
    fn route(self: Arc<Self>, path: &str, call: Call) -> Result<Answering, Call> {
        let Some((service, method)) = path.trim_start_matches('/').split_once('/') else { return Err(call) };
        match service {
            "csi.v1.Identity" => self.identity(method, call),
            "csi.v1.Controller" if self.around.mode.is_controller() => self.controller(method, call),
            "csi.v1.Node" if self.around.mode.is_node() => self.node(method, call),
            _ => Err(call),
        }
    }
}

/// Work on what a request is about, that goes on when nobody waits for it any more.
pub(crate) struct Work {
    pub(crate) method: &'static str,
    pub(crate) volume: String,
    pub(crate) scope: Scope,
}

impl Bridge {
    /// Runs `work` on a thread, once for equal requests.
    pub(crate) async fn fly<Q, A, F>(self: Arc<Self>, about: Work, request: Q, work: F) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default,
        F: FnOnce(&Self, Q) -> Result<A, Status> + Send + 'static,
    {
        let Work { method, volume, scope } = about;
        let key = fingerprint(method, &request);
        let flights = self.flights.clone();
        flights.run(Subject { method, volume, scope }, key, move || work(&self, request)).await
    }

    fn identity(self: Arc<Self>, method: &str, call: Call) -> Result<Answering, Call> {
        Ok(match method {
            "GetPluginInfo" => call.answer(|_: Empty| async move { Ok(self.plugin_info()) }),
            "GetPluginCapabilities" => {
                call.answer(|_: Empty| self.asking("GetPluginCapabilities", Self::plugin_capabilities))
            }
            "Probe" => call.answer(|_: Empty| self.asking("Probe", |bridge| Ok(bridge.probe()))),
            _ => return Err(call),
        })
    }

    /// A question that may have to run `init`.
    pub(crate) async fn asking<A: Message + Default>(
        self: Arc<Self>,
        method: &'static str,
        ask: impl FnOnce(&Self) -> Result<A, Status> + Send + 'static,
    ) -> Result<A, Status> {
        // No volume has an empty id.
        let about = Work { method, volume: String::new(), scope: Scope::Target(method.to_owned()) };
        self.fly(about, Empty {}, |bridge, _| ask(bridge)).await
    }

    fn node(self: Arc<Self>, method: &str, call: Call) -> Result<Answering, Call> {
        Ok(match method {
            "NodeGetCapabilities" => {
                call.answer(|_: Empty| self.asking("NodeGetCapabilities", Self::node_capabilities))
            }
            "NodeGetInfo" => call.answer(|_: Empty| async move { Ok(self.node_info()) }),
            "NodeStageVolume" => call.answer(|request: NodeStageVolumeRequest| self.node_stage(request)),
            "NodeUnstageVolume" => call.answer(|request: NodeUnstageVolumeRequest| {
                let about = whole("NodeUnstageVolume", &request.volume_id);
                self.fly(about, request, |bridge, request| bridge.unstage(&request).map(done))
            }),
            "NodePublishVolume" => {
                call.answer(|request: NodePublishVolumeRequest| self.node_publish(request))
            }
            "NodeUnpublishVolume" => call.answer(|request: NodeUnpublishVolumeRequest| {
                let about = at("NodeUnpublishVolume", &request.volume_id, &request.target_path);
                self.fly(about, request, |bridge, request| bridge.unpublish(&request).map(done))
            }),
            "NodeGetVolumeStats" => call.answer(|request: NodeGetVolumeStatsRequest| {
                // Figures can be had whatever else is done to the volume.
                let volume = format!("\0{}\0{}", request.volume_id, request.volume_path);
                let about = Work { method: "NodeGetVolumeStats", volume, scope: Scope::Volume };
                self.fly(about, request, |bridge, request| bridge.volume_stats(&request))
            }),
            "NodeExpandVolume" => call.answer(|request: NodeExpandVolumeRequest| {
                let about = whole("NodeExpandVolume", &request.volume_id);
                self.fly(about, request, |bridge, request| bridge.expand_on_node(&request))
            }),
            _ => return Err(call),
        })
    }

    async fn node_stage(self: Arc<Self>, request: NodeStageVolumeRequest) -> Result<Empty, Status> {
        let about = whole("NodeStageVolume", &request.volume_id);
        self.fly(about, request, |bridge, mut request| {
            // The contract has no secrets at `mountdevice`.
            drop(take_secrets(&mut request.secrets));
            bridge.stage(&request).map(done)
        })
        .await
    }

    async fn node_publish(self: Arc<Self>, request: NodePublishVolumeRequest) -> Result<Empty, Status> {
        let about = at("NodePublishVolume", &request.volume_id, &request.target_path);
        self.fly(about, request, |bridge, mut request| {
            let secrets = take_secrets(&mut request.secrets);
            let name = format!("{} at {}", request.volume_id, request.target_path);
            let deposit = bridge.around.desk.deposit(&bridge.driver, &name, secrets);
            bridge.publish(&request, &deposit).map(done)
        })
        .await
    }
}

fn done((): ()) -> Empty {
    Empty {}
}

pub(crate) fn whole(method: &'static str, volume: &str) -> Work {
    Work { method, volume: volume.to_owned(), scope: Scope::Volume }
}

fn at(method: &'static str, volume: &str, target: &str) -> Work {
    Work { method, volume: volume.to_owned(), scope: Scope::Target(target.to_owned()) }
}
