//! `flexvol-csi manifests`.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use flexvolume_host::contract::DriverName;
use flexvolume_host::os::System;
use flexvolume_host::registry::Registry;
use flexvolume_host::{Deadlines, Reading, VolumeHost};

use crate::args::Manifests;
use crate::bridge::{Bridge, Mode, Surroundings};
use crate::config::{Config, read_text};
use crate::failure::Failure;
use crate::manifests::{Cluster, manifests as manifests_of};
use crate::metrics::Metrics;
use crate::secrets::SecretDesk;
use crate::start::absolute;

/// Prints the manifests of a driver.
///
/// # Errors
/// [`Failure`] when the driver cannot be asked, or the text not be written.
pub(crate) fn manifests(wanted: &Manifests) -> Result<(), Failure> {
    let (text, config) = match &wanted.config {
        None => (String::new(), Config::default()),
        Some(file) => {
            let text = read_text(file)?;
            let config = Config::parse(file, &text)?;
            (text, config)
        }
    };
    let driver = DriverName::parse(wanted.driver.as_str())?;
    let name = config.name_of(&driver)?;
    let settings = config.settings_of(&driver);
    let bridge = Bridge::without_books((name, driver), settings, surroundings(wanted)?);
    let cluster = Cluster {
        image: wanted.image.clone(),
        namespace: wanted.namespace.clone(),
        kubelet_root: wanted.kubelet_root.clone(),
        plugin_dir: wanted.node_plugin_dir.clone(),
        config: if text.is_empty() { "# Nothing is set.".to_owned() } else { text },
    };
    let text =
        manifests_of(&bridge, &cluster).map_err(|status| Failure::Driver(status.message().to_owned()))?;
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::system("write to", "standard output"))
}

fn surroundings(wanted: &Manifests) -> Result<Surroundings, Failure> {
    let desk = SecretDesk::default();
    let host = Arc::new(VolumeHost {
        root: Path::new("").to_owned(),
        node: String::new(),
        system: System::host(),
        secrets: Arc::new(desk.clone()),
        reading: Reading::Tolerant,
        deadlines: Deadlines::default(),
        settings: Arc::default(),
    });
    let plugin_dirs = wanted.plugin_dir.iter().map(|dir| absolute(dir)).collect::<Result<Vec<_>, _>>()?;
    Ok(Surroundings {
        registry: Arc::new(Registry::new(Arc::clone(&host), plugin_dirs)),
        host,
        desk,
        records: Path::new("").to_owned(),
        kubelet_root: wanted.kubelet_root.clone().into(),
        mode: Mode::All,
        metrics: Arc::new(Metrics::default()),
    })
}
