//! `csi.v1.Identity`.

use std::collections::BTreeMap;

use tonic::Status;

use crate::bridge::Bridge;
use crate::messages::{
    BoolValue, GetPluginCapabilitiesResponse, GetPluginInfoResponse, PluginCapability, PluginService,
    PluginServiceType, ProbeResponse, VolumeExpansion, VolumeExpansionType,
};
use crate::settings::Attach;

impl Bridge {
    /// `GetPluginInfo`.
    pub(crate) fn plugin_info(&self) -> GetPluginInfoResponse {
        let manifest = [("driver".to_owned(), self.driver.to_string())];
        GetPluginInfoResponse {
            name: self.name.to_string(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: BTreeMap::from(manifest),
        }
    }

    /// `GetPluginCapabilities`: the same in every role.
    ///
    /// # Errors
    /// UNAVAILABLE when the driver is missing or fails.
    pub(crate) fn plugin_capabilities(&self) -> Result<GetPluginCapabilitiesResponse, Status> {
        let plugin = self.plugin()?;
        let mut capabilities = Vec::new();
        let expands = self.expands(&plugin);
        // external-resizer works with nothing less, though the node does it.
        if self.provisions() || expands || self.attach(&plugin) == Attach::Controller {
            let service = PluginService { r#type: PluginServiceType::ControllerService.into() };
            capabilities.push(PluginCapability { service: Some(service), volume_expansion: None });
        }
        if self.provisions() {
            let service = PluginService { r#type: PluginServiceType::VolumeAccessibilityConstraints.into() };
            if self.is_local() {
                capabilities.push(PluginCapability { service: Some(service), volume_expansion: None });
            }
        }
        if expands {
            let expansion = VolumeExpansion { r#type: VolumeExpansionType::Online.into() };
            capabilities.push(PluginCapability { service: None, volume_expansion: Some(expansion) });
        }
        Ok(GetPluginCapabilitiesResponse { capabilities })
    }

    /// `Probe`: whether the driver answered `init`. It is asked when it is new, has changed, or has failed and some time
    /// has passed; not at each probe.
    pub(crate) fn probe(&self) -> ProbeResponse {
        let ready = match self.plugin() {
            Ok(_) => true,
            Err(status) => {
                tracing::warn!(driver = %self.driver, error = status.message(), "the driver is not ready");
                false
            }
        };
        ProbeResponse { ready: Some(BoolValue { value: ready }) }
    }
}
