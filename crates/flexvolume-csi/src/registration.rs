//! Kubelet finds a node service by a socket of its own in its registry directory, and asks there what it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tonic::Status;

use crate::messages::{Empty, PluginInfo, RegistrationStatus};
use crate::name::CsiName;
use crate::rpc::{Answering, Call, Observer, Routes};

/// What kubelet is told.
pub(crate) struct Registration {
    pub(crate) name: CsiName,
    /// The socket of the services, as kubelet sees it.
    pub(crate) endpoint: PathBuf,
}

impl Observer for Registration {
    fn ended(&self, method: &str, status: &Result<(), Status>, _: Instant) {
        if let Err(status) = status {
            tracing::warn!(name = %self.name, method, "{}", status.message());
        }
    }
}

impl Routes for Registration {
    fn route(self: Arc<Self>, path: &str, call: Call) -> Result<Answering, Call> {
        Ok(match path {
            "/pluginregistration.Registration/GetInfo" => call.answer(|_: Empty| async move {
                Ok(PluginInfo {
                    r#type: "CSIPlugin".to_owned(),
                    name: self.name.to_string(),
                    endpoint: self.endpoint.display().to_string(),
                    supported_versions: vec!["1.0.0".to_owned()],
                })
            }),
            "/pluginregistration.Registration/NotifyRegistrationStatus" => {
                call.answer(|status: RegistrationStatus| async move {
                    let (name, error) = (&self.name, &status.error);
                    if status.plugin_registered {
                        tracing::info!(%name, "kubelet has registered the driver");
                    } else {
                        tracing::error!(%name, error, "kubelet refuses the driver");
                    }
                    Ok(Empty {})
                })
            }
            _ => return Err(call),
        })
    }
}
